"""What a driver writes into its area and its open file is checked as C's compiler would: at the driver's line."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from tests.drivers.conftest import chardev

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]

OPEN = 'int fd = must_open("/dev/bad", O_RDWR);'
MAP = "map(fd, 0, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED)"
NOPAGE = """
        def nopage(vma, address, type):
            page = virt_to_page(page_of_device)
            get_page(page)
            return page
"""


def told(m: Machine, text: str) -> None:
    """One oops, of the driver, with `text` and a line of the driver's in the log."""
    (oops,) = m.kernel.oopses
    assert text in oops.traceback and "machine/kernel" not in oops.traceback, oops.traceback
    assert any(text in line and " at bad.py:" in line for line in m.dmesg), m.dmesg


WRONG = [
    ("vm_end = vma.vm_start + 4096 / 2", ".0: no whole number ('//' divides whole numbers)"),
    ("vm_end = 'x'", "vma.vm_end = 'x': no whole number"),
    ("vm_flags = vma.vm_flags / 1", "no whole number ('//'"),
    ("vm_flags = None", "vma.vm_flags = None: no whole number"),
    ("vm_page_prot = None", "vma.vm_page_prot = None: no whole number"),
    ("vm_page_prot = -1", "vma.vm_page_prot = -1: out of range"),
    ("vm_pgoff = vma.vm_pgoff / 2", "vma.vm_pgoff = 0.0: no whole number"),
    ("vm_mm = None", "vma.vm_mm = None: it is the kernel's"),
    ("vm_file = None", "vma.vm_file = None: it is the kernel's"),
]


@pytest.mark.parametrize("change, named", WRONG)
def test_mmap(m: Machine, driver: Load, run_c: Run, change: str, named: str) -> None:
    """EIO, and no area; the process and the next mapping are served.  # B1"""
    driver(chardev(f"""{NOPAGE}
        ops = vm_operations_struct(nopage=nopage)
        bad_vm_ops = None
        def mmap(filp, vma):
            vma.vm_ops = ops
            if not vma.vm_pgoff:
                vma.{change}
            return 0
    """, "{}").replace("mmap=bad_mmap", "mmap=mmap"))  # fmt: skip
    run_c(m, OPEN + f"""
        ERRNO("mmap", {MAP}, EIO);
        char *p = map(fd, PAGE, PAGE, PROT_READ, MAP_SHARED);
        EQUAL("another", p[0], 0);
    """)  # fmt: skip
    told(m, named)
    assert m.unload("bad") == []


@pytest.mark.parametrize(
    "change, named",
    [
        ("vm_start += 1", "not at a page"),
        ("vm_end = vma.vm_start - 4096", "no area of user memory"),
        ("vm_end = 1 << 62", "no area of user memory"),
        ("vm_end += 0x100000", "another area is there"),
    ],
)
def test_bounds_of_no_area(m: Machine, driver: Load, run_c: Run, change: str, named: str) -> None:
    driver(chardev(f"""{NOPAGE}
        bad_vm_ops = vm_operations_struct(nopage=nopage)
    """).replace("    vma.vm_ops = bad", f"    vma.{change}\n    vma.vm_ops = bad"))  # fmt: skip
    run_c(m, OPEN + f'ERRNO("mmap", {MAP}, EIO); CHECK("others", getpid() > 0);')
    (report,) = m.kernel.reports
    assert "mmap returned 0, with vma.vm_start = " in report and named in report and "(bad_mmap, bad.py:" in report
    assert m.unload("bad") == []


@pytest.mark.parametrize("change", ["vm_end = vma.vm_end / 1", "vm_flags = None"])
def test_open(m: Machine, driver: Load, run_c: Run, change: str) -> None:
    """In a fork: the child has its area all the same."""
    driver(chardev(f"""{NOPAGE}
        def open(vma):
            vma.{change}
        bad_vm_ops = vm_operations_struct(nopage=nopage, open=open)
    """))  # fmt: skip
    run_c(m, OPEN + f"""
        volatile char *p = {MAP};
        int status;
        if (!fork()) _exit(p[0]);
        wait(&status);
        EQUAL("child", status, 0);
    """)  # fmt: skip
    told(m, "no whole number")
    assert m.unload("bad") == []


LATER = [
    ("vm_flags = 'rw'", "vma.vm_flags = 'rw': no whole number"),
    ("vm_ops = 7", "vma.vm_ops = 7: no struct vm_operations_struct"),
    ("vm_start = 0", "vma.vm_start = 0x0: the area is where it is since its mmap returned"),
    ("vm_end += 4096", "the area is where it is since its mmap returned"),
    ("vm_pgoff = 'x'", "vma.vm_pgoff = 'x': no whole number"),
    ("vm_page_prot = -1", "vma.vm_page_prot = -1: out of range"),
    ("vm_mm = None", "vma.vm_mm = None: it is the kernel's"),
    ("vm_offset = 0x7000", "vma.vm_pgoff = 0x7: the area is where it is since its mmap returned"),
    ("vm_offset = -(1 << 70)", "vma.vm_offset = -1180591620717411303424: out of range"),
]


@pytest.mark.parametrize("where", ["nopage", "kept"])
@pytest.mark.parametrize("change, named", LATER)
def test_later(m: Machine, driver: Load, run_c: Run, change: str, named: str, where: str) -> None:
    """In `nopage`, and in a call for an area that the driver has kept: the area is unharmed, split and unmapped."""
    driver(chardev(f"""
        kept = []
        def nopage(vma, address, type):
            kept.append(vma)
            if {where == "nopage"} and len(kept) == 1:
                vma.{change}
            page = virt_to_page(page_of_device)
            get_page(page)
            return page
        def ioctl(inode, filp, cmd, arg):
            vma = kept[0]
            vma.{change}
            return 0
        bad_vm_ops = vm_operations_struct(nopage=nopage)
    """, "dict(ioctl=ioctl)"))  # fmt: skip
    run_c(m, OPEN + f"""
        catch_faults();
        char *p = {MAP};
        EQUAL("touch", touch(p, -1), {"SIGBUS" if where == "nopage" else 0});
        if ({int(where == "kept")})
            ERRNO("ioctl", ioctl(fd, 0), EIO);
        EQUAL("again", touch(p, 1), 0);
        EQUAL("split", mprotect(p + PAGE, PAGE, PROT_READ), 0);
        EQUAL("half", munmap(p, PAGE), 0);
    """)  # fmt: skip
    told(m, named)
    assert m.unload("bad") == []


@pytest.mark.parametrize(
    "change, named",
    [("[0] = 'x'", "'x' in f_pos[0]"), ("[0] = 1 << 90", "in f_pos[0]"), (".clear()", "nothing in f_pos")],
)
def test_a_position(m: Machine, driver: Load, run_c: Run, change: str, named: str) -> None:
    """EIO, and the old position."""
    driver(chardev(f"""
        bad_vm_ops = None
        def read(filp, buf, count, f_pos):
            if count == 1:
                f_pos{change}
            else:
                f_pos[0] += count
            return count
    """, "dict(read=read)"))  # fmt: skip
    run_c(m, OPEN + """
        char room[4];
        EQUAL("read", read(fd, room, 4), 4);
        ERRNO("read", read(fd, room, 1), EIO);
        EQUAL("where", lseek(fd, 0, SEEK_CUR), 4);
    """)  # fmt: skip
    (report,) = m.kernel.reports
    assert f"read returned 1, with {named}" in report or named in report, report
    assert "which is no position (read, bad.py:" in report and m.unload("bad") == []


def test_no_wait_queue(m: Machine, driver: Load, run_c: Run) -> None:
    driver(chardev("""
        bad_vm_ops = None
        def poll(filp, wait):
            poll_wait(filp, None, wait)
            return POLLIN
    """, "dict(poll=poll)"))  # fmt: skip
    run_c(m, OPEN + """
        struct pollfd one = {fd, POLLIN, 0};
        EQUAL("poll", poll(&one, 1, 0), 1);
        EQUAL("error", one.revents, POLLERR);
    """, before="#include <poll.h>\n")  # fmt: skip
    told(m, "poll_wait(filp, None, wait): no wait queue")
    assert m.unload("bad") == []


def test_open_that_moves_its_area(m: Machine, driver: Load, run_c: Run) -> None:
    driver(chardev(f"""{NOPAGE}
        def open(vma):
            vma.vm_end += 4096
        bad_vm_ops = vm_operations_struct(nopage=nopage, open=open)
    """))  # fmt: skip
    run_c(m, OPEN + f'volatile char *p = {MAP}; if (!fork()) _exit(p[0]); wait(0); EQUAL("unmap", p[0], 0);')
    assert ["having moved its area to 0x" in report for report in m.kernel.reports] == [True]


@pytest.mark.parametrize("access", ["p[0]", "(p[0] = 1)"])
def test_protection_that_is_none_in_nopage(m: Machine, driver: Load, run_c: Run, access: str) -> None:
    """SIGBUS.  # B9"""
    driver(chardev(f"""{NOPAGE.replace("page = virt", "vma.vm_page_prot = None; page = virt")}
        bad_vm_ops = vm_operations_struct(nopage=nopage)
    """))  # fmt: skip
    result = run_c(m, OPEN + f"volatile char *p = {MAP}; return {access};", fine=False)
    assert result.signal == 7
    told(m, "vma.vm_page_prot = None: no whole number")
    assert m.unload("bad") == []


@pytest.mark.parametrize("value", ["None", "-1"])
def test_protection_that_is_none_in_fault(m: Machine, driver: Load, run_c: Run, value: str) -> None:
    """The same in the dialect of today.  # B9"""
    driver("KERNEL = (6, 1)\n" + textwrap.dedent(f"""
        def fault(vmf):
            vmf.vma.vm_page_prot = {value}
            vmf.page = virt_to_page(page_of_device)
            get_page(vmf.page)
            return 0
        ops = vm_operations_struct(fault=fault)
        def mmap(filp, vma):
            vma.vm_ops = ops
            return 0
        page_of_device = get_zeroed_page(GFP_KERNEL)
        register_chrdev(42, "bad", file_operations(mmap=mmap))
        device_create(class_create("bad"), None, MKDEV(42, 0), None, "bad")
        def end():
            free_page(page_of_device)
            unregister_chrdev(42, "bad")
        module_exit(end)
    """))  # fmt: skip
    result = run_c(m, OPEN + f"volatile char *p = {MAP}; return p[0];", fine=False)
    assert result.signal == 7
    told(m, f"vma.vm_page_prot = {value}: ")
    assert not [line for line in m.unload("bad") if "page" in line]


@pytest.mark.parametrize(
    "change, named",
    [
        ("f_op = None", "filp.f_op = None: no struct file_operations"),
        ("f_op = 'x'", "filp.f_op = 'x': no struct file_operations"),
        ("f_dentry = None", "filp.f_dentry = None: no struct dentry"),
        ("f_flags = 'x'", "filp.f_flags = 'x': no whole number"),
        ("f_count = 'x'", "filp.f_count = 'x': no whole number"),
        ("f_pos = 1.5", "filp.f_pos = 1.5: no whole number"),
    ],
)
def test_an_open_file(m: Machine, driver: Load, run_c: Run, change: str, named: str) -> None:
    """EIO for the call that did it; the file can be used and closed."""
    driver(chardev(f"""
        bad_vm_ops = None
        def read(filp, buf, count, f_pos):
            filp.{change}
            return 0
    """, "dict(read=read)"))  # fmt: skip
    run_c(m, OPEN + """
        char room[4];
        ERRNO("read", read(fd, room, 4), EIO);
        CHECK("dup", dup(fd) > 0);
        EQUAL("close", close(fd), 0);
    """)  # fmt: skip
    told(m, named)
    assert m.unload("bad") == []


def test_a_field_does_not_go(m: Machine, driver: Load, run_c: Run) -> None:
    """`del vma.vm_ops` in mmap (EIO) and in nopage; `copy.copy(vma)` is a structure of the driver's own."""
    d = driver(chardev(f"""{NOPAGE}
        import copy
        kept = []
        def mmap(filp, vma):
            vma.vm_ops = vm_operations_struct(nopage=again)
            if vma.vm_pgoff:
                del vma.vm_flags
            return 0
        def again(vma, address, type):
            kept.append(copy.copy(vma))
            kept[0].vm_end += 4096
            if len(kept) > 1:
                del vma.vm_ops
            return nopage(vma, address, type)
        bad_vm_ops = None
    """).replace("mmap=bad_mmap", "mmap=mmap"))  # fmt: skip
    run_c(m, OPEN + f"""
        catch_faults();
        char *p = {MAP};
        EQUAL("touch", touch(p, -1), 0);
        ERRNO("mmap", (long)mmap(0, PAGE, PROT_READ, MAP_SHARED, fd, PAGE), EIO);
        EQUAL("touch", touch(p + PAGE, -1), SIGBUS);
    """)  # fmt: skip
    first, second = d["kept"]
    assert first.vm_end == second.vm_end + 2 * 4096
    assert len(m.kernel.oopses) == 2
    assert all("a field of a structure does not go; assign NULL or 0" in oops.traceback for oops in m.kernel.oopses)
    assert m.unload("bad") == []
