"""Accesses of programs to physical addresses where no device is: a wrong base address, mostly.

They read as ones and writes are lost, as on a PC, so nothing else tells.  A program's mapping that leads to such an
address is kept when it is made, with its place in the program; the accesses are counted by the engine's side
(hardware/holes.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from machine.events import VmaChange
from machine.hardware.paging import P
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.mm.pte import DEVICE, PTE_PFN
from machine.observe.sources import Sources

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

PAGES_LOOKED_AT = 4096
NAMED = 3
"""Devices that are named in a line, the nearest."""


class Mapped(NamedTuple):
    """A program's mapping of addresses where nobody is, or not everywhere."""

    comm: str
    place: str
    """``main+0x41 timerctl.c:12``."""
    path: str
    pages: tuple[int, ...]
    """Physical addresses of the pages where nobody is."""


class NobodyThere:
    """Of one machine, from now on."""

    def __init__(self, kernel: Kernel, read_file: Callable[[str], bytes]) -> None:
        self.kernel = kernel
        self.mapped: list[Mapped] = []
        self._sources = Sources(kernel, read_file)
        self._told: set[Mapped] = set()
        self.touched: dict[int, list[int]] = {}
        """Page -> reads and writes."""
        kernel.cpu.holes.touched = self.touched
        kernel.events.listen("vma", self._on_change)

    def _on_change(self, change: VmaChange) -> None:
        task = self.kernel.current
        if change.what != "open" or not change.name.startswith(("/dev/", "/sys/")) or task is None or task.mm is None:
            return
        mm, bus, mem = task.mm, self.kernel.bus, self.kernel.mem
        pages = []
        end = min(change.vm_end, change.vm_start + PAGES_LOOKED_AT * PAGE_SIZE)
        for address in range(change.vm_start, end, PAGE_SIZE):
            entry = mm.tables.get(address)
            physical = entry & PTE_PFN
            if (
                entry & P
                and not entry & DEVICE
                and not mem.pfn_valid(physical >> PAGE_SHIFT)
                and not bus.answers(physical)
            ):
                pages.append(physical)
        known = any(each.pages == tuple(pages) and each.comm == task.comm for each in self.mapped)  # fork copies areas
        if pages and not known:
            self.mapped.append(Mapped(task.comm, self._sources.here(task), change.name, tuple(pages)))

    def lines(self) -> list[str]:
        """``0x40010000 was mapped by timerctl (main timerctl.c:12), no device is there: ...``: what is new."""
        from machine.testing import messages

        found = []
        for each in self.mapped:
            pages = [page for page in each.pages if page in self.touched and not self.kernel.bus.answers(page)]
            if pages and each not in self._told:
                self._told.add(each)
                counts = [sum(self.touched[page][kind] for page in pages) for kind in (0, 1)]
                found.append(
                    messages.nobody_there(pages[0], each.comm, each.place, each.path, counts, self._nearest(pages[0]))
                )
        return found

    def _nearest(self, physical: int) -> list[tuple[str, int, int]]:
        """(name, first, last address) of the test's devices, the nearest first."""
        blocks = [each for each in self.kernel.bus.blocks if each.recorded]
        blocks.sort(key=lambda each: abs(each.start - physical))
        return [(type(each.block).__name__, each.start, each.end - 1) for each in blocks[:NAMED]]


__all__ = ["NobodyThere"]
