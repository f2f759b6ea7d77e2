"""The vDSO: a small shared object that the kernel maps into every program (arch/x86/entry/vdso).

The object is made here; its time functions are compiled (firmware/vdso.c) and read the page before it (`vvar.py`).
While that says nothing, as on a virtual clock, they make system calls.  On i386 it also holds the way into the kernel
and the two ends of signal handlers, which glibc finds through the auxiliary vector.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Optional

from machine.hardware.paging import A
from machine.hardware.ram import PAGE_SIZE
from machine.kernel.abi.mman import MAP_ANONYMOUS, MAP_PRIVATE, PROT_EXEC, PROT_READ, PROT_WRITE
from machine.kernel.mm.mmap import do_mmap
from machine.kernel.mm.mprotect import do_mprotect
from machine.kernel.mm.remap import pfn_entry
from machine.kernel.mm.vma import VM_DONTDUMP, VM_DONTEXPAND, VM_IO, VM_MAYEXEC, VM_MAYWRITE, VM_PFNMAP
from machine.kernel.mm.vma_ops import emit_vma
from machine.kernel.task.vdso_code import CODE
from machine.records import NamedTuple

if TYPE_CHECKING:
    from machine.kernel.mm.space import mm_struct

KERNEL_VSYSCALL = "__kernel_vsyscall"
KERNEL_SIGRETURN, KERNEL_RT_SIGRETURN = "__kernel_sigreturn", "__kernel_rt_sigreturn"
_PT_LOAD, _PT_DYNAMIC, _PT_GNU_EH_FRAME, _ET_DYN = 1, 2, 0x6474E550, 3
_GLOBAL_FUNC, _WEAK_FUNC = 0x12, 0x22
_DT_NULL, _DT_HASH, _DT_STRTAB, _DT_SYMTAB, _DT_STRSZ, _DT_SYMENT, _DT_SONAME = 0, 4, 5, 6, 10, 11, 14
_DT_VERSYM, _DT_VERDEF, _DT_VERDEFNUM = 0x6FFFFFF0, 0x6FFFFFFC, 0x6FFFFFFD


class Function(NamedTuple):
    """One exported function."""

    name: str
    code: bytes
    version: str
    weak: str = ""
    """A second, weak name."""
    frame: Optional[bytes] = b""
    """Call frame instructions (DW_CFA_*) that say where the caller's registers are while it runs, none where nothing
    is pushed; None: the unwinder knows the code itself."""


class Image(NamedTuple):
    """A built vDSO: its bytes, and where its functions are."""

    data: bytes
    symbols: dict[str, int]


def _call64(number: int) -> bytes:
    """mov $number, %eax; syscall; ret"""
    return b"\xb8" + struct.pack("<I", number) + b"\x0f\x05\xc3"


def _call32(number: int) -> bytes:
    """push %ebx; mov 8(%esp), %ebx; mov 12(%esp), %ecx; mov $number, %eax; int $0x80; pop %ebx; ret"""
    return bytes.fromhex("538b5c24088b4c240cb8") + struct.pack("<I", number) + bytes.fromhex("cd805bc3")


_CALL32_FRAME = bytes.fromhex("410e088302500e04c3")
"""advance 1; CFA 8 above; EBX at CFA-8; advance 16; CFA 4 above; EBX as it is"""


def _compiled(bits: int, name: str, weak: str = "") -> Function:
    code, frame = CODE[bits][name]
    return Function(name, code, _LINUX_26, weak, frame)


_LINUX_26 = "LINUX_2.6"
_FUNCTIONS = {
    64: (
        _compiled(64, "__vdso_clock_gettime", "clock_gettime"),
        _compiled(64, "__vdso_gettimeofday", "gettimeofday"),
        Function("__vdso_clock_getres", _call64(229), _LINUX_26, "clock_getres"),
        _compiled(64, "__vdso_time", "time"),
        _compiled(64, "__vdso_getcpu", "getcpu"),
    ),
    32: (
        Function(KERNEL_VSYSCALL, bytes.fromhex("cd80c3"), "LINUX_2.5"),
        Function(KERNEL_SIGRETURN, bytes.fromhex("58b877000000cd80"), "LINUX_2.5", frame=None),
        Function(KERNEL_RT_SIGRETURN, bytes.fromhex("b8ad000000cd80"), "LINUX_2.5", frame=None),
        _compiled(32, "__vdso_clock_gettime"),
        _compiled(32, "__vdso_gettimeofday"),
        _compiled(32, "__vdso_time"),
        _compiled(32, "__vdso_clock_gettime64"),
        Function("__vdso_clock_getres", _call32(266), _LINUX_26, frame=_CALL32_FRAME),
        _compiled(32, "__vdso_getcpu"),
    ),
}


def elf_hash(name: str) -> int:
    """The hash of the System V ABI, which version records carry."""
    value = 0
    for byte in name.encode():
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ high >> 24) & ~high
    return value


class _Builder:
    """Lays out one image: headers, hash, symbols, strings, versions, dynamic section, code, unwind tables."""

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self.strings = b"\0"
        self.soname = "linux-vdso.so.1" if bits == 64 else "linux-gate.so.1"
        self.functions = _FUNCTIONS[bits]
        self.versions = list(dict.fromkeys(f.version for f in self.functions))

    def string(self, text: str) -> int:
        """Offset of `text` in the string table."""
        at = self.strings.find(b"\0" + text.encode() + b"\0") + 1
        if not at:
            at = len(self.strings)
            self.strings += text.encode() + b"\0"
        return at

    def names(self) -> list[tuple[str, Function, int]]:
        """(name, function, binding and type) of every symbol."""
        strong = [(f.name, f, _GLOBAL_FUNC) for f in self.functions]
        return strong + [(f.weak, f, _WEAK_FUNC) for f in self.functions if f.weak]

    def code(self, start: int) -> tuple[bytes, dict[str, int]]:
        """The functions from offset `start`, each at a multiple of 16; name -> offset."""
        body, places = b"", {}
        for function in self.functions:
            body += b"\x90" * (-(start + len(body)) % 16)
            places[function.name] = start + len(body)
            body += function.code
        return body, places

    def symbols(self, places: dict[str, int]) -> bytes:
        rows = [bytes(24 if self.bits == 64 else 16)]
        for name, function, info in self.names():
            at, size = places[function.name], len(function.code)
            if self.bits == 64:
                rows.append(struct.pack("<IBBHQQ", self.string(name), info, 0, 1, at, size))
            else:
                rows.append(struct.pack("<IIIBBH", self.string(name), at, size, info, 0, 1))
        return b"".join(rows)

    def hash(self) -> bytes:
        """One bucket whose chain goes through all symbols."""
        count = len(self.names()) + 1
        chain = [0, *range(2, count), 0]
        return struct.pack(f"<{3 + count}I", 1, count, 1, *chain[:count])

    def version_symbols(self) -> bytes:
        indexes = [0] + [2 + self.versions.index(f.version) for _, f, _ in self.names()]
        return struct.pack(f"<{len(indexes)}H", *indexes)

    def version_definitions(self) -> bytes:
        names = [self.soname, *self.versions]
        rows = b""
        for i, name in enumerate(names):
            following = 28 if i + 1 < len(names) else 0
            rows += struct.pack("<HHHHIII", 1, int(i == 0), i + 1, 1, elf_hash(name), 20, following)
            rows += struct.pack("<II", self.string(name), 0)
        return rows

    def build(self) -> Image:
        """Everything in one page."""
        wide = self.bits == 64
        self.symbols({f.name: 0 for f in self.functions})  # collects the strings
        definitions = self.version_definitions()
        at = (64 + 3 * 56) if wide else (52 + 3 * 32)
        parts: dict[str, tuple[int, bytes]] = {}
        sizes = [("hash", self.hash()), ("symbols", self.symbols({f.name: 0 for f in self.functions})),
                 ("strings", self.strings), ("versym", self.version_symbols()), ("verdef", definitions)]  # fmt: skip
        for name, content in sizes:
            at = at + 15 & ~15
            parts[name] = at, content
            at += len(content)
        dynamic_at = at + 15 & ~15
        dynamic = self._dynamic(parts)
        code, places = self.code(dynamic_at + len(dynamic) + 15 & ~15)
        parts["symbols"] = parts["symbols"][0], self.symbols(places)
        code_at = dynamic_at + len(dynamic) + 15 & ~15
        unwind_at = code_at + len(code) + 7 & ~7
        unwind, index_size = self._unwind(unwind_at, places)
        image = bytearray(PAGE_SIZE)
        head = self._headers(dynamic_at, len(dynamic), code_at, unwind_at, index_size)
        image[: len(head)] = head
        for start, content in (*parts.values(), (dynamic_at, dynamic), (code_at, code), (unwind_at, unwind)):
            image[start : start + len(content)] = content
        assert len(image) == PAGE_SIZE
        return Image(bytes(image), places)

    def _unwind(self, at: int, places: dict[str, int]) -> tuple[bytes, int]:
        """.eh_frame_hdr and .eh_frame at offset `at`, and the size of the first (LSB Core, 10.6)."""
        described = [(places[f.name], f) for f in self.functions if f.frame is not None]
        described.sort(key=lambda each: each[0])
        size = 12 + 8 * len(described)
        frames = self._padded(struct.pack("<IB3s", 0, 1, b"zR\0") + self._common())
        rows = []
        for start, function in described:
            here = len(frames)
            rows.append((start - at, size + here))
            pc_begin = start - (at + size + here + 8)
            assert function.frame is not None
            body = struct.pack("<IiIB", here + 4, pc_begin, len(function.code), 0) + function.frame
            frames += self._padded(body)
        index = struct.pack("<4BiI", 1, 0x1B, 0x03, 0x3B, size - 4, len(rows))
        return index + b"".join(struct.pack("<ii", *row) for row in rows) + frames + bytes(4), size

    def _common(self) -> bytes:
        """Of all functions: code by bytes, data by words, the return address' column; pointers are relative; at the
        start the caller's frame is a word above the stack pointer, and the return address lies below that."""
        word, column, stack = (8, 16, 7) if self.bits == 64 else (4, 8, 4)
        return bytes((1, -word & 0x7F, column, 1, 0x1B, 0x0C, stack, word, 0x80 | column, 1))

    def _padded(self, body: bytes) -> bytes:
        body += bytes(-(4 + len(body)) % (self.bits // 8))  # DW_CFA_nop
        return struct.pack("<I", len(body)) + body

    def _dynamic(self, parts: dict[str, tuple[int, bytes]]) -> bytes:
        entries = [
            (_DT_SONAME, self.string(self.soname)), (_DT_HASH, parts["hash"][0]), (_DT_STRTAB, parts["strings"][0]),
            (_DT_SYMTAB, parts["symbols"][0]), (_DT_STRSZ, len(self.strings)),
            (_DT_SYMENT, 24 if self.bits == 64 else 16), (_DT_VERSYM, parts["versym"][0]),
            (_DT_VERDEF, parts["verdef"][0]), (_DT_VERDEFNUM, 1 + len(self.versions)), (_DT_NULL, 0),
        ]  # fmt: skip
        pair = "<QQ" if self.bits == 64 else "<II"
        return b"".join(struct.pack(pair, *entry) for entry in entries)

    def _headers(self, dynamic_at: int, dynamic_size: int, code_at: int, unwind_at: int, unwind_size: int) -> bytes:
        wide = self.bits == 64
        size = PAGE_SIZE
        ident = struct.pack("<4sBBBB8x", b"\x7fELF", 2 if wide else 1, 1, 1, 0)
        if wide:
            head = struct.pack("<HHIQQQIHHHHHH", _ET_DYN, 62, 1, code_at, 64, 0, 0, 64, 56, 3, 64, 0, 0)
            load = struct.pack("<IIQQQQQQ", _PT_LOAD, 5, 0, 0, 0, size, size, PAGE_SIZE)
            where = (dynamic_at,) * 3 + (dynamic_size, dynamic_size, 8)
            unwind = struct.pack("<IIQQQQQQ", _PT_GNU_EH_FRAME, 4, *(unwind_at,) * 3, unwind_size, unwind_size, 4)
            return ident + head + load + struct.pack("<IIQQQQQQ", _PT_DYNAMIC, 4, *where) + unwind
        head = struct.pack("<HHIIIIIHHHHHH", _ET_DYN, 3, 1, code_at, 52, 0, 0, 52, 32, 3, 40, 0, 0)
        load = struct.pack("<IIIIIIII", _PT_LOAD, 0, 0, 0, size, size, 5, PAGE_SIZE)
        dynamic = struct.pack("<8I", _PT_DYNAMIC, *(dynamic_at,) * 3, dynamic_size, dynamic_size, 4, 4)
        unwind = struct.pack("<8I", _PT_GNU_EH_FRAME, *(unwind_at,) * 3, unwind_size, unwind_size, 4, 4)
        return ident + head + load + dynamic + unwind


@lru_cache
def vdso_image(bits: int) -> Image:
    """The vDSO of one kind of program."""
    return _Builder(bits).build()


def map_vdso(mm: mm_struct) -> None:
    """Map it and its data where mmap finds room; sets `mm.vdso` (arch_setup_additional_pages)."""
    data = do_mmap(mm, None, 0, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, 0)
    code = data + PAGE_SIZE
    mm.copy_to_user(code, vdso_image(mm.bits).data)
    do_mprotect(mm, code, PAGE_SIZE, PROT_READ | PROT_EXEC)
    do_mprotect(mm, data, PAGE_SIZE, PROT_READ)
    for address, name in ((data, "[vvar]"), (code, "[vdso]")):
        vma = mm.vma_at(address)
        assert vma is not None
        vma.anon_name = name
    vvar = mm.vma_at(data)
    assert vvar is not None
    vvar.vm_flags = vvar.vm_flags & ~(VM_MAYWRITE | VM_MAYEXEC) | VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP
    if mm.kernel.events.vma is not None:
        emit_vma(mm, "change", vvar)
    mm.ram.words[mm.tables.leaf(data)] = pfn_entry(vvar, mm.kernel.vvar.pfn, vvar.vm_page_prot | A)
    mm.vdso = code


def vdso_symbol(mm: mm_struct, name: str) -> int:
    """Address of one of its functions; 0 in a space that has no vDSO."""
    return mm.vdso + vdso_image(mm.bits).symbols[name] if mm.vdso else 0
