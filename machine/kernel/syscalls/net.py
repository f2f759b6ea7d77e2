"""The calls of sockets, on a kernel without a protocol family (net/socket.c).

Nothing can be connected: `socket` checks its arguments and gives EAFNOSUPPORT, and as no descriptor is a socket, the
others give EBADF or ENOTSOCK, after the checks that Linux makes before it looks at the descriptor.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from machine.kernel.abi.errno import EAFNOSUPPORT, EFAULT, EINVAL, ENOTSOCK, Errno
from machine.kernel.mm.space import TASK_SIZE
from machine.kernel.syscalls.table import syscall

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

NPROTO, SOCK_MAX, SOCK_TYPE_MASK = 46, 11, 0xF
SOCK_FLAGS = 0o2004000
"""SOCK_CLOEXEC | SOCK_NONBLOCK."""
NO_FAMILY = "no protocol family: EAFNOSUPPORT"
NO_SOCKET = "no file is a socket: ENOTSOCK"


def _sock_create(family: int, kind: int) -> int:
    """__sock_create: a family that can't be is told before a wrong type; then there is none of any name."""
    if not 0 <= family < NPROTO:
        raise Errno(EAFNOSUPPORT)
    if kind & SOCK_TYPE_MASK >= SOCK_MAX:
        raise Errno(EINVAL)
    raise Errno(EAFNOSUPPORT)


@syscall("socket", "int int int", sleeps=False, result="fd", support=NO_FAMILY)
def sys_socket(task: Task, family: int, kind: int, protocol: int) -> int:
    if kind & ~SOCK_TYPE_MASK & ~SOCK_FLAGS:
        raise Errno(EINVAL)
    return _sock_create(family, kind)


@syscall("socketpair", "int int int ptr", support=NO_FAMILY)
def sys_socketpair(task: Task, family: int, kind: int, protocol: int, pair: int) -> int:
    """EFAULT comes before EAFNOSUPPORT: Linux writes the numbers of the descriptors first."""
    if kind & ~SOCK_TYPE_MASK & ~SOCK_FLAGS:
        raise Errno(EINVAL)
    first = task.files.free_fd()
    task.mm.copy_to_user(pair, struct.pack("<ii", first, task.files.free_fd(first + 1)))
    return _sock_create(family, kind)


def _sockfd_lookup(task: Task, fd: int) -> int:
    """EBADF or ENOTSOCK."""
    task.files.fget(fd)
    raise Errno(ENOTSOCK)


@syscall("bind", "fd ptr int", sleeps=False, support=NO_SOCKET)
def sys_bind(task: Task, fd: int, address: int, length: int) -> int:
    return _sockfd_lookup(task, fd)


@syscall("connect", "fd ptr int", sleeps=False, support=NO_SOCKET)
def sys_connect(task: Task, fd: int, address: int, length: int) -> int:
    return _sockfd_lookup(task, fd)


@syscall("listen", "fd int", sleeps=False, support=NO_SOCKET)
def sys_listen(task: Task, fd: int, backlog: int) -> int:
    return _sockfd_lookup(task, fd)


@syscall("accept", "fd ptr ptr", abi="x86_64", sleeps=False, support=NO_SOCKET)
def sys_accept(task: Task, fd: int, address: int, length: int) -> int:
    return _sockfd_lookup(task, fd)


@syscall("accept4", "fd ptr ptr flags", sleeps=False, support=NO_SOCKET)
def sys_accept4(task: Task, fd: int, address: int, length: int, flags: int) -> int:
    task.files.fget(fd)
    if flags & ~SOCK_FLAGS:
        raise Errno(EINVAL)
    return _sockfd_lookup(task, fd)


@syscall("getsockname", "fd ptr ptr", sleeps=False, support=NO_SOCKET)
def sys_getsockname(task: Task, fd: int, address: int, length: int) -> int:
    return _sockfd_lookup(task, fd)


@syscall("getpeername", "fd ptr ptr", sleeps=False, support=NO_SOCKET)
def sys_getpeername(task: Task, fd: int, address: int, length: int) -> int:
    return _sockfd_lookup(task, fd)


def _transfer(task: Task, fd: int, buf: int, size: int) -> int:
    """import_single_range first: EFAULT beyond user space."""
    if buf + min(size, 0x7FFF_F000) > TASK_SIZE:
        raise Errno(EFAULT)
    return _sockfd_lookup(task, fd)


@syscall("sendto", "fd buf size flags ptr int", sleeps=False, support=NO_SOCKET)
def sys_sendto(task: Task, fd: int, buf: int, size: int, flags: int, address: int, length: int) -> int:
    return _transfer(task, fd, buf, size)


@syscall("recvfrom", "fd ptr size flags ptr ptr", sleeps=False, support=NO_SOCKET)
def sys_recvfrom(task: Task, fd: int, buf: int, size: int, flags: int, address: int, length: int) -> int:
    return _transfer(task, fd, buf, size)


@syscall("sendmsg", "fd ptr flags", sleeps=False, support=NO_SOCKET)
def sys_sendmsg(task: Task, fd: int, message: int, flags: int) -> int:
    return _sockfd_lookup(task, fd)


@syscall("recvmsg", "fd ptr flags", sleeps=False, support=NO_SOCKET)
def sys_recvmsg(task: Task, fd: int, message: int, flags: int) -> int:
    return _sockfd_lookup(task, fd)


@syscall("shutdown", "fd int", sleeps=False, support=NO_SOCKET)
def sys_shutdown(task: Task, fd: int, how: int) -> int:
    return _sockfd_lookup(task, fd)


@syscall("setsockopt", "fd int int ptr int", sleeps=False, support=NO_SOCKET)
def sys_setsockopt(task: Task, fd: int, level: int, name: int, value: int, length: int) -> int:
    return _sockfd_lookup(task, fd)


@syscall("getsockopt", "fd int int ptr ptr", sleeps=False, support=NO_SOCKET)
def sys_getsockopt(task: Task, fd: int, level: int, name: int, value: int, length: int) -> int:
    return _sockfd_lookup(task, fd)


def _send(task: Task, fd: int, buf: int, size: int, flags: int) -> int:
    return _transfer(task, fd, buf, size)


def _messages(task: Task, fd: int, *_: int) -> int:
    return _sockfd_lookup(task, fd)


SOCKETCALLS: tuple[tuple[int, Callable[..., int]], ...] = (
    (3, sys_socket), (3, sys_bind), (3, sys_connect), (2, sys_listen), (3, sys_accept), (3, sys_getsockname),
    (3, sys_getpeername), (4, sys_socketpair), (4, _send), (4, _send), (6, sys_sendto), (6, sys_recvfrom),
    (2, sys_shutdown), (5, sys_setsockopt), (5, sys_getsockopt), (3, sys_sendmsg), (3, sys_recvmsg), (4, sys_accept4),
    (5, _messages), (4, _messages),
)  # fmt: skip
"""(number of arguments, call) of SYS_SOCKET, 1, to SYS_SENDMMSG, 20."""
UNSIGNED = {sys_sendto: (1, 2), sys_recvfrom: (1, 2), _send: (1, 2), sys_socketpair: (3,), sys_accept4: (3,)}
"""Which arguments of these are addresses, sizes and flags."""


@syscall("socketcall", "int ptr", abi="i386", support=NO_FAMILY)
def compat_sys_socketcall(task: Task, call: int, block: int) -> int:
    """The arguments are in memory.  EINVAL: no such call; EFAULT (net/compat.c: compat_sys_socketcall)."""
    if not 1 <= call <= len(SOCKETCALLS):
        raise Errno(EINVAL)
    count, handler = SOCKETCALLS[call - 1]
    arguments = list(struct.unpack(f"<{count}i", task.mm.copy_from_user(block, 4 * count)))
    for index in UNSIGNED.get(handler, ()):
        arguments[index] &= 0xFFFF_FFFF
    return handler(task, *arguments)
