"""mq_open(2) and its family (ipc/mqueue.c)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Optional

from machine.kernel.abi.errno import EBADF, EINVAL, ENOENT, Errno
from machine.kernel.abi.layout import timespec_ns
from machine.kernel.abi.signal import NSIG
from machine.kernel.fs.file import O_CREAT, O_NONBLOCK
from machine.kernel.ipc import mqueue as mq
from machine.kernel.syscalls.files import user_path
from machine.kernel.syscalls.table import syscall

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

_ACCESS = (4, 2, 6, 6)


def _attributes(task: Task) -> struct.Struct:
    """`struct mq_attr`: flags, maxmsg, msgsize, curmsgs."""
    return struct.Struct("<4q32x" if task.abi.bits == 64 else "<4i16x")


@syscall("mq_open", "str flags:O_ mode ptr", result="fd")
def sys_mq_open(task: Task, address: int, flags: int, mode: int, attr: int) -> int:
    """A close-on-exec descriptor of a queue.  ENOENT, EEXIST, EACCES, EINVAL, EMFILE, ENOSPC, ENAMETOOLONG."""
    wanted = None
    if attr and (task.abi.bits == 64 or flags & O_CREAT):  # ipc/mqueue.c: the compat call looks at it then only
        layout = _attributes(task)
        _, maxmsg, msgsize, _ = layout.unpack(task.mm.copy_from_user(attr, layout.size))
        wanted = maxmsg, msgsize
    name = user_path(task, address)
    mq.check_name(name)
    fd = task.files.free_fd()
    queue = mq.find(task, name, flags, _ACCESS[flags & 3])
    if queue is None:
        if not flags & O_CREAT:
            raise Errno(ENOENT)
        queue = mq.create(task, name, mode, wanted)
    return task.files.install(mq.open_queue(queue, name, flags & (3 | O_NONBLOCK)), fd, True)


@syscall("mq_unlink", "str")
def sys_mq_unlink(task: Task, address: int) -> int:
    """The name of a queue goes.  ENOENT, EPERM."""
    name = user_path(task, address)
    mq.check_name(name)
    mq.unlink(task, name)
    return 0


def _deadline(task: Task, address: int, read: Callable[..., tuple[int, int]]) -> Optional[int]:
    return timespec_ns(*read(task.mm, address)) if address else None


def _send(task: Task, fd: int, text: int, size: int, priority: int, deadline: Optional[int]) -> int:
    if priority >= mq.MQ_PRIO_MAX:
        raise Errno(EINVAL)
    filp = task.files.fget(fd)
    mq.check_send(filp, size)
    mq.send(task, filp, task.mm.copy_from_user(text, size), priority, deadline)
    return 0


@syscall("mq_timedsend", "fd buf size uint ptr:ts")
def sys_mq_timedsend(task: Task, fd: int, text: int, size: int, priority: int, timeout: int) -> int:
    """Send a message, before an absolute time.  EBADF, EINVAL, EMSGSIZE, EAGAIN, ETIMEDOUT, EINTR."""
    return _send(task, fd, text, size, priority, _deadline(task, timeout, task.abi.get_timespec))


@syscall("mq_timedsend_time64", "fd buf size uint ptr:ts64", abi="i386")
def sys_mq_timedsend_time64(task: Task, fd: int, text: int, size: int, priority: int, timeout: int) -> int:
    """The same with a 64-bit timespec."""
    return _send(task, fd, text, size, priority, _deadline(task, timeout, task.abi.get_timespec64))


def _receive(task: Task, fd: int, buffer: int, size: int, priority: int, deadline: Optional[int]) -> int:
    kind, text = mq.receive(task.files.fget(fd), size, deadline)
    if priority:
        task.mm.put_u32(priority, kind)
    task.mm.copy_to_user(buffer, text)
    return len(text)


@syscall("mq_timedreceive", "fd ptr size ptr ptr:ts")
def sys_mq_timedreceive(task: Task, fd: int, buffer: int, size: int, priority: int, timeout: int) -> int:
    """The oldest message of the highest priority: its length.  EBADF, EMSGSIZE, EAGAIN, ETIMEDOUT, EINTR."""
    return _receive(task, fd, buffer, size, priority, _deadline(task, timeout, task.abi.get_timespec))


@syscall("mq_timedreceive_time64", "fd ptr size ptr ptr:ts64", abi="i386")
def sys_mq_timedreceive_time64(task: Task, fd: int, buffer: int, size: int, priority: int, timeout: int) -> int:
    """The same with a 64-bit timespec."""
    return _receive(task, fd, buffer, size, priority, _deadline(task, timeout, task.abi.get_timespec64))


@syscall("mq_notify", "fd ptr", support="SIGEV_THREAD wants a netlink socket: EBADF")
def sys_mq_notify(task: Task, fd: int, event: int) -> int:
    """A signal when a message comes to the empty queue; 0: no more.  EINVAL, EBADF, EBUSY."""
    wanted = None
    if event:
        layout = task.abi.sigevent
        value, signo, notify, _ = layout.unpack(task.mm.copy_from_user(event, layout.size))
        if notify not in (mq.SIGEV_NONE, mq.SIGEV_SIGNAL, mq.SIGEV_THREAD):
            raise Errno(EINVAL)
        if notify == mq.SIGEV_SIGNAL and not 0 <= signo <= NSIG:
            raise Errno(EINVAL)
        if notify == mq.SIGEV_THREAD:
            raise Errno(EBADF)  # of a socket: there are no netlink sockets
        wanted = mq.notification(task.signal.leader, 0 if notify == mq.SIGEV_NONE else signo, value)
    mq.notify(task, mq.queue_of(task.files.fget(fd)), wanted)
    return 0


@syscall("mq_getsetattr", "fd ptr ptr")
def sys_mq_getsetattr(task: Task, fd: int, new: int, old: int) -> int:
    """O_NONBLOCK on or off, and the figures.  EINVAL: other flags; EBADF."""
    layout, flags = _attributes(task), None
    if new:
        flags = layout.unpack(task.mm.copy_from_user(new, layout.size))[0]
        if flags & ~O_NONBLOCK:
            raise Errno(EINVAL)
    filp = task.files.fget(fd)
    queue = mq.queue_of(filp)
    before = filp.f_flags & O_NONBLOCK, queue.maxmsg, queue.msgsize, len(queue.messages)
    if flags is not None:
        filp.f_flags = filp.f_flags & ~O_NONBLOCK | flags
    if old:
        task.mm.copy_to_user(old, layout.pack(*before))
    return 0
