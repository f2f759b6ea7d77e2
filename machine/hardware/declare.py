"""What is done with a register block when its class is made: the declaration is checked, and put into tables."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from machine.hardware.field import ACCESS, Effects, Field
from machine.hardware.ram import PAGE_SIZE
from machine.hardware.reg import WIDTHS, Part, Reg, RegArray, RegisterError

if TYPE_CHECKING:
    from machine.hardware.registers import RegisterBlock

Block = type["RegisterBlock"]


def wrong(text: str, *facts: Any) -> RegisterError:
    """The error whose words are `messages.TEXT(*facts)`."""
    from machine.testing import messages

    return RegisterError(getattr(messages, text)(*facts))


def complete(cls: Block, reserved: frozenset[str]) -> None:
    """Check the class and give it its tables.  RegisterError names class, attribute, file and line."""
    __tracebackhide__ = True
    from machine.hardware.parts import Memory

    members = {name: value for base in reversed(cls.__mro__) for name, value in vars(base).items()}
    parts = {name: value for name, value in members.items() if isinstance(value, Part)}
    for name, part in parts.items():
        part.name = part.name or name
        if name in reserved:
            raise wrong("name_is_taken", cls, part)
        _check(cls, part)
    ordered = sorted(parts.values(), key=lambda part: part.offset)
    cls.registers = {part.name: part for part in ordered if isinstance(part, Reg)}
    cls.arrays = {name: part for name, part in parts.items() if isinstance(part, RegArray)}
    cls.memories = {name: part for name, part in parts.items() if isinstance(part, Memory)}
    _check_overlap(cls, ordered)
    cls._known = set(members)
    cls._for_read = _sides(cls.registers.values(), lambda reg: reg.effects.readable)
    cls._for_write = _sides(cls.registers.values(), lambda reg: reg.effects.writes)
    cls._ranges = [part for part in ordered if not isinstance(part, Reg)]
    cls._hooks = _hooks(cls, members, parts)
    _settings(cls, max((part.end for part in ordered), default=1))


def _settings(cls: Block, end: int) -> None:
    __tracebackhide__ = True
    if cls.unaligned not in ("split", "refuse"):
        raise wrong("wrong_unaligned", cls)
    if "size" not in vars(cls):
        cls.size = (end + PAGE_SIZE - 1) & -PAGE_SIZE
    elif cls.size % PAGE_SIZE or cls.size < end:
        raise wrong("wrong_size", cls, end)
    if "name" not in vars(cls):
        cls.name = cls.__name__.lower()


# -- one part ------------------------------------------------------------------------------------------------


def _check(cls: Block, part: Part) -> None:
    __tracebackhide__ = True
    from machine.hardware.parts import FULL, Fifo, Memory

    if part.offset < 0:
        raise wrong("negative_offset", cls, part)
    if isinstance(part, Memory):
        if part.size < 1 or not part.reset:
            raise wrong("empty_memory", cls, part)
        if part.access not in ("rw", "ro", "wo"):
            raise wrong("memory_access", cls, part)
        part.effects = Effects(1, part.access, {})
        return
    if isinstance(part, RegArray) and (part.count < 1 or part.stride < part.one.width):
        raise wrong("wrong_array", cls, part)
    reg = part.one if isinstance(part, RegArray) else part
    assert isinstance(reg, Reg)
    if reg.width not in WIDTHS:
        raise wrong("wrong_width", cls, part, reg.width)
    _check_access(cls, part, reg)
    if not 0 <= reg.reset <= reg.mask:
        raise wrong("wrong_reset", cls, part, reg)
    if isinstance(reg, Fifo) and (reg.depth < 1 or reg.full not in FULL):
        raise wrong("wrong_fifo", cls, part)
    if isinstance(reg, Fifo) and (reg.access not in ("rw", "ro", "wo") or not (reg.empty == "last" or _fits(reg))):
        raise wrong("wrong_fifo", cls, part)
    _check_fields(cls, part, reg)
    reg.effects = Effects(reg.mask, reg.access, reg.fields)


def _fits(reg: Any) -> bool:
    return isinstance(reg.empty, int) and 0 <= reg.empty <= reg.mask


def _check_access(cls: Block, part: Part, reg: Reg) -> None:
    __tracebackhide__ = True
    for kind in (reg.access, *(getattr(field, "access", "") or reg.access for field in reg.fields.values())):
        if kind not in ACCESS:
            raise wrong("wrong_access", cls, part, kind, list(ACCESS))


def _check_fields(cls: Block, part: Part, reg: Reg) -> None:
    __tracebackhide__ = True
    taken: dict[int, str] = {}
    for name, field in reg.fields.items():
        if not isinstance(field, Field):
            raise wrong("no_field", cls, part, name, field)
        if field.lsb < 0 or field.width < 1 or field.lsb + field.width > 8 * reg.width:
            raise wrong("field_beyond", cls, part, reg, name, field)
        for other, number in field.values.items():
            if not 0 <= number < 1 << field.width:
                raise wrong("field_value_beyond", cls, part, name, field, other, number)
        for bit in range(field.lsb, field.lsb + field.width):
            if taken.setdefault(bit, name) != name:
                raise wrong("fields_overlap", cls, part, taken[bit], name, bit)


# -- together ------------------------------------------------------------------------------------------------


def _check_overlap(cls: Block, ordered: list[Part]) -> None:
    __tracebackhide__ = True
    for one, other in pairwise(ordered):
        if other.offset < one.end and not _one_each_way(one, other):
            raise wrong("overlap", cls, one, other)
    for one, _, other in zip(ordered, ordered[1:], ordered[2:], strict=False):  # behind a pair of two at one address
        if other.offset < one.end:
            raise wrong("overlap", cls, one, other)


def _one_each_way(one: Part, other: Part) -> bool:
    """A register that is only read and one that is only written can share an address, as in a UART."""
    if not isinstance(one, Reg) or not isinstance(other, Reg) or (one.offset, one.width) != (other.offset, other.width):
        return False
    kinds = [(bool(reg.effects.readable), bool(reg.effects.writes)) for reg in (one, other)]
    return sorted(kinds) == [(False, True), (True, False)]


def _sides(regs: Iterable[Reg], serves: Callable[[Reg], Any]) -> dict[int, Reg]:
    """By offset, the register that answers a read (a write): of two at one address the one that can."""
    found: dict[int, Reg] = {}
    for reg in regs:
        if reg.offset not in found or serves(reg):
            found[reg.offset] = reg
    return found


def _hooks(cls: Block, members: dict[str, Any], parts: dict[str, Part]) -> dict[tuple[str, str], tuple[str, ...]]:
    """(``read`` or ``write``, the part's name) -> the methods that are called, in order."""
    __tracebackhide__ = True
    found: dict[tuple[str, str], list[str]] = {}

    def add(kind: str, part: str, method: str) -> None:
        listed = found.setdefault((kind, part), [])
        if method not in listed:
            listed.append(method)

    for name, part in parts.items():
        for kind, methods in (("read", part.reading), ("write", part.writing)):
            if callable(members.get(f"{kind}_{name}")):
                add(kind, name, f"{kind}_{name}")
            for method in methods:
                if not callable(members.get(method)):
                    raise wrong("no_such_method", cls, part, kind, method)
                add(kind, name, method)
    for name, member in members.items():
        for kind, part in getattr(member, "_register_hooks", ()):
            if parts.get(part.name) is not part:
                raise wrong("hook_of_another_class", cls, member, kind)
            add(kind, part.name, name)
    for name, member in vars(cls).items():
        kind, _, register = name.partition("_")
        if kind in ("read", "write") and isinstance(member, types.FunctionType) and register and register not in parts:
            raise wrong("hook_without_register", cls, member, register, list(parts))
    return {key: tuple(methods) for key, methods in found.items()}
