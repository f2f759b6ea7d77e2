"""`simple` in the names of today, driven by compiled programs; what differs from tests/drivers/test_simple.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from machine.errors import ConfigError
from machine.kernel.mm.page import GFP_KERNEL

Run = Callable[..., Any]
OPEN = 'int r = must_open("/dev/simpler", O_RDWR), n = must_open("/dev/simplen", O_RDWR); (void)r; (void)n;'


@pytest.fixture
def m(machine_clean: Callable[..., Machine]) -> Machine:
    return machine_clean(devices=["simple_fault"], ram=32 << 20)


def test_the_isa_hole_both_ways(m: Machine, run_c: Run) -> None:
    """As 2.6.10: reserved memory itself; at once by remap_pfn_range, a fault a page by fault.  # C2, B3"""
    m.kernel.ram.view[0xA0010:0xA0013] = b"VGA"
    faults: list[Any] = []
    m.events.listen("fault", lambda fault: faults.append(fault) if "/dev/simple" in fault.vma else None)
    run_c(m, OPEN + """
        char *p = map(r, 0xa0000, 2 * PAGE, RW, MAP_SHARED), *q = map(n, 0xa0000, 2 * PAGE, RW, MAP_SHARED);
        CHECK("simpler", !memcmp(p + 16, "VGA", 3)); CHECK("simplen", !memcmp(q + 16, "VGA", 3));
        p[PAGE] = 'r'; EQUAL("the same page", q[PAGE], 'r');
    """)  # fmt: skip
    assert [(fault.answer, "simplen" in fault.vma) for fault in faults] == [("simple_fault.fault", True)] * 2


def test_ordinary_ram(m: Machine, run_c: Run) -> None:
    """By remap_pfn_range the page itself since 2.6.15, uncounted; by fault counted while it is mapped."""
    mem, view = m.kernel.mem, m.kernel.ram.view
    address = mem.alloc_pages(GFP_KERNEL, 0, "kernel") << 12
    view[address : address + 4096] = b"memory! " * 512
    counts: list[int] = []

    def count(call: Any) -> None:
        if call.name == "getppid":
            counts.append(mem.count[address >> 12])

    m.events.listen("syscall_enter", count)
    run_c(m, OPEN + f"""
        char *p = map(r, {address}, PAGE, RW, MAP_SHARED), *q = map(n, {address}, PAGE, RW, MAP_SHARED);
        getppid();
        CHECK("both show it", !memcmp(p, "memory! ", 8) && !memcmp(q, "memory! ", 8));
        p[0] = 'p'; q[1] = 'q';
        CHECK("one page", q[0] == 'p' && p[1] == 'q');
        getppid();
        if (!fork()) {{ getppid(); q[2] = p[0]; _exit(0); }}
        wait(NULL);
        munmap(q, PAGE);
        getppid();
        ERRNO("no growth", mremap(p, PAGE, 2 * PAGE, MREMAP_MAYMOVE), EFAULT);
        p = map(r, {address}, PAGE, RW, MAP_PRIVATE);
        p[3] = 'x';
    """)  # fmt: skip
    assert bytes(view[address : address + 8]) == b"pqpory! "
    assert counts == [1, 2, 3, 1]
    mem.free_pages(address >> 12)


def test_what_has_no_page(m: Machine, run_c: Run) -> None:
    """By fault: a free page, an address above RAM and one in the PCI hole are SIGBUS.  # B10"""
    free = min(pfn for blocks in m.kernel.mem.zones[0].free for pfn in blocks) << 12
    run_c(m, OPEN + f"""
        catch_faults();
        char *p = map(n, {free}, PAGE, RW, MAP_SHARED), *q = map(n, 0xe8000000LL, PAGE, PROT_READ, MAP_SHARED);
        NO_READ("free", p + 5, SIGBUS, BUS_ADRERR);
        NO_WRITE("free", p, SIGBUS, BUS_ADRERR);
        NO_READ("a device", q, SIGBUS, BUS_ADRERR);
    """)  # fmt: skip
    assert m.kernel.mem.count[free >> 12] == 0


def test_open_and_close_are_logged(m: Machine, run_c: Run) -> None:
    """The book's lines, for mmap, fork and split of either form.  # B6"""
    before = len(m.dmesg)
    run_c(m, OPEN + """
        char *p = map(r, 0xf0000, 2 * PAGE, PROT_READ, MAP_SHARED);
        map(n, 0xa0000, PAGE, PROT_READ, MAP_SHARED);
        munmap(p, PAGE);
        if (!fork()) _exit(0);
        wait(NULL);
    """)  # fmt: skip
    lines = [re.sub(r"virt \w+", "virt V", line) for line in m.dmesg[before:] if "Simple VMA" in line]
    opened = [line.split("phys ")[1] for line in lines if "open, virt V" in line]
    assert sorted(opened) == ["a0000", "a0000", "f0000", "f0000", "f1000"]
    assert len([line for line in lines if line.endswith("Simple VMA close.")]) == 5


def test_with_simple_beside_it(m: Machine) -> None:
    """They make the same nodes, so one of the two; what was claimed is given back."""
    assert m.unload("simple_fault") == []
    m.load("simple")
    with pytest.raises(ConfigError, match="EEXIST"):
        m.load("simple_fault")
    assert not any("not released" in line for line in m.dmesg) and m.kernel.device_classes == {}
