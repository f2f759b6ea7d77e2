"""Mistakes of drivers are found and named: file and line, page or area, and the guest's instruction (B6, B9, D6).

Those of `free_pages`, kmalloc, vmalloc and ioremap have tests of their own (test_kernel_memory, test_slab,
test_vmalloc, test_ioremap); what a method returns is in test_nonsense, a forgotten `get_page` in test_driver_calls.
"""

from __future__ import annotations

import cProfile
import pstats
import re
from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from machine.kernel.linux import PAGE_OFFSET
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


def test_a_reference_to_another_page_than_the_answer(m: Machine, driver: Load, run_c: Run) -> None:
    """The first get_page of a nopage is taken for its answer's; of one that is not, the method is told.  # B9, D6"""
    driver(
        chardev(
            """
        def nopage(vma, address, type):
            get_page(virt_to_page(other))
            page = virt_to_page(page_of_device)
            get_page(page)
            return page
        def release(inode, filp):
            free_page(other)
            return 0
        other = __get_free_page(GFP_KERNEL)
        bad_vm_ops = vm_operations_struct(nopage=nopage)
    """,
            "{'release': release}",
        )
    )
    run_c(m, OPEN + 'char *p = map(fd, 0, PAGE, PROT_READ, MAP_SHARED); EQUAL("read", p[0], 0);')
    (line,) = m.unload("bad")
    assert line.endswith("1 reference from get_page without put_page, the last at bad.py:8 in nopage"), line


def test_where_a_reference_was_taken_while_a_nopage_sleeps(m: Machine, driver: Load, run_c: Run) -> None:
    """What another process's call takes meanwhile is not the sleeping method's.  # B9, D6"""
    driver(
        chardev(
            """
        def nopage(vma, address, type):
            msleep(100)
            page = virt_to_page(page_of_device)
            get_page(page)
            return page
        def write(filp, buf, count, f_pos):
            get_page(virt_to_page(page_of_device))
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
        int status, pid = fork();
        if (pid == 0)
            _exit(p[0]);
        usleep(30000);
        EQUAL("write", write(fd, "x", 1), 1);
        waitpid(pid, &status, 0);
        EQUAL("status", status, 0);
        """,
    )
    (line,) = m.unload("bad")
    assert line.endswith("1 reference from get_page without put_page, the last at bad.py:14 in write"), line


FORGETFUL = """
        def nopage(vma, address, type):
            return virt_to_page(page_of_device)
        bad_vm_ops = vm_operations_struct(nopage=nopage)
"""


def test_a_missing_get_page_harms_nobody(m: Machine, driver: Load, run_c: Run) -> None:
    """Reported once, and the reference is taken in the driver's stead: the page stays the driver's.  # B9"""
    namespace = driver(chardev(FORGETFUL))
    for _again in range(2):
        run_c(
            m,
            OPEN
            + """
            char *p = map(fd, 0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
            char *q = map(fd, 0, PAGE, PROT_READ, MAP_SHARED);
            EQUAL("read", q[0], 0);
            p[1]++;
            munmap(p, PAGE);
            CHECK("the page is still there", q[1] >= 1 && q[1] <= 2);
        """,
        )
    (report,) = m.kernel.reports
    assert "without get_page" in report and "bad.nopage" in report and "/dev/bad" in report
    assert re.search(r"; \w+\[\d+\] at 0x[0-9a-f]+$", report), "the guest's instruction"
    assert m.kernel.mem.count[namespace["page_of_device"] - PAGE_OFFSET >> 12] == 1
    m.kernel.reports.clear()


HANDED_OVER = """
        page = 0
        def nopage(vma, address, type):
            global page
            if not page:
                page = get_zeroed_page(GFP_KERNEL)
            return virt_to_page(page)
        bad_vm_ops = vm_operations_struct(nopage=nopage)
"""


def test_a_page_that_was_handed_over_is_used_again(m: Machine, driver: Load, run_c: Run) -> None:
    """Its only reference belongs to the first mapping: a second one needs `get_page`.  # B9"""
    driver(chardev(HANDED_OVER))
    run_c(
        m,
        OPEN
        + """
        char *p = map(fd, 0, PAGE, PROT_READ, MAP_SHARED), *q = map(fd, 0, PAGE, PROT_READ, MAP_SHARED);
        EQUAL("first", p[0], 0);
        EQUAL("second", q[0], 0);
    """,
    )
    (report,) = m.kernel.reports
    assert "bad.nopage returned it again, which it had handed over with the only reference" in report
    m.kernel.reports.clear()
    m.run(["mapper", "/dev/bad", "0", "4"])  # whatever has become of the frame meanwhile
    (report,) = m.kernel.reports
    free = "is free: the driver has freed it, or gave its only reference away (no get_page)"
    assert free in report or re.search(r"which is (anonymous|page \w+) now and not the driver's, without", report), (
        report
    )
    m.kernel.reports.clear()


def test_freed_while_mapped(m: Machine, driver: Load, run_c: Run) -> None:
    """The driver's free brings the count of a page to zero while an entry maps it.  # B9"""
    driver(
        chardev(
            HANDED_OVER
            + """
        def write(filp, buf, count, f_pos):
            free_page(page)
            return count
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
    report = m.kernel.reports[0]
    assert "freed while 1 page-table entries map it" in report
    assert re.search(r"; \w+\[\d+\] at 0x[0-9a-f]+$", report), "the guest's instruction"


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


def test_a_profiler_may_run(m: Machine, driver: Load, run_c: Run) -> None:
    """The look at the `mmap` method gives way to cProfile."""
    driver(chardev(UNCOUNTED))
    with cProfile.Profile() as profile:
        run_c(m, OPEN + 'map(fd, 0, PAGE, PROT_READ, MAP_SHARED); CHECK("yes", 1);')
    assert any(function == "bad_mmap" for _file, _line, function in profile.getstats() and pstats.Stats(profile).stats)
    assert m.kernel.oopses == []
