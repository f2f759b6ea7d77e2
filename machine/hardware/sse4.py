"""PCMPESTRI, PCMPESTRM, PCMPISTRI and PCMPISTRM by the host's own processor.

The engine's string comparisons miss where one string occurs in another if it begins near the end of a full register
("equal ordered", as every search for a word does it).  The immediate byte is part of the instruction, so there is one
of each for every value; a helper of the engine jumps to code that loads the operands, calls the one that is wanted,
and stores index or mask, and flags.
"""

from __future__ import annotations

import re
from typing import Any

from machine.hardware.hostcode import HostCode
from machine.hardware.patches import address_of, code_at, divert, host_has

_KINDS = {"pcmpestri": 0x61, "pcmpestrm": 0x60, "pcmpistri": 0x63, "pcmpistrm": 0x62}
"""The third byte of the opcode, after 0F 3A."""
_OPERANDS = "f30f6f06 f30f6f0a 440fb6c1 4c8d0d%s 4f8d0cc1"
"""movdqu xmm0, [rsi]; movdqu xmm1, [rdx]; movzx r8d, cl; lea r9, [rip+TABLE]; lea r9, [r9+r8*8]"""
_LENGTHS = "488b07 488b5710 f7c100010000 7506 4863c0 4863d2"
"""mov rax, [rdi]; mov rdx, [rdi+16]; test ecx, 100 (REX.W); jnz 1f; movsxd rax, eax; movsxd rdx, edx; 1:"""
_CALL = "41ffd1 9c 58 25c1080000 488987{flags}"
"""call r9; pushfq; pop rax; and eax, OF SF ZF CF; mov [rdi+FLAGS], rax"""
_INDEX, _MASK = "48894f08 c3", "f30f7f87{xmm0} c3"
"""mov [rdi+8], rcx; ret.  movdqu [rdi+XMM0], xmm0; ret"""
_ENTRY, _CODE = 8, 128
_LENGTH_REGISTERS = b"\x4c\x8b\x0f", b"\x48\x8b\x47\x10"
"""mov r9, [rdi]; mov rax, [rdi+16]: RAX is first in the engine's processor, RDX third."""
_XMM0 = re.compile(rb"\x48\xc7\x83(....)\x00\x00\x00\x00", re.DOTALL)
"""mov qword [rbx+XMM0+8], 0"""
_FLAGS = re.compile(rb"\x48\x89\x87(....)\xc3", re.DOTALL)
_own: list[HostCode] = []


def mend_strings(library: Any) -> bool:
    """Once.  False: the engine is another build, or the host has no SSE4.2."""
    if _own:
        return True
    places = _find_places(library)
    helpers = [address_of(library, f"helper_{name}_xmm_x86_64") for name in _KINDS]
    if places is None or 0 in helpers or not host_has("sse4_2"):
        return False
    size = _CODE + 256 * _ENTRY
    code = HostCode(b"".join(_code(name, opcode, places) for name, opcode in _KINDS.items()))
    _own.append(code)
    return all(divert(helper, code.address + size * n) for n, helper in enumerate(helpers))


def _code(name: str, opcode: int, places: dict[str, str]) -> bytes:
    explicit = name.startswith("pcmpe")
    before = bytes.fromhex(_OPERANDS.partition("%")[0])
    table = (_CODE - len(before) - 4).to_bytes(4, "little").hex()
    tail = f"{_LENGTHS if explicit else ''} {_CALL} {_INDEX if name.endswith('i') else _MASK}"
    text = _OPERANDS % table + tail
    rex = b"\x48" if explicit else b""
    entries = [b"\x66" + rex + bytes((0x0F, 0x3A, opcode, 0xC1, value, 0xC3)) for value in range(256)]
    return bytes.fromhex(text.format(**places)).ljust(_CODE, b"\xcc") + b"".join(
        each.ljust(_ENTRY, b"\xcc") for each in entries
    )


def _find_places(library: Any) -> dict[str, str] | None:
    """Where the engine's processor has the flags of comparisons and XMM0."""
    strings = code_at(address_of(library, "helper_pcmpestrm_xmm_x86_64"), 0x80)
    flags = _FLAGS.search(code_at(address_of(library, "helper_ptest_xmm_x86_64"), 0x50))
    above = _XMM0.search(strings)
    if flags is None or above is None or not all(each in strings for each in _LENGTH_REGISTERS):
        return None
    xmm0 = (int.from_bytes(above[1], "little") - 8).to_bytes(4, "little")
    return {"flags": flags[1].hex(), "xmm0": xmm0.hex()}


__all__ = ["mend_strings"]
