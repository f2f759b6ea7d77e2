"""The processor's 64 KiB of I/O ports: who answers `in` and `out`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Optional

from machine.records import NamedTuple

PORTS = 0x10000

Read = Callable[[int, int], int]
"""(offset from the range's first port, bytes) -> value."""
Write = Callable[[int, int, int], None]
"""(offset, bytes, value)."""


class PortRange(NamedTuple):
    """The ports `first` to ``end - 1``."""

    first: int
    end: int
    read: Read
    write: Write


class Ports:
    """All ports of one machine.  Nobody there: ones are read, writes are lost, and `stray` counts."""

    def __init__(self) -> None:
        self.ranges: list[PortRange] = []
        self.stray = 0

    def add(self, first: int, count: int, read: Read, write: Write) -> PortRange:
        """Answer for `count` ports from `first` on.  ValueError: somebody does, or there are no such ports."""
        if first < 0 or count < 1 or first + count > PORTS:
            raise ValueError(f"there are no ports {first:#x} to {first + count - 1:#x}")
        for each in self.ranges:
            if each.first < first + count and first < each.end:
                raise ValueError(f"ports {first:#x}-{first + count - 1:#x} are taken: {each.first:#x}")
        made = PortRange(first, first + count, read, write)
        self.ranges.append(made)
        return made

    def remove(self, gone: PortRange) -> None:
        """Undo `add`."""
        self.ranges.remove(gone)

    def _find(self, port: int, width: int) -> Optional[PortRange]:
        for each in self.ranges:
            if each.first <= port and port + width <= each.end:
                return each
        return None

    def read(self, port: int, width: int) -> int:
        """`in`: `width` 1, 2 or 4 bytes."""
        found = self._find(port, width)
        if found is None:
            self.stray += 1
            return (1 << 8 * width) - 1
        return found.read(port - found.first, width) & (1 << 8 * width) - 1

    def write(self, port: int, width: int, value: int) -> None:
        """`out`."""
        found = self._find(port, width)
        if found is None:
            self.stray += 1
            return
        found.write(port - found.first, width, value & (1 << 8 * width) - 1)
