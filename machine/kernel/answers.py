"""What a driver's methods may return, and the report of what they may not.

C's compiler refuses a string where a number is due; what is left, a number that means nothing there, goes wrong
somewhere later.  Here both are a BUG at once that names driver, method, value and the method's place; the process gets
SIGBUS or EIO, the others go on.
"""

from __future__ import annotations

import os
import reprlib
from typing import Any, Optional

from machine.kernel.abi.errno import ERESTART_RESTARTBLOCK, ERESTARTSYS
from machine.kernel.current import current_kernel

MAX_ERRNO = 4095
"""Lowest value that a negative answer may have is -MAX_ERRNO (include/linux/err.h)."""


def place(method: Any) -> str:
    """`` (scullp_read, scullp.py:120)``: where a driver's method is; "" for one that is no Python function."""
    code = getattr(getattr(method, "__func__", method), "__code__", None)
    return "" if code is None else f" ({code.co_name}, {os.path.basename(code.co_filename)}:{code.co_firstlineno})"


def nonsense(owner: Any, operation: str, method: Any, value: Any, why: str) -> None:
    """Report `value`, which the `operation` method of `owner` returned: ``BUG: bad: read returned 'x', ...``."""
    text = f"{operation} returned {reprlib.repr(value)}, {why}{place(method)}"
    current_kernel().driver_bug(owner, text)


def is_number(value: Any) -> bool:
    """Whether `value` is what C would take for an int, without overflow of a long."""
    return isinstance(value, int) and -(1 << 63) <= value < 1 << 64


def _signalled() -> bool:
    task = current_kernel().current
    return task is None or bool(task.sigpending)


def wrong_status(value: Any) -> str:
    """Why `value` is no 0 or negative errno, what `open` and `mmap` return; "" when it is one."""
    why = wrong_count(value, 0)
    return why if not why or why.startswith("a restart") else "not 0 or a negative errno"


def wrong_count(value: Any, most: Optional[int] = None) -> str:
    """Why `value` is no 0, count (of at most `most`) or negative errno; "" when it is one."""
    if not is_number(value):
        return "not a number"
    if value < -MAX_ERRNO:
        return "which is no errno"
    if -ERESTART_RESTARTBLOCK <= value <= -ERESTARTSYS and not _signalled():
        return "a restart, though no signal has come: the program would see that number as errno"
    if most is not None and value > most:
        return f"more than the {most} that were asked for"
    return ""
