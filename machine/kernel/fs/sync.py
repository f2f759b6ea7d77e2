"""fsync of an open file, in the form that its driver was written for (fs/sync.c: vfs_fsync)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from machine.kernel.abi.errno import EINVAL, Errno
from machine.kernel.fs.read_write import driver_result
from machine.kernel.module import call_driver

if TYPE_CHECKING:
    from collections.abc import Callable

    from machine.kernel.fs.file import file
    from machine.kernel.task.task import task_struct

LLONG_MAX = (1 << 63) - 1
_VARARGS = 4


def vfs_fsync(task: task_struct, filp: file, datasync: int) -> int:
    """0, or what a driver's `fsync` returns; EINVAL for a file without one."""
    operations: Any = filp.f_op
    method = operations.fsync
    if method is None:
        raise Errno(EINVAL)
    if operations.owner is None:
        result: int = method(filp, datasync)
        return result
    answer = call_driver(
        task.kernel, operations.owner, "fsync", method, *_arguments(method, filp, datasync)
    )  # fmt: skip
    return driver_result(filp, "fsync", answer, 0)


def _arguments(method: Callable[..., Any], filp: file, datasync: int) -> tuple[Any, ...]:
    """Linux 2.6.10 calls it with (filp, dentry, datasync), 2.6.35 with (filp, datasync), since 3.1 with
    (filp, start, end, datasync): what the method has room for tells."""
    taken = _taken(method)
    if taken == 2:
        return filp, datasync
    if taken == 4:
        return filp, 0, LLONG_MAX, datasync
    return filp, filp.f_dentry, datasync


def _taken(method: Callable[..., Any]) -> int:
    """How many arguments it takes by their places; 3 where that can't be told."""
    function = getattr(method, "__func__", method)
    code = getattr(function, "__code__", None)
    if code is None or code.co_flags & _VARARGS:
        return 3
    count: int = code.co_argcount - (function is not method)
    return count
