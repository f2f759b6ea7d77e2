"""Entries that a driver's mistake makes nonsense of: the program ends with a reason, and does not fault for ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from machine import Machine

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]

TOUCHED = """
    int fd = must_open("/dev/bad", O_RDWR);
    char *p = map(fd, PAGE, PAGE, RW, MAP_SHARED);
    CHECK("touched", p[0] == 0);
"""


def test_a_protection_of_nothing(m: Machine, driver: Load, run_c: Run) -> None:
    """remap_pfn_range(..., prot=0): an entry that is neither present nor empty is SIGBUS, and so is a copy.  # B3"""
    driver("""
        page = get_zeroed_page(GFP_KERNEL)
        SetPageReserved(virt_to_page(page))
        def mmap(filp, vma):
            return remap_pfn_range(vma, vma.vm_start, __pa(page) >> PAGE_SHIFT, PAGE_SIZE, 0)
        register_chrdev(240, "bad", file_operations(mmap=mmap))
        devfs_mk_cdev(MKDEV(240, 0), 0o666, "bad")
    """)
    result = run_c(m, TOUCHED, fine=False)
    assert result.signal == 7 and result.faults < 1000
    assert "neither present nor empty: made with a protection of 0?" in m.kernel.refused[1]


def test_reserved_bits(m: Machine, driver: Load, run_c: Run) -> None:
    """A bit above the processor's 40: "Corrupted page table", and SIGKILL (pgtable_bad).  # B5"""
    driver("""
        page = get_zeroed_page(GFP_KERNEL)
        SetPageReserved(virt_to_page(page))
        def mmap(filp, vma):
            return remap_pfn_range(vma, vma.vm_start, __pa(page) >> PAGE_SHIFT, PAGE_SIZE, vma.vm_page_prot | 1 << 45)
        register_chrdev(240, "bad", file_operations(mmap=mmap))
        devfs_mk_cdev(MKDEV(240, 0), 0o666, "bad")
    """)
    result = run_c(m, TOUCHED, fine=False)
    assert result.signal == 9 and result.faults < 1000
    assert [line for line in m.dmesg if "Corrupted page table at address" in line], m.dmesg
