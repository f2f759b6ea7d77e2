"""The signal with which another thread has the machine's thread look up from what it is in (task/watchdog.py)."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Optional

POKE = signal.SIGRTMAX - 3


class Poke:
    """Who has sent the last one: something with `poked(frame)`, which may raise."""

    sender: Any = None


def on_poke(_number: int, frame: Optional[FrameType]) -> None:
    """The handler: raises between two bytecodes of whatever runs."""
    __tracebackhide__ = True
    if Poke.sender is not None:
        Poke.sender.poked(frame)


def may_poke() -> None:
    """Take the signal, once; it stays taken, for one that is late would end the process."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(POKE) is not on_poke:
        signal.signal(POKE, on_poke)


def poke(sender: Any, thread: int) -> None:
    """`sender.poked` is called between two bytecodes of `thread`, the main one."""
    Poke.sender = sender
    signal.pthread_kill(thread, POKE)
