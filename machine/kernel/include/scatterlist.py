"""Transfers of several pieces of memory, and the rest of the DMA interface (linux/scatterlist.h, linux/dma-mapping.h;
LDD3 §15.4.4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Optional

from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import EIO, ENXIO
from machine.kernel.include.dma import DMA_MAPPING_ERROR, _map, _unmap
from machine.kernel.include.pages import BUG_report, page_address, virt_to_page
from machine.kernel.mm.page import Page
from machine.kernel.mm.remap import remap_pfn_range
from machine.kernel.mm.vma import vm_area_struct
from machine.kernel.mm.vmalloc import PAGE_OFFSET
from machine.kernel.pci.dev import pci_dev


class scatterlist:
    """`struct scatterlist`: one piece, within a page or across pages that follow each other in RAM."""

    __slots__ = ("dma_address", "dma_length", "length", "offset", "page")

    def __init__(self, page: Optional[Page] = None, length: int = 0, offset: int = 0) -> None:
        self.page = page
        self.length = length
        """Bytes."""
        self.offset = offset
        """Bytes into the page at which it begins."""
        self.dma_address = self.dma_length = 0

    def __repr__(self) -> str:
        return f"<scatterlist {self.page!r} + {self.offset:#x}, {self.length} bytes>"


def sg_init_table(sgl: list[Any], nents: int) -> None:
    """Fill the list with `nents` empty pieces.  (In C they are there already.)"""
    sgl[:] = [scatterlist() for _ in range(nents)]


def sg_set_page(sg: scatterlist, page: Page, length: int, offset: int) -> None:
    """The piece is `length` bytes from byte `offset` of the page on."""
    sg.page, sg.length, sg.offset = page, length, offset


def sg_set_buf(sg: scatterlist, buf: int, buflen: int) -> None:
    """The piece is `buflen` bytes at a kernel address of the direct map."""
    sg_set_page(sg, virt_to_page(buf), buflen, buf & PAGE_SIZE - 1)


def sg_init_one(sg: scatterlist, buf: int, buflen: int) -> None:
    """`sg_set_buf` of a list of one."""
    sg_set_buf(sg, buf, buflen)


def sg_page(sg: scatterlist) -> Optional[Page]:
    """The page in which the piece begins."""
    return sg.page


def sg_virt(sg: scatterlist) -> int:
    """Kernel address of the piece."""
    assert sg.page is not None
    return page_address(sg.page) + sg.offset


def sg_phys(sg: scatterlist) -> int:
    """Physical address of the piece."""
    return sg_virt(sg) - PAGE_OFFSET


def for_each_sg(sglist: Sequence[scatterlist], nr: int) -> Iterator[scatterlist]:
    """The first `nr` pieces: ``for sg in for_each_sg(list, n):``"""
    return iter(sglist[:nr])


def sg_dma_address(sg: scatterlist) -> int:
    """Bus address of a mapped piece."""
    return sg.dma_address


def sg_dma_len(sg: scatterlist) -> int:
    """Bytes of a mapped piece."""
    return sg.dma_length


def _map_sg(dev: Optional[pci_dev], sg: Sequence[scatterlist], nents: int, direction: int) -> int:
    pieces = sg[:nents]
    for done, each in enumerate(pieces):
        if each.page is None:
            BUG_report(f"dma_map_sg: piece {done} of {nents} has no page")
            bus = DMA_MAPPING_ERROR
        else:
            bus = _map(dev, sg_virt(each), each.length, direction)
        if bus == DMA_MAPPING_ERROR:
            for before in pieces[:done]:
                _unmap(before.dma_address, before.dma_length, direction)
            return 0
        each.dma_address, each.dma_length = bus, each.length
    return len(pieces)


def dma_map_sg(dev: Optional[pci_dev], sg: Sequence[scatterlist], nents: int, direction: int) -> int:
    """Map the first `nents` pieces for one transfer; how many pieces the device is to be told of, 0 on failure.

    `sg_dma_address` and `sg_dma_len` say which.  (Real machines may join pieces: use the number that is returned.)
    """
    return _map_sg(dev, sg, nents, direction)


def dma_unmap_sg(dev: Optional[pci_dev], sg: Sequence[scatterlist], nents: int, direction: int) -> None:
    """The transfer is over.  `nents` is the number that was given to `dma_map_sg`, not what it returned."""
    for each in sg[:nents]:
        _unmap(each.dma_address, each.dma_length, direction)


def pci_map_sg(hwdev: Optional[pci_dev], sg: Sequence[scatterlist], nents: int, direction: int) -> int:
    """`dma_map_sg` of old."""
    return _map_sg(hwdev, sg, nents, direction)


def pci_unmap_sg(hwdev: Optional[pci_dev], sg: Sequence[scatterlist], nents: int, direction: int) -> None:
    """`dma_unmap_sg` of old."""
    dma_unmap_sg(hwdev, sg, nents, direction)


def pci_map_page(hwdev: Optional[pci_dev], page: Page, offset: int, size: int, direction: int) -> int:
    """`dma_map_page` of old."""
    return _map(hwdev, PAGE_OFFSET + (page.pfn << PAGE_SHIFT) + offset, size, direction)


def pci_unmap_page(hwdev: Optional[pci_dev], dma_addr: int, size: int, direction: int) -> None:
    """`dma_unmap_page` of old."""
    _unmap(dma_addr, size, direction)


# -- masks, mappings ---------------------------------------------------------------------------------------------


def DMA_BIT_MASK(n: int) -> int:
    """The mask of a device that drives `n` address bits."""
    return (1 << n) - 1


def dma_set_mask(dev: pci_dev, mask: int) -> int:
    """Which address bits the device can drive: 0, or -EIO when no memory of the machine lies below (below 16 MiB)."""
    if mask < 0xFF_FFFF:
        return -EIO
    dev.dma_mask = mask
    return 0


def dma_set_coherent_mask(dev: pci_dev, mask: int) -> int:
    """The same for `dma_alloc_coherent`: there is one mask for both."""
    return dma_set_mask(dev, mask)


def dma_set_mask_and_coherent(dev: pci_dev, mask: int) -> int:
    """Both.  Since 3.13."""
    return dma_set_mask(dev, mask)


def pci_set_consistent_dma_mask(dev: pci_dev, mask: int) -> int:
    """`dma_set_coherent_mask` of old."""
    return dma_set_mask(dev, mask)


def dma_mmap_coherent(dev: Optional[pci_dev], vma: vm_area_struct, cpu_addr: int, dma_addr: int, size: int) -> int:
    """Map the `size` bytes that `dma_alloc_coherent` gave into the area, from ``vma.vm_pgoff`` pages on: 0, or -ENXIO
    where the area goes beyond them.

    As `remap_pfn_range`: in a driver of 2.6.10, the pages must be reserved (LDD3 §15.2.6).
    """
    pages = size + PAGE_SIZE - 1 >> PAGE_SHIFT
    wanted = vma.vm_end - vma.vm_start >> PAGE_SHIFT
    if vma.vm_pgoff >= pages or wanted > pages - vma.vm_pgoff:
        return -ENXIO
    pfn = (cpu_addr - PAGE_OFFSET >> PAGE_SHIFT) + vma.vm_pgoff
    return remap_pfn_range(vma, vma.vm_start, pfn, wanted << PAGE_SHIFT, vma.vm_page_prot)


__all__ = [
    "DMA_BIT_MASK", "dma_map_sg", "dma_mmap_coherent", "dma_set_coherent_mask", "dma_set_mask",
    "dma_set_mask_and_coherent", "dma_unmap_sg", "for_each_sg", "pci_map_page", "pci_map_sg",
    "pci_set_consistent_dma_mask", "pci_unmap_page", "pci_unmap_sg", "scatterlist", "sg_dma_address", "sg_dma_len",
    "sg_init_one", "sg_init_table", "sg_page", "sg_phys", "sg_set_buf", "sg_set_page", "sg_virt",
]  # fmt: skip
