"""/dev/kmem over the vmalloc area (MECHANISMS C1, D4)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from machine import Machine
from machine.kernel.current import set_current_kernel
from machine.kernel.include.string import kernel_memory

Run = Callable[..., Any]
Make = Callable[..., Machine]


@pytest.mark.parametrize("target", ["x86_64"], indirect=True)
def test_kmem_of_the_vmalloc_area(machine_clean: Make, tmp_path: Path, run_c: Run) -> None:
    """read and write reach a vmalloc area, zeros lie between areas, the end of the file is above the last.  # C1, D4"""
    m = machine_clean()
    path = tmp_path / "areas.py"
    path.write_text("""
from machine.kernel.linux import *
first, second, io, last = vmalloc(5000), vmalloc(4096), ioremap(0xe8000000, 4096), vmalloc(4096)
memset(first, 0x11, 8192)
memset(second, 0x22, 4096)
memset(last, 0x33, 4096)
def leave():
    for each in (first, second, last):
        vfree(each)
    iounmap(io)
module_exit(leave)
""")
    areas = m.load(str(path)).namespace
    first, second, io, last = (areas[name] for name in ("first", "second", "io", "last"))
    run_c(
        m,
        f"""
        static unsigned char buf[65536];
        const off_t first = {first - (1 << 64)}LL, second = {second - (1 << 64)}LL, last = {last - (1 << 64)}LL;
        const off_t io = {io - (1 << 64)}LL;
        int fd = must_open("/dev/kmem", O_RDWR);
        lseek(fd, first + 8000, SEEK_SET);
        EQUAL("to the end of the last area", read(fd, buf, sizeof buf), last + 4096 - (first + 8000));
        CHECK("the first", all_are(buf, 0x11, 192));
        CHECK("its guard page", all_are(buf + 192, 0, second - first - 8192));
        CHECK("the second", all_are(buf + (second - first) - 8000, 0x22, 4096));
        CHECK("no device register is read", all_are(buf + (io - first) - 8000, 0, 4096));
        CHECK("the last", all_are(buf + (last - first) - 8000, 0x33, 4096));
        EQUAL("end of file", read(fd, buf, 10), 0);
        EQUAL("position", lseek(fd, 0, SEEK_CUR), last + 4096);
        lseek(fd, second + 4090, SEEK_SET);
        EQUAL("write over the end of an area", write(fd, "123456789", 9), 9);
        lseek(fd, first + 4093, SEEK_SET);
        EQUAL("across pages", write(fd, "across", 6), 6);
        ERRNO("from nowhere", write(fd, (void *)16, 6), EFAULT);
        ERRNO("to nowhere", read(fd, (void *)16, 6), EFAULT);
        lseek(fd, last + 4096, SEEK_SET);
        EQUAL("nothing above", write(fd, "x", 1), 0);
        ERRNO("no mmap of it", map(fd, first, PAGE, PROT_READ, MAP_SHARED), EIO);
    """,
    )
    before = set_current_kernel(m.kernel)
    assert bytes(kernel_memory(second + 4090, 6)) == b"123456"
    assert bytes(kernel_memory(first + 4092, 8)) == b"\x11across\x11"
    set_current_kernel(before)
    assert m.unload("areas") == []
