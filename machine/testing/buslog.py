"""The record of register accesses that a test looks at."""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Optional, Union, overload

from machine.events import RegisterAccess

if TYPE_CHECKING:
    from machine.accesses import Context
    from machine.machine import Machine, Result

Pair = tuple[str, int]


class _Any:
    """Equal to whatever there is."""

    def __repr__(self) -> str:
        return "ANY"


ANY = _Any()
"""Any value: ``("count", ANY)``."""

Value = Union[int, str, _Any, Mapping[str, Any], Callable[[int], object], Container[int]]
Expected = Union[str, tuple[Any, ...], Any]
"""``("ctrl", 1)``, ``"ctrl"`` for any value, ``...`` for any number of accesses, and where reads and writes are mixed
``("write", "ctrl", 1)``."""


class BusLog(Sequence[RegisterAccess]):
    """Accesses to device registers in the order in which they were made.

    One `RegisterAccess` a register touched: an access over two registers is two of them, with the same `width`
    and `rip`.  A name is a register's, or ``device.register`` where several devices have it.

    What an assertion expects of an access is a value, ANY, a mapping of fields (``{"enable": 1, "mode": "slow"}``), a
    function of the value, or something that it is in: a set or a range.  ``...`` stands for any number of accesses.
    """

    def __init__(
        self,
        accesses: Iterable[RegisterAccess],
        machine: Union[Machine, Context, None] = None,
        indices: Optional[Iterable[int]] = None,
    ) -> None:
        self._accesses = tuple(accesses)
        self.context = _context(machine)
        """What is known of the devices and of the programs; None for a list without a machine."""
        self.indices = tuple(range(len(self._accesses)) if indices is None else indices)
        """Of each access, which of the machine's it is."""

    @classmethod
    def of_result(cls, machine: Machine, result: Result) -> BusLog:
        """The accesses that were made while a program ran."""
        first = result.first_access
        return cls(result.bus, machine, range(first, first + len(result.bus)))

    @classmethod
    def of_machine(cls, machine: Machine) -> BusLog:
        """All accesses since the machine was made: for a test that looks while programs still run."""
        return cls(machine.kernel.bus.record, machine)

    def __len__(self) -> int:
        return len(self._accesses)

    @overload
    def __getitem__(self, index: int) -> RegisterAccess: ...
    @overload
    def __getitem__(self, index: slice) -> BusLog: ...
    def __getitem__(self, index: Union[int, slice]) -> Union[RegisterAccess, BusLog]:
        if isinstance(index, slice):
            return BusLog(self._accesses[index], self.context, self.indices[index])
        return self._accesses[index]

    def __iter__(self) -> Iterator[RegisterAccess]:
        return iter(self._accesses)

    def __repr__(self) -> str:
        return f"<BusLog of {len(self)} accesses>\n{self}"

    def __str__(self) -> str:
        from itertools import groupby

        from machine.testing import messages
        from machine.testing.explain import whole

        lines = (f"{'write' if each.write else 'read '} {whole(each, self.context)}" for each in self)
        return "\n".join(line + messages.times(sum(1 for _ in same)) for line, same in groupby(lines))

    def _where(self, wanted: Callable[[RegisterAccess], bool]) -> BusLog:
        kept = [(a, i) for a, i in zip(self._accesses, self.indices, strict=True) if wanted(a)]
        return BusLog([a for a, _ in kept], self.context, [i for _, i in kept])

    def of(self, device: str) -> BusLog:
        """The accesses to one device."""
        return self._where(lambda each: each.device == device)

    def to(self, register: str) -> BusLog:
        """The accesses to one register (``ctrl``, ``timer.ctrl``)."""
        __tracebackhide__ = True
        self._check_names([register])
        return self._where(lambda each: is_named(each, register))

    def writes(self, register: Optional[str] = None) -> list[Pair]:
        """(register, value) of each write, of all or of one register."""
        __tracebackhide__ = True
        return [(each.register, each.value) for each in self._kind(True, register)]

    def reads(self, register: Optional[str] = None) -> list[Pair]:
        """(register, value) of each read, of all or of one register."""
        __tracebackhide__ = True
        return [(each.register, each.value) for each in self._kind(False, register)]

    def _kind(self, write: bool, register: Optional[str] = None) -> BusLog:
        __tracebackhide__ = True
        if register is not None:
            self._check_names([register])
        return self._where(lambda each: each.write == write and (register is None or is_named(each, register)))

    # -- assertions: each raises AssertionError with both sides, or returns None ------------------

    def assert_writes(self, expected: Sequence[Expected], *, strict: bool = True) -> None:
        """Exactly these writes, in this order: ``[("period", 1000), ("ctrl", 1)]``.

        Not `strict`: others may come before, between and after.  RegisterError for a name that no device has.
        """
        __tracebackhide__ = True
        self._compare("writes", expected, self._kind(True), strict)

    def assert_reads(self, expected: Sequence[Expected], *, strict: bool = True) -> None:
        """Exactly these reads, in this order, with the values that the device gave.  `strict` as in `assert_writes`."""
        __tracebackhide__ = True
        self._compare("reads", expected, self._kind(False), strict)

    def assert_accesses(self, expected: Sequence[Expected], *, strict: bool = True) -> None:
        """Exactly these reads and writes: ``[("write", "ctrl", 1), ("read", "count", ANY)]``."""
        __tracebackhide__ = True
        self._compare("accesses", expected, self, strict)

    def assert_no_access_to(self, *registers: str) -> None:
        """Nobody read or wrote any of these registers."""
        __tracebackhide__ = True
        self._check_names(registers)
        found = self._where(lambda each: any(is_named(each, name) for name in registers))
        if found:
            from itertools import groupby

            from machine.testing import messages
            from machine.testing.explain import story, whole

            lines = [f"{'write' if each.write else 'read '} {whole(each, self.context)}" for each in found]
            folded = [line + messages.times(sum(1 for _ in same)) for line, same in groupby(lines)]
            raise AssertionError(messages.access_made(registers, len(lines), folded, story(found, 0)))

    def _compare(self, what: str, expected: Sequence[Expected], actual: BusLog, strict: bool) -> None:
        __tracebackhide__ = True
        from machine.testing.expect import compare, parse

        wanted = [parse(each, what, called_from()) for each in expected]
        self._check_names([each.name for each in wanted if each is not None], wanted)
        text = compare(what, wanted, actual, strict)
        if text:
            raise AssertionError(text)

    def _check_names(self, names: Iterable[str], wanted: Sequence[Any] = ()) -> None:
        __tracebackhide__ = True
        if self.context is not None:
            for name in names:
                self.context.check_register(name, called_from())
            for each in wanted:
                if each is not None and isinstance(each.value, Mapping):
                    self.context.check_fields(each.name, each.value, called_from())


def _context(machine: Union[Machine, Context, None]) -> Optional[Context]:
    if machine is None:
        return None
    from machine.accesses import Context

    return machine if isinstance(machine, Context) else Context(machine)


def is_named(access: RegisterAccess, name: str) -> bool:
    """Whether `name` means the register of this access: its name, or that of the memory that it is in."""
    register = access.register
    if name in (register, f"{access.device}.{register}"):
        return True
    memory, plus, _ = register.partition("+")
    return bool(plus) and name in (memory, f"{access.device}.{memory}")


def called_from() -> tuple[str, int]:
    """File and line of the test that asked."""
    frame = sys._getframe(1)
    here = __name__.rpartition(".")[0]
    while str(frame.f_globals.get("__name__", "")).startswith(here) and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno
