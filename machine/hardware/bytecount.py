"""Where user code is: the bytes of code that it has executed since the start, exact at each instruction.

The engine says at the start of each block of translated code how long that is.  The sum of the blocks, less what is
left of the last one, doesn't depend on where blocks begin: a debugger may stop inside of them or step through them.  So
it names an instruction of a run, and a run that is repeated can be stopped there.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional

from machine.hardware.hostcode import HostCode
from machine.hardware.paging import walk
from machine.hardware.ram import PAGE_SIZE

if TYPE_CHECKING:
    from machine.hardware.cpu import Cpu
    from machine.hardware.traps import TrapHooks

FAR = 1 << 62
"""A position that is never reached."""
_RCX, _RSP, _R11, _RIP = 1, 4, 11, 16
"""Indices into `Cpu.regs`."""
_TF, _DEBUG = 0x100, 1
_PFN = 0x000F_FFFF_FFFF_F000
_PREFIXES = bytes((0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF2, 0xF3, *range(0x40, 0x50)))
_REPEATS = frozenset((0xF2, 0xF3))
_STRINGS = (b"\xa4", b"\xa5", b"\xaa", b"\xab", b"\xac", b"\xad", b"\xa6", b"\xa7", b"\xae", b"\xaf")
_COMPARING = (b"\xa6", b"\xa7", b"\xae", b"\xaf")


class ByteCount:
    """Takes the place of hardware/stop.py: StopCheck.  A block hook of host code::

        mov [rcx+8], rsi; mov eax, edx; mov [rcx+16], rax; sub [rcx], rax; js 1f; ret; 1: mov rax, uc_emu_stop; jmp rax

    (rsi is the block's address, edx its size, rcx the three words.)  It stops before the block that would pass `limit`.
    """

    counts_blocks = True

    def __init__(self, cpu: Cpu, traps: TrapHooks, uc_emu_stop: int, eflags: int) -> None:
        test = b"\x48\x89\x71\x08\x89\xd0\x48\x89\x41\x10\x48\x29\x01\x78\x01\xc3"
        self._block_hook = HostCode(test + b"\x48\xb8" + uc_emu_stop.to_bytes(8, "little") + b"\xff\xe0")
        self.code = self._block_hook.address
        """Host address of the hook."""
        self._words = (ctypes.c_int64 * 3)(FAR, 0, 0)
        self.data = ctypes.addressof(self._words)
        """Host address of the words, the hook's user data: what is left to `limit`, the last block's place, size."""
        self._traps = traps
        self._cpu: Any = cpu
        """This file knows its image and its hooks."""
        self._eflags = eflags
        self.limit = FAR
        """The run stops before the block that would pass this position."""
        self.tick = False
        """What `budget_spent` says of the last run."""
        self.reached = False
        """The last run ended because of `limit`."""
        self.on_stop: Callable[[], bool] = lambda: False
        """After each run; True: it goes on at once."""
        self.each: Optional[Callable[[int], None]] = None
        """Called with the position after each instruction of an `approach`."""
        self._approaching = False
        self._rcx = 0
        self._address = 0
        """Of the instruction that was stepped over last."""

    # -- what StopCheck has ----------------------------------------------------------------------

    def arm(self) -> None:
        """Before a run."""
        self.reached = self.tick = False
        self._rcx = self._cpu.regs[_RCX]

    def request(self) -> None:
        """Nothing: whoever asks is served at the next kernel entry or tick, which come at the same place every time."""

    def left(self, rip: int) -> None:
        """A run has ended before the instruction at `rip`."""
        self.reached = self.reached or self._words[0] < 0
        self.settle(rip)

    def again(self) -> bool:
        """Whether the run is to go on at once."""
        return self.on_stop()

    def budget_spent(self) -> bool:
        """Whether the last run ended at a tick."""
        return self.tick

    # -- counting --------------------------------------------------------------------------------

    def settle(self, rip: int) -> None:
        """User code is left before the instruction at `rip`: what is left of the last block has not been executed."""
        words = self._words
        left = words[1] + words[2] - rip
        if 0 < left <= words[2]:
            words[0] += left
        words[2] = 0

    def at(self, rip: int) -> int:
        """The position of an instruction of the block that is running, before it is executed."""
        words = self._words
        left = words[1] + words[2] - rip
        return int(self.limit - words[0] - (left if 0 < left <= words[2] else 0))

    @property
    def position(self) -> int:
        """Bytes executed, while the kernel or nobody runs."""
        return int(self.limit - self._words[0])

    def stop_at(self, position: int) -> None:
        """Stop before the block that would pass `position`."""
        self._words[0] += position - self.limit
        self.limit = position

    def approach(self) -> None:
        """Go on instruction by instruction until `limit`, or until the kernel is entered for something else."""
        self._approaching = True
        self._cpu.set_register(self._eflags, self._cpu.eflags() | _TF)

    def leave_off(self) -> None:
        """End an `approach` here, in `each` or in the kernel."""
        if self._approaching:
            self._approaching = False
            self._cpu.set_register(self._eflags, self._cpu.eflags() & ~_TF)

    def _stepped(self, rip: int) -> None:
        """One instruction has been executed, a block of its own.

        A repeated string instruction looks at its counter once more when it is not stepped through: a block that is
        counted then, and must be here.
        """
        words = self._words
        if words[2] and rip == words[1] + words[2] and self._rcx:
            code = self._code(words[1], words[2])
            opcode = code.lstrip(_PREFIXES)[:1]
            repeated = set(code[: len(code) - len(code.lstrip(_PREFIXES))]) & _REPEATS
            if repeated and opcode in _STRINGS and (opcode not in _COMPARING or not self._cpu.regs[_RCX]):
                words[0] -= words[2]
        self._address = words[1]
        words[2] = 0

    def _code(self, address: int, count: int) -> bytes:
        data = b""
        while len(data) < count:
            at = address + len(data)
            steps = walk(self._cpu.ram, self._cpu._words[self._cpu._cr3_at], at)
            room = min(count - len(data), PAGE_SIZE - at % PAGE_SIZE)
            start = (steps[-1][1] & _PFN) + at % PAGE_SIZE
            data += bytes(self._cpu.ram.view[start : start + room])
        return data

    # -- around the engine's hooks ------------------------------------------------------------------

    def around_exception(self, trap: Callable[[], None]) -> Callable[[], None]:
        """The trap of exceptions with the count settled before it."""
        cpu = self._cpu

        def exception() -> None:
            rip = cpu.regs[_RIP]
            if self._traps.vector == _DEBUG:
                self._stepped(rip)
                self._rcx = cpu.regs[_RCX]
                if self._approaching:
                    self._hide_pushed()
                    if self.each is not None:
                        self.each(self.position)
                    if self._approaching and self.position >= self.limit:
                        self._approaching = False
                        self.reached = True
                    self._swallow_step(self._approaching, self.reached)
                    return
            else:
                self._enter(rip)
            trap()

        return exception

    def around(self, trap: Callable[[], None]) -> Callable[[], None]:
        """The same for page faults."""

        def enter() -> None:
            self._enter(self._cpu.regs[_RIP])
            trap()

        return enter

    def around_syscall(self, trap: Callable[[], None]) -> Callable[[], None]:
        """The same for `syscall`, which counts as executed; it has put the flags into R11."""

        def enter() -> None:
            if self._approaching:
                self._cpu.regs[_R11] &= ~_TF
            self._enter(self._cpu.regs[_RIP])
            trap()

        return enter

    def _enter(self, rip: int) -> None:
        self.settle(rip)
        self._rcx = 1
        if self._approaching:
            self._approaching = False
            self._hide_step()

    def _hide_pushed(self) -> None:
        """`pushf` has stored TF, which is not the guest's."""
        if self._code(self._address, 2).lstrip(_PREFIXES)[:1] == b"\x9c":
            cpu = self._cpu
            where = cpu.regs[_RSP] + 1
            entry = walk(cpu.ram, cpu._words[cpu._cr3_at], where)[-1][1]
            physical = (entry & _PFN) + where % PAGE_SIZE
            cpu.ram.view[physical] &= ~(_TF >> 8)

    def _hide_step(self) -> None:
        """Clear TF, which is not the guest's."""
        cpu = self._cpu
        cpu.set_register(self._eflags, cpu.eflags() & ~_TF)

    def _swallow_step(self, again: bool, stop: bool) -> None:
        """Exception 1 ended a step that the kernel is not to see: another one follows, a stop, or neither."""
        cpu = self._cpu
        self._traps.take_early_step()
        if not again:
            cpu.set_register(self._eflags, cpu.eflags() & ~_TF)
        if stop:
            cpu._uc.emu_stop()
