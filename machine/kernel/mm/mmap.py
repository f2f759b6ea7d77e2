"""mmap, munmap, brk and the life of areas: split, merge, exit (mm/mmap.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import (
    EACCES,
    EAGAIN,
    EEXIST,
    EINVAL,
    EIO,
    ENODEV,
    ENOMEM,
    EOPNOTSUPP,
    EOVERFLOW,
    EPERM,
    Errno,
)  # fmt: skip
from machine.kernel.abi.mman import (
    LEGACY_MAP_MASK,
    MAP_32BIT,
    MAP_FIXED,
    MAP_FIXED_NOREPLACE,
    MAP_GROWSDOWN,
    MAP_LOCKED,
    MAP_NONBLOCK,
    MAP_NORESERVE,
    MAP_POPULATE,
    MAP_PRIVATE,
    MAP_SHARED,
    MAP_SHARED_VALIDATE,
    MAP_TYPE,
    PROT_EXEC,
    PROT_READ,
    PROT_WRITE,
)  # fmt: skip
from machine.kernel.abi.resource import RLIMIT_AS, RLIMIT_DATA, RLIMIT_MEMLOCK, RLIMIT_STACK
from machine.kernel.fs.file import FMODE_READ, FMODE_WRITE, file
from machine.kernel.mm.space import MAX_MAP_COUNT, MMAP_MIN_ADDR, mm_struct, vm_get_page_prot
from machine.kernel.mm.vma import (
    VM_ACCOUNT,
    VM_DONTEXPAND,
    VM_EXEC,
    VM_GROWSDOWN,
    VM_IO,
    VM_LOCKED,
    VM_MAYEXEC,
    VM_MAYREAD,
    VM_MAYSHARE,
    VM_MAYWRITE,
    VM_NORESERVE,
    VM_PFNMAP,
    VM_READ,
    VM_SHARED,
    VM_WRITE,
    vm_area_struct,
)  # fmt: skip
from machine.kernel.module import DRIVER_FAILED, call_driver

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

STACK_GUARD_GAP = 256 << PAGE_SHIFT
"""Bytes kept free below a stack (mm/mmap.c: stack_guard_gap)."""
_OFFSET_MASK = PAGE_SIZE - 1


def page_align(length: int) -> int:
    return (length + _OFFSET_MASK) & ~_OFFSET_MASK


def calc_vm_prot_bits(prot: int) -> int:
    """PROT_* are the low VM_* bits."""
    return prot & (PROT_READ | PROT_WRITE | PROT_EXEC)


# -- finding room ------------------------------------------------------------------------------------


def get_unmapped_area(mm: mm_struct, address: int, length: int, flags: int) -> int:
    """Where a mapping of `length` goes: at the hint if free, else the highest hole below mmap_base.

    ENOMEM: no such hole, or beyond the end of user space; EINVAL: MAP_FIXED at an unaligned address.
    """
    if length > mm.task_size:
        raise Errno(ENOMEM)
    if flags & MAP_FIXED:
        if address > mm.task_size - length:
            raise Errno(ENOMEM)
        if address & _OFFSET_MASK:
            raise Errno(EINVAL)
        if address < MMAP_MIN_ADDR and not mm.kernel.capable():
            raise Errno(EPERM)
        return address
    if flags & MAP_32BIT and mm.bits == 64:
        found = mm.areas.lowest_gap(length, 0x4000_0000, 0x8000_0000)
        if found < 0:
            raise Errno(ENOMEM)
        return found
    if address:
        address = page_align(address)
        if address >= MMAP_MIN_ADDR and address + length <= mm.task_size and room_at(mm, address, length):
            return address
    return _highest(mm, length)


def room_at(mm: mm_struct, address: int, length: int) -> bool:
    """Whether [address, address + length) is free, guard gaps of stacks included."""
    vma = mm.areas.find(address)
    if vma is not None and address + length > vm_start_gap(vma):
        return False
    before = mm.areas.before(address)
    return before is None or before.vm_end <= address


def vm_start_gap(vma: vm_area_struct) -> int:
    """Start of an area with the guard gap below it, if it is a stack."""
    return vma.vm_start - STACK_GUARD_GAP if vma.vm_flags & VM_GROWSDOWN else vma.vm_start


def _highest(mm: mm_struct, length: int) -> int:
    high = mm.mmap_base
    cached = mm.free_area_cache
    if cached and length > mm.cached_hole_size:
        high = min(high, cached)
    found = mm.areas.highest_gap(length, MMAP_MIN_ADDR, high)
    if found < 0 and high != mm.mmap_base:
        found = mm.areas.highest_gap(length, MMAP_MIN_ADDR, mm.mmap_base)
    if found < 0:
        found = mm.areas.lowest_gap(length, mm.task_size // 3 & ~_OFFSET_MASK, mm.task_size)
        if found < 0:
            raise Errno(ENOMEM)
        return found
    mm.free_area_cache, mm.cached_hole_size = found, length - PAGE_SIZE
    return found


# -- limits --------------------------------------------------------------------------------------------


def may_expand_vm(mm: mm_struct, vm_flags: int, pages: int) -> bool:
    """Whether RLIMIT_AS and RLIMIT_DATA allow `pages` more."""
    kernel = mm.kernel
    if mm.total_vm + pages > kernel.rlimit(RLIMIT_AS) >> PAGE_SHIFT:
        return False
    is_data = vm_flags & (VM_WRITE | VM_SHARED | VM_GROWSDOWN) == VM_WRITE
    return not (is_data and mm.data_vm + pages > kernel.rlimit(RLIMIT_DATA) >> PAGE_SHIFT)


def _account(mm: mm_struct, vma: vm_area_struct, sign: int) -> None:
    pages = sign * ((vma.vm_end - vma.vm_start) >> PAGE_SHIFT)
    flags = vma.vm_flags
    mm.total_vm += pages
    if flags & VM_GROWSDOWN:
        mm.stack_vm += pages
    elif flags & (VM_WRITE | VM_SHARED) == VM_WRITE:
        mm.data_vm += pages
    elif flags & (VM_EXEC | VM_WRITE) == VM_EXEC:
        mm.exec_vm += pages
    if flags & VM_LOCKED:
        mm.locked_vm += pages
    mm.hiwater_vm = max(mm.hiwater_vm, mm.total_vm)


def enough_memory(mm: mm_struct, pages: int) -> bool:
    """The overcommit rule "guess": only what can never be there is refused (mm/util.c)."""
    return pages <= mm.mem.total_frames()


# -- areas ------------------------------------------------------------------------------------------------


def insert_vma(mm: mm_struct, vma: vm_area_struct) -> None:
    """Link an area into its space, its file's list of mappings and the accounts."""
    mm.areas.insert(vma)
    _account(mm, vma, +1)
    link_file(vma)


def link_file(vma: vm_area_struct) -> None:
    """The page cache behind the file must know its mappings (truncate removes them)."""
    if vma.vm_file is not None:
        mapping = vma.vm_file.f_inode.i_mapping
        if mapping is not None:
            mapping.vma_link(vma)


def unlink_vma(mm: mm_struct, vma: vm_area_struct) -> None:
    """Undo `insert_vma`; entries and the reference to the file are the caller's."""
    mm.areas.remove(vma)
    mm.mmap_cache = None
    _account(mm, vma, -1)
    if vma.vm_file is not None:
        mapping = vma.vm_file.f_inode.i_mapping
        if mapping is not None:
            mapping.vma_unlink(vma)


def set_bounds(mm: mm_struct, vma: vm_area_struct, vm_start: int, vm_end: int) -> None:
    """Move an area's ends; the offset follows its start."""
    _account(mm, vma, -1)
    shift = (vm_start - vma.vm_start) >> PAGE_SHIFT
    mm.areas.resize(vma, vm_start, vm_end)
    vma.vm_pgoff += shift
    _account(mm, vma, +1)
    mm.mmap_cache = None


def vma_open(vma: vm_area_struct) -> None:
    """Tell the driver that there is one more area over its object."""
    ops = vma.vm_ops
    if ops is not None and ops.open is not None:
        call_driver(vma.vm_mm.kernel, ops.owner, "vma open", ops.open, vma)


def vma_close(vma: vm_area_struct) -> None:
    """Tell the driver that an area over its object is gone, and drop the file."""
    ops = vma.vm_ops
    if ops is not None and ops.close is not None:
        call_driver(vma.vm_mm.kernel, ops.owner, "vma close", ops.close, vma)
    if vma.vm_file is not None:
        vma.vm_file.put()


def copy_vma(vma: vm_area_struct, mm: mm_struct, vm_start: int, vm_end: int) -> vm_area_struct:
    """A second area like `vma` with other bounds, its reference to the file taken."""
    new = vm_area_struct(mm, vm_start, vm_end, vma.vm_flags, vma.vm_page_prot)
    new.vm_pgoff = vma.vm_pgoff + ((vm_start - vma.vm_start) >> PAGE_SHIFT)
    new.vm_ops, new.vm_private_data, new.anon_name = vma.vm_ops, vma.vm_private_data, vma.anon_name
    if vma.vm_file is not None:
        new.vm_file = vma.vm_file.get()
    return new


def split_vma(mm: mm_struct, vma: vm_area_struct, address: int, new_below: bool) -> vm_area_struct:
    """Cut `vma` at `address`.  Returns the new area: the lower part if `new_below`, else the tail.

    The driver's `open` is called for the new one (mm/mmap.c: split_vma).  ENOMEM at max_map_count.
    """
    if mm.map_count >= MAX_MAP_COUNT:
        raise Errno(ENOMEM)
    start, end = vma.vm_start, vma.vm_end
    if new_below:
        new = copy_vma(vma, mm, start, address)
        new_pgoff = vma.vm_pgoff
        set_bounds(mm, vma, address, end)
        new.vm_pgoff = new_pgoff
    else:
        new = copy_vma(vma, mm, address, end)
        set_bounds(mm, vma, start, address)
    vma_open(new)
    insert_vma(mm, new)
    _emit(mm, "split", new)
    return new


_SPECIAL = VM_IO | VM_DONTEXPAND | VM_PFNMAP


def can_merge(low: vm_area_struct, high: vm_area_struct) -> bool:
    """Whether two neighbours may become one area (is_mergeable_vma)."""
    if low.vm_end != high.vm_start or low.vm_flags != high.vm_flags or low.vm_flags & _SPECIAL:
        return False
    if low.vm_file is not high.vm_file or low.vm_ops is not high.vm_ops or low.anon_name != high.anon_name:
        return False
    if low.vm_private_data is not high.vm_private_data or low.vm_page_prot != high.vm_page_prot:
        return False
    if low.vm_ops is not None and low.vm_ops.close is not None:
        return False
    return low.vm_pgoff + ((low.vm_end - low.vm_start) >> PAGE_SHIFT) == high.vm_pgoff


def merge_around(mm: mm_struct, vma: vm_area_struct) -> vm_area_struct:
    """Merge `vma` with its neighbours where possible; returns the area that holds it now (vma_merge)."""
    before = mm.areas.before(vma.vm_start)
    if before is not None and can_merge(before, vma):
        _absorb(mm, before, vma)
        vma = before
    after = mm.areas.find(vma.vm_end)
    if after is not None and can_merge(vma, after):
        _absorb(mm, vma, after)
    return vma


def _absorb(mm: mm_struct, low: vm_area_struct, high: vm_area_struct) -> None:
    end = high.vm_end
    unlink_vma(mm, high)
    set_bounds(mm, low, low.vm_start, end)
    if high.vm_file is not None:
        high.vm_file.put()
    _emit(mm, "merge", low)


def _emit(mm: mm_struct, what: str, vma: vm_area_struct) -> None:
    if mm.kernel.events.vma is not None:
        mm.kernel.emit_vma(what, vma)


# -- mmap ---------------------------------------------------------------------------------------------------


def do_mmap(mm: mm_struct, filp: Optional[file], address: int, length: int, prot: int, flags: int, pgoff: int) -> int:
    """Map `length` bytes; returns the address.  Errors as mmap(2) (mm/mmap.c: do_mmap of 6.1).

    `pgoff` is the offset in pages.
    """
    if not length:
        raise Errno(EINVAL)
    if flags & MAP_FIXED_NOREPLACE:
        flags |= MAP_FIXED
    if not flags & MAP_FIXED and 0 < address < MMAP_MIN_ADDR:
        address = MMAP_MIN_ADDR
    length = page_align(length)
    if not length or length > 1 << 63:
        raise Errno(ENOMEM)
    if pgoff + (length >> PAGE_SHIFT) > 1 << (64 - PAGE_SHIFT):
        raise Errno(EOVERFLOW)
    if mm.map_count > MAX_MAP_COUNT:
        raise Errno(ENOMEM)
    address = get_unmapped_area(mm, address, length, flags)
    if flags & MAP_FIXED_NOREPLACE and mm.areas.within(address, address + length):
        raise Errno(EEXIST)
    vm_flags = calc_vm_prot_bits(prot) | mm.def_flags | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC
    if flags & MAP_GROWSDOWN:
        vm_flags |= VM_GROWSDOWN
    if flags & MAP_LOCKED:
        vm_flags |= VM_LOCKED
    check_mlock_future(mm, vm_flags, length)
    if filp is not None:
        vm_flags |= _file_flags(filp, prot, flags, vm_flags)
        if flags & MAP_TYPE != MAP_PRIVATE and not filp.f_mode & FMODE_WRITE:
            vm_flags &= ~(VM_MAYWRITE | VM_SHARED)
    else:
        kind = flags & MAP_TYPE
        if kind == MAP_SHARED:
            if vm_flags & VM_GROWSDOWN:
                raise Errno(EINVAL)
            pgoff = 0
            vm_flags |= VM_SHARED | VM_MAYSHARE
        elif kind == MAP_PRIVATE:
            pgoff = address >> PAGE_SHIFT
        else:
            raise Errno(EINVAL)
    if flags & MAP_NORESERVE:
        vm_flags |= VM_NORESERVE
    mmap_region(mm, filp, address, length, vm_flags, pgoff)
    if flags & MAP_LOCKED or mm.def_flags & VM_LOCKED or flags & (MAP_POPULATE | MAP_NONBLOCK) == MAP_POPULATE:
        populate(mm, address, address + length)
    return address


def _file_flags(filp: file, prot: int, flags: int, vm_flags: int) -> int:
    """Checks of a file mapping, and the flags that sharing adds."""
    kind = flags & MAP_TYPE
    added = 0
    if kind in (MAP_SHARED, MAP_SHARED_VALIDATE):
        if kind == MAP_SHARED_VALIDATE and flags & ~(LEGACY_MAP_MASK | 0x3):
            raise Errno(EOPNOTSUPP)
        if prot & PROT_WRITE and not filp.f_mode & FMODE_WRITE:
            raise Errno(EACCES)
        added = VM_SHARED | VM_MAYSHARE
    elif kind != MAP_PRIVATE:
        raise Errno(EINVAL)
    if not filp.f_mode & FMODE_READ:
        raise Errno(EACCES)
    if filp.f_op.mmap is None:
        raise Errno(ENODEV)
    if vm_flags & VM_GROWSDOWN:
        raise Errno(EINVAL)
    return added


def check_mlock_future(mm: mm_struct, vm_flags: int, length: int) -> None:
    """EPERM without the right to lock, EAGAIN beyond RLIMIT_MEMLOCK."""
    if not vm_flags & VM_LOCKED or mm.kernel.capable():
        return
    limit = mm.kernel.rlimit(RLIMIT_MEMLOCK)
    if not limit:
        raise Errno(EPERM)
    if (mm.locked_vm << PAGE_SHIFT) + length > limit:
        raise Errno(EAGAIN)


def mmap_region(
    mm: mm_struct, filp: Optional[file], address: int, length: int, vm_flags: int, pgoff: int
) -> vm_area_struct:
    """Replace what is in the range by a new area and let its file set it up (mm/mmap.c: mmap_region)."""
    pages = length >> PAGE_SHIFT
    replaced = mm.areas.within(address, address + length)
    if not may_expand_vm(mm, vm_flags, pages):
        gone = sum((min(v.vm_end, address + length) - max(v.vm_start, address)) >> PAGE_SHIFT for v in replaced)
        if not may_expand_vm(mm, vm_flags, pages - gone):
            raise Errno(ENOMEM)
    if replaced:
        do_munmap(mm, address, length)
    if vm_flags & (VM_NORESERVE | VM_SHARED | VM_WRITE) == VM_WRITE:
        if not enough_memory(mm, pages):
            raise Errno(ENOMEM)
        vm_flags |= VM_ACCOUNT
    vma = vm_area_struct(mm, address, address + length, vm_flags, vm_get_page_prot(vm_flags))
    vma.vm_pgoff = pgoff
    if filp is None and vm_flags & VM_SHARED:
        filp = mm.kernel.shmem_file(length)
    elif filp is not None:
        filp.get()
    if filp is not None:
        vma.vm_file = filp
        _call_mmap(mm, filp, vma)
    insert_vma(mm, vma)
    merged = merge_around(mm, vma)
    _emit(mm, "mmap", vma)
    if mm.kernel.check_invariants:
        mm.kernel.check_mm(mm)
    return merged


def _call_mmap(mm: mm_struct, filp: file, vma: vm_area_struct) -> None:
    """The file's `mmap` method; a negative answer undoes the area, without a `close`."""
    method = filp.f_op.mmap
    assert method is not None
    try:
        result: Any = call_driver(mm.kernel, filp.f_op.owner, "mmap", method, filp, vma)
    except Errno as error:
        result = -error.errno
    if result is DRIVER_FAILED:
        result = -EIO
    if not isinstance(result, int):
        mm.kernel.driver_bug(filp.f_op.owner, f"the mmap method returned {result!r}, not a number")
        result = -EIO
    if result < 0:
        mm.zap_range(vma.vm_start, vma.vm_end)
        free_tables(mm, vma.vm_start, vma.vm_end)
        filp.put()
        raise Errno(-result)


def populate(mm: mm_struct, start: int, end: int) -> bool:
    """Fault in a range ahead of use (mm/gup.c: populate_vma_page_range); False where it stopped early."""
    for vma in mm.areas.within(start, end):
        if vma.vm_flags & (VM_IO | VM_PFNMAP):
            continue
        write = vma.vm_flags & (VM_WRITE | VM_SHARED) == VM_WRITE
        for address in range(max(start, vma.vm_start), min(end, vma.vm_end), PAGE_SIZE):
            if not mm.tables.get(address) & 1 and not mm.kernel.faultin(mm, address, 2 if write else 0):
                return False
    return True


# -- munmap ----------------------------------------------------------------------------------------------------


def do_munmap(mm: mm_struct, start: int, length: int) -> None:
    """Unmap [start, start + length).  EINVAL: unaligned, empty or beyond user space; ENOMEM: too many areas."""
    if start & _OFFSET_MASK or start > mm.task_size or length > mm.task_size - start:
        raise Errno(EINVAL)
    length = page_align(length)
    if not length:
        raise Errno(EINVAL)
    end = start + length
    areas = mm.areas.within(start, end)
    if not areas:
        return
    first, last = areas[0], areas[-1]
    if first.vm_start < start:
        if end < first.vm_end and mm.map_count >= MAX_MAP_COUNT:
            raise Errno(ENOMEM)
        areas[0] = split_vma(mm, first, start, False)
        if last is first:
            last = areas[0]
    if last.vm_end > end:
        areas[-1] = split_vma(mm, last, end, True)
    for vma in areas:
        unlink_vma(mm, vma)
    if end > mm.free_area_cache:
        mm.free_area_cache = mm.cached_hole_size = 0
    mm.zap_range(start, end)
    free_tables(mm, start, end)
    for vma in areas:
        _emit(mm, "munmap", vma)
        vma_close(vma)
    if mm.kernel.check_invariants:
        mm.kernel.check_mm(mm)


def free_tables(mm: mm_struct, start: int, end: int) -> None:
    """Give back the leaf tables that no area needs any more (free_pgtables)."""
    before, after = mm.areas.before(start), mm.areas.find(end)
    low = (start if before is None else min(start, max(before.vm_end, 0))) >> 21
    if before is not None and before.vm_end > low << 21:
        low = ((before.vm_end - 1) >> 21) + 1
    elif before is None:
        low = start >> 21
    high = (end - 1) >> 21
    if after is not None and after.vm_start >> 21 <= high:
        high = (after.vm_start >> 21) - 1
    leaves = mm.tables.leaves
    if high - low > len(leaves):
        regions = [region for region in leaves if low <= region <= high]
    else:
        regions = [region for region in range(low, high + 1) if region in leaves]
    for region in regions:
        mm.tables.free_leaf(region)
    if regions:
        mm.flush_tlb()


def exit_mmap(mm: mm_struct) -> None:
    """The last user is gone: unmap everything, close every area, free the tables."""
    areas = list(mm.areas)
    mm.zap_range(0, mm.task_size)
    for vma in areas:
        unlink_vma(mm, vma)
    for vma in areas:
        vma_close(vma)
    if mm.kernel.sched.loaded_mm is mm:
        mm.kernel.cpu.switch_tables(mm.kernel.kernel_tables.cr3)
        mm.kernel.sched.loaded_mm = None
    mm.tables.destroy()
    mm.closed = True
    mm.kernel.mms.discard(mm)


def unmap_mapping_range(kernel: Kernel, mapping: Any, first: int, last: int) -> None:
    """Remove the entries of pages `first`..`last` of a file from every space that maps them."""
    for vma in list(mapping.i_mmap):
        low = max(first, vma.vm_pgoff)
        high = min(last, vma.vm_pgoff + ((vma.vm_end - vma.vm_start) >> PAGE_SHIFT) - 1)
        if low <= high:
            start = vma.vm_start + ((low - vma.vm_pgoff) << PAGE_SHIFT)
            vma.vm_mm.zap_range(start, start + ((high - low + 1) << PAGE_SHIFT))


# -- brk and stacks ----------------------------------------------------------------------------------------------


def do_brk(mm: mm_struct, brk: int) -> int:
    """The brk system call: the new break, or the old one where it can't be moved."""
    if brk < mm.start_brk or brk > mm.task_size:
        return mm.brk
    data = mm.kernel.rlimit(RLIMIT_DATA)
    if (brk - mm.start_brk) + (mm.end_data - mm.start_data) > data:
        return mm.brk
    old, new = page_align(mm.brk), page_align(brk)
    if new < old:
        do_munmap(mm, new, old - new)
    elif new > old:
        following = mm.areas.find(old)
        if following is not None and new + PAGE_SIZE > vm_start_gap(following):
            return mm.brk
        try:
            do_brk_flags(mm, old, new - old)
        except Errno:
            return mm.brk
    grown_locked = new > old and mm.def_flags & VM_LOCKED
    mm.brk = brk
    if grown_locked:
        populate(mm, old, new)
    return brk


def do_brk_flags(mm: mm_struct, address: int, length: int, vm_flags: int = 0) -> None:
    """An anonymous area without file: the heap, and the bss of a program."""
    flags = VM_READ | VM_WRITE | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC | mm.def_flags | vm_flags
    check_mlock_future(mm, flags, length)
    if mm.map_count > MAX_MAP_COUNT:
        raise Errno(ENOMEM)
    mmap_region(mm, None, address, length, flags, address >> PAGE_SHIFT)


def setup_stack(mm: mm_struct, top: int, size: int, executable: bool = False) -> vm_area_struct:
    """The stack of a new program: `size` bytes below `top`, growing down on faults."""
    flags = VM_READ | VM_WRITE | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC | VM_GROWSDOWN
    if executable:
        flags |= VM_EXEC
    return mmap_region(mm, None, top - size, size, flags, (top - size) >> PAGE_SHIFT)


def grow_down(mm: mm_struct, vma: vm_area_struct, address: int) -> bool:
    """Extend a stack to the page `address`; False at RLIMIT_STACK, RLIMIT_AS or the guard gap."""
    if address < MMAP_MIN_ADDR:
        return False
    size = vma.vm_end - address
    grow = (vma.vm_start - address) >> PAGE_SHIFT
    before = mm.areas.before(vma.vm_start)
    if before is not None and before.vm_flags & (VM_READ | VM_WRITE | VM_EXEC):
        gap = 0 if before.vm_flags & VM_GROWSDOWN else STACK_GUARD_GAP
        if address - before.vm_end < gap:
            return False
    if before is not None and address < before.vm_end:
        return False
    if size > mm.kernel.rlimit(RLIMIT_STACK) or not may_expand_vm(mm, vma.vm_flags, grow):
        return False
    set_bounds(mm, vma, address, vma.vm_end)
    _emit(mm, "grow", vma)
    return True
