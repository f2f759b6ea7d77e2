"""Signals that nopage itself gets: most are for its programs."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Optional

from machine.defaults import ignored_signals
from machine.kernel.task.spawn import kill_all
from machine.machine import Machine

FORWARDED = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGCONT, signal.SIGWINCH)
"""What the host's terminal or user sends to us is for the guest's programs."""
STOP_KEY = signal.SIGTSTP
"""Ctrl-Z: for the guest when a shell there does job control, else it stops us, as any program."""
ENDING = (signal.SIGTERM, signal.SIGHUP)
INSISTING, WITHIN = 3, 10.0
"""So many of ENDING in so many seconds mean nopage, whatever its programs do with them."""


class Outside:
    """The handlers of a session, from `install` to `restore`.

    `debugging` is who lets gdb or the prompt speak (None: nobody), `say` takes lines for the user.
    """

    def __init__(self, machine: Machine, debugging: Callable[[], Any], say: Callable[[str], None]) -> None:
        self._machine, self._debugging, self._say = machine, debugging, say
        self._times: deque[float] = deque(maxlen=INSISTING)
        self._before: dict[int, Any] = {}

    def install(self, shoot: Optional[Callable[[], None]], ignored: Optional[Sequence[int]]) -> None:
        """`shoot`: what SIGUSR1 does, in the hub; `ignored`: signals that the recorded session ignored."""
        handlers: dict[int, Any] = {**dict.fromkeys(FORWARDED, self._forward), STOP_KEY: self._stop}
        if shoot is not None:
            handlers[signal.SIGUSR1] = lambda *_: self._machine.kernel.sched.interrupt(shoot)
        kernel = self._machine.kernel
        kernel.ignored_signals = ignored_signals() if ignored is None else tuple(ignored)
        self._before = {
            number: signal.signal(number, handler)
            for number, handler in handlers.items()
            if number not in kernel.ignored_signals
        }

    def restore(self) -> None:
        """The handlers of before; but Ctrl-C is an exception: the views still have to close their files."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._before.get(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _forward(self, number: int, frame: Optional[FrameType]) -> None:
        debugging = self._debugging()
        if debugging is not None and debugging.hears(number):
            return
        if number in ENDING:
            self._times.append(time.monotonic())
            if len(self._times) == INSISTING and self._times[-1] - self._times[0] < WITHIN:
                self._kill(signal.Signals(number).name)
                return
        self._machine.interrupt(number)
        if number == signal.SIGHUP:  # as of a terminal that has gone: what is stopped must hear it
            self._machine.interrupt(signal.SIGCONT)

    def _kill(self, name: str) -> None:
        """For programs that ignore it, or are stopped for good.  The next one is for Python, if this was not enough."""
        for number in ENDING:
            if number in self._before:
                signal.signal(number, signal.SIG_DFL)

        def kill() -> None:
            self._say(f"nopage: {name} for the third time: all programs are killed")
            kill_all(self._machine.kernel)

        self._machine.kernel.sched.interrupt(kill)

    def _stop(self, number: int, frame: Optional[FrameType]) -> None:
        if self._machine.has_job_control:
            self._machine.interrupt(number)
            return
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.signal(number, self._stop)  # we go on
