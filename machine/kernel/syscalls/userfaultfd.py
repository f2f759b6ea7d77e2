"""userfaultfd (fs/userfaultfd.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.kernel.abi.errno import EINVAL, Errno
from machine.kernel.fs.file import O_CLOEXEC, O_NONBLOCK
from machine.kernel.fs.userfaultfd_file import userfaultfd_file
from machine.kernel.syscalls.table import syscall

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

UFFD_USER_MODE_ONLY = 1


@syscall("userfaultfd", "flags:UFFD_", sleeps=False, result="fd", support="as Linux 6.1; no huge pages")
def sys_userfaultfd(task: Task, flags: int) -> int:
    """EINVAL, EMFILE; EPERM for others than root without UFFD_USER_MODE_ONLY."""
    if flags & ~(O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY):
        raise Errno(EINVAL)
    fd = task.files.free_fd()
    filp = userfaultfd_file(task, bool(flags & O_NONBLOCK), bool(flags & UFFD_USER_MODE_ONLY))
    return task.files.install(filp, fd, bool(flags & O_CLOEXEC))
