"""The `_ret` forms of Linux 2.2: copy to or from the current process, or leave with `ret` (asm/uaccess.h of 2.2;
*Beginning Linux Programming* ch. 21; Linux 2.4 removed them).

In C they are macros with a `return` inside.  In Python they are functions that end the method which calls them::

    def schar_ioctl(inode, filp, cmd, arg):
        tmp = [0]
        get_user_ret(tmp, arg, -EFAULT)     # arg can't be read: schar_ioctl returns -EFAULT here
        return set_speed(tmp[0])

On success they return nothing and the method goes on.  On failure what follows the call is skipped, with two
differences from the macro: a ``finally:`` and the end of a ``with`` still run, as for any way out of a Python function
(``except Exception:`` does not see it); and it is the *method* that returns, the function which the kernel called.  In
a helper the macro would leave the helper only, so there the use is reported (the method returns `ret` all the same):
test what `get_user` returns instead.  Outside a method of a driver nobody is there to return `ret` to: RuntimeError.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any, Optional

from machine.kernel.include.pages import BUG_report
from machine.kernel.include.uaccess import Buffer, Target, copy_from_user, copy_to_user, get_user, put_user
from machine.kernel.module import SLOT, call_driver, macro_return


def get_user_ret(x: list[int], ptr: int, ret: Any, size: int = 4) -> None:
    """`get_user(x, ptr, size)`: `size` bytes at user address `ptr` to ``x[0]``; on a fault the method returns `ret`."""
    if get_user(x, ptr, size):
        _leave("get_user_ret", ret)


def put_user_ret(x: int, ptr: int, ret: Any, size: int = 4) -> None:
    """`put_user(x, ptr, size)`: the number `x` in `size` bytes to user address `ptr`; on a fault the method returns
    `ret`."""
    if put_user(x, ptr, size):
        _leave("put_user_ret", ret)


def copy_to_user_ret(to: int, from_: Buffer, n: int, ret: Any) -> None:
    """`copy_to_user(to, from_, n)`; the method returns `ret` when not all `n` bytes could be copied."""
    if copy_to_user(to, from_, n):
        _leave("copy_to_user_ret", ret)


def copy_from_user_ret(to: Target, from_: int, n: int, ret: Any) -> None:
    """`copy_from_user(to, from_, n)`; the method returns `ret` when not all `n` bytes could be copied."""
    if copy_from_user(to, from_, n):
        _leave("copy_from_user_ret", ret)


def _leave(name: str, ret: Any) -> None:
    caller = sys._getframe(2)
    frame: Optional[FrameType] = caller
    method = caller
    while frame is not None and frame.f_code is not call_driver.__code__:
        if SLOT in frame.f_globals:
            method = frame  # the outermost function of a driver on the way to the kernel's call
        frame = frame.f_back
    if frame is None:
        raise RuntimeError(
            f"{name} failed outside a method of a driver: nobody called that {ret!r} could be returned to"
        )
    if method is not caller:
        inner, outer = caller.f_code.co_name, method.f_code.co_name
        BUG_report(
            f"{name} in the helper {inner}: in C it would return from {inner}, here it ends {outer}; "
            f"test what {name.removesuffix('_ret')} returns instead"
        )
    raise macro_return(ret)


__all__ = [
    "copy_from_user_ret", "copy_to_user_ret", "get_user_ret", "put_user_ret",
]  # fmt: skip
