"""x86-64 four-level page tables inside guest RAM (Intel SDM vol. 3A §4.5; AMD APM vol. 2 §5.3).

The emulated MMU walks these tables itself.  `PageTables` keeps, beside each hierarchy,
a dictionary from ``va >> 21`` to its leaf table, so that an entry is found without a walk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE, Ram

# Bits of an entry.
P = 1 << 0  # present
RW = 1 << 1  # writable
US = 1 << 2  # user
PWT = 1 << 3  # write-through
PCD = 1 << 4  # cache disabled
A = 1 << 5  # accessed
D = 1 << 6  # dirty
PS = 1 << 7  # page size (2 MiB, in a page directory)
G = 1 << 8  # global
SW1 = 1 << 9  # available to software
SW2 = 1 << 10
SW3 = 1 << 11
NX = 1 << 63  # no execute

ADDRESS_MASK = 0x000F_FFFF_FFFF_F000
LARGE_PAGE = 1 << 21

# Bits of the page-fault error code (SDM vol. 3A §4.7).
PF_PRESENT = 1 << 0
PF_WRITE = 1 << 1
PF_USER = 1 << 2
PF_RSVD = 1 << 3
PF_FETCH = 1 << 4

LEVELS = ("PML4E", "PDPTE", "PDE", "PTE")
_SHIFTS = (39, 30, 21, 12)
_TABLE = P | RW | US


def walk(ram: Ram, cr3: int, va: int) -> list[tuple[int, int]]:
    """The walk that the MMU makes for `va`: (physical address of the entry, entry) a level, as far as it gets."""
    table, words = cr3 & ADDRESS_MASK, ram.words
    steps: list[tuple[int, int]] = []
    for shift in _SHIFTS:
        where = table + (va >> shift - 3 & 0xFF8)
        entry = words[where >> 3]
        steps.append((where, entry))
        if not entry & P or (shift == 21 and entry & PS):
            break
        table = entry & ADDRESS_MASK
    return steps


class PageTables:
    """One hierarchy: its root (`cr3`) and the tables below it.

    `alloc` gives the physical address of a zeroed frame or raises (the kernel's ENOMEM);
    `free` takes it back.
    """

    __slots__ = ("_alloc", "_free", "_upper", "_words", "cr3", "leaves", "ram")

    def __init__(self, ram: Ram, alloc: Callable[[], int], free: Callable[[int], None]) -> None:
        self.ram = ram
        self._words = ram.words
        self._alloc = alloc
        self._free = free
        self.leaves: dict[int, int] = {}
        """``va >> 21`` -> index into `ram.words` of the first entry of the leaf table."""
        self._upper: dict[int, int] = {}
        """(level, va >> shift) packed as ``(va >> shift) << 2 | level`` -> physical address of a middle table."""
        self.cr3 = alloc()

    def _middle(self, level: int, va: int) -> int:
        """Physical address of the table at `level` (1 PDPT, 2 PD) that covers `va`, made where absent."""
        shift = _SHIFTS[level - 1]
        key = (va >> shift) << 2 | level
        table = self._upper.get(key)
        if table is None:
            parent = self.cr3 if level == 1 else self._middle(level - 1, va)
            where = parent + ((va >> shift & 511) << 3) >> 3
            entry = self._words[where]
            if entry & P:
                table = entry & ADDRESS_MASK
            else:
                table = self._alloc()
                self._words[where] = table | _TABLE
            self._upper[key] = table
        return table

    def share(self, other: PageTables, va: int) -> None:
        """Take over what `other` maps in the 512 GiB around `va`, now and later: the entry of its root."""
        at = va >> _SHIFTS[0] & 511
        self._words[(self.cr3 >> 3) + at] = self._words[(other.cr3 >> 3) + at]

    def prepare(self, va: int) -> None:
        """Make the middle tables for `va` now: a leaf table is all that can be lacking later."""
        self._middle(2, va)

    def leaf(self, va: int) -> int:
        """Index into `ram.words` of the entry for `va`, its tables made where absent (`alloc` may raise)."""
        base = self.leaves.get(va >> 21)
        if base is None:
            directory = self._middle(2, va)
            where = directory + ((va >> 21 & 511) << 3) >> 3
            table = self._alloc()
            self._words[where] = table | _TABLE
            base = self.leaves[va >> 21] = table >> 3
        return base + (va >> PAGE_SHIFT & 511)

    def get(self, va: int) -> int:
        """The entry for `va`, 0 where there is no table for it."""
        base = self.leaves.get(va >> 21)
        return 0 if base is None else self._words[base + (va >> PAGE_SHIFT & 511)]

    def set(self, va: int, entry: int) -> None:
        """Write the entry for `va`."""
        self.ram.words[self.leaf(va)] = entry

    def map_large(self, va: int, physical: int, entry_bits: int, count: int = 1) -> None:
        """`count` consecutive 2 MiB pages from `va` (both addresses aligned)."""
        while count:
            directory = self._middle(2, va)
            first = va >> 21 & 511
            run = min(512 - first, count)
            where = (directory >> 3) + first
            for i in range(run):
                self._words[where + i] = physical | entry_bits | PS
                physical += LARGE_PAGE
            va += run << 21
            count -= run

    def runs(self, start: int, end: int) -> Iterable[tuple[int, int, int]]:
        """The parts of [start, end) that have leaf tables: (va, index of its entry, number of entries)."""
        if (end - 1) >> 21 != start >> 21:
            return self._long_runs(start, end)
        base = self.leaves.get(start >> 21)
        return () if base is None else ((start, base + (start >> PAGE_SHIFT & 511), (end - start) >> PAGE_SHIFT),)

    def _long_runs(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        leaves = self.leaves
        if (end - start) >> 21 > len(leaves) * 2:
            regions: list[int] | range = sorted(r for r in leaves if start >> 21 <= r <= (end - 1) >> 21)
        else:
            regions = range(start >> 21, ((end - 1) >> 21) + 1)
        for region in regions:
            base = leaves.get(region)
            if base is None:
                continue
            first = max(start, region << 21)
            last = min(end, (region + 1) << 21)
            yield first, base + (first >> PAGE_SHIFT & 511), (last - first) >> PAGE_SHIFT

    def free_leaf(self, region: int) -> None:
        """Give back the leaf table of ``region`` (= va >> 21), whose entries must all be zero."""
        base = self.leaves.pop(region)
        directory = self._middle(2, region << 21)
        self._words[(directory >> 3) + (region & 511)] = 0
        self._free(base << 3)

    def destroy(self) -> None:
        """Give back every table of the lower half and the root; entries must be gone already."""
        for base in self.leaves.values():
            self._free(base << 3)
        for table in self._upper.values():
            self._free(table)
        self._free(self.cr3)
        self.leaves.clear()
        self._upper.clear()

    def table_frames(self) -> int:
        """How many frames the hierarchy takes (what `VmPTE` counts, the root included)."""
        return 1 + len(self._upper) + len(self.leaves)


def zeroed(ram: Ram, physical: int) -> None:
    """Fill the frame at `physical` with zeros."""
    ram.view[physical : physical + PAGE_SIZE] = _ZEROS


_ZEROS = bytes(PAGE_SIZE)
