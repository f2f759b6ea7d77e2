"""/proc/kmsg: the log as a stream; a read takes what it gives (fs/proc/kmsg.c)."""

from __future__ import annotations

from typing import Any

from machine.kernel.abi.errno import EAGAIN, EINVAL, Errno
from machine.kernel.current import current_kernel
from machine.kernel.fs.file import O_NONBLOCK, S_IFREG, file, file_operations, inode, super_block
from machine.kernel.fs.proc import ProcInode

_POLLIN = 0x41


class _KmsgOperations(file_operations):
    def read_iter(self, filp: file, count: int, position: int) -> bytes:
        """Whole lines, as many as fit; sleeps while there are none (do_syslog: SYSLOG_ACTION_READ).

        EAGAIN with O_NONBLOCK; EINVAL when not even one line fits.
        """
        log = current_kernel().log
        while not log.since(log.syslog_seq):
            if filp.f_flags & O_NONBLOCK:
                raise Errno(EAGAIN)
            log.kernel.sched.wait(log.queue)
        lines: list[bytes] = []
        for record in log.since(log.syslog_seq):
            line = record.line().encode("utf-8", "surrogateescape")
            if len(line) > count:
                break
            lines.append(line)
            count -= len(line)
            log.syslog_seq = record.seq + 1
        if not lines:
            raise Errno(EINVAL)
        return b"".join(lines)

    def llseek(self, filp: file, offset: int, whence: int) -> int:
        """It is a stream: the position stays (generic_file_llseek on a file without size)."""
        return 0 if whence in (0, 1, 2) else -EINVAL

    def poll(self, filp: file, table: Any) -> int:
        from machine.kernel.include.wait import poll_wait

        log = current_kernel().log
        poll_wait(filp, log.queue, table)
        return _POLLIN if log.since(log.syslog_seq) else 0


_OPERATIONS = _KmsgOperations()


def kmsg_node(sb: super_block, path: str) -> inode:
    """The inode of /proc/kmsg: for root only."""
    return ProcInode(current_kernel(), sb, path, S_IFREG | 0o400, _OPERATIONS)
