"""userfaultfd: a fault is a message, and whoever reads it provides the page (fs/userfaultfd.c).

A registered area has `vm_ops` of its context, whose `userfault` method is asked first; its flags say for which
faults: the first touch (VM_UFFD_MISSING), a write to a page that was protected (VM_UFFD_WP, a bit in the entry), the
first touch of a page that the file in memory has already (VM_UFFD_MINOR).  The task that faulted sleeps there, on its
kernel stack, until somebody wakes it.  What becomes of the areas (fork, mremap, madvise, munmap) is a message too where
it was asked for, and the one who does it waits until that was read (userfaultfd_events.py).
"""

from __future__ import annotations

import struct
from collections import deque
from typing import TYPE_CHECKING, Any, Optional

from machine.hardware.paging import RW
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import EBUSY, EINVAL, ENOMEM, EPERM, Errno
from machine.kernel.fs.file import vm_operations_struct
from machine.kernel.fs.memory import TMPFS_MAGIC, memory_file
from machine.kernel.mm.do_fault import FAULT_FLAG_USER
from machine.kernel.mm.fault import do_anonymous_page, do_no_page, do_wp_page
from machine.kernel.mm.filemap import filemap_nopage
from machine.kernel.mm.page import VM_FAULT_MINOR, VM_FAULT_SIGBUS
from machine.kernel.mm.pte import UFFD_WP
from machine.kernel.mm.vma import (
    VM_EXEC,
    VM_MAYWRITE,
    VM_READ,
    VM_SHARED,
    VM_UFFD_FLAGS,
    VM_UFFD_MINOR,
    VM_UFFD_MISSING,
    VM_UFFD_WP,
    VM_WRITE,
    vm_area_struct,
)
from machine.kernel.mm.vma_ops import merge_around, split_vma

if TYPE_CHECKING:
    from machine.kernel.mm.space import mm_struct
    from machine.kernel.task.task import Task

# include/uapi/linux/userfaultfd.h
FEATURE_EVENT_FORK, FEATURE_EVENT_REMAP, FEATURE_EVENT_REMOVE, FEATURE_EVENT_UNMAP = 1 << 1, 1 << 2, 1 << 3, 1 << 6
FEATURE_PAGEFAULT_FLAG_WP, FEATURE_MISSING_SHMEM, FEATURE_MINOR_SHMEM = 1 << 0, 1 << 5, 1 << 10
FEATURE_SIGBUS, FEATURE_THREAD_ID, FEATURE_EXACT_ADDRESS = 1 << 7, 1 << 8, 1 << 11
EVENT_PAGEFAULT, EVENT_FORK, EVENT_REMAP, EVENT_REMOVE, EVENT_UNMAP = 0x12, 0x13, 0x14, 0x15, 0x16
FLAG_WRITE, FLAG_WP, FLAG_MINOR = 1, 2, 4
MODE_MISSING, MODE_WP, MODE_MINOR = 1, 2, 4
_MODES = {MODE_MISSING: VM_UFFD_MISSING, MODE_WP: VM_UFFD_WP, MODE_MINOR: VM_UFFD_MINOR}
_FAULT = struct.Struct("<B7xQQI4x")
_EVENT = struct.Struct("<B7xQQQ")
MESSAGE_SIZE = 32
_WAKE, _COPY, _ZEROPAGE, _WRITEPROTECT, _CONTINUE = 1 << 2, 1 << 3, 1 << 4, 1 << 6, 1 << 7


def event_message(kind: int, *fields: int) -> bytes:
    """`struct uffd_msg` of an event."""
    return _EVENT.pack(kind, *fields, *(0,) * (3 - len(fields)))


class userfaultfd_wait:
    """A task that waits: for one page, or until an event was read."""

    __slots__ = ("address", "forked", "message", "woken")

    def __init__(self, address: int, message: bytes, forked: Optional[userfaultfd_ctx] = None) -> None:
        self.address = address
        self.message = message
        self.forked = forked
        """EVENT_FORK: the child's context, which gets a descriptor when the event is read."""
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
        self.events: deque[userfaultfd_wait] = deque()
        """Events that nobody has read yet: while there are any, no page can be provided (EAGAIN)."""
        self.waiting: list[userfaultfd_wait] = []
        self.readers = self.kernel.sched.queue()
        self.faults = self.kernel.sched.queue()
        self._operations: dict[Optional[vm_operations_struct], userfault_operations] = {}

    def operations(self, base: Optional[vm_operations_struct]) -> userfault_operations:
        """The methods of a registered area whose own ones are `base`; the same for all of them, so that they merge."""
        found = self._operations.get(base)
        if found is None:
            found = self._operations[base] = userfault_operations(self, base)
        return found

    def has(self, feature: int) -> bool:
        """Whether it was asked for in UFFDIO_API."""
        return bool((self.features or 0) & feature)

    # -- faults -------------------------------------------------------------------------------------

    def handle_userfault(self, vma: vm_area_struct, address: int, write: bool, index: int, flags: int) -> int:
        """Sleep until nobody is to be asked any more, then fault as any area does.  VM_FAULT_SIGBUS with
        UFFD_FEATURE_SIGBUS, and for the kernel's own accesses when only those of user mode are answered or the task
        is to die; VM_FAULT_MINOR with nothing done: the access is tried again."""
        mm, page = vma.vm_mm, address & ~(PAGE_SIZE - 1)
        user = bool(flags & FAULT_FLAG_USER)
        while not self.released:
            index = mm.tables.leaf(page)
            reason = self._reason(vma, page, mm.ram.words[index], write)
            if reason is None:
                break
            self.kernel.fault_answer = "userfaultfd"
            if self.has(FEATURE_SIGBUS) or (self.user_mode_only and not user):
                self.kernel.refused = (vma, "nobody has provided the page (UFFD_FEATURE_SIGBUS)")
                return VM_FAULT_SIGBUS
            task = self.kernel.current
            assert task is not None
            pid = task.pid if self.has(FEATURE_THREAD_ID) else 0
            shown = address if self.has(FEATURE_EXACT_ADDRESS) else page
            message = _FAULT.pack(EVENT_PAGEFAULT, reason | (FLAG_WRITE if write else 0), shown, pid)
            if not self._wait(task, userfaultfd_wait(page, message), user):
                return VM_FAULT_MINOR if user else VM_FAULT_SIGBUS
            now = mm.vma_at(page)
            if now is None or context_of(now) is not self:
                return VM_FAULT_MINOR
            if not now.vm_flags & (VM_WRITE if write else VM_READ | VM_WRITE | VM_EXEC):
                return VM_FAULT_MINOR if user else VM_FAULT_SIGBUS  # mprotect has been there meanwhile
            vma = now
        return self._usual(vma, page, write)

    def _reason(self, vma: vm_area_struct, page: int, pte: int, write: bool) -> Optional[int]:
        """The message's flags if somebody is to be asked, else None."""
        if pte:
            return FLAG_WP if write and pte & UFFD_WP else None
        if vma.vm_file is None:
            return 0 if vma.vm_flags & VM_UFFD_MISSING else None
        mapping: Any = vma.vm_file.f_inode.i_mapping
        index = vma.vm_pgoff + ((page - vma.vm_start) >> PAGE_SHIFT)
        if index in mapping.pages or index in mapping.fallocated:
            return FLAG_MINOR if vma.vm_flags & VM_UFFD_MINOR else None
        inside = index << PAGE_SHIFT < mapping.host.i_size
        return 0 if inside and vma.vm_flags & VM_UFFD_MISSING else None

    @staticmethod
    def _usual(vma: vm_area_struct, page: int, write: bool) -> int:
        """What the fault would be without a userfaultfd."""
        mm = vma.vm_mm
        index = mm.tables.leaf(page)
        pte = mm.ram.words[index]
        if pte:
            if write and not pte & RW:
                return do_wp_page(mm, vma, page, index, pte & ~UFFD_WP)
            return VM_FAULT_MINOR
        base = base_operations(vma)
        if base is None:
            return do_anonymous_page(mm, vma, page, write, index)
        return do_no_page(mm, vma, page, write, index, base)

    def _wait(self, task: Task, entry: userfaultfd_wait, user: bool) -> bool:
        """False: a signal; from user mode any, from the kernel a deadly one."""
        self.waiting.append(entry)
        self.pending.append(entry)
        self.readers.wake()
        try:
            return self._sleep(task, entry, user)
        finally:
            self.waiting.remove(entry)
            if entry in self.pending:
                self.pending.remove(entry)

    def _sleep(self, task: Task, entry: userfaultfd_wait, interruptible: bool) -> bool:
        from machine.kernel.task.signal import fatal_signal_pending

        task.killable = not interruptible
        try:
            while not entry.woken:
                self.kernel.sched.wait(self.faults, interruptible=interruptible)
                if not interruptible and fatal_signal_pending(task):
                    return False
        except Errno:
            return False
        finally:
            task.killable = False
        return True

    def wake(self, start: int, end: int) -> None:
        """Those who wait for a page in the range try again."""
        for entry in self.waiting:
            if start <= entry.address < end:
                entry.woken = True
        self.faults.wake()

    # -- events -------------------------------------------------------------------------------------

    def event(self, kind: int, *fields: int, forked: Optional[userfaultfd_ctx] = None) -> userfaultfd_wait:
        """Queue an event; who caused it then calls `complete`."""
        entry = userfaultfd_wait(0, event_message(kind, *fields), forked)
        self.events.append(entry)
        self.readers.wake()
        return entry

    def complete(self, entry: userfaultfd_wait) -> None:
        """Sleep until the event was read, the descriptor is closed, or the task is to die."""
        task = self.kernel.current
        if task is None or self.released or self._sleep(task, entry, False):
            return
        if entry in self.events:
            self.events.remove(entry)

    # -- ranges -------------------------------------------------------------------------------------

    def check_range(self, start: int, length: int) -> None:
        """EINVAL (validate_range)."""
        if (start | length) & (PAGE_SIZE - 1) or not length or start + length > self.mm.task_size:
            raise Errno(EINVAL)

    def _areas(self, start: int, length: int) -> list[vm_area_struct]:
        self.check_range(start, length)
        if self.mm.find_vma(start) is None:
            raise Errno(ENOMEM)
        areas = self.mm.areas.within(start, start + length)
        if not areas:
            raise Errno(EINVAL)
        return areas

    def register(self, start: int, length: int, mode: int) -> int:
        """The bits of what can be done with the range: EINVAL, ENOMEM, EPERM, EBUSY (userfaultfd_register)."""
        if not mode or mode & ~(MODE_MISSING | MODE_WP | MODE_MINOR):
            raise Errno(EINVAL)
        wanted = sum(flag for bit, flag in _MODES.items() if mode & bit)
        areas = self._areas(start, length)
        for vma in areas:
            if not _can_userfault(vma, wanted):
                raise Errno(EINVAL)
            if not vma.vm_flags & VM_MAYWRITE:
                raise Errno(EPERM)
            if context_of(vma) not in (None, self):
                raise Errno(EBUSY)
        for vma in areas:
            if context_of(vma) is self and vma.vm_flags & wanted == wanted:
                continue
            part = self._cut(vma, start, start + length)
            part.vm_ops = self.operations(base_operations(part))
            part.vm_flags = part.vm_flags & ~VM_UFFD_FLAGS | wanted
            merge_around(self.mm, part)
        can = _WAKE | _COPY | _ZEROPAGE
        return can | (_WRITEPROTECT if mode & MODE_WP else 0) | (_CONTINUE if mode & MODE_MINOR else 0)

    def unregister(self, start: int, length: int) -> None:
        """EINVAL, ENOMEM; whoever waits tries again (userfaultfd_unregister)."""
        areas = self._areas(start, length)
        if not all(_can_userfault(vma, vma.vm_flags & VM_UFFD_FLAGS) for vma in areas):
            raise Errno(EINVAL)
        for vma in areas:
            if context_of(vma) is self:
                part = self._cut(vma, start, start + length)
                drop_context(part)
                merge_around(self.mm, part)
        self.wake(start, start + length)

    def _cut(self, vma: vm_area_struct, start: int, end: int) -> vm_area_struct:
        """The part of an area that lies in the range, as an area of its own."""
        if vma.vm_start < start:
            vma = split_vma(self.mm, vma, start, False)
        if vma.vm_end > end:
            split_vma(self.mm, vma, end, False)
        return vma

    def release(self) -> None:
        """The descriptor is closed: its areas are ordinary ones again, nobody waits for anything."""
        self.released = True
        if not self.mm.closed:
            for vma in list(self.mm.areas):
                if context_of(vma) is self:
                    drop_context(vma)
        for entry in self.events:
            entry.woken = True
            if entry.forked is not None:
                entry.forked.release()
        self.events.clear()
        self.wake(0, 1 << 64)
        self.readers.wake()


class userfault_operations(vm_operations_struct):
    """The methods of a registered area."""

    def __init__(self, ctx: userfaultfd_ctx, base: Optional[vm_operations_struct]) -> None:
        super().__init__()
        self.ctx = ctx
        self.base = base
        self.userfault = ctx.handle_userfault
        self.open = self.opened
        self.close = None if base is None else base.close

    def opened(self, vma: vm_area_struct) -> None:
        """One more area: a half of one that was cut, or a child's, which is not registered unless somebody wants to
        hear of forks (dup_userfaultfd)."""
        if vma.vm_mm is not self.ctx.mm:
            if self.ctx.has(FEATURE_EVENT_FORK) and not self.ctx.released:
                vma.vm_ops = _forked(self.ctx, vma.vm_mm).operations(self.base)
            else:
                drop_context(vma)
        if self.base is not None and self.base.open is not None:
            self.base.open(vma)


def _forked(ctx: userfaultfd_ctx, mm: mm_struct) -> userfaultfd_ctx:
    """The context of a child's areas: one for each of the parent's."""
    for parent, entry in mm.userfault_forks:
        if parent is ctx:
            found: userfaultfd_ctx = entry.forked
            return found
    new = userfaultfd_ctx(mm, ctx.user_mode_only)
    new.features = ctx.features
    mm.userfault_forks = [*mm.userfault_forks, (ctx, ctx.event(EVENT_FORK, forked=new))]
    return new


def context_of(vma: vm_area_struct) -> Optional[userfaultfd_ctx]:
    """With whom an area is registered."""
    ops = vma.vm_ops
    return ops.ctx if isinstance(ops, userfault_operations) else None


def base_operations(vma: vm_area_struct) -> Optional[vm_operations_struct]:
    """The methods that an area has of its own."""
    ops = vma.vm_ops
    return ops.base if isinstance(ops, userfault_operations) else ops


def drop_context(vma: vm_area_struct) -> None:
    """An ordinary area again; what was write-protected may be written."""
    vma.vm_ops = base_operations(vma)
    if vma.vm_flags & VM_UFFD_WP:
        words = vma.vm_mm.ram.words
        for _va, index, number in vma.vm_mm.tables.runs(vma.vm_start, vma.vm_end):
            for i in range(index, index + number):
                if words[i] & UFFD_WP:
                    words[i] &= ~UFFD_WP
    vma.vm_flags &= ~VM_UFFD_FLAGS


def is_shmem(vma: vm_area_struct) -> bool:
    """Whether a file in memory is behind the area (vma_is_shmem)."""
    if vma.vm_file is None:
        return False
    node, ops = vma.vm_file.f_inode, base_operations(vma)
    in_memory = isinstance(node, memory_file) and node.i_sb.s_magic == TMPFS_MAGIC and node.i_mapping is not None
    return in_memory and ops is not None and ops.nopage is filemap_nopage


def _can_userfault(vma: vm_area_struct, wanted: int) -> bool:
    """vma_can_userfault: anonymous memory, and files in memory, which can't be write-protected."""
    if is_shmem(vma):
        return not wanted & VM_UFFD_WP
    anonymous = base_operations(vma) is None and vma.vm_file is None and not vma.vm_flags & VM_SHARED
    return anonymous and not wanted & VM_UFFD_MINOR
