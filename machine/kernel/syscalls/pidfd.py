"""System calls on descriptors of processes (kernel/pid.c, kernel/signal.c: pidfd_send_signal, mm/madvise.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from machine.kernel.abi.capability import CAP_SYS_NICE
from machine.kernel.abi.errno import EACCES, EBADF, EINVAL, EPERM, ESRCH, Errno
from machine.kernel.abi.mman import MADV_COLD, MADV_PAGEOUT, MADV_WILLNEED
from machine.kernel.abi.signal import SI_TKILL, SI_USER
from machine.kernel.capability import capable
from machine.kernel.fs.file import O_NONBLOCK, file
from machine.kernel.fs.pidfd import pidfd_file, pidfd_leader, pidfd_operations
from machine.kernel.syscalls.kill import send_checked, user_info
from machine.kernel.syscalls.table import syscall
from machine.kernel.task.ptrace import may_access
from machine.kernel.task.siginfo import SIZE as SIGINFO_SIZE
from machine.kernel.task.siginfo import unpack
from machine.kernel.task.task import EXIT_DEAD

if TYPE_CHECKING:
    from machine.kernel.task.task import Task


@syscall("pidfd_open", "pid flags:PIDFD_", result="fd")
def sys_pidfd_open(task: Task, pid: int, flags: int) -> int:
    """A close-on-exec descriptor of a process.  EINVAL: flags, a thread that leads no process; ESRCH."""
    if flags & ~O_NONBLOCK or pid <= 0:
        raise Errno(EINVAL)
    target = task.kernel.tasks.get(pid)
    if target is None:
        raise Errno(ESRCH)
    if target is not target.signal.leader:
        raise Errno(EINVAL)
    fd = task.files.free_fd()
    return task.files.install(pidfd_file(target, bool(flags & O_NONBLOCK)), fd, True)


def _leader(filp: file) -> Task:
    """The process behind a pidfd, or behind a descriptor of its directory in /proc; EBADF."""
    if filp.f_op is pidfd_operations:
        return pidfd_leader(filp)
    from machine.kernel.fs.proc_task import TaskDirectory

    node = filp.f_inode
    if isinstance(node, TaskDirectory) and not node.is_thread:
        return node.task
    raise Errno(EBADF)


@syscall("pidfd_send_signal", "fd int:signal ptr:siginfo uint")
def sys_pidfd_send_signal(task: Task, pidfd: int, signo: int, info: int, flags: int) -> int:
    """kill() by descriptor, with a record of the caller's if `info` is not 0.

    EINVAL: flags, a record for another signal; EPERM: a record that pretends to be the kernel's; EBADF; ESRCH.
    """
    if flags:
        raise Errno(EINVAL)
    target = _leader(task.files.fget_raw(pidfd))
    record = user_info(task, signo, SI_USER)
    if info:
        raw = task.mm.copy_from_user(info, SIGINFO_SIZE)
        if struct.unpack("<i", raw[:4])[0] != signo:
            raise Errno(EINVAL)
        record = unpack(raw, task.abi.bits)
        if target is not task and (record.code >= 0 or record.code == SI_TKILL):
            raise Errno(EPERM)
    if target.state == EXIT_DEAD:
        raise Errno(ESRCH)
    return send_checked(task, target, signo, record, True)


@syscall("pidfd_getfd", "fd fd uint", result="fd")
def sys_pidfd_getfd(task: Task, pidfd: int, target_fd: int, flags: int) -> int:
    """A close-on-exec copy of another process's descriptor.  EINVAL: flags; EBADF; ESRCH: it has ended; EPERM."""
    if flags:
        raise Errno(EINVAL)
    target = pidfd_leader(task.files.fget(pidfd))
    if target.exiting or target.state == EXIT_DEAD:
        raise Errno(ESRCH)
    if not may_access(task, target):
        raise Errno(EPERM)
    filp = target.files.fget_raw(target_fd)
    fd = task.files.free_fd()
    return task.files.install(filp.get(), fd, True)


@syscall("process_madvise", "fd ptr ulong int:MADV_ uint")
def sys_process_madvise(task: Task, pidfd: int, vector: int, count: int, advice: int, flags: int) -> int:
    """Advice about another process's memory: the bytes that were advised.

    EINVAL: flags, other advice than MADV_COLD, _PAGEOUT, _WILLNEED; EBADF; ESRCH; EACCES: it may not be
    looked at; EPERM; an area's own error.
    """
    from machine.kernel.mm.madvise import do_madvise

    if flags:
        raise Errno(EINVAL)
    ranges = task.abi.read_iovec(task.mm, vector, count)
    target = pidfd_leader(task.files.fget(pidfd))
    if advice not in (MADV_COLD, MADV_PAGEOUT, MADV_WILLNEED):
        raise Errno(EINVAL)
    if target.exiting or target.state == EXIT_DEAD:
        raise Errno(ESRCH)
    if not may_access(task, target):
        raise Errno(EACCES)
    if target.mm is not task.mm and not capable(task, CAP_SYS_NICE):
        raise Errno(EPERM)
    done = 0
    for start, length in ranges:
        try:
            do_madvise(target.mm, start, length, advice)
        except Errno:
            if done:
                break
            raise
        done += length
    return done
