"""TLS descriptors of i386 threads: GDT entries 12 to 14 (arch/x86/kernel/tls.c)."""

from __future__ import annotations

from machine.hardware.gdt import GDT_ENTRY_TLS_MAX, GDT_ENTRY_TLS_MIN
from machine.kernel.abi.errno import EINVAL, ESRCH, Errno

# Bits of the last word of `struct user_desc`.
_SEG_32BIT, _READ_EXEC_ONLY, _LIMIT_IN_PAGES, _NOT_PRESENT, _USEABLE = 1, 8, 16, 32, 64


def _is_empty(base: int, limit: int, bits: int) -> bool:
    """LDT_empty or LDT_zero: the ways to say "remove the entry", whatever `lm` is."""
    zero = base == 0 and limit == 0
    return zero and bits & 0x7F in (0, _READ_EXEC_ONLY | _NOT_PRESENT)


def tls_descriptor(base: int, limit: int, bits: int) -> int:
    """The raw descriptor for a `struct user_desc` (fill_ldt).  EINVAL for what a TLS entry must not be; `lm` is passed
    over, as since Linux 3.19 (tls_desc_okay)."""
    if _is_empty(base, limit, bits):
        return 0
    contents = bits >> 1 & 3
    if not bits & _SEG_32BIT or contents > 1 or bits & _NOT_PRESENT:
        raise Errno(EINVAL)
    kind = (0 if bits & _READ_EXEC_ONLY else 2) | contents << 2 | 1
    access = kind | 0x10 | 3 << 5 | 0x80
    high = limit >> 16 & 0xF | (bits & _USEABLE and 0x10) | 0x40 | (bits & _LIMIT_IN_PAGES and 0x80)
    return (
        (limit & 0xFFFF) | (base & 0xFFFFFF) << 16 | access << 40 | high << 48 | (base >> 24 & 0xFF) << 56
    )  # fmt: skip


def set_tls_entry(tls_array: list[int], description: tuple[int, ...], can_allocate: bool = False) -> int:
    """Store a `struct user_desc` (entry_number, base_addr, limit, bits) into `tls_array`; the entry's number.

    Entry -1 asks for a free one where `can_allocate` (set_thread_area), ESRCH if there is none.
    EINVAL for a number that is no TLS entry.
    """
    number, base, limit, bits = description
    descriptor = tls_descriptor(base, limit, bits)
    if number == 0xFFFFFFFF and can_allocate:
        for i, raw in enumerate(tls_array):
            if raw == 0:
                number = GDT_ENTRY_TLS_MIN + i
                break
        else:
            raise Errno(ESRCH)
    if not GDT_ENTRY_TLS_MIN <= number <= GDT_ENTRY_TLS_MAX:
        raise Errno(EINVAL)
    tls_array[number - GDT_ENTRY_TLS_MIN] = descriptor
    return number


def get_tls_entry(tls_array: list[int], number: int) -> tuple[int, int, int, int]:
    """The `struct user_desc` of an entry (get_thread_area).  EINVAL for a number that is no TLS entry."""
    if not GDT_ENTRY_TLS_MIN <= number <= GDT_ENTRY_TLS_MAX:
        raise Errno(EINVAL)
    raw = tls_array[number - GDT_ENTRY_TLS_MIN]
    if raw == 0:
        return number, 0, 0, _READ_EXEC_ONLY | _NOT_PRESENT
    base = raw >> 16 & 0xFFFFFF | (raw >> 56 & 0xFF) << 24
    limit = raw & 0xFFFF | (raw >> 48 & 0xF) << 16
    kind = raw >> 40
    bits = (
        (raw >> 54 & 1) | (kind >> 2 & 3) << 1 | (0 if kind & 2 else _READ_EXEC_ONLY)
        | (raw >> 55 & 1 and _LIMIT_IN_PAGES) | (0 if kind & 0x80 else _NOT_PRESENT) | (raw >> 52 & 1 and _USEABLE)
    )  # fmt: skip
    return number, base, limit, bits
