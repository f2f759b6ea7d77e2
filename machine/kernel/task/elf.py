"""ELF files as the kernel reads them: headers, segments and nothing else (fs/binfmt_elf.c).

Only what execve needs, with the checks that Linux makes and no others: sections, symbols and most
of the identification bytes are never looked at.  Every number comes from the file and may be anything.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Optional

from machine.hardware.ram import PAGE_SIZE
from machine.kernel.abi.errno import EINVAL, EIO, ENOEXEC, Errno
from machine.kernel.abi.mman import PROT_EXEC, PROT_READ, PROT_WRITE
from machine.records import field, record

ELFMAG = b"\x7fELF"
ET_EXEC, ET_DYN = 2, 3
EM_386, EM_486, EM_X86_64 = 3, 6, 62
PT_LOAD, PT_INTERP, PT_GNU_STACK = 1, 3, 0x6474E551
PF_X, PF_W, PF_R = 1, 2, 4

PATH_MAX = 4096
MAX_PHDR_BYTES = 65536
"""The most that the program headers may take (load_elf_phdrs)."""

EXSTACK_DEFAULT, EXSTACK_DISABLE_X, EXSTACK_ENABLE_X = 0, 1, 2

_EHDR64, _EHDR32 = struct.Struct("<16sHHIQQQIHHHHHH"), struct.Struct("<16sHHIIIIIHHHHHH")
_PHDR64, _PHDR32 = struct.Struct("<IIQQQQQQ"), struct.Struct("<IIIIIIII")

Read = Callable[[int, int], bytes]
"""(position, count) -> the bytes that are there; fewer at the end of the file.  May raise Errno."""


@record(slots=True)
class Segment:
    """One program header, in the field order of x86_64."""

    type: int
    flags: int
    offset: int
    vaddr: int
    paddr: int
    filesz: int
    memsz: int
    align: int

    @property
    def prot(self) -> int:
        """PROT_* of the segment's mapping (make_prot)."""
        flags = self.flags
        return (
            (PROT_READ if flags & PF_R else 0)
            | (PROT_WRITE if flags & PF_W else 0)
            | (PROT_EXEC if flags & PF_X else 0)
        )

    def fits(self, address: int, task_size: int) -> bool:
        """Whether the segment, loaded at `address`, is one that Linux accepts."""
        return address < task_size and self.filesz <= self.memsz <= task_size and task_size - self.memsz >= address


@record(slots=True)
class ElfFile:
    """The headers of one program or interpreter."""

    bits: int
    type: int
    entry: int
    phoff: int
    phnum: int
    phentsize: int
    segments: list[Segment] = field(default_factory=list)
    interp: Optional[bytes] = None
    """Path of PT_INTERP without its NUL, None where there is none."""
    stack_exec: int = EXSTACK_DEFAULT
    """What PT_GNU_STACK says: EXSTACK_*."""

    @property
    def loads(self) -> list[Segment]:
        """The PT_LOAD segments, in the file's order."""
        return [segment for segment in self.segments if segment.type == PT_LOAD]

    @property
    def phdr_vaddr(self) -> int:
        """Address of the program headers before relocation; 0 where no segment holds them."""
        for segment in self.loads:
            if segment.offset <= self.phoff < segment.offset + segment.filesz:
                return self.phoff - segment.offset + segment.vaddr
        return 0

    def total_mapping_size(self, word_mask: int) -> int:
        """Bytes from the start of the lowest page to the end of the highest segment; 0 without one."""
        loads = self.loads
        if not loads:
            return 0
        low = min(segment.vaddr & -PAGE_SIZE for segment in loads)
        high = max((segment.vaddr + segment.memsz) & word_mask for segment in loads)
        return max(high - low, 0)

    def maximum_alignment(self) -> int:
        """The largest p_align that is a power of two, at least a page (maximum_alignment)."""
        alignments = [s.align for s in self.loads if s.align and not s.align & (s.align - 1)]
        return max([PAGE_SIZE, *alignments])


def is_elf(head: bytes) -> bool:
    """Whether the first bytes of a file say ELF."""
    return head[:4] == ELFMAG


def parse_header(head: bytes) -> ElfFile:
    """The ELF header.  ENOEXEC: not ELF, not a program or shared object, another machine.

    As on Linux `e_machine` alone chooses between the 64-bit and the 32-bit loader, and a short file
    reads as if zeros followed.
    """
    head = head.ljust(64, b"\0")
    if not is_elf(head):
        raise Errno(ENOEXEC)
    kind, machine = struct.unpack_from("<HH", head, 16)
    if kind not in (ET_EXEC, ET_DYN):
        raise Errno(ENOEXEC)
    if machine == EM_X86_64:
        layout, bits = _EHDR64, 64
    elif machine in (EM_386, EM_486):
        layout, bits = _EHDR32, 32
    else:
        raise Errno(ENOEXEC)
    _, kind, _, _, entry, phoff, _, _, _, phentsize, phnum, _, _, _ = layout.unpack_from(head)
    return ElfFile(bits, kind, entry, phoff, phnum, phentsize)


def read_program_headers(elf: ElfFile, read: Read) -> None:
    """Fill in `segments` and `stack_exec` (load_elf_phdrs).  ENOEXEC: none, too many, of a wrong size, or
    beyond the end of the file."""
    layout = _PHDR64 if elf.bits == 64 else _PHDR32
    size = elf.phnum * layout.size
    if elf.phentsize != layout.size or not 0 < size <= MAX_PHDR_BYTES:
        raise Errno(ENOEXEC)
    data = _exactly(read, elf.phoff, size, ENOEXEC)
    for row in layout.iter_unpack(data):
        if elf.bits == 32:
            kind, offset, vaddr, paddr, filesz, memsz, flags, align = row
            row = (kind, flags, offset, vaddr, paddr, filesz, memsz, align)
        segment = Segment(*row)
        elf.segments.append(segment)
        if segment.type == PT_GNU_STACK:
            elf.stack_exec = EXSTACK_ENABLE_X if segment.flags & PF_X else EXSTACK_DISABLE_X


def read_interp(elf: ElfFile, read: Read) -> None:
    """Fill in `interp` from the first PT_INTERP.

    ENOEXEC: shorter than 2 bytes, longer than PATH_MAX, or without a NUL at its end; EIO: beyond the file's end.
    """
    for segment in elf.segments:
        if segment.type != PT_INTERP:
            continue
        if not 2 <= segment.filesz <= PATH_MAX:
            raise Errno(ENOEXEC)
        data = _exactly(read, segment.offset, segment.filesz, EIO)
        if data[-1]:
            raise Errno(ENOEXEC)
        elf.interp = data.split(b"\0", 1)[0]
        return


def _exactly(read: Read, position: int, count: int, short: int) -> bytes:
    """`count` bytes, or Errno(`short`); a position that `loff_t` can't hold is EINVAL."""
    if position + count >= 1 << 63:
        raise Errno(EINVAL if short == EIO else short)
    data = read(position, count)
    if len(data) != count:
        raise Errno(short)
    return data


def parse_program(read: Read) -> ElfFile:
    """A whole program: header, segments, interpreter's path.  Errors as in the three steps."""
    elf = parse_header(read(0, 256))
    read_program_headers(elf, read)
    read_interp(elf, read)
    return elf


def parse_bytes(data: bytes) -> ElfFile:
    """The same for a file that is at hand as bytes."""
    return parse_program(lambda position, count: data[position : position + count])
