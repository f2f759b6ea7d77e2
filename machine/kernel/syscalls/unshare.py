"""unshare(2) and kcmp(2): what tasks share (kernel/fork.c: ksys_unshare, kernel/kcmp.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from machine.kernel.abi.capability import CAP_SYS_ADMIN
from machine.kernel.abi.errno import EBADF, EINVAL, EPERM, ESRCH, Errno
from machine.kernel.capability import capable
from machine.kernel.ipc.sem import exit_sem
from machine.kernel.syscalls.table import syscall
from machine.kernel.task.exit import thread_group_empty
from machine.kernel.task.fork import (
    CLONE_FILES,
    CLONE_FS,
    CLONE_SIGHAND,
    CLONE_SYSVSEM,
    CLONE_THREAD,
    CLONE_VM,
    NAMESPACES,
)
from machine.kernel.task.ptrace import may_access

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

_KNOWN = CLONE_THREAD | CLONE_FS | CLONE_SIGHAND | CLONE_VM | CLONE_FILES | CLONE_SYSVSEM | NAMESPACES
KCMP_FILE, KCMP_VM, KCMP_FILES, KCMP_FS, KCMP_SIGHAND, KCMP_IO, KCMP_SYSVSEM, KCMP_EPOLL_TFD = range(8)


@syscall("unshare", "flags:CLONE", support="no namespaces: EINVAL")
def sys_unshare(task: Task, flags: int) -> int:
    """Descriptors, directories and semaphore undos of its own for the calling thread.

    EINVAL: other flags; memory and handlers of a process with threads; EPERM: namespaces without being root.
    """
    if flags & ~_KNOWN:
        raise Errno(EINVAL)
    if flags & (CLONE_THREAD | CLONE_SIGHAND | CLONE_VM) and not thread_group_empty(task):
        raise Errno(EINVAL)
    if flags & (CLONE_SIGHAND | CLONE_VM) and task.sighand.count > 1:
        raise Errno(EINVAL)
    if flags & CLONE_VM and task.mm.users > 1:
        raise Errno(EINVAL)
    if flags & NAMESPACES:
        raise Errno(EINVAL if capable(task, CAP_SYS_ADMIN) else EPERM)
    if flags & CLONE_FILES and task.files.users > 1:
        shared, task.files = task.files, task.files.copy()
        shared.put()
    if flags & CLONE_FS and task.fs.users > 1:
        directories, task.fs = task.fs, task.fs.copy()
        directories.put()
    if flags & CLONE_SYSVSEM:
        exit_sem(task.kernel, task)
    return 0


@syscall("kcmp", "pid pid int:KCMP_ ulong ulong", support="no KCMP_EPOLL_TFD: EINVAL")
def sys_kcmp(task: Task, pid1: int, pid2: int, kind: int, index1: int, index2: int) -> int:
    """0: the two tasks share it; 1 or 2: they don't.  EINVAL; EBADF: no such descriptor; EPERM; ESRCH."""
    first, second = task.kernel.tasks.get(pid1), task.kernel.tasks.get(pid2)
    if first is None or second is None:
        raise Errno(ESRCH)
    if not may_access(task, first) or not may_access(task, second):
        raise Errno(EPERM)
    one, other = _of(first, kind, index1), _of(second, kind, index2)
    if one is other:
        return 0
    return 1 if id(one) < id(other) else 2


def _of(task: Task, kind: int, index: int) -> Any:
    if kind == KCMP_FILE:
        filp = task.files.fds.get(index & 0xFFFFFFFF)
        if filp is None:
            raise Errno(EBADF)
        return filp
    if kind == KCMP_VM:
        return task.mm
    if kind == KCMP_FILES:
        return task.files
    if kind == KCMP_FS:
        return task.fs
    if kind == KCMP_SIGHAND:
        return task.sighand
    if kind == KCMP_SYSVSEM:
        return task.sysvsem
    if kind == KCMP_IO:
        return None  # nobody has an I/O context
    raise Errno(EINVAL)
