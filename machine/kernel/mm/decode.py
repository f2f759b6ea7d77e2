"""What an instruction does to memory: its operands' addresses, widths and directions.

Capstone decodes; an instruction is decoded once and then known by its bytes.  The import is lazy: only
programs that touch device registers pay for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional, Protocol

from machine.hardware.cpu import FS_BASE, GS_BASE, RAX, RIP
from machine.records import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_NO_REGISTER = -1
_LOW = {
    name: number
    for number, names in enumerate(
        (
            "rax eax ax", "rcx ecx cx", "rdx edx dx", "rbx ebx bx", "rsp esp sp", "rbp ebp bp", "rsi esi si",
            "rdi edi di", "r8 r8d", "r9 r9d", "r10 r10d", "r11 r11d", "r12 r12d", "r13 r13d", "r14 r14d", "r15 r15d",
            "rip eip",
        )
    )
    for name in names.split()
}  # fmt: skip
_BIT_TESTS = ("bt", "bts", "btr", "btc")
_WRITERS = ("cmpxchg", "cmpxchg8b", "cmpxchg16b", "xadd", "xchg")
"""Always write their operand, which capstone does not say of all of them."""
_SEGMENT_BASES = {"fs": FS_BASE, "gs": GS_BASE}


class Registers(Protocol):
    """The processor, or what keeps the registers of another moment."""

    @property
    def regs(self) -> Sequence[int]:
        """The general registers and RIP, in the engine's order."""

    def get_register(self, number: int) -> int:
        """The base of FS or GS."""


class Operand(NamedTuple):
    """One memory operand; registers are indices into `Cpu.regs`, -1 for none."""

    base: int
    scaled: int
    scale: int
    displacement: int
    segment: int
    """The engine's number of the segment's base register, 0 where the base is 0."""
    mask: int
    """What the address size lets through: 16, 32 or 64 bits."""
    size: int
    """Bytes."""
    reads: bool
    writes: bool
    bit: int = _NO_REGISTER
    """Register of the bit number of a bt, bts, btr or btc, which reaches beyond the operand; -1 elsewhere."""

    def address(self, cpu: Registers, length: int) -> int:
        """The effective address with the registers of `cpu`; `length` is the instruction's."""
        regs = cpu.regs
        value = self.displacement
        if self.base != _NO_REGISTER:
            value += regs[self.base] & self.mask
            if self.base == RIP:
                value += length
        if self.scaled != _NO_REGISTER:
            value += (regs[self.scaled] & self.mask) * self.scale
        if self.bit != _NO_REGISTER:
            bits = 8 * self.size
            number = regs[self.bit] & (1 << bits) - 1
            value += ((number ^ 1 << bits - 1) - (1 << bits - 1)) // bits * self.size
        value &= self.mask
        if self.segment:
            value += cpu.get_register(self.segment)
        return value


class Instruction(NamedTuple):
    """As much of an instruction as concerns memory."""

    length: int
    mnemonic: str
    operands: tuple[Operand, ...]
    loads_ss: bool
    """It is a MOV or POP to SS, which holds exception 1 off until the next instruction is done (SDM vol. 3A §6.8.3)."""


class Decoder:
    """Decodes 64-bit and 32-bit code, once an instruction."""

    def __init__(self) -> None:
        self._cache: dict[tuple[int, bytes], Optional[Instruction]] = {}
        self._engines: dict[int, Any] = {}

    def decode(self, code: bytes, bits: int) -> Optional[Instruction]:
        """The instruction that `code` (up to 15 bytes) starts with; None when it is none."""
        key = (bits, code)
        if key not in self._cache:
            if len(self._cache) > 4096:
                self._cache.clear()
            self._cache[key] = self._decode(code, bits)
        return self._cache[key]

    def _engine(self, bits: int) -> Any:
        engine = self._engines.get(bits)
        if engine is None:
            import capstone

            mode = capstone.CS_MODE_64 if bits == 64 else capstone.CS_MODE_32
            engine = self._engines[bits] = capstone.Cs(capstone.CS_ARCH_X86, mode)
            engine.detail = True
        return engine

    def _decode(self, code: bytes, bits: int) -> Optional[Instruction]:
        from capstone import CS_AC_READ, CS_AC_WRITE
        from capstone.x86_const import X86_OP_MEM, X86_OP_REG, X86_REG_SS

        insn = next(self._engine(bits).disasm(code, 0, 1), None)
        if insn is None:
            return None
        bit = _NO_REGISTER
        words = insn.mnemonic.split()  # "lock bts"
        if words[-1] in _BIT_TESTS and insn.operands[1].type == X86_OP_REG:
            bit = _register(insn, insn.operands[1].reg)
        operands = []
        for op in insn.operands:
            if op.type != X86_OP_MEM or insn.mnemonic in ("lea", "nop"):
                continue
            segment = insn.reg_name(op.mem.segment) if op.mem.segment else ""
            operands.append(
                Operand(
                    _register(insn, op.mem.base), _register(insn, op.mem.index), op.mem.scale, op.mem.disp,
                    _SEGMENT_BASES.get(segment, 0), (1 << 8 * insn.addr_size) - 1, op.size,
                    bool(op.access & CS_AC_READ), bool(op.access & CS_AC_WRITE) or words[-1] in _WRITERS, bit,
                )
            )  # fmt: skip
        to = insn.operands[0] if insn.operands and insn.mnemonic in ("mov", "pop") else None
        loads_ss = to is not None and to.type == X86_OP_REG and to.reg == X86_REG_SS
        return Instruction(insn.size, insn.mnemonic, tuple(operands), loads_ss)


def _register(insn: Any, number: int) -> int:
    return _LOW.get(insn.reg_name(number), _NO_REGISTER) if number else _NO_REGISTER


assert RAX == 0 and RIP == 16
