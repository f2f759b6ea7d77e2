"""Stacks: areas that grow down (fs/exec.c: setup_arg_pages; mm/mmap.c: expand_downwards)."""

from __future__ import annotations

from machine.hardware.ram import PAGE_SHIFT
from machine.kernel.abi.resource import RLIMIT_STACK
from machine.kernel.mm.areas import STACK_GUARD_GAP
from machine.kernel.mm.limits import may_expand_vm
from machine.kernel.mm.mmap import mmap_region
from machine.kernel.mm.space import mm_struct
from machine.kernel.mm.vma import (
    VM_EXEC,
    VM_GROWSDOWN,
    VM_MAYEXEC,
    VM_MAYREAD,
    VM_MAYWRITE,
    VM_READ,
    VM_WRITE,
    vm_area_struct,
)  # fmt: skip
from machine.kernel.mm.vma_ops import emit_vma, set_bounds


def setup_stack(mm: mm_struct, top: int, size: int, executable: bool = False) -> vm_area_struct:
    """The stack of a new program: `size` bytes below `top`, growing down on faults."""
    flags = VM_READ | VM_WRITE | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC | VM_GROWSDOWN
    if executable:
        flags |= VM_EXEC
    return mmap_region(mm, None, top - size, size, flags, (top - size) >> PAGE_SHIFT)


def grow_down(mm: mm_struct, vma: vm_area_struct, address: int) -> bool:
    """Extend a stack to the page `address`; False at RLIMIT_STACK, RLIMIT_AS or the guard gap."""
    if address < mm.kernel.sysctl["vm/mmap_min_addr"]:
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
    old_start = vma.vm_start
    set_bounds(mm, vma, address, vma.vm_end)
    if mm.kernel.events.vma is not None:
        emit_vma(mm, "change", vma, old_start, vma.vm_end)
    return True
