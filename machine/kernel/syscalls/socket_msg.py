"""The calls that send and receive (net/socket.c, net/compat.c): send, sendto, sendmsg, sendmmsg and their twins."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Optional

from machine.kernel.abi.errno import EAGAIN, EFAULT, EINVAL, EMSGSIZE, ENOBUFS, Errno
from machine.kernel.abi.layout import MAX_RW_COUNT, UIO_MAXIOV, timespec_ns
from machine.kernel.fs.file import O_NONBLOCK, file
from machine.kernel.fs.read_write import Vectors, gather, scatter
from machine.kernel.mm.space import TASK_SIZE
from machine.kernel.net.scm import scm_cookie, scm_destroy, scm_recv, scm_send
from machine.kernel.net.sock import MSG_CMSG_CLOEXEC, MSG_DONTWAIT, MSG_WAITFORONE, Source
from machine.kernel.net.unix import unix_sock
from machine.kernel.syscalls.socket import SOCKADDR_STORAGE, get_address, lookup_unix, put_address
from machine.kernel.syscalls.table import syscall

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

_MSGHDR64, _MSGHDR32 = struct.Struct("<QI4xQQQQI4x"), struct.Struct("<IIIIIII")
_FIELDS64, _FIELDS32 = (8, 40, 48), (4, 20, 24)
"""Offsets of msg_namelen, msg_controllen and msg_flags."""
NO_OOB = "no MSG_OOB"


class msghdr(NamedTuple):
    """`struct msghdr` as the program filled it in."""

    name: int
    namelen: int
    iov: int
    iovlen: int
    control: int
    controllen: int
    flags: int


def _get_msghdr(task: Task, address: int) -> tuple[msghdr, Vectors]:
    """The header and its vectors: EFAULT, EMSGSIZE for too many, EINVAL (copy_msghdr_from_user)."""
    layout = _MSGHDR64 if task.abi.bits == 64 else _MSGHDR32
    header = msghdr(*layout.unpack(task.mm.copy_from_user(address, layout.size)))
    if header.namelen >> 31 and header.name:
        raise Errno(EINVAL)
    if header.iovlen > UIO_MAXIOV:
        raise Errno(EMSGSIZE)
    return header, task.abi.read_iovec(task.mm, header.iov, header.iovlen)


def _one_vector(buf: int, size: int) -> Vectors:
    """import_ubuf: EFAULT beyond the address space of any program, before the descriptor is looked at."""
    size = min(size, MAX_RW_COUNT)
    if buf + size > TASK_SIZE:
        raise Errno(EFAULT)
    return [(buf, size)]


def _source(task: Task, vectors: Vectors) -> Source:
    def read(offset: int, count: int) -> bytes:
        data = gather(task, vectors, offset, count) if count else b""
        if len(data) < count:
            raise Errno(EFAULT)
        return data

    return Source(sum(length for _, length in vectors), read)


def _sink(task: Task, vectors: Vectors) -> Callable[[bytes], int]:
    done = 0

    def put(data: bytes) -> int:
        nonlocal done
        taken = scatter(task, vectors, done, data) if data else 0
        done += taken
        return taken

    return put


def _nonblock(filp: file, flags: int) -> int:
    return flags | MSG_DONTWAIT if filp.f_flags & O_NONBLOCK else flags


# -- send ------------------------------------------------------------------------------------------


@syscall("sendto", "fd buf size flags:MSG_ ptr:sockaddr int", support=NO_OOB)
def sys_sendto(task: Task, fd: int, buf: int, size: int, flags: int, address: int, length: int) -> int:
    vectors = _one_vector(buf, size)
    filp, sk = lookup_unix(task, fd)
    name = get_address(task, address, length) if address else None
    return sk.sendmsg(task, _source(task, vectors), _nonblock(filp, flags), name or None, scm_cookie())


def _sendmsg(task: Task, filp: file, sk: unix_sock, message: int, flags: int) -> int:
    header, vectors = _get_msghdr(task, message)
    name = None
    if header.name and header.namelen:
        name = get_address(task, header.name, min(header.namelen, SOCKADDR_STORAGE))
    if header.controllen > 0x7FFF_FFFF:
        raise Errno(ENOBUFS)
    cookie = scm_send(task, header.control, header.controllen) if header.controllen else scm_cookie()
    try:
        return sk.sendmsg(task, _source(task, vectors), _nonblock(filp, flags), name, cookie)
    finally:
        scm_destroy(task.kernel, cookie.files)


@syscall("sendmsg", "fd ptr:msghdr flags:MSG_", support=NO_OOB)
def sys_sendmsg(task: Task, fd: int, message: int, flags: int) -> int:
    filp, sk = lookup_unix(task, fd)
    return _sendmsg(task, filp, sk, message, flags)


def _mmsghdr(task: Task) -> tuple[int, int]:
    """(size of `struct mmsghdr`, offset of its msg_len)."""
    return (64, 56) if task.abi.bits == 64 else (32, 28)


@syscall("sendmmsg", "fd ptr uint flags:MSG_", support=NO_OOB)
def sys_sendmmsg(task: Task, fd: int, messages: int, count: int, flags: int) -> int:
    """How many were sent: an error counts only when it was none (__sys_sendmmsg)."""
    filp, sk = lookup_unix(task, fd)
    step, length = _mmsghdr(task)
    done = 0
    for index in range(min(count, UIO_MAXIOV)):
        at = messages + index * step
        try:
            task.mm.put_u32(at + length, _sendmsg(task, filp, sk, at, flags))
        except Errno:
            if done:
                break
            raise
        done += 1
    return done


# -- receive ---------------------------------------------------------------------------------------


@syscall("recvfrom", "fd ptr:data> size flags:MSG_ ptr:sockaddr> ptr:socklen>", support=NO_OOB)
def sys_recvfrom(task: Task, fd: int, buf: int, size: int, flags: int, address: int, length: int) -> int:
    vectors = _one_vector(buf, size)
    filp, sk = lookup_unix(task, fd)
    received = sk.recvmsg(task, vectors[0][1], _sink(task, vectors), _nonblock(filp, flags))
    scm_destroy(task.kernel, received.files)
    if address:
        put_address(task, received.name or b"", address, length)
    return received.length


def _recvmsg(task: Task, filp: file, sk: unix_sock, message: int, flags: int) -> int:
    header, vectors = _get_msghdr(task, message)
    size = min(sum(length for _, length in vectors), MAX_RW_COUNT)
    received = sk.recvmsg(task, size, _sink(task, vectors), _nonblock(filp, flags))
    used, cut = scm_recv(task, received, sk.passcred, header.control, header.controllen, flags)
    namelen, controllen, msg_flags = (message + at for at in (_FIELDS64 if task.abi.bits == 64 else _FIELDS32))
    if header.name:
        put_address(task, received.name or b"", header.name, namelen)
    task.mm.put_u32(msg_flags, received.flags | cut | flags & MSG_CMSG_CLOEXEC)
    task.abi.put_word(task.mm, controllen, used)
    return received.length


@syscall("recvmsg", "fd ptr:msghdr> flags:MSG_", support=NO_OOB)
def sys_recvmsg(task: Task, fd: int, message: int, flags: int) -> int:
    filp, sk = lookup_unix(task, fd)
    return _recvmsg(task, filp, sk, message, flags)


def recvmmsg(task: Task, fd: int, messages: int, count: int, flags: int, timeout_ns: Optional[int]) -> int:
    """How many were received.  The time is looked at between messages only (do_recvmmsg)."""
    filp, sk = lookup_unix(task, fd)
    clock = task.kernel.clock
    end = None if timeout_ns is None else clock.monotonic_ns() + timeout_ns
    if sk.sk_err:
        raise Errno(sk.take_error())
    step, length = _mmsghdr(task)
    done = 0
    for index in range(min(count, UIO_MAXIOV)):
        at = messages + index * step
        try:
            task.mm.put_u32(at + length, _recvmsg(task, filp, sk, at, flags & ~MSG_WAITFORONE))
        except Errno as error:
            if not done:
                raise
            if error.errno != EAGAIN:
                sk.sk_err = error.errno
            break
        done += 1
        if flags & MSG_WAITFORONE:
            flags |= MSG_DONTWAIT
        if end is not None and clock.monotonic_ns() >= end:
            break
    return done


def _timeout(task: Task, address: int, time64: bool) -> Optional[int]:
    if not address:
        return None
    return timespec_ns(*(task.abi.get_timespec64 if time64 else task.abi.get_timespec)(task.mm, address))


@syscall("recvmmsg", "fd ptr uint flags:MSG_ ptr:ts", support="no MSG_OOB; the time left is not written back")
def sys_recvmmsg(task: Task, fd: int, messages: int, count: int, flags: int, timeout: int) -> int:
    return recvmmsg(task, fd, messages, count, flags, _timeout(task, timeout, False))


@syscall("recvmmsg_time64", "fd ptr uint flags:MSG_ ptr:ts64", abi="i386",
         support="no MSG_OOB; the time left is not written back")  # fmt: skip
def sys_recvmmsg_time64(task: Task, fd: int, messages: int, count: int, flags: int, timeout: int) -> int:
    return recvmmsg(task, fd, messages, count, flags, _timeout(task, timeout, True))
