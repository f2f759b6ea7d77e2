"""Drivers in the names of today (KERNEL = (6, 1)): fault, page_mkwrite, vm_insert_page and its relatives."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from machine.events import PageFault
from machine.hardware.ram import PAGE_SHIFT
from machine.kernel.include.pages import PAGE_OFFSET
from machine.kernel.mm.vma import VM_DONTDUMP, VM_DONTEXPAND, VM_MIXEDMAP, VM_PFNMAP

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]

OPEN = 'int fd = must_open("/dev/bad", O_RDWR);'
P = 4096
RAM = """
KERNEL = (6, 1)
page_of_device = get_zeroed_page(GFP_KERNEL)
areas, results = [], []
{body}
fops = file_operations(mmap=bad_mmap, **{methods})
major = register_chrdev(0, "bad", fops)
devfs_mk_cdev(MKDEV(major, 0), 0o666, "bad")
def cleanup():
    devfs_remove("bad")
    unregister_chrdev(major, "bad")
    free_page(page_of_device)
module_exit(cleanup)
"""
"""A driver of today with one page; its body has a `bad_mmap`."""


def today(body: str, methods: str = "{}") -> str:
    return RAM.replace("{body}", textwrap.dedent(body)).replace("{methods}", methods)


def pfn_of(d: dict[str, Any]) -> int:
    return (d["page_of_device"] - PAGE_OFFSET) >> PAGE_SHIFT  # type: ignore[no-any-return]


FAULT = """
def bad_mmap(filp, vma):
    areas.append(vma)
    vma.vm_ops = ops
    return 0
def bad_fault(vmf):
    results.append((vmf.pgoff, vmf.address - vmf.vma.vm_start, vmf.real_address & PAGE_SIZE - 1, vmf.flags))
    vmf.page = virt_to_page(page_of_device)
    get_page(vmf.page)
    return 0
ops = vm_operations_struct(fault=bad_fault)
"""


# -- fault -------------------------------------------------------------------------------------------------


def test_what_fault_sees(m: Machine, driver: Load, run_c: Run) -> None:
    """Offset, address, write or read; a page asked for once; its references dropped at exit."""
    d = driver(today(FAULT))
    run_c(m, OPEN + """
        volatile char c, *p = map(fd, 8 * PAGE, 4 * PAGE, RW, MAP_SHARED);
        c = p[PAGE + 5]; p[PAGE] = 3; p[2 * PAGE] = 7; c = p[2 * PAGE + 1];
        EQUAL("one page behind both", p[PAGE], 7);
        int q[2]; EQUAL("pipe", pipe(q), 0); (void)!write(q[1], "x", 1);
        EQUAL("the kernel's own copy faults too", read(q[0], (char *)p + 3 * PAGE, 1), 1);
        CHECK("there", c == 0 && p[0] == 'x');
    """)  # fmt: skip
    user, write = 0x40, 0x1
    assert d["results"] == [
        (9, P, 5, user), (10, 2 * P, 0, user | write), (11, 3 * P, 0, write), (8, 0, 0, user),
    ]  # fmt: skip
    pfn = pfn_of(d)
    assert (m.kernel.mem.count[pfn], m.kernel.mem.mapcount[pfn]) == (1, 0)
    assert m.kernel.reports == [] and m.unload("bad") == []


def test_a_private_write_is_a_copy(m: Machine, driver: Load, run_c: Run) -> None:
    d = driver(today(FAULT))
    run_c(m, OPEN + """
        char *p = map(fd, 0, 2 * PAGE, RW, MAP_PRIVATE), *s = map(fd, 0, PAGE, RW, MAP_SHARED);
        s[1] = 5; EQUAL("read", p[1], 5); p[1] = 6; p[PAGE + 1] = 8;
        EQUAL("copied", s[1], 5); EQUAL("one's own", p[1] + p[PAGE + 1], 14);
    """)  # fmt: skip
    pfn = pfn_of(d)
    assert m.kernel.ram.view[(pfn << PAGE_SHIFT) + 1] == 5 and m.kernel.mem.count[pfn] == 1
    assert m.kernel.reports == []


@pytest.mark.parametrize(
    "answer, signal", [("VM_FAULT_SIGBUS", 7), ("VM_FAULT_OOM", 9), ("VM_FAULT_SIGSEGV", 11)]
)  # fmt: skip
def test_refusals(m: Machine, driver: Load, run_c: Run, answer: str, signal: int) -> None:
    """Each is its signal; inside a system call it is EFAULT."""
    driver(today(FAULT + f"\nops.fault = lambda vmf: {answer}"))
    result = run_c(m, OPEN + "return *(char *)map(fd, 0, PAGE, PROT_READ, MAP_SHARED);", fine=False)
    assert result.signal == signal and m.kernel.reports == []
    if signal != 9:
        run_c(m, OPEN + """
            int z[2]; EQUAL("pipe", pipe(z), 0);
            ERRNO("in a call", write(z[1], map(fd, 0, PAGE, PROT_READ, MAP_SHARED), 1), EFAULT);
        """)  # fmt: skip


def test_a_major_fault_is_counted(m: Machine, driver: Load, run_c: Run) -> None:
    driver(today(FAULT + "\ndef slow(vmf):\n    return bad_fault(vmf) | VM_FAULT_MAJOR\nops.fault = slow"))
    run_c(m, "#include <sys/resource.h>\n" + OPEN + """
        struct rusage before, after;
        volatile char *p = map(fd, 0, 3 * PAGE, PROT_READ, MAP_SHARED);
        getrusage(RUSAGE_SELF, &before); p[0]; p[2 * PAGE]; getrusage(RUSAGE_SELF, &after);
        EQUAL("major", after.ru_majflt - before.ru_majflt, 2);
    """)  # fmt: skip


def test_an_area_without_fault_has_no_zero_pages(m: Machine, driver: Load, run_c: Run) -> None:
    """2.6.10 gives zeros (B8); today's driver areas are never anonymous."""
    driver(today("def bad_mmap(filp, vma):\n    return 0"))
    assert run_c(m, OPEN + "return *(char *)map(fd, 0, PAGE, PROT_READ, MAP_SHARED);", fine=False).signal == 7


def test_a_fault_that_sleeps(m: Machine, driver: Load, run_c: Run) -> None:
    """Two processes touch one page while its method sleeps: each asks, no reference is lost."""
    d = driver(today(FAULT + """
sem = semaphore()
def slow(vmf):
    down(sem)
    result = bad_fault(vmf)
    up(sem)
    return result
def write(filp, buf, count, f_pos):
    up(sem)
    return count
ops.fault = slow
down(sem)
""", "dict(write=write)"))  # fmt: skip
    run_c(m, OPEN + """
        volatile char *p = map(fd, 0, PAGE, RW, MAP_SHARED);
        if (!fork()) { p[0]++; _exit(0); }
        if (!fork()) { p[0]++; _exit(0); }
        usleep(20000);
        EQUAL("go on", write(fd, "x", 1), 1);
        wait(NULL); wait(NULL);
        EQUAL("both were", p[0], 2);
    """)  # fmt: skip
    assert len(d["results"]) == 3 and m.kernel.mem.count[pfn_of(d)] == 1


# -- page_mkwrite --------------------------------------------------------------------------------------------

MKWRITE = (
    FAULT
    + """
asked = []
def bad_mkwrite(vmf):
    asked.append((vmf.pgoff, vmf.page is not None and page_to_pfn(vmf.page)))
    {answer}
ops = vm_operations_struct(fault=bad_fault, page_mkwrite=bad_mkwrite)
"""
)


@pytest.mark.parametrize("answer", ["return 0", "lock_page(vmf.page); return VM_FAULT_LOCKED"])
def test_page_mkwrite(m: Machine, driver: Load, run_c: Run, answer: str) -> None:
    """Before the first write to each shared page, whether it was read before or not; private writes are copies."""
    d = driver(today(MKWRITE.replace("{answer}", answer)))
    run_c(m, OPEN + """
        volatile char c, *p = map(fd, 0, 3 * PAGE, RW, MAP_SHARED), *q = map(fd, 5 * PAGE, PAGE, RW, MAP_PRIVATE);
        c = p[0]; c = p[1]; p[2] = 1; p[3] = 2; p[PAGE] = 3; q[0] = 1; c = p[2 * PAGE];
        CHECK("once more after a change of protection", !mprotect((char *)p, PAGE, PROT_READ)
              && !mprotect((char *)p, PAGE, RW));
        p[4] = 1; p[5] = 1;
        int z[2]; EQUAL("pipe", pipe(z), 0); (void)!write(z[1], "x", 1);
        EQUAL("a system call's write", read(z[0], (char *)p + 2 * PAGE, 1), 1);
        CHECK("there", c == 3 || c == 0);
    """)  # fmt: skip
    pfn = pfn_of(d)
    assert d["asked"] == [(0, pfn), (1, pfn), (0, pfn), (2, pfn)]
    assert m.kernel.mem.count[pfn] == 1 and m.kernel.reports == []


def test_page_mkwrite_may_refuse(m: Machine, driver: Load, run_c: Run) -> None:
    """Reads work, a write is SIGBUS, in a system call EFAULT; the references are right all the same."""
    d = driver(today(MKWRITE.replace("{answer}", "return VM_FAULT_SIGBUS")))
    result = run_c(m, OPEN + """
        volatile char *p = map(fd, 0, 2 * PAGE, RW, MAP_SHARED);
        int z[2]; EQUAL("pipe", pipe(z), 0); (void)!write(z[1], "x", 1);
        EQUAL("read", p[0], 0);
        ERRNO("a system call", read(z[0], (char *)p, 1), EFAULT);
        ERRNO("of the first touch", read(z[0], (char *)p + PAGE, 1), EFAULT);
        fflush(stdout); p[0] = 1;
    """, fine=False)  # fmt: skip
    assert result.signal == 7 and b"FAIL" not in result.stdout
    assert m.kernel.mem.count[pfn_of(d)] == 1 and m.kernel.reports == []


# -- vm_insert_page ------------------------------------------------------------------------------------------

INSERT = """
def bad_mmap(filp, vma):
    areas.append(vma)
    page = virt_to_page(page_of_device)
    for at in range(vma.vm_start, vma.vm_end, PAGE_SIZE):
        results.append(vm_insert_page(vma, at, page))
    kmem, freed = kmalloc(100, GFP_KERNEL), __get_free_page(GFP_KERNEL)
    free_page(freed)
    slab, free = virt_to_page(kmem), virt_to_page(freed)
    results.append([vm_insert_page(vma, vma.vm_start, page), vm_insert_page(vma, vma.vm_end, page),
                    vm_insert_page(vma, vma.vm_start, slab), vm_insert_page(vma, vma.vm_start, free)])
    kfree(kmem)
    return 0
"""


def test_vm_insert_page(m: Machine, driver: Load, run_c: Run) -> None:
    """Counted entries, made in mmap: no fault, forked, freed at exit; -EBUSY, -EFAULT, -EINVAL."""
    d = driver(today(INSERT))
    faults: list[PageFault] = []
    m.events.listen("fault", lambda f: faults.append(f) if "/dev/bad" in f.vma else None)
    run_c(m, OPEN + """
        char *p = map(fd, 0, 2 * PAGE, RW, MAP_SHARED);
        p[PAGE] = 5;
        if (!fork()) { p[1] = 6; munmap(p, PAGE); _exit(p[PAGE + 1] - 6); }
        int status; wait(&status);
        EQUAL("child", status, 0); EQUAL("both", p[0] + p[1], 11);
    """)  # fmt: skip
    assert d["results"] == [0, 0, [-16, -14, -22, -22]] and faults == []
    assert d["areas"][0].vm_flags & (VM_MIXEDMAP | VM_PFNMAP) == VM_MIXEDMAP
    pfn = pfn_of(d)
    assert (m.kernel.mem.count[pfn], m.kernel.mem.mapcount[pfn]) == (1, 0)
    assert m.unload("bad") == [] and m.kernel.reports == []


def test_vm_insert_page_outside_mmap(m: Machine, driver: Load, run_c: Run) -> None:
    """In `fault` it wants VM_MIXEDMAP from before (the kernel's BUG_ON), and then answers VM_FAULT_NOPAGE."""
    text = """
        def bad_mmap(filp, vma):
            vma.vm_ops = ops
            if vma.vm_pgoff:
                vm_flags_set(vma, VM_MIXEDMAP)
            return 0
        def bad_fault(vmf):
            if vm_insert_page(vmf.vma, vmf.address, virt_to_page(page_of_device)):
                return VM_FAULT_SIGBUS
            return VM_FAULT_NOPAGE
        ops = vm_operations_struct(fault=bad_fault)
    """
    d = driver(today(text))
    run_c(m, OPEN + 'char *p = map(fd, PAGE, PAGE, RW, MAP_SHARED); p[0] = 1; EQUAL("mapped", p[0], 1);')
    assert m.kernel.reports == [] and m.kernel.mem.count[pfn_of(d)] == 1
    result = run_c(m, OPEN + "return *(char *)map(fd, 0, PAGE, PROT_READ, MAP_SHARED);", fine=False)
    assert result.signal == 7
    assert [True for text in m.kernel.reports if "VM_MIXEDMAP" in text and "in bad_fault" in text] == [True]


def test_arrays_of_pages(m: Machine, driver: Load, run_c: Run) -> None:
    """vm_map_pages counts from the offset, vm_map_pages_zero does not, -ENXIO beyond; vm_insert_pages tells how far."""
    d = driver(today("""
        room = [get_zeroed_page(GFP_KERNEL) for _ in range(4)]
        for i, each in enumerate(room):
            memset(each, i + 1, PAGE_SIZE)
        def bad_mmap(filp, vma):
            pages = [virt_to_page(each) for each in room]
            if vma.vm_pgoff == 9:
                return vm_map_pages_zero(vma, pages, 4)
            if vma.vm_pgoff == 100:
                left = [4]
                results.append((vm_insert_pages(vma, vma.vm_start, pages, left), left[0]))
                return 0
            return vm_map_pages(vma, pages, 4)
        def ioctl(filp, cmd, arg):
            for each in room:
                free_page(each)
            return 0
    """, "dict(unlocked_ioctl=ioctl, compat_ioctl=ioctl)"))  # fmt: skip
    run_c(m, OPEN + """
        char *p = map(fd, PAGE, 3 * PAGE, PROT_READ, MAP_SHARED);
        EQUAL("from the offset", p[0] * 100 + p[PAGE] * 10 + p[2 * PAGE], 234);
        ERRNO("too long", map(fd, PAGE, 4 * PAGE, PROT_READ, MAP_SHARED), ENXIO);
        ERRNO("beyond", map(fd, 4 * PAGE, PAGE, PROT_READ, MAP_SHARED), ENXIO);
        p = map(fd, 9 * PAGE, 4 * PAGE, PROT_READ, MAP_PRIVATE);
        EQUAL("from zero", p[0] * 10 + p[3 * PAGE], 14);
        p = map(fd, 100 * PAGE, 3 * PAGE, PROT_READ, MAP_SHARED);
        EQUAL("three fit", p[0] * 10 + p[2 * PAGE], 13);
        EQUAL("freed while mapped", ioctl(fd, 0, 0), 0);
        EQUAL("still there", p[0] * 10 + p[2 * PAGE], 13);
    """)  # fmt: skip
    assert d["results"] == [(-14, 1)]
    assert m.unload("bad") == [] and m.kernel.reports == []


def test_remap_vmalloc_range(m: Machine, driver: Load, run_c: Run) -> None:
    """What vmalloc_user gave, from an offset on; -EINVAL beyond it, and for plain vmalloc."""
    d = driver(today("""
        memory, plain = vmalloc_user(3 * PAGE_SIZE), vmalloc(PAGE_SIZE)
        memcpy(memory + PAGE_SIZE - 2, b"abcd", 4)
        def bad_mmap(filp, vma):
            areas.append(vma)
            return remap_vmalloc_range(vma, plain if vma.vm_pgoff == 7 else memory, vma.vm_pgoff)
        def release(inode, filp):
            results.append(bytes(kernel_memory(memory + PAGE_SIZE - 2, 4)))
            vfree(memory)
            vfree(plain)
            return 0
    """, "dict(release=release)"))  # fmt: skip
    run_c(m, OPEN + """
        char *p = map(fd, 0, 3 * PAGE, RW, MAP_SHARED), *q = map(fd, PAGE, 2 * PAGE, PROT_READ, MAP_SHARED);
        CHECK("across pages", !memcmp(p + PAGE - 2, "abcd", 4) && q[0] == 'c');
        p[PAGE - 2] = 'A'; p[PAGE + 1] = 'D';
        EQUAL("both see it", q[1], 'D');
        ERRNO("too long", map(fd, PAGE, 3 * PAGE, RW, MAP_SHARED), EINVAL);
        ERRNO("not for users", map(fd, 7 * PAGE, PAGE, RW, MAP_SHARED), EINVAL);
        ERRNO("does not grow", mremap(p, 3 * PAGE, 4 * PAGE, MREMAP_MAYMOVE), EFAULT);
    """)  # fmt: skip
    assert d["results"] == [b"AbcD"]
    assert d["areas"][0].vm_flags & (VM_DONTEXPAND | VM_DONTDUMP) == VM_DONTEXPAND | VM_DONTDUMP
    assert m.unload("bad") == [] and m.kernel.reports == []
