"""Caches of objects, and kmalloc's relatives (linux/slab.h, linux/string.h; LDD3 §8.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Optional, Union

from machine.hardware.ram import PAGE_SIZE
from machine.kernel.context import might_sleep
from machine.kernel.current import current_kernel
from machine.kernel.include.pages import NULL, BUG_report, _foreign, is_size
from machine.kernel.include.string import Data, as_data
from machine.kernel.mm.page import GFP_WAIT, GFP_ZERO
from machine.kernel.mm.slab import MAX_SIZE, Object
from machine.kernel.mm.vmalloc import PAGE_OFFSET
from machine.kernel.module import calling_line, calling_module, module

SLAB_HWCACHE_ALIGN, SLAB_POISON, SLAB_RED_ZONE = 0x2000, 0x800, 0x400
SLAB_RECLAIM_ACCOUNT, SLAB_PANIC, SLAB_CTOR_CONSTRUCTOR = 0x20000, 0x40000, 0x001
_CACHE_LINE = 64
_ALIGNED = 32
"""Objects of every size are."""


def _alloc(size: int, flags: int, what: str, name: str = "kmalloc") -> int:
    kernel = current_kernel()
    if flags & GFP_WAIT:
        might_sleep(kernel, f"{what}(GFP_KERNEL)")
    if not is_size(size, what):
        return NULL
    if size > MAX_SIZE:
        kernel.printk(f"{what}: Size ({size}) too large", 4)
        return NULL
    physical = kernel.slab.alloc(size, flags, calling_module(3), calling_line(3), name)
    return NULL if physical < 0 else PAGE_OFFSET + physical


def _are_sizes(n: int, size: int, what: str) -> bool:
    return is_size(n, what) and is_size(size, what)


def _object(address: int) -> Optional[Object]:
    return current_kernel().slab.objects.get(address - PAGE_OFFSET)


# -- kmalloc's relatives ---------------------------------------------------------------------------------------


def kmalloc_array(n: int, size: int, flags: int) -> int:
    """`kmalloc` of `n` elements of `size` bytes; NULL also where the product is no size.  Since 3.4."""
    return _alloc(n * size, flags, "kmalloc_array") if _are_sizes(n, size, "kmalloc_array") else NULL


def kcalloc(n: int, size: int, flags: int) -> int:
    """`kmalloc_array`, filled with zeros."""
    return _alloc(n * size, flags | GFP_ZERO, "kcalloc") if _are_sizes(n, size, "kcalloc") else NULL


def ksize(address: int) -> int:
    """Bytes that the object at `address` really has; 0 of NULL."""
    if not address:
        return 0
    found = _object(address)
    if found is None:
        BUG_report(f"ksize({address:#x}): {_foreign(address)}, not what kmalloc gave")
        return 0
    return found.cache


def krealloc(address: int, size: int, flags: int) -> int:
    """The object at `address` with room for `size` bytes, at another address if need be; its contents are kept.

    NULL, and the old object stays, when there is no memory.  Of NULL it is `kmalloc`; `size` 0 frees.
    """
    from machine.kernel.include.pages import kfree

    if not size:
        kfree(address)
        return NULL
    if not address:
        return _alloc(size, flags, "krealloc")
    if not is_size(size, "krealloc"):
        return NULL
    found = _object(address)
    if found is None:
        BUG_report(f"krealloc({address:#x}): {_foreign(address)}, not what kmalloc gave")
        return NULL
    kernel = current_kernel()
    if size <= found.cache:
        kernel.slab.objects[address - PAGE_OFFSET] = found._replace(size=size)
        return address
    new = _alloc(size, flags, "krealloc")
    if new:
        view, old, at = kernel.ram.view, address - PAGE_OFFSET, new - PAGE_OFFSET
        view[at : at + found.size] = view[old : old + found.size]
        kfree(address)
    return new


def kmemdup(src: Union[int, Data], length: int, gfp: int) -> int:
    """A `kmalloc`ed copy of `length` bytes: of a kernel address, or of Python's bytes.  NULL without memory."""
    data = bytes(as_data(src, length))
    if len(data) < length:
        raise ValueError(f"kmemdup of {length} bytes from a buffer of {len(data)}")
    new = _alloc(length, gfp, "kmemdup")
    if new:
        current_kernel().ram.view[new - PAGE_OFFSET : new - PAGE_OFFSET + length] = data
    return new


# -- caches ----------------------------------------------------------------------------------------------------


class kmem_cache:
    """`kmem_cache_t`: objects of one size.  Made by `kmem_cache_create`."""

    __slots__ = ("ctor", "dtor", "name", "owner", "room", "size", "where")

    def __init__(self, name: str, size: int, room: int, ctor: Any, dtor: Any, where: str) -> None:
        self.name = name
        self.size = size
        """Bytes of an object."""
        self.room = room
        """Bytes that are taken for one, so that it is aligned."""
        self.ctor, self.dtor = ctor, dtor
        self.owner: Optional[module] = calling_module(3)
        self.where = where

    def __repr__(self) -> str:
        return f"<kmem_cache {self.name}>"


class _Caches:
    """Those of one machine, and a leak check: a cache that is left at rmmod."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self.all: list[kmem_cache] = []
        kernel.leak_checks.append(self)

    def __call__(self, owner: Any) -> list[str]:
        left = [cache for cache in self.all if cache.owner is owner]
        self.all = [cache for cache in self.all if cache.owner is not owner]
        return [f"kmem_cache {cache.name!r}, made at {cache.where}" for cache in left]


def _caches() -> _Caches:
    kernel = current_kernel()
    found = next((each for each in kernel.leak_checks if isinstance(each, _Caches)), None)
    return found or _Caches(kernel)


def kmem_cache_create(
    name: str,
    size: int,
    align: int,
    flags: int,
    ctor: Optional[Callable[..., Any]] = None,
    dtor: Optional[Callable[..., Any]] = None,
) -> Optional[kmem_cache]:
    """A cache of objects of `size` bytes (<= 131072), each `align`ed to a power of two (0: to 32 bytes); None (NULL)
    for a size or an alignment that can't be.

    `ctor(address, cache, flags)`, in a driver of today ``ctor(address)``, makes an object ready each time it is given
    out (freed objects are poisoned, as with SLAB_POISON); `dtor`, up to 2.6.22, is called in the same way when it is
    freed.  Up to 2.6.21 the third argument was the offset of the first object, for which 0 is what everybody gave.
    """
    kernel = current_kernel()
    might_sleep(kernel, "kmem_cache_create")
    if flags & SLAB_HWCACHE_ALIGN:
        align = max(align, _CACHE_LINE)
    if not name or not 0 < size <= MAX_SIZE or align < 0 or align & align - 1 or align > PAGE_SIZE:
        kernel.printk(f"kmem_cache_create: {name}: size {size}, alignment {align}: not created", 3)
        return None
    room = size if align <= _ALIGNED else 1 << (max(size, align) - 1).bit_length()
    cache = kmem_cache(name, size, room, ctor, dtor, calling_line(2))
    _caches().all.append(cache)
    return cache


def _of(cache: kmem_cache) -> str:
    return f"kmem_cache_alloc({cache.name})"


def _construct(cache: kmem_cache, method: Optional[Callable[..., Any]], address: int) -> None:
    if method is None:
        return
    today = cache.owner is not None and tuple(cache.owner.namespace.get("KERNEL", (2, 6, 10))) >= (2, 6, 27)
    if today:
        method(address)
    else:
        method(address, cache, SLAB_CTOR_CONSTRUCTOR if method is cache.ctor else 0)


def _cache_alloc(cache: kmem_cache, flags: int, what: str) -> int:
    address = _alloc(cache.room, flags, what, _of(cache))
    if address:
        _construct(cache, cache.ctor, address)
    return address


def kmem_cache_alloc(cachep: kmem_cache, flags: int) -> int:
    """Kernel address of an object of the cache, not zeroed; NULL when there is no memory."""
    return _cache_alloc(cachep, flags, "kmem_cache_alloc")


def kmem_cache_zalloc(cachep: kmem_cache, flags: int) -> int:
    """`kmem_cache_alloc`, filled with zeros; for caches without a constructor.  Since 2.6.17."""
    return _cache_alloc(cachep, flags | GFP_ZERO, "kmem_cache_zalloc")


def kmem_cache_free(cachep: kmem_cache, address: int) -> None:
    """Give an object back to its cache.  One of another cache, and a second free, are reported."""
    kernel = current_kernel()
    found = _object(address)
    if found is not None and found.name != _of(cachep):
        BUG_report(f"kmem_cache_free({cachep.name}, {address:#x}): it came from {found.name}")
        return
    if found is not None:
        _construct(cachep, cachep.dtor, address)
    wrong = kernel.slab.free(address - PAGE_OFFSET, calling_line(2))
    if wrong:
        BUG_report(f"kmem_cache_free({cachep.name}, {address:#x}): {wrong}")


def kmem_cache_destroy(cachep: Optional[kmem_cache]) -> int:
    """The cache is needed no more: 0; 1, with a line in the log, while objects of it are in use: then it stays."""
    if cachep is None:
        return 0
    caches = _caches()
    if cachep not in caches.all:
        BUG_report(f"kmem_cache_destroy({cachep!r}): it is gone already")
        return 1
    used = sum(found.name == _of(cachep) for found in current_kernel().slab.objects.values())
    if used:
        what = f"slab error in kmem_cache_destroy(): cache `{cachep.name}': Can't free all objects ({used} in use)"
        current_kernel().printk(what, 3)
        return 1
    caches.all.remove(cachep)
    return 0


def kmem_cache_size(cachep: kmem_cache) -> int:
    """Bytes of an object."""
    return cachep.size


def kmem_cache_name(cachep: kmem_cache) -> str:
    """The name that it was made with."""
    return cachep.name


__all__ = [
    "SLAB_CTOR_CONSTRUCTOR", "SLAB_HWCACHE_ALIGN", "SLAB_PANIC", "SLAB_POISON", "SLAB_RECLAIM_ACCOUNT", "SLAB_RED_ZONE",
    "kcalloc", "kmalloc_array", "kmem_cache", "kmem_cache_alloc", "kmem_cache_create", "kmem_cache_destroy",
    "kmem_cache_free", "kmem_cache_name", "kmem_cache_size", "kmem_cache_zalloc", "kmemdup", "krealloc", "ksize",
]  # fmt: skip
