"""getsockopt and setsockopt (net/core/sock.c: sk_getsockopt, sk_setsockopt)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from machine.kernel.abi.capability import CAP_NET_ADMIN
from machine.kernel.abi.errno import EDOM, EINVAL, ENOPROTOOPT, EOPNOTSUPP, EPERM, Errno
from machine.kernel.abi.layout import NSEC_PER_SEC
from machine.kernel.capability import capable
from machine.kernel.net.scm import UCRED
from machine.kernel.net.sock import SK_WMEM_MAX, TCP_LISTEN, Ucred
from machine.kernel.net.unix import unix_sock
from machine.kernel.syscalls.socket import lookup_unix
from machine.kernel.syscalls.table import syscall

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

SOL_SOCKET = 1
SO_DEBUG, SO_REUSEADDR, SO_TYPE, SO_ERROR, SO_DONTROUTE, SO_BROADCAST, SO_SNDBUF, SO_RCVBUF = range(1, 9)
SO_KEEPALIVE, SO_OOBINLINE, SO_NO_CHECK, SO_PRIORITY, SO_LINGER = range(9, 14)
SO_REUSEPORT, SO_PASSCRED, SO_PEERCRED, SO_RCVLOWAT, SO_SNDLOWAT, SO_RCVTIMEO, SO_SNDTIMEO = range(15, 22)
SO_TIMESTAMP, SO_ACCEPTCONN, SO_SNDBUFFORCE, SO_RCVBUFFORCE, SO_PROTOCOL, SO_DOMAIN = 29, 30, 32, 33, 38, 39
SO_RCVTIMEO_NEW, SO_SNDTIMEO_NEW = 66, 67
SOCK_MIN_SNDBUF, SOCK_MIN_RCVBUF = 4608, 2304
_KEPT = {SO_DEBUG, SO_REUSEADDR, SO_DONTROUTE, SO_BROADCAST, SO_KEEPALIVE, SO_OOBINLINE, SO_NO_CHECK, SO_PRIORITY}
"""What a socket on one machine has no use for."""
_FLAGS = _KEPT - {SO_PRIORITY}
_TIMEVAL64 = struct.Struct("<qq")
SUPPORT = "no SO_REUSEPORT, SO_TIMESTAMP, SO_PEEK_OFF, filters: ENOPROTOOPT"


def _timeval(task: Task, name: int) -> struct.Struct:
    return _TIMEVAL64 if name in (SO_RCVTIMEO_NEW, SO_SNDTIMEO_NEW) else task.abi.timeval


# -- set ---------------------------------------------------------------------------------------------


def _set_timeout(task: Task, sk: unix_sock, name: int, value: int, length: int) -> None:
    """EINVAL: too short; EDOM: microseconds of a second or more (sock_set_timeout).  Zero is for ever."""
    layout = _timeval(task, name)
    if length < layout.size:
        raise Errno(EINVAL)
    seconds, us = layout.unpack(task.mm.copy_from_user(value, layout.size))
    if not 0 <= us < 1_000_000:
        raise Errno(EDOM)
    nanoseconds = seconds * NSEC_PER_SEC + us * 1000
    timeo = None if nanoseconds == 0 else max(0, nanoseconds)
    if name in (SO_RCVTIMEO, SO_RCVTIMEO_NEW):
        sk.sk_rcvtimeo = timeo
    else:
        sk.sk_sndtimeo = timeo


def _set_buffer(task: Task, sk: unix_sock, name: int, number: int) -> None:
    """Twice what was asked for, as overhead counts; the FORCE forms need root."""
    if name in (SO_SNDBUFFORCE, SO_RCVBUFFORCE):
        if not capable(task, CAP_NET_ADMIN):
            raise Errno(EPERM)
        number = max(0, number)
    else:
        number = min(number & 0xFFFFFFFF, SK_WMEM_MAX)
    number = min(number, 0x3FFFFFFF)
    if name in (SO_SNDBUF, SO_SNDBUFFORCE):
        sk.sk_sndbuf = max(number * 2, SOCK_MIN_SNDBUF)
        sk.wr_wait.wake()
    else:
        sk.sk_rcvbuf = max(number * 2, SOCK_MIN_RCVBUF)


@syscall("setsockopt", "fd int:SOL_ int:SO_ ptr:sockopt int", support=SUPPORT)
def sys_setsockopt(task: Task, fd: int, level: int, name: int, value: int, length: int) -> int:
    """EINVAL: a value that is too short; ENOPROTOOPT; EOPNOTSUPP at another level than SOL_SOCKET; EFAULT, EPERM."""
    _, sk = lookup_unix(task, fd)
    if length < 0:
        raise Errno(EINVAL)
    if level != SOL_SOCKET:
        raise Errno(EOPNOTSUPP)
    if length < 4:
        raise Errno(EINVAL)
    (number,) = struct.unpack("<i", task.mm.copy_from_user(value, 4))
    if name in (SO_SNDBUF, SO_RCVBUF, SO_SNDBUFFORCE, SO_RCVBUFFORCE):
        _set_buffer(task, sk, name, number)
    elif name in (SO_RCVTIMEO, SO_SNDTIMEO, SO_RCVTIMEO_NEW, SO_SNDTIMEO_NEW):
        _set_timeout(task, sk, name, value, length)
    elif name == SO_PASSCRED:
        sk.passcred = bool(number)
    elif name == SO_RCVLOWAT:
        sk.sk_rcvlowat = 0x7FFFFFFF if number < 0 else number or 1
    elif name == SO_LINGER:
        if length < 8:
            raise Errno(EINVAL)
        on, seconds = struct.unpack("<ii", task.mm.copy_from_user(value, 8))
        sk.linger = (int(bool(on)), seconds if on else sk.linger[1])
    elif name in _KEPT:
        if name == SO_PRIORITY and not 0 <= number <= 6 and not capable(task, CAP_NET_ADMIN):
            raise Errno(EPERM)
        sk.options[name] = int(bool(number)) if name in _FLAGS else number
    else:
        raise Errno(ENOPROTOOPT)
    return 0


# -- get ---------------------------------------------------------------------------------------------


def _value(task: Task, sk: unix_sock, name: int) -> bytes:
    """The option's value; ENOPROTOOPT."""
    numbers = {
        SO_TYPE: sk.sk_type, SO_SNDBUF: sk.sk_sndbuf, SO_RCVBUF: sk.sk_rcvbuf, SO_PASSCRED: int(sk.passcred),
        SO_RCVLOWAT: sk.sk_rcvlowat, SO_SNDLOWAT: 1, SO_ACCEPTCONN: int(sk.sk_state == TCP_LISTEN),
        SO_PROTOCOL: sk.sk_protocol, SO_DOMAIN: sk.family,
    }  # fmt: skip
    if name in numbers:
        return struct.pack("<i", numbers[name])
    if name == SO_ERROR:
        return struct.pack("<i", sk.take_error())
    if name in _KEPT:
        return struct.pack("<i", sk.options.get(name, 0))
    if name == SO_LINGER:
        return struct.pack("<ii", *sk.linger)
    if name == SO_PEERCRED:
        return UCRED.pack(*_peercred(sk))
    if name in (SO_RCVTIMEO, SO_SNDTIMEO, SO_RCVTIMEO_NEW, SO_SNDTIMEO_NEW):
        timeo = sk.sk_rcvtimeo if name in (SO_RCVTIMEO, SO_RCVTIMEO_NEW) else sk.sk_sndtimeo
        seconds, rest = divmod(timeo or 0, NSEC_PER_SEC)
        return _timeval(task, name).pack(seconds, rest // 1000)
    raise Errno(ENOPROTOOPT)


def _peercred(sk: unix_sock) -> Ucred:
    """Who connected, listened or made the pair; (0, -1, -1) without a peer."""
    return sk.sk_peercred or Ucred(0, 0xFFFFFFFF, 0xFFFFFFFF)


@syscall("getsockopt", "fd int:SOL_ int:SO_ ptr:sockopt> ptr:socklen>", support=SUPPORT)
def sys_getsockopt(task: Task, fd: int, level: int, name: int, value: int, length: int) -> int:
    """As much of the value as fits; EFAULT, EINVAL for a negative length, ENOPROTOOPT, EOPNOTSUPP."""
    _, sk = lookup_unix(task, fd)
    if level != SOL_SOCKET:
        raise Errno(EOPNOTSUPP)
    room = (task.mm.get_u32(length) ^ 1 << 31) - (1 << 31)
    if room < 0:
        raise Errno(EINVAL)
    data = _value(task, sk, name)[:room]
    task.mm.copy_to_user(value, data)
    task.mm.put_u32(length, len(data))
    return 0
