"""Device memory (asm/io.h, linux/ioport.h; LDD3 §9.4, *Beginning Linux Programming* ch. 21, "I/O memory").

What `ioremap` gives is reached with the functions of this file only: every access goes over the bus, so a register
block sees it whole and in order.  An address that `ioremap` did not give is reported with the driver's line;
reading there gives ones, writing does nothing.
"""

from __future__ import annotations

from typing import Optional, Union

from machine.hardware.iomem import Resource
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import EBUSY, Errno
from machine.kernel.context import might_sleep
from machine.kernel.current import current_kernel
from machine.kernel.include.pages import NULL, BUG_report, is_size
from machine.kernel.include.string import Data, as_data, memcpy
from machine.kernel.mm import ioremap as mm_ioremap
from machine.kernel.mm.page import PG_exec
from machine.kernel.mm.vmalloc import PAGE_OFFSET, VM_IOREMAP, kind_of
from machine.kernel.module import calling_line, calling_module

# -- mapping -------------------------------------------------------------------------------------------


def _ioremap(offset: int, size: int, what: str) -> int:
    kernel = current_kernel()
    if not might_sleep(kernel, what):
        return NULL
    if not is_size(offset, what, "offset = ") or not is_size(size, what, "size = "):
        return NULL
    try:
        return mm_ioremap.ioremap(kernel, offset, size, calling_module(3), calling_line(3))
    except Errno:
        return NULL


def ioremap(offset: int, size: int) -> int:
    """An address for the `size` bytes of device memory at physical `offset`; NULL when there is none.

    `offset` need not be the start of a page.  Below 1 MiB (the ISA hole) it is the address of the direct map.  Ordinary
    RAM: NULL, with a line in the log.  May sleep.  Not cached.
    """
    return _ioremap(offset, size, "ioremap")


def ioremap_nocache(offset: int, size: int) -> int:
    """`ioremap`: on this machine both bypass the cache."""
    return _ioremap(offset, size, "ioremap_nocache")


def ioremap_wc(offset: int, size: int) -> int:
    """`ioremap` with writes gathered on their way (since 2.6.26): the emulated processor gathers none."""
    return _ioremap(offset, size, "ioremap_wc")


def ioremap_cache(offset: int, size: int) -> int:
    """`ioremap` of memory that a cache may hold (since 2.6.25): the emulated processor has none."""
    return _ioremap(offset, size, "ioremap_cache")


def iounmap(address: int) -> None:
    """Give back what `ioremap` gave.  An address of the ISA hole needs nothing; any other is reported."""
    kernel = current_kernel()
    area = kernel.vmalloc.find(address)
    if area is None and mm_ioremap.is_isa_hole(address - PAGE_OFFSET, 1):
        return
    first = area is not None and address & -PAGE_SIZE == area.addr
    if area is None or not first or not area.flags & VM_IOREMAP:
        BUG_report(f"iounmap: bad address {address:016x}: {kind_of(kernel, address)}, not what ioremap gave")
        return
    kernel.vmalloc.remove(area)


# -- single accesses -----------------------------------------------------------------------------------


def _at(address: int, size: int, what: str) -> int:
    """Physical address behind an ioremap address; -1 when it is none, reported."""
    kernel = current_kernel()
    physical = mm_ioremap.bus_address(kernel, address, size)
    if physical < 0:
        kind = kind_of(kernel, address)
        why = "it runs past the end of what ioremap mapped" if kind == "an ioremap address" else kind
        BUG_report(f"{what}({address:#x}): {why}; it takes what ioremap gave")
    return physical


def _read(address: int, size: int, what: str) -> int:
    physical = _at(address, size, what)
    return (1 << 8 * size) - 1 if physical < 0 else current_kernel().bus.read(physical, size)


def _write(value: int, address: int, size: int, what: str) -> None:
    physical = _at(address, size, what)
    if physical >= 0:
        current_kernel().bus.write(physical, size, value & (1 << 8 * size) - 1)


def readb(address: int) -> int:
    """The byte at an ioremap address."""
    return _read(address, 1, "readb")


def readw(address: int) -> int:
    """The 2 bytes at an ioremap address, in one access."""
    return _read(address, 2, "readw")


def readl(address: int) -> int:
    """The 4 bytes at an ioremap address, in one access."""
    return _read(address, 4, "readl")


def readq(address: int) -> int:
    """The 8 bytes at an ioremap address, in one access."""
    return _read(address, 8, "readq")


def writeb(value: int, address: int) -> None:
    """Write a byte.  The value comes first, as in C."""
    _write(value, address, 1, "writeb")


def writew(value: int, address: int) -> None:
    """Write 2 bytes in one access."""
    _write(value, address, 2, "writew")


def writel(value: int, address: int) -> None:
    """Write 4 bytes in one access."""
    _write(value, address, 4, "writel")


def writeq(value: int, address: int) -> None:
    """Write 8 bytes in one access."""
    _write(value, address, 8, "writeq")


# -- blocks --------------------------------------------------------------------------------------------


def memcpy_fromio(to: Union[int, bytearray, memoryview], from_: int, count: int) -> None:
    """Copy `count` bytes from an ioremap address to a kernel address or a buffer."""
    if count <= 0:
        return
    physical = _at(from_, count, "memcpy_fromio")
    bus = current_kernel().bus
    pieces = () if physical < 0 else _pages(physical, count)
    data = b"".join(bus.read_bytes(at, n) for at, n in pieces) or b"\xff" * count
    if isinstance(to, int):
        memcpy(to, data, count)
    else:
        memoryview(to)[:count] = data


def memcpy_toio(to: int, from_: Union[int, Data], count: int) -> None:
    """Copy `count` bytes from a kernel address or a buffer to an ioremap address."""
    if count <= 0:
        return
    physical = _at(to, count, "memcpy_toio")
    if physical >= 0:
        _store(physical, bytes(as_data(from_, count)))


def memset_io(address: int, value: int, count: int) -> None:
    """Fill `count` bytes at an ioremap address with a byte."""
    if count <= 0:
        return
    physical = _at(address, count, "memset_io")
    if physical >= 0:
        _store(physical, bytes([value & 0xFF]) * count)


def _pages(physical: int, count: int) -> list[tuple[int, int]]:
    """(physical address, bytes) of the part in each page: another device may begin with the next."""
    starts = [physical, *range((physical | PAGE_SIZE - 1) + 1, physical + count, PAGE_SIZE)]
    return list(zip(starts, [b - a for a, b in zip(starts, [*starts[1:], physical + count], strict=True)], strict=True))


def _store(physical: int, data: bytes) -> None:
    kernel = current_kernel()
    for at, n in _pages(physical, len(data)):
        kernel.bus.write_bytes(at, data[at - physical : at - physical + n])
        if kernel.mem.pfn_valid(at >> PAGE_SHIFT) and kernel.mem.flags[at >> PAGE_SHIFT] & PG_exec:
            kernel.cpu.drop_code()  # code in the ISA hole


def virt_to_bus(address: int) -> int:
    """The address under which a device finds memory for DMA.

    On a PC the physical one, of memory of the direct map.  Of any other address, vmalloc's included: reported, and all
    ones.
    """
    kernel = current_kernel()
    kind = kind_of(kernel, address)
    if kind == "an address of the direct map":
        return address - PAGE_OFFSET
    why = ", whose pages are scattered in RAM" if kind == "a vmalloc address" else ""
    BUG_report(f"virt_to_bus({address:#x}): {kind}{why}: a device can't reach it")
    return (1 << 64) - 1


def bus_to_virt(bus: int) -> int:
    """Kernel address of what a device finds at a bus address."""
    return PAGE_OFFSET + bus


# -- the names since 2.6.9, which LDD3 §9.4.3 recommends --------------------------------------------------


def ioread8(address: int) -> int:
    """`readb`."""
    return _read(address, 1, "ioread8")


def ioread16(address: int) -> int:
    """`readw`."""
    return _read(address, 2, "ioread16")


def ioread32(address: int) -> int:
    """`readl`."""
    return _read(address, 4, "ioread32")


def iowrite8(value: int, address: int) -> None:
    """`writeb`."""
    _write(value, address, 1, "iowrite8")


def iowrite16(value: int, address: int) -> None:
    """`writew`."""
    _write(value, address, 2, "iowrite16")


def iowrite32(value: int, address: int) -> None:
    """`writel`."""
    _write(value, address, 4, "iowrite32")


# -- who has what --------------------------------------------------------------------------------------


def request_mem_region(start: int, n: int, name: str) -> Optional[Resource]:
    """Claim `n` bytes of physical addresses from `start` on; shown in /proc/iomem under `name`.

    None (NULL) when somebody has claimed one of them.
    """
    try:
        return current_kernel().regions.request(start, n, name, calling_module(2), calling_line(2))
    except Errno:
        return None


def release_mem_region(start: int, n: int) -> None:
    """Give back what `request_mem_region` claimed; "Trying to free nonexistent resource" in the log when nobody did."""
    current_kernel().regions.release(start, n)


def check_mem_region(start: int, n: int) -> int:
    """0 when the range is free now, -EBUSY when not.  (Free now says nothing about later: better request it.)"""
    regions = current_kernel().regions
    try:
        regions.request(start, n, "check-region", None, "")
    except Errno:
        return -EBUSY
    regions.release(start, n)
    return 0


__all__ = [
    "bus_to_virt", "check_mem_region", "ioread16", "ioread32", "ioread8", "ioremap", "ioremap_cache", "ioremap_nocache",
    "ioremap_wc", "iounmap", "iowrite16", "iowrite32", "iowrite8", "memcpy_fromio", "memcpy_toio", "memset_io",
    "readb", "readl", "readq", "readw", "release_mem_region", "request_mem_region", "virt_to_bus",
    "writeb", "writel", "writeq", "writew",
]  # fmt: skip
