"""Physical addresses that are not RAM: what nobody claims reads as ones; device memory is put into it."""

from __future__ import annotations

from typing import Any, Optional

from machine.hardware.ram import (
    ISA_HOLE_END,
    ISA_HOLE_START,
    PAGE_MASK,
    PCI_HOLE_END,
    PCI_HOLE_START,
    PHYSICAL_END,
    Ram,
)

CARD_MEMORY = (0xE800_0000, 0xEC00_0000)
"""Where a display card has its memory.  A piece of its own from the start: the engine unmaps page by page, and to
cut it out of the whole hole later takes 45 ms."""


class Holes:
    """The unclaimed ranges of `engine`, whose `ram` is mapped; `access` is the engine's "read, write, execute"."""

    def __init__(self, engine: Any, ram: Ram, access: int) -> None:
        self._engine = engine
        self._access = access
        engine.mem_map_ptr(ISA_HOLE_START, ISA_HOLE_END - ISA_HOLE_START, access, ram.address + ISA_HOLE_START)
        self.touched: Optional[dict[int, list[int]]] = None
        """Where somebody wants to know: page -> how often the guest has read and written it."""
        self._unclaimed: list[tuple[int, int]] = []
        for start, end in (
            (min(ram.limit, PCI_HOLE_START), CARD_MEMORY[0]),
            CARD_MEMORY,
            (CARD_MEMORY[1], PCI_HOLE_END),
            (max(ram.limit, PCI_HOLE_END), PHYSICAL_END),
        ):
            self._leave(start, end)
            self._unclaimed.append((start, end))

    def _leave(self, start: int, end: int) -> None:
        """Answer with ones, as a bus without a target does (master abort)."""
        self._engine.mmio_map(start, end - start, self._float_read, start, self._float_write, start)

    def _float_read(self, _engine: Any, offset: int, size: int, start: int) -> int:
        if self.touched is not None:
            self.touched.setdefault(start + offset & PAGE_MASK, [0, 0])[0] += 1
        return (1 << (8 * size)) - 1

    def _float_write(self, _engine: Any, offset: int, _size: int, _value: int, start: int) -> None:
        if self.touched is not None:
            self.touched.setdefault(start + offset & PAGE_MASK, [0, 0])[1] += 1

    def map_memory(self, physical: int, size: int, host_address: int) -> None:
        """Put `size` bytes at `host_address` at `physical`; ValueError unless nobody claims any of them yet."""
        end = physical + size
        pieces = [each for each in self._unclaimed if each[0] < end and physical < each[1]]
        if sum(min(end, b) - max(physical, a) for a, b in pieces) != size:
            raise ValueError(f"device memory {physical:#x}-{end - 1:#x} is not in a hole of the memory map")
        for a, b in pieces:
            self._engine.mem_unmap(a, b - a)
            self._unclaimed.remove((a, b))
        self._engine.mem_map_ptr(physical, size, self._access, host_address)
        for a, b in ((pieces[0][0], physical), (end, pieces[-1][1])):
            if a < b:
                self._leave(a, b)
                self._unclaimed.append((a, b))
        self._unclaimed.sort()

    def unmap_memory(self, physical: int, size: int) -> None:
        """Undo `map_memory`: nobody claims these addresses any more."""
        self._engine.mem_unmap(physical, size)
        self._leave(physical, physical + size)
        self._unclaimed.append((physical, physical + size))
        self._unclaimed.sort()
