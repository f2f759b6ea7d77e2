"""The invariants of an address space, checked after every change of one in tests."""

from __future__ import annotations

from machine.hardware.paging import RW, P
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.mm.page import PG_reserved
from machine.kernel.mm.pte import DEVICE, PTE_PFN, SPECIAL
from machine.kernel.mm.space import mm_struct
from machine.kernel.mm.vma import VM_SHARED, VM_WRITE, vm_area_struct


def check_mm(mm: mm_struct) -> list[str]:
    """What is wrong with `mm`, a sentence each; empty when all is well."""
    complaints = []
    previous: vm_area_struct | None = None
    total = 0
    areas = list(mm.areas)
    for vma in areas:
        if vma.vm_start & (PAGE_SIZE - 1) or vma.vm_end & (PAGE_SIZE - 1) or vma.vm_start >= vma.vm_end:
            complaints.append(f"{vma!r} is empty or not page aligned")
        if vma.vm_end > mm.task_size:
            complaints.append(f"{vma!r} reaches beyond user space")
        if previous is not None and previous.vm_end > vma.vm_start:
            complaints.append(f"{previous!r} overlaps {vma!r}")
        if mm.areas.find(vma.vm_start) is not vma:
            complaints.append(f"find_vma does not find {vma!r}")
        total += (vma.vm_end - vma.vm_start) >> PAGE_SHIFT
        previous = vma
    if len(areas) != mm.map_count:
        complaints.append(f"map_count is {mm.map_count}, there are {len(areas)} areas")
    cached = mm.mmap_cache
    if cached is not None and mm.areas.find(cached.vm_start) is not cached:
        complaints.append(f"mmap_cache is {cached!r}, which is gone")
    if total != mm.total_vm:
        complaints.append(f"total_vm is {mm.total_vm}, the areas have {total} pages")
    return complaints + _check_entries(mm)


def _check_entries(mm: mm_struct) -> list[str]:
    complaints = []
    anon = other = 0
    for va, pte in mm.walk_present(0, mm.task_size):
        vma = mm.areas.find(va)
        if vma is None or vma.vm_start > va:
            complaints.append(f"entry {pte:#x} at {va:#x} lies in no area")
            continue
        if pte & DEVICE and not pte & P:
            continue
        pfn = (pte & PTE_PFN) >> PAGE_SHIFT
        if pte & P and pte & RW and not vma.vm_flags & VM_WRITE:
            complaints.append(f"entry {pte:#x} at {va:#x} is writable, {vma!r} is not")
        mem = mm.mem
        if pfn == mm.kernel.zero_pfn and pte & P and pte & RW:
            complaints.append(f"the zero page is writable at {va:#x} in {vma!r}")
        if pte & SPECIAL or not mem.pfn_valid(pfn) or mem.flags[pfn] & PG_reserved:
            continue
        if mem.owner_of(pfn) == "anonymous":
            anon += 1
        else:
            other += 1
        if mem.count[pfn] < mem.mapcount[pfn]:
            complaints.append(f"frame {pfn:#x} at {va:#x}: count {mem.count[pfn]} < mapcount {mem.mapcount[pfn]}")
        private = not vma.vm_flags & VM_SHARED
        if private and pte & P and pte & RW and mem.mapcount[pfn] > 1 and mem.owner_of(pfn) == "anonymous":
            complaints.append(f"private frame {pfn:#x} at {va:#x} is writable and mapped {mem.mapcount[pfn]} times")
    if (anon, other) != (mm.rss_anon, mm.rss_file):
        complaints.append(f"rss is {mm.rss_anon} + {mm.rss_file}, the entries have {anon} + {other}")
    return complaints
