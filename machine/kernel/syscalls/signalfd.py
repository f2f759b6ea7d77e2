"""signalfd(2) and signalfd4 (fs/signalfd.c: do_signalfd4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.kernel.abi.errno import EINVAL, Errno
from machine.kernel.fs.file import O_CLOEXEC, O_NONBLOCK
from machine.kernel.fs.signalfd import context_of, signalfd_ctx, signalfd_file, signalfd_queue
from machine.kernel.syscalls.table import syscall

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

SIGSET_SIZE = 8


@syscall("signalfd4", "fd ptr:sigset size flags:SFD_", result="fd")
def sys_signalfd4(task: Task, ufd: int, user_mask: int, size: int, flags: int) -> int:
    """A descriptor that reads the signals of the mask (-1), or another mask for an old one.

    EINVAL: unknown flags, another size of set, a descriptor of another kind.
    """
    if flags & ~(O_CLOEXEC | O_NONBLOCK) or size != SIGSET_SIZE:
        raise Errno(EINVAL)
    mask = task.mm.get_u64(user_mask)
    if ufd == -1:
        fd = task.files.free_fd()
        filp = signalfd_file(task.kernel, mask, bool(flags & O_NONBLOCK))
        return task.files.install(filp, fd, bool(flags & O_CLOEXEC))
    ctx = context_of(task.files.fget(ufd))
    if ctx is None:
        raise Errno(EINVAL)
    ctx.sigmask = signalfd_ctx(task.kernel, mask).sigmask
    signalfd_queue(task).wake()
    return ufd


@syscall("signalfd", "fd ptr:sigset size", result="fd")
def sys_signalfd(task: Task, ufd: int, user_mask: int, size: int) -> int:
    """The same without flags."""
    return sys_signalfd4(task, ufd, user_mask, size, 0)
