"""Reads and writes of the host's pipes, sockets and terminals that never wait: the whole machine would wait with them.

Their descriptors are shared with whoever started us, so O_NONBLOCK is none of our business.  preadv2 and pwritev2 take
RWF_NOWAIT where the host has it for the kind (pipe(2) since Linux 6.5, sockets).  Terminals and FIFOs are opened a
second time, for one call: whoever reads the other end waits for the last of us to close it.  Where that can't be (a
terminal of another user, the master of one) a small piece goes to what says that it is ready.
"""

from __future__ import annotations

import errno
import os
import select
import stat
from collections.abc import Callable

_NOWAIT = getattr(os, "RWF_NOWAIT", 0)
"""0: this Python was made with a C library that has no preadv2."""
_NO_FLAGS = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
"""What a host says that has no RWF_NOWAIT, or not for this kind."""
_SURE = select.PIPE_BUF
"""Bytes that a pipe takes that says it is ready (pipe(7))."""
_SURE_OF_TERMINAL = 256
"""Likewise: a pseudo terminal's buffers grow by so much."""
_MOST = 1 << 16
_PTMX = os.makedev(5, 2)
"""Opened, it is another terminal each time."""


def read(fd: int, count: int) -> bytes:
    """As os.read; BlockingIOError where that would wait."""
    info = os.fstat(fd)
    buffer = bytearray(count if stat.S_ISSOCK(info.st_mode) else min(count, _MOST))  # a datagram comes whole or is cut
    done = _with_flag(info, lambda: os.preadv(fd, (buffer,), -1, _NOWAIT))
    if done is not None:
        return bytes(buffer[:done])
    if stat.S_ISSOCK(info.st_mode):
        import socket  # 4 ms of a start, and few programs' input is one

        with socket.socket(fileno=os.dup(fd)) as same:
            return same.recv(count, socket.MSG_DONTWAIT)
    again = _open_again(fd, info, os.O_RDONLY)
    if again is None:
        return os.read(fd, count)
    try:
        return os.read(again, count)
    finally:
        os.close(again)


def write(fd: int, data: bytes) -> int:
    """As os.write, perhaps less than all; BlockingIOError where it would wait."""
    info = os.fstat(fd)
    done = _with_flag(info, lambda: os.pwritev(fd, (data,), -1, _NOWAIT))
    if done is not None:
        return done
    if stat.S_ISSOCK(info.st_mode):
        import socket

        with socket.socket(fileno=os.dup(fd)) as same:
            return same.send(data, socket.MSG_DONTWAIT)
    again = _open_again(fd, info, os.O_WRONLY)
    if again is None:
        return os.write(fd, _as_much_as_is_sure(fd, data))
    try:
        return os.write(again, data)
    finally:
        os.close(again)


def _with_flag(info: os.stat_result, call: Callable[[], int]) -> int | None:
    """None where this Python, the host, or the kind of descriptor has no RWF_NOWAIT."""
    if not _NOWAIT or not (stat.S_ISFIFO(info.st_mode) or stat.S_ISSOCK(info.st_mode)):
        return None
    return where_supported(call)


def where_supported(call: Callable[[], int]) -> int | None:
    """`call` is preadv2(2) or pwritev2(2) with a flag; None where this Python, the host or the file has it not."""
    try:
        return call()
    except NotImplementedError:
        return None
    except OSError as failure:
        if failure.errno not in _NO_FLAGS:
            raise
        return None


def _open_again(fd: int, info: os.stat_result, how: int) -> int | None:
    """None where there is no need, or it can't be (a terminal of somebody else's, its master, no /proc)."""
    if not stat.S_ISFIFO(info.st_mode) and (not os.isatty(fd) or info.st_rdev == _PTMX):
        return None
    try:
        return os.open(f"/proc/self/fd/{fd}", how | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None


def _as_much_as_is_sure(fd: int, data: bytes) -> bytes:
    """What a descriptor takes at once that says it is ready."""
    poller = select.poll()
    poller.register(fd, select.POLLOUT)
    if not poller.poll(0):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return data[: _SURE_OF_TERMINAL if os.isatty(fd) else _SURE]


__all__ = ["read", "where_supported", "write"]
