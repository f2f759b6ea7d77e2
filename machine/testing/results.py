"""What became of a program, and the records of what it did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import total_ordering
from typing import Any, Generic, NamedTuple, Optional, TypeVar, Union, overload

from machine.events import PageFault
from machine.kernel.abi.errno import NAMES
from machine.testing.buslog import BusLog

SHOWN = 40
"""Records in a repr."""
T = TypeVar("T")


def shown(command: Sequence[str]) -> str:
    """A command line for people: of a program that `guest_cc` keeps only the name."""
    first, *others = command or ("",)
    name = first.rsplit("/", 1)[-1] if "/nopage/programs/" in first else first
    return " ".join([name, *others])


class Call(NamedTuple):
    """One system call."""

    name: str
    args: tuple[int, ...]
    """The raw registers, as many as the call has arguments."""
    result: int
    """Signed; a negative errno on failure."""
    pid: int
    rip: int
    """Address of the instruction."""
    time_ns: int
    """When it returned, on the machine's clock."""
    injected: bool = False
    """The test made this result, not the kernel."""

    @property
    def errno(self) -> str:
        """``"ENOENT"`` of one that failed, else ``""``."""
        return NAMES.get(-self.result, "") if -4096 < self.result < 0 else ""

    def __str__(self) -> str:
        args = ", ".join(f"{each:#x}" if each > 9 else str(each) for each in self.args)
        result = f"-1 {self.errno}" if self.errno else f"{self.result:#x}" if self.result > 0xFFFF else self.result
        return f"{self.name}({args}) = {result}{' (injected)' if self.injected else ''}"


def fault_text(fault: PageFault) -> str:
    """``write of 0x7ffff7ffd000 by 0x401a2c: scullp.nopage, minor``."""
    what = "fetch" if fault.error_code & 16 else "write" if fault.error_code & 2 else "read"
    who = f"by {fault.rip:#x}" if fault.rip else f"in {fault.origin}()"
    return f"{what} of {fault.address:#x} {who}: {fault.answer or 'nobody'}, {fault.outcome}"


@total_ordering
class Records(Sequence[T], Generic[T]):
    """A list of records that also compares as their number: ``r.faults[0].address``, ``len(r.faults)``,
    ``r.faults < 100``.

    `total` is how many there were; of very many only the first are kept.
    """

    def __init__(self, records: Sequence[T], total: Optional[int] = None) -> None:
        self._records = tuple(records)
        self.total = len(self._records) if total is None else total

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Records[T]: ...
    def __getitem__(self, index: Union[int, slice]) -> Union[T, Records[T]]:
        return Records(self._records[index]) if isinstance(index, slice) else self._records[index]

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[T]:
        return iter(self._records)

    def __int__(self) -> int:
        return self.total

    __index__ = __int__
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, int):
            return self.total == other
        return isinstance(other, Records) and self._records == other._records

    def __lt__(self, other: Any) -> bool:
        return self.total < int(other)

    def __add__(self, other: Any) -> int:
        return self.total + int(other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> int:
        return self.total - int(other)

    def __rsub__(self, other: Any) -> int:
        return int(other) - self.total

    def named(self, name: str) -> Records[T]:
        """Those whose `name` it is: ``r.syscalls.named("mmap")``."""
        return Records([each for each in self._records if getattr(each, "name", None) == name])

    def __str__(self) -> str:
        lines = [fault_text(each) if isinstance(each, PageFault) else str(each) for each in self._records[:SHOWN]]
        more = self.total - len(lines)
        return "\n".join([*lines, *([f"and {more} more"] if more else [])])

    def __repr__(self) -> str:
        return f"<{self.total} records>\n{self}" if self._records else "<0 records>"


@dataclass(frozen=True, repr=False)
class RunResult:
    """What became of one program."""

    exit: int
    """Its exit status, or 128 + the signal's number."""
    signal: Optional[int]
    """The signal that killed it, else None."""
    stdout: bytes
    stderr: bytes
    faults: Records[PageFault]
    """Its page faults and those of its children, in order; the number of them where a number is wanted."""
    syscalls: Records[Call]
    """Its system calls likewise."""
    bus: BusLog
    """Accesses to the registers of the test's devices while it ran, but for those of other programs of the test."""
    command: tuple[str, ...] = ()
    fatal: str = ""
    """One line on the signal that killed it: instruction, source line, address, area."""

    def __repr__(self) -> str:
        end = f"died: {self.fatal}" if self.fatal else f"exit {self.exit}"
        return (
            f"<{shown(self.command)}: {end}; {self.faults.total} faults, {self.syscalls.total} system calls, "
            f"{len(self.bus)} register accesses>"
        )
