"""One instruction as text, by capstone, which is loaded when the first one is wanted."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

BAD = "(bad)"


@cache
def _decoder(bits: int) -> Any:
    import capstone

    return capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64 if bits == 64 else capstone.CS_MODE_32)


@lru_cache(4096)
def _decode(code: bytes, bits: int, address: int) -> str:
    for _, _, mnemonic, operands in _decoder(bits).disasm_lite(code, address, 1):
        return f"{mnemonic} {operands}".rstrip()
    return BAD


def disassemble(code: bytes, bits: int, address: int) -> str:
    """The first instruction of `code`, which lies at `address`; ``(bad)`` where there is none, "" without code."""
    if not code:
        return ""
    text = _decode(code, bits, 0)
    if text[0] == "j" or text.startswith(("call", "loop", "xbegin")):
        return _decode(code, bits, address)  # a branch's target depends on where it stands
    return text


def decode_many(code: bytes, bits: int, address: int, count: int) -> list[tuple[int, str]]:
    """(address, text) of up to `count` instructions of `code`, which lies at `address`; bad bytes end it."""
    found = []
    for at, _, mnemonic, operands in _decoder(bits).disasm_lite(code, address, count):
        found.append((at, f"{mnemonic} {operands}".rstrip()))
    return found or ([(address, BAD)] if code else [])
