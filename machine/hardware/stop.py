"""The stop check: a dozen bytes of host code that the engine calls at the start of each block of guest code.

`uc_emu_stop` from another thread stops *inside* an instruction: the engine looks at its exit flag after
every load and store, so an ``inc`` or ``xchg`` of memory that had stored already is run once more.  Only
at the start of a block is a stop exact.
"""

from __future__ import annotations

import ctypes
import os

from machine.hardware.hostcode import HostCode
from machine.hardware.image import CpuError

BLOCK_BUDGET = 50_000
"""Blocks of code between two ticks of a repeatable processor: about a millisecond."""

_CMP_BYTE = b"\x80\x39\x00\x75\x01\xc3"  # cmp byte [rcx], 0; jne 1f; ret; 1:
_DEC_QWORD = b"\x48\xff\x09\x74\x01\xc3"  # dec qword [rcx]; jz 1f; ret; 1:


class StopCheck:
    """A block hook that looks at a flag: ``cmp byte [rcx], 0; jne 1f; ret; 1: mov rax, uc_emu_stop; jmp rax``.

    That of a repeatable processor (`counts_blocks`) counts the blocks instead, ``dec qword [rcx]; jz 1f;
    ret; ...``, and stops every `BLOCK_BUDGET` of them: a tick that comes at the same instruction in every run.
    """

    def __init__(self, uc_emu_stop: int, counts_blocks: bool) -> None:
        if os.uname().machine not in ("x86_64", "AMD64"):
            raise CpuError(f"nopage runs on x86-64 hosts, this one is {os.uname().machine}")
        self.counts_blocks = counts_blocks
        test = _DEC_QWORD if counts_blocks else _CMP_BYTE
        self._code = HostCode(test + b"\x48\xb8" + uc_emu_stop.to_bytes(8, "little") + b"\xff\xe0")
        self.code = self._code.address
        """Host address of the hook."""
        self._word = ctypes.c_int64(BLOCK_BUDGET if counts_blocks else 0)
        self.data = ctypes.addressof(self._word)
        """Host address of the flag or the budget, the hook's user data."""

    def arm(self) -> None:
        """Before a run: forget a request; a budget goes on where the last run left it."""
        if not self.counts_blocks:
            self._word.value = 0
        elif self._word.value <= 0:
            self._word.value = BLOCK_BUDGET

    def request(self) -> None:
        """Stop at the start of the next block.  From any thread, at any time."""
        self._word.value = 1

    def left(self, rip: int) -> None:
        """A run has ended before the instruction at `rip`."""

    def again(self) -> bool:
        """Whether the run is to go on at once."""
        return False

    def budget_spent(self) -> bool:
        """Whether the last run ended because `BLOCK_BUDGET` blocks have been run since the last time it did."""
        return self.counts_blocks and self._word.value <= 0
