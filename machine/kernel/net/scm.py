"""Control messages: descriptors and credentials that travel with a message (net/core/scm.c)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Optional

from machine.kernel.abi.capability import CAP_SETGID, CAP_SETUID, CAP_SYS_ADMIN
from machine.kernel.abi.errno import EINVAL, EPERM, ESRCH, Errno
from machine.kernel.capability import capable
from machine.kernel.fs.fdtable import fput
from machine.kernel.net.garbage import unix_gc, unix_gc_of
from machine.kernel.net.sock import MSG_CMSG_CLOEXEC, MSG_CTRUNC, Ucred

if TYPE_CHECKING:
    from machine.kernel.fs.file import file
    from machine.kernel.kernel import Kernel
    from machine.kernel.net.sock import Received
    from machine.kernel.net.table import UnixTable
    from machine.kernel.task.task import Task

SOL_SOCKET, SCM_RIGHTS, SCM_CREDENTIALS, SCM_SECURITY, SCM_PIDFD = 1, 1, 2, 3, 4
SCM_MAX_FD = 253
FEW = 8
"""Sockets that are looked at one by one; for more of them all in flight are looked at once."""
UCRED = struct.Struct("<iII")


class scm_cookie:
    """What the control part of a sendmsg asked for."""

    __slots__ = ("creds", "files")

    def __init__(self) -> None:
        self.creds: Optional[Ucred] = None
        """Given by SCM_CREDENTIALS."""
        self.files: list[file] = []
        """Given by SCM_RIGHTS; each has a reference."""


def scm_destroy(kernel: Kernel, files: Iterable[file]) -> None:
    """Drop the references of files that did not arrive; one that closes a socket with more of them does not recurse.
    Those that other messages hold are looked at then: perhaps nothing else does."""
    unix = kernel.unix
    unix.delayed_fput.extend(files)
    if unix.closing:
        return
    unix.closing = True
    held: dict[file, None] = {}
    try:
        while unix.delayed_fput or held:
            while unix.delayed_fput:
                filp = unix.delayed_fput.popleft()
                if filp in unix.inflight:
                    held[filp] = None
                fput(filp)
            if held:
                _look_at(unix, held)
                held.clear()
    finally:
        unix.closing = False


def _look_at(unix: UnixTable, held: dict[file, None]) -> None:
    if len(held) > FEW:
        unix_gc(unix)
        return
    for filp in held:
        if filp in unix.inflight:
            unix_gc_of(unix, filp)


def _header(task: Task) -> struct.Struct:
    """`struct cmsghdr`: cmsg_len, cmsg_level, cmsg_type."""
    return struct.Struct("<Qii" if task.abi.bits == 64 else "<Iii")


def scm_send(task: Task, control: int, length: int) -> scm_cookie:
    """Read the control messages at `control`.  EFAULT; EINVAL for one that is too short, too long or unknown; EBADF,
    EPERM and ESRCH for what is in them (scm_send, __scm_send)."""
    cookie = scm_cookie()
    data = task.mm.copy_from_user(control, length) if length else b""
    messages = _messages(task, data)
    if task.abi.bits == 32:
        messages = iter(list(messages))  # all are translated before the first is looked at
    try:
        for level, kind, body in messages:
            if level == SOL_SOCKET:
                _one_message(task, cookie, kind, body)
    except Errno:
        scm_destroy(task.kernel, cookie.files)
        raise
    return cookie


def _messages(task: Task, data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Level, kind and contents of each.  EINVAL: a length that can't be.  A last piece shorter than a header is passed
    over (CMSG_NXTHDR), but not for i386 programs: there one byte makes a header (net/compat.c: cmsg_compat_nxthdr)."""
    head, word = _header(task), task.abi.word
    least = head.size if task.abi.bits == 64 else 1
    offset = 0
    while offset + least <= len(data):
        left = len(data) - offset
        size, level, kind = head.unpack_from(data, offset) if left >= head.size else (0, 0, 0)
        if not head.size <= size <= left:
            raise Errno(EINVAL)
        yield level, kind, data[offset + head.size : offset + size]
        offset += size + word - 1 & -word


def _one_message(task: Task, cookie: scm_cookie, kind: int, body: bytes) -> None:
    if kind == SCM_RIGHTS:
        _copy_fds(task, cookie, body)
    elif kind == SCM_CREDENTIALS:
        if len(body) != UCRED.size:
            raise Errno(EINVAL)
        cookie.creds = _checked(task, Ucred(*UCRED.unpack(body)))
    else:
        raise Errno(EINVAL)


def _copy_fds(task: Task, cookie: scm_cookie, body: bytes) -> None:
    count = len(body) // 4
    if count > SCM_MAX_FD or len(cookie.files) + count > SCM_MAX_FD:
        raise Errno(EINVAL)
    for (fd,) in struct.iter_unpack("<i", body[: 4 * count]):
        cookie.files.append(task.files.fget_raw(fd).get())


def _checked(task: Task, creds: Ucred) -> Ucred:
    """Only root may pretend to be somebody else (scm_check_creds)."""
    if (
        (creds.pid != task.tgid and not capable(task, CAP_SYS_ADMIN))
        or (creds.uid not in (task.uid, task.euid, task.suid) and not capable(task, CAP_SETUID))
        or (creds.gid not in (task.gid, task.egid, task.sgid) and not capable(task, CAP_SETGID))
    ):
        raise Errno(EPERM)
    if creds.uid == 0xFFFFFFFF or creds.gid == 0xFFFFFFFF:
        raise Errno(EINVAL)
    if creds.pid not in task.kernel.tasks:
        raise Errno(ESRCH)
    return creds


class _Control:
    """The receiver's control buffer, filled from the front."""

    def __init__(self, task: Task, address: int, room: int) -> None:
        self.task = task
        self.address = address
        self.room = room
        self.head = _header(task)
        self.flags = 0

    def put(self, kind: int, body: bytes) -> None:
        """One message, cut where there is no room (put_cmsg)."""
        if not self.address or self.room < self.head.size:
            self.flags |= MSG_CTRUNC
            return
        size = self.head.size + len(body)
        if size > self.room:
            self.flags |= MSG_CTRUNC
            size = self.room
        message = (self.head.pack(size, SOL_SOCKET, kind) + body)[:size]
        if self.task.mm.write_some(self.address, message) < size:
            return  # as Linux: the message is not there, and nobody hears of it
        self._advance(size)

    def _advance(self, size: int) -> None:
        word = self.task.abi.word
        step = min(size + word - 1 & -word, self.room)
        self.address += step
        self.room -= step

    def put_files(self, files: tuple[file, ...], cloexec: bool) -> None:
        """A descriptor for each file that there is room and a number for (scm_detach_fds)."""
        task = self.task
        count = max(0, (self.room - self.head.size) // 4) if self.address else 0
        numbers: list[int] = []
        for filp in files[:count]:
            try:
                fd = task.files.free_fd()
            except Errno:
                break
            if task.mm.write_some(self.address + self.head.size + 4 * len(numbers), struct.pack("<i", fd)) < 4:
                break
            numbers.append(task.files.install(filp.get(), fd, cloexec))
        if numbers:
            size = self.head.size + 4 * len(numbers)
            if task.mm.write_some(self.address, self.head.pack(size, SOL_SOCKET, SCM_RIGHTS)) == self.head.size:
                self._advance(size)
        if len(numbers) < len(files):
            self.flags |= MSG_CTRUNC


def scm_recv(task: Task, received: Received, passcred: bool, control: int, length: int, flags: int) -> tuple[int, int]:
    """Write the control messages of a receive: (bytes used of the buffer, MSG_CTRUNC or 0).

    The files' references are used up.
    """
    buffer = _Control(task, control, length)
    if not control:
        buffer.flags = MSG_CTRUNC if passcred or received.files else 0
    else:
        if passcred:
            buffer.put(SCM_CREDENTIALS, UCRED.pack(*received.creds))
        if received.files:
            buffer.put_files(received.files, bool(flags & MSG_CMSG_CLOEXEC))
    scm_destroy(task.kernel, received.files)
    return length - buffer.room, buffer.flags


__all__ = ["SCM_CREDENTIALS", "SCM_RIGHTS", "UCRED", "scm_cookie", "scm_destroy", "scm_recv", "scm_send"]
