"""kmalloc: objects of general sizes, cut from pages (mm/slab.c of 2.6.10).

A cache a size; a slab is a block of pages of one cache.  A slab without objects goes back to the page
allocator, but for one a cache (of slabs of one page), which waits for the next kmalloc until memory is
short or a module is unloaded.

Fresh objects hold 0x5a and freed ones 0x6b (include/linux/poison.h), so that memory that nobody initialised,
or that is used after kfree, shows.  A freed object is looked at again when it is given out, when its slab
goes, and when its last owner is unloaded: a store to it meanwhile is reported ("Poison overwritten").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import Errno
from machine.kernel.mm.page import GFP_ZERO, POISON
from machine.kernel.mm.vmalloc import PAGE_OFFSET
from machine.records import NamedTuple

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.module import module

SIZES = (32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)
"""Object sizes in bytes (include/linux/kmalloc_sizes.h)."""
MAX_SIZE = SIZES[-1]
POISON_INUSE, POISON_FREE = 0x5A, 0x6B
_REMEMBERED = 4096
"""How many freed objects are remembered, to tell a second kfree from a foreign pointer and to see later stores."""


class Object(NamedTuple):
    """One allocated object."""

    size: int
    """Bytes that were asked for."""
    cache: int
    """Bytes that it has: the object size of its cache."""
    owner: Optional[module]
    where: str
    """The driver's line that allocated it."""
    name: str = "kmalloc"
    """What gave it."""

    def call(self) -> str:
        """The same as the driver wrote it."""
        return f"kmalloc({self.size})" if self.name == "kmalloc" else self.name


class _Freed(NamedTuple):
    """One object that was freed."""

    object: Object
    where: str
    """The driver's line that freed it."""


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
        self._freed: dict[int, _Freed] = {}
        """Recently freed objects by their address, the oldest first."""
        kernel.leak_checks.append(self._check_module)
        kernel.mem.shrinkers.append(lambda wanted: self.reap())

    def alloc(self, size: int, gfp: int, owner: Optional[module], where: str, name: str = "kmalloc") -> int:
        """Physical address of an object of at least `size` bytes (<= 131072); -1 when there is no memory."""
        cache = next(each for each in SIZES if each >= size)
        slab = next((each for each in self._slabs[cache].values() if each.free), None) or self._grow(cache, gfp)
        if slab is None:
            return -1
        address = slab.free.pop()
        freed = self._freed.pop(address, None)
        if freed is not None:
            self._check_poison(address, freed, POISON_FREE)
        self.objects[address] = Object(size, cache, owner, where, name)
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
        for address in [each for each in self._freed if start <= each < start + length]:
            del self._freed[address]  # of a slab that was here before
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
        self._freed[address] = _Freed(found, where)
        if len(self._freed) > _REMEMBERED:
            del self._freed[next(iter(self._freed))]
        slabs = self._slabs[found.cache]
        pfn = address >> PAGE_SHIFT
        slab = slabs.get(pfn) or next(s for s in slabs.values() if s.pfn <= pfn < s.pfn + (1 << s.order))
        slab.free.append(address)
        if len(slab.free) == slab.total and (
            slab.order or any(other is not slab and len(other.free) == other.total for other in slabs.values())
        ):
            self._release(found.cache, slab)
        return ""

    def _release(self, cache: int, slab: _Slab) -> None:
        """Give an empty slab back, after a last look at its objects."""
        for each in slab.free:
            if each in self._freed:
                self._check_poison(each, self._freed[each], POISON_FREE)
        del self._slabs[cache][slab.pfn]
        self.kernel.mem.free_pages(slab.pfn, slab.order)

    def reap(self) -> int:
        """Give all empty slabs back (`cache_reap`); how many frames that were."""
        before = self.frames()
        for cache, slabs in self._slabs.items():
            for slab in [each for each in slabs.values() if len(each.free) == each.total]:
                self._release(cache, slab)
        return before - self.frames()

    def _why_not(self, address: int) -> str:
        if address in self._freed:
            return f"double free: it was freed before at {self._freed[address].where or 'the kernel'}"
        for start, found in self.objects.items():
            if start < address < start + found.cache:
                return f"it points {address - start} bytes into an object of {found.size} bytes"
        mem, pfn = self.kernel.mem, address >> PAGE_SHIFT
        if mem.pfn_valid(pfn) and getattr(mem.owner_of(pfn), "is_module", False):
            return "it came from __get_free_pages: free_pages gives it back"
        return "kmalloc did not give it"

    # -- use after free ------------------------------------------------------------------------

    def _check_module(self, owner: module) -> list[str]:
        """At rmmod: look at what the module has freed, and reap.  Nothing of that is left behind, so no lines."""
        mem = self.kernel.mem
        for address, freed in list(self._freed.items()):
            if freed.object.owner is not owner:
                continue
            who = mem.owner_of(address >> PAGE_SHIFT)
            if who is None:  # its slab is gone, and nobody has had the page since
                self._check_poison(address, freed, POISON)
            elif who == "slab":
                self._check_poison(address, freed, POISON_FREE)
            del self._freed[address]
        self.reap()
        return []

    def _check_poison(self, address: int, freed: _Freed, poison: int) -> None:
        """Report and mend a freed object that no longer holds its poison (mm/slab.c: check_poison_obj)."""
        found, view = freed.object, self.kernel.ram.view
        expected = bytes([poison]) * found.cache
        now = bytes(view[address : address + found.cache])
        if now == expected:
            return
        at = next(i for i, byte in enumerate(now) if byte != poison)
        view[address : address + found.cache] = expected
        self.kernel.driver_bug(
            found.owner,
            f"Poison overwritten: object {PAGE_OFFSET + address:#x} of {found.call()} has {now[at]:#04x} at "
            f"byte {at}, not {poison:#04x}: written to after kfree at {freed.where or 'the kernel'} "
            f"(got at {found.where or 'the kernel'})",
        )

    def held_by(self, owner: module) -> list[str]:
        """The module's objects, a line each: for the leak list at rmmod."""
        return [
            f"{found.call()} at physical {address:#x}, got at {found.where}"
            for address, found in self.objects.items()
            if found.owner is owner
        ]

    def frames(self) -> int:
        """Frames that the slabs take (`Slab` in /proc/meminfo)."""
        return sum(1 << slab.order for slabs in self._slabs.values() for slab in slabs.values())
