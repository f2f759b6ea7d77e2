"""The machine's memory: one private anonymous buffer of the host, seen as physical memory.

The offset of a byte in the buffer *is* its physical address, holes included, so no
address is ever translated between "RAM" and "buffer".  The host commits pages only when
they are touched; 16 GiB cost nothing until then.
"""

from __future__ import annotations

import ctypes
import mmap

from machine.hardware.hostfiles import HostFiles
from machine.hardware.hugepages import PIECE, HugePages

PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT
PAGE_MASK = ~(PAGE_SIZE - 1)

MiB = 1 << 20
GiB = 1 << 30

ISA_HOLE_START = 0xA0000
ISA_HOLE_END = 0x100000
PCI_HOLE_START = 0xD7F00000
PCI_HOLE_END = 4 * GiB

PHYSICAL_END = 1 << 40
"""One past the processor's highest physical address."""

MIN_RAM = 16 * MiB
MAX_RAM = 16 * GiB

_MAP_NORESERVE = 0x4000


class Ram:
    """`size` bytes of RAM laid out as on a PC: 0 to 640 KiB, 1 MiB up, the rest from 4 GiB.

    `view` ('B') and `words` ('Q') are indexed by physical address and physical address / 8.
    """

    __slots__ = (
        "_buffer",
        "_keep",
        "address",
        "files",
        "huge_pages",
        "limit",
        "low_end",
        "pieces",
        "size",
        "view",
        "words",
    )

    def __init__(self, size: int) -> None:
        if size % (2 * MiB) or not MIN_RAM <= size <= MAX_RAM:
            raise ValueError(
                f"RAM must be a multiple of 2 MiB from {MIN_RAM // MiB} MiB to {MAX_RAM // GiB} GiB, not {size} bytes"
            )
        self.size = size
        low = min(size, PCI_HOLE_START)
        self.pieces: list[tuple[int, int]] = [(0, ISA_HOLE_START), (ISA_HOLE_END, low)]
        if size > low:
            self.pieces.append((PCI_HOLE_END, PCI_HOLE_END + size - low))
        self.limit = self.pieces[-1][1]
        """One past the highest physical address of RAM: what the kernel calls `high_memory`, physical."""
        self.low_end = low
        """One past the RAM below 4 GiB: up to here the buffer stands behind every address, the ISA hole included."""
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
        self._buffer = mmap.mmap(-1, self.limit + PIECE, flags=flags)
        self._keep = ctypes.c_char.from_buffer(self._buffer)
        skipped = -ctypes.addressof(self._keep) % PIECE  # 2 MiB of RAM are to be one page of the host
        self.address = ctypes.addressof(self._keep) + skipped
        self.files = HostFiles(self.address, self.limit)
        self.huge_pages = HugePages(self._buffer, skipped, self.limit)
        self.view = memoryview(self._buffer)[skipped : skipped + self.limit]
        self.words = self.view.cast("Q")

    def discard(self) -> None:
        """Give the host its pages back, at the end of a machine: from here on all is zeroes.  Addresses and views stay
        good, since Python frees the buffer with its last reader, which may be a garbage collection away."""
        self.files.close()
        self._buffer.madvise(mmap.MADV_DONTNEED)

    def is_ram(self, physical: int) -> bool:
        """Whether `physical` lies in RAM (not in the ISA or PCI hole)."""
        return any(start <= physical < end for start, end in self.pieces)

    def holds(self, physical: int, count: int) -> bool:
        """Whether the buffer stands behind `count` bytes at `physical`: not in the PCI hole of a large machine."""
        end = physical + count
        return end <= self.low_end or (physical >= PCI_HOLE_END and end <= self.limit)

    def frame(self, pfn: int) -> memoryview:
        """The 4096 bytes of one frame, without a copy."""
        start = pfn << PAGE_SHIFT
        return self.view[start : start + PAGE_SIZE]
