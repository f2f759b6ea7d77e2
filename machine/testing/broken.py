"""Broken hardware: a device model whose reads or interrupts are not what the model says."""

from __future__ import annotations

import random
from typing import Any, Optional

from machine.errors import ConfigError, is_the_users
from machine.options import did_you_mean
from machine.testing import messages
from machine.testing.inject import Injection

__tracebackhide__ = is_the_users


def _register(block: Any, register: str) -> None:
    known = [*block.registers, *(f"{each.name}[{i}]" for each in block.arrays.values() for i in range(each.count))]
    if register not in known:
        raise ConfigError(messages.no_such_register(block.name, register, did_you_mean(register, known)))


def _exchange(block: Any, method: str, new: Any, made: Injection) -> Injection:
    """Put `new` before a method of this one block until the injection is off."""
    before = vars(block).get(method)
    setattr(block, method, new)

    def undo() -> None:
        if before is None:
            vars(block).pop(method, None)
        else:
            setattr(block, method, before)

    return made.undo_by(undo)


def _see(block: Any, register: str, made: Injection, shown: Any) -> Injection:
    """Have the bus read `shown(value, shift, width)` for the bytes of a register that it reads."""
    read = block.read
    where = block.registers[register].offset if register in block.registers else None

    def seen(offset: int, width: int) -> Any:
        value, touches = read(offset, width)
        changed = []
        for touch in touches:
            if touch.name != register:
                changed.append(touch)
                continue
            base = touch.offset if where is None else where
            part = shown(touch.value, 8 * (touch.offset - base), 8 * touch.width)
            if part != touch.value:
                made.hits.append(f"{block.name}.{register} read as {part:#x}, not {touch.value:#x}")
            at = 8 * (touch.offset - offset)
            value = value & ~((1 << 8 * touch.width) - 1 << at) | part << at
            changed.append(touch._replace(value=part))
        return value, changed

    return _exchange(block, "read", seen, made)


def stick(block: Any, register: str, mask: int, value: int) -> Injection:
    """`Inject.stuck`."""
    _register(block, register)
    made = Injection(f"inject.stuck({block.name!r}, {register!r}, {mask:#x}, {value:#x})", None, None)

    def shown(part: int, shift: int, bits: int) -> int:
        made.seen += 1
        whole = (1 << bits) - 1
        return part & ~(mask >> shift) & whole | value >> shift & mask >> shift & whole

    return _see(block, register, made, shown)


def delay(block: Any, register: str, us: Optional[float], reads: Optional[int]) -> Injection:
    """`Inject.delayed`."""
    _register(block, register)
    if (us is None) == (reads is None):
        raise ConfigError(messages.us_or_reads(block.name, register))
    how = f"us={us:g}" if us is not None else f"reads={reads}"
    made = Injection(f"inject.delayed({block.name!r}, {register!r}, {how})", None, None)
    old: dict[tuple[int, int], tuple[int, int, int]] = {}
    """(shift, bits) -> what is shown, since when the model has another value (-1: it has none), reads since."""

    def shown(part: int, shift: int, bits: int) -> int:
        made.seen += 1
        now = block.now()
        was, since, count = old.get((shift, bits), (part, -1, 0))
        if part == was:
            old[shift, bits] = (part, -1, 0)
            return part
        since = now if since < 0 else since
        over = count >= reads if reads is not None else now - since >= (us or 0) * 1000
        old[shift, bits] = (part, -1, 0) if over else (was, since, count + 1)
        return part if over else was

    first = block.read(block.registers[register].offset, block.registers[register].width)[0]
    old[0, 8 * block.registers[register].width] = (first, -1, 0)
    return _see(block, register, made, shown)


def lose(block: Any, nth: Optional[int], times: Optional[int], probability: Optional[float], seed: int) -> Injection:
    """`Inject.lost_irq`."""
    if probability is not None and (nth is not None or not 0 <= probability <= 1):
        raise ConfigError(messages.bad_probability(probability, nth))
    how = (
        f"probability={probability:g}, seed={seed}" if probability is not None else "" if nth is None else f"nth={nth}"
    )
    made = Injection(f"inject.lost_irq({block.name!r}{', ' if how else ''}{how})", nth, times)
    chance = random.Random(seed)

    def lost() -> bool:
        hit = made.due() and (probability is None or chance.random() < probability)
        if hit:
            made.hits.append(f"interrupt {made.seen} of {block.name}")
        return hit

    raise_irq, hold_irq = block.raise_irq, block.hold_irq

    def edge() -> None:
        if not lost():
            raise_irq()

    def level() -> None:
        if not lost():
            hold_irq()

    _exchange(block, "hold_irq", level, made)
    undo_level = made._undo
    _exchange(block, "raise_irq", edge, made)
    undo_edge = made._undo
    return made.undo_by(lambda: (undo_level(), undo_edge(), None)[-1])
