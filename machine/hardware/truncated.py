"""A file of the host that is truncated while its pages stand in RAM (hostfiles.py): zeros there, not the end of nopage.

The host answers an access to what is gone with SIGBUS, in the middle of the engine as well as in Python.  Our handler,
host code, puts a page of zeros there, and the access is made again.
"""

from __future__ import annotations

import ctypes
from typing import Any

from machine.hardware.hostcode import SignalCode

_SIGBUS = 7
_BEFORE, _SIGNAL, _RAISE, _COUNT, _TABLE = range(5)
"""Indices of the words that the code works with; the table has the first byte of a machine's RAM, and one past it."""
_MACHINES = 64
_HEAD = b"\x49\xb8"  # mov r8, the words
_CODE = bytes.fromhex(
    "837e0802 7523"  # cmp dword [rsi+SI_CODE], BUS_ADRERR; jne 3f
    "488b4610 498d4820 4d8d8820040000"  # mov rax, [rsi+SI_ADDR]; lea rcx, [r8+TABLE]; lea r9, its end
    "483b01 7206 483b4108 7214"  # 1: cmp rax, [rcx]; jb 2f; cmp rax, [rcx+8]; jb 4f
    "4883c110 4c39c9 72ec"  # 2: add rcx, 16; cmp rcx, r9; jb 1b
    "498b00 4883f801 763c ffe0"  # 3: mov rax, [r8+BEFORE]; cmp rax, SIG_IGN; jbe 5f; jmp rax
    "53 4c89c3 4889c7 4881e700f0ffff be00100000"  # 4: push rbx; mov rbx, r8; mmap(its page, 4096,
    "ba03000000 41ba32400000 49c7c0ffffffff 4531c9"  # PROT_READ|WRITE, PRIVATE|FIXED|ANONYMOUS|NORESERVE, -1, 0)
    "b809000000 0f05 4839f8 750a 48ff4318 5b c3"  # jne 6f; inc qword [rbx+COUNT]; pop rbx; ret
    "53 4c89c3"  # 5: push rbx; mov rbx, r8
    "bf07000000 31f6 ff5308 bf07000000 ff5310 5b c3"  # 6: signal(SIGBUS, SIG_DFL); raise(SIGBUS)
)


class Truncations:
    """The process's handler of SIGBUS, made once, for the RAM of up to `_MACHINES` machines."""

    def __init__(self) -> None:
        words = self._words = (ctypes.c_uint64 * (_TABLE + 2 * _MACHINES))()
        words[_TABLE:] = [~0] * (2 * _MACHINES)
        libc: Any = ctypes.CDLL(None)
        for index, name in ((_SIGNAL, "signal"), (_RAISE, "raise")):
            words[index] = ctypes.cast(getattr(libc, name), ctypes.c_void_p).value or 0
        before = ctypes.c_uint64.from_buffer(words, 8 * _BEFORE)
        self.code = SignalCode(_SIGBUS, _HEAD + ctypes.addressof(words).to_bytes(8, "little") + _CODE, before)
        self._free = list(range(_TABLE, len(words), 2))

    def watch(self, start: int, end: int) -> int:
        """From now on for [`start`, `end`) of the host's addresses, too: a number for `forget`, 0 without room."""
        slot = self._free.pop() if self._free else 0
        if slot:
            self._words[slot + 1] = end
            self._words[slot] = start
        return slot

    def forget(self, slot: int) -> None:
        """No longer for those."""
        self._words[slot] = ~0
        self._free.append(slot)

    @property
    def count(self) -> int:
        """How many pages of zeros it has made, in this process."""
        return self._words[_COUNT]


_truncations: list[Truncations] = []


def truncations() -> Truncations:
    """That of this process."""
    if not _truncations:
        _truncations.append(Truncations())
    return _truncations[0]
