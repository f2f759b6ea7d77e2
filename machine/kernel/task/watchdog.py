"""What does not come back: a device model or a driver that loops keeps the machine's thread, and with it the scheduler
which alone could stop it (kernel/watchdog.c: "soft lockup").

Another thread notices, and pokes: a signal of its own, whose handler runs in the machine's thread, between two
bytecodes of whatever loops, and ends a `time.sleep` too.  The handler looks at the frames, and raises `Lockup` where
one of `REGIONS`, which call models and drivers, will catch it.  In a thread that gets no signals the interpreter is
asked to raise it.  A loop that catches even that, again and again, ends the process: nothing else could.

What is ours, a system call that a guest has made endless, is left alone for `OVERDUE` seconds more; then `Overrun` is
raised wherever it is, which comes out of `Scheduler.run` and ends the run.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from traceback import FrameSummary
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Optional

from machine.hardware.bus import Bus, Lockup
from machine.hardware.cpu import RAX
from machine.kernel.abi.errno import EINTR
from machine.kernel.modfile import run_file
from machine.kernel.module import SLOT, call_driver, call_for_page, driver_raised
from machine.kernel.task.halting import Moment
from machine.kernel.task.poke import may_poke, on_poke, poke
from machine.kernel.task.task import Overrun

if TYPE_CHECKING:
    from machine.kernel.task.sched import Scheduler
    from machine.kernel.task.task import Task

GRACE = 0.5
"""Seconds that whatever runs has to come back by itself."""
POKE_EVERY = 0.05
PATIENT_POKES = 40
"""So often only the model's own code is interrupted; then also what it calls of ours, in the middle of its work."""
SWALLOWED = 60
"""So often behind each other one call of the user's may catch what was to end it."""
OVERDUE = 1.0
"""Seconds of processor time after which what is ours is broken off, if the hub has not had its turn meanwhile."""
HOPELESS = 30.0
"""The same, after which the process ends: no exception gets through, as in one endless call of Python's own."""
STATUS = 124
"""Of the process then, as after --timeout."""
OURS = str(Path(__file__).parents[2]) + os.sep
DEBUGGERS = {
    "bdb",
    "pdb",
    "cmd",
    "ipdb",
    "pudb",
    "pydevd",
    "_pydevd_bundle",
    "_pydevd_frame_eval",
    "debugpy",
    "IPython",
}
"""Who has one of their frames on the stack is being looked at by a person, and may take any time."""


Named = tuple[str, str]


def _of_access(frame: FrameType) -> Named:
    there = frame.f_locals
    block, offset = there["where"].block, there["offset"]
    write = "value" in there and frame.f_code is Bus.write_block.__code__
    what = Bus.what(block, offset, there["value"] if write else None, there["width"])
    return f"{type(block).__name__} ('{block.name}')", what


def _of_callback(frame: FrameType) -> Named:
    callback = frame.f_locals["callback"]
    block: Any = getattr(callback, "block", None) or getattr(callback, "__self__", None)
    name = getattr(block, "name", "")
    who = "a device model" if block is None else type(block).__name__ + (f" ('{name}')" if name else "")
    return who, Bus.what_is_called(callback)


def _of_driver(frame: FrameType) -> Named:
    return f"the driver {frame.f_locals['owner'].name}", str(frame.f_locals["operation"])


def _of_file(frame: FrameType) -> Named:
    return f"the driver {frame.f_locals['new'].name}", "its file, outside of functions"


def _of_condition(_frame: FrameType) -> Named:
    return "run_until", "its condition"


REGIONS: dict[CodeType, Callable[[FrameType], Named]] = {
    Bus.read_block.__code__: _of_access,
    Bus.write_block.__code__: _of_access,
    Bus.call.__code__: _of_callback,
    call_driver.__code__: _of_driver,
    call_for_page.__code__: _of_driver,
    run_file.__code__: _of_file,
    Moment.holds.__code__: _of_condition,
}
"""Functions that call the user's code and catch `Lockup` -> who it is, and what they have called."""


HANDLERS = {driver_raised.__code__, Bus.fail.__code__, on_poke.__code__}
"""Ours, called when the user's code has ended already, or is being interrupted."""


class Loop(NamedTuple):
    """What a thread is in."""

    who: str
    what: str
    frames: list[FrameSummary]
    """The user's, innermost last."""
    region: FrameType
    """Who has called it."""


def is_ours(frame: FrameType) -> bool:
    """Whether it is nopage's own code, rather than a model's, a driver's, or a library's that these call."""
    return frame.f_code.co_filename.startswith(OURS) and SLOT not in frame.f_globals


def _is_debugged(frame: Optional[FrameType]) -> bool:
    while frame is not None:
        if _is_debugger(frame):
            return True
        frame = frame.f_back
    return False


def _is_debugger(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] in DEBUGGERS


def place_of(frame: Optional[FrameType]) -> str:
    """``, in eventpoll.py:57 (ready)``: where the machine's thread is."""
    if frame is None:
        return ""
    code = frame.f_code
    return f", in {os.path.basename(code.co_filename)}:{frame.f_lineno} ({code.co_name})"


def find_loop(frame: Optional[FrameType], patient: bool) -> Optional[Loop]:
    """The user's code in which a thread is, whose innermost frame is given; None where it must not be interrupted."""
    if frame is None or (patient and is_ours(frame)):
        return None
    mine: list[FrameType] = []
    while frame is not None:
        if _is_debugger(frame) or frame.f_code in HANDLERS:
            return None
        describe = REGIONS.get(frame.f_code)
        if describe is not None:
            shown = [FrameSummary(each.f_code.co_filename, each.f_lineno, each.f_code.co_name) for each in mine]
            return Loop(*describe(frame), shown[::-1], frame) if mine else None
        if not is_ours(frame):
            mine.append(frame)
        frame = frame.f_back
    return None


class Standstill:
    """How long the machine's thread has worked without coming back to the scheduler."""

    def __init__(self, sched: Scheduler) -> None:
        self._sched = sched
        self._turn = -1
        self._since = 0.0

    def seconds(self, thread: int) -> float:
        """Of its processor time: who waits, for a person or the host, does not stand still."""
        now = time.clock_gettime(time.pthread_getcpuclockid(thread))
        if self._sched.turns != self._turn:
            self._turn, self._since = self._sched.turns, now
        return now - self._since


class Watchdog:
    """Interrupts what loops in the machine of `sched`: `bark` from a thread of its own, until `over` is set."""

    def __init__(self, sched: Scheduler, late: bool = True, thread: Optional[int] = None) -> None:
        """`thread`: the machine's, outside of a run."""
        self._sched = sched
        self._late = late
        self._thread = thread
        self.breaks = False
        """Whether what is ours is broken off, too."""
        self._pokes = 0
        self._region: Optional[FrameType] = None
        self._swallowed = 0
        """How often `_region`, which is a call that still goes on, was to be ended."""
        self.over = threading.Event()

    def bark(self) -> None:
        """Wait, and then poke again and again."""
        pause, standstill = GRACE, Standstill(self._sched)
        while not self.over.wait(pause):
            pause = POKE_EVERY
            thread = self._thread or self._sched.thread
            if thread is None:
                continue
            self._pokes += 1
            if self._late:
                seconds = standstill.seconds(thread)
                self.breaks = seconds > OVERDUE
                if seconds > HOPELESS and not _is_debugged(sys._current_frames().get(thread)):
                    place = place_of(sys._current_frames().get(thread))
                    self._end(f"nopage: nothing ends what goes on{place}; this process ends, status {STATUS}")
            self.poke(thread)

    def poke(self, thread: int) -> None:
        """Have the machine's thread look what it is in."""
        if thread == threading.main_thread().ident:
            poke(self, thread)
        else:
            self._raise_in(thread)

    def _raise_in(self, thread: int) -> None:
        """In a thread without signals: from outside, at its next bytecode that looks."""
        frame = sys._current_frames().get(thread)
        loop = self.look(frame)
        if loop is None:
            if self._is_overdue(frame):
                _raise_soon(thread, type("Overrun", (Overrun,), {"place": place_of(frame)}))
            return
        made, sched = self._keep(loop), self._sched

        class Here(Lockup):
            def __init__(self) -> None:  # the interpreter makes the object, and gives nothing
                super().__init__(made.text, made.late)
                sched.lockup = self if sched.lockup is made else sched.lockup

        Here.__name__ = Here.__qualname__ = Lockup.__name__
        _raise_soon(thread, Here)

    def look(self, frame: Optional[FrameType]) -> Optional[Loop]:
        """What the thread is in, if it is to be interrupted there."""
        return None if self.over.is_set() else find_loop(frame, self._pokes <= PATIENT_POKES)

    def _is_overdue(self, frame: Optional[FrameType]) -> bool:
        """Whether what is ours is to be broken off there: nobody's model or driver has called it, that can be told."""
        in_machine = (self._thread or self._sched.thread) is not None and not self.over.is_set()
        return self.breaks and in_machine and not _is_debugged(frame) and find_loop(frame, False) is None

    def _keep(self, loop: Loop) -> Lockup:
        from machine.testing import messages

        text = messages.looped(*loop[:3])
        self._swallowed = self._swallowed + 1 if loop.region is self._region else 0
        self._region = loop.region
        if self._swallowed >= SWALLOWED:
            self._end(messages.swallowed(text, self._swallowed, STATUS))
        made = Lockup(text, self._late)
        self._sched.lockup = self._sched.lockup or made  # what loops while the rest is killed is not why
        return made

    def _end(self, text: str) -> NoReturn:
        """The process ends with `text` on standard error."""
        try:
            heading = self._sched.last_words()
        except Exception as failure:  # the views of a machine in the middle of something
            heading = f"{type(failure).__name__}: {failure}\n"
        os.write(2, f"\n{heading}{text}\n".encode(errors="backslashreplace"))
        os._exit(STATUS)

    def poked(self, frame: Optional[FrameType]) -> None:
        """In the machine's thread: raise what ends the loop."""
        __tracebackhide__ = True
        loop = self.look(frame)
        if loop is not None:
            raise self._keep(loop)
        if self._is_overdue(frame):
            failure = Overrun()
            failure.place = place_of(frame)
            raise failure


def _raise_soon(thread: int, kind: type[BaseException]) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(kind))


def break_off(sched: Scheduler) -> None:
    """From another thread: what the machine is in, whatever it is, ends with `Overrun`, soon."""
    thread = sched.thread
    if thread is not None:
        watchdog = Watchdog(sched)
        watchdog.breaks = True
        watchdog.poke(thread)


def guard_call(sched: Scheduler, seconds: float) -> Callable[[], None]:
    """A driver or a model is called outside of a run, and has `seconds` to come back; afterwards call what is given."""
    may_poke()
    watchdog = Watchdog(sched, thread=threading.get_ident())
    timer = threading.Timer(seconds, watchdog.bark)
    timer.daemon = True
    timer.start()

    def end() -> None:
        timer.cancel()
        watchdog.over.set()

    return end


def watch_interrupt(sched: Scheduler) -> Any:
    """Ctrl-C: a function to be called in the hub, unless something loops that never lets it get there."""
    may_poke()
    watchdog = Watchdog(sched, late=False)
    threading.Thread(target=watchdog.bark, daemon=True).start()
    return watchdog.over.set


def leave_call(sched: Scheduler, task: Task) -> None:
    """The kernel's work for the task was broken off by what comes out of `Scheduler.run`, as at Ctrl-C: the task can be
    killed now, or go on with EINTR."""
    task.work = None
    task.kstack = None
    irq = sched.kernel.irq
    irq.preempt_count, irq.disabled = 0, False
    if task.orig_ax >= 0 and task is sched.loaded:
        sched.cpu.regs[RAX] = -EINTR & ((1 << task.abi.bits) - 1)
        task.syscall, task.orig_ax = "", -1
