"""Physical addresses that are not RAM: what nobody claims reads as ones; device memory is put into it."""

from __future__ import annotations

from typing import Any

from machine.hardware.ram import ISA_HOLE_END, ISA_HOLE_START, PCI_HOLE_END, PCI_HOLE_START, Ram

PHYSICAL_END = 1 << 40
"""Where the highest hole ends."""


class Holes:
    """The unclaimed ranges of `engine`, whose `ram` is mapped; `access` is the engine's "read, write, execute"."""

    def __init__(self, engine: Any, ram: Ram, access: int) -> None:
        self._engine = engine
        self._access = access
        engine.mem_map_ptr(ISA_HOLE_START, ISA_HOLE_END - ISA_HOLE_START, access, ram.address + ISA_HOLE_START)
        self._unclaimed: list[tuple[int, int]] = []
        for start, end in (
            (min(ram.limit, PCI_HOLE_START), PCI_HOLE_END),
            (max(ram.limit, PCI_HOLE_END), PHYSICAL_END),
        ):
            self._leave(start, end)
            self._unclaimed.append((start, end))

    def _leave(self, start: int, end: int) -> None:
        """Answer with ones, as a bus without a target does (master abort)."""
        self._engine.mmio_map(start, end - start, _float_read, None, _float_write, None)

    def map_memory(self, physical: int, size: int, host_address: int) -> None:
        """Put `size` bytes at `host_address` at `physical`; ValueError unless they are inside one unclaimed range."""
        end = physical + size
        hole = next((each for each in self._unclaimed if each[0] <= physical and end <= each[1]), None)
        if hole is None:
            raise ValueError(f"device memory {physical:#x}-{end - 1:#x} is not in a hole of the memory map")
        self._engine.mem_unmap(hole[0], hole[1] - hole[0])
        self._engine.mem_map_ptr(physical, size, self._access, host_address)
        parts = [(a, b) for a, b in ((hole[0], physical), (end, hole[1])) if a < b]
        for a, b in parts:
            self._leave(a, b)
        where = self._unclaimed.index(hole)
        self._unclaimed[where : where + 1] = parts


def _float_read(_engine: Any, _offset: int, size: int, _data: Any) -> int:
    return (1 << (8 * size)) - 1


def _float_write(_engine: Any, _offset: int, _size: int, _value: int, _data: Any) -> None:
    return None
