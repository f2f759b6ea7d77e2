"""Descriptors of processes (kernel/pid.c: pidfd_create, kernel/fork.c: pidfd_fops)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from machine.kernel.abi.errno import EBADF, Errno
from machine.kernel.fs.anon import anon_file, no_open
from machine.kernel.fs.file import O_NONBLOCK, O_RDWR, file, file_operations
from machine.kernel.fs.poll import POLLHUP, POLLIN, POLLRDNORM, poll_table
from machine.kernel.task.exit import thread_group_empty
from machine.kernel.task.task import EXIT_DEAD, EXIT_ZOMBIE

if TYPE_CHECKING:
    from machine.kernel.task.task import task_struct


class PidfdOperations(file_operations):
    """Readable when the process has ended, hung up when it was waited for (since Linux 6.9); there is nothing to read,
    and no position."""

    stream = True

    def poll(self, filp: file, table: Optional[poll_table]) -> int:
        signal = filp.private_data.signal
        if table is not None:
            table.wait(signal.notify)
        leader = signal.leader
        if leader.state == EXIT_DEAD:
            return POLLIN | POLLRDNORM | POLLHUP
        return POLLIN | POLLRDNORM if leader.state == EXIT_ZOMBIE and thread_group_empty(leader) else 0

    def show_fdinfo(self, filp: file) -> str:
        """The number of the process, -1 when it was waited for."""
        leader = filp.private_data.signal.leader
        pid = -1 if leader.state == EXIT_DEAD else leader.pid
        return f"Pid:\t{pid}\nNSpid:\t{pid}\n"


pidfd_operations = PidfdOperations(open=no_open)


def pidfd_file(leader: task_struct, nonblock: bool) -> file:
    """A new descriptor's file for the process of `leader`."""
    filp = anon_file(leader.kernel, "[pidfd]", pidfd_operations, O_RDWR | (O_NONBLOCK if nonblock else 0))
    filp.private_data = leader
    return filp


def pidfd_leader(filp: file) -> task_struct:
    """The leader of the process behind a pidfd, dead or alive; EBADF for another kind of file."""
    if filp.f_op is not pidfd_operations:
        raise Errno(EBADF)
    leader: task_struct = filp.private_data.signal.leader
    return leader
