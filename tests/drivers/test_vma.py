"""The area that a driver sees, and what it hears of its life (MECHANISMS B1, B2, B6, B11, B12, B14)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from machine.hardware.paging import PCD, PWT
from machine.kernel.mm.vma import VM_MAYREAD, VM_MAYWRITE, VM_READ, VM_SHARED, VM_WRITE
from tests.drivers.conftest import chardev

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]

OPEN = 'int fd = must_open("/dev/bad", O_RDWR);'

HEARD = """
    heard = []
    def vma_open(vma):
        heard.append(("open", vma.vm_start - base[0], vma.vm_end - base[0], vma.vm_pgoff))
    def vma_close(vma):
        heard.append(("close", vma.vm_start - base[0], vma.vm_end - base[0], vma.vm_pgoff))
    base = [0]
    def mmap(filp, vma):
        base[0] = vma.vm_start
        vma.vm_ops = vm_ops
        heard.append(("mmap", vma.vm_end - vma.vm_start, vma.vm_pgoff))
        return 0
    vm_ops = vm_operations_struct(open=vma_open, close=vma_close)
    fops = file_operations(mmap=mmap)
    register_chrdev(42, "bad", fops)
    devfs_mk_cdev(MKDEV(42, 0), 0o666, "bad")
    def cleanup():
        devfs_remove("bad")
        unregister_chrdev(42, "bad")
    module_exit(cleanup)
"""
P = 4096


def test_the_fields_of_an_area(m: Machine, driver: Load, run_c: Run) -> None:
    """Bounds, offset, flags, file, mm; the length rounded up before the driver sees it.  # B1, B2, B14"""
    d = driver("""
        seen = []
        def mmap(filp, vma):
            seen.append(dict(size=vma.vm_end - vma.vm_start, pgoff=vma.vm_pgoff, offset=vma.vm_offset,
                flags=vma.vm_flags, same_file=vma.vm_file is filp, ops=vma.vm_ops, private=vma.vm_private_data,
                mm=vma.vm_mm, prot=vma.vm_page_prot))
            vma.vm_private_data = "mine"
            vma.vm_flags |= VM_RESERVED | VM_DONTEXPAND
            vma.vm_page_prot = pgprot_noncached(vma.vm_page_prot)
            vma.vm_ops = vm_ops
            areas.append(vma)
            return 0
        areas = []
        vm_ops = vm_operations_struct()
        fops = file_operations(mmap=mmap)
        register_chrdev(42, "bad", fops)
        devfs_mk_cdev(MKDEV(42, 0), 0o666, "bad")
    """)
    run_c(m, OPEN + """
        char *p = map(fd, 3 * PAGE, PAGE + 1, RW, MAP_SHARED), *q = map(fd, 0, PAGE, PROT_READ, MAP_PRIVATE);
        p[0] = 1;
        EQUAL("read", q[0], 0);
        ERRNO("grow", mremap(p, 2 * PAGE, 3 * PAGE, MREMAP_MAYMOVE), EFAULT);
        ERRNO("offset", map(fd, 5, PAGE, PROT_READ, MAP_SHARED), EINVAL);
    """)  # fmt: skip
    shared, private = d["seen"]
    assert (shared["size"], shared["pgoff"], shared["offset"]) == (2 * P, 3, 3 * P)
    assert shared["flags"] & (VM_READ | VM_WRITE | VM_SHARED) == VM_READ | VM_WRITE | VM_SHARED
    assert shared["same_file"] and shared["ops"] is None and shared["private"] is None and shared["mm"] is not None
    assert (private["size"], private["pgoff"]) == (P, 0)
    assert private["flags"] & (VM_READ | VM_WRITE | VM_SHARED) == VM_READ
    assert private["flags"] & (VM_MAYREAD | VM_MAYWRITE) == VM_MAYREAD | VM_MAYWRITE
    assert not shared["prot"] & (PCD | PWT)
    assert d["areas"][0].vm_page_prot & (PCD | PWT) == PCD | PWT
    assert d["areas"][0].vm_private_data == "mine"


def test_what_the_driver_wrote_is_in_the_entries(m: Machine, driver: Load, run_c: Run) -> None:
    """`pgprot_noncached` in `mmap`: the entries that faults make later have PCD and PWT.  # B2, B5"""
    entries: list[int] = []
    m.events.listen("fault", lambda f: entries.append(f.walk_after[-1][1]) if "/dev/bad" in f.vma else None)
    driver(
        chardev("""
        def nopage(vma, address, type):
            vma.vm_page_prot = pgprot_noncached(vma.vm_page_prot)
            page = virt_to_page(page_of_device)
            get_page(page)
            return page
        bad_vm_ops = vm_operations_struct(nopage=nopage)
    """)
    )
    run_c(m, OPEN + 'volatile char *p = map(fd, 0, PAGE, RW, MAP_SHARED); EQUAL("read", p[0], 0);')
    assert [entry & (PCD | PWT) for entry in entries] == [PCD | PWT]


@pytest.mark.parametrize("errno", ["EAGAIN", "EINVAL", "ENODEV", "EPERM"])
def test_a_refusal_is_the_callers_errno(m: Machine, driver: Load, run_c: Run, errno: str) -> None:
    """The area is gone again, what the driver mapped already is gone too, and there is no `close`.  # B1, B6"""
    d = driver(f"""
        closed = []
        def mmap(filp, vma):
            vma.vm_ops = vm_operations_struct(close=closed.append)
            remap_pfn_range(vma, vma.vm_start, 0xf0000 >> PAGE_SHIFT, PAGE_SIZE, vma.vm_page_prot)
            return -{errno}
        fops = file_operations(mmap=mmap)
        register_chrdev(42, "bad", fops)
        devfs_mk_cdev(MKDEV(42, 0), 0o666, "bad")
    """)
    run_c(m, OPEN + f"""
        char *p = mmap(NULL, 2 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        munmap(p, 2 * PAGE);
        ERRNO("refused", mmap(p, 2 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0), {errno});
        ERRNO("the range is free", msync(p, PAGE, MS_ASYNC), ENOMEM);
    """)  # fmt: skip
    assert d["closed"] == []


def test_no_mmap_method(m: Machine, driver: Load, run_c: Run) -> None:
    driver('register_chrdev(42, "bad", file_operations())\ndevfs_mk_cdev(MKDEV(42, 0), 0o666, "bad")')
    run_c(m, OPEN + 'ERRNO("no method", map(fd, 0, PAGE, PROT_READ, MAP_SHARED), ENODEV);')  # B1


def test_split_calls_open_for_the_new_part(m: Machine, driver: Load, run_c: Run) -> None:
    """munmap of the middle: two splits, the hole's area is closed; the rest at exit.  # B6"""
    d = driver(HEARD)
    run_c(m, OPEN + 'char *p = map(fd, 8 * PAGE, 4 * PAGE, RW, MAP_SHARED); EQUAL("hole", munmap(p + PAGE, PAGE), 0);')
    assert d["heard"] == [
        ("mmap", 4 * P, 8),
        ("open", P, 4 * P, 9),
        ("open", P, 2 * P, 9),
        ("close", P, 2 * P, 9),
        ("close", 0, P, 8),
        ("close", 2 * P, 4 * P, 10),
    ]


def test_mprotect_splits_too(m: Machine, driver: Load, run_c: Run) -> None:
    d = driver(HEARD)
    run_c(
        m, OPEN + 'char *p = map(fd, 0, 2 * PAGE, RW, MAP_SHARED); EQUAL("", mprotect(p + PAGE, PAGE, PROT_READ), 0);'
    )
    assert [what for what, *_ in d["heard"]] == ["mmap", "open", "close", "close"]  # B6: it has a close, never merged


def test_mremap(m: Machine, driver: Load, run_c: Run) -> None:
    """Shrinking splits and closes the tail; growing is silent; a move opens the new, closes the old.  # B6, B11"""
    d = driver(HEARD)
    run_c(m, OPEN + """
        char *room = mmap(NULL, 16 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        munmap(room, 16 * PAGE);
        char *p = mmap(room, 4 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0);
        EQUAL("shrink", mremap(p, 4 * PAGE, 2 * PAGE, 0) == p, 1);
        EQUAL("grow", mremap(p, 2 * PAGE, 3 * PAGE, 0) == p, 1);
        p[2 * PAGE] = 7;
        EQUAL("zeros beyond", p[2 * PAGE + 1] + p[0], 0);
        char *q = mremap(p, 3 * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room + 8 * PAGE);
        EQUAL("moved", q == room + 8 * PAGE, 1);
        EQUAL("the page came along", q[2 * PAGE], 7);
    """)  # fmt: skip
    assert d["heard"] == [
        ("mmap", 4 * P, 0),
        ("open", 2 * P, 4 * P, 2),
        ("close", 2 * P, 4 * P, 2),
        ("open", 8 * P, 11 * P, 0),
        ("close", 0, 3 * P, 0),
        ("close", 8 * P, 11 * P, 0),
    ]


def test_fork_opens_unless_dontcopy(m: Machine, driver: Load, run_c: Run) -> None:
    """One open a child; none, and no area, with VM_DONTCOPY (here by madvise).  # B6, B12"""
    d = driver(HEARD)
    run_c(m, OPEN + """
        char *p = map(fd, 0, PAGE, RW, MAP_SHARED), *q = map(fd, PAGE, PAGE, RW, MAP_SHARED);
        EQUAL("dontfork", madvise(q, PAGE, MADV_DONTFORK), 0);
        int status;
        if (!fork()) { p[0] = 1; _exit(msync(q, PAGE, MS_ASYNC) == -1 && errno == ENOMEM ? 0 : 1); }
        wait(&status);
        EQUAL("the child has one of the two", status, 0);
    """)  # fmt: skip
    heard = [(what, pgoff) for what, *_, pgoff in d["heard"]]
    assert heard[:2] == [("mmap", 0), ("mmap", 1)]
    assert sorted(heard[2:]) == [("close", 0), ("close", 0), ("close", 1), ("open", 0)]


def test_no_open_for_the_first_mmap(m: Machine, driver: Load, run_c: Run) -> None:
    d = driver(HEARD)
    run_c(m, OPEN + 'map(fd, 0, PAGE, RW, MAP_SHARED); CHECK("", 1);')
    assert [what for what, *_ in d["heard"]] == ["mmap", "close"]  # B6
