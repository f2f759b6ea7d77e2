"""Pages by their struct page, kmap, and caches of objects, called by a compiled program (LDD3 §8.2, §8.3, §15.1.3;
MECHANISMS D1, D2, D3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from machine import Machine
from tests.drivers.by_program import ByProgram
from tests.drivers.conftest import CHARDEV, chardev

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]


def test_pages(m: Machine, driver: Load, run_c: Run) -> None:
    d = ByProgram(m, driver, run_c, """
        def test():
            page, block = alloc_page(GFP_KERNEL | __GFP_ZERO), alloc_pages(GFP_KERNEL, 3)
            zeros = bytes(kernel_memory(kmap(page), PAGE_SIZE)) == bytes(PAGE_SIZE)
            kunmap(page)
            same = page_to_phys(page) == __pa(page_address(page)) and virt_to_page(page_address(block)) == block
            counts = page_count(page), page_count(block)
            __free_page(page)
            __free_pages(block, 3)
            orders = [get_order(n) for n in (1, 4096, 4097, 65536)]
            return zeros, same, counts, orders, offset_in_page(0x12345), alloc_pages(GFP_KERNEL, 11)
        def leak():
            alloc_page(GFP_KERNEL)
    """)  # fmt: skip
    free = d.free_frames()
    assert d.call() == (True, True, (1, 1), [0, 0, 1, 4], 0x345, None)
    assert d.free_frames() == free and m.kernel.reports == []
    d.call("leak")
    leaks = m.unload("bad")
    assert len(leaks) == 1 and leaks[0].startswith("1 page at physical") and "in leak" in leaks[0]


def test_kmap_atomic(m: Machine, driver: Load, run_c: Run) -> None:
    """Nothing may sleep in between; it is undone by the address, and within the method."""
    d = ByProgram(m, driver, run_c, """
        page = alloc_page(GFP_KERNEL)
        def good():
            a, b = kmap_atomic(page, KM_USER0), kmap_atomic(page, KM_USER1)
            kunmap_atomic(b, KM_USER1)
            kunmap_atomic(a, KM_USER0)
            return a == b == page_address(page), in_interrupt()
        def sleeps():
            address = kmap_atomic(page)
            kmalloc(10, GFP_KERNEL) and 0
            kunmap_atomic(address)
        def by_page():
            kmap_atomic(page)
            kunmap_atomic(page)
        def twice():
            address = kmap_atomic(page)
            kunmap_atomic(address)
            kunmap_atomic(address)
        def left():
            kmap_atomic(page)
        def other():
            kunmap(page_address(page))
    """)  # fmt: skip
    assert d.call("good") == (True, 0) and m.kernel.reports == []
    for name, text in {
        "sleeps": "kmalloc(GFP_KERNEL) with a kmap_atomic held (taken at bad.py:",
        "by_page": "it takes the address that kmap_atomic gave, not the page",
        "twice": "kmap_atomic did not give it",
        "left": "returned with a kmap_atomic held (taken at bad.py:",
        "other": "it takes the page, and kunmap_atomic the address",
    }.items():
        d.call(name)
        assert text in m.kernel.reports.pop(), name
        assert m.kernel.reports == [] and not m.kernel.irq.preempt_count and not m.kernel.irq.held


def test_a_page_of_alloc_page_is_mapped(m: Machine, driver: Load, run_c: Run) -> None:
    """`nopage` that makes its pages as it is asked for them."""
    body = """
made = {}
def bad_nopage(vma, address, type):
    at = address - vma.vm_start >> PAGE_SHIFT
    if at not in made:
        made[at] = alloc_page(GFP_KERNEL | __GFP_ZERO)
    get_page(made[at])
    return made[at]
bad_vm_ops = vm_operations_struct(nopage=bad_nopage)
"""
    d = driver(chardev(body))
    run_c(m, """
        char *p = map(must_open("/dev/bad", O_RDWR), 0, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
        p[0] = 1;
        p[2 * PAGE] = 2;
    """)  # fmt: skip
    assert sorted(d["made"]) == [0, 2] and m.kernel.reports == []
    for page in d["made"].values():
        assert m.kernel.mem.count[page.pfn] == 1
    assert CHARDEV  # the table's methods are conftest's


def test_arrays(m: Machine, driver: Load, run_c: Run) -> None:
    d = ByProgram(m, driver, run_c, """
        def test():
            a, b = kcalloc(10, 10, GFP_KERNEL), kmalloc_array(3, 7, GFP_KERNEL)
            zeros = bytes(kernel_memory(a, 100)) == bytes(100)
            sizes = ksize(a), ksize(b), ksize(NULL)
            memcpy(b, b"nopage", 6)
            b = krealloc(b, 30, GFP_KERNEL)
            c = krealloc(b, 3000, GFP_KERNEL)
            kept = bytes(kernel_memory(c, 6)), b != c
            copy = kmemdup(c, 6, GFP_KERNEL)
            same = bytes(kernel_memory(copy, 6))
            other = kmemdup(b"text", 4, GFP_KERNEL)
            text = bytes(kernel_memory(other, 4))
            for each in (a, c, copy, other):
                kfree(each)
            return zeros, sizes, kept, same, text, krealloc(NULL, 200000, GFP_KERNEL), kcalloc(1 << 40, 8, GFP_KERNEL)
        def freed():
            a = kmalloc(10, GFP_KERNEL)
            return krealloc(a, 0, GFP_KERNEL)
        def foreign():
            return krealloc(0x1234, 10, GFP_KERNEL), ksize(0x1234)
    """)  # fmt: skip
    assert d.call() == (True, (128, 32, 0), (b"nopage", True), b"nopage", b"text", 0, 0)
    assert d.call("freed") == 0 and m.kernel.reports == []
    assert d.call("foreign") == (0, 0) and len(m.kernel.reports) == 2
    assert m.unload("bad") == []


CACHES = """
log = []
def ctor(address, cache, flags):
    memset(address, 0, kmem_cache_size(cache))
    log.append(("ctor", flags))
def dtor(address, cache, flags):
    log.append(("dtor", flags))
def test():
    cache = kmem_cache_create("bad_items", 40, 0, SLAB_HWCACHE_ALIGN, ctor, dtor)
    at = [kmem_cache_alloc(cache, GFP_KERNEL) for _ in range(100)]
    ready = all(bytes(kernel_memory(a, 40)) == bytes(40) for a in at)
    aligned = all(a % 64 == 0 for a in at) and len(set(at)) == 100
    busy = kmem_cache_destroy(cache)
    for a in at:
        kmem_cache_free(cache, a)
    return ready, aligned, busy, kmem_cache_destroy(cache), kmem_cache_name(cache), len(log), log[0], log[-1]
def sizes():
    wrong = [kmem_cache_create("x", *how, 0) for how in ((0, 0), (131073, 0), (8, 3), (8, 8192))]
    plain = kmem_cache_create("bad_plain", 131072, 0, 0)
    a = kmem_cache_zalloc(plain, GFP_KERNEL)
    zeros = bytes(kernel_memory(a, 131072)) == bytes(131072)
    kmem_cache_free(plain, a)
    return wrong, zeros, kmem_cache_destroy(plain)
def mistakes():
    one, two = kmem_cache_create("bad_one", 40, 0, 0), kmem_cache_create("bad_two", 40, 0, 0)
    a = kmem_cache_alloc(one, GFP_KERNEL)
    kmem_cache_free(two, a)
    kmem_cache_free(one, a)
    kmem_cache_free(one, a)
    kmem_cache_destroy(two)
    kmem_cache_destroy(two)
    return kmem_cache_alloc(one, GFP_KERNEL)
"""


def test_caches(m: Machine, driver: Load, run_c: Run) -> None:
    d = ByProgram(m, driver, run_c, CACHES)
    free = d.free_frames()
    assert d.call() == (True, True, 1, 0, "bad_items", 200, ("ctor", 1), ("dtor", 0))
    assert any("kmem_cache_destroy(): cache `bad_items': Can't free all objects (100 in use)" in x for x in m.dmesg)
    assert d.call("sizes") == ([None] * 4, True, 0)
    m.kernel.slab.reap()
    assert d.free_frames() == free and m.kernel.reports == []


def test_mistakes_with_caches(m: Machine, driver: Load, run_c: Run) -> None:
    d = ByProgram(m, driver, run_c, CACHES)
    assert d.call("mistakes")
    wrong, twice, gone = m.kernel.reports
    assert "it came from kmem_cache_alloc(bad_one)" in wrong and "double free" in twice and "it is gone already" in gone
    leaks = m.unload("bad")
    assert any(text.startswith("kmem_cache_alloc(bad_one) at physical") for text in leaks)
    assert any(text.startswith("kmem_cache 'bad_one', made at bad.py:") for text in leaks) and len(leaks) == 2


def test_a_constructor_of_today(m: Machine, driver: Load, run_c: Run) -> None:
    """It gets the address alone."""
    d = driver("""
        KERNEL = (6, 1)
        def ctor(address):
            memset(address, 7, 16)
        def test():
            cache = kmem_cache_create("bad_today", 16, 0, 0, ctor)
            a = kmem_cache_alloc(cache, GFP_KERNEL)
            got = bytes(kernel_memory(a, 16))
            kmem_cache_free(cache, a)
            kmem_cache_destroy(cache)
            return got
    """)
    assert d["test"]() == b"\x07" * 16 and m.kernel.reports == [] and m.unload("bad") == []
