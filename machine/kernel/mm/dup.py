"""fork's half of memory management: a copy of an address space (kernel/fork.c: dup_mmap)."""

from __future__ import annotations

from machine.hardware.paging import RW, P
from machine.hardware.ram import PAGE_SHIFT
from machine.kernel.abi.errno import Errno
from machine.kernel.mm.page import PG_reserved
from machine.kernel.mm.pte import DEVICE, PTE_PFN, SPECIAL
from machine.kernel.mm.space import mm_struct
from machine.kernel.mm.vma import (
    VM_DONTCOPY,
    VM_LOCKED,
    VM_LOCKONFAULT,
    VM_SHARED,
    VM_WIPEONFORK,
    VM_WRITE,
    vm_area_struct,
)
from machine.kernel.mm.vma_ops import copy_vma, insert_vma, vma_open

_FIELDS = (
    "mmap_base", "task_size", "start_code", "end_code", "start_data", "end_data", "start_brk", "brk", "start_stack",
    "arg_start", "arg_end", "env_start", "env_end", "saved_auxv", "vdso", "dumpable", "thp_disable",
    "membarrier",
)  # fmt: skip


def dup_mm(old: mm_struct) -> mm_struct:
    """A copy-on-write copy of `old`.  Errno(ENOMEM) leaves nothing behind."""
    old.settle()
    new = mm_struct(old.kernel, old.bits)
    for name in _FIELDS:
        setattr(new, name, getattr(old, name))
    new.set_exe_file(old.exe_file)
    try:
        for vma in old.areas:
            if vma.vm_flags & VM_DONTCOPY:
                continue
            copy = copy_vma(vma, new, vma.vm_start, vma.vm_end)
            copy.vm_flags &= ~(VM_LOCKED | VM_LOCKONFAULT)
            insert_vma(new, copy)
            try:
                if not vma.vm_flags & VM_WIPEONFORK:
                    _copy_page_range(old, new, vma)
            finally:  # where the copy failed too: the area is in the list, and will be closed
                vma_open(copy)
    except Errno:
        old.flush_tlb()
        if new.userfault_forks:
            from machine.kernel.fs.userfaultfd_events import forget_forks

            forget_forks(new)
        new.put()
        raise
    old.flush_tlb()
    return new


def _copy_page_range(old: mm_struct, new: mm_struct, vma: vm_area_struct) -> None:
    """Copy the entries of one area; private writable pages become read-only in both (copy_page_range)."""
    words, mem = old.ram.words, old.mem
    cow = vma.vm_flags & (VM_SHARED | VM_WRITE) != (VM_SHARED | VM_WRITE)
    count, mapcount, flags = mem.count, mem.mapcount, mem.flags
    for va, index, number in old.tables.runs(vma.vm_start, vma.vm_end):
        entries = words[index : index + number].tolist()
        if not any(entries):
            continue
        target = new.tables.leaf(va)
        for i, pte in enumerate(entries):
            if not pte:
                continue
            if cow and pte & RW:
                pte &= ~RW
                words[index + i] = pte
            if not (pte & SPECIAL or (pte & DEVICE and not pte & P)):
                pfn = (pte & PTE_PFN) >> PAGE_SHIFT
                if mem.pfn_valid(pfn) and not flags[pfn] & PG_reserved:
                    count[pfn] += 1
                    mapcount[pfn] += 1
                    if mem.owner_of(pfn) == "anonymous":
                        new.rss_anon += 1
                    else:
                        new.rss_file += 1
            words[target + i] = pte
