"""What the programs of the tests have run: lines of source (--nopage-cov), blocks of code (--nopage-drcov).

One object stands for what a test adds to; copies of the process and processes of pytest-xdist send what they have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from machine.machine import Machine
    from machine.observe.coverage import Coverage
    from machine.observe.drcov import Blocks


class Covered:
    """Where the runs of a test are added up."""

    def __init__(self, lines: Optional[Coverage] = None, blocks: Sequence[Blocks] = ()) -> None:
        self.lines = lines
        self.blocks = blocks
        """The same blocks go to each of them: those of all tests, those of this one."""

    def watch(self, machine: Machine, sources_of: Callable[[str], Iterable[str]]) -> list[Any]:
        """Watch a machine; what it gives is closed before the machine is.  `sources_of`: directories, by program."""
        closers: list[Any] = []
        if self.lines is not None:
            from machine.observe.coverage import LineCounter

            closers.append(LineCounter(machine.kernel, machine.read_file, self.lines, sources_of))
        if self.blocks:
            from machine.observe.drcov import BlockView

            closers.append(BlockView(machine.kernel, self.blocks))
        return closers

    def fresh(self) -> Covered:
        """An empty one for another process, which packs it when it is done."""
        return Covered(None if self.lines is None else type(self.lines)(), [type(b)() for b in self.blocks[:1]])

    def pack(self) -> dict[str, Any]:
        """Plain lists, strings, numbers and bytes."""
        return {
            "lines": None if self.lines is None else self.lines.pack(),
            "blocks": self.blocks[0].pack() if self.blocks else None,
        }

    def add_packed(self, packed: dict[str, Any]) -> None:
        """Add what another process has packed."""
        if self.lines is not None and packed["lines"]:
            self.lines.add_packed(packed["lines"])
        for each in self.blocks:
            each.add_packed(packed["blocks"] or [])
