"""Answers of a driver that mean nothing: named in a report, SIGBUS or EIO for the process, the others go on."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from tests.drivers.conftest import chardev
from tests.drivers.test_dialects import today

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]

OPEN = 'int fd = must_open("/dev/bad", O_RDWR);'
OTHERS_GO_ON = """
    int status;
    if (!fork()) { volatile char c = *(char *)map(fd, 0, PAGE, PROT_READ, MAP_SHARED); _exit(c); }
    wait(&status);
    EQUAL("the child is killed", WIFSIGNALED(status) ? WTERMSIG(status) : 0, SIGBUS);
    EQUAL("others go on", *(char *)map(fd, PAGE, PAGE, PROT_READ, MAP_SHARED), 0);
"""
"""Offset 0 is answered with nonsense, offset 1 as it should be."""
FREED = "freed = __get_dma_pages(GFP_KERNEL, 0); free_page(freed)"
"""A page that the driver had; nobody takes one of the DMA zone while there are others."""


def only_report(m: Machine, *parts: str) -> None:
    """There is one report, of the driver `bad`, and each of `parts` is in it."""
    assert len(m.kernel.reports) == 1, m.kernel.reports
    text = m.kernel.reports[0]
    assert text.startswith("BUG: bad: ") and all(part in text for part in parts), text
    assert any(text in line for line in m.dmesg)


@pytest.mark.parametrize(
    "answer, named",
    [
        ("'page'", ("nopage returned 'page'", "no struct page")),
        ("17", ("nopage returned 17", "no struct page")),
        ("page_of_device", ("nopage returned ", "no struct page")),
        ("True", ("nopage returned True",)),
        ("[virt_to_page(page_of_device)]", ("nopage returned [<page ", "no struct page")),
        ("virt_to_page(freed)", ("nopage returned <page ", "is free", "the driver has freed it")),
        ("freed_again()", ("nopage returned <page ", "is free")),
    ],
)
def test_nopage(m: Machine, driver: Load, run_c: Run, answer: str, named: tuple[str, ...]) -> None:
    """A string, an int, an address, a list, a page that the driver has freed.  # B10"""
    driver(chardev(f"""
        {FREED}
        def freed_again():
            page = virt_to_page(__get_free_page(GFP_KERNEL))
            put_page(page)
            return page
        def nopage(vma, address, type):
            if vma.vm_pgoff == 0:
                return {answer}
            page = virt_to_page(page_of_device)
            get_page(page)
            return page
        bad_vm_ops = vm_operations_struct(nopage=nopage)
    """))  # fmt: skip
    run_c(m, OPEN + OTHERS_GO_ON)
    only_report(m, *named, "(nopage, bad.py:")


def test_nopage_of_a_freed_page_with_get_page(m: Machine, driver: Load, run_c: Run) -> None:
    """get_page of a free page is reported by itself and counts nothing, so that it is not freed twice.  # B9"""
    driver(chardev(f"""
        {FREED}
        def nopage(vma, address, type):
            page = virt_to_page(freed)
            get_page(page)
            return page
        bad_vm_ops = vm_operations_struct(nopage=nopage)
    """))  # fmt: skip
    result = run_c(m, OPEN + "return *(char *)map(fd, 0, PAGE, PROT_READ, MAP_SHARED);", fine=False)
    assert result.signal == 7
    assert ["get_page of a free page" in text for text in m.kernel.reports] == [True, False]
    assert "nopage returned <page" in m.kernel.reports[1] and m.kernel.mem.check_free_lists() == []


@pytest.mark.parametrize(
    "answer, named",
    [
        ("'fine'", ("fault returned 'fine'", "VM_FAULT_")),
        ("None", ("fault returned None", "VM_FAULT_")),
        ("-EFAULT", ("fault returned -14", "an errno")),
        ("0x10000", ("fault returned 65536", "0x10000")),
        ("virt_to_page(page_of_device)", ("fault returned <page ", "store it in vmf.page and return 0")),
        ("0", ("fault returned 0", "no page in vmf.page")),
        ("give(vmf, page_of_device)", ("fault returned 0", "no struct page")),
        ("give(vmf, 'page')", ("fault returned 0", "stored 'page'")),
        ("give(vmf, virt_to_page(freed))", ("fault returned 0", "is free")),
    ],
)
def test_fault(m: Machine, driver: Load, run_c: Run, answer: str, named: tuple[str, ...]) -> None:
    """The same for today's method, with what a port from nopage gets wrong."""
    driver(today(f"""
        {FREED}
        def bad_mmap(filp, vma):
            vma.vm_ops = ops
            return 0
        def give(vmf, page):
            vmf.page = page
            return 0
        def fault(vmf):
            if vmf.pgoff == 0:
                return {answer}
            vmf.page = virt_to_page(page_of_device)
            get_page(vmf.page)
            return 0
        ops = vm_operations_struct(fault=fault)
    """))  # fmt: skip
    run_c(m, OPEN + OTHERS_GO_ON)
    only_report(m, *named, "(fault, bad.py:")


@pytest.mark.parametrize(
    "body, named",
    [
        ("return VM_FAULT_NOPAGE", ()),
        ("vmf.page = virt_to_page(page_of_device); get_page(vmf.page); put_page(vmf.page); return VM_FAULT_NOPAGE",
         ("it has stored a page in vmf.page",)),
    ],
)  # fmt: skip
def test_a_fault_that_never_ends(m: Machine, driver: Load, run_c: Run, body: str, named: tuple[str, ...]) -> None:
    """VM_FAULT_NOPAGE without an entry: the same instruction for ever, on a real machine."""
    driver(today(f"""
        def bad_mmap(filp, vma):
            vma.vm_ops = ops
            return 0
        def fault(vmf):
            {body}
        ops = vm_operations_struct(fault=fault)
    """))  # fmt: skip
    result = run_c(m, OPEN + "return *(char *)map(fd, 0, PAGE, PROT_READ, MAP_SHARED);", fine=False)
    assert result.signal == 7
    only_report(m, "VM_FAULT_NOPAGE", "mapped nothing", "(fault, bad.py:", *named)


def test_a_fault_that_waits_is_no_mistake(m: Machine, driver: Load, run_c: Run) -> None:
    """VM_FAULT_NOPAGE now and then, and for a signal that is to be delivered, only means: try again."""
    d = driver(today("""
        calls = []
        def bad_mmap(filp, vma):
            vma.vm_ops = ops
            return 0
        def fault(vmf):
            calls.append(vmf.pgoff)
            if len(calls) % 50:
                return VM_FAULT_NOPAGE
            vmf.page = virt_to_page(page_of_device)
            get_page(vmf.page)
            return 0
        ops = vm_operations_struct(fault=fault)
    """))  # fmt: skip
    run_c(
        m, OPEN + 'char *p = map(fd, 0, 3 * PAGE, PROT_READ, MAP_SHARED); CHECK("", !p[0] && !p[PAGE] && !p[2 * PAGE]);'
    )
    assert len(d["calls"]) == 150 and m.kernel.reports == []


def test_locked_without_a_lock(m: Machine, driver: Load, run_c: Run) -> None:
    driver(today("""
        def bad_mmap(filp, vma):
            vma.vm_ops = ops
            return 0
        def fault(vmf):
            vmf.page = virt_to_page(page_of_device)
            get_page(vmf.page)
            return VM_FAULT_LOCKED
        ops = vm_operations_struct(fault=fault)
    """))  # fmt: skip
    run_c(m, OPEN + 'EQUAL("mapped", *(char *)map(fd, 0, PAGE, PROT_READ, MAP_SHARED), 0);')
    only_report(m, "VM_FAULT_LOCKED", "not locked (lock_page)")


@pytest.mark.parametrize("dialect", ["", "KERNEL = (6, 1)\n"])
@pytest.mark.parametrize(
    "body, named",
    [
        ("return 'yes'", ("mmap returned 'yes'",)),
        ("return 4096", ("mmap returned 4096",)),
        ("return None", ("mmap returned None",)),
        ("return -5000", ("mmap returned -5000",)),
        ("vma.vm_ops = fops; return 0", ("mmap returned <", "as vma.vm_ops")),
    ],
)
def test_mmap(m: Machine, driver: Load, run_c: Run, body: str, named: tuple[str, ...], dialect: str) -> None:
    """No number, or a positive one: EIO, and no area.  # B1"""
    driver(dialect + textwrap.dedent(f"""
        def mmap(filp, vma):
            {body}
        fops = file_operations(mmap=mmap)
        register_chrdev(42, "bad", fops)
        devfs_mk_cdev(MKDEV(42, 0), 0o666, "bad")
    """))  # fmt: skip
    run_c(m, OPEN + 'ERRNO("mmap", map(fd, 0, PAGE, PROT_READ, MAP_SHARED), EIO); CHECK("others", getpid() > 0);')
    only_report(m, *named, "(mmap, bad.py:")
    assert all(vma.vm_file is None or "bad" not in vma.name() for mm in m.kernel.mms for vma in mm.areas)


CALLS = {
    "read": "read(fd, room, 5)",
    "write": "write(fd, room, 5)",
    "llseek": "lseek(fd, 3, SEEK_SET)",
    "ioctl": "ioctl(fd, 1, room)",
    "fsync": "fsync(fd)",
}


@pytest.mark.parametrize(
    "method, value",
    [
        ("read", "6"), ("read", "'five'"), ("read", "None"), ("read", "b'data'"), ("read", "-5000"), ("write", "6"),
        ("write", "2 ** 70"), ("write", "2.5"), ("llseek", "'0'"), ("llseek", "None"), ("ioctl", "None"),
        ("ioctl", "object()"), ("fsync", "1"), ("fsync", "None"),
    ],
)  # fmt: skip
def test_a_system_call(m: Machine, driver: Load, run_c: Run, method: str, value: str) -> None:
    """More than was asked for, no number, no errno: EIO, and the next file is served."""
    driver(chardev(f"bad_vm_ops = None\ndef method(*args):\n    return {value}", f"dict({method}=method)"))
    run_c(m, OPEN + f"""
        char room[64] = "";
        ERRNO("{method}", {CALLS[method]}, EIO);
        EQUAL("close", close(fd), 0);
        CHECK("open again", open("/dev/bad", O_RDWR) >= 0);
    """)  # fmt: skip
    only_report(m, f"{method} returned ", "(method, bad.py:")


@pytest.mark.parametrize("value", ["1", "'open'", "None"])
def test_open(m: Machine, driver: Load, run_c: Run, value: str) -> None:
    driver(chardev(f"bad_vm_ops = None\ndef bad_open(inode, filp):\n    return {value}", "dict(open=bad_open)"))
    run_c(m, 'ERRNO("open", open("/dev/bad", O_RDWR), EIO);')
    only_report(m, "open returned ", "(bad_open, bad.py:")
    assert m.kernel.modules["bad"].refcount == 0 and m.unload("bad") == []


def test_poll(m: Machine, driver: Load, run_c: Run) -> None:
    """No mask: POLLERR."""
    driver(chardev("bad_vm_ops = None\ndef poll(filp, table):\n    return 'in'", "dict(poll=poll)"))
    run_c(m, "#include <poll.h>\n" + OPEN + """
        struct pollfd p = { .fd = fd, .events = POLLIN };
        EQUAL("ready", poll(&p, 1, 1000), 1);
        EQUAL("with an error", p.revents, POLLERR);
    """)  # fmt: skip
    assert m.kernel.reports and all("poll returned 'in'" in text for text in m.kernel.reports)


def test_proc(m: Machine, driver: Load, run_c: Run) -> None:
    """A /proc file of either dialect that makes no text: EIO."""
    driver(chardev("""
        bad_vm_ops = None
        create_proc_read_entry("old", 0, None, lambda data: 17, None)
        proc_create_single("new", 0, None, lambda m, v: seq_printf(m, "text"))
    """))  # fmt: skip
    run_c(m, """
        char room[64];
        ERRNO("old", read(must_open("/proc/old", O_RDONLY), room, 9), EIO);
        ERRNO("new", read(must_open("/proc/new", O_RDONLY), room, 9), EIO);
    """)  # fmt: skip
    assert "read_proc returned 17" in m.kernel.reports[0]
    assert "show of /proc/new returned None" in m.kernel.reports[-1]
