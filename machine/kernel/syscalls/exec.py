"""execve(2) and execveat(2) (fs/exec.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.kernel.abi.errno import EINVAL, ENOENT, Errno
from machine.kernel.fs.namei import AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW
from machine.kernel.syscalls.table import syscall
from machine.kernel.task.exec import do_execve

if TYPE_CHECKING:
    from machine.kernel.task.task import Task


@syscall("execve", "str ptr:argv ptr:envp")
def sys_execve(task: Task, path: int, argv: int, envp: int) -> int:
    """Run another program in this process; returns only on failure."""
    return do_execve(task.kernel, task, task.mm.read_string(path), argv, envp)


@syscall("execveat", "atfd str ptr:argv ptr:envp flags:AT_")
def sys_execveat(task: Task, dirfd: int, path: int, argv: int, envp: int, flags: int) -> int:
    """The same for a path from a directory, or with AT_EMPTY_PATH for an open file."""
    name = task.mm.read_string(path)
    if not name and not flags & AT_EMPTY_PATH:
        raise Errno(ENOENT)
    if flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW):
        raise Errno(EINVAL)
    return do_execve(task.kernel, task, name, argv, envp, dirfd=dirfd, flags=flags)
