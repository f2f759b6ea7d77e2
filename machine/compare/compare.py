"""`compare`: both runs, and the result."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Optional, Union

from machine.compare.calls import processes, watch_calls
from machine.compare.difference import Difference, Ignore, find_differences
from machine.compare.sides import HOSTNAME, Job, Run, run_in_machine, run_native
from machine.compare.tree import Files, populate, snapshot
from machine.defaults import default_environment as guest_environment
from machine.errors import ConfigError
from machine.kernel.fs.etc import texts

TIMEOUT = 120.0


@dataclass
class Comparison:
    """Two runs of one program, and what differs."""

    argv: list[str]
    native: Run
    nopage: Run
    differences: list[Difference] = field(default_factory=list)
    """In order: output, errors, end, files, system calls, the machine's own complaints."""
    watched: bool = False
    """Whether system calls were compared."""
    notes: list[str] = field(default_factory=list)
    """What could not be compared, and why."""

    @property
    def same(self) -> bool:
        """Nothing differs."""
        return not self.differences

    @property
    def timed_out(self) -> bool:
        """One side, or both, had to be killed."""
        return self.native.timed_out or self.nopage.timed_out

    def summary(self) -> str:
        """What was compared, in one line."""
        run = self.native
        parts = [run.status(), f"{len(run.stdout)} bytes of output", f"{len(run.stderr)} of errors"]
        parts.append(_count(len(run.files) - 1, "file"))
        if self.watched:
            tasks = processes(run.calls or "")
            calls = _count(sum(len(each.lines) for each in tasks), "system call")
            parts.append(f"{calls} of {_count(len(tasks), 'task')}")
        return ", ".join(parts)

    def text(self, width: int = 118, every: bool = False) -> str:
        """For a person: the first difference, or `every`."""
        lines = [f"note: {note}" for note in self.notes]
        if self.same:
            return "\n".join([*lines, f"the same: {self.summary()}"])
        shown = self.differences if every else self.differences[:1]
        lines += [each.text(width) for each in shown]
        rest = self.differences[len(shown) :]
        if rest:
            named = "; ".join(each.what for each in rest[:4])
            lines.append(f"and {len(rest)} more: {named}{'; …' if rest[4:] else ''}")
        return "\n".join(lines)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"


def default_environment(home: str) -> dict[str, str]:
    """What both sides' programs find, with `home` as HOME: the guest's usual environment, and the user's own name."""
    environment = guest_environment()
    name = "root" if os.getuid() == 0 else "user"
    return {**environment, "HOME": home, "USER": name, "LOGNAME": name}


@cache
def _tracer() -> tuple[Optional[str], str]:
    """(strace, "") or (None, why system calls can't be compared)."""
    strace = shutil.which("strace")
    if strace is None:
        return None, "strace is not installed, so system calls are not compared"
    probe = subprocess.run([strace, "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        return None, f"strace can't trace here, so system calls are not compared: {probe.stderr.strip()}"
    return strace, ""


def compare(
    argv: Sequence[str],
    *,
    files: Files = None,
    stdin: Union[bytes, str, os.PathLike[str], None] = None,
    env: Optional[Mapping[str, str]] = None,
    extra_env: Sequence[tuple[str, Optional[str]]] = (),
    binds: Sequence[tuple[str, str]] = (),
    trace: bool = False,
    timeout: float = TIMEOUT,
    ignore: Union[Ignore, Sequence[str]] = (),
    fence: bool = True,
    **machine: Any,
) -> Comparison:
    """Run `argv` natively and in a machine, and compare.

    `files`: what is in the working directory, as a mapping name -> contents (None: a directory) or a directory of the
    host, of which either side gets a copy.  `stdin`: bytes, or a file's path; None is /dev/null.  `env`: the whole
    environment; None is `default_environment`, with the changes of `extra_env`.  `binds`: (host path, path) shown
    read-only to both.  `timeout`: seconds that each side has.  `trace` compares system calls too, in a native run of
    its own.  `ignore`: words as of ``--ignore``.  `fence` keeps the native program away from your files (see
    `machine.compare.fence`).  Everything else is given to `Machine`.

    ConfigError for inputs that can't be used, FenceError when there can't be a fence, ValueError for `ignore`.
    """
    if not argv:
        raise ConfigError("no program given")
    if not fence and any(host != path for host, path in binds):
        raise ConfigError("without a fence a bind can't be shown at another path")
    rules = ignore if isinstance(ignore, Ignore) else Ignore.parse(ignore)
    session = Path(os.path.realpath(tempfile.mkdtemp(prefix="nopage-compare-")))
    try:
        side = _Session(session, files, rules)
        return side.compare(argv, stdin, env, extra_env, binds, trace, timeout, fence, machine)
    finally:
        _remove(session)


class _Session:
    """The directory of one comparison: ``work`` is where the program runs on either side."""

    def __init__(self, directory: Path, files: Files, rules: Ignore) -> None:
        self.directory = directory
        self.files = files
        self.rules = rules

    def _fresh(self, name: str) -> Path:
        path = self.directory / name
        path.mkdir()
        populate(path, self.files)
        return path

    def _stdin(self, stdin: Union[bytes, str, os.PathLike[str], None]) -> Path:
        if stdin is None:
            return Path(os.devnull)
        if not isinstance(stdin, bytes):
            if not os.access(stdin, os.R_OK):
                raise ConfigError(f"{os.fspath(stdin)}: can't be read")
            return Path(os.path.abspath(stdin))
        path = self.directory / "stdin"
        path.write_bytes(stdin)
        return path

    def _etc(self) -> list[tuple[str, str]]:
        """The files of /etc that a machine makes up, for the fence: both sides know the same users and hosts."""
        directory = self.directory / "etc"
        directory.mkdir()
        for name, text in texts(HOSTNAME, (os.getuid(), os.getgid())).items():
            (directory / name).write_text(text)
        return [(str(path), f"/etc/{path.name}") for path in sorted(directory.iterdir())]

    def compare(
        self, argv: Sequence[str], stdin: Union[bytes, str, os.PathLike[str], None], env: Optional[Mapping[str, str]],
        changes: Sequence[tuple[str, Optional[str]]], binds: Sequence[tuple[str, str]], trace: bool, timeout: float,
        fence: bool, machine: dict[str, Any],
    ) -> Comparison:  # fmt: skip
        """Native first, then, for the system calls, native again, then the machine."""
        work = self.directory / "work"
        environment = dict(default_environment(str(work)) if env is None else env)
        for name, value in changes:
            environment.pop(name, None) if value is None else environment.update({name: value})
        job = Job(argv, environment, work, self._stdin(stdin), timeout, binds, fence, self._etc())
        self._fresh("work")
        native = run_native(job)
        work.rename(self.directory / "native")
        strace, why = _tracer() if trace else (None, "")
        if strace is not None and not native.timed_out and native.error is None:
            native.calls = self._native_calls(job, strace)
        copy = self._fresh("nopage")
        watched = native.calls is not None
        nopage = run_in_machine(job, copy, watch_calls if watched else None, **machine)
        native.files, nopage.files = snapshot(self.directory / "native"), snapshot(copy)
        result = Comparison(list(argv), native, nopage, watched=watched, notes=[why] if why else [])
        result.differences = find_differences(native, nopage, self.rules)
        return result

    def _native_calls(self, job: Job, strace: str) -> Optional[str]:
        """The system calls of a second native run, on a copy of its own."""
        self._fresh("work")
        logs = self.directory / "calls"
        logs.mkdir()
        log = logs / "log"
        run_native(job, [strace, "-D", "-f", "-q", "-o", str(log), "--"], [(str(logs), str(logs))])
        job.work.rename(self.directory / "traced")
        return log.read_text(errors="replace") if log.exists() else None


def _remove(directory: Path) -> None:
    """All of it, directories without permissions included."""
    for above, names, _ in os.walk(directory):
        for name in names:
            path = os.path.join(above, name)
            if not os.path.islink(path):
                os.chmod(path, 0o700)
    shutil.rmtree(directory, ignore_errors=True)
