"""Functions of the x87 that the engine computes in double precision, by the host's own x87 instead.

FYL2X and FYL2XP1 of the engine give nothing for a number that is not positive, and leave the stack as it was; FPREM
loses large quotients; all have 53 bits where hardware has 64.  i386 C libraries make logarithms, powers, arcs and
remainders of them.  So each helper jumps to host code that loads the operands from the engine's registers, under the
program's precision and rounding, runs the same instruction, and stores result and condition codes.  Exceptions stay
masked, as with the engine's own: it reports those of no function.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from machine.hardware.hostcode import HostCode
from machine.hardware.patches import address_of, code_at, divert

_POPS = {"fyl2x": 0xF1, "fyl2xp1": 0xF9, "fpatan": 0xF3}
"""Of two operands; the result takes the place of both.  The second byte of the opcode, after D9."""
_TWO = {"fprem": 0xF8, "fprem1": 0xF5, "fscale": 0xFD}
"""Of two operands; the result takes the place of the first."""
_ONE = {"f2xm1": 0xF0, "fsin": 0xFE, "fcos": 0xFF}
_OPERANDS = (
    "8b8f{top} 89c8 c1e004 488d9407{regs}"  # mov ecx, [rdi+TOP]; mov eax, ecx; shl eax, 4; lea rdx, [rdi+rax+REGS]
    "8d4101 83e007 4189c0 c1e004 488db407{regs}"  # lea eax, [rcx+1]; and eax, 7; mov r8d, eax; shl; lea rsi, ...
    "d97c24fe 0fb787{control} 83c83f 66894424fc"  # fnstcw [rsp-2]; movzx eax, [rdi+CONTROL]; or eax, 3f; mov [rsp-4]
    "d96c24fc dbe2"  # fldcw [rsp-4]; fnclex
)
_BEFORE = {"pops": "db2e db2a", "two": "db2e db2a", "one": "db2a"}  # fld tbyte [rsi]; fld tbyte [rdx]
_AFTER = {"pops": "db3e", "two": "db3a ddd8", "one": "db3a"}  # fstp tbyte [rsi], or [rdx]; fstp st(0)
_CODES = "d96c24fe 2500470000 6681a7{status}ffb8 660987{status}"  # fldcw [rsp-2]; C3 C2 C1 C0 of AX into [rdi+STATUS]
_POP = "c6840f{tags}01 448987{top}"  # mov byte [rdi+rcx+TAGS], 1; mov [rdi+TOP], r8d
_RET = "c3"
_SLOT = 160
"""Bytes for each function."""
_MOST = 0x120
_PLACES = {
    "top": rb"\x8b\x87(....)\x48\xc1\xe0\x04", "regs": rb"\x48\x8b\xbc\x38(....)", "tags": rb"\xc6\x84\x13(....)\x01",
    "status": rb"\x0f\xb7\x83(....)\x80\xe4\xb8",
}  # fmt: skip
"""Where the engine's processor has them: in the code of helper_fyl2x."""
_own: list[HostCode] = []


class _Places(NamedTuple):
    top: str
    regs: str
    tags: str
    status: str
    control: str


def mend_x87(library: Any) -> bool:
    """Once.  False: the engine is another build, or the host does not let us."""
    if _own:
        return True
    names = {**_POPS, **_TWO, **_ONE}
    helpers = {name: address_of(library, f"helper_{name}_x86_64") for name in names}
    places = _find_places(library)
    if places is None or 0 in helpers.values():
        return False
    code = HostCode(b"".join(_code(name, opcode, places).ljust(_SLOT, b"\xcc") for name, opcode in names.items()))
    _own.append(code)
    return all(divert(helpers[name], code.address + _SLOT * n) for n, name in enumerate(names))


def _find_places(library: Any) -> _Places | None:
    code = code_at(address_of(library, "helper_fyl2x_x86_64"), _MOST)
    found = [re.search(pattern, code, re.DOTALL) for pattern in _PLACES.values()]
    control = re.match(rb"\x0f\xb7\x87(....)\xc3", code_at(address_of(library, "helper_fnstcw_x86_64"), 8), re.DOTALL)
    if control is None or not all(found):
        return None
    return _Places(*(each[1].hex() for each in [*found, control] if each is not None))


def _code(name: str, opcode: int, places: _Places) -> bytes:
    kind = "pops" if name in _POPS else "two" if name in _TWO else "one"
    text = f"{_OPERANDS} {_BEFORE[kind]} d9{opcode:02x} dfe0 {_AFTER[kind]} {_CODES}"  # ...; it; fnstsw ax; ...
    return bytes.fromhex((text + (_POP if kind == "pops" else "") + _RET).format(**places._asdict()))
