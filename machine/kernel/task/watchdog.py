"""What does not come back: a device model or a driver that loops keeps the machine's thread, and with it the scheduler
which alone could stop it (kernel/watchdog.c: "soft lockup").

Another thread notices, and pokes: a signal of its own, whose handler runs in the machine's thread, between two
bytecodes of whatever loops, and ends a `time.sleep` too.  The handler looks at the frames, and raises `Lockup` where
one of `REGIONS`, which call models and drivers, will catch it.  In a thread that gets no signals the interpreter is
asked to raise it.  A loop that catches even that, again and again, ends the process: nothing else could.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from traceback import FrameSummary
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Optional

from machine.hardware.bus import Bus, Lockup
from machine.hardware.cpu import RAX
from machine.kernel.abi.errno import EINTR
from machine.kernel.module import SLOT, call_driver, call_for_page
from machine.kernel.task.halting import Moment

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
STATUS = 124
"""Of the process then, as after --timeout."""
POKE = signal.SIGRTMAX - 3
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


def _of_condition(_frame: FrameType) -> Named:
    return "run_until", "its condition"


REGIONS: dict[CodeType, Callable[[FrameType], Named]] = {
    Bus.read_block.__code__: _of_access,
    Bus.write_block.__code__: _of_access,
    Bus.call.__code__: _of_callback,
    call_driver.__code__: _of_driver,
    call_for_page.__code__: _of_driver,
    Moment.holds.__code__: _of_condition,
}
"""Functions that call the user's code and catch `Lockup` -> who it is, and what they have called."""


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


def find_loop(frame: Optional[FrameType], patient: bool) -> Optional[Loop]:
    """The user's code in which a thread is, whose innermost frame is given; None where it must not be interrupted."""
    if frame is None or (patient and is_ours(frame)):
        return None
    mine: list[FrameType] = []
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] in DEBUGGERS:
            return None
        describe = REGIONS.get(frame.f_code)
        if describe is not None:
            shown = [FrameSummary(each.f_code.co_filename, each.f_lineno, each.f_code.co_name) for each in mine]
            return Loop(*describe(frame), shown[::-1], frame) if mine else None
        if not is_ours(frame):
            mine.append(frame)
        frame = frame.f_back
    return None


class Watchdog:
    """Interrupts what loops in the machine of `sched`: `bark` from a thread of its own, until `over` is set."""

    poking: Optional[Watchdog] = None
    """Who has sent the last signal."""

    def __init__(self, sched: Scheduler, late: bool = True) -> None:
        self._sched = sched
        self._late = late
        self._pokes = 0
        self._region: Optional[FrameType] = None
        self._swallowed = 0
        """How often `_region`, which is a call that still goes on, was to be ended."""
        self.over = threading.Event()

    def bark(self) -> None:
        """Wait, and then poke again and again."""
        pause = GRACE
        while not self.over.wait(pause):
            pause = POKE_EVERY
            thread = self._sched.thread
            if thread is None:
                continue
            self._pokes += 1
            if thread == threading.main_thread().ident:
                Watchdog.poking = self
                signal.pthread_kill(thread, POKE)
            else:
                self._raise_in(thread)

    def _raise_in(self, thread: int) -> None:
        """In a thread without signals: from outside, at its next bytecode that looks."""
        loop = self.look(sys._current_frames().get(thread))
        if loop is None:
            return
        made, sched = self._keep(loop), self._sched

        class Here(Lockup):
            def __init__(self) -> None:  # the interpreter makes the object, and gives nothing
                super().__init__(made.text, made.late)
                sched.lockup = self if sched.lockup is made else sched.lockup

        Here.__name__ = Here.__qualname__ = Lockup.__name__
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(Here))

    def look(self, frame: Optional[FrameType]) -> Optional[Loop]:
        """What the thread is in, if it is to be interrupted there."""
        return None if self.over.is_set() else find_loop(frame, self._pokes <= PATIENT_POKES)

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


def _on_poke(_number: int, frame: Optional[FrameType]) -> None:
    __tracebackhide__ = True
    watchdog = Watchdog.poking
    if watchdog is not None:
        watchdog.poked(frame)


def may_poke() -> None:
    """Take the signal, once; it stays taken, for one that is late would end the process."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(POKE) is not _on_poke:
        signal.signal(POKE, _on_poke)


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
