"""Copies between a driver and the current process (asm/uaccess.h).

``from`` and ``to`` on the kernel's side are a kernel address, any buffer (bytes, bytearray, memoryview, what
`kernel_memory` gives), or a struct of declared fields.  The user's side is an address of the current process; pages are
faulted in as by the process itself, with its write protection and copy-on-write.  All forms without leading underscores
check the range first.
"""

from __future__ import annotations

import sys
from operator import index
from typing import Optional, Union

from machine.kernel.abi.errno import EFAULT
from machine.kernel.context import might_sleep
from machine.kernel.current import current_kernel
from machine.kernel.include.pages import BUG_report, is_size
from machine.kernel.include.string import Data, as_data, memcpy, scattered_memory
from machine.kernel.include.structs import struct
from machine.kernel.mm.space import mm_struct

VERIFY_READ, VERIFY_WRITE = 0, 1

Buffer = Union[int, Data, struct]
"""The kernel's side of a copy to a process."""
Target = Union[int, bytearray, memoryview, scattered_memory, struct]
"""The kernel's side of a copy from one."""


def _mm(sleeps: bool = True) -> Optional[mm_struct]:
    """Address space of the current process.  Without one (a module's init), and where its pages can't be waited for
    (`might_sleep`): reported, every access fails."""
    task = current_kernel().current
    if task is None:
        BUG_report("user memory touched where there is no current process")
        return None
    if sleeps and not might_sleep(task.kernel, sys._getframe(1).f_code.co_name):
        return None
    return task.mm


def _in_range(mm: mm_struct, address: int, size: int) -> bool:
    return address >= 0 and size >= 0 and address + size <= mm.task_size


def in_compat_syscall() -> bool:
    """Whether the current process is a 32-bit program, whose longs and pointers have 4 bytes (linux/compat.h).

    A driver's ioctl asks it where a structure or a number of type long differs; 2.6.10 had other names for it.
    """
    task = current_kernel().current
    return task is not None and task.abi.bits == 32


def access_ok(type: int, address: int, size: int) -> int:
    """1 when [address, address + size) is in user space, 0 when not.  Says nothing about what is mapped there.

    `type` is VERIFY_READ or VERIFY_WRITE; it makes no difference since the 80386.
    """
    mm = _mm(sleeps=False)
    return int(mm is not None and _in_range(mm, address, size))


def verify_area(type: int, address: int, size: int) -> int:
    """`access_ok` with 0 for yes and -EFAULT for no."""
    return 0 if access_ok(type, address, size) else -EFAULT


def copy_to_user(to: int, from_: Buffer, n: int) -> int:
    """Copy `n` bytes to user address `to`.  Returns how many were NOT copied: 0 is success."""
    mm = _mm()
    if not is_size(n, "copy_to_user", "n = "):
        return n or 1
    if mm is None or not _in_range(mm, to, n):
        return n
    return __copy_to_user(to, from_, n)


def __copy_to_user(to: int, from_: Buffer, n: int) -> int:
    """`copy_to_user` without the check of the range, for use after `access_ok`."""
    mm = _mm()
    if mm is None or n == 0:
        return n  # no byte is copied, so neither address is looked at
    data = as_data(from_, n)
    if len(data) < n:
        raise ValueError(f"copy_to_user of {n} bytes from a buffer of {len(data)}")
    # A fault on the way may run another driver, which may change what is copied: the process sees either.
    return n - mm.write_some(to, data)


def copy_from_user(to: Target, from_: int, n: int) -> int:
    """Copy `n` bytes from user address `from_`.  Returns how many were NOT copied; the rest of `to` is zeroed."""
    mm = _mm()
    if not is_size(n, "copy_from_user", "n = "):
        return n or 1
    if mm is None or not _in_range(mm, from_, n):
        _store(to, b"", n)
        return n
    return __copy_from_user(to, from_, n)


def __copy_from_user(to: Target, from_: int, n: int) -> int:
    """`copy_from_user` without the check of the range."""
    mm = _mm()
    data = b"" if mm is None else mm.read_some(from_, n)
    _store(to, data, n)
    return n - len(data)


def _store(to: Target, data: bytes, n: int) -> None:
    data = data.ljust(n, b"\0")
    if isinstance(to, int):
        memcpy(to, data, n)
    elif len(to) < n:
        raise ValueError(f"copy_from_user of {n} bytes to a buffer of {len(to)}")
    elif isinstance(to, struct):
        to.store(0, data)
    elif isinstance(to, scattered_memory):
        to[:n] = data
    else:
        memoryview(to)[:n] = data


def clear_user(to: int, n: int) -> int:
    """Zero `n` bytes at user address `to`.  Returns how many were NOT zeroed."""
    mm = _mm()
    if not is_size(n, "clear_user", "n = "):
        return n or 1
    if mm is None or not _in_range(mm, to, n):
        return n
    return __clear_user(to, n)


def __clear_user(to: int, n: int) -> int:
    """`clear_user` without the check of the range."""
    mm = _mm()
    return n if mm is None else n - mm.clear_user(to, n)


def get_user(x: list[int], ptr: int, size: int = 4) -> int:
    """Read an unsigned number of `size` bytes at user address `ptr` into ``x[0]``: 0 or -EFAULT (x[0] is then 0).

    C takes the size from the pointer's type; here it is an argument: 4, an int, unless it is given.
    """
    mm = _mm()
    if mm is None or not _in_range(mm, ptr, size):
        x[0] = 0
        return -EFAULT
    return __get_user(x, ptr, size)


def __get_user(x: list[int], ptr: int, size: int = 4) -> int:
    """`get_user` without the check of the range."""
    mm = _mm()
    data = b"" if mm is None else mm.read_some(ptr, size)
    x[0] = int.from_bytes(data, "little") if len(data) == size else 0
    return 0 if len(data) == size else -EFAULT


def put_user(x: int, ptr: int, size: int = 4) -> int:
    """Write the number `x` as `size` bytes (4 by default, an int) at user address `ptr`: 0 or -EFAULT.

    C takes the size from the pointer's type.  A number that does not fit is reported, and its low bytes are written.
    """
    mm = _mm()
    if mm is None or not _in_range(mm, ptr, size):
        return -EFAULT
    return __put_user(x, ptr, size)


def __put_user(x: int, ptr: int, size: int = 4) -> int:
    """`put_user` without the check of the range."""
    mm = _mm()
    if mm is None:
        return -EFAULT
    x = index(x)
    if not -(1 << 8 * size - 1) <= x < 1 << 8 * size:
        BUG_report(f"put_user: {x:#x} does not fit in {size} bytes: put_user(x, ptr, size) has the size in bytes")
    before = mm.read_some(ptr, size)
    done = mm.write_some(ptr, (x & (1 << 8 * size) - 1).to_bytes(size, "little"))
    if 0 < done < size:  # it is one store: nothing of it may stay on the first page when the second faults
        mm.write_some(ptr, before[:done])
    return 0 if done == size else -EFAULT


def strncpy_from_user(dst: Union[bytearray, memoryview], src: int, count: int) -> int:
    """Copy the string at user address `src`, with its NUL, into `dst`, at most `count` bytes.

    Returns its length without the NUL, `count` when there is no NUL in them, or -EFAULT.
    """
    mm = _mm()
    if mm is None or not is_size(count, "strncpy_from_user", "count = ") or not _in_range(mm, src, 1):
        return -EFAULT
    text, found = _string(mm, src, count)
    if text is None:
        return -EFAULT
    memoryview(dst)[: len(text)] = text
    if not found:
        return count
    dst[len(text)] = 0
    return len(text)


def strnlen_user(s: int, n: int) -> int:
    """Length with its NUL of the string at user address `s`; more than `n` when it is longer; 0 on a fault."""
    mm = _mm()
    if mm is None or not is_size(n, "strnlen_user", "n = ") or not _in_range(mm, s, 1):
        return 0
    text, found = _string(mm, s, n)
    if text is None:
        return 0
    return len(text) + 1 if found else n + 1


def _string(mm: mm_struct, address: int, count: int) -> tuple[Optional[bytes], bool]:
    """(bytes before the NUL, whether there is one within `count`); None where memory can't be read first."""
    text = b""
    while len(text) < count:
        at = address + len(text)
        piece = mm.read_some(at, min(count - len(text), 4096 - (at & 4095)))
        if not piece:
            return None, False
        head, nul, _ = piece.partition(b"\0")
        text += head
        if nul:
            return text, True
    return text, False
