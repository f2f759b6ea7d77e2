"""Transfers of several pieces by a device that is bus master, and memory for DMA that a program maps (LDD3 §15.4.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from tests.drivers.by_program import ByProgram
from tests.drivers.conftest import chardev

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]


def test_a_program_s_pages_as_a_list(m: Machine, driver: Load, run_c: Run) -> None:
    """Pinned pages of the caller, one piece each; a device would read and write at these bus addresses."""
    d = driver(chardev("""
        bad_vm_ops = vm_operations_struct()
        seen = []
        def bad_ioctl(inode, filp, cmd, arg):
            pages = []
            down_read(current.mm.mmap_sem)
            n = get_user_pages(current, current.mm, arg, 3, 1, 0, pages, NULL)
            up_read(current.mm.mmap_sem)
            sgl = []
            sg_init_table(sgl, n)
            for sg, page in zip(sgl, pages):
                sg_set_page(sg, page, PAGE_SIZE, 0)
            sgl[0].offset, sgl[0].length = offset_in_page(arg), PAGE_SIZE - offset_in_page(arg)
            used = dma_map_sg(None, sgl, n, DMA_BIDIRECTIONAL)
            for sg in for_each_sg(sgl, used):
                seen.append((sg_dma_len(sg), sg_dma_address(sg) == sg_phys(sg) == __pa(sg_virt(sg))))
                memset(bus_to_virt(sg_dma_address(sg)), cmd, sg_dma_len(sg))
            dma_unmap_sg(None, sgl, n, DMA_BIDIRECTIONAL)
            for page in pages:
                set_page_dirty_lock(page)
                put_page(page)
            return used
    """, "dict(ioctl=bad_ioctl)"))  # fmt: skip
    run_c(m, """
        unsigned char *p = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        EQUAL("pieces", ioctl(must_open("/dev/bad", O_RDWR), 0x5c, p + 100), 3);
        EQUAL("before", p[99], 0);
        EQUAL("first", p[100], 0x5c);
        EQUAL("last", p[3 * PAGE - 1], 0x5c);
    """)  # fmt: skip
    assert d["seen"] == [(4096 - 100, True), (4096, True), (4096, True)]
    assert m.kernel.reports == [] and m.kernel.pci.mappings == {}
    assert m.unload("bad") == []


def test_mistakes(m: Machine, driver: Load, run_c: Run) -> None:
    """A piece without a page, memory that a device can't reach: nothing stays mapped; a second unmap."""
    d = ByProgram(m, driver, run_c, """
        buf = kmalloc(64, GFP_KERNEL)
        def holes():
            sgl = []
            sg_init_table(sgl, 2)
            sg_set_buf(sgl[0], buf, 64)
            return dma_map_sg(None, sgl, 2, DMA_TO_DEVICE)
        def twice():
            one = scatterlist()
            sg_init_one(one, buf, 64)
            got = pci_map_sg(None, [one], 1, PCI_DMA_TODEVICE), sg_page(one) == virt_to_page(buf)
            pci_unmap_sg(None, [one], 1, PCI_DMA_TODEVICE)
            pci_unmap_sg(None, [one], 1, PCI_DMA_TODEVICE)
            return got
        def masks():
            page = virt_to_page(buf)
            bus = pci_map_page(None, page, 8, 16, PCI_DMA_TODEVICE)
            pci_unmap_page(None, bus, 16, PCI_DMA_TODEVICE)
            return bus == page_to_phys(page) + 8, DMA_BIT_MASK(32), DMA_BIT_MASK(64) == DMA_64BIT_MASK
    """)  # fmt: skip
    assert d.call("holes") == 0 and "piece 1 of 2 has no page" in m.kernel.reports.pop()
    assert d.call("twice") == (1, True) and "that is not mapped" in m.kernel.reports.pop()
    assert d.call("masks") == (True, 0xFFFF_FFFF, True)
    assert m.kernel.reports == [] and m.kernel.pci.mappings == {}


@pytest.mark.parametrize("kernel", ["(2, 6, 10)", "(6, 1)"])
def test_dma_mmap_coherent(m: Machine, driver: Load, run_c: Run, kernel: str) -> None:
    """The whole, a part of it, too much; RAM that is not reserved is refused by the remap_pfn_range of 2.6.10."""
    node = 'devfs_mk_cdev(MKDEV(major, 0), 0o666, "dma")'
    if kernel == "(6, 1)":
        node = 'device_create(class_create("dma"), NULL, MKDEV(major, 0), NULL, "dma")'
    d = driver(f"""
        KERNEL = {kernel}
        handle = [0]
        memory = dma_alloc_coherent(None, 4 * PAGE_SIZE, handle, GFP_KERNEL)
        if KERNEL < (6,):
            for at in range(memory, memory + 4 * PAGE_SIZE, PAGE_SIZE):
                SetPageReserved(virt_to_page(at))
        def mmap(filp, vma):
            return dma_mmap_coherent(None, vma, memory, handle[0], 4 * PAGE_SIZE)
        major = register_chrdev(0, "dma", file_operations(mmap=mmap))
        {node}
    """)
    run_c(m, """
        int fd = must_open("/dev/dma", O_RDWR);
        char *all = map(fd, 0, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
        char *last = map(fd, 3 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
        last[5] = 77;
        EQUAL("the same page", all[3 * PAGE + 5], 77);
        ERRNO("beyond", map(fd, 3 * PAGE, 2 * PAGE, PROT_READ, MAP_SHARED), ENXIO);
        ERRNO("behind", map(fd, 4 * PAGE, PAGE, PROT_READ, MAP_SHARED), ENXIO);
    """)  # fmt: skip
    assert m.kernel.ram.view[d["handle"][0] + 3 * 4096 + 5] == 77 and m.kernel.reports == []


def test_ioread_and_iowrite(m: Machine, driver: Load, run_c: Run) -> None:
    """The names that LDD3 §9.4.3 recommends reach the same registers as readl."""
    d = ByProgram(m, driver, run_c, """
        def test():
            at = [f(0xe8000000, PAGE_SIZE) for f in (ioremap_wc, ioremap_cache)]
            iowrite32(0x11223344, at[0])
            iowrite16(0x5566, at[0] + 4)
            iowrite8(0x77, at[0] + 6)
            got = ioread32(at[1]), ioread16(at[1] + 4), ioread8(at[1] + 6), readb(at[1])
            for each in at:
                iounmap(each)
            return got
    """)  # fmt: skip
    assert d.call() == (0x11223344, 0x5566, 0x77, 0x44) and m.kernel.reports == []
