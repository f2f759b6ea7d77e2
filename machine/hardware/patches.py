"""PCMPESTRI and PCMPESTRM of the engine, which believe a length of -2^31.

Their lengths are absolute values, at most 16 (8 of words).  The engine compares as signed numbers, and the absolute
value of -2^31 is -2^31 again: with that in EAX or EDX it reads the host's memory far outside its registers.  Compared
as unsigned numbers, which is the difference of one bit in an instruction of the host's, it is as large as on hardware.
"""

from __future__ import annotations

import ctypes
import mmap
import re
from typing import Any

from machine.hardware.ram import PAGE_SIZE

_HELPERS = ("helper_pcmpestri_xmm_x86_64", "helper_pcmpestrm_xmm_x86_64")
_LIMIT = re.compile(rb"\x83[\xf8-\xff][\x08\x10].{0,16}?\x0f([\x46\x47\x4e\x4f])[\xc0-\xff]", re.DOTALL)
"""CMP of a register with 8 or 16, and the next conditional move: CMOVBE, CMOVA, CMOVLE or CMOVG."""
_SIGNED = 0x08
"""The bit of their opcodes by which the last two differ from the first two."""
_LIMITS = 4
"""Of each function: two lengths, of bytes or of words."""
_MOST = 0xB0
_PROT_ALL = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC


def guard_lengths(library: Any) -> bool:
    """Mend the engine's `library` in this process's memory, once.  False: its code is not what it should be, or the
    host does not let us."""
    signed: list[tuple[int, int]] = []
    for name in _HELPERS:
        function = getattr(library, name, None)
        if function is None:
            return False
        address = ctypes.cast(function, ctypes.c_void_p).value or 0
        code = ctypes.string_at(address, _MOST)
        places = [found.start(1) for found in _LIMIT.finditer(code)]
        if len(places) != _LIMITS:
            return False
        signed += [(address + at, code[at] & ~_SIGNED) for at in places if code[at] & _SIGNED]
    return all(_write(address, byte) for address, byte in signed)


def _write(address: int, byte: int) -> bool:
    libc: Any = ctypes.CDLL(None)
    page = ctypes.c_void_p(address & -PAGE_SIZE)
    if libc.mprotect(page, PAGE_SIZE, _PROT_ALL):
        return False
    ctypes.c_ubyte.from_address(address).value = byte
    return not libc.mprotect(page, PAGE_SIZE, mmap.PROT_READ | mmap.PROT_EXEC)
