"""Code that the engine's translator calls abort() on, a LOCK BTC of a register for one: invalid opcode, as on hardware.

abort() raises SIGABRT in the thread that runs the engine, and a handler may leave by a jump (C11 §7.22.4.1).  Ours,
two dozen instructions of host code, calls the engine's own function for exceptions, which jumps out of the translator
as a page fault in the middle of a translation does.  So one instruction of a guest does not end the host's process.

The exception comes at the start of the block that was to be translated: its first instruction is blamed.
"""

from __future__ import annotations

import ctypes
import os
import threading
from typing import Any, Optional

from machine.hardware.hostcode import SignalCode

_SIGABRT = 6
_THREAD, _ENV, _RAISE, _HOLDS_GIL, _BEFORE, _COUNT, _SIGNAL, _SEND = range(8)
"""Indices of the words that the code works with."""
_HEAD = bytes.fromhex(
    "53 4154 56 52 4883ec08 89fb 49bc"  # push rbx, r12, rsi, rdx; sub rsp, 8; mov ebx, edi; mov r12, the words
)
_CODE = bytes.fromhex(
    "837e08fa 752c"  # cmp dword [rsi+SI_CODE], SI_TKILL; jne 1f: another process has sent it
    "64488b042500000000 493b0424 751d"  # mov rax, fs:[0]; cmp rax, [r12+THREAD]; jne 1f: not the engine's thread
    "41ff542418 85c0 7514"  # call [r12+HOLDS_GIL]; test eax, eax; jne 1f: what has called abort is Python's
    "49ff442428"  # inc qword [r12+COUNT]
    "498b7c2408 be06000000 41ff542410"  # mov rdi, [r12+ENV]; mov esi, INVALID_OPCODE; call [r12+RAISE], for good
    "498b442420 4885c0 7515"  # 1: mov rax, [r12+BEFORE]; test rax, rax; jne 2f
    "89df 31f6 41ff542430"  # signal(SIGABRT, SIG_DFL)
    "89df 41ff542438 b801000000"  # raise(SIGABRT); mov eax, SIG_IGN
    "89df 4883c408 5a 5e 415c 5b"  # 2: mov edi, ebx; add rsp, 8; pop ...
    "4883f801 7602 ffe0 c3"  # cmp rax, SIG_IGN; jbe 3f; jmp rax; 3: ret
)


class _Handler:
    """The process's handler of SIGABRT, made once; what was there before is called for every other SIGABRT."""

    def __init__(self, raise_exception: int) -> None:
        words = self.words = (ctypes.c_uint64 * 8)()
        words[_RAISE] = raise_exception
        libc: Any = ctypes.CDLL(None)
        for index, function in (
            (_HOLDS_GIL, ctypes.pythonapi.PyGILState_Check), (_SIGNAL, libc.signal), (_SEND, libc["raise"]),
        ):  # fmt: skip
            words[index] = ctypes.cast(function, ctypes.c_void_p).value or 0
        before = ctypes.c_uint64.from_buffer(words, 8 * _BEFORE)
        self.code = SignalCode(_SIGABRT, _HEAD + ctypes.addressof(words).to_bytes(8, "little") + _CODE, before)


_handler: Optional[_Handler] = None


class AbortGuard:
    """`with guard`: the engine whose processor is at the host's address `env` runs in this thread."""

    def __init__(self, raise_exception: int, env: int) -> None:
        global _handler
        _handler = _handler or _Handler(raise_exception)
        _handler.code.install()
        self._words, self._env, self._outer = _handler.words, env, (0, 0)

    def __enter__(self) -> None:
        words = self._words
        self._outer = words[_THREAD], words[_ENV]
        words[_ENV] = self._env
        words[_THREAD] = threading.get_ident()

    def __exit__(self, *_: object) -> None:
        self._words[_THREAD], self._words[_ENV] = self._outer

    @property
    def count(self) -> int:
        """How often an abort of the engine has become an exception, in this process."""
        return self._words[_COUNT]


def find_env(candidates: list[int], registers: bytes) -> Optional[int]:
    """Which of the engine's pointers is to its processor, which begins with the general registers."""
    libc: Any = ctypes.CDLL(None)
    reading, writing = os.pipe()
    try:
        for address in candidates:  # write() looks at memory that may not be there and says EFAULT
            wrote = libc.write(writing, ctypes.c_void_p(address), len(registers)) if address > 0 else -1
            if wrote > 0 and os.read(reading, wrote) == registers:
                return address
    finally:
        os.close(reading)
        os.close(writing)
    return None
