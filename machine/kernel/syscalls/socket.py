"""The calls that make, name, connect and end sockets (net/socket.c).  AF_UNIX is the only family there is."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from machine.kernel.abi.errno import (
    EAFNOSUPPORT,
    EINVAL,
    EPROTONOSUPPORT,
    ESOCKTNOSUPPORT,
    Errno,
)
from machine.kernel.fs.file import O_CLOEXEC, O_NONBLOCK, file
from machine.kernel.net.sock import AF_UNIX, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM, sock
from machine.kernel.net.socket import sock_file, sockfd_lookup
from machine.kernel.net.unix import unix_create, unix_sock
from machine.kernel.syscalls.table import syscall

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import Task

NPROTO, SOCK_MAX, SOCK_TYPE_MASK = 46, 11, 0xF
SOCK_FLAGS = O_CLOEXEC | O_NONBLOCK
SOCKADDR_STORAGE = 128
ONLY_UNIX = "AF_UNIX; EAFNOSUPPORT for every other family"


def _sock_create(kernel: Kernel, family: int, kind: int, protocol: int) -> unix_sock:
    """__sock_create: a family that can't be is told before a wrong type; then there is one."""
    if not 0 <= family < NPROTO:
        raise Errno(EAFNOSUPPORT)
    if kind & SOCK_TYPE_MASK >= SOCK_MAX:
        raise Errno(EINVAL)
    if family != AF_UNIX:
        raise Errno(EAFNOSUPPORT)
    if protocol not in (0, AF_UNIX):
        raise Errno(EPROTONOSUPPORT)
    if kind & SOCK_TYPE_MASK not in (SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET):
        raise Errno(ESOCKTNOSUPPORT)
    return unix_create(kernel, kind & SOCK_TYPE_MASK, protocol)


def as_unix(sk: sock) -> unix_sock:
    """The socket as what every socket is here."""
    assert isinstance(sk, unix_sock)
    return sk


def lookup_unix(task: Task, fd: int) -> tuple[file, unix_sock]:
    """(open file, socket): EBADF, ENOTSOCK."""
    filp, sk = sockfd_lookup(task, fd)
    return filp, as_unix(sk)


def get_address(task: Task, address: int, length: int) -> bytes:
    """A socket address from user memory: EINVAL, EFAULT (move_addr_to_kernel)."""
    if not 0 <= length <= SOCKADDR_STORAGE:
        raise Errno(EINVAL)
    return task.mm.copy_from_user(address, length) if length else b""


def put_address(task: Task, data: bytes, address: int, length: int) -> None:
    """Write as much of a socket address as fits into `*length` bytes, and its whole length there
    (move_addr_to_user)."""
    room = (task.mm.get_u32(length) ^ 1 << 31) - (1 << 31)
    task.mm.put_u32(length, len(data))
    if room < 0:
        raise Errno(EINVAL)
    if room and data:
        task.mm.copy_to_user(address, data[:room])


@syscall("socket", "int:AF_ int:SOCK_ int", result="fd", support=ONLY_UNIX)
def sys_socket(task: Task, family: int, kind: int, protocol: int) -> int:
    if kind & ~SOCK_TYPE_MASK & ~SOCK_FLAGS:
        raise Errno(EINVAL)
    sk = _sock_create(task.kernel, family, kind, protocol)
    try:
        fd = task.files.free_fd()
    except Errno:
        sk.release()
        raise
    return task.files.install(sock_file(task.kernel, sk, kind), fd, bool(kind & O_CLOEXEC))


@syscall("socketpair", "int:AF_ int:SOCK_ int ptr:fds>", support=ONLY_UNIX)
def sys_socketpair(task: Task, family: int, kind: int, protocol: int, pair: int) -> int:
    """EFAULT comes before EAFNOSUPPORT: Linux writes the numbers of the descriptors first."""
    if kind & ~SOCK_TYPE_MASK & ~SOCK_FLAGS:
        raise Errno(EINVAL)
    files = task.files
    first = files.free_fd()
    second = files.free_fd(first + 1)
    task.mm.copy_to_user(pair, struct.pack("<ii", first, second))
    one = _sock_create(task.kernel, family, kind, protocol)
    other = _sock_create(task.kernel, family, kind, protocol)
    one.pair_with(task, other)
    cloexec = bool(kind & O_CLOEXEC)
    files.install(sock_file(task.kernel, one, kind), first, cloexec)
    files.install(sock_file(task.kernel, other, kind), second, cloexec)
    return 0


@syscall("bind", "fd ptr:sockaddr int", support="a name in a --bind directory: EPERM")
def sys_bind(task: Task, fd: int, address: int, length: int) -> int:
    _, sk = lookup_unix(task, fd)
    sk.bind(task, get_address(task, address, length))
    return 0


@syscall("connect", "fd ptr:sockaddr int")
def sys_connect(task: Task, fd: int, address: int, length: int) -> int:
    filp, sk = lookup_unix(task, fd)
    sk.connect(task, get_address(task, address, length), filp.f_flags & O_NONBLOCK)
    return 0


@syscall("listen", "fd int", sleeps=False)
def sys_listen(task: Task, fd: int, backlog: int) -> int:
    _, sk = lookup_unix(task, fd)
    sk.listen(task, backlog)
    return 0


def _accept(task: Task, fd: int, address: int, length: int, flags: int) -> int:
    """The address is written before the descriptor is there: EFAULT loses the connection (do_accept)."""
    filp = task.files.fget(fd)
    if flags & ~SOCK_FLAGS:
        raise Errno(EINVAL)
    task.files.free_fd()  # EMFILE comes before what the file is
    filp, sk = lookup_unix(task, fd)
    new = sk.accept(task, filp.f_flags & O_NONBLOCK)
    made = sock_file(task.kernel, new, flags)
    try:
        if address:
            put_address(task, new.getname(peer=True), address, length)
        number = task.files.free_fd()
    except Errno:
        made.put()
        raise
    return task.files.install(made, number, bool(flags & O_CLOEXEC))


@syscall("accept", "fd ptr:sockaddr> ptr:socklen>", abi="x86_64", result="fd")
def sys_accept(task: Task, fd: int, address: int, length: int) -> int:
    return _accept(task, fd, address, length, 0)


@syscall("accept4", "fd ptr:sockaddr> ptr:socklen> flags:SOCKF_", result="fd")
def sys_accept4(task: Task, fd: int, address: int, length: int, flags: int) -> int:
    return _accept(task, fd, address, length, flags)


@syscall("getsockname", "fd ptr:sockaddr> ptr:socklen>")
def sys_getsockname(task: Task, fd: int, address: int, length: int) -> int:
    put_address(task, lookup_unix(task, fd)[1].getname(peer=False), address, length)
    return 0


@syscall("getpeername", "fd ptr:sockaddr> ptr:socklen>")
def sys_getpeername(task: Task, fd: int, address: int, length: int) -> int:
    put_address(task, lookup_unix(task, fd)[1].getname(peer=True), address, length)
    return 0


@syscall("shutdown", "fd int:SHUT_", sleeps=False)
def sys_shutdown(task: Task, fd: int, how: int) -> int:
    lookup_unix(task, fd)[1].shutdown(how)
    return 0
