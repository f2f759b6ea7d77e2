"""The record of register accesses that a test looks at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Optional, Union, overload

from machine.events import RegisterAccess

Pair = tuple[str, int]


class BusLog(Sequence[RegisterAccess]):
    """Accesses to device registers in the order in which they were made.

    One `RegisterAccess` a register touched: an access over two registers is two of them, with the same `width`
    and `rip`.  A name is a register's, or ``device.register`` where several devices have it.
    """

    def __init__(self, accesses: Iterable[RegisterAccess]) -> None:
        self._accesses = tuple(accesses)

    def __len__(self) -> int:
        return len(self._accesses)

    @overload
    def __getitem__(self, index: int) -> RegisterAccess: ...
    @overload
    def __getitem__(self, index: slice) -> BusLog: ...
    def __getitem__(self, index: Union[int, slice]) -> Union[RegisterAccess, BusLog]:
        return BusLog(self._accesses[index]) if isinstance(index, slice) else self._accesses[index]

    def __iter__(self) -> Iterator[RegisterAccess]:
        return iter(self._accesses)

    def __repr__(self) -> str:
        return f"<BusLog of {len(self)} accesses>\n{self}"

    def __str__(self) -> str:
        return "\n".join(f"{'write' if each.write else 'read '} {_whole(each)}" for each in self)

    def of(self, device: str) -> BusLog:
        """The accesses to one device."""
        return BusLog(each for each in self if each.device == device)

    def to(self, register: str) -> BusLog:
        """The accesses to one register (``ctrl``, ``timer.ctrl``)."""
        return BusLog(each for each in self if _is(each, register))

    def writes(self, register: Optional[str] = None) -> list[Pair]:
        """(register, value) of each write, of all or of one register."""
        return [(each.register, each.value) for each in self._kind(True, register)]

    def reads(self, register: Optional[str] = None) -> list[Pair]:
        """(register, value) of each read, of all or of one register."""
        return [(each.register, each.value) for each in self._kind(False, register)]

    def _kind(self, write: bool, register: Optional[str]) -> list[RegisterAccess]:
        return [each for each in self if each.write == write and (register is None or _is(each, register))]

    # -- assertions: each raises AssertionError with both sides, or returns None ------------------

    def assert_writes(self, expected: Sequence[Pair]) -> None:
        """Exactly these writes, in this order: ``[("period", 1000), ("ctrl", 1)]``."""
        self._compare("writes", expected, self._kind(True, None))

    def assert_reads(self, expected: Sequence[Pair]) -> None:
        """Exactly these reads, in this order, with the values that the device gave."""
        self._compare("reads", expected, self._kind(False, None))

    def assert_no_access_to(self, *registers: str) -> None:
        """Nobody read or wrote any of these registers."""
        found = [each for each in self if any(_is(each, name) for name in registers)]
        if found:
            lines = "\n".join(f"  {'write' if each.write else 'read '} {_whole(each)}" for each in found)
            raise AssertionError(f"no access to {', '.join(registers)} was expected; there were {len(found)}:\n{lines}")

    def _compare(self, what: str, expected: Sequence[Pair], actual: Sequence[RegisterAccess]) -> None:
        if len(expected) == len(actual) and all(_same(a, pair) for a, pair in zip(actual, expected, strict=True)):
            return
        rows = []
        for number, (pair, access) in enumerate(zip_longest(expected, actual)):
            same = pair is not None and access is not None and _same(access, pair)
            left = "(nothing)" if pair is None else f"{pair[0]} = {_value(pair[1])}"
            right = "(nothing)" if access is None else _whole(access)
            rows.append(f"{' ' if same else '>'} {number:>3}  {left:<28} {right}")
        head = f"register {what} differ: {len(expected)} expected, {len(actual)} made"
        raise AssertionError("\n".join([head, f"       {'expected':<28} actual", *rows]))


def _is(access: RegisterAccess, name: str) -> bool:
    return name in (access.register, f"{access.device}.{access.register}")


def _same(access: RegisterAccess, pair: Pair) -> bool:
    return _is(access, pair[0]) and access.value == pair[1]


def _value(value: int) -> str:
    return f"{value:#x} ({value})" if value > 9 else str(value)


def _whole(access: RegisterAccess) -> str:
    name = access.register or f"{access.offset:#x} (no register)"
    who = f"at {access.rip:#x}, process {access.pid}" if access.rip else f"by the kernel for process {access.pid}"
    width = f"{access.width} byte{'' if access.width == 1 else 's'}"
    return f"{access.device}.{name} = {_value(access.value)}, {width} {who}"
