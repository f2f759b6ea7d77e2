"""socketcall, i386's one number for all calls of sockets (net/compat.c)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from machine.kernel.abi.errno import EINVAL, Errno
from machine.kernel.syscalls import socket, socket_msg, socket_opt
from machine.kernel.syscalls.table import syscall

if TYPE_CHECKING:
    from machine.kernel.task.task import Task


def _send(task: Task, fd: int, buf: int, size: int, flags: int) -> int:
    return socket_msg.sys_sendto(task, fd, buf, size, flags, 0, 0)


def _recv(task: Task, fd: int, buf: int, size: int, flags: int) -> int:
    return socket_msg.sys_recvfrom(task, fd, buf, size, flags, 0, 0)


SOCKETCALLS: tuple[tuple[str, Callable[..., int]], ...] = (
    ("iii", socket.sys_socket), ("iIi", socket.sys_bind), ("iIi", socket.sys_connect), ("ii", socket.sys_listen),
    ("iII", socket.sys_accept), ("iII", socket.sys_getsockname), ("iII", socket.sys_getpeername),
    ("iiiI", socket.sys_socketpair), ("iIII", _send), ("iIII", _recv), ("iIIIIi", socket_msg.sys_sendto),
    ("iIIIII", socket_msg.sys_recvfrom), ("ii", socket.sys_shutdown), ("iiiIi", socket_opt.sys_setsockopt),
    ("iiiII", socket_opt.sys_getsockopt), ("iII", socket_msg.sys_sendmsg), ("iII", socket_msg.sys_recvmsg),
    ("iIII", socket.sys_accept4), ("iIIII", socket_msg.sys_recvmmsg), ("iIII", socket_msg.sys_sendmmsg),
)  # fmt: skip
"""(types of the arguments, call) of SYS_SOCKET, 1, to SYS_SENDMMSG, 20."""


@syscall("socketcall", "int ptr", abi="i386", support=socket.ONLY_UNIX)
def compat_sys_socketcall(task: Task, call: int, block: int) -> int:
    """The arguments are in memory.  EINVAL: no such call; EFAULT (compat_sys_socketcall)."""
    if not 1 <= call <= len(SOCKETCALLS):
        raise Errno(EINVAL)
    types, handler = SOCKETCALLS[call - 1]
    return handler(task, *struct.unpack(f"<{types}", task.mm.copy_from_user(block, 4 * len(types))))
