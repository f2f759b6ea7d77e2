"""Mistakes of drivers are found and named: file and line, page or area, and the guest's instruction (B6, B9, D6).

Those of `free_pages`, kmalloc, vmalloc and ioremap have tests of their own (test_kernel_memory, test_slab,
test_vmalloc, test_ioremap); what a method returns is in test_nonsense, a forgotten `get_page` in test_driver_calls.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from tests.drivers.conftest import chardev

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]

OPEN = 'int fd = must_open("/dev/bad", O_RDWR);'


def test_a_page_is_used_after_free(m: Machine, driver: Load, run_c: Run) -> None:
    """Seen when the page is given out again, and at unload.  # B9, D1"""
    driver(
        chardev(
            """
        def write(filp, buf, count, f_pos):
            address = __get_free_page(GFP_KERNEL)
            free_page(address)
            memset(address + 0x10, 0x41, 4)
            return count
    """,
            "{'write': write}",
        ).replace("vma.vm_ops = bad_vm_ops", "pass")
    )
    run_c(m, OPEN + 'EQUAL("write", write(fd, "x", 1), 1);')
    assert m.unload("bad") == []
    (report,) = m.kernel.reports
    assert re.search(r"pagealloc: memory corruption: frame 0x[0-9a-f]+ was written after it was freed", report)
    assert "at offset 0x10: 41 41 41 41" in report and "bad freed it at bad.py:10 in write" in report


def test_a_reference_that_is_never_put(m: Machine, driver: Load, run_c: Run) -> None:
    """Twice get_page in nopage: the page is still not free when driver and process are gone.  # B9, D6"""
    driver(
        chardev("""
        def nopage(vma, address, type):
            page = virt_to_page(page_of_device)
            get_page(page)
            get_page(page)
            return page
        bad_vm_ops = vm_operations_struct(nopage=nopage)
    """)
    )
    run_c(m, OPEN + 'char *p = map(fd, 0, PAGE, PROT_READ, MAP_SHARED); EQUAL("read", p[0], 0);')
    (line,) = m.unload("bad")
    assert re.match(r"1 page at physical 0x[0-9a-f]+, freed at bad.py:\d+ in cleanup, got at bad.py:\d+", line)
    assert line.endswith("1 reference from get_page without put_page, the last at bad.py:11 in nopage")


def test_freed_while_mapped(m: Machine, driver: Load, run_c: Run) -> None:
    """A missing get_page: the driver's own free brings the count to zero while an entry maps the page.  # B9"""
    driver(
        chardev(
            """
        def nopage(vma, address, type):
            return virt_to_page(page_of_device)
        def write(filp, buf, count, f_pos):
            global page_of_device
            free_page(page_of_device)
            page_of_device = get_zeroed_page(GFP_KERNEL)
            return count
        bad_vm_ops = vm_operations_struct(nopage=nopage)
    """,
            "{'write': write}",
        )
    )
    run_c(
        m,
        OPEN
        + """
        char *p = map(fd, 0, PAGE, PROT_READ, MAP_SHARED);
        EQUAL("read", p[0], 0);
        EQUAL("write", write(fd, "x", 1), 1);
    """,
    )
    first, second = m.kernel.reports[:2]
    assert "without get_page" in first and "bad.nopage" in first and "/dev/bad" in first
    assert re.search(r"; \w+\[\d+\] at 0x[0-9a-f]+$", first), "the guest's instruction"
    assert "freed while 1 page-table entries map it" in second


def test_remapping_ordinary_ram_is_told(m: Machine, driver: Load, run_c: Run) -> None:
    """A notice, no report: the book does it on purpose.  # B4"""
    driver(
        chardev("").replace(
            "vma.vm_ops = bad_vm_ops",
            "pfn = __pa(page_of_device) >> PAGE_SHIFT\n"
            "    return remap_pfn_range(vma, vma.vm_start, pfn, PAGE_SIZE, vma.vm_page_prot)",
        )
    )
    run_c(m, OPEN + 'char *p = map(fd, 0, PAGE, PROT_READ, MAP_SHARED); EQUAL("zeros", p[0], 0);')
    (notice,) = [record for record in m.kernel.log.since(0) if "remap_pfn_range" in record.text]
    assert notice.level == 5
    assert "1 page of ordinary RAM not mapped" in notice.text and "(bad.py:5 in bad_mmap)" in notice.text
    assert m.kernel.reports == []


UNCOUNTED = """
    counted = [0]
    def opened(vma):
        counted[0] += 1
    def closed(vma):
        counted[0] -= 1
    bad_vm_ops = vm_operations_struct(open=opened, close=closed)
"""


@pytest.mark.parametrize("counts", [False, True])
def test_a_first_mapping_that_is_not_counted(m: Machine, driver: Load, run_c: Run, counts: bool) -> None:
    """The kernel calls no `open` for the first mapping, and `close` for every one.  # B6"""
    text = chardev(UNCOUNTED)
    if counts:
        text = text.replace("vma.vm_ops = bad_vm_ops", "vma.vm_ops = bad_vm_ops; opened(vma)")
    namespace = driver(text)
    run_c(
        m, OPEN + 'map(fd, 0, PAGE, PROT_READ, MAP_SHARED); map(fd, 0, PAGE, PROT_READ, MAP_SHARED); CHECK("yes", 1);'
    )
    notices = [line for line in m.dmesg if "without a matching open" in line]
    if counts:
        assert namespace["counted"] == [0] and notices == []
        return
    assert namespace["counted"] == [-2]
    (notice,) = notices  # once, not for every mapping
    assert "close (closed, bad.py:11) of area" in notice and "/dev/bad" in notice
    assert "the mmap method (bad_mmap, bad.py:3) did not call opened" in notice


def test_a_sleeping_nopage_hands_over_its_page(m: Machine, driver: Load, run_c: Run) -> None:
    """No mistake, and not taken for one: it allocates, sleeps while another process faults, and answers.  # B7, B9"""
    driver(
        chardev("""
        gate = wait_queue_head_t()
        inside = []
        def nopage(vma, address, type):
            page = virt_to_page(get_zeroed_page(GFP_KERNEL))
            inside.append(address)
            wake_up(gate)
            wait_event(gate, lambda: len(inside) >= 2)
            return page
        bad_vm_ops = vm_operations_struct(nopage=nopage)
    """)
    )
    run_c(
        m,
        OPEN
        + """
        char *p = map(fd, 0, PAGE, RW, MAP_SHARED);
        pid_t child = fork();
        p[0] = 1;
        if (child == 0) _exit(0);
        int status;
        EQUAL("wait", waitpid(child, &status, 0), child);
        EQUAL("child", status, 0);
    """,
    )
    assert m.kernel.reports == [] and m.unload("bad") == []
