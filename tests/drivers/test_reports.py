"""What ``nopage run`` itself says of a driver's mistakes, without -v: a line each, as they happen and at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from machine import cli

DRIVER = """
from machine.kernel.linux import *
lock = DECLARE_MUTEX()
page = 0
def slip_read(filp, buf, count, f_pos):
    down(lock)
    return 0
def slip_nopage(vma, address, type):
    return virt_to_page(page)
slip_vm_ops = vm_operations_struct(nopage=slip_nopage)
def slip_mmap(filp, vma):
    vma.vm_ops = slip_vm_ops
    return 0
fops = file_operations(read=slip_read, mmap=slip_mmap)
def slip_init():
    global page
    page = get_zeroed_page(GFP_KERNEL)
    printk(KERN_INFO + "slip: ready\\n")
    devfs_mk_cdev(MKDEV(222, 0), S_IFCHR | 0o666, "slip")
    return register_chrdev(222, "slip", fops)
def slip_exit():
    devfs_remove("slip")
    unregister_chrdev(222, "slip")
module_init(slip_init)
module_exit(slip_exit)
"""


@pytest.fixture
def driver(tmp_path: Path) -> str:
    path = tmp_path / "slip.py"
    path.write_text(DRIVER)
    return str(path)


def test_reports_and_leaks_are_shown(driver: str, capfd: pytest.CaptureFixture[str]) -> None:
    """B9, D6: at the end the driver is unloaded, and what it kept is listed."""
    assert cli.main(["run", "--device", driver, "mapper", "/dev/slip", "0", "8"]) == 0
    mapped, bad_page, leak = capfd.readouterr().err.splitlines()
    assert mapped.startswith("mapped ")
    assert bad_page.startswith("nopage: Bad page state: frame 0x") and "slip.nopage returned it" in bad_page
    assert "  " not in bad_page
    assert leak.startswith("nopage: slip: not released at unload: 1 page at physical 0x")
    assert leak.endswith("got at slip.py:17 in slip_init")


def test_verbose_shows_the_log_from_the_beginning(driver: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "-v", "--device", driver, "mapper", "/dev/slip", "0", "8"]) == 0
    lines = capfd.readouterr().err.splitlines()
    assert lines[0].endswith("] slip: ready")
    assert sum("Bad page state" in line for line in lines) == 1
    assert sum("not released at unload" in line for line in lines) == 1


def test_who_sleeps_where_when_the_time_is_over(driver: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A semaphore that is never given back (D9): the driver's line."""
    assert cli.main(["run", "--timeout", "4", "--device", driver, "sh", "-c", "cat /dev/slip; cat /dev/slip"]) == 124
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "nopage: sh: still running after 4 seconds; killed"
    assert lines[1].startswith("nopage: sh (pid 2) sleeps in wait4(), called from ")
    assert lines[2].startswith("nopage: cat (pid 4) sleeps in read(): down, slip.py:6 in slip_read, called from ")
