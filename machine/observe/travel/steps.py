"""Instructions that were executed, one by one, and how a window shows them: as blocks, or each with what it changed."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple, Optional, Protocol

from machine.hardware.cpu import FS_BASE, GS_BASE, RBP, RIP, RSP
from machine.hardware.ram import PAGE_SHIFT
from machine.kernel.task.regset import image_of
from machine.observe.disasm import disassemble

if TYPE_CHECKING:
    from collections.abc import Sequence

    from machine.kernel.kernel import Kernel
    from machine.kernel.mm.decode import Decoder
    from machine.kernel.mm.space import mm_struct
    from machine.kernel.task.task import Task
    from machine.observe.symbols import Symbols

_EFLAGS, _FS_BASE, _GS_BASE = 17, 18, 19
"""Behind the general registers and RIP in a step's `image`."""
_NAMES = "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15 rip eflags fs_base gs_base".split()  # noqa: SIM905
_NAMES32 = "eax ecx edx ebx esp ebp esi edi".split()  # noqa: SIM905
_FLAGS = ((0, "CF"), (2, "PF"), (4, "AF"), (6, "ZF"), (7, "SF"), (10, "DF"), (11, "OF"))
_FLAGS_MASK = sum(1 << bit for bit, _ in _FLAGS)
_CODE_BYTES = 15
_ENDS = ("j", "call", "ret", "loop", "syscall", "sysenter", "int", "iret", "hlt", "ud", "xbegin")
"""How the names begin of instructions that end a block."""


class Step(NamedTuple):
    """A thread before one instruction."""

    pid: int
    comm: str
    mm: int
    """`mm_struct.number`."""
    rip: int
    image: tuple[int, ...]
    """The 16 general registers, RIP, EFLAGS and the bases of FS and GS."""


class Stepped(Protocol):
    """A `Step`, or a `Hit` that has as much."""

    @property
    def pid(self) -> int: ...
    @property
    def comm(self) -> str: ...
    @property
    def mm(self) -> int: ...
    @property
    def rip(self) -> int: ...
    @property
    def image(self) -> tuple[int, ...]: ...


def image(kernel: Kernel, task: Task) -> tuple[int, ...]:
    """The registers of a thread, as `Step` has them."""
    with image_of(kernel, task) as cpu:
        return (*cpu.regs[: RIP + 1], cpu.eflags(), cpu.get_register(FS_BASE), cpu.get_register(GS_BASE))


def step_of(kernel: Kernel, task: Task) -> Step:
    """Where a thread is."""
    registers = image(kernel, task)
    return Step(task.pid, task.comm, task.mm.number, registers[RIP], registers)


class _Image:
    """A step's registers as `Operand.address` asks for them."""

    def __init__(self, values: tuple[int, ...]) -> None:
        self.regs = values

    def get_register(self, number: int) -> int:
        return self.regs[_FS_BASE if number == FS_BASE else _GS_BASE]


class Block(NamedTuple):
    """Instructions that follow one another in memory, the last of which may go elsewhere."""

    first: Stepped
    size: int
    """Instructions; a repeated string instruction is one."""


class Window:
    """Shows steps of one process's threads; of other processes it knows only the addresses."""

    def __init__(self, kernel: Kernel, mm: mm_struct, symbols: Symbols, decoder: Decoder) -> None:
        self._kernel = kernel
        self._mm = mm
        self._symbols = symbols
        self._decoder = decoder
        self._codes: dict[int, tuple[int, str]] = {}

    def _code(self, step: Stepped) -> bytes:
        return self._kernel.peek_user(self._mm, step.rip, _CODE_BYTES)

    def _decoded(self, step: Stepped) -> tuple[int, str]:
        """(length, mnemonic); (0, "") where there is no code."""
        found = self._codes.get(step.rip)
        if found is None:
            insn = self._decoder.decode(self._code(step), self._mm.bits)
            found = self._codes[step.rip] = (0, "") if insn is None else (insn.length, insn.mnemonic)
        return found

    def follows(self, step: Stepped, last: Stepped) -> Optional[int]:
        """Whether a step is in the block of the one before it: 1; 0 for the same instruction once more; None: no."""
        if step.pid != last.pid or step.mm != last.mm:
            return None
        if step.mm != self._mm.number:
            return 1
        length, mnemonic = self._decoded(last)
        if mnemonic.rpartition(" ")[2].startswith(_ENDS):  # behind a prefix like bnd
            return None
        if step.rip == last.rip:
            return 0
        return 1 if step.rip == last.rip + length else None

    def blocks(self, steps: Sequence[Stepped]) -> list[Block]:
        """The blocks of steps, oldest first."""
        found: list[Block] = []
        last: Optional[Stepped] = None
        for step in steps:
            more = None if last is None else self.follows(step, last)
            if more is None:
                found.append(Block(step, 1))
            elif more:
                found[-1] = found[-1]._replace(size=found[-1].size + 1)
            last = step
        return found

    # -- as text -------------------------------------------------------------------------------------------

    def _place(self, step: Stepped, pid: int) -> str:
        if step.mm != self._mm.number:
            return f"{step.rip:#x} of {step.comm}[{step.pid}]"
        vma = self._mm.vma_at(step.rip)
        file = None if vma is None else vma.vm_file
        mapping = None if vma is None or file is None else (file.f_path, vma.vm_start, vma.vm_pgoff << PAGE_SHIFT)
        text = f"{step.rip:#x} {self._symbols.locate(step.rip, mapping)}".rstrip()
        return text if step.pid == pid else f"{text} of {step.comm}[{step.pid}]"

    def block_line(self, block: Block, pid: int) -> str:
        """``0x40285c touch+0x4c hole.c:28   5 instructions``; the thread, where it is not `pid`."""
        if block.first.mm == self._mm.number and not self._decoded(block.first)[0]:
            return f"{self._place(block.first, pid)}   no code"
        return f"{self._place(block.first, pid)}   {block.size} instruction{'s' if block.size != 1 else ''}"

    def lines(self, steps: Sequence[Stepped], end: Optional[Stepped], pid: int) -> list[str]:
        """Each instruction with the memory that it names and the registers that it changed.

        What it changed is seen at the thread's next step, of the last one at `end`.
        """
        after: dict[int, Stepped] = {} if end is None else {end.pid: end}
        found = []
        for step in reversed(steps):
            found.append(self._line(step, after.get(step.pid), pid))
            after[step.pid] = step
        return found[::-1]

    def _line(self, step: Stepped, after: Optional[Stepped], pid: int) -> str:
        if step.mm != self._mm.number:
            return self._place(step, pid)
        parts = [self._place(step, pid), disassemble(self._code(step), self._mm.bits, step.rip)]
        parts += self._memory(step)
        if after is not None and after.mm == step.mm:
            parts += changes(step.image, after.image, self._mm.bits)
        return "   ".join(part for part in parts if part)

    def _memory(self, step: Stepped) -> list[str]:
        """``reads 0x7ffff7ff9000``: the operands' addresses, and the stack's of a push, a call and their reverse."""
        insn = self._decoder.decode(self._code(step), self._mm.bits)
        if insn is None:
            return []
        mask, word = (1 << self._mm.bits) - 1, self._mm.bits // 8
        found = []
        for each in insn.operands:
            what = "changes" if each.reads and each.writes else "writes" if each.writes else "reads"
            found.append(f"{what} {each.address(_Image(step.image), insn.length) & mask:#x}")
        name = insn.mnemonic.rpartition(" ")[2]
        if name.startswith(("push", "call")):
            found.append(f"writes {step.image[RSP] - word & mask:#x}")
        elif name.startswith(("pop", "ret", "leave")) and name != "popcnt":
            found.append(f"reads {step.image[RBP if name == 'leave' else RSP] & mask:#x}")
        return found


@cache
def _flags(value: int) -> str:
    return " ".join(name for bit, name in _FLAGS if value >> bit & 1) or "none"


def changes(old: tuple[int, ...], new: tuple[int, ...], bits: int) -> list[str]:
    """``rax = 0x0 -> 0x31``, ``eflags = CF -> PF ZF``: the registers that differ, but for RIP."""
    mask = (1 << bits) - 1
    names = _NAMES if bits == 64 else _NAMES32
    found = []
    for index, name in enumerate(names[:RIP]):
        if (old[index] ^ new[index]) & mask:
            found.append(f"{name} = {old[index] & mask:#x} -> {new[index] & mask:#x}")
    if (old[_EFLAGS] ^ new[_EFLAGS]) & _FLAGS_MASK:
        found.append(f"eflags = {_flags(old[_EFLAGS] & _FLAGS_MASK)} -> {_flags(new[_EFLAGS] & _FLAGS_MASK)}")
    for index in (_FS_BASE, _GS_BASE):
        if old[index] != new[index]:
            found.append(f"{_NAMES[index]} = {old[index]:#x} -> {new[index]:#x}")
    return found
