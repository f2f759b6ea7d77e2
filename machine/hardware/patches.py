"""Faults of the engine that are mended where it lies in this process's memory: a few bytes of its code.

* Its translator has room for 512 temporaries a block and does not look whether there is more to do (the assertion is
  compiled out).  INSERTPS leaves four behind, x87 instructions two, others one: 115 or 600 of them in a row write
  beyond the end, into the translator's own state, and end the process.  So a block has `BLOCK` instructions at most.
* Lengths of PCMPESTRI and PCMPESTRM are absolute values, at most 16 (8 of words).  The engine compares as signed
  numbers, and the absolute value of -2^31 is -2^31 again: with that in EAX or EDX it reads the host's memory far
  outside its registers.  Compared as unsigned numbers, one bit in an instruction, it is as large as on hardware.
* PHADDW and its relatives read their second operand after they have written the first, which is wrong where both are
  the same register, as in every sum over one.  The host's own instruction takes their place.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import re
from contextlib import suppress
from typing import Any

from machine.hardware.hostcode import HostCode
from machine.hardware.ram import PAGE_SIZE

BLOCK = 64
"""Instructions that are translated at once; the engine's own limit is 512."""
_BLOCK_LIMIT = re.compile(rb"\x81[\xf8-\xff](.{4})\x7f.\x85.\x75.[\xb8-\xbf](.{4})", re.DOTALL)
"""cmp r, 512; jg 1f; test r, r; jne 2f; 1: mov r, 512"""
_LENGTH_HELPERS = ("helper_pcmpestri_xmm_x86_64", "helper_pcmpestrm_xmm_x86_64")
_LIMIT = re.compile(rb"\x83[\xf8-\xff][\x08\x10].{0,16}?\x0f([\x46\x47\x4e\x4f])[\xc0-\xff]", re.DOTALL)
"""CMP of a register with 8 or 16, and the next conditional move: CMOVBE, CMOVA, CMOVLE or CMOVG."""
_SIGNED = 0x08
"""The bit of their opcodes by which the last two differ from the first two."""
_LIMITS = 4
"""Of each function: two lengths, of bytes or of words."""
_MOST = 0xB0
_HORIZONTAL = {"phaddw": 1, "phaddd": 2, "phaddsw": 3, "phsubw": 5, "phsubd": 6, "phsubsw": 7}
"""The third byte of the opcode, after 0F 38."""
_XMM = "f30f6f06 f30f6f0a 660f38%02xc1 f30f7f06 c3"  # movdqu xmm0, [rsi]; movdqu xmm1, [rdx]; it; movdqu [rsi], xmm0
_MMX = "f30f7e06 f30f7e0a 660f6cc1 660f38%02xc0 660fd606 c3"  # the same of 8 bytes, both in one register
_JUMP = bytes.fromhex("48b8"), bytes.fromhex("ffe0")  # mov rax, where; jmp rax
_RET = 0xC3
_PROT_ALL = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
_own_code: list[HostCode] = []


def guard_blocks(library: Any) -> bool:
    """Make the engine's blocks short, once.  False (of this and of the others): the code is not what it should be, or
    the host does not let us."""
    address = address_of(library, "tb_gen_code_x86_64")
    found = _BLOCK_LIMIT.search(code_at(address, 2 * _MOST))
    before, limit = (number.to_bytes(4, "little") for number in (512, BLOCK))
    if found is None or found[1] != found[2] or found[1] not in (before, limit):
        return False
    return found[1] == limit or all(write_code(address + found.start(group), limit) for group in (1, 2))


def guard_lengths(library: Any) -> bool:
    """Mend the comparisons of PCMPESTRI and PCMPESTRM."""
    signed: list[tuple[int, int]] = []
    for name in _LENGTH_HELPERS:
        address = address_of(library, name)
        code = code_at(address, _MOST)
        places = [found.start(1) for found in _LIMIT.finditer(code)]
        if len(places) != _LIMITS:
            return False
        signed += [(address + at, code[at] & ~_SIGNED) for at in places if code[at] & _SIGNED]
    return all(write_code(address, bytes((byte,))) for address, byte in signed)


def mend_horizontal(library: Any) -> bool:
    """Have the host add and subtract neighbours (SSSE3)."""
    if _own_code:
        return True
    helpers = {
        address_of(library, f"helper_{name}_{kind}_x86_64"): bytes.fromhex(text % opcode)
        for name, opcode in _HORIZONTAL.items()
        for kind, text in (("xmm", _XMM), ("mmx", _MMX))
    }
    if 0 in helpers or not host_has("ssse3"):
        return False
    code = HostCode(b"".join(each.ljust(32, b"\x90") for each in helpers.values()))
    _own_code.append(code)
    places = (code.address + 32 * n for n in range(len(helpers)))
    return all(divert(address, place) for address, place in zip(helpers, places, strict=False))


def host_has(feature: str) -> bool:
    """Whether the host's processor has what /proc/cpuinfo calls so; False where that can't be read."""
    return feature in _features()


@functools.cache
def _features() -> frozenset[str]:
    with suppress(OSError), open("/proc/cpuinfo") as lines:
        for line in lines:
            if line.startswith("flags"):
                return frozenset(line.split())
    return frozenset()


def address_of(library: Any, name: str) -> int:
    """The host's, of a function of the engine; 0 where it has none of that name."""
    function = getattr(library, name, None)
    return (ctypes.cast(function, ctypes.c_void_p).value or 0) if function is not None else 0


def code_at(address: int, size: int) -> bytes:
    """Code of the engine's, from `address` on; none at 0."""
    return ctypes.string_at(address, size) if address else b""


def divert(address: int, where: int) -> bool:
    """Have the engine's function at `address` go on `where`.  False where it has no room for the jump."""
    jump = _JUMP[0] + where.to_bytes(8, "little") + _JUMP[1]
    return _RET not in code_at(address, len(jump)) and write_code(address, jump)


@functools.cache
def _libc() -> Any:
    """One for all: a library object is a class of its own.  It keeps Python's lock: no other thread writes then."""
    return ctypes.PyDLL(None)


def write_code(address: int, data: bytes) -> bool:
    """Overwrite code of the engine's.  False where the host does not let us."""
    libc = _libc()
    start = address & -PAGE_SIZE
    page, length = ctypes.c_void_p(start), ctypes.c_size_t(address + len(data) - start)
    if libc.mprotect(page, length, _PROT_ALL):
        return False
    ctypes.memmove(address, data, len(data))
    return not libc.mprotect(page, length, mmap.PROT_READ | mmap.PROT_EXEC)
