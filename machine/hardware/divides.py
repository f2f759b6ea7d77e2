"""IDIV of the guest whose quotient is too large even for the host: exception 0 of its own, not the end of nopage.

The engine divides the 64 bits of EDX:EAX with IDIV of the host, and looks then whether the quotient fits 32 bits
(helper_idivl_EAX).  -2^63 by -1 is the one case where the host's IDIV traps: SIGFPE in the thread that runs the engine.
Our handler, host code, leaves a quotient that does not fit and goes on behind the instruction, so that the engine
raises #DE as for all others, with everything in its place.
"""

from __future__ import annotations

import ctypes
import re
from typing import Any, Optional

from machine.hardware.hostcode import SignalCode

_SIGFPE = 8
_AT, _LENGTH, _QUOTIENT, _BEFORE, _SIGNAL, _RAISE, _COUNT = range(7)
"""Indices of the words that the code works with."""
_CQO_IDIV = re.compile(rb"\x48\x99([\x48\x49]\xf7[\xf8-\xff])")  # cqo; idiv of a register
_MOST = 64
"""Bytes of the helper that are looked at."""
_HEAD = b"\x49\xb8"  # mov r8, the words
_CODE = bytes.fromhex(
    "488b82a8000000 493b00 7526"  # mov rax, [rdx+RIP of the context]; cmp rax, [r8+AT]; jne 1f
    "49034008 488982a8000000"  # add rax, [r8+LENGTH]; mov [rdx+RIP], rax
    "498b4010 48898290000000"  # mov rax, [r8+QUOTIENT]; mov [rdx+RAX], rax
    "48c7828800000000000000 49ff4030 c3"  # mov qword [rdx+RDX], 0; inc qword [r8+COUNT]; ret
    "498b4018 4883f801 7602 ffe0"  # 1: mov rax, [r8+BEFORE]; cmp rax, SIG_IGN; jbe 2f; jmp rax
    "53 4c89c3 31f6 ff5320 bf08000000 ff5328 5b c3"  # 2: signal(SIGFPE, SIG_DFL); raise(SIGFPE)
)


class Divides:
    """The process's handler of SIGFPE; `address` and `length` are those of the engine's IDIV."""

    def __init__(self, address: int, length: int) -> None:
        words = self._words = (ctypes.c_uint64 * 7)()
        words[_AT], words[_LENGTH], words[_QUOTIENT] = address, length, 1 << 63
        libc: Any = ctypes.CDLL(None)
        for index, name in ((_SIGNAL, "signal"), (_RAISE, "raise")):
            words[index] = ctypes.cast(getattr(libc, name), ctypes.c_void_p).value or 0
        before = ctypes.c_uint64.from_buffer(words, 8 * _BEFORE)
        self.code = SignalCode(_SIGFPE, _HEAD + ctypes.addressof(words).to_bytes(8, "little") + _CODE, before)

    @property
    def count(self) -> int:
        """How often the host's IDIV has trapped, in this process."""
        return self._words[_COUNT]


_divides: Optional[Divides] = None


def guard_divides(library: Any) -> Optional[Divides]:
    """Install the handler for the engine's `library`; None for one whose function is another."""
    global _divides
    function = getattr(library, "helper_idivl_EAX_x86_64", None)
    if _divides is None and function is not None:
        address = ctypes.cast(function, ctypes.c_void_p).value or 0
        found = _CQO_IDIV.search(ctypes.string_at(address, _MOST))
        if found is not None:
            _divides = Divides(address + found.start(1), len(found[1]))
    if _divides is not None:
        _divides.code.install()
    return _divides
