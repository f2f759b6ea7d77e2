"""The kernel's log: a ring of lines with a level and a time each (kernel/printk/printk.c)."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Any, Optional

from machine.events import Printk
from machine.kernel.abi.errno import EAGAIN, EINVAL, EPIPE, ESPIPE, Errno
from machine.kernel.fs.file import O_NONBLOCK, file, file_operations, inode
from machine.kernel.task.wait import WaitQueue
from machine.records import NamedTuple

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

KERN_EMERG, KERN_ALERT, KERN_CRIT, KERN_ERR = "<0>", "<1>", "<2>", "<3>"
KERN_WARNING, KERN_NOTICE, KERN_INFO, KERN_DEBUG = "<4>", "<5>", "<6>", "<7>"
DEFAULT_MESSAGE_LOGLEVEL = 4
"""Level of a printk that names none."""
LOG_BUF_LEN = 1 << 17
"""Bytes of text that are kept; older lines go first (CONFIG_LOG_BUF_SHIFT=17)."""
LOG_LINE_MAX = 1000
"""Longest line; what is longer is cut into several."""

_PREFIX = r"<([0-7])>"
_POLLIN = 0x41


class Record(NamedTuple):
    """One line of the log."""

    seq: int
    """Counts from 0, over all lines since boot."""
    level: int
    time_ns: int
    """Nanoseconds since boot."""
    text: str

    def line(self) -> str:
        """As `dmesg -r` and syslog(2) show it, with its newline."""
        micro = self.time_ns // 1000
        return f"<{self.level}>[{micro // 1_000_000:5d}.{micro % 1_000_000:06d}] {self.text}\n"


class Log:
    """The ring of one machine."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.records: deque[Record] = deque()
        self.next_seq = 0
        self.clear_seq = 0
        """Lines before this one were cleared: read-all skips them, /dev/kmsg does not."""
        self.syslog_seq = 0
        """Next line that syslog(SYSLOG_ACTION_READ) takes."""
        self._bytes = 0
        self._partial: Optional[tuple[int, str]] = None
        self._queue: Optional[WaitQueue] = None

    @property
    def queue(self) -> WaitQueue:
        """Readers of /dev/kmsg and syslog(2) sleep here (log_wait)."""
        if self._queue is None:
            self._queue = WaitQueue(self.kernel.sched)
        return self._queue

    def write(self, level: int, text: str) -> None:
        """Add a whole line at `level`, or several, when the text has newlines inside."""
        self._flush()
        for line in text.rstrip("\n").split("\n"):
            self._store(level, line)

    def printk(self, text: str) -> int:
        """Add text that may begin with a level ("<5>"); without a newline at its end the next call continues it.

        Returns the number of characters, as printk does.
        """
        for part in text.splitlines(keepends=True):
            match = re.match(_PREFIX, part)
            if match is not None:
                self._flush()
                part = part[3:]
            level, before = self._partial or (DEFAULT_MESSAGE_LOGLEVEL, "")
            if match is not None:
                level = int(match[1])
            self._partial = level, before + part
            if part.endswith("\n"):
                self._flush()
        return len(text)

    def _flush(self) -> None:
        if self._partial is not None:
            level, text = self._partial
            self._partial = None
            self._store(level, text.rstrip("\n"))

    def _store(self, level: int, text: str) -> None:
        for start in range(0, len(text) or 1, LOG_LINE_MAX):
            piece = text[start : start + LOG_LINE_MAX]
            record = Record(self.next_seq, level & 7, self.kernel.clock.monotonic_ns(), piece)
            self.records.append(record)
            self.next_seq += 1
            self._bytes += len(piece)
            if self.kernel.events.printk is not None:
                self.kernel.events.printk(Printk(record.level, piece, time_ns=record.time_ns))
        while self._bytes > LOG_BUF_LEN:
            self._bytes -= len(self.records.popleft().text)
        if self._queue is not None:
            self._queue.wake()

    # -- reading ---------------------------------------------------------------------------------

    def lines(self) -> list[str]:
        """The texts of all lines that are still there."""
        self._flush()
        return [record.text for record in self.records]

    def since(self, seq: int) -> list[Record]:
        """The lines from number `seq` on."""
        self._flush()
        return [record for record in self.records if record.seq >= seq]

    def get(self, seq: int) -> Optional[Record]:
        """Line number `seq`; None when it is not there yet.  Errno(EPIPE) when it is gone already."""
        self._flush()
        first = self.first_seq()
        if seq < first:
            raise Errno(EPIPE)
        return self.records[seq - first] if seq < self.next_seq else None

    def first_seq(self) -> int:
        """Number of the oldest line that is still there."""
        return self.records[0].seq if self.records else self.next_seq

    def dump(self) -> bytes:
        """What SYSLOG_ACTION_READ_ALL gives: the lines since the last clear, as `dmesg -r` shows them."""
        return "".join(record.line() for record in self.since(self.clear_seq)).encode("utf-8", "surrogateescape")

    def clear(self) -> None:
        """SYSLOG_ACTION_CLEAR."""
        self._flush()
        self.clear_seq = self.next_seq


class _KmsgOperations(file_operations):
    """/dev/kmsg: one record a read, one line a write (kernel/printk/printk.c: kmsg_fops).

    `f_pos` is not used; `private_data` holds [log, number of the next record].
    """

    def open(self, node: inode, filp: file) -> int:
        from machine.kernel.current import current_kernel

        log = current_kernel().log
        filp.private_data = [log, log.first_seq()]
        return 0

    def read_iter(self, filp: file, count: int, position: int) -> bytes:
        """``level,sequence,microseconds,-;text``: EAGAIN, EPIPE (overwritten), EINVAL (buffer too small)."""
        log, seq = filp.private_data
        try:
            record = log.get(seq)
        except Errno:
            filp.private_data[1] = log.first_seq()
            raise
        while record is None:
            if filp.f_flags & O_NONBLOCK:
                raise Errno(EAGAIN)
            log.kernel.sched.wait(log.queue)
            record = log.get(seq)
        # Facility 0 is the kernel's; user space writes with facility 1, which is not kept here.
        line = f"{record.level},{record.seq},{record.time_ns // 1000},-;{record.text}\n"
        data = line.encode("utf-8", "surrogateescape")
        if len(data) > count:
            raise Errno(EINVAL)
        filp.private_data[1] = seq + 1
        return data

    def write_iter(self, filp: file, data: bytes, position: int) -> int:
        """One line, ``<level>text``; EINVAL beyond LOG_LINE_MAX bytes."""
        if len(data) > LOG_LINE_MAX:
            raise Errno(EINVAL)
        text, level = data.decode("utf-8", "surrogateescape"), DEFAULT_MESSAGE_LOGLEVEL
        match = re.match(r"<(\d+)>", text)
        if match is not None:
            text, level = text[match.end() :], int(match[1]) & 7
        filp.private_data[0].write(level, text)
        return len(data)

    def llseek(self, filp: file, offset: int, whence: int) -> int:
        """SEEK_SET: the first record; SEEK_DATA: the first after a clear; SEEK_END: after the last.  Offset 0 only."""
        log = filp.private_data[0]
        places = {0: log.first_seq(), 2: log.next_seq, 3: max(log.clear_seq, log.first_seq())}
        if offset:
            return -ESPIPE
        if whence not in places:
            return -EINVAL
        filp.private_data[1] = places[whence]
        return 0

    def poll(self, filp: file, table: Any) -> int:
        from machine.kernel.fs.poll import poll_wait

        log, seq = filp.private_data
        poll_wait(filp, log.queue, table)
        return _POLLIN if seq < log.next_seq else 0


kmsg_fops = _KmsgOperations()
