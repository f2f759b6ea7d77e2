"""Regular files of the host at the standard descriptors: ``<in >out``.

The position of such a descriptor is the host's, and whoever started us shares it: ``(nopage run a; b) >out``.  So
`HostFile` asks the host for its position whenever it counts, and read(2) and write(2) move it there, in one step.
pread(2) and pwrite(2) leave it alone, and a file that is opened again (/dev/stdin) has a position of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from machine.kernel.abi.errno import EINVAL, Errno
from machine.kernel.fs.buffers import spend_output
from machine.kernel.fs.file import O_APPEND, dentry, file, file_operations
from machine.kernel.fs.hostfs import host_error
from machine.kernel.fs.nowait import where_supported

if TYPE_CHECKING:
    from machine.kernel.fs.hostio import HostDescriptor

_AS_OPENED, _AT_THE_END, _NOT_THERE = range(3)
"""Where a write goes, by what the guest has made of the O_APPEND that the user's shell has set or not."""
_RWF = (0, os.RWF_APPEND, 0x20) if hasattr(os, "RWF_APPEND") else (0, 0, 0)
"""The flags of pwritev2(2) for that, RWF_NOAPPEND since Linux 6.9.  0: a C library without them."""
HERE = -1
"""Instead of a position: the descriptor's own, which moves."""


class HostFile(file):
    """The descriptor that the user gave; `f_pos` is the host's."""

    __slots__ = ("_host",)

    def __init__(self, f_dentry: dentry, f_flags: int, f_op: file_operations, f_path: str) -> None:
        self._host: Any = None
        super().__init__(f_dentry, f_flags, f_op, f_path)
        self._host = self.f_inode

    @property
    def f_pos(self) -> int:
        """Bytes from the start."""
        return 0 if self._host is None else self._seek(0, os.SEEK_CUR)

    @f_pos.setter
    def f_pos(self, position: int) -> None:
        if self._host is not None:
            self._seek(position, os.SEEK_SET)

    def _seek(self, offset: int, whence: int) -> int:
        assert self._host is not None
        where: int = _of_host(self._host, os.lseek, self._host.fd, offset, whence)
        return where

    def read_next(self, _filp: file, count: int, _position: int) -> bytes:
        """As `read_iter`, from `f_pos`, which moves at once."""
        assert self._host is not None
        return bytes(_of_host(self._host, os.read, self._host.fd, count))

    def write_next(self, _filp: file, data: bytes, _position: int) -> int:
        """As `write_iter`, at `f_pos`, which moves at once."""
        assert self._host is not None
        spend_output(self._host.kernel, len(data))
        return write_at(self._host, self, data, HERE)


def read_at(node: HostDescriptor, count: int, position: int) -> bytes:
    """As pread(2)."""
    return bytes(_of_host(node, os.pread, node.fd, count, position))


def seek_alone(node: HostDescriptor, position: int, offset: int, whence: int) -> int:
    """The new position of a file that was opened again and is at `position`; that of the descriptor, which others use
    meanwhile, stays.  EINVAL, and ENXIO behind the data, as the host says."""
    if whence == os.SEEK_CUR:
        offset += position
    elif whence == os.SEEK_END:
        offset += _of_host(node, os.fstat, node.fd).st_size
    elif whence != os.SEEK_SET:
        found: int = _of_host(node, _look_for, node.fd, offset, whence)
        return found
    if offset < 0:
        raise Errno(EINVAL)
    return offset


def _look_for(fd: int, offset: int, whence: int) -> int:
    """SEEK_DATA and SEEK_HOLE by a description of our own."""
    own = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.lseek(own, offset, whence)
    finally:
        os.close(own)


def write_at(node: HostDescriptor, filp: file, data: bytes, position: int) -> int:
    """As pwrite(2), or write(2) for `HERE`; perhaps less than all.  O_APPEND is that of the guest's `filp`."""
    where = _AS_OPENED
    if (filp.f_flags ^ node.flags) & O_APPEND:
        where = _AT_THE_END if filp.f_flags & O_APPEND else _NOT_THERE
    done: int = _of_host(node, _write, node.fd, data, position, where)
    return done


def _write(fd: int, data: bytes, position: int, where: int) -> int:
    if _RWF[where]:
        done = where_supported(lambda: os.pwritev(fd, (data,), position, _RWF[where]))
        if done is not None:
            return done
    if where == _AT_THE_END and position == HERE:
        os.lseek(fd, 0, os.SEEK_END)
    return os.write(fd, data) if position == HERE else os.pwrite(fd, data, position)


def _of_host(node: HostDescriptor, call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return node.kernel.host(call, *arguments)
    except OSError as failure:
        raise host_error(failure) from None


__all__ = ["HERE", "HostFile", "read_at", "seek_alone", "write_at"]
