"""kmalloc as a driver meets it, called by a compiled program (MECHANISMS D3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from machine import Machine
from tests.drivers.by_program import ByProgram

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]


def test_sizes(m: Machine, driver: Load, run_c: Run) -> None:
    """Up to 131072 bytes, contiguous and apart from each other; above it NULL and a line in the log.  # D3"""
    d = ByProgram(m, driver, run_c, """
        def test():
            sizes = [1, 33, 4096, 131072]
            at = [kmalloc(size, GFP_KERNEL) for size in sizes]
            fresh = [bytes(kernel_memory(a, n)) == b"\\x5a" * n for a, n in zip(at, sizes)]
            for a, n in zip(at, sizes):
                memset(a, n & 0xff, n)
            kept = [bytes(kernel_memory(a, n)) == bytes([n & 0xff]) * n for a, n in zip(at, sizes)]
            valid = [virt_addr_valid(a) for a in at]
            for a in at:
                kfree(a)
            return fresh, kept, valid, kmalloc(131073, GFP_KERNEL), kmalloc(135168, GFP_KERNEL)
    """)  # fmt: skip
    free = d.free_frames()
    assert d.call() == ([True] * 4, [True] * 4, [True] * 4, 0, 0)
    assert [line for line in m.dmesg if "kmalloc" in line] == [
        "kmalloc: Size (131073) too large",
        "kmalloc: Size (135168) too large",
    ]
    m.kernel.slab.reap()
    assert m.kernel.reports == [] and d.free_frames() == free and m.unload("bad") == []


def test_empty_slabs_go_when_memory_is_short(m: Machine, driver: Load, run_c: Run) -> None:
    """One empty slab a cache waits for the next kmalloc, until somebody who may wait needs its pages.  # D2, D3"""
    d = ByProgram(m, driver, run_c, """
        def test():
            kfree(kmalloc(100, GFP_KERNEL))
            taken = []
            while True:
                page = __get_free_page(GFP_KERNEL)
                if not page:
                    break
                taken.append(page)
            for page in taken:
                free_page(page)
    """)  # fmt: skip
    d.call()
    assert m.kernel.slab.frames() == 0 and m.kernel.reports == [] and m.unload("bad") == []


def test_wrong_kfree(m: Machine, driver: Load, run_c: Run) -> None:
    """A second kfree, a pointer into an object, and pointers of other kinds: reported, nothing is freed.  # D3, D4"""
    d = ByProgram(m, driver, run_c, """
        def test():
            keep, a, page = kmalloc(50, GFP_KERNEL), kmalloc(50, GFP_KERNEL), get_zeroed_page(GFP_KERNEL)
            kfree(a)
            kfree(a); kfree(keep + 8); kfree(0x1000); kfree(page)
            kernel_memory(keep, 50)[:] = bytes(50)
            kfree(keep); free_page(page)
    """)  # fmt: skip
    free = d.free_frames()
    d.call()
    assert [text.partition("): ")[2].partition(" (bad.py")[0] for text in m.kernel.reports] == [
        "double free: it was freed before at bad.py:5 in test",
        "it points 8 bytes into an object of 50 bytes",
        "kmalloc did not give it",
        "it came from __get_free_pages: free_pages gives it back",
    ]
    m.kernel.slab.reap()
    assert d.free_frames() == free and m.unload("bad") == []


def test_poison_overwritten(m: Machine, driver: Load, run_c: Run) -> None:
    """A store after kfree is found when the object is given out again, when its slab goes, and at unload.  # D3"""
    d = ByProgram(
        m,
        driver,
        run_c,
        """
        def given_out():
            keep, a = kmalloc(60, GFP_KERNEL), kmalloc(60, GFP_KERNEL)
            kfree(a)
            kernel_memory(a, 60)[8] = 0x41
            b = kmalloc(50, GFP_KERNEL)
            assert a == b
            kfree(b); kfree(keep)
        def slab_goes():
            keep, a = kmalloc(60, GFP_KERNEL), kmalloc(60, GFP_KERNEL)
            kfree(a)
            kernel_memory(a, 60)[0] = 0x42
            kfree(keep)
        def at_unload():
            a = kmalloc(60, GFP_KERNEL)
            kfree(a)
            kernel_memory(a, 60)[59] = 0x43
        def correct():
            for size in (1, 100, 5000, 1):
                a = kmalloc(size, GFP_KERNEL)
                memset(a, 1, size)
                kfree(a)
    """,
    )
    d.call("correct")
    assert m.kernel.reports == []
    d.call("given_out")
    assert len(m.kernel.reports) == 1
    text = m.kernel.reports.pop()
    assert text.startswith("BUG: bad: Poison overwritten: object 0xffff8880")
    assert "of kmalloc(60) has 0x41 at byte 8, not 0x6b: written to after kfree at bad.py:5 in given_out" in text
    assert "(got at bad.py:4 in given_out)" in text
    d.call("slab_goes")
    assert m.kernel.reports == []  # an empty slab is kept for the next kmalloc
    assert m.kernel.slab.reap() > 0
    assert [text.split(" has ")[1][:15] for text in m.kernel.reports] == ["0x42 at byte 0,"]
    m.kernel.reports.clear()
    d.call("at_unload")
    assert m.kernel.reports == []
    assert m.unload("bad") == []
    assert [text.split(" has ")[1][:26] for text in m.kernel.reports] == ["0x43 at byte 59, not 0x6b:"]
