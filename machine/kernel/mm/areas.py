"""The sorted set of areas of one address space.

Blocks of at most `_BLOCK` areas, each with its areas' starts beside them for bisection and a bound of its
gaps: finding, inserting and searching for room stay cheap with 100,000 areas.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Optional

from machine.hardware.ram import PAGE_SHIFT
from machine.kernel.mm.vma import VM_GROWSDOWN, vm_area_struct

_BLOCK = 128
STACK_GUARD_GAP = 256 << PAGE_SHIFT
"""Bytes kept free below a stack (mm/mmap.c: stack_guard_gap)."""


def vm_start_gap(vma: vm_area_struct) -> int:
    """Start of an area with the guard gap below it, if it is a stack."""
    return vma.vm_start - STACK_GUARD_GAP if vma.vm_flags & VM_GROWSDOWN else vma.vm_start


class _Block:
    __slots__ = ("areas", "gap", "starts")

    def __init__(self, areas: list[vm_area_struct], starts: list[int], gap: int) -> None:
        self.areas = areas
        self.starts = starts
        self.gap = gap
        """No gap between two neighbours of this block is larger (bytes).  Kept by whatever makes one larger; what makes
        them smaller leaves it, and a search that was led astray by it makes it exact."""

    def widen(self, j: int) -> None:
        """The gap below area `j` may have grown, if that has a neighbour there."""
        areas = self.areas
        if 0 < j < len(areas):
            room = areas[j].vm_start - areas[j - 1].vm_end
            if room > self.gap:
                self.gap = room

    def has_room(self, length: int) -> bool:
        """Whether there is a gap of `length` bytes between two neighbours."""
        if self.gap < length:
            return False
        self.measure()
        return self.gap >= length

    def measure(self) -> None:
        """Make the bound exact."""
        gap, end = 0, self.starts[0]
        for vma in self.areas:
            start = vma.vm_start
            if start - end > gap:
                gap = start - end
            end = vma.vm_end
        self.gap = gap


class AreaList:
    """Areas in the order of their addresses, never overlapping."""

    __slots__ = ("_blocks", "_firsts", "count")

    def __init__(self) -> None:
        self._blocks: list[_Block] = []
        self._firsts: list[int] = []
        self.count = 0
        """`mm->map_count`."""

    def __iter__(self) -> Iterator[vm_area_struct]:
        for block in self._blocks:
            yield from block.areas

    def __len__(self) -> int:
        return self.count

    def find(self, address: int) -> Optional[vm_area_struct]:
        """The first area that ends above `address` (mm/mmap.c: find_vma), or None."""
        i = bisect_right(self._firsts, address) - 1
        if i < 0:
            return self._blocks[0].areas[0] if self._blocks else None
        block = self._blocks[i]
        j = bisect_right(block.starts, address) - 1
        vma = block.areas[j]
        if vma.vm_end > address:
            return vma
        j += 1
        if j < len(block.areas):
            return block.areas[j]
        i += 1
        return self._blocks[i].areas[0] if i < len(self._blocks) else None

    def before(self, address: int) -> Optional[vm_area_struct]:
        """The last area that starts below `address`, or None."""
        i = bisect_left(self._firsts, address) - 1
        if i < 0:
            return None
        block = self._blocks[i]
        return block.areas[bisect_left(block.starts, address) - 1]

    def within(self, start: int, end: int) -> list[vm_area_struct]:
        """The areas that overlap [start, end), in order."""
        blocks = self._blocks
        i = bisect_right(self._firsts, start) - 1
        if i < 0:
            if not blocks:
                return []
            i = 0
        block = blocks[i]
        first = bisect_right(block.starts, start) - 1
        if first < 0 or block.areas[first].vm_end <= start:
            first += 1
        last = bisect_left(block.starts, end, first)
        found = block.areas[first:last]
        while last == len(block.areas) and i + 1 < len(blocks):
            i += 1
            block = blocks[i]
            last = bisect_left(block.starts, end)
            found += block.areas[:last]
        return found

    def _at(self, i: int, j: int) -> Optional[vm_area_struct]:
        """The area at place `j` of block `i`, or the first of the next block; None at the end."""
        blocks = self._blocks
        if i >= 0:
            areas = blocks[i].areas
            if j < len(areas):
                return areas[j]
        i += 1
        return blocks[i].areas[0] if i < len(blocks) else None

    def beside(self, address: int) -> tuple[Optional[vm_area_struct], Optional[vm_area_struct]]:
        """The last area that starts below `address` and the first that starts there or above; None: there is none."""
        i = bisect_left(self._firsts, address) - 1
        if i < 0:
            return None, self._at(i, 0)
        block = self._blocks[i]
        j = bisect_left(block.starts, address)
        return block.areas[j - 1], self._at(i, j)

    def around(self, vma: vm_area_struct) -> tuple[Optional[vm_area_struct], Optional[vm_area_struct]]:
        """The neighbours of one of the areas."""
        i, j = self._place(vma)
        areas = self._blocks[i].areas
        j += 1
        after = areas[j] if j < len(areas) else self._at(i, j)
        if j > 1:
            return areas[j - 2], after
        return (self._blocks[i - 1].areas[-1] if i else None), after

    def insert(self, vma: vm_area_struct) -> tuple[Optional[vm_area_struct], Optional[vm_area_struct]]:
        """Add an area; its neighbours, as `around` gives them."""
        start = vma.vm_start
        self.count += 1
        i = bisect_right(self._firsts, start) - 1
        if i < 0:
            if not self._blocks:
                self._blocks.append(_Block([vma], [start], 0))
                self._firsts.append(start)
                return None, None
            i = 0
        block = self._blocks[i]
        areas = block.areas
        j = bisect_right(block.starts, start)
        after = areas[j] if j < len(areas) else self._at(i, j)
        before = areas[j - 1] if j else None  # only the first block may get an area before its first
        areas.insert(j, vma)
        block.starts.insert(j, start)
        if j == 0:
            self._firsts[i] = start
            block.widen(1)
        elif j == len(areas) - 1:
            block.widen(j)
        if len(areas) > _BLOCK:
            self._split(i)
        return before, after

    def _split(self, i: int) -> None:
        block, half = self._blocks[i], _BLOCK // 2
        upper = _Block(block.areas[half:], block.starts[half:], block.gap)
        del block.areas[half:], block.starts[half:]
        block.measure()
        upper.measure()
        self._blocks.insert(i + 1, upper)
        self._firsts.insert(i + 1, upper.starts[0])

    def _place(self, vma: vm_area_struct) -> tuple[int, int]:
        i = bisect_right(self._firsts, vma.vm_start) - 1
        j = bisect_left(self._blocks[i].starts, vma.vm_start)
        return i, j

    def remove(self, vma: vm_area_struct) -> None:
        i, j = self._place(vma)
        block = self._blocks[i]
        del block.areas[j], block.starts[j]
        block.widen(j)
        self.count -= 1
        if not block.areas:
            del self._blocks[i], self._firsts[i]
        elif j == 0:
            self._firsts[i] = block.starts[0]

    def remove_run(self, run: list[vm_area_struct]) -> None:
        """Remove areas that follow each other."""
        i, j = self._place(run[0])
        block, end = self._blocks[i], j + len(run)
        if not 0 < j < end <= len(block.areas):
            for vma in run:
                self.remove(vma)
            return
        del block.areas[j:end], block.starts[j:end]
        block.widen(j)
        self.count -= len(run)

    def cut(self, vma: vm_area_struct, new: vm_area_struct) -> None:
        """Insert `new`, which covers one end of `vma`: that keeps the rest."""
        i, j = self._place(vma)
        block = self._blocks[i]
        block.areas.insert(j if new.vm_start == vma.vm_start else j + 1, new)
        if new.vm_start == vma.vm_start:
            vma.vm_start = new.vm_end
        else:
            vma.vm_end = new.vm_start
        block.starts.insert(j + 1, new.vm_end if vma.vm_start == new.vm_end else new.vm_start)
        self.count += 1
        if len(block.areas) > _BLOCK:
            self._split(i)

    def resize(self, vma: vm_area_struct, vm_start: int, vm_end: int) -> None:
        """Change the bounds of an area without changing its place in the order."""
        i, j = self._place(vma)
        block = self._blocks[i]
        vma.vm_start, vma.vm_end = vm_start, vm_end
        block.starts[j] = vm_start
        block.widen(j)
        block.widen(j + 1)
        if j == 0:
            self._firsts[i] = vm_start

    def highest_gap(self, length: int, low: int, high: int) -> int:
        """Highest address of `length` free bytes inside [low, high), or -1; guard gaps of stacks are not free."""
        blocks = self._blocks
        i = bisect_left(self._firsts, high) - 1  # the last block that begins below `high`
        j = 0 if i < 0 else bisect_left(blocks[i].starts, high)
        above, end = self._at(i, j), high
        if above is not None and above.vm_flags & VM_GROWSDOWN:
            end = min(high, vm_start_gap(above))
        while i >= 0 and end - low >= length:
            block = blocks[i]
            areas = block.areas
            if j == len(areas):
                last = areas[-1]
                if last.vm_start < end and end - last.vm_end < length and not block.has_room(length):
                    end = min(end, vm_start_gap(areas[0]))
                    j = 0
            for vma in reversed(areas[:j]):
                if vma.vm_start >= end:
                    continue
                if end - vma.vm_end >= length:
                    return end - length if end - length >= low else -1
                end = vma.vm_start
                if vma.vm_flags & VM_GROWSDOWN:
                    end -= STACK_GUARD_GAP
            i -= 1
            j = len(blocks[i].areas)
        return end - length if end - length >= low else -1

    def lowest_gap(self, length: int, low: int, high: int) -> int:
        """Lowest address of `length` free bytes inside [low, high), or -1; guard gaps of stacks are not free."""
        start = low
        for vma in self.within(low, high):
            if vm_start_gap(vma) - start >= length:
                return start
            start = max(start, vma.vm_end)
        return start if high - start >= length else -1
