"""Frames that are mapped without being counted, in drivers of today; taking mappings away; bits of the entries."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from machine.hardware.paging import PCD, PWT
from machine.hardware.ram import PAGE_SHIFT
from machine.kernel.mm.vma import VM_DONTDUMP, VM_DONTEXPAND, VM_IO, VM_PFNMAP
from tests.drivers.conftest import chardev
from tests.drivers.test_dialects import FAULT, OPEN, P, pfn_of, today

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]


REMAP = """
def bad_mmap(filp, vma):
    areas.append(vma)
    size = vma.vm_end - vma.vm_start - (PAGE_SIZE if vma.vm_pgoff == 1 else 0)
    return remap_pfn_range(vma, vma.vm_start, __pa(page_of_device) >> PAGE_SHIFT, size, vma.vm_page_prot)
memcpy(page_of_device, b"data", 4)
"""


def test_remap_pfn_range_shows_ram(m: Machine, driver: Load, run_c: Run) -> None:
    """Since 2.6.15 (B4 is 2.6.10): the page itself, both ways; not counted, not resident; the area can't grow."""
    d = driver(today(REMAP))
    run_c(m, OPEN + """
        char line[200], *p = map(fd, 0, PAGE, RW, MAP_SHARED);
        CHECK("seen", !memcmp(p, "data", 4));
        p[0] = 'D';
        if (!fork()) { p[1] = 'A'; _exit(0); }
        wait(NULL);
        EQUAL("protect", mprotect(p, PAGE, PROT_NONE), 0);
        EQUAL("and back", mprotect(p, PAGE, RW), 0);
        CHECK("still seen", !memcmp(p, "DAta", 4));
        p = mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, hole(1));
        CHECK("moved", !memcmp(p, "DAta", 4));
        ERRNO("grow", mremap(p, PAGE, 2 * PAGE, MREMAP_MAYMOVE), EFAULT);
        ERRNO("MADV_DONTNEED", madvise(p, PAGE, MADV_DONTNEED), EINVAL);
        FILE *f = fopen("/proc/self/smaps", "r");
        int inside = 0, rss = -1;
        while (fgets(line, sizeof line, f)) {
            if (strstr(line, "/dev/bad")) inside = 1;
            if (inside && sscanf(line, "Rss: %d", &rss) == 1) break;
        }
        EQUAL("rss", rss, 0);
    """)  # fmt: skip
    pfn, flags = pfn_of(d), VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP
    assert bytes(m.kernel.ram.view[pfn << PAGE_SHIFT : (pfn << PAGE_SHIFT) + 4]) == b"DAta"
    assert (m.kernel.mem.count[pfn], m.kernel.mem.mapcount[pfn]) == (1, 0)
    assert d["areas"][0].vm_flags & flags == flags
    assert m.unload("bad") == [] and m.kernel.reports == []


def test_a_private_write_to_frames_is_a_copy(m: Machine, driver: Load, run_c: Run) -> None:
    """RAM and device memory alike, where 2.6.10 ends the process (B3); a private area is mapped whole or not at all."""
    d = driver(today(REMAP))
    run_c(m, OPEN + """
        char *p = map(fd, 0, PAGE, RW, MAP_PRIVATE);
        p[0] = 'X'; CHECK("one's own", !memcmp(p, "Xata", 4));
        if (!fork()) { p[1] = 'Y'; _exit(0); }
        wait(NULL); CHECK("and the child's", !memcmp(p, "Xata", 4));
        ERRNO("not whole", map(fd, PAGE, 2 * PAGE, RW, MAP_PRIVATE), EINVAL);
        p = map(fd, PAGE, 2 * PAGE, RW, MAP_SHARED); CHECK("shared may be", !memcmp(p, "data", 4));
    """)  # fmt: skip
    assert bytes(m.kernel.ram.view[pfn_of(d) << PAGE_SHIFT :][:4]) == b"data"
    assert d["areas"][0].vm_pgoff == pfn_of(d)
    assert m.kernel.mem.count[pfn_of(d)] == 1 and m.kernel.reports == []


def test_device_memory(m: Machine, driver: Load, run_c: Run) -> None:
    """vm_iomap_memory: offset and size against the device's; a frame buffer without struct pages, copied if private."""
    memory = bytearray(4 * P)
    memory[P : P + 4] = b"page"
    m.kernel.bus.attach_memory(memory, 0x9000_0000)
    driver(today("""
        def bad_mmap(filp, vma):
            return vm_iomap_memory(vma, 0x90000000, 3 * PAGE_SIZE + 10)
    """))  # fmt: skip
    run_c(m, OPEN + """
        char *p = map(fd, PAGE, 2 * PAGE, RW, MAP_SHARED), *q = map(fd, PAGE, PAGE, RW, MAP_PRIVATE);
        CHECK("device", !memcmp(p, "page", 4));
        p[0] = 'P'; q[1] = 'A';
        CHECK("private copy", !memcmp(p, "Page", 4) && !memcmp(q, "PAge", 4));
        CHECK("all of it", map(fd, 0, 4 * PAGE, RW, MAP_SHARED) != MAP_FAILED);
        ERRNO("more", map(fd, 0, 5 * PAGE, RW, MAP_SHARED), EINVAL);
        ERRNO("beyond", map(fd, 4 * PAGE, PAGE, RW, MAP_SHARED), EINVAL);
    """)  # fmt: skip
    assert memory[P : P + 4] == b"Page"


INSERT_PFN = """
def bad_mmap(filp, vma):
    areas.append(vma)
    vm_flags_set(vma, {flags})
    vma.vm_ops = ops
    return 0
def bad_fault(vmf):
    results.append(vmf.pgoff)
    return vmf_insert_pfn(vmf.vma, vmf.address, __pa(page_of_device) >> PAGE_SHIFT)
ops = vm_operations_struct(fault=bad_fault)
"""


def test_vmf_insert_pfn(m: Machine, driver: Load, run_c: Run) -> None:
    """An entry a fault, not counted; zap_vma_ptes takes it away and the next touch asks again."""
    d = driver(today(INSERT_PFN.replace("{flags}", "VM_PFNMAP") + """
def ioctl(filp, cmd, arg):
    zap_vma_ptes(areas[0], areas[0].vm_start, PAGE_SIZE)
    return 0
""", "dict(unlocked_ioctl=ioctl, compat_ioctl=ioctl)"))  # fmt: skip
    run_c(m, OPEN + """
        char *p = map(fd, 0, 2 * PAGE, RW, MAP_SHARED);
        p[0] = 4; p[1] = 5; EQUAL("the same page", p[PAGE] + p[PAGE + 1], 9);
        EQUAL("zap", ioctl(fd, 0, 0), 0);
        EQUAL("again", p[0] + p[PAGE], 8);
    """)  # fmt: skip
    assert d["results"] == [0, 1, 0]
    assert m.kernel.mem.count[pfn_of(d)] == 1 and m.kernel.reports == []


@pytest.mark.parametrize(
    "flags, how, why",
    [
        ("0", "MAP_SHARED", "neither VM_PFNMAP nor VM_MIXEDMAP"),
        ("VM_PFNMAP", "MAP_PRIVATE", "private and writable"),
        ("VM_MIXEDMAP", "MAP_SHARED", "use vm_insert_page"),
    ],
)
def test_vmf_insert_pfn_in_the_wrong_area(m: Machine, driver: Load, run_c: Run, flags: str, how: str, why: str) -> None:
    """What is a BUG_ON in the kernel is reported with the driver's line; the process gets SIGBUS."""
    driver(today(INSERT_PFN.replace("{flags}", flags)))
    result = run_c(m, OPEN + f"return *(char *)map(fd, 0, PAGE, RW, {how});", fine=False)
    assert result.signal == 7
    assert len(m.kernel.reports) == 1 and why in m.kernel.reports[0] and "in bad_fault" in m.kernel.reports[0]


def test_pgprot_writecombine(m: Machine, driver: Load, run_c: Run) -> None:
    """PWT without PCD in the entries."""
    entries: list[int] = []
    m.events.listen("fault", lambda f: entries.append(f.walk_after[-1][1]) if "/dev/bad" in f.vma else None)
    driver(today(FAULT.replace("vma.vm_ops = ops", "vma.vm_ops = ops\n    vma.vm_page_prot = "
                               "pgprot_writecombine(pgprot_noncached(vma.vm_page_prot))")))  # fmt: skip
    run_c(m, OPEN + 'volatile char *p = map(fd, 0, PAGE, RW, MAP_SHARED); EQUAL("read", p[0], 0);')
    assert [entry & (PCD | PWT) for entry in entries] == [PWT]


@pytest.mark.parametrize("dialect", ["nopage", "fault"])
def test_unmap_mapping_range(m: Machine, driver: Load, run_c: Run, dialect: str) -> None:
    """In every process, the part alone; private copies stay unless even_cows; both dialects."""
    body = """
        def ioctl(filp, cmd, arg):
            unmap_mapping_range(filp.f_mapping, PAGE_SIZE, PAGE_SIZE, cmd)
            return 0
    """
    if dialect == "fault":
        text = today(FAULT + textwrap.dedent(body), "dict(unlocked_ioctl=ioctl, compat_ioctl=ioctl)")
    else:
        text = chardev(body.replace("(filp,", "(inode, filp,") + """
        results = []
        def nopage(vma, address, type):
            results.append((vma.vm_pgoff + (address - vma.vm_start >> PAGE_SHIFT),))
            page = virt_to_page(page_of_device)
            get_page(page)
            return page
        bad_vm_ops = vm_operations_struct(nopage=nopage)
        """, "dict(ioctl=ioctl)")  # fmt: skip
    d = driver(text)
    run_c(m, OPEN + """
        volatile char c, *p = map(fd, 0, 3 * PAGE, RW, MAP_SHARED), *q = map(fd, PAGE, PAGE, RW, MAP_PRIVATE);
        c = p[0]; c = p[PAGE]; c = p[2 * PAGE]; q[0] = 7; c = q[0];
        EQUAL("unmap", ioctl(fd, 0, 0), 0);
        EQUAL("the copy stays", q[0], 7);
        c = p[0]; c = p[PAGE];
        if (!fork()) { ioctl(fd, 1, 0); _exit(0); }
        wait(NULL);
        c = p[0]; c = p[PAGE];
        EQUAL("the copy is gone", q[0], 0);
    """)  # fmt: skip
    assert [result[0] for result in d["results"]] == [0, 1, 2, 1, 1, 1, 1]
    assert m.unload("bad") == [] and m.kernel.reports == []


def test_what_is_mapped_already(m: Machine, driver: Load, run_c: Run) -> None:
    """A second remap_pfn_range, and counted pages in an area of frames: the kernel's BUG_ON, with the driver's line."""
    d = driver(today("""
        def bad_mmap(filp, vma):
            pfn = __pa(page_of_device) >> PAGE_SHIFT
            for _ in range(2):
                results.append(remap_pfn_range(vma, vma.vm_start, pfn, PAGE_SIZE, vma.vm_page_prot))
            results.append(vm_insert_page(vma, vma.vm_start + PAGE_SIZE, virt_to_page(page_of_device)))
            results.append(remap_pfn_range(vma, vma.vm_start + PAGE_SIZE, 1 << 45, PAGE_SIZE, vma.vm_page_prot))
            results.append(remap_pfn_range(vma, vma.vm_end, pfn, PAGE_SIZE, vma.vm_page_prot))
            return 0
    """))  # fmt: skip
    run_c(m, OPEN + 'char *p = map(fd, 0, 2 * PAGE, RW, MAP_SHARED); p[0] = 9; EQUAL("the first stays", p[0], 9);')
    assert d["results"] == [0, -22, -22, -22, -22]
    assert ["mapped there already" in text for text in m.kernel.reports] == [True, False, False]
    assert "there is no frame 0x200000000000" in m.kernel.reports[2]
    assert "VM_PFNMAP" in m.kernel.reports[1] and all("in bad_mmap" in text for text in m.kernel.reports)
    assert m.kernel.mem.count[pfn_of(d)] == 1
