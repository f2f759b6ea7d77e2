"""Standard files that are bytes in memory: input and output of programs that Python runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.abi.errno import EFBIG, ENOTTY, ESPIPE, Errno
from machine.kernel.fs.anon import anon_inode
from machine.kernel.fs.file import O_RDONLY, O_WRONLY, S_IFIFO, file, file_operations, inode
from machine.kernel.fs.namei import Dentry
from machine.kernel.fs.poll import POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM, poll_table

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

FIONREAD = 0x541B


def spend_output(kernel: Kernel, count: int) -> None:
    """Output is limited: the machine stops where there is more.  EFBIG for the writer."""
    if kernel.output_left is None:
        return
    kernel.output_left -= count
    if kernel.output_left < 0:
        from machine.kernel.hostlimits import output_is_over

        output_is_over(kernel)
        raise Errno(EFBIG)


def _buffer(filp: file) -> bytearray:
    node = filp.f_inode
    assert isinstance(node, BufferFile)
    return node.buffer


class BufferOperations(file_operations):
    """A pipe whose other end is Python: input that is there from the start, output that is collected."""

    def open(self, node: inode, filp: file) -> int:
        return 0

    def read_iter(self, filp: file, count: int, position: int) -> bytes:
        buffer = _buffer(filp)
        data = bytes(buffer[:count])
        del buffer[:count]
        return data

    def unread(self, filp: file, data: bytes) -> None:
        """Put back what the reader's memory could not take."""
        _buffer(filp)[:0] = data

    def write_iter(self, filp: file, data: bytes, position: int) -> int:
        node: Any = filp.f_inode
        spend_output(node.kernel, len(data))
        _buffer(filp).extend(data)
        return len(data)

    def llseek(self, filp: file, offset: int, whence: int) -> int:
        return -ESPIPE

    def poll(self, filp: file, table: Optional[poll_table]) -> int:
        """The writer of an input is gone: what is left, then the end."""
        if filp.f_flags & O_WRONLY:
            return POLLOUT | POLLWRNORM
        return (POLLIN | POLLRDNORM if _buffer(filp) else 0) | POLLHUP

    def ioctl(self, node: inode, filp: file, cmd: int, arg: int) -> int:
        if cmd != FIONREAD:
            return -ENOTTY
        host: Any = node
        host.kernel.current.mm.put_u32(arg, len(host.buffer))
        return 0


class BufferFile(anon_inode):
    """The inode of such a pipe; `buffer` holds the bytes."""

    def __init__(self, kernel: Kernel, data: bytes, operations: Optional[file_operations] = None) -> None:
        super().__init__(kernel, S_IFIFO | 0o600, operations or buffer_operations, "pipefs")
        self.kernel = kernel
        self.buffer = bytearray(data)


buffer_operations = BufferOperations()


def _buffer_file(kernel: Kernel, data: bytes, flags: int) -> tuple[file, bytearray]:
    node = BufferFile(kernel, data)
    name = f"pipe:[{node.i_ino}]"
    return file(Dentry(node, name, None, name), flags, buffer_operations, name), node.buffer


def buffer_input(kernel: Kernel, data: bytes) -> file:
    """A file from which the guest reads `data`, then the end."""
    return _buffer_file(kernel, data, O_RDONLY)[0]


def buffer_output(kernel: Kernel) -> tuple[file, bytearray]:
    """A file that collects what the guest writes, and the growing bytes."""
    return _buffer_file(kernel, b"", O_WRONLY)


__all__ = ["BufferFile", "BufferOperations", "buffer_input", "buffer_output"]
