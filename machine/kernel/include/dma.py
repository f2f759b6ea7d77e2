"""Memory that a device reads and writes by itself (linux/dma-mapping.h, asm/pci.h; LDD3 §15.4).

A bus address is a physical address on a PC.  Caches need no care; the rules of the API are held all the same: memory
must be of the direct map and within the device's mask, and what was mapped is unmapped once.  Mistakes are reported.
"""

from __future__ import annotations

from typing import Optional

from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.current import current_kernel
from machine.kernel.include.io import virt_to_bus
from machine.kernel.include.pages import NULL, BUG_report, free_pages, get_free_pages, is_size
from machine.kernel.mm.page import GFP_ATOMIC, GFP_DMA, Page
from machine.kernel.mm.vmalloc import PAGE_OFFSET
from machine.kernel.module import calling_line, calling_module
from machine.kernel.pci.dev import DMA_32BIT_MASK, pci_dev

DMA_BIDIRECTIONAL, DMA_TO_DEVICE, DMA_FROM_DEVICE, DMA_NONE = 0, 1, 2, 3
PCI_DMA_BIDIRECTIONAL, PCI_DMA_TODEVICE, PCI_DMA_FROMDEVICE, PCI_DMA_NONE = 0, 1, 2, 3
DMA_24BIT_MASK, DMA_64BIT_MASK = 0xFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF
DMA_MAPPING_ERROR = 0xFFFF_FFFF_FFFF_FFFF


def _mask(dev: Optional[pci_dev]) -> int:
    return DMA_32BIT_MASK if dev is None else dev.dma_mask


def _order(size: int) -> int:
    return max(0, (size - 1 >> PAGE_SHIFT).bit_length())


def dma_alloc_coherent(dev: Optional[pci_dev], size: int, dma_handle: list[int], flag: int) -> int:
    """`size` zeroed bytes that driver and device share: their kernel address, and in ``dma_handle[0]`` the bus address.

    NULL when there are none below the device's mask.  Whole pages, at most 4 MiB.
    """
    return _alloc(dev, size, dma_handle, flag)


def _alloc(dev: Optional[pci_dev], size: int, dma_handle: list[int], flag: int) -> int:
    if not is_size(size, "dma_alloc_coherent") or not size:
        return NULL
    for gfp in (flag, flag | GFP_DMA):
        address = get_free_pages(gfp, _order(size))
        if not address:
            continue
        if address - PAGE_OFFSET + size - 1 <= _mask(dev):
            dma_handle[0] = address - PAGE_OFFSET
            return address
        free_pages(address, _order(size))
    return NULL


def dma_free_coherent(dev: Optional[pci_dev], size: int, cpu_addr: int, dma_handle: int) -> None:
    """Give back what `dma_alloc_coherent` gave, with the same size."""
    if cpu_addr and dma_handle != cpu_addr - PAGE_OFFSET:
        BUG_report(f"dma_free_coherent({cpu_addr:#x}): its bus address is not {dma_handle:#x}")
        return
    free_pages(cpu_addr, _order(size))


def pci_alloc_consistent(hwdev: Optional[pci_dev], size: int, dma_handle: list[int]) -> int:
    """`dma_alloc_coherent` that never sleeps."""
    return _alloc(hwdev, size, dma_handle, GFP_ATOMIC)


def pci_free_consistent(hwdev: Optional[pci_dev], size: int, vaddr: int, dma_handle: int) -> None:
    """Give back what `pci_alloc_consistent` gave."""
    dma_free_coherent(hwdev, size, vaddr, dma_handle)


# -- one buffer, one direction --------------------------------------------------------------------------------


def _map(dev: Optional[pci_dev], address: int, size: int, direction: int) -> int:
    kernel = current_kernel()
    if direction not in (DMA_BIDIRECTIONAL, DMA_TO_DEVICE, DMA_FROM_DEVICE) or size <= 0:
        BUG_report(f"dma_map_single({address:#x}, {size}): direction {direction}, or no bytes")
        return DMA_MAPPING_ERROR
    bus = virt_to_bus(address)
    if bus == DMA_MAPPING_ERROR:
        return DMA_MAPPING_ERROR
    if bus + size - 1 > _mask(dev) or not kernel.mem.pfn_valid(bus + size - 1 >> PAGE_SHIFT):
        BUG_report(f"dma_map_single({address:#x}, {size}): beyond what the device reaches ({_mask(dev):#x}), or no RAM")
        return DMA_MAPPING_ERROR
    kernel.pci.mappings.setdefault(bus, []).append((size, direction, calling_module(3), calling_line(3)))
    return bus


def _unmap(bus: int, size: int, direction: int) -> None:
    mappings = current_kernel().pci.mappings
    found = mappings.get(bus, [])
    mine = next((each for each in found if each[:2] == (size, direction)), None)
    if mine is None:
        have = f"; mapped there: {found[0][0]} bytes, direction {found[0][1]}" if found else ""
        BUG_report(f"dma_unmap_single({bus:#x}, {size}, {direction}): that is not mapped{have}")
        return
    found.remove(mine)
    if not found:
        del mappings[bus]


def dma_map_single(dev: Optional[pci_dev], cpu_addr: int, size: int, direction: int) -> int:
    """The bus address of `size` bytes at a kernel address of the direct map, for one transfer.

    `direction`: DMA_TO_DEVICE, DMA_FROM_DEVICE, DMA_BIDIRECTIONAL.  Memory of vmalloc, and what the device's mask
    does not reach, is reported; `dma_mapping_error` says so.
    """
    return _map(dev, cpu_addr, size, direction)


def dma_unmap_single(dev: Optional[pci_dev], dma_addr: int, size: int, direction: int) -> None:
    """The transfer is over: same address, size and direction, or it is reported."""
    _unmap(dma_addr, size, direction)


def dma_map_page(dev: Optional[pci_dev], page: Page, offset: int, size: int, direction: int) -> int:
    """`dma_map_single` of a page."""
    return _map(dev, PAGE_OFFSET + page.pfn * PAGE_SIZE + offset, size, direction)


def dma_unmap_page(dev: Optional[pci_dev], dma_addr: int, size: int, direction: int) -> None:
    """Undo `dma_map_page`."""
    _unmap(dma_addr, size, direction)


def dma_mapping_error(dma_addr: int) -> int:
    """Whether `dma_map_single` failed: 1 or 0."""
    return int(dma_addr == DMA_MAPPING_ERROR)


def pci_map_single(hwdev: Optional[pci_dev], ptr: int, size: int, direction: int) -> int:
    """`dma_map_single` of old."""
    return _map(hwdev, ptr, size, direction)


def pci_unmap_single(hwdev: Optional[pci_dev], dma_addr: int, size: int, direction: int) -> None:
    """`dma_unmap_single` of old."""
    _unmap(dma_addr, size, direction)


def dma_sync_single_for_cpu(dev: Optional[pci_dev], dma_handle: int, size: int, direction: int) -> None:
    """Before the driver looks at a buffer that stays mapped: no caches here, so there is nothing to do."""


def dma_sync_single_for_device(dev: Optional[pci_dev], dma_handle: int, size: int, direction: int) -> None:
    """Before the device goes on with it: likewise."""


__all__ = [
    "DMA_24BIT_MASK", "DMA_64BIT_MASK", "DMA_BIDIRECTIONAL", "DMA_FROM_DEVICE", "DMA_MAPPING_ERROR", "DMA_NONE",
    "DMA_TO_DEVICE", "PCI_DMA_BIDIRECTIONAL", "PCI_DMA_FROMDEVICE", "PCI_DMA_NONE", "PCI_DMA_TODEVICE",
    "dma_alloc_coherent", "dma_free_coherent", "dma_map_page", "dma_map_single", "dma_mapping_error",
    "dma_sync_single_for_cpu", "dma_sync_single_for_device", "dma_unmap_page", "dma_unmap_single",
    "pci_alloc_consistent", "pci_free_consistent", "pci_map_single", "pci_unmap_single",
]  # fmt: skip
