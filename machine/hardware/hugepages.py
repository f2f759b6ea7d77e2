"""Huge pages of the host under the machine's RAM, asked for 2 MiB at a time, by what the last ones cost.

Most of a first touch is the host's own page fault.  A huge page of the host costs as much as fifty to a hundred small
ones, so asking for them saves four fifths of that; but a host that is itself a virtual machine may have to fetch the
memory from *its* host first, and then one costs four times as much as the 512 small ones that it stands for.  Which of
the two a piece of RAM will be can't be seen, only measured.
"""

from __future__ import annotations

import mmap
import os
from errno import EINVAL
from time import perf_counter_ns

PIECE_SHIFT = 21
PIECE = 1 << PIECE_SHIFT
"""Bytes of a huge page."""
TOO_SLOW, TOO_QUICK = 1_200_000, 25_000
"""Nanoseconds: of a huge page for which 512 small ones can be had, and in which nobody zeroes 2 MiB: it was a small one
(transparent_hugepage/enabled is `never`, or there is none)."""
PAUSE, LONGEST_PAUSE = 16, 128
"""Pieces that are left alone after one that was too slow, and at most when the next is, too: 32 and 256 MiB."""
MANY = 64 << 10
"""Bytes wanted at once: who takes less, single frames, seldom fills 2 MiB and should not wait for a huge page."""
AT_FIRST = 8
"""Pieces left alone at the start.  Their small pages take about as long as one huge page that comes from afar: so what
the first try may cost is no more than what was spent before, and a program of 16 MiB tries none."""
_MADV_POPULATE_WRITE = 23  # Linux 5.14
_UNKNOWN, _SMALL, _HUGE = range(3)


class HugePages:
    """Decides for each 2 MiB of `buffer`, from byte `offset` on, when they are used for the first time.

    NOPAGE_HUGE_PAGES=0 in the environment: never huge; =1: always.
    """

    __slots__ = ("_always", "_buffer", "_kinds", "_never", "_offset", "_pause", "_populates", "_small")

    def __init__(self, buffer: mmap.mmap, offset: int, size: int) -> None:
        self._buffer, self._offset = buffer, offset
        self._kinds = bytearray((size + PIECE - 1) >> PIECE_SHIFT)
        setting = os.environ.get("NOPAGE_HUGE_PAGES")
        self._never = setting == "0" or not hasattr(mmap, "MADV_HUGEPAGE")
        self._populates = True
        """Whether the host knows MADV_POPULATE_WRITE; where not, all pieces are huge, since none can be timed."""
        self._always = setting == "1"
        self._small = 0 if self._always else AT_FIRST
        """Pieces that stay small before the next one is tried."""
        self._pause = 0

    def about_to_use(self, start: int, end: int, wanted: int) -> None:
        """The allocator takes `wanted` bytes from [start, end) of RAM, whole pieces."""
        kinds = self._kinds
        for piece in range(start >> PIECE_SHIFT, end >> PIECE_SHIFT):
            if kinds[piece] == _UNKNOWN:
                kinds[piece] = self._decide(piece << PIECE_SHIFT, wanted)

    def _decide(self, start: int, wanted: int) -> int:
        if self._never or (wanted < MANY and not self._always):
            return _SMALL
        if self._small:
            self._small -= 1
            return _SMALL
        begun = perf_counter_ns()
        try:
            self._buffer.madvise(mmap.MADV_HUGEPAGE, self._offset + start, PIECE)
        except OSError:  # a host without huge pages
            self._never = True
            return _SMALL
        if not self._populate(start, mmap.PAGESIZE):
            return _HUGE
        took = perf_counter_ns() - begun
        if took > TOO_SLOW and not self._always:
            self._pause = min(2 * self._pause or PAUSE, LONGEST_PAUSE)
            self._small = self._pause
        else:
            self._pause = 0
        return _HUGE if took >= TOO_QUICK else _SMALL

    def populate(self, start: int, count: int) -> None:
        """RAM that was never touched is about to be, all of it: have the host provide its small pages at one go."""
        if self._kinds[start >> PIECE_SHIFT] != _HUGE:
            self._populate(start, count)

    def _populate(self, start: int, count: int) -> bool:
        """False: each touch will be a fault of the host's own."""
        if self._populates:
            try:
                self._buffer.madvise(_MADV_POPULATE_WRITE, self._offset + start, count)
            except OSError as error:
                self._populates = error.errno != EINVAL
                return False
        return self._populates
