"""Standard input that Python writes while the program runs: a pipe whose writing end stays open until `close`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.abi.errno import EAGAIN, Errno
from machine.kernel.fs.buffers import BufferFile, BufferOperations
from machine.kernel.fs.file import O_NONBLOCK, O_RDONLY, file
from machine.kernel.fs.namei import Dentry
from machine.kernel.fs.poll import POLLHUP, POLLIN, POLLRDNORM, poll_table

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel


class _FeedOperations(BufferOperations):
    """As a pipe: who reads sleeps until there is something, or the writer is gone."""

    def read_iter(self, filp: file, count: int, position: int) -> bytes:
        feed: Any = filp.f_inode
        while not feed.buffer and not feed.closed:
            if filp.f_flags & O_NONBLOCK:
                raise Errno(EAGAIN)
            feed.kernel.sched.wait(feed.readers)
        return super().read_iter(filp, count, position)

    def poll(self, filp: file, table: Optional[poll_table]) -> int:
        feed: Any = filp.f_inode
        if table is not None:
            table.wait(feed.readers)
        return (POLLIN | POLLRDNORM if feed.buffer else 0) | (POLLHUP if feed.closed else 0)


_operations = _FeedOperations()


class Feed(BufferFile):
    """The pipe; Python's end.  `file` is the guest's."""

    def __init__(self, kernel: Kernel, data: bytes = b"") -> None:
        super().__init__(kernel, data, _operations)
        self.readers = kernel.sched.queue()
        self.closed = False
        self.fed = bool(data)
        """Whether there was ever anything to read."""
        name = f"pipe:[{self.i_ino}]"
        self.file = file(Dentry(self, name, None, name), O_RDONLY, _operations, name)

    def write(self, data: bytes) -> int:
        """Have the program read `data`; the number of bytes.  ValueError when it is closed."""
        if self.closed:
            raise ValueError("write to a closed standard input")
        self.buffer.extend(data)
        self.fed = True
        self.readers.wake()
        return len(data)

    def close(self) -> None:
        """The program reads what is left, then the end.  Twice is fine."""
        self.closed = True
        self.readers.wake()
