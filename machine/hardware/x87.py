"""Arithmetic, comparisons and conversions of the x87 by the host's own, and the exceptions that its status word shows.

The engine computes them rightly, but leaves no trace in the status word.  So each helper jumps to code that loads the
operands from the engine's registers, under the program's precision and rounding and with everything masked, runs the
instruction, and stores result, exceptions and C1.  One that the program has not masked sets ES, and the next that
waits for it, FWAIT or another of these, raises #MF (SDM vol. 1 §8.6, 8.7): the result is stored all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, NamedTuple

from machine.hardware.hostcode import HostCode
from machine.hardware.patches import address_of, code_at, divert
from machine.hardware.sse import find_places

_PENDING = "f687{status}80 7415 be10000000 488b1424 48b8{throw} ffe0"
"""test byte [rdi+STATUS], ES; je 1f; mov esi, 16; mov rdx, [rsp]; mov rax, throw; jmp rax; 1:"""
_CLEAN = "dfe0 440fb78f{status} 41f7d1 4121c1 41f6c13f 7402 dbe2"
"""fnstsw ax; movzx r9d, [rdi+STATUS]; not r9d; and r9d, eax; test r9b, 3f; je 1f; fnclex; 1: the program's alone"""
CONTROL = "d97c24fe 0fb787{control} 83c83f 66894424fc 663b4424fe 7404 d96c24fc"
"""fnstcw [rsp-2]; movzx eax, [rdi+CONTROL]; or eax, 3f; mov [rsp-4], ax; cmp ax, [rsp-2]; je 1f; fldcw [rsp-4]; 1:"""
BACK = "66448b4c24fc 66443b4c24fe 7404 d96c24fe"  # mov r9w, [rsp-4]; cmp r9w, [rsp-2]; je 1f; fldcw [rsp-2]; 1:
UNMASKED = "440fb78f{control} 41f7d1 4121c1 41f6c13f 7409 66818f{status}8080"
"""movzx r9d, word [rdi+CONTROL]; not r9d; and r9d, eax; test r9b, 3f; je 1f; or word [rdi+STATUS], ES B; 1:"""
_ST0 = "448b97{top} 41c1e204 4a8d9417{regs}"  # mov r10d, [rdi+TOP]; shl r10d, 4; lea rdx, [rdi+r10+REGS]
_FT0 = "488db7{ft0}"  # lea rsi, [rdi+FT0]
_STN = "03b7{top} 83e607 c1e604 488db437{regs}"  # add esi, [rdi+TOP]; and esi, 7; shl esi, 4; lea rsi, [rdi+rsi+REGS]
_LOAD = "db2e db2a"  # fld tbyte [rsi]; fld tbyte [rdx]
_STATUS = "dfe0"  # fnstsw ax
_MERGE = f"253f020000 6681a7{{status}}fffd 660987{{status}} {UNMASKED}"  # exceptions and C1 of AX into [rdi+STATUS]
_MERGE_CODES = f"253f470000 6681a7{{status}}ffb8 660987{{status}} {UNMASKED}"  # C3, C2 and C0, too
_INTO_ST0, _INTO_STN = "db3a", "db3e"  # fstp tbyte [rdx], or [rsi]
_ARITHMETIC = {
    "fadd": ("dec1", "dec1"), "fmul": ("dec9", "dec9"), "fsub": ("dee1", "dee9"), "fsubr": ("dee9", "dee1"),
    "fdiv": ("def1", "def9"), "fdivr": ("def9", "def1"),
}  # fmt: skip
"""Of FT0, a memory operand mostly, into ST0; of ST0 into another: FADDP and its like, of what was loaded first."""
_COMPARISONS = {"fcom": "ded9", "fucom": "dae9"}  # fcompp, fucompp
_INTO_FLAGS = {"fcomi": "dff1", "fucomi": "dfe9"}  # fcomip st, st(1); fucomip st, st(1)
_TAKE_FLAGS = "488d6424f0 9c 4158 488d642410 ddd8"  # lea rsp, [rsp-16]; pushfq; pop r8; lea rsp, [rsp+16]; fstp st(0)
_SET_FLAGS = "4181e0d5080000 4c8987{flags}"  # and r8d, OF SF ZF AF PF CF; mov [rdi+FLAGS], r8
_ONE = {"fsqrt": "d9fa", "frndint": "d9fc"}
_FROM_MEMORY = {"flds": "897424f0 d94424f0", "fldl": "48897424f0 dd4424f0"}  # mov [rsp-16], esi or rsi; fld [rsp-16]
_TO_MEMORY = {"fsts": ("d95c24f0", "8b4424f0"), "fstl": ("dd5c24f0", "488b4424f0")}  # fstp [...]; mov eax or rax, [...]
_PUSH = (
    "448b97{top} 41ffca 4183e207 448997{top} 42c68417{tags}00"  # mov r10d, [...]; dec; and 7; mov [...], r10d; mov byte
    "41c1e204 4a8d9417{regs}"  # shl r10d, 4; lea rdx, [rdi+r10+REGS]
)
_RET = "c3"
_FT0_AT = re.compile(rb"\x66\x0f\x6f\x87(....)", re.DOTALL)  # movdqa xmm0, [rdi+FT0]
_FYL2X_PLACES = {
    "top": rb"\x8b\x87(....)\x48\xc1\xe0\x04", "regs": rb"\x48\x8b\xbc\x38(....)", "tags": rb"\xc6\x84\x13(....)\x01",
    "status": rb"\x0f\xb7\x83(....)\x80\xe4\xb8",
}  # fmt: skip
_MOST = 0x120
_own: list[HostCode] = []


class Places(NamedTuple):
    """Where the engine's processor has what, and what raises an exception: in hexadecimal."""

    top: str
    regs: str
    tags: str
    status: str
    control: str
    ft0: str
    flags: str
    throw: str


def find_x87(library: Any) -> Places | None:
    """None: the engine is another build.  To be asked before anything of it is diverted."""
    code = code_at(address_of(library, "helper_fyl2x_x86_64"), _MOST)
    found = [re.search(pattern, code, re.DOTALL) for pattern in _FYL2X_PLACES.values()]
    control = re.match(rb"\x0f\xb7\x87(....)\xc3", code_at(address_of(library, "helper_fnstcw_x86_64"), 8), re.DOTALL)
    operand = _FT0_AT.search(code_at(address_of(library, "helper_fmov_ST0_FT0_x86_64"), 0x20))
    others = find_places(library)
    if control is None or operand is None or others is None:
        return None
    places = [each[1].hex() for each in [*found, control, operand] if each is not None]
    return Places._make([*places, others.flags, others.throw]) if all(found) else None


def mend_arithmetic(library: Any, places: Places) -> bool:
    """Once.  False: the engine is another build, or the host does not let us."""
    if _own:
        return True
    helpers = {address_of(library, f"helper_{name}_x86_64"): assemble(text, places) for name, text in _texts()}
    if 0 in helpers:
        return False
    code = HostCode(b"".join(helpers.values()))
    _own.append(code)
    starts = accumulate((len(each) for each in helpers.values()), initial=code.address)
    return all(divert(helper, start) for helper, start in zip(helpers, starts, strict=False))


def assemble(text: str, places: Places) -> bytes:
    """The code that `text` has in hexadecimal, with the engine's places in it."""
    return bytes.fromhex(text.format(**places._asdict()))


def _texts() -> Iterator[tuple[str, str]]:
    for name, (into_st0, into_stn) in _ARITHMETIC.items():
        yield f"{name}_ST0_FT0", _helper(f"{_ST0} {_FT0}", f"{_LOAD} {into_st0}", f"{_INTO_ST0} {_MERGE}")
        yield f"{name}_STN_ST0", _helper(f"{_ST0} {_STN}", f"{_LOAD} {into_stn}", f"{_INTO_STN} {_MERGE}")
    for name, opcode in _COMPARISONS.items():
        yield f"{name}_ST0_FT0", _helper(f"{_ST0} {_FT0}", f"{_LOAD} {opcode}", _MERGE_CODES)
    for name, opcode in _INTO_FLAGS.items():
        yield f"{name}_ST0_FT0", _helper(f"{_ST0} {_FT0}", f"{_LOAD} {opcode} {_TAKE_FLAGS}", f"{_SET_FLAGS} {_MERGE}")
    for name, opcode in _ONE.items():
        yield name, _helper(_ST0, f"db2a {opcode}", f"{_INTO_ST0} {_MERGE}")
    for name, load in _FROM_MEMORY.items():
        load = f"{_PENDING} {_CLEAN} {load} {_STATUS}"  # whatever the control word says
        yield f"{name}_FT0", f"{load} dbbf{{ft0}} {_MERGE} {_RET}"  # fstp tbyte [rdi+FT0]
        yield f"{name}_ST0", f"{load} {_PUSH} {_INTO_ST0} {_MERGE} {_RET}"
    for name, (store, value) in _TO_MEMORY.items():
        yield f"{name}_ST0", _helper(_ST0, f"db2a {store}", f"{_MERGE} {value}")


def _helper(operands: str, instruction: str, result: str) -> str:
    return f"{_PENDING} {operands} {CONTROL} {_CLEAN} {instruction} {_STATUS} {BACK} {result} {_RET}"
