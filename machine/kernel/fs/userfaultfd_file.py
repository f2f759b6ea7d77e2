"""The descriptor of a userfaultfd: reading its messages, and the UFFDIO_ commands (fs/userfaultfd.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Optional

from machine.hardware.ram import PAGE_SIZE
from machine.kernel.abi.capability import CAP_SYS_PTRACE
from machine.kernel.abi.errno import EAGAIN, EFAULT, EINVAL, ENOTTY, EPERM, ESRCH, Errno
from machine.kernel.capability import capable
from machine.kernel.fs.anon import StreamOperations, anon_file, no_open
from machine.kernel.fs.file import O_CLOEXEC, O_NONBLOCK, O_RDONLY, O_RDWR, file, inode
from machine.kernel.fs.poll import POLLERR, POLLIN, poll_table
from machine.kernel.fs.userfaultfd import (
    FEATURE_EVENT_FORK,
    FEATURE_EVENT_REMAP,
    FEATURE_EVENT_REMOVE,
    FEATURE_EVENT_UNMAP,
    FEATURE_EXACT_ADDRESS,
    FEATURE_MINOR_SHMEM,
    FEATURE_MISSING_SHMEM,
    FEATURE_PAGEFAULT_FLAG_WP,
    FEATURE_SIGBUS,
    FEATURE_THREAD_ID,
    MESSAGE_SIZE,
    userfaultfd_ctx,
    userfaultfd_wait,
)
from machine.kernel.fs.userfaultfd_pages import fill, proceed, write_protect

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

UFFD_API = 0xAA
UFFDIO_API, UFFDIO_REGISTER, UFFDIO_UNREGISTER = 0xC018AA3F, 0xC020AA00, 0x8010AA01
UFFDIO_WAKE, UFFDIO_COPY, UFFDIO_ZEROPAGE = 0x8010AA02, 0xC028AA03, 0xC020AA04
UFFDIO_WRITEPROTECT, UFFDIO_CONTINUE = 0xC018AA06, 0xC020AA07
FEATURES = (
    FEATURE_PAGEFAULT_FLAG_WP | FEATURE_EVENT_FORK | FEATURE_EVENT_REMAP | FEATURE_EVENT_REMOVE | FEATURE_MISSING_SHMEM
    | FEATURE_EVENT_UNMAP | FEATURE_SIGBUS | FEATURE_THREAD_ID | FEATURE_MINOR_SHMEM | FEATURE_EXACT_ADDRESS
)  # fmt: skip
API_IOCTLS = 1 << 0x3F | 1 << 1 | 1
DONTWAKE, COPY_WP = 1, 2
WRITEPROTECT_WP, WRITEPROTECT_DONTWAKE = 1, 2


def _context(filp: file) -> userfaultfd_ctx:
    found = filp.private_data
    assert isinstance(found, userfaultfd_ctx)
    return found


class UserfaultfdOperations(StreamOperations):
    """Each read gives whole messages of 32 bytes: EINVAL for a smaller buffer, and before UFFDIO_API."""

    def read_iter(self, filp: file, count: int, position: int) -> bytes:
        """Faults come before events."""
        ctx = _context(filp)
        if ctx.features is None or count < MESSAGE_SIZE:
            raise Errno(EINVAL)
        while not ctx.pending and not ctx.events:
            if filp.f_flags & O_NONBLOCK:
                raise Errno(EAGAIN)
            ctx.kernel.sched.wait(ctx.readers)
        messages: list[bytes] = []
        while len(messages) < count // MESSAGE_SIZE:
            if ctx.pending:
                messages.append(ctx.pending.popleft().message)
            elif ctx.events:
                messages.append(_event(filp, ctx, ctx.events.popleft()))
            else:
                break
        return b"".join(messages)

    def poll(self, filp: file, table: Optional[poll_table]) -> int:
        """POLLERR before UFFDIO_API and for a descriptor whose reads sleep (userfaultfd_poll)."""
        ctx = _context(filp)
        if table is not None:
            table.wait(ctx.readers)
        if ctx.features is None or not filp.f_flags & O_NONBLOCK:
            return POLLERR
        return POLLIN if ctx.pending or ctx.events else 0

    def ioctl(self, node: inode, filp: file, cmd: int, arg: int) -> int:
        """UFFDIO_*: the commands' own errnos; EINVAL before UFFDIO_API, ENOTTY for what is not there."""
        ctx = _context(filp)
        task = ctx.kernel.current
        assert task is not None
        try:
            if cmd != UFFDIO_API and ctx.features is None:
                raise Errno(EINVAL)
            command = _COMMANDS.get(cmd)
            if command is None:
                raise Errno(ENOTTY)
            return command(task, ctx, arg)
        except Errno as error:
            return -error.errno

    def show_fdinfo(self, filp: file) -> str:
        """Faults that wait to be read, all that wait, and the features (userfaultfd_show_fdinfo)."""
        ctx = _context(filp)
        api = f"{UFFD_API:x}:{ctx.features or 0:x}:{API_IOCTLS:x}"
        return f"pending:\t{len(ctx.pending)}\ntotal:\t{len(ctx.waiting)}\nAPI:\t{api}\n"

    def release(self, node: inode, filp: file) -> int:
        _context(filp).release()
        return 0


def _event(filp: file, ctx: userfaultfd_ctx, entry: userfaultfd_wait) -> bytes:
    """The message, whose cause goes on now; a fork's has the number of a new descriptor for the child."""
    entry.woken = True
    ctx.faults.wake()
    if entry.forked is None:
        return entry.message
    task = ctx.kernel.current
    assert task is not None
    fd = task.files.free_fd()
    child = anon_file(ctx.kernel, "[userfaultfd]", userfaultfd_operations, O_RDONLY | filp.f_flags & O_NONBLOCK)
    child.private_data, entry.forked = entry.forked, None
    task.files.install(child, fd, bool(filp.f_flags & O_CLOEXEC))
    return entry.message[:8] + fd.to_bytes(4, "little") + entry.message[12:]


def _api(task: Task, ctx: userfaultfd_ctx, arg: int) -> int:
    """The version and the features, once; zeros come back when they are refused."""
    api, features, _ = struct.unpack("<QQQ", task.mm.copy_from_user(arg, 24))
    if api != UFFD_API or features & ~FEATURES or ctx.features is not None:
        task.mm.copy_to_user(arg, bytes(24))
        raise Errno(EINVAL)
    if features & FEATURE_EVENT_FORK and not capable(task, CAP_SYS_PTRACE):
        task.mm.copy_to_user(arg, bytes(24))
        raise Errno(EPERM)
    task.mm.copy_to_user(arg, struct.pack("<QQQ", UFFD_API, FEATURES, API_IOCTLS))
    ctx.features = features
    return 0


def _register(task: Task, ctx: userfaultfd_ctx, arg: int) -> int:
    start, length, mode = struct.unpack("<QQQ", task.mm.copy_from_user(arg, 24))
    _alive(ctx)
    task.mm.put_u64(arg + 24, ctx.register(start, length, mode))
    return 0


def _range(task: Task, arg: int) -> tuple[int, int]:
    start, length = struct.unpack("<QQ", task.mm.copy_from_user(arg, 16))
    return start, length


def _unregister(task: Task, ctx: userfaultfd_ctx, arg: int) -> int:
    _alive(ctx)
    ctx.unregister(*_range(task, arg))
    return 0


def _wake(task: Task, ctx: userfaultfd_ctx, arg: int) -> int:
    start, length = _range(task, arg)
    ctx.check_range(start, length)
    ctx.wake(start, start + length)
    return 0


def _alive(ctx: userfaultfd_ctx) -> None:
    if ctx.mm.closed:
        raise Errno(ESRCH)


def _settled(ctx: userfaultfd_ctx) -> None:
    """EAGAIN while the areas change and nobody has read how."""
    if ctx.events:
        raise Errno(EAGAIN)


def _copy(task: Task, ctx: userfaultfd_ctx, arg: int) -> int:
    _settled(ctx)
    target, source, length, mode = struct.unpack("<QQQQ", task.mm.copy_from_user(arg, 32))
    ctx.check_range(target, length)
    if mode & ~(DONTWAKE | COPY_WP) or source + length > 1 << 64:
        raise Errno(EINVAL)

    def page(offset: int) -> bytes:
        data = task.mm.read_some(source + offset, PAGE_SIZE)
        if len(data) < PAGE_SIZE:
            raise Errno(EFAULT)
        return data

    def work() -> int:
        return fill(ctx, target, length, page, bool(mode & COPY_WP))

    return _filled(task, ctx, arg + 32, (target, length), mode, work)


def _zeropage(task: Task, ctx: userfaultfd_ctx, arg: int) -> int:
    _settled(ctx)
    start, length, mode = struct.unpack("<QQQ", task.mm.copy_from_user(arg, 24))
    ctx.check_range(start, length)
    if mode & ~DONTWAKE:
        raise Errno(EINVAL)
    return _filled(task, ctx, arg + 24, (start, length), mode, lambda: fill(ctx, start, length, None))


def _continue(task: Task, ctx: userfaultfd_ctx, arg: int) -> int:
    _settled(ctx)
    start, length, mode = struct.unpack("<QQQ", task.mm.copy_from_user(arg, 24))
    ctx.check_range(start, length)
    if mode & ~DONTWAKE:
        raise Errno(EINVAL)
    return _filled(task, ctx, arg + 24, (start, length), mode, lambda: proceed(ctx, start, length))


def _filled(task: Task, ctx: userfaultfd_ctx, result: int, where: tuple[int, int], mode: int, work: Any) -> int:
    """Fill, write how far it went (or -errno), wake; EAGAIN when it was not all."""
    _alive(ctx)
    start, length = where
    try:
        done = work()
    except Errno as error:
        task.mm.put_u64(result, -error.errno)
        raise
    task.mm.put_u64(result, done)
    if not mode & DONTWAKE:
        ctx.wake(start, start + done)
    if done < length:
        raise Errno(EAGAIN)
    return 0


def _writeprotect(task: Task, ctx: userfaultfd_ctx, arg: int) -> int:
    _settled(ctx)
    start, length, mode = struct.unpack("<QQQ", task.mm.copy_from_user(arg, 24))
    ctx.check_range(start, length)
    protect = bool(mode & WRITEPROTECT_WP)
    if mode & ~(WRITEPROTECT_WP | WRITEPROTECT_DONTWAKE) or (protect and mode & WRITEPROTECT_DONTWAKE):
        raise Errno(EINVAL)
    _alive(ctx)
    write_protect(ctx, start, length, protect)
    if not mode:
        ctx.wake(start, start + length)
    return 0


_COMMANDS = {
    UFFDIO_API: _api, UFFDIO_REGISTER: _register, UFFDIO_UNREGISTER: _unregister, UFFDIO_WAKE: _wake,
    UFFDIO_COPY: _copy, UFFDIO_ZEROPAGE: _zeropage, UFFDIO_WRITEPROTECT: _writeprotect, UFFDIO_CONTINUE: _continue,
}  # fmt: skip

userfaultfd_operations = UserfaultfdOperations(open=no_open)


def userfaultfd_file(task: Task, nonblock: bool, user_mode_only: bool) -> file:
    """A new descriptor for the task's address space; EPERM unless root or for user mode only."""
    if not user_mode_only and not capable(task, CAP_SYS_PTRACE):
        raise Errno(EPERM)
    filp = anon_file(task.kernel, "[userfaultfd]", userfaultfd_operations, O_RDWR | (O_NONBLOCK if nonblock else 0))
    filp.private_data = userfaultfd_ctx(task.mm, user_mode_only)
    return filp
