"""The two sides: a program run natively, behind a fence, and the same program in a machine."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from machine.compare.tree import Entry
from machine.defaults import ignored_signals
from machine.errors import NopageError, NotExecutable, ProgramError, ProgramNotFound, TimeoutExpired
from machine.kernel.abi.errno import ENOENT, ENOTDIR
from machine.kernel.abi.resource import DEFAULT_RLIMITS
from machine.machine import Machine

SETTLE = 1.0
"""Seconds that processes have which outlive the program, on both sides."""
HOSTNAME = "nopage"
MAX_OUTPUT = 64 << 20
"""Bytes of one stream that are kept; then its reader goes away."""
_FENCE = Path(__file__).with_name("fence.py")


class FenceError(NopageError):
    """This computer does not let us keep a native program away from its files."""


@dataclass
class Run:
    """What one side did."""

    exit: int = 0
    """Exit status, or 128 + the deadly signal's number."""
    signal: Optional[int] = None
    stdout: bytes = b""
    stderr: bytes = b""
    files: dict[str, Entry] = field(default_factory=dict)
    """Names in the working directory afterwards."""
    calls: Optional[str] = None
    """System calls as strace writes them; None: not watched."""
    error: Optional[int] = None
    """The errno when the program could not be started."""
    timed_out: bool = False
    seconds: float = 0.0
    complaints: list[str] = field(default_factory=list)
    """What the machine found wrong with itself afterwards: an oops, a lost frame."""

    def status(self) -> str:
        """For a person."""
        if self.timed_out:
            return "still running, killed"
        if self.error is not None:
            return f"could not be started: {os.strerror(self.error)}"
        if self.signal is None:
            return f"exit status {self.exit}"
        try:
            return f"killed by {signal.Signals(self.signal).name}"
        except ValueError:
            return f"killed by signal {self.signal}"


@dataclass
class Job:
    """What both sides are to do."""

    argv: Sequence[str]
    env: Mapping[str, str]
    work: Path
    """The working directory, at this path on both sides."""
    stdin: Path
    timeout: float
    binds: Sequence[tuple[str, str]] = ()
    fence: bool = True
    etc: Sequence[tuple[str, str]] = ()
    """Files of the fence that replace the host's, where it has them."""


class Drain:
    """A pipe, and a thread that keeps what is written to it."""

    def __init__(self) -> None:
        self._reader, self.fd = os.pipe()
        self._kept: list[bytes] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        left = MAX_OUTPUT
        while left > 0 and (data := os.read(self._reader, 1 << 16)):
            self._kept.append(data)
            left -= len(data)
        os.close(self._reader)

    def close(self) -> None:
        """No more comes from us."""
        os.close(self.fd)

    def bytes(self, seconds: float) -> bytes:
        """All that was written; who holds the other end has `seconds` to let go."""
        self._thread.join(seconds)
        return b"".join(self._kept)


# -- natively ------------------------------------------------------------------------------------------------------


def run_native(job: Job, tracer: Sequence[str] = (), extra: Sequence[tuple[str, str]] = ()) -> Run:
    """Run the program here.  `tracer` is a command in front of it; `extra` are directories that it may write.

    FenceError when there is to be a fence and can't be one.
    """
    binds = [[str(job.work), str(job.work), True], *([source, target, True] for source, target in extra)]
    binds += [[source, target, False] for source, target in job.binds]
    binds += [[source, target, False] for source, target in job.etc if os.path.isfile(target)]
    reader, report = os.pipe()
    spec = {
        "argv": [*tracer, *job.argv], "env": dict(job.env), "cwd": str(job.work), "fence": job.fence, "binds": binds,
        "report": report, "settle": SETTLE, "limits": DEFAULT_RLIMITS, "hostname": HOSTNAME,
    }  # fmt: skip
    out, err = Drain(), Drain()
    run = Run()
    started = time.monotonic()
    with open(job.stdin, "rb") as stdin:
        launcher = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_FENCE), json.dumps(spec)],
            stdin=stdin, stdout=out.fd, stderr=err.fd, pass_fds=[report], close_fds=True,
        )  # fmt: skip
    os.close(report)
    out.close()
    err.close()
    try:
        said = _answer(reader, started + job.timeout)
        run.seconds = time.monotonic() - started
        if said is not None:
            launcher.wait(SETTLE + 5)
    except subprocess.TimeoutExpired:
        said = None
    finally:
        os.close(reader)
        launcher.kill()
        launcher.wait()
    run.stdout, run.stderr = out.bytes(SETTLE), err.bytes(SETTLE)
    _conclude(run, said)
    return run


def _answer(reader: int, deadline: float) -> Optional[dict[str, Any]]:
    """The launcher's first line; {} when it ended without one, None at the deadline."""
    text = b""
    while b"\n" not in text:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([reader], [], [], left)[0]:
            return None
        data = os.read(reader, 4096)
        if not data:
            return {}
        text += data
    said: dict[str, Any] = json.loads(text.split(b"\n")[0])
    return said


def _conclude(run: Run, said: Optional[dict[str, Any]]) -> None:
    if said is None:
        run.timed_out = True
    elif "fence" in said:
        raise FenceError(
            f"no fence for the native program can be made on this computer ({said['fence']}); with --unfenced it "
            "runs without one, and can change whatever you can"
        )
    elif "exec" in said:
        run.error = said["exec"]
        run.exit = 127 if run.error in (ENOENT, ENOTDIR) else 126
    elif "status" in said:
        status = said["status"]
        run.signal = status & 0x7F or None
        run.exit = 128 + run.signal if run.signal else status >> 8
    else:
        raise NopageError("the native program's launcher failed: " + run.stderr.decode(errors="replace").strip())


# -- in a machine ----------------------------------------------------------------------------------------------------


def run_in_machine(
    job: Job, copy: Path, watch: Optional[Callable[[Machine], Callable[[], str]]] = None, **options: Any
) -> Run:
    """Run the program in a fresh machine, which sees `copy` at the working directory's path.

    `watch` attaches a view and returns what gives its text; `options` are the machine's.
    """
    binds = [(str(copy), str(job.work), True, True), *((source, target, False, False) for source, target in job.binds)]
    run = Run()
    options.setdefault("user", (os.getuid(), os.getgid()))
    out, err = Drain(), Drain()
    started = time.monotonic()
    stdin = os.open(job.stdin, os.O_RDONLY)
    try:
        with Machine(binds=binds, env=job.env, **options) as machine:
            text = None if watch is None else watch(machine)
            machine.kernel.ignored_signals = ignored_signals()
            machine.events.listen("oops", lambda oops: run.complaints.append(f"{oops.where}: {oops.traceback.strip()}"))
            try:
                result = machine.run(
                    job.argv, stdin=stdin, stdout=out.fd, stderr=err.fd, cwd=str(job.work), timeout=job.timeout
                )
                run.exit, run.signal = result.exit, result.signal
            except TimeoutExpired:
                run.timed_out = True
            except ProgramError as error:
                assert isinstance(error, (ProgramNotFound, NotExecutable))
                run.error = error.errno
                run.exit = 127 if isinstance(error, ProgramNotFound) else 126
            run.seconds = time.monotonic() - started
            run.complaints += _lost(machine)
            if text is not None:
                run.calls = text()
    finally:
        os.close(stdin)
        out.close()
        err.close()
    run.stdout, run.stderr = out.bytes(SETTLE), err.bytes(SETTLE)
    return run


def _lost(machine: Machine) -> list[str]:
    """What is wrong with the machine after the program: nothing, when all of its processes have ended."""
    complaints = machine.check_clean()
    if any(each.endswith("is still there") for each in complaints):
        return []  # they hold what they hold, as on the host
    return [each for each in complaints if not each.startswith("oops")]
