"""The ELF core of a process: what gdb reads after a deadly signal (fs/binfmt_elf.c: elf_core_dump).

One PT_NOTE segment with the registers of every thread, the signal, the mapped files and the auxiliary vector; then
a PT_LOAD segment for each area, with its bytes where `dump_size` says so.  x86-64 and i386 (ELF32) differ in every
layout.

What is dumped follows 2.6.10's `maydump` (MECHANISMS B12): nothing of VM_IO, VM_RESERVED and VM_SHARED, so no device
is read and no driver called; of the rest what the process has written.  Two additions of today's kernels: the vDSO,
and the first page of a mapped ELF file, by whose build ID debuggers find it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Optional

from machine.hardware.paging import P
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import ENOSYS
from machine.kernel.mm.gup import read_process_vm
from machine.kernel.mm.pte import PROTNONE, PTE_PFN, SPECIAL
from machine.kernel.mm.vma import (
    VM_DONTDUMP,
    VM_EXEC,
    VM_IO,
    VM_PFNMAP,
    VM_READ,
    VM_RESERVED,
    VM_SHARED,
    VM_WRITE,
)
from machine.kernel.task.regset import get_fxsave, get_user_regs, pack_i387, pack_user_regs, pack_xstate

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.mm.space import mm_struct
    from machine.kernel.mm.vma import vm_area_struct
    from machine.kernel.task.siginfo import siginfo
    from machine.kernel.task.task import Task

NT_PRSTATUS, NT_PRFPREG, NT_PRPSINFO, NT_AUXV = 1, 2, 3, 6
NT_X86_XSTATE = 0x202
NT_NOPAGE = 0x4E4F5047
NT_SIGINFO, NT_FILE, NT_PRXFPREG = 0x53494749, 0x46494C45, 0x46E62B7F
ET_CORE, PT_LOAD, PT_NOTE = 4, 1, 4
PF_X, PF_W, PF_R = 1, 2, 4
PSARGS_SIZE = 80
_TASK_FLAGS = 0x400600
"""PF_RANDOMIZE, PF_SIGNALED, PF_DUMPCORE."""
_NS = 1_000_000_000
_NEVER = VM_IO | VM_RESERVED | VM_SHARED | VM_PFNMAP | VM_DONTDUMP


# -- notes -----------------------------------------------------------------------------------------------


def note(kind: int, data: bytes, name: bytes = b"CORE") -> bytes:
    """One note: name and contents, each padded to 4 bytes."""
    owner = name + b"\0"
    return struct.pack("<III", len(owner), len(data), kind) + _padded(owner) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _times(bits: int, *times_ns: int) -> bytes:
    form = "<qq" if bits == 64 else "<ii"
    return b"".join(struct.pack(form, ns // _NS, ns % _NS // 1000) for ns in times_ns)


def prstatus(kernel: Kernel, task: Task, info: Optional[siginfo]) -> bytes:
    """`struct elf_prstatus`: 336 bytes of x86-64, 144 of i386.  `info`: the signal that ends the process."""
    bits, signal = task.abi.bits, task.signal
    signo = 0 if info is None else info.signo
    head = struct.pack(
        "<iiihxxQQ" if bits == 64 else "<iiihxxII", signo, 0 if info is None else info.code, 0, signo,
        task.pending.signal & task.abi.mask, task.blocked & task.abi.mask,
    )  # fmt: skip
    parent = 0 if task.parent is None else task.parent.tgid
    ids = struct.pack("<4i", task.pid, parent, signal.pgrp, signal.session)
    times = _times(bits, task.utime, task.stime, signal.cutime, signal.cstime)
    regs = get_user_regs(kernel, task)
    if task.syscall:  # what pt_regs holds until the call has an answer
        regs["rax" if bits == 64 else "eax"] = -ENOSYS & task.abi.mask
    tail = struct.pack("<i4x" if bits == 64 else "<i", 1)
    return head + ids + times + pack_user_regs(bits, regs) + tail


def prpsinfo(task: Task) -> bytes:
    """`struct elf_prpsinfo`: 136 bytes of x86-64, 124 of i386."""
    signal, mm = task.signal, task.mm
    parent = 0 if task.parent is None else task.parent.tgid
    words = mm.read_some(mm.arg_start, min(mm.arg_end - mm.arg_start, PSARGS_SIZE - 1)).rstrip(b"\0")
    form = "<bcbb4xQII4i16s80s" if task.abi.bits == 64 else "<bcbbIHH4i16s80s"
    wide = 0xFFFF_FFFF if task.abi.bits == 64 else 0xFFFF
    return struct.pack(
        form, 0, b"R", 0, task.nice, _TASK_FLAGS, task.uid & wide, task.gid & wide, task.tgid, parent, signal.pgrp,
        signal.session, task.comm.encode(errors="surrogateescape"), words.replace(b"\0", b" "),
    )  # fmt: skip


def mapped_files(mm: mm_struct) -> bytes:
    """NT_FILE: count and page size, then start, end and page offset of each mapped file, then the names."""
    word = "Q" if mm.bits == 64 else "I"
    rows, names = b"", b""
    count = 0
    for vma in mm.each_vma():
        if vma.vm_file is not None:
            count += 1
            rows += struct.pack(f"<3{word}", vma.vm_start, vma.vm_end, vma.vm_pgoff & (1 << mm.bits) - 1)
            names += vma.vm_file.f_path.encode(errors="surrogateescape") + b"\0"
    return struct.pack(f"<2{word}", count, PAGE_SIZE) + rows + names


def _thread_notes(kernel: Kernel, task: Task) -> bytes:
    """What follows a thread's NT_PRSTATUS: floating point, in all layouts that its ABI has."""
    fxsave = get_fxsave(kernel, task)
    if task.abi.bits == 64:
        return note(NT_PRFPREG, fxsave) + note(NT_X86_XSTATE, pack_xstate(fxsave), b"LINUX")
    return (
        note(NT_PRFPREG, pack_i387(fxsave))
        + note(NT_PRXFPREG, fxsave, b"LINUX")
        + note(NT_X86_XSTATE, pack_xstate(fxsave), b"LINUX")
    )


def _said(why: str) -> bytes:
    """A note of our own, text (``nopage core``, or ``strings -n 20 CORE | grep nopage:``)."""
    return note(NT_NOPAGE, f"nopage: {why}\0".encode(errors="surrogateescape"), b"nopage") if why else b""


def notes(kernel: Kernel, task: Task, info: siginfo, why: str) -> bytes:
    """All notes: the thread that got the signal first, with what concerns the process, then the other threads."""
    signal = task.signal
    first = (
        note(NT_PRSTATUS, prstatus(kernel, task, info))
        + note(NT_PRPSINFO, prpsinfo(task))
        + note(NT_SIGINFO, info.pack(task.abi.bits))
        + note(NT_AUXV, task.mm.saved_auxv)
        + note(NT_FILE, mapped_files(task.mm))
        + _said(why)
        + _thread_notes(kernel, task)
    )
    others = [thread for thread in signal.live_threads() if thread is not task and not thread.exiting]
    return first + b"".join(
        note(NT_PRSTATUS, prstatus(kernel, thread, info)) + _thread_notes(kernel, thread) for thread in others
    )


# -- memory ----------------------------------------------------------------------------------------------


def _is_driver(vma: vm_area_struct) -> bool:
    return vma.vm_ops is not None and vma.vm_ops.owner is not None


def dump_size(kernel: Kernel, mm: mm_struct, vma: vm_area_struct) -> int:
    """How many bytes of the area, from its start, the core has (2.6.10 `maydump`; today's vma_dump_size)."""
    if vma.vm_start == mm.vdso:
        return vma.vm_end - vma.vm_start
    if vma.vm_flags & _NEVER:
        return 0
    if _has_anonymous(mm, vma):
        return vma.vm_end - vma.vm_start
    if vma.vm_file is None or vma.vm_pgoff or not vma.vm_flags & VM_READ or _is_driver(vma):
        return 0
    return PAGE_SIZE if read_process_vm(mm, vma.vm_start, 4) == b"\x7fELF" else 0


def _has_anonymous(mm: mm_struct, vma: vm_area_struct) -> bool:
    """Whether the process has written to the area (`vma->anon_vma`)."""
    mem = mm.mem
    for _va, pte in mm.walk_present(vma.vm_start, vma.vm_end):
        pfn = (pte & PTE_PFN) >> PAGE_SHIFT
        if pte & (P | PROTNONE) and not pte & SPECIAL and mem.pfn_valid(pfn) and mem.owner_of(pfn) == "anonymous":
            return True
    return False


def pages(mm: mm_struct, vma: vm_area_struct, size: int) -> Iterator[tuple[int, bytes]]:
    """(address, contents) of the pages of the area's first `size` bytes that are not all absent.

    A file's page that was not touched yet is read in.  Of a driver's area what is there: a dump calls no driver.
    """
    view = mm.ram.view
    if vma.vm_file is None or _is_driver(vma):
        present = mm.walk_present(vma.vm_start, vma.vm_start + size)
        for va, pte in present:
            physical = pte & PTE_PFN
            if pte & (P | PROTNONE) and mm.mem.pfn_valid(physical >> PAGE_SHIFT):
                yield va, bytes(view[physical : physical + PAGE_SIZE])
        return
    for va in range(vma.vm_start, vma.vm_start + size, PAGE_SIZE):
        data = read_process_vm(mm, va, PAGE_SIZE)
        if data:
            yield va, data


# -- the file --------------------------------------------------------------------------------------------


class CoreFile:
    """The core of the current task's process, as it is now: `pieces` gives the file's contents in order; `why` is the
    line that says why it died."""

    def __init__(self, kernel: Kernel, task: Task, info: siginfo, why: str) -> None:
        self.mm = task.mm
        self.bits = task.abi.bits
        self.notes = notes(kernel, task, info, why)
        self.areas = [(vma, dump_size(kernel, self.mm, vma)) for vma in self.mm.each_vma()]
        header_size = (64 if self.bits == 64 else 52) + (56 if self.bits == 64 else 32) * (len(self.areas) + 1)
        self._notes_at = header_size
        self._first = (header_size + len(self.notes) + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1)
        self.size = self._first + sum(size for _, size in self.areas)
        """Bytes of the whole file, holes included."""

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """(position, bytes), ascending; what lies between them is zeros."""
        yield 0, self._elf_header() + self._program_headers()
        yield self._notes_at, self.notes
        position = self._first
        for vma, size in self.areas:
            for va, data in pages(self.mm, vma, size) if size else ():
                yield position + va - vma.vm_start, data
            position += size

    def _elf_header(self) -> bytes:
        wide = self.bits == 64
        ident = b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + bytes(9)
        sizes = (64, 56) if wide else (52, 32)
        return ident + struct.pack(
            "<HHIQQQIHHHHHH" if wide else "<HHIIIIIHHHHHH", ET_CORE, 62 if wide else 3, 1, 0, sizes[0], 0, 0, *sizes,
            len(self.areas) + 1, 0, 0, 0,
        )  # fmt: skip

    def _program_headers(self) -> bytes:
        headers = [self._header(PT_NOTE, 0, self._notes_at, 0, len(self.notes), 0, 4)]
        position = self._first
        for vma, size in self.areas:
            bits = vma.vm_flags
            flags = (PF_R if bits & VM_READ else 0) | (PF_W if bits & VM_WRITE else 0) | (PF_X if bits & VM_EXEC else 0)
            length = vma.vm_end - vma.vm_start
            headers.append(self._header(PT_LOAD, flags, position, vma.vm_start, size, length, PAGE_SIZE))
            position += size
        return b"".join(headers)

    def _header(self, kind: int, flags: int, offset: int, address: int, size: int, length: int, align: int) -> bytes:
        if self.bits == 64:
            return struct.pack("<IIQQQQQQ", kind, flags, offset, address, 0, size, length, align)
        return struct.pack("<8I", kind, offset, address, 0, size, length, flags, align)
