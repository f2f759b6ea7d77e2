"""The flat segments and the table that describes them (arch/x86/kernel/cpu/common.c: gdt_page)."""

from __future__ import annotations

from machine.hardware.paging import A, P, PageTables
from machine.hardware.ram import PAGE_SIZE, Ram

CPU_ENTRY_AREA = 0xFFFF_FE00_0000_0000
"""Where the table is, as in Linux (asm/cpu_entry_area.h): all of the kernel that a process's tables map.

The engine makes some accesses of ring 3 with the rights of ring 0: LCALL pushes and IRET and LRET pop wherever RSP
points.  So nothing but this may be in reach, and nobody may write to it: the descriptors have their accessed bit,
which the processor would set otherwise.
"""

# Selectors, as Linux has them.
KERNEL_CS = 0x10
KERNEL_DS = 0x18
USER32_CS = 0x23
USER_DS = 0x2B
USER_CS = 0x33
GDT_ENTRY_TLS_MIN = 12
GDT_ENTRY_TLS_MAX = 14

# Descriptors: base 0, limit 4 GiB (SDM vol. 3A §3.4.5).
_FLAT64_CODE = 0x00AF9B000000FFFF
_FLAT_DATA = 0x00CF93000000FFFF
_FLAT32_USER_CODE = 0x00CFFB000000FFFF
_FLAT_USER_DATA = 0x00CFF3000000FFFF
_FLAT64_USER_CODE = 0x00AFFB000000FFFF


def map_entry_area(tables: PageTables, boot: int) -> None:
    """Map the two frames at `boot`, the table and the code that enters ring 3: for the supervisor, to read."""
    for offset in (0, PAGE_SIZE):
        tables.set(CPU_ENTRY_AREA + offset, boot + offset | P | A)


def write_gdt(ram: Ram, physical: int) -> memoryview:
    """Fill the frame at `physical`; returns the table, a 64-bit word a descriptor."""
    table = ram.words[physical >> 3 : (physical + PAGE_SIZE) >> 3]
    for selector, descriptor in (
        (KERNEL_CS, _FLAT64_CODE),
        (KERNEL_DS, _FLAT_DATA),
        (USER32_CS, _FLAT32_USER_CODE),
        (USER_DS, _FLAT_USER_DATA),
        (USER_CS, _FLAT64_USER_CODE),
    ):
        table[selector >> 3] = descriptor
    return table
