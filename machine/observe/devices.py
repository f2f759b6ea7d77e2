"""What the registers of devices hold, for whoever stands at a stop: nothing is read through the bus, no hook runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from machine.hardware.parts import Fifo

if TYPE_CHECKING:
    from machine.hardware.bus import Attachment
    from machine.hardware.reg import Reg
    from machine.hardware.registers import RegisterBlock
    from machine.kernel.kernel import Kernel

ELEMENTS_SHOWN = 16
"""Of an array, of those that do not hold their reset value."""


def device_registers(kernel: Kernel, words: list[str]) -> str:
    """``registers``: of all devices, or of those that are named.  ValueError: there is none of that name."""
    blocks = kernel.bus.blocks
    names = [each.block.name for each in blocks]
    for word in words:
        if word not in names:
            raise ValueError(f"there is no device '{word}'; there are: {', '.join(names) or 'none'}")
    lines = [line for each in blocks if not words or each.block.name in words for line in _block(each)]
    return "".join(f"{line}\n" for line in lines) or "no device has registers here\n"


def _block(where: Attachment) -> Iterator[str]:
    block = where.block
    yield f"{block.name} at {where.start:#x}"
    for reg in block.registers.values():
        yield _line(block, reg)
    for array in block.arrays.values():
        changed = [index for index in range(array.count) if _value(block, array.reg(index)) != array.one.reset]
        for index in changed[:ELEMENTS_SHOWN]:
            yield _line(block, array.reg(index))
        rest = len(changed) - ELEMENTS_SHOWN
        more = f"{rest} more differ from" if rest > 0 else "the others hold" if changed else "all hold"
        yield f"  {array.offset:#06x}  {array.name:<12} {array.count} registers, {more} {array.one.reset:#x}"
    for memory in block.memories.values():
        yield f"  {memory.offset:#06x}  {memory.name:<12} {memory.size} bytes of memory"


def _value(block: RegisterBlock, reg: Reg) -> int:
    return block.values.get(reg.name, reg.reset)


def _line(block: RegisterBlock, reg: Reg) -> str:
    value = _value(block, reg)
    start = f"  {reg.offset:#06x}  {reg.name:<12} {reg.access:<4}"
    if isinstance(reg, Fifo):
        return f"{start} {value} of {reg.depth} entries"
    fields = ", ".join(f"{name}={field.name_of(field.of(value))}" for name, field in reg.fields.items())
    hook = "  a read runs its hook" if ("read", reg.hook) in type(block)._hooks else ""
    return f"{start} {value:#0{2 + 2 * reg.width}x}{f' ({fields})' if fields else ''}{hook}"
