"""The floating-point instructions of SSE by the host's own: results, and the exceptions that MXCSR shows.

The engine computes without a trace in MXCSR, knows no SIMD floating-point exception (#XM), keeps the wrong one of two
NaNs, leaves denormals where FZ or DAZ say zero, and sets the x87's flush-to-zero instead of its own.  So each helper
of it jumps to code that runs the instruction itself under the program's MXCSR.  Where that has the usual controls,
the host's has the same ones, and after the first instruction the same flags, so that nothing needs to be loaded.
Other controls are loaded for the one instruction, with everything masked: what the program has unmasked is raised
afterwards, before the result is stored (SDM vol. 1 §11.5).

RCPPS and RSQRTPS, which each make of processors approximates in another way, are exact, and so the same everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, NamedTuple

from machine.hardware.hostcode import HostCode
from machine.hardware.patches import address_of, code_at, divert, host_has, write_code

_FORMS = {"ps": "", "pd": "66", "ss": "f3", "sd": "f2"}
"""Prefixes of the four forms."""
_USUAL = {"add": 0x58, "mul": 0x59, "sub": 0x5C, "min": 0x5D, "div": 0x5E, "max": 0x5F, "sqrt": 0x51}
"""The second byte of the opcode, after 0F."""
_COMPARE = ("eq", "lt", "le", "unord", "neq", "nlt", "nle", "ord")  # CMPPS and its like: by the immediate byte
_PACKED = {
    "haddps": "f20f7c", "haddpd": "660f7c", "hsubps": "f20f7d", "hsubpd": "660f7d",
    "addsubps": "f20fd0", "addsubpd": "660fd0", "cvtps2pd": "0f5a", "cvtpd2ps": "660f5a", "cvtss2sd": "f30f5a",
    "cvtsd2ss": "f20f5a", "cvtdq2ps": "0f5b", "cvtps2dq": "660f5b", "cvttps2dq": "f30f5b", "cvtdq2pd": "f30fe6",
    "cvtpd2dq": "f20fe6", "cvttpd2dq": "660fe6",
}  # fmt: skip
_TO_MMX = {"cvtps2pi": "660f5bc1", "cvttps2pi": "f30f5bc1", "cvtpd2pi": "f20fe6c1", "cvttpd2pi": "660fe6c1"}
_FROM_MMX = {"cvtpi2ps": "0f5bc9 f20f10c1", "cvtpi2pd": "f30fe6c1"}  # cvtdq2ps xmm1, xmm1; movsd xmm0, xmm1. cvtdq2pd
"""By the conversions of XMM: an MMX instruction would touch the host's x87."""
_FLAGS_OF = {"ucomiss": "0f2e", "comiss": "0f2f", "ucomisd": "660f2e", "comisd": "660f2f"}
_IMMEDIATE = {
    "roundps_xmm": 0x08, "roundpd_xmm": 0x09, "roundss_xmm": 0x0A, "roundsd_xmm": 0x0B, "dpps_xmm": 0x40,
    "dppd_xmm": 0x41,
}  # fmt: skip
"""The third byte of the opcode, after 66 0F 3A: the immediate byte is the helper's last argument."""
_LOAD = "f30f6f06 f30f6f0a"  # movdqu xmm0, [rsi]; movdqu xmm1, [rdx]
_LOAD_FIRST, _LOAD_ONE = "f30f6f06", "f30f6f0e"  # movdqu xmm0, [rsi]; movdqu xmm1, [rsi]
_LOAD_MMX = "f30f6f06 f30f7e0a"  # movdqu xmm0, [rsi]; movq xmm1, [rdx]
_STORE, _STORE_MMX = "f30f7f06", "660fd606"  # movdqu [rsi], xmm0; movq [rsi], xmm0
_TO_RAX = "4c89c8"  # mov rax, r9
_TAKE_FLAGS = "9c 4159 4183e145"  # pushfq; pop r9; and r9d, ZF PF CF
_SET_FLAGS = "4c898f{flags}"  # mov [rdi+FLAGS], r9
_TABLE = "0fb6c9 4c8d0d%s 4d8d0cc9"  # movzx ecx, cl; lea r9, [rip+TABLE]; lea r9, [r9+rcx*8]
_CALL = "41ffd1"  # call r9
_ENTER = "0fae5c24f8 8b87{mxcsr} 3b4424f8 75"  # stmxcsr [rsp-8]; mov eax, [rdi+MXCSR]; cmp eax, [rsp-8]; jne 1f
_LEAVE = "0fae5c24f8 8b4424f8 8987{mxcsr}"  # stmxcsr [rsp-8]; mov eax, [rsp-8]; mov [rdi+MXCSR], eax
_SLOW = (
    "89c1 81e1c0ff0000 81f9801f0000 750b"  # 1: mov ecx, eax; and ecx, ffc0; cmp ecx, 1f80; jne 2f
    "894424f8 0fae5424f8 eb"  # mov [rsp-8], eax; ldmxcsr [rsp-8]; jmp <the instruction>
)
_OTHER = "4531c0 f6c508 75"  # 2: xor r8d, r8d; test ch, 8 (UM); jne 4f
_TINY = "81c9809f0000 894c24f8 0fae5424f8"  # or ecx, 9f80 (FZ); mov [rsp-8], ecx; ldmxcsr [rsp-8]
_WAS_TINY = "0fae5c24f8 448b4424f8 4183e010 81e1ff7f0000"  # stmxcsr; mov r8d, [rsp-8]; and r8d, UE; and ecx, 7fff
"""With FZ an exception says whether the result is denormal; an exact one has no UE but where that is not masked."""
_MASKED = "81c9801f0000 894c24f8 0fae5424f8"  # 4: or ecx, 1f80; mov [rsp-8], ecx; ldmxcsr [rsp-8]
_USUALLY = "c74424f8801f0000 0fae5424f8"  # mov dword [rsp-8], 1f80; ldmxcsr [rsp-8]
_BACK = (
    f"0fae5c24f8 8b4c24f8 {_USUALLY} 83e13f 4409c1"  # stmxcsr [rsp-8]; mov ecx, [rsp-8]; ...; and ecx, 3f; or ecx, r8d
    "c1e807 f7d0 4189c8 4121c0 41f6c007 7403 83e107"  # eax: ~(eax >> 7), not masked; if any of ecx & eax & 7: ecx &= 7
    "098f{mxcsr} 85c1 75"  # or [rdi+MXCSR], ecx; test ecx, eax; jne 3f
)
"""An exception that is found before the result leaves no flag of those that come with it."""
_RAISE = "be%02x000000 488b1424 48b8{throw} ffe0"  # 3: mov esi, vector; mov rdx, [rsp]; mov rax, throw; jmp rax
_EXACT = "c74424f8c09f0000 0fae5424f8 c74424f80000803f f30f104424f8 0fc6c000"
"""mov dword [rsp-8], 9fc0; ldmxcsr [rsp-8]; mov dword [rsp-8], 1.0; movss xmm0, [rsp-8]; shufps xmm0, xmm0, 0"""
_ROOT, _DIVIDE = "0f51c9", "0f5ec1"  # sqrtps xmm1, xmm1; divps xmm0, xmm1
_STORE_ONE = "f30f1106"  # movss [rsi], xmm0
_LDMXCSR = "f7c60000ffff 7507 89b7{mxcsr} c3"  # test esi, ffff0000; jne 3f; mov [rdi+MXCSR], esi; ret
_GENERAL_PROTECTION, _SIMD_FP = 13, 19
_RET = "c3"
_ENTRY = 8
"""Bytes of one instruction of a table."""
_MXCSR = re.compile(rb"\x89\xb7(....)\xe9", re.DOTALL)  # mov [rdi+MXCSR], esi; jmp
_FLAGS = re.compile(rb"\x48\x89\x87(....)\xc3", re.DOTALL)  # mov [rdi+FLAGS], rax; ret
_THROW = re.compile(rb"\xbe\x10\x00\x00\x00\xe8(....)", re.DOTALL)  # mov esi, 16; call raise_exception_ra
_MOST = 0x50
_PLACE = re.compile(r"\{\w+\}")
_own: list[HostCode] = []


class Places(NamedTuple):
    """In hexadecimal: two offsets in the engine's processor, and an address."""

    mxcsr: str
    flags: str
    throw: str


def mend_sse(library: Any) -> bool:
    """Once.  False: the engine is another build, or the host has no SSE4.1."""
    if _own:
        return True
    places = find_places(library)
    if places is None or not host_has("sse4_1"):
        return False
    helpers = {address_of(library, f"helper_{name}_x86_64"): code for name, code in _codes(places)}
    status = address_of(library, "update_mxcsr_status_x86_64")
    if 0 in helpers or not status:
        return False
    code = HostCode(b"".join(helpers.values()))
    _own.append(code)
    starts = accumulate((len(each) for each in helpers.values()), initial=code.address)
    diverted = all(divert(helper, start) for helper, start in zip(helpers, starts, strict=False))
    return diverted and write_code(status, bytes.fromhex(_RET))  # what it sets, of the x87, is not MXCSR's to set


def find_places(library: Any) -> Places | None:
    """Where the engine's processor has MXCSR and the flags of comparisons, and what raises an exception."""
    mxcsr = _MXCSR.match(code_at(address_of(library, "helper_ldmxcsr_x86_64"), _MOST))
    flags = _FLAGS.search(code_at(address_of(library, "helper_ptest_xmm_x86_64"), _MOST))
    fwait = address_of(library, "helper_fwait_x86_64")
    call = _THROW.search(code_at(fwait, _MOST))
    if mxcsr is None or flags is None or call is None:
        return None
    throw = fwait + call.end() + int.from_bytes(call[1], "little", signed=True)
    return Places(mxcsr[1].hex(), flags[1].hex(), throw.to_bytes(8, "little").hex())


def _codes(places: Places) -> Iterator[tuple[str, bytes]]:
    """Name of a helper, and its code."""
    for name, text in _texts():
        yield name, _assemble(text, places)
    for name, opcode in _IMMEDIATE.items():
        yield name, _table(bytes((0x66, 0x0F, 0x3A, opcode, 0xC1)), places)
    yield "ldmxcsr", _assemble(_LDMXCSR + _RAISE % _GENERAL_PROTECTION, places)


def _assemble(text: str, places: Places) -> bytes:
    return bytes.fromhex(text.format(**places._asdict()))


def _texts() -> Iterator[tuple[str, str]]:
    for form, prefix in _FORMS.items():
        for name, byte in _USUAL.items():
            yield name + form, _around(_LOAD, f"{prefix}0f{byte:02x}c1", _STORE)
        for n, condition in enumerate(_COMPARE):
            yield f"cmp{condition}{form}", _around(_LOAD, f"{prefix}0fc2c1{n:02x}", _STORE)
    for name, opcode in _PACKED.items():
        yield name, _around(_LOAD, opcode + "c1", _STORE)
    for name, text in _TO_MMX.items():
        yield name, _around(_LOAD_MMX if "ps" in name else _LOAD, text, _STORE_MMX)
    for name, text in _FROM_MMX.items():
        yield name, _around(_LOAD_MMX, text, _STORE)
    for name, opcode in _FLAGS_OF.items():
        yield name, _around(_LOAD, f"{opcode}c1 {_TAKE_FLAGS}", _SET_FLAGS)
    for form in ("ss", "sd"):
        for size, rex in (("si", ""), ("sq", "48")):
            yield f"cvt{size}2{form}", _around(_LOAD_FIRST, f"{_FORMS[form]}{rex}0f2ac2", _STORE)
            for kind, opcode in (("", "2d"), ("t", "2c")):  # to R9
                rex_r = "4c" if rex else "44"
                yield f"cvt{kind}{form}2{size}", _around(_LOAD_ONE, f"{_FORMS[form]}{rex_r}0f{opcode}c9", _TO_RAX)
    for form, store in (("ps", _STORE), ("ss", _STORE_ONE)):
        yield f"rcp{form}", f"{_LOAD} {_EXACT} {_DIVIDE} {store} {_USUALLY} {_RET}"
        yield f"rsqrt{form}", f"{_LOAD} {_EXACT} {_ROOT} {_DIVIDE} {store} {_USUALLY} {_RET}"


def _around(load: str, instruction: str, store: str, before: str = "") -> str:
    """`instruction` under the program's MXCSR, in hexadecimal: at once, or with controls that are loaded for it."""
    usual = f"{instruction} {_LEAVE} {store} {_RET}"
    again = -(_size(usual + _SLOW) + 1) & 0xFF
    tiny = f"{_TINY} {instruction} {_WAS_TINY} {load}"
    other = f"{_OTHER}{_size(tiny):02x} {tiny} {_MASKED} {instruction} {_BACK}{_size(store) + 1:02x} {store} {_RET}"
    return f"{before} {load} {_ENTER}{_size(usual):02x} {usual} {_SLOW}{again:02x} {other} {_RAISE % _SIMD_FP}"


def _size(text: str) -> int:
    """Bytes of it: a place within the processor takes four."""
    return len(bytes.fromhex(_PLACE.sub("00000000", text)))


def _table(opcode: bytes, places: Places) -> bytes:
    """The same of an instruction whose immediate byte is known when it is run: it is called in a table of all."""
    text = _around(_LOAD, _CALL, _STORE, before=_TABLE).partition("%s")
    code = _assemble(text[0] + "00000000" + text[2], places)
    end = _size(text[0]) + 4
    return (
        code[: end - 4] + (len(code) - end).to_bytes(4, "little") + code[end:]
        + b"".join((opcode + bytes((value, 0xC3))).ljust(_ENTRY, b"\xcc") for value in range(256))
    )  # fmt: skip
