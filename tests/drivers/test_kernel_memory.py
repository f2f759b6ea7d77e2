"""Pages and kmalloc for drivers, their mistakes, and what is left at unload (MECHANISMS D1, D2, D3, D5, D6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from machine import Machine

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]


def test_pages(m: Machine, driver: Load) -> None:
    """Zeroed and not zeroed, orders, DMA, and what happens to the count.  # D1, D2"""
    d = driver("""
        def test():
            a = __get_free_pages(GFP_KERNEL, 2)
            memset(a, 0x77, 4 * PAGE_SIZE)
            free_pages(a, 2)
            b = __get_free_pages(GFP_KERNEL, 2)
            poison = bytes(kernel_memory(b, PAGE_SIZE))
            free_pages(b, 2)
            zero = get_zeroed_page(GFP_KERNEL)
            zeros = bytes(kernel_memory(zero, PAGE_SIZE))
            dma = __get_dma_pages(GFP_KERNEL, 3)
            counts = [page_count(virt_to_page(each)) for each in (zero, dma, dma + PAGE_SIZE)]
            free_page(zero)
            free_pages(dma, 3)
            free_page(0)
            return poison, zeros, __pa(dma), dma % (8 * PAGE_SIZE), counts, __get_free_pages(GFP_KERNEL, 11)
    """)
    poison, zeros, dma, alignment, counts, too_large = d["test"]()
    assert poison == b"\xaa" * 4096 and zeros == bytes(4096)
    assert 0 < dma < 16 << 20 and alignment == 0
    assert counts == [1, 1, 0] and too_large == 0
    assert m.kernel.reports == [] and m.unload("bad") == []


def test_old_kernels_have_smaller_orders(m: Machine, driver: Load) -> None:
    d = driver(
        "KERNEL = (2, 2)\ndef test():\n    return get_free_pages(GFP_KERNEL, 6), get_free_pages(GFP_KERNEL, 5)\n"
    )
    six, five = d["test"]()
    assert six == 0 and five
    assert "32 pages (order 5)" in m.unload("bad")[0]


def test_mistakes_with_pages(m: Machine, driver: Load) -> None:
    """Reported with the driver's line; nothing is harmed.  # D1, D5"""
    d = driver("""
        def wrong_order():
            free_pages(__get_free_pages(GFP_KERNEL, 2), 1)
        def twice():
            a = get_zeroed_page(GFP_KERNEL)
            free_page(a)
            free_page(a)
        def nonsense():
            free_page(0x12345)
            virt_to_page(0xC0000000)
            pfn_to_page(0xE8000)
        def reserved():
            a = get_zeroed_page(GFP_KERNEL)
            SetPageReserved(virt_to_page(a))
            free_page(a)
            still = page_count(virt_to_page(a))
            mem_map_unreserve(MAP_NR(a))
            free_page(a)
            return still, page_count(mem_map[MAP_NR(a)])
    """)
    free = m.kernel.mem.free_frames()
    d["wrong_order"]()
    assert "allocated with order 2, freed with order 1 (bad.py:4 in wrong_order)" in m.kernel.reports.pop()
    d["twice"]()
    assert "the page is free already (bad.py:8 in twice)" in m.kernel.reports.pop()
    d["nonsense"]()
    assert [text.split("(")[0] for text in m.kernel.reports] == [
        "BUG: bad: free_pages", "BUG: bad: virt_to_page", "BUG: bad: pfn_to_page",
    ]  # fmt: skip
    m.kernel.reports.clear()
    assert d["reserved"]() == (1, 0)
    assert m.kernel.reports == [] and m.kernel.mem.free_frames() == free
    assert any(line.startswith("BUG: bad: virt_to_page(0xc0000000): not an address") for line in m.dmesg)


def test_kmalloc(m: Machine, driver: Load) -> None:
    """Any size to 131072, in objects that do not overlap; above it NULL and a line in the log.  # D3"""
    d = driver("""
        def test():
            sizes = [1, 32, 33, 100, 200, 3000, 4096, 5000, 131072, 131072]
            at = [kmalloc(size, GFP_KERNEL) for size in sizes]
            for address, size in zip(at, sizes):
                memset(address, size & 0xFF, size)
            good = all(bytes(kernel_memory(a, s)) == bytes([s & 0xFF]) * s for a, s in zip(at, sizes))
            for address in at:
                kfree(address)
            kfree(0)
            kfree(None)
            zeroed = kzalloc(100, GFP_KERNEL)
            zeros = bytes(kernel_memory(zeroed, 100))
            kfree(zeroed)
            return good, zeros, kmalloc(135168, GFP_KERNEL)
    """)
    free = m.kernel.mem.free_frames()
    assert d["test"]() == (True, bytes(100), 0)
    assert m.dmesg[-1] == "kmalloc: Size (135168) too large"
    m.kernel.slab.reap()
    assert m.kernel.mem.free_frames() == free and m.kernel.reports == []


def test_mistakes_with_kmalloc(m: Machine, driver: Load) -> None:
    d = driver("""
        def test():
            a = kmalloc(50, GFP_KERNEL)
            keep = kmalloc(50, GFP_KERNEL)
            kfree(a)
            kfree(a)
            kfree(keep + 8)
            kfree(0x1000)
            page = get_zeroed_page(GFP_KERNEL)
            kfree(page)
            free_page(page)
            kfree(keep)
    """)
    d["test"]()
    reports = [text.partition("): ")[2] for text in m.kernel.reports]
    assert reports == [
        "double free: it was freed before at bad.py:6 in test (bad.py:7 in test)",
        "it points 8 bytes into an object of 50 bytes (bad.py:8 in test)",
        "kmalloc did not give it (bad.py:9 in test)",
        "it came from __get_free_pages: free_pages gives it back (bad.py:11 in test)",
    ]


def test_leaks_are_listed(m: Machine, driver: Load) -> None:
    """What a module did not free stays allocated and is listed, with the line that got it.  # D6"""
    driver("""
        one = get_zeroed_page(GFP_KERNEL)
        four = __get_free_pages(GFP_KERNEL, 2)
        small = kmalloc(77, GFP_KERNEL)
        major = register_chrdev(0, "bad", file_operations())
        devfs_mk_cdev(MKDEV(major, 0), 0o600, "bad%d", 0)
        def cleanup():
            pass
        module_exit(cleanup)
    """)
    left = m.unload("bad")
    assert len(left) == 6
    assert left[0].startswith("1 page at physical ") and left[0].endswith("got at bad.py:3 in <module>")
    assert left[1].startswith("4 pages (order 2) at physical ")
    assert left[2].startswith("kmalloc(77) at physical ")
    assert left[3:] == ["character device 254:0", "device numbers of major 254 ('bad')", "/dev/bad0"]
    assert any(line.startswith("bad: not released at unload: 1 page") for line in m.dmesg)
    assert m.kernel.chrdevs.names() == [(1, "mem"), *[n for n in m.kernel.chrdevs.names() if n[0] != 1]]
    assert "bad0" not in m.kernel.chrdevs.nodes
