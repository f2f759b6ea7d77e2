"""userfaultfd: the first touch of a page is a message, and whoever reads it provides the page (fs/userfaultfd.c).

A registered area has `vm_ops` whose `userfault` method is asked instead of `do_anonymous_page`; the task that touched
the page sleeps there, on its kernel stack, until the page is there or the area is given up.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import TYPE_CHECKING, Any, Optional

from machine.hardware.paging import RW, A, D
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import (
    EAGAIN,
    EBUSY,
    EEXIST,
    EFAULT,
    EINVAL,
    ENOENT,
    ENOMEM,
    ENOTTY,
    EPERM,
    ESRCH,
    Errno,
)
from machine.kernel.fs.anon import anon_file, no_open
from machine.kernel.fs.file import O_NONBLOCK, O_RDWR, file, file_operations, inode, vm_operations_struct
from machine.kernel.fs.poll import POLLERR, POLLIN, poll_table
from machine.kernel.mm.do_fault import FAULT_FLAG_USER
from machine.kernel.mm.page import VM_FAULT_MINOR, VM_FAULT_SIGBUS
from machine.kernel.mm.vma import VM_MAYWRITE, VM_SHARED, VM_WRITE, vm_area_struct
from machine.kernel.mm.vma_ops import merge_around, split_vma

if TYPE_CHECKING:
    from machine.kernel.mm.space import mm_struct
    from machine.kernel.task.task import Task

UFFD_API = 0xAA
UFFDIO_API, UFFDIO_REGISTER, UFFDIO_UNREGISTER = 0xC018AA3F, 0xC020AA00, 0x8010AA01
UFFDIO_WAKE, UFFDIO_COPY, UFFDIO_ZEROPAGE = 0x8010AA02, 0xC028AA03, 0xC020AA04
UFFD_FEATURE_SIGBUS, UFFD_FEATURE_THREAD_ID = 1 << 7, 1 << 8
FEATURES = UFFD_FEATURE_SIGBUS | UFFD_FEATURE_THREAD_ID
API_IOCTLS, RANGE_IOCTLS = 1 << 0x3F | 1 << 1 | 1, 1 << 2 | 1 << 3 | 1 << 4
MODE_MISSING, MODE_DONTWAKE = 1, 1
_MESSAGE = struct.Struct("<B7xQQI4x")
UFFD_EVENT_PAGEFAULT, FLAG_WRITE = 0x12, 1


class userfaultfd_wait:
    """A task that waits for one page."""

    __slots__ = ("address", "message", "woken")

    def __init__(self, address: int, message: bytes) -> None:
        self.address = address
        self.message = message
        self.woken = False


class userfaultfd_ctx:
    """One descriptor: the address space of the process that made it, and who waits."""

    def __init__(self, mm: mm_struct, user_mode_only: bool) -> None:
        self.kernel = mm.kernel
        self.mm = mm
        self.user_mode_only = user_mode_only
        self.features: Optional[int] = None
        """None until UFFDIO_API."""
        self.released = False
        self.pending: deque[userfaultfd_wait] = deque()
        """Faults whose message nobody has read yet."""
        self.waiting: list[userfaultfd_wait] = []
        self.readers = self.kernel.sched.queue()
        self.faults = self.kernel.sched.queue()
        self.vm_ops = vm_operations_struct(open=self._open)
        self.vm_ops.userfault = self.handle_userfault

    def _open(self, vma: vm_area_struct) -> None:
        """A forked child's areas are not registered (dup_userfaultfd); the halves of one that was cut are."""
        if vma.vm_mm is not self.mm:
            vma.vm_ops = vma.vm_private_data = None

    # -- faults -------------------------------------------------------------------------------------

    def handle_userfault(self, vma: vm_area_struct, address: int, write: bool, index: int, flags: int) -> int:
        """Sleep until the page is there.  VM_FAULT_SIGBUS with UFFD_FEATURE_SIGBUS, and for the kernel's own accesses
        when only those of user mode are answered or the task is to die."""
        features = self.features or 0
        user = bool(flags & FAULT_FLAG_USER)
        self.kernel.fault_answer = "userfaultfd"
        if features & UFFD_FEATURE_SIGBUS or (self.user_mode_only and not user):
            return VM_FAULT_SIGBUS
        task = self.kernel.current
        assert task is not None
        page = address & ~(PAGE_SIZE - 1)
        pid = task.pid if features & UFFD_FEATURE_THREAD_ID else 0
        message = _MESSAGE.pack(UFFD_EVENT_PAGEFAULT, FLAG_WRITE if write else 0, page, pid)
        while not self.released and not vma.vm_mm.ram.words[vma.vm_mm.tables.leaf(page)]:
            now = self.mm.find_vma(page)
            if now is None or now.vm_start > page or now.vm_ops is not self.vm_ops:
                break  # not registered any more: the access is tried again
            if not self._wait(task, userfaultfd_wait(page, message), user):
                return VM_FAULT_MINOR if user else VM_FAULT_SIGBUS
        return VM_FAULT_MINOR

    def _wait(self, task: Task, entry: userfaultfd_wait, user: bool) -> bool:
        """False: a signal; from user mode any, from the kernel a deadly one."""
        from machine.kernel.task.signal import fatal_signal_pending

        self.waiting.append(entry)
        self.pending.append(entry)
        self.readers.wake()
        task.killable = not user
        try:
            while not entry.woken:
                self.kernel.sched.wait(self.faults, interruptible=user)
                if not user and fatal_signal_pending(task):
                    return False
        except Errno:
            return False
        finally:
            task.killable = False
            self.waiting.remove(entry)
            if entry in self.pending:
                self.pending.remove(entry)
        return True

    def wake(self, start: int, end: int) -> None:
        """Those who wait for a page in the range try again."""
        for entry in self.waiting:
            if start <= entry.address < end:
                entry.woken = True
        self.faults.wake()

    # -- ranges -------------------------------------------------------------------------------------

    def check_range(self, start: int, length: int) -> None:
        """EINVAL (validate_range)."""
        if (start | length) & (PAGE_SIZE - 1) or not length or start + length > self.mm.task_size:
            raise Errno(EINVAL)

    def register(self, start: int, length: int, mode: int) -> int:
        """The bits of what can be done with the range: EINVAL, ENOMEM, EPERM, EBUSY (userfaultfd_register)."""
        if mode != MODE_MISSING:
            raise Errno(EINVAL)
        self.check_range(start, length)
        end = start + length
        first = self.mm.find_vma(start)
        if first is None:
            raise Errno(ENOMEM)
        areas = self.mm.areas.within(start, end)
        if not areas:
            raise Errno(EINVAL)
        for vma in areas:
            other = vma.vm_private_data if isinstance(vma.vm_private_data, userfaultfd_ctx) else None
            if other is None and (vma.vm_ops is not None or vma.vm_file is not None or vma.vm_flags & VM_SHARED):
                raise Errno(EINVAL)
            if not vma.vm_flags & VM_MAYWRITE:
                raise Errno(EPERM)
            if other is not None and other is not self:
                raise Errno(EBUSY)
        for vma in areas:
            if vma.vm_ops is not self.vm_ops:
                self._set(self._cut(vma, start, end), True)
        return RANGE_IOCTLS

    def unregister(self, start: int, length: int) -> None:
        """EINVAL, ENOMEM; whoever waits tries again (userfaultfd_unregister)."""
        self.check_range(start, length)
        end = start + length
        if self.mm.find_vma(start) is None:
            raise Errno(ENOMEM)
        areas = self.mm.areas.within(start, end)
        if not areas or any(vma.vm_ops is not None and vma.vm_ops.userfault is None for vma in areas):
            raise Errno(EINVAL)
        for vma in areas:
            if vma.vm_ops is self.vm_ops:
                self._set(self._cut(vma, start, end), False)
        self.wake(start, end)

    def _cut(self, vma: vm_area_struct, start: int, end: int) -> vm_area_struct:
        """The part of an area that lies in the range, as an area of its own."""
        if vma.vm_start < start:
            vma = split_vma(self.mm, vma, start, False)
        if vma.vm_end > end:
            vma = split_vma(self.mm, vma, end, True)
        return vma

    def _set(self, vma: vm_area_struct, on: bool) -> None:
        vma.vm_ops, vma.vm_private_data = (self.vm_ops, self) if on else (None, None)
        merge_around(self.mm, vma)

    # -- pages --------------------------------------------------------------------------------------

    def fill(self, start: int, length: int, source: Any) -> int:
        """Provide pages: their bytes from `source(offset)`, or zero pages for None.  Bytes done; the first error counts
        when it was none: ENOENT not registered, EEXIST a page is there, EFAULT, ENOMEM (mfill_atomic)."""
        mm, end = self.mm, start + length
        vma = mm.find_vma(start)
        if vma is None or vma.vm_start > start or vma.vm_end < end or vma.vm_ops is not self.vm_ops:
            raise Errno(ENOENT)
        for done in range(0, length, PAGE_SIZE):
            try:
                self._fill_page(vma, start + done, None if source is None else source(done))
            except Errno:
                if done:
                    return done
                raise
        return length

    def _fill_page(self, vma: vm_area_struct, page: int, data: Optional[bytes]) -> None:
        mm = self.mm
        index = mm.tables.leaf(page)
        if mm.ram.words[index]:
            raise Errno(EEXIST)
        if data is None:
            mm.ram.words[index] = (self.kernel.zero_pfn << PAGE_SHIFT | vma.vm_page_prot | A) & ~RW
            return
        pfn = mm.mem.alloc_zeroed("anonymous")
        mm.ram.view[pfn << PAGE_SHIFT : (pfn << PAGE_SHIFT) + PAGE_SIZE] = data
        mm.mem.mapcount[pfn] = 1
        mm.rss_anon += 1
        writable = RW if vma.vm_flags & VM_WRITE else 0
        mm.ram.words[index] = pfn << PAGE_SHIFT | vma.vm_page_prot & ~RW | writable | A | D

    def release(self) -> None:
        """The descriptor is closed: its areas are ordinary ones again."""
        self.released = True
        if not self.mm.closed:
            for vma in list(self.mm.areas):
                if vma.vm_ops is self.vm_ops:
                    vma.vm_ops = vma.vm_private_data = None
        self.wake(0, 1 << 64)
        self.readers.wake()


# -- the descriptor ----------------------------------------------------------------------------------


def _context(filp: file) -> userfaultfd_ctx:
    found = filp.private_data
    assert isinstance(found, userfaultfd_ctx)
    return found


class UserfaultfdOperations(file_operations):
    """Each read gives whole messages of 32 bytes: EINVAL for a smaller buffer, and before UFFDIO_API."""

    stream = True
    noop_seek = True

    def llseek(self, filp: file, offset: int, whence: int) -> int:
        """noop_llseek: the position stays."""
        return filp.f_pos

    def read_iter(self, filp: file, count: int, position: int) -> bytes:
        ctx = _context(filp)
        if ctx.features is None or count < _MESSAGE.size:
            raise Errno(EINVAL)
        while not ctx.pending:
            if filp.f_flags & O_NONBLOCK:
                raise Errno(EAGAIN)
            ctx.kernel.sched.wait(ctx.readers)
        messages: list[bytes] = []
        while ctx.pending and len(messages) < count // _MESSAGE.size:
            messages.append(ctx.pending.popleft().message)
        return b"".join(messages)

    def poll(self, filp: file, table: Optional[poll_table]) -> int:
        """POLLERR before UFFDIO_API and for a descriptor whose reads sleep (userfaultfd_poll)."""
        ctx = _context(filp)
        if table is not None:
            table.wait(ctx.readers)
        if ctx.features is None or not filp.f_flags & O_NONBLOCK:
            return POLLERR
        return POLLIN if ctx.pending else 0

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

    def release(self, node: inode, filp: file) -> int:
        _context(filp).release()
        return 0


def _api(task: Task, ctx: userfaultfd_ctx, arg: int) -> int:
    """The version and the features, once; zeros come back when they are refused."""
    api, features, _ = struct.unpack("<QQQ", task.mm.copy_from_user(arg, 24))
    if api != UFFD_API or features & ~FEATURES or ctx.features is not None:
        task.mm.copy_to_user(arg, bytes(24))
        raise Errno(EINVAL)
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


def _copy(task: Task, ctx: userfaultfd_ctx, arg: int) -> int:
    target, source, length, mode = struct.unpack("<QQQQ", task.mm.copy_from_user(arg, 32))
    ctx.check_range(target, length)
    if mode & ~MODE_DONTWAKE or source + length > 1 << 64:
        raise Errno(EINVAL)

    def page(offset: int) -> bytes:
        data = task.mm.read_some(source + offset, PAGE_SIZE)
        if len(data) < PAGE_SIZE:
            raise Errno(EFAULT)
        return data

    return _filled(task, ctx, arg + 32, (target, length), mode, page)


def _zeropage(task: Task, ctx: userfaultfd_ctx, arg: int) -> int:
    start, length, mode = struct.unpack("<QQQ", task.mm.copy_from_user(arg, 24))
    ctx.check_range(start, length)
    if mode & ~MODE_DONTWAKE:
        raise Errno(EINVAL)
    return _filled(task, ctx, arg + 24, (start, length), mode, None)


def _filled(task: Task, ctx: userfaultfd_ctx, result: int, where: tuple[int, int], mode: int, source: Any) -> int:
    """Fill, write how far it went (or -errno), wake; EAGAIN when it was not all."""
    _alive(ctx)
    start, length = where
    try:
        done = ctx.fill(start, length, source)
    except Errno as error:
        task.mm.put_u64(result, -error.errno)
        raise
    task.mm.put_u64(result, done)
    if not mode & MODE_DONTWAKE:
        ctx.wake(start, start + done)
    if done < length:
        raise Errno(EAGAIN)
    return 0


_COMMANDS = {
    UFFDIO_API: _api, UFFDIO_REGISTER: _register, UFFDIO_UNREGISTER: _unregister, UFFDIO_WAKE: _wake,
    UFFDIO_COPY: _copy, UFFDIO_ZEROPAGE: _zeropage,
}  # fmt: skip

userfaultfd_operations = UserfaultfdOperations(open=no_open)


def userfaultfd_file(task: Task, nonblock: bool, user_mode_only: bool) -> file:
    """A new descriptor for the task's address space; EPERM unless root or for user mode only."""
    if task.euid and not user_mode_only:
        raise Errno(EPERM)
    filp = anon_file(task.kernel, "[userfaultfd]", userfaultfd_operations, O_RDWR | (O_NONBLOCK if nonblock else 0))
    filp.private_data = userfaultfd_ctx(task.mm, user_mode_only)
    return filp
