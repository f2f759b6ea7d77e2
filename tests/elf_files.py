"""Small ELF programs made by hand, good and spoiled."""

from __future__ import annotations

import struct

from machine.kernel.task import elf

EXIT_42 = bytes.fromhex("b83c000000bf2a0000000f05")  # mov $60,%eax; mov $42,%edi; syscall
BASE = 0x400000


def program(
    *,
    kind: int = elf.ET_EXEC,
    machine: int = elf.EM_X86_64,
    phentsize: int = 56,
    phnum: int | None = None,
    phoff: int = 64,
    segments: list[tuple[int, ...]] | None = None,
    tail: bytes = b"",
    magic: bytes = elf.ELFMAG,
    entry: int | None = None,
    code: bytes = EXIT_42,
) -> bytes:
    """A 64-bit program that exits with 42, and how to spoil it.

    `segments`: (type, flags, offset, vaddr, filesz, memsz, align).
    """
    code_at = 0x1000
    if entry is None:
        entry = BASE + code_at
    if segments is None:
        segments = [(elf.PT_LOAD, 5, 0, BASE, code_at + len(code), code_at + len(code), 0x1000)]
    headers = b"".join(struct.pack("<IIQQQQQQ", t, f, o, v, v, fs, ms, a) for t, f, o, v, fs, ms, a in segments)
    ident = struct.pack("<4sBBBB8x", magic, 2, 1, 1, 0)
    count = len(segments) if phnum is None else phnum
    head = ident + struct.pack("<HHIQQQIHHHHHH", kind, machine, 1, entry, phoff, 0, 0, 64, phentsize, count, 64, 0, 0)
    return (head + headers).ljust(code_at, b"\0") + code + tail


def load(
    offset: int = 0, vaddr: int = BASE, filesz: int = 0x1010, memsz: int = 0x1010, flags: int = 5
) -> tuple[int, ...]:
    """A PT_LOAD for `program`."""
    return (elf.PT_LOAD, flags, offset, vaddr, filesz, memsz, 0x1000)


def interp(offset: int, size: int) -> tuple[int, ...]:
    """A PT_INTERP for `program`."""
    return (elf.PT_INTERP, 4, offset, BASE, size, size, 1)


LOADER = b"/nonexistent/ld.so\0"
