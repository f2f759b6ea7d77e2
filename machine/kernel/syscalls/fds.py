"""System calls that make new kinds of descriptors: pipe, eventfd, memfd_create, epoll."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.abi.errno import EFAULT, EINTR, EINVAL, ENAMETOOLONG, EPERM, ERESTARTSYS, Errno
from machine.kernel.abi.layout import TIMESPEC64, timespec_ns
from machine.kernel.fs.eventfd import eventfd_file
from machine.kernel.fs.eventpoll import (
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    EPOLLET,
    EPOLLEXCLUSIVE,
    EPOLLWAKEUP,
    check_loop,
    epoll_file,
    epoll_operations,
    eventpoll,
    set_of,
)
from machine.kernel.fs.file import O_CLOEXEC, O_DIRECT, O_NONBLOCK, S_IFDIR, S_IFMT, S_IFREG
from machine.kernel.fs.pipe import create_pipe
from machine.kernel.fs.poll import POLLERR, POLLHUP, POLLIN, POLLOUT
from machine.kernel.fs.tmpfs import shmem_file_setup
from machine.kernel.syscalls.poll import user_sigmask, with_sigmask
from machine.kernel.syscalls.table import syscall

if TYPE_CHECKING:
    from machine.kernel.fs.file import file
    from machine.kernel.task.task import Task

EFD_SEMAPHORE = 1
MFD_CLOEXEC, MFD_ALLOW_SEALING, MFD_HUGETLB, MFD_NOEXEC_SEAL, MFD_EXEC = 1, 2, 4, 8, 16
F_SEAL_SEAL, F_SEAL_EXEC = 0x1, 0x20
MFD_NAME_MAX = 249
_EVENT = struct.Struct("<IQ")
_EXCLUSIVE_OK_BITS = EPOLLEXCLUSIVE | EPOLLWAKEUP | EPOLLET | POLLIN | POLLOUT | POLLERR | POLLHUP
"""`struct epoll_event`: packed on x86, in both ABIs."""
_MAX_EVENTS = 0x7FFF_FFFF // 12
_O_RDWR_LARGE = 0o100002


# -- pipes -----------------------------------------------------------------------------------------


def _pipe(task: Task, fds: int, flags: int) -> int:
    if flags & ~(O_CLOEXEC | O_NONBLOCK | O_DIRECT):
        raise Errno(EINVAL)
    files = task.files
    ends = create_pipe(task.kernel, flags)
    numbers: list[int] = []
    try:
        for end in ends:
            numbers.append(files.install(end, cloexec=bool(flags & O_CLOEXEC)))
        task.mm.copy_to_user(fds, struct.pack("<ii", *numbers))
    except Errno:
        for end in ends[len(numbers) :]:
            end.put()
        for fd in numbers:
            files.close(fd)
        raise
    return 0


@syscall("pipe", "ptr:fds>")
def sys_pipe(task: Task, fds: int) -> int:
    return _pipe(task, fds, 0)


@syscall("pipe2", "ptr:fds> flags:OBITS_")
def sys_pipe2(task: Task, fds: int, flags: int) -> int:
    return _pipe(task, fds, flags)


# -- eventfd, memfd --------------------------------------------------------------------------------


@syscall("eventfd", "uint", result="fd")
def sys_eventfd(task: Task, count: int) -> int:
    return sys_eventfd2(task, count, 0)


@syscall("eventfd2", "uint flags:EFD_", result="fd")
def sys_eventfd2(task: Task, count: int, flags: int) -> int:
    if flags & ~(EFD_SEMAPHORE | O_CLOEXEC | O_NONBLOCK):
        raise Errno(EINVAL)
    fd = task.files.free_fd()
    filp = eventfd_file(task.kernel, count, bool(flags & EFD_SEMAPHORE), bool(flags & O_NONBLOCK))
    return task.files.install(filp, fd, bool(flags & O_CLOEXEC))


@syscall("memfd_create", "str flags:MFD_", result="fd")
def sys_memfd_create(task: Task, name_at: int, flags: int) -> int:
    """Without MFD_ALLOW_SEALING the file is sealed against seals; there are no huge pages (EINVAL)."""
    if flags & ~(MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | MFD_EXEC):
        raise Errno(EINVAL)
    if flags & MFD_EXEC and flags & MFD_NOEXEC_SEAL:
        raise Errno(EINVAL)
    try:
        name = os.fsdecode(task.mm.read_string(name_at, MFD_NAME_MAX + 1))
    except Errno as error:
        raise Errno(EINVAL if error.errno == ENAMETOOLONG else error.errno) from None
    fd = task.files.free_fd()
    filp = shmem_file_setup(task.kernel, "memfd:" + name, 0, _O_RDWR_LARGE)
    node: Any = filp.f_inode
    node.i_uid, node.i_gid = task.fsuid, task.fsgid
    node.seals = 0 if flags & (MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL) else F_SEAL_SEAL
    if flags & MFD_NOEXEC_SEAL:
        node.i_mode &= ~0o111
        node.seals |= F_SEAL_EXEC
    return task.files.install(filp, fd, bool(flags & MFD_CLOEXEC))


# -- epoll -----------------------------------------------------------------------------------------


@syscall("epoll_create", "int", result="fd")
def sys_epoll_create(task: Task, size: int) -> int:
    if size <= 0:
        raise Errno(EINVAL)
    return sys_epoll_create1(task, 0)


@syscall("epoll_create1", "flags:EPOLL_", result="fd")
def sys_epoll_create1(task: Task, flags: int) -> int:
    if flags & ~O_CLOEXEC:
        raise Errno(EINVAL)
    fd = task.files.free_fd()
    return task.files.install(epoll_file(task.kernel), fd, bool(flags & O_CLOEXEC))


@syscall("epoll_ctl", "fd int:EPOLL_CTL_ fd ptr:epoll")
def sys_epoll_ctl(task: Task, epfd: int, operation: int, fd: int, event: int) -> int:
    """EPERM for a file that can't be polled: regular files and directories."""
    events = data = 0
    if operation != EPOLL_CTL_DEL:
        events, data = _EVENT.unpack(task.mm.copy_from_user(event, _EVENT.size))
    outer, filp = task.files.fget(epfd), task.files.fget(fd)
    if not _can_poll(filp):
        raise Errno(EPERM)
    if filp is outer:
        raise Errno(EINVAL)
    ep = set_of(outer)
    if events & EPOLLEXCLUSIVE:
        nested = filp.f_op is epoll_operations or events & ~_EXCLUSIVE_OK_BITS
        if operation == EPOLL_CTL_MOD or (operation == EPOLL_CTL_ADD and nested):
            raise Errno(EINVAL)
    if operation == EPOLL_CTL_ADD:
        check_loop(ep, filp)
    ep.control(operation, fd, filp, events & ~EPOLLWAKEUP, data)
    return 0


def _can_poll(filp: file) -> bool:
    return filp.f_op.poll is not None and filp.f_inode.i_mode & S_IFMT not in (S_IFREG, S_IFDIR)


def _epoll_wait(task: Task, epfd: int, events: int, limit: int, timeout_ns: Optional[int]) -> int:
    """Number of events put at `events`.  EINTR for a signal: the call is not restarted."""
    filp = task.files.fget(epfd)
    if not 0 < limit <= _MAX_EVENTS:
        raise Errno(EINVAL)
    if task.abi.bits == 64 and events + limit * _EVENT.size > task.abi.task_size:
        raise Errno(EFAULT)
    ep = set_of(filp)
    filp.get()
    try:
        return _sleep_for_events(task, ep, events, limit, timeout_ns)
    except Errno as error:
        raise Errno(EINTR if error.errno == ERESTARTSYS else error.errno) from None
    finally:
        filp.put()


def _sleep_for_events(task: Task, ep: eventpoll, events: int, limit: int, timeout_ns: Optional[int]) -> int:
    kernel = task.kernel
    deadline = None if timeout_ns is None else kernel.clock.monotonic_ns() + timeout_ns

    def put(bits: int, data: int) -> bool:
        nonlocal events
        if task.mm.write_some(events, _EVENT.pack(bits, data)) < _EVENT.size:
            return False
        events += _EVENT.size
        return True

    while True:
        queues: dict[Any, None] = {ep.wait: None}
        found = ep.ready(limit, queues, put)
        if found or timeout_ns == 0:
            return found
        left = None if deadline is None else deadline - kernel.clock.monotonic_ns()
        if not kernel.sched.wait_any(queues, left):
            return ep.ready(limit, None, put)


def _milliseconds(timeout: int) -> Optional[int]:
    return None if timeout < 0 else timeout * 1_000_000


@syscall("epoll_wait", "fd ptr:epolls> int int")
def sys_epoll_wait(task: Task, epfd: int, events: int, limit: int, timeout: int) -> int:
    return _epoll_wait(task, epfd, events, limit, _milliseconds(timeout))


@syscall("epoll_pwait", "fd ptr:epolls> int int ptr:sigset size")
def sys_epoll_pwait(task: Task, epfd: int, events: int, limit: int, timeout: int, sigmask: int, size: int) -> int:
    mask = user_sigmask(task, sigmask, size)
    return with_sigmask(task, mask, lambda: _epoll_wait(task, epfd, events, limit, _milliseconds(timeout)))


@syscall("epoll_pwait2", "fd ptr:epolls> int ptr:ts ptr:sigset size")
def sys_epoll_pwait2(task: Task, epfd: int, events: int, limit: int, timeout: int, sigmask: int, size: int) -> int:
    wait_ns = None
    if timeout:
        wait_ns = timespec_ns(*TIMESPEC64.unpack(task.mm.copy_from_user(timeout, TIMESPEC64.size)))
    mask = user_sigmask(task, sigmask, size)
    return with_sigmask(task, mask, lambda: _epoll_wait(task, epfd, events, limit, wait_ns))
