"""``--rewind``, ``--record`` and ``nopage replay``: sessions of a deterministic machine that can be repeated.

With --rewind this process only watches: the machine runs in a child, and going back lets another one take over.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from machine.defaults import default_environment, ignored_signals
from machine.errors import ConfigError
from machine.kernel.abi.signal import SI_USER
from machine.observe.output import Output
from machine.observe.travel.journal import NOT_WHOLE, Journal, load
from machine.observe.travel.snapshots import Base, Snapshots, die_with_parent
from machine.observe.travel.timeline import Differs, Timeline
from machine.observe.travel.travel import Travel
from machine.options import split_command

if TYPE_CHECKING:
    from types import SimpleNamespace

    from machine.machine import Machine

REPLAY = """\
usage: nopage replay [OPTIONS] FILE

Run what nopage run --record FILE has recorded once more: with the same input, and so with the same events, whatever the
time and the terminal. OPTIONS are those of nopage run, besides the recorded ones: --events, --faults, --rewind with
--break-on or --gdb, ... What is recorded is input, not programs and drivers: they must be what they were.
"""
LOST, TIMED_OUT = 125, 124
OVER = signal.SIGALRM
"""Tells the machine that --timeout is over."""
GRACE = 15.0
"""Seconds that it has to say so and end."""
_POLL = 0.05


class Travelling:
    """What a session does about it: `start` when the machine is there, `debugged` by its debugger, `close`."""

    def __init__(self, chosen: SimpleNamespace, base: Optional[Base]) -> None:
        _refuse(chosen)
        self._base = base
        self._timeout: Optional[float] = chosen.timeout
        self.path: Optional[str] = chosen.record
        """Of the recording."""
        self._words: Sequence[str] = chosen.words
        self._closed = chosen.closed
        self.journal: Journal = Journal() if chosen.recording is None else chosen.recording.journal
        if self.path is not None:
            try:
                self._file = open(self.path, "wb")  # noqa: SIM115
            except OSError as error:
                raise ConfigError(f"--record {self.path}: {error.strerror}") from None

    def start(self, machine: Machine, outputs: dict[str, Output]) -> None:
        """The machine has its views, and has run nothing yet."""

        def mute(on: bool) -> None:
            for each in outputs.values():
                each.muted = on

        def flush() -> None:
            for each in outputs.values():
                each.flush()

        self.timeline = Timeline(machine.kernel, self.journal, mute)
        self.travel = None if self._base is None else Travel(self.timeline, Snapshots(self._base, flush))
        if self._base is not None and self._timeout is not None:
            from machine.kernel.task.ticker import Deadline

            sched = machine.kernel.sched
            deadline = sched.deadline = Deadline(sched, None)  # whose thread would not be in a snapshot's forks
            signal.signal(OVER, lambda *_: deadline.expire())

    def trace(self, machine: Machine, output: Output, chosen: SimpleNamespace, views: Sequence[Any]) -> None:
        """--trace-window, for the views too that have a place for it: --events, --report."""
        from machine.observe.filter import Filters
        from machine.observe.travel.window import TraceWindow

        assert self.travel is not None
        filters = Filters(chosen.filters) if chosen.filters else None
        count, by_instruction = chosen.trace_window
        told = [view.window for view in views if hasattr(view, "window")]
        TraceWindow(self.travel, count, by_instruction, output, filters, machine.read_file, told)

    def debugged(self, front: Any) -> None:
        """By gdb's server or the prompt."""
        if self.travel is not None:
            front.travel = self.travel
            self.travel.watch(front)

    def close(self) -> None:
        """The machine has ended: the recording is written.  OSError."""
        if self.path is not None:
            with self._file as stream:
                self.journal.save(stream, {
                    "words": list(self._words), "cwd": os.getcwd(), "env": default_environment(),
                    "ignored": list(ignored_signals()), "closed": sorted(self._closed),
                })  # fmt: skip


def _refuse(chosen: SimpleNamespace) -> None:
    option = "--rewind" if chosen.rewind else "--record"
    if chosen.rewind and chosen.perfetto is not None:
        raise ConfigError(
            "--rewind and --perfetto don't go together: what was drawn can't be taken back; "
            "nopage run --record FILE, then nopage replay --perfetto TRACE FILE"
        )
    if chosen.rewind and chosen.max_ticks is not None:
        raise ConfigError("--rewind and --max-ticks don't go together; --timeout ends the session")
    if chosen.verb == "watch":
        raise ConfigError(f"{option} is for nopage run and nopage debug")
    if any(bind[2] for bind in chosen.binds or ()):
        raise ConfigError(f"{option}: what the guest writes to a :rw bind can't be taken back; bind it without :rw")


class Recording(NamedTuple):
    """What a file of --record holds."""

    path: str
    words: list[str]
    """The command line, with what `nopage replay` was given."""
    recorded: list[str]
    """The command line of then: it names drivers, binds and files to write."""
    journal: Journal
    env: dict[str, str]
    """What the guest had of the environment of then."""
    ignored: tuple[int, ...]
    """Signals that nopage was started with ignored."""
    closed: tuple[int, ...]
    """Which of the descriptors 0 to 2 were closed."""


def recorded_run(path: str, more: Sequence[str]) -> Recording:
    """Of a file, with `more` options.  ConfigError: there is none, or it is of another directory."""
    try:
        header, journal = load(path)
        words = [str(word) for word in header["words"]]
        options, program = split_command(words)
        cwd, env = str(header["cwd"]), dict(header["env"])
        ignored, closed = (tuple(map(int, header[name])) for name in ("ignored", "closed"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    except (KeyError, TypeError, OverflowError):
        raise ConfigError(f"{path}: {NOT_WHOLE}") from None
    if cwd != os.getcwd():
        raise ConfigError(f"{path} was recorded in {cwd}; replay it there")
    replayed = [*options, *more, *(["--", *program] if program else [])]
    return Recording(path, replayed, words, journal, env, ignored, closed)


def as_recorded(recording: Optional[Recording], run: Callable[[], int]) -> int:
    """What `run` gives; ConfigError when the run is not the one that was recorded."""
    try:
        return run()
    except Differs as why:
        assert recording is not None, why
        raise ConfigError(
            f"{recording.path} does not fit: {why}. Program, files, drivers and options must be those of the recording"
        ) from None


# -- the supervisor ------------------------------------------------------------------------------------------


def supervised(run: Callable[[Base], int], timeout: Optional[float] = None) -> int:
    """Run a session in a child whose successors may end it; its exit status.  `timeout`: seconds it may take.

    All processes of the session end with this one: they wait for the end of a pipe of ours, or are children of those.
    """
    directory = tempfile.mkdtemp(prefix="nopage-")
    life_read, life_write = os.pipe()
    news_read, news_write = os.pipe()
    first = os.fork()
    if first == 0:
        os.close(life_write)
        os.close(news_read)
        die_with_parent()
        base = Base(directory, life_read, lambda: _tell(news_write, f"pid {os.getpid()}"))
        _end(news_write, run, base)
    os.close(life_read)
    os.close(news_write)
    fcntl.fcntl(news_read, fcntl.F_SETFL, os.O_NONBLOCK)
    try:
        return _watch(first, news_read, timeout)
    finally:
        os.close(life_write)
        shutil.rmtree(directory, ignore_errors=True)


def _tell(news: int, text: str) -> None:
    os.write(news, text.encode() + b"\n")


def _end(news: int, run: Callable[[Base], int], base: Base) -> None:
    import sys
    import traceback

    status = LOST
    try:
        status = run(base)
    except SystemExit as failure:
        status = failure.code if isinstance(failure.code, int) else LOST
    except ConfigError as error:
        sys.stderr.write(f"nopage: {error}\n")
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        _tell(news, f"end {status}")
        os._exit(0)


def _watch(pid: int, news: int, timeout: Optional[float]) -> int:
    """The status that one of the processes ends with; `pid` is the machine until another one says so."""
    machine = [pid]
    over = None if timeout is None else time.monotonic() + timeout
    told = 0
    handlers: dict[int, Any] = {
        number: signal.signal(number, lambda signo, _frame: _forward(machine[0], signo))
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGWINCH)
    }
    text = b""
    keys = {signal.SIGINT, signal.SIGQUIT}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, keys)
    try:
        while True:
            key = signal.sigtimedwait(keys, 0)
            if key is not None and key.si_code == SI_USER:  # not the terminal, which gives them to the machine, too
                _forward(machine[0], key.si_signo)
            alive = _is_alive(machine[0])
            try:
                text += os.read(news, 4096)
            except BlockingIOError:
                pass
            *lines, text = text.split(b"\n")
            for line in lines:
                what, _, value = line.partition(b" ")
                if what == b"end":
                    return int(value)
                machine[0] = int(value)
                alive = True
            if not alive:
                return LOST
            if over is not None and time.monotonic() >= over:
                if time.monotonic() >= over + GRACE:
                    _kill(machine[0], timeout)
                    return TIMED_OUT
                if told != machine[0]:
                    told = machine[0]
                    _forward(told, OVER)
            time.sleep(_POLL)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _kill(pid: int, timeout: Optional[float]) -> None:
    """A session that does not end by itself: the user looks at it, or it goes back for so long."""
    import sys

    _forward(pid, signal.SIGKILL)
    sys.stderr.write(f"\nnopage: the session goes on after {timeout:g} seconds; killed\n")


def _forward(pid: int, signo: int) -> None:
    try:
        os.kill(pid, signo)
    except ProcessLookupError:
        pass


def _is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False
