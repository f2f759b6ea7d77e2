"""kmalloc: objects of general sizes, cut from pages (mm/slab.c of 2.6.10).

A cache a size; a slab is a block of pages of one cache; a slab without objects goes back to the
page allocator.  Fresh objects hold 0x5a and freed ones 0x6b (include/linux/poison.h), so that memory that
nobody initialised, or that is used after kfree, shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Optional

from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import Errno
from machine.kernel.mm.page import GFP_ZERO

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.module import module

SIZES = (32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)
"""Object sizes in bytes (include/linux/kmalloc_sizes.h)."""
MAX_SIZE = SIZES[-1]
POISON_INUSE, POISON_FREE = 0x5A, 0x6B
_REMEMBERED = 4096
"""How many freed addresses are remembered, to tell a second kfree from a foreign pointer."""


class Object(NamedTuple):
    """One allocated object."""

    size: int
    """Bytes that were asked for."""
    cache: int
    """Bytes that it has: the object size of its cache."""
    owner: Optional[module]
    where: str
    """The driver's line that allocated it."""


class _Slab:
    __slots__ = ("free", "order", "pfn", "total")

    def __init__(self, pfn: int, order: int, free: list[int]) -> None:
        self.pfn = pfn
        self.order = order
        self.free = free
        """Physical addresses of its free objects."""
        self.total = len(free)


class Slab:
    """All caches of one machine.  Addresses are physical here; `linux.kmalloc` makes pointers of them."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.objects: dict[int, Object] = {}
        self._slabs: dict[int, dict[int, _Slab]] = {size: {} for size in SIZES}
        """Object size -> first frame -> slab."""
        self._freed: dict[int, str] = {}
        """Recently freed address -> where it was freed."""

    def alloc(self, size: int, gfp: int, owner: Optional[module], where: str) -> int:
        """Physical address of an object of at least `size` bytes (<= 131072); -1 when there is no memory."""
        cache = next(each for each in SIZES if each >= size)
        slab = next((each for each in self._slabs[cache].values() if each.free), None) or self._grow(cache, gfp)
        if slab is None:
            return -1
        address = slab.free.pop()
        self._freed.pop(address, None)
        self.objects[address] = Object(size, cache, owner, where)
        if gfp & GFP_ZERO:
            self.kernel.ram.view[address : address + cache] = bytes(cache)
        return address

    def _grow(self, cache: int, gfp: int) -> Optional[_Slab]:
        order = max(0, (cache - 1 >> PAGE_SHIFT).bit_length())
        try:
            pfn = self.kernel.mem.alloc_pages(gfp & ~GFP_ZERO, order, "slab")
        except Errno:
            return None
        start, length = pfn << PAGE_SHIFT, PAGE_SIZE << order
        self.kernel.ram.view[start : start + length] = bytes([POISON_INUSE]) * length
        free = [start + at for at in range(0, length - cache + 1, cache)]
        slab = self._slabs[cache][pfn] = _Slab(pfn, order, free[::-1])
        return slab

    def free(self, address: int, where: str) -> str:
        """Free the object at a physical address.  "" or, when it is none, what is wrong."""
        found = self.objects.pop(address, None)
        if found is None:
            return self._why_not(address)
        self.kernel.ram.view[address : address + found.cache] = bytes([POISON_FREE]) * found.cache
        self._freed[address] = where
        if len(self._freed) > _REMEMBERED:
            del self._freed[next(iter(self._freed))]
        slabs = self._slabs[found.cache]
        pfn = address >> PAGE_SHIFT
        slab = slabs.get(pfn) or next(s for s in slabs.values() if s.pfn <= pfn < s.pfn + (1 << s.order))
        slab.free.append(address)
        if len(slab.free) == slab.total:
            del slabs[slab.pfn]
            self.kernel.mem.free_pages(slab.pfn, slab.order)
        return ""

    def _why_not(self, address: int) -> str:
        if address in self._freed:
            return f"double free: it was freed before at {self._freed[address] or 'the kernel'}"
        for start, found in self.objects.items():
            if start < address < start + found.cache:
                return f"it points {address - start} bytes into an object of {found.size} bytes"
        mem, pfn = self.kernel.mem, address >> PAGE_SHIFT
        if mem.pfn_valid(pfn) and getattr(mem.owner_of(pfn), "is_module", False):
            return "it came from __get_free_pages: free_pages gives it back"
        return "kmalloc did not give it"

    def held_by(self, owner: module) -> list[str]:
        """The module's objects, a line each: for the leak list at rmmod."""
        return [
            f"kmalloc({found.size}) at physical {address:#x}, got at {found.where}"
            for address, found in self.objects.items()
            if found.owner is owner
        ]

    def frames(self) -> int:
        """Frames that the slabs take (`Slab` in /proc/meminfo)."""
        return sum(1 << slab.order for slabs in self._slabs.values() for slab in slabs.values())
