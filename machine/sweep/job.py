"""One sweep as plain data, and the function that makes one of its runs: on this computer or on another."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shlex
import shutil
import socket
import tempfile
import threading
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import machine
from machine.errors import ConfigError, NopageError
from machine.testing import messages
from machine.testing.foreach import Kind, Outcome, run_one
from machine.testing.harness import Plan

_ONE_AT_A_TIME = threading.Lock()
"""A process runs one machine: a worker of Dask may have several threads."""


@cache
def build() -> str:
    """Which nopage this is: ``0.1.0 (5f3a90c1)``, the version and a hash of its files."""
    digest = hashlib.blake2b(digest_size=4)
    top = Path(machine.__file__).parents[1]
    for package in ("machine", "drivers", "firmware"):
        for path in sorted((top / package).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(top)}\n".encode() + path.read_bytes())
    return f"{machine.__version__} ({digest.hexdigest()})"


def _here() -> str:
    return f"{socket.gethostname()}, process {os.getpid()}"


@dataclass
class Job:
    """What is run.  Everything in it can be pickled, and its `fingerprint` says whether two are the same."""

    command: list[str]
    kind: str
    ram: int
    timeout: float
    stdin: bytes = b""
    board: str | None = None
    devices: list[str] = field(default_factory=list)
    attach: list[str] = field(default_factory=list)
    """``WHERE=FILE.py:CLASS`` each."""
    files: dict[str, bytes] = field(default_factory=dict)
    """Absolute path -> contents, of what a run needs: the program, models, data.  Made here when they are not there."""
    modes: dict[str, int] = field(default_factory=dict)
    cwd: str = field(default_factory=os.getcwd)
    """Where it is run, if a file lies there that is taken along: what the program calls "data.txt"."""
    nopage: str = field(default_factory=build)
    """Of the computer that asks: another one's runs could not be compared with it."""

    def carry(self, path: str) -> None:
        """Take a file along.  OSError."""
        whole = os.path.abspath(path)
        self.files[whole] = Path(whole).read_bytes()
        self.modes[whole] = os.stat(whole).st_mode & 0o777

    def fingerprint(self) -> str:
        """Of the job with the contents of its files."""
        plain = asdict(self)
        plain["stdin"] = hashlib.sha256(self.stdin).hexdigest()
        plain["files"] = {path: hashlib.sha256(data).hexdigest() for path, data in sorted(self.files.items())}
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]

    def scenario(self, run: Any) -> Any:
        """What is run in each machine."""
        files_there = any(os.path.dirname(path) == self.cwd for path in self.files)
        cwd = self.cwd if files_there and self.cwd != os.getcwd() else None
        return run(*self.command, stdin=self.stdin, cwd=cwd)

    def plan(self) -> Plan:
        """How to make its machine here: the files as they were taken along, under their own names."""
        directory = self._unpacked()
        binds, attach = [], list(self.attach)
        for path in self.files:
            copy = str(directory / path.lstrip("/"))
            binds.append((copy, path, False))
            attach = [each.replace(f"={path}:", f"={copy}:") for each in attach]
        return Plan(
            ram=self.ram, board=self.board, drivers=list(self.devices), words=attach, binds=binds, timeout=self.timeout
        )

    def as_here(self, text: str) -> str:
        """`text` with the files under the names that the user has for them: their copies go with the process."""
        directory = str(self._unpacked())
        for path in self.files:
            bind = shlex.quote(f"{directory}{path}:{path}")
            text = text.replace(f"--bind {bind} ", "")  # of a replay: what is under its own name is there
        for path in self.files:
            own = os.path.relpath(path, self.cwd)
            for copies in (directory, os.path.relpath(directory)):
                text = text.replace(f"{copies}{path}", path if own.startswith("..") else own)
        return text

    def _unpacked(self) -> Path:
        """A directory with the files, made by the first run in this process."""
        key = self.fingerprint()
        if key not in _unpacked:
            made = Path(tempfile.mkdtemp(prefix="nopage-sweep-"))
            atexit.register(shutil.rmtree, made, ignore_errors=True)
            for path, data in self.files.items():
                target = made / path.lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
                target.chmod(self.modes[path])
            _unpacked[key] = made
        return _unpacked[key]


_unpacked: dict[str, Path] = {}
"""Fingerprint -> the directory, which goes with the process."""


def make_run(job: Job, n: int, clean: Outcome | None) -> tuple[Outcome, int]:
    """Run number `n` (0: without a failure): (how it went, how many things could have failed).

    ConfigError, with the name of this computer: it can't be made here.
    """
    if job.nopage != build():
        raise ConfigError(messages.other_nopage(_here(), build(), job.nopage))
    with _ONE_AT_A_TIME:
        try:
            outcome, total = run_one(job.plan(), job.scenario, Kind(job.kind), n, clean)
        except NopageError as error:
            text = job.as_here(str(error))
            if clean is None:
                error.args = (text, *error.args[1:])
                raise
            raise ConfigError(messages.not_here(_here(), text)) from None  # with one argument: others can't be sent
        return replace(outcome, what=job.as_here(outcome.what), detail=job.as_here(outcome.detail)), total
