"""Mapping an ELF program into a new address space, and its first stack (fs/binfmt_elf.c: load_elf_binary).

Without address space randomization: the same program always gets the same addresses, those that
Linux gives it under ``setarch -R``.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Optional

from machine.hardware.ram import PAGE_SIZE
from machine.kernel.abi.auxvec import (
    AT_BASE,
    AT_CLKTCK,
    AT_EGID,
    AT_ENTRY,
    AT_EUID,
    AT_EXECFN,
    AT_FLAGS,
    AT_GID,
    AT_HWCAP,
    AT_HWCAP2,
    AT_MINSIGSTKSZ,
    AT_NULL,
    AT_PAGESZ,
    AT_PHDR,
    AT_PHENT,
    AT_PHNUM,
    AT_PLATFORM,
    AT_RANDOM,
    AT_RSEQ_ALIGN,
    AT_RSEQ_FEATURE_SIZE,
    AT_SECURE,
    AT_SYSINFO,
    AT_SYSINFO_EHDR,
    AT_UID,
)  # fmt: skip
from machine.kernel.abi.errno import EFAULT, EINVAL, ENOMEM, Errno
from machine.kernel.abi.layout import USER_HZ, Abi
from machine.kernel.abi.mman import (
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_FIXED_NOREPLACE,
    MAP_PRIVATE,
    PROT_EXEC,
    PROT_NONE,
    PROT_READ,
    PROT_WRITE,
)  # fmt: skip
from machine.kernel.abi.resource import RLIMIT_STACK
from machine.kernel.mm.brk import do_brk_flags
from machine.kernel.mm.mmap import do_mmap
from machine.kernel.mm.munmap import do_munmap
from machine.kernel.mm.stack import setup_stack
from machine.kernel.mm.vma import VM_EXEC
from machine.kernel.task.elf import ET_DYN, ET_EXEC, EXSTACK_DEFAULT, EXSTACK_ENABLE_X, ElfFile, Segment
from machine.kernel.task.vdso import KERNEL_VSYSCALL, map_vdso, vdso_symbol
from machine.records import NamedTuple

if TYPE_CHECKING:
    from machine.kernel.fs.file import file
    from machine.kernel.mm.space import mm_struct
    from machine.kernel.task.binprm import linux_binprm

_OFFSET = PAGE_SIZE - 1

ELF_ET_DYN_BASE = {64: 0x5555_5555_4AAA, 32: 0x5655_5000}
"""Where a position independent program with an interpreter goes: two thirds of the address space."""
STACK_EXPAND = 131072
"""Bytes that a new stack has below its contents."""
MIN_GAP, STACK_GAP = 128 << 20, 1 << 20
"""Least distance of mmap_base from the top; guard below the stack (arch/x86/mm/mmap.c: mmap_base)."""

ELF_HWCAP = 0x078B_FBFD
"""CPUID leaf 1 EDX of the engine's default 64-bit model (held by tests/unit/test_elf.py)."""
ELF_HWCAP2 = 0
"""No FSGSBASE (CR4.FSGSBASE is off), no ring-3 MWAIT."""
SIGFRAME_SIZE = 1520
"""AT_MINSIGSTKSZ, bytes: the largest signal frame with padding for an XSAVE area of 576 bytes."""
RSEQ_FEATURE_SIZE, RSEQ_ALIGN = 28, 32

READ_IMPLIES_EXEC = 0x0400000


class Loaded(NamedTuple):
    """Where a program ended up."""

    start: int
    """Address at which the program begins: the interpreter's entry if there is one."""
    entry: int
    """AT_ENTRY: the program's own."""
    phdr: int
    base: int
    """AT_BASE: the interpreter's load address, 0 without one."""


def pick_mmap_layout(mm: mm_struct, stack_limit: int) -> None:
    """Set `mmap_base`: the stack's limit below the top, at least 128 MiB, at most 5/6 (arch_pick_mmap_layout)."""
    gap = min(stack_limit + STACK_GAP, 1 << 62)
    gap = min(max(gap, MIN_GAP), mm.task_size // 6 * 5)
    mm.mmap_base = (mm.task_size - gap + _OFFSET) & ~_OFFSET


def executable_stack(elf: ElfFile) -> tuple[bool, bool]:
    """(stack is executable, reading implies executing): the table in arch/x86/include/asm/elf.h."""
    implies = elf.bits == 32 and elf.stack_exec == EXSTACK_DEFAULT
    return implies or elf.stack_exec == EXSTACK_ENABLE_X, implies


class ElfLoader:
    """Maps one program.  `implies_exec`: every readable segment is executable too."""

    def __init__(self, mm: mm_struct, implies_exec: bool) -> None:
        self.mm = mm
        self.implies_exec = implies_exec

    def load(self, elf: ElfFile, program: file, interp: Optional[ElfFile], interp_file: Optional[file]) -> Loaded:
        """Map the segments, then the interpreter's, then the vDSO.  Errno where Linux kills the process."""
        mm = self.mm
        bias = self._map_program(elf, program, interp is not None)
        entry = (elf.entry + bias) & _mask(mm)
        phdr = elf.phdr_vaddr
        if phdr:
            phdr = (phdr + bias) & _mask(mm)
        start, base = entry, 0
        if interp is not None and interp_file is not None:
            base = self._map_interpreter(interp, interp_file)
            start = (interp.entry + base) & _mask(mm)
        if start >= mm.task_size:
            raise Errno(EINVAL)
        map_vdso(mm)
        return Loaded(start, entry, phdr, base)

    # -- the program -----------------------------------------------------------------------------

    def _map_program(self, elf: ElfFile, program: file, has_interp: bool) -> int:
        """Map every PT_LOAD; returns the bias.  Sets start_code ... brk."""
        mm = self.mm
        bias = 0
        first = True
        start_code, start_data, end_code, end_data, brk = -1, 0, 0, 0, 0
        for segment in elf.loads:
            flags, total = MAP_FIXED, 0
            if first:
                total = elf.total_mapping_size(_mask(mm))
                if elf.type == ET_EXEC:
                    flags, total = MAP_FIXED_NOREPLACE, 0
                else:
                    if not total:
                        raise Errno(EINVAL)
                    bias, flags = self._choose_bias(elf, segment, total, has_interp)
            wanted = (bias + segment.vaddr) & _mask(mm)
            address = self.map_segment(program, wanted, segment, flags, total)
            if first and elf.type == ET_DYN:
                bias += address - (wanted & ~_OFFSET)
            first = False
            begin = (segment.vaddr + bias) & _mask(mm)
            if not segment.fits(begin, mm.task_size):
                raise Errno(EINVAL)
            if segment.prot & PROT_EXEC:
                start_code = begin if start_code < 0 else min(start_code, begin)
                end_code = max(end_code, begin + segment.filesz)
            start_data = max(start_data, begin)
            end_data = max(end_data, begin + segment.filesz)
            brk = max(brk, begin + segment.memsz)
        mm.start_code, mm.end_code = max(start_code, 0), end_code
        mm.start_data, mm.end_data = start_data, end_data
        if elf.type == ET_DYN and not has_interp:
            brk = ELF_ET_DYN_BASE[elf.bits]  # far from the mappings between which the program itself lies
        mm.start_brk = mm.brk = (brk + _OFFSET) & ~_OFFSET
        return bias

    def _choose_bias(self, elf: ElfFile, segment: Segment, total: int, has_interp: bool) -> tuple[int, int]:
        """(bias, MAP_* flags) for a position independent program: two thirds up with an interpreter, else (it
        may be an interpreter itself) where mmap finds room."""
        alignment = elf.maximum_alignment()
        vaddr = segment.vaddr
        if has_interp:
            base = ELF_ET_DYN_BASE[elf.bits] & ~(alignment - 1)
            return (base - vaddr) & ~_OFFSET, MAP_FIXED_NOREPLACE
        if alignment <= PAGE_SIZE:
            return -(vaddr & ~_OFFSET), 0
        if total + alignment > self.mm.task_size:
            raise Errno(ENOMEM)
        size = total + alignment
        found = do_mmap(self.mm, None, 0, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, 0)
        do_munmap(self.mm, found, size)
        base = (found + alignment - 1) & ~(alignment - 1)
        return base - (vaddr & ~_OFFSET), MAP_FIXED_NOREPLACE

    def _map_interpreter(self, elf: ElfFile, interpreter: file) -> int:
        """Map the dynamic loader; returns its bias (load_elf_interp)."""
        mm = self.mm
        total = elf.total_mapping_size(_mask(mm))
        if elf.type not in (ET_EXEC, ET_DYN) or not total:
            raise Errno(EINVAL)
        bias: Optional[int] = 0 if elf.type == ET_EXEC else None
        for segment in elf.loads:
            fixed = bias is not None
            wanted = ((bias or 0) + segment.vaddr) & _mask(mm) if fixed else 0
            address = self.map_segment(interpreter, wanted, segment, MAP_FIXED if fixed else 0, total)
            total = 0
            if bias is None:
                bias = address - (segment.vaddr & ~_OFFSET)
            if not segment.fits((bias + segment.vaddr) & _mask(mm), mm.task_size):
                raise Errno(ENOMEM)
        return bias or 0

    # -- one segment -------------------------------------------------------------------------------

    def map_segment(self, program: file, address: int, segment: Segment, flags: int, total: int) -> int:
        """Map one PT_LOAD at or near `address` and zero what its file part leaves (elf_load).

        `total` > 0: reserve that much first, so that the segments that follow fit.
        """
        mm = self.mm
        offset = segment.vaddr & _OFFSET
        prot = segment.prot | (PROT_EXEC if self.implies_exec and segment.prot & PROT_READ else 0)
        if segment.filesz:
            mapped = self._map_file(program, address & ~_OFFSET, segment, prot, flags, total)
            zero_start = mapped + offset + segment.filesz
            zero_end = mapped + offset + segment.memsz
            if segment.memsz > segment.filesz:
                self._pad_zero(zero_start, prot)
        else:
            mapped = zero_start = address & ~_OFFSET
            zero_end = zero_start + offset + segment.memsz
        if segment.memsz > segment.filesz:
            zero_start, zero_end = _page_up(zero_start), _page_up(zero_end)
            if zero_end > mm.task_size:
                raise Errno(ENOMEM)
            if zero_end > zero_start:
                do_brk_flags(mm, zero_start, zero_end - zero_start, VM_EXEC if prot & PROT_EXEC else 0)
        return mapped

    def _map_file(self, program: file, start: int, segment: Segment, prot: int, flags: int, total: int) -> int:
        """The part that is in the file (elf_map)."""
        mm = self.mm
        offset = segment.offset - (segment.vaddr & _OFFSET)
        if offset < 0 or offset & _OFFSET:
            raise Errno(EINVAL)
        size = _page_up(segment.filesz + (segment.vaddr & _OFFSET))
        if offset + size >= 1 << 64:
            raise Errno(EINVAL)
        if size > mm.task_size:
            raise Errno(ENOMEM)
        whole = _page_up(total) if total else size
        mapped = do_mmap(mm, program, start, whole, prot, flags | MAP_PRIVATE, offset // PAGE_SIZE)
        if whole > size:
            do_munmap(mm, mapped + size, whole - size)
        return mapped

    def _pad_zero(self, start: int, prot: int) -> None:
        """Zero from the end of the file's part to the end of its page; a read-only segment keeps what is there."""
        rest = -start & _OFFSET
        if rest and self.mm.clear_user(start, rest) != rest and prot & PROT_WRITE:
            raise Errno(EFAULT)


def _page_up(address: int) -> int:
    return (address + _OFFSET) & ~_OFFSET


def _mask(mm: mm_struct) -> int:
    return (1 << mm.bits) - 1


# -- the first stack ---------------------------------------------------------------------------------


def stack_strings(bprm: linux_binprm) -> bytes:
    """The strings at the top of a stack: arguments, environment, the file's name (in ascending order)."""
    return b"".join(s + b"\0" for s in (*bprm.argv, *bprm.envp, bprm.filename))


def create_stack(bprm: linux_binprm, mm: mm_struct, abi: Abi, elf: ElfFile, loaded: Loaded, executable: bool) -> int:
    """Make the stack with its strings, vectors and auxiliary vector; returns the first stack pointer.

    From the top: 8 zero bytes, file name, environment, arguments, then aligned to 16 AT_PLATFORM's
    string and AT_RANDOM's 16 bytes, then auxv, envp, argv and argc (create_elf_tables).
    """
    top = abi.task_size
    strings = stack_strings(bprm)
    arg_start = top - 8 - len(strings)
    env_start = arg_start + sum(len(s) + 1 for s in bprm.argv)
    execfn = top - 8 - len(bprm.filename) - 1
    mm.arg_start, mm.arg_end, mm.env_start, mm.env_end = arg_start, env_start, env_start, execfn
    platform = abi.platform + b"\0"
    platform_at = (arg_start & ~15) - len(platform)
    random_at = platform_at - 16
    auxv = build_auxv(bprm, abi, elf, loaded, random_at, execfn, platform_at)
    pointers = [len(bprm.argv), *_addresses(arg_start, bprm.argv), 0, *_addresses(env_start, bprm.envp), 0]
    sp = (random_at - len(auxv) - len(pointers) * abi.word) & ~15
    head = struct.pack(f"<{len(pointers)}{'Q' if abi.bits == 64 else 'I'}", *pointers) + auxv
    body = head.ljust(random_at - sp, b"\0") + bprm.kernel.random_bytes(16) + platform
    image = body.ljust(arg_start - sp, b"\0") + strings + bytes(8)
    mm.start_stack = sp
    mm.saved_auxv = auxv
    _make_stack(bprm, mm, top, top - sp, executable)
    mm.copy_to_user(sp, image)
    return sp


def _make_stack(bprm: linux_binprm, mm: mm_struct, top: int, used: int, executable: bool) -> None:
    """The area: what is used and 128 KiB, within RLIMIT_STACK (setup_arg_pages)."""
    size = _page_up(used)
    limit = bprm.task.signal.rlimits[RLIMIT_STACK][0] & ~_OFFSET
    setup_stack(mm, top, max(size, min(limit, size + STACK_EXPAND)), executable)


def _addresses(start: int, strings: list[bytes]) -> list[int]:
    result = []
    for string in strings:
        result.append(start)
        start += len(string) + 1
    return result


def build_auxv(
    bprm: linux_binprm, abi: Abi, elf: ElfFile, loaded: Loaded, random_at: int, execfn: int, platform_at: int
) -> bytes:
    """The auxiliary vector in Linux's order, AT_NULL included."""
    task = bprm.task
    mm = task.mm
    sysinfo = [(AT_SYSINFO, vdso_symbol(mm, KERNEL_VSYSCALL))] if abi.bits == 32 else []
    entries = [
        *sysinfo, (AT_SYSINFO_EHDR, mm.vdso),
        (AT_MINSIGSTKSZ, SIGFRAME_SIZE), (AT_HWCAP, ELF_HWCAP), (AT_PAGESZ, PAGE_SIZE), (AT_CLKTCK, USER_HZ),
        (AT_PHDR, loaded.phdr), (AT_PHENT, elf.phentsize), (AT_PHNUM, elf.phnum), (AT_BASE, loaded.base),
        (AT_FLAGS, 0), (AT_ENTRY, loaded.entry), (AT_UID, task.uid), (AT_EUID, task.euid), (AT_GID, task.gid),
        (AT_EGID, task.egid), (AT_SECURE, int(bprm.secureexec)), (AT_RANDOM, random_at), (AT_HWCAP2, ELF_HWCAP2),
        (AT_EXECFN, execfn), (AT_PLATFORM, platform_at), (AT_RSEQ_FEATURE_SIZE, RSEQ_FEATURE_SIZE),
        (AT_RSEQ_ALIGN, RSEQ_ALIGN), (AT_NULL, 0),
    ]  # fmt: skip
    pair = struct.Struct("<QQ" if abi.bits == 64 else "<II")
    return b"".join(pair.pack(key, value & abi.mask) for key, value in entries)


def page_zero(mm: mm_struct) -> None:
    """Map page 0 for a program with the MMAP_PAGE_ZERO personality (SVr4 reads it)."""
    flags = MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS
    do_mmap(mm, None, 0, PAGE_SIZE, PROT_READ | PROT_EXEC, flags, 0)
