"""Functions of the x87 that the engine computes in double precision, or wrongly, by the host's own x87 instead.

FYL2X and FYL2XP1 of the engine give nothing for a number that is not positive, and leave the stack as it was; FPREM
loses large quotients; all have 53 bits where hardware has 64.  i386 C libraries make logarithms, powers, arcs and
remainders of them.  FXTRACT knows no infinity, FISTTP and FBSTP no indefinite, and the constants are not rounded as
the control word says.  So each helper jumps to host code that loads the operands from the engine's registers, under the
program's precision and rounding, runs the same instruction, and stores result, condition codes and exceptions
(hardware/x87.py).
"""

from __future__ import annotations

from typing import Any

from machine.hardware.hostcode import HostCode
from machine.hardware.patches import address_of, divert, host_has
from machine.hardware.x87 import BACK, CONTROL, UNMASKED, assemble, find_x87, mend_arithmetic

_POPS = {"fyl2x": 0xF1, "fyl2xp1": 0xF9, "fpatan": 0xF3}
"""Of two operands; the result takes the place of both.  The second byte of the opcode, after D9."""
_TWO = {"fprem": 0xF8, "fprem1": 0xF5, "fscale": 0xFD}
"""Of two operands; the result takes the place of the first."""
_ONE = {"f2xm1": 0xF0, "fsin": 0xFE, "fcos": 0xFF}
_PUSHES = {"fptan": 0xF2, "fsincos": 0xFB}
"""Of one operand; a second result is pushed, but for an operand out of range (C2)."""
_CONSTANTS = {"fldl2t": 0xE9, "fldl2e": 0xEA, "fldpi": 0xEB, "fldlg2": 0xEC, "fldln2": 0xED}
"""The engine has pushed already, and asks for the number: it is rounded as the program's control word says."""
_INTEGERS = {
    "fist": ("df5c24f0", "0fbf4424f0"), "fistl": ("db5c24f0", "8b4424f0"), "fistll": ("df7c24f0", "488b4424f0"),
    "fistt": ("df4c24f0", "0fbf4424f0"), "fisttl": ("db4c24f0", "8b4424f0"), "fisttll": ("dd4c24f0", "488b4424f0"),
}  # fmt: skip
"""FISTP or FISTTP of the number to [rsp-16], 2, 4 or 8 bytes; to EAX or RAX from there.  The engine's say no #IA."""
_FXTRACT, _FBST = "fxtract", "fbst_ST0"
_STORES = ("cpu_stq_data_ra_x86_64", "cpu_stw_data_ra_x86_64")
_NEXT, _ABOVE = "01", "ff"
_OPERANDS = (
    "8b8f{top} 89c8 c1e004 488d9407{regs}"  # mov ecx, [rdi+TOP]; mov eax, ecx; shl eax, 4; lea rdx, [rdi+rax+REGS]
    "8d41%s 83e007 4189c0 c1e004 488db407{regs}"  # lea eax, [rcx+-1]; and eax, 7; mov r8d, eax; shl; lea rsi, ...
    f"{CONTROL} dbe2"  # ...; fnclex
)
_BEFORE = {"pops": "db2e db2a", "two": "db2e db2a", "one": "db2a"}  # fld tbyte [rsi]; fld tbyte [rdx]
_AFTER = {"pops": "db3e", "two": "db3a ddd8", "one": "db3a"}  # fstp tbyte [rsi], or [rdx]; fstp st(0)
_CODES = (
    f"{BACK} be3f470000 a801 7405 be3f020000 21f0 81e600470000 f7d6"  # mov esi, 473f; test al, IE; je 1f; mov esi, 23f
    f"6621b7{{status}} 660987{{status}} {UNMASKED}"  # 1: and eax, esi; esi = ~(esi & 4700); and [...], si; or [...], ax
)
"""C3, C2, C1, C0 and the exceptions of AX into [rdi+STATUS]; what is invalid leaves the codes as they were."""
_FLAGS = f"{BACK} 83e03f 660987{{status}} {UNMASKED}"  # ...; the exceptions of AX into [rdi+STATUS]
_POP = "c6840f{tags}01 448987{top}"  # mov byte [rdi+rcx+TAGS], 1; mov [rdi+TOP], r8d
_PUSH = (
    "db3e db3a 42c68407{tags}00 448987{top}"  # fstp tbyte [rsi]; ... [rdx]; mov byte [rdi+r8+TAGS], 0; mov [rdi+TOP]
)
_BCD = (
    "53 55 4154 4883ec20 4889fb 4889f5"  # push rbx, rbp, r12; sub rsp, 20; mov rbx, rdi; mov rbp, rsi
    "8b87{top} c1e004 488d9407{regs} d97c2410 0fb787{control} 83c83f 89442414 d96c2414 dbe2"
    "db2a df3424 dfe0 d96c2410 83e03f 4189c4"  # fld tbyte [rdx]; fbstp [rsp]; fnstsw ax; ...; mov r12d, eax
    "4889df 4889ee 488b1424 488b4c2438 48b8%s ffd0"  # store(env, address, 8 bytes, return address)
    "4889df 488d7508 0fb7542408 488b4c2438 48b8%s ffd0"  # and the last two
    "664409a3{status} 4883c420 415c 5d 5b"  # or [rbx+STATUS], r12w; add rsp, 20; pop r12, rbp, rbx
)
_RET = "c3"
_SLOT = 256
"""Bytes for each function."""
_own: list[HostCode] = []


def mend_x87(library: Any) -> bool:
    """Once.  False: the engine is another build, or the host does not let us."""
    if _own:
        return True
    places, stores = find_x87(library), [address_of(library, name) for name in _STORES]
    if places is None or 0 in stores or not host_has("pni"):  # SSE3, for FISTTP
        return False
    texts = _texts(stores)
    helpers = [address_of(library, f"helper_{name}_x86_64") for name in texts]
    if 0 in helpers or not mend_arithmetic(library, places):
        return False
    code = HostCode(b"".join(assemble(text + _RET, places).ljust(_SLOT, b"\xcc") for text in texts.values()))
    _own.append(code)
    return all(divert(helper, code.address + _SLOT * n) for n, helper in enumerate(helpers))


def _texts(stores: list[int]) -> dict[str, str]:
    """Name of the helper -> its code, in hexadecimal, the engine's places still to be filled in."""
    usual, push = _OPERANDS % _NEXT, _OPERANDS % _ABOVE
    texts = {}
    for kind, names in (("pops", _POPS), ("two", _TWO), ("one", _ONE)):
        for name, opcode in names.items():  # ...; it; fnstsw ax; ...
            text = f"{usual} {_BEFORE[kind]} d9{opcode:02x} dfe0 {_AFTER[kind]} {_CODES}"
            texts[name] = text + (_POP if kind == "pops" else "")
    for (
        name,
        opcode,
    ) in _PUSHES.items():  # ...; fld; it; fnstsw ax; test ah, C2; jnz 1f; <push>; jmp 2f; 1: fstp; 2: ...
        texts[name] = f"{push} db2a d9{opcode:02x} dfe0 f6c404 7516 {_PUSH} eb02 db3a {_CODES}"
    for name, opcode in _CONSTANTS.items():
        texts[f"{name}_ST0"] = f"{usual} d9{opcode:02x} db3a {BACK}"
    texts[_FXTRACT] = f"{push} db2a d9f4 dfe0 {_PUSH} {_FLAGS}"
    for name, (store, load) in _INTEGERS.items():
        texts[f"{name}_ST0"] = f"{usual} db2a {store} dfe0 {_FLAGS} {load}"
    texts[_FBST] = _BCD % tuple(address.to_bytes(8, "little").hex() for address in stores)
    return texts
