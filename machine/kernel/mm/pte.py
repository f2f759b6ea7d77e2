"""Software bits of page-table entries: those that the MMU leaves to the kernel, or doesn't see in one not present."""

from __future__ import annotations

PROTNONE = 1 << 10
"""Of an entry that is kept but not present: its area is PROT_NONE (`_PAGE_PROTNONE`)."""
DEVICE = 1 << 9
"""Of a non-present entry: the address holds a device register block (mm/mmio.py)."""
SPECIAL = 1 << 11
"""Of an entry that maps a frame without counting it: made by frame number, for VM_PFNMAP and VM_MIXEDMAP areas of
today's drivers (`_PAGE_SPECIAL`)."""
UFFD_WP = 1 << 53
"""Of an entry whose next write is a message of userfaultfd; it has no RW (`_PAGE_UFFD_WP`)."""
AHEAD = 1 << 52
"""Of an entry that was made before anybody asked for the page (mm/ahead.py)."""
PTE_PFN = 0x000F_FFFF_FFFF_F000
"""The frame, times the size of a page."""
