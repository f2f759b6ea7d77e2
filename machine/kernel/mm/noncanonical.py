"""Which exception an address that is not canonical makes: #SS for a reference to the stack, #GP for others.

The engine has #GP for all of them.  A reference to the stack is one of PUSH, POP, CALL, RET, ENTER and LEAVE to RSP or
RBP, or an operand with one of them for its base and no FS or GS before it (SDM vol. 1 §3.7.4; vol. 3A §6.15, "Stack
Fault").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.hardware.cpu import RBP, RSP

if TYPE_CHECKING:
    from machine.kernel.mm.decode import Instruction, Registers

_ON_STACK = ("push", "pushfq", "pop", "popfq", "call", "ret", "enter")


def is_canonical(address: int) -> bool:
    """Whether bits 63 to 47 are all the same; `address` is unsigned."""
    return not 1 << 47 <= address & (1 << 64) - 1 < (1 << 64) - (1 << 47)


def is_stack_fault(instruction: Instruction, cpu: Registers) -> bool:
    """Whether 64-bit code's instruction, with these registers, refers to the stack at a non-canonical address."""
    name = instruction.mnemonic.split()[-1]
    if name in _ON_STACK or name == "leave":
        pointer = cpu.regs[RBP if name == "leave" else RSP]
        pushes = name in ("push", "pushfq", "call", "enter")
        if not is_canonical(pointer - 8 if pushes else pointer):
            return True
    return any(
        operand.base in (RSP, RBP) and not operand.segment
        and not is_canonical(operand.address(cpu, instruction.length))
        for operand in instruction.operands
    )  # fmt: skip
