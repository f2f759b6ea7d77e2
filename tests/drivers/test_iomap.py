"""iomap driven by compiled programs (MECHANISMS C7, D8)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from guest import INCLUDE
from machine import Machine
from machine.errors import ConfigError
from machine.hardware.paging import PCD

Run = Callable[..., Any]
Make = Callable[..., Machine]

HEADER = (INCLUDE / "iomap.h").read_text()
SET = """
    struct iomap_area area = {0xe8000000, 0x10000};
    int fd = must_open("/dev/iomap0", O_RDWR);
    EQUAL("set", ioctl(fd, IOMAP_SET, &area), 0);
"""


@pytest.fixture
def run_iomap(run_c: Run) -> Run:
    """`run_c` with iomap.h: a header may stand inside a function as long as it only declares."""
    body = "\n".join(line for line in HEADER.splitlines() if not line.startswith("#include"))
    return lambda m, text, **options: run_c(m, "#include <stdint.h>\n" + body + "\n" + text, **options)


def test_set_read_write_clear(machine_clean: Make, run_iomap: Run) -> None:
    """A device has no range until ioctl gives it one; then it reads and writes there.  # C7"""
    m = machine_clean(devices=["iomap"])
    during: list[str] = []
    m.events.listen(
        "driver_call", lambda call: during.append(m.kernel.iomem.render()) if call.operation == "write" else None
    )
    run_iomap(
        m,
        """
        char buf[100];
        struct iomap_area now = {1, 1}, area = {0xe8000000, 0x10000};
        int fd = must_open("/dev/iomap0", O_RDWR), other = must_open("/dev/iomap1", O_RDWR);
        EQUAL("get", ioctl(fd, IOMAP_GET, &now), 0);
        CHECK("nowhere", now.base == 0 && now.size == 0);
        ERRNO("read", read(fd, buf, 1), ENXIO);
        ERRNO("write", write(fd, buf, 1), ENXIO);
        ERRNO("lseek", lseek(fd, 0, SEEK_END), ENXIO);
        ERRNO("mmap", (long)map(fd, 0, PAGE, PROT_READ, MAP_SHARED), ENXIO);
        EQUAL("set", ioctl(fd, IOMAP_SET, &area), 0);
        EQUAL("get again", ioctl(fd, IOMAP_GET, &now), 0);
        CHECK("there", now.base == 0xe8000000 && now.size == 0x10000);
        ERRNO("set twice", ioctl(fd, IOMAP_SET, &area), EBUSY);
        ERRNO("claimed by another", ioctl(other, IOMAP_SET, &area), EBUSY);
        EQUAL("write something", pwrite(fd, "frame buffer", 12, 0xffff - 5), 6);
        EQUAL("read it", pread(fd, buf, 100, 0xffff - 5), 6);
        CHECK("the same", !memcmp(buf, "frame ", 6));
        EQUAL("the end", lseek(fd, 0, SEEK_END), 0x10000);
        EQUAL("nothing", read(fd, buf, 1), 0);
        ERRNO("no room", write(fd, buf, 1), ENOSPC);
        ERRNO("bad whence", lseek(fd, 0, 9), EINVAL);
        ERRNO("bad buffer", pread(fd, (void *)16, 9, 0), EFAULT);
        ERRNO("bad source", pwrite(fd, (void *)16, 9, 0), EFAULT);
        ERRNO("bad argument", ioctl(other, IOMAP_SET, 16), EFAULT);
        ERRNO("no command", ioctl(fd, _IO('x', 9), 0), ENOTTY);
        EQUAL("clear", ioctl(fd, IOMAP_CLEAR), 0);
        ERRNO("gone", read(fd, buf, 1), ENXIO);
        EQUAL("free for another", ioctl(other, IOMAP_SET, &area), 0);
        EQUAL("who sees the same memory", pread(other, buf, 5, 0xffff - 5), 5);
        CHECK("frame", !memcmp(buf, "frame", 5));
        setuid(1000);
        ERRNO("others may not set", ioctl(fd, IOMAP_SET, &area), EPERM);
        ERRNO("nor clear", ioctl(other, IOMAP_CLEAR), EPERM);
    """,
    )
    assert bytes(m.kernel.bus.memories[0].data[0xFFFA:0x10001]) == b"frame \0"
    assert "    e8000000-e800ffff : iomap\n" in during[1]
    assert m.unload("iomap") == []  # the module gives back what is still set
    assert m.kernel.vmalloc.areas == [] and "iomap" not in m.kernel.iomem.render() and m.kernel.reports == []


def test_what_cannot_be_set(machine_clean: Make, run_iomap: Run) -> None:
    """Ordinary RAM and nonsense; the ISA hole can be, though the board has claimed it.  # C7, D8"""
    m = machine_clean(devices=["iomap"])
    run_iomap(
        m,
        """
        char c = 'V';
        struct iomap_area ram = {0x800000, 4096}, none = {0xe8000000, 0};
        struct iomap_area far = {1ULL << 60, 4096}, vga = {0xb8000, 4000};
        int fd = must_open("/dev/iomap2", O_RDWR), mem = must_open("/dev/mem", O_RDWR);
        ERRNO("ram", ioctl(fd, IOMAP_SET, &ram), EINVAL);
        ERRNO("none", ioctl(fd, IOMAP_SET, &none), EINVAL);
        ERRNO("far", ioctl(fd, IOMAP_SET, &far), EINVAL);
        EQUAL("text screen", ioctl(fd, IOMAP_SET, &vga), 0);
        EQUAL("write", pwrite(fd, &c, 1, 160), 1);
        EQUAL("read /dev/mem", pread(mem, &c, 1, 0xb8000 + 160), 1);
        EQUAL("the same memory", c, 'V');
    """,
    )
    assert any(line.startswith("ioremap on RAM at 0x800000 - 0x800fff (iomap.py:") for line in m.dmesg)
    assert m.kernel.ram.view[0xB8000 + 160] == ord("V")
    assert m.unload("iomap") == [] and m.kernel.reports == []


def test_mmap(machine_clean: Make, run_iomap: Run) -> None:
    """The physical range, uncached and at once; it can't be cleared while it is mapped.  # C7, B3, B13"""
    m = machine_clean(devices=["iomap"])
    entries: list[int] = []
    ranges: list[range] = []

    def look(call: Any) -> None:
        if call.driver == "iomap" and call.operation == "mmap" and call.result == 0:
            vma = call.args[1]
            entries.append(vma.vm_mm.tables.get(vma.vm_start))
            ranges.append(range(vma.vm_start, vma.vm_end))

    m.events.listen("driver_call", look)
    faults: list[int] = []
    m.events.listen("fault", lambda fault: faults.append(fault.address))
    run_iomap(
        m,
        SET
        + """
        char buf[8];
        char *p = map(fd, 0, 0x10000, RW, MAP_SHARED), *q = map(fd, 0xf000, PAGE, PROT_READ, MAP_SHARED);
        p[0xf003] = 'z';
        EQUAL("two mappings", q[3], 'z');
        EQUAL("read", pread(fd, buf, 1, 0xf003), 1);
        EQUAL("sees it", buf[0], 'z');
        EQUAL("write", pwrite(fd, "w", 1, 1), 1);
        EQUAL("is seen", p[1], 'w');
        ERRNO("past the end", (long)map(fd, 0xf000, 2 * PAGE, RW, MAP_SHARED), EINVAL);
        ERRNO("far", (long)map(fd, 0x20000, PAGE, RW, MAP_SHARED), EINVAL);
        ERRNO("mapped", ioctl(fd, IOMAP_CLEAR), EBUSY);
        munmap(p, 0x10000);
        if (!fork()) _exit(ioctl(fd, IOMAP_CLEAR) != -1);
        int status;
        wait(&status);
        EQUAL("a child has it mapped too", status, 0);
        munmap(q, PAGE);
        EQUAL("cleared", ioctl(fd, IOMAP_CLEAR), 0);
        struct iomap_area odd = {0xe8000800, 0x1000};
        EQUAL("odd base", ioctl(fd, IOMAP_SET, &odd), 0);
        EQUAL("reads", pread(fd, buf, 1, 0), 1);
        ERRNO("can't be mapped", (long)map(fd, 0, PAGE, RW, MAP_SHARED), EINVAL);
    """,
    )
    assert [entry & 0xFFFFF000 for entry in entries] == [0xE8000000, 0xE800F000]
    assert all(entry & PCD for entry in entries)
    assert faults and not [address for address in faults if any(address in each for each in ranges)]
    assert m.unload("iomap") == [] and m.kernel.reports == []


def test_the_display_controllers_registers(machine_clean: Make, run_iomap: Run) -> None:
    """Words of 4 for read and write, single accesses through the mapping.  # C7, D8, A1"""
    m = machine_clean(devices=["iomap"])
    accesses: list[Any] = []
    m.events.listen("register", accesses.append)
    run_iomap(
        m,
        """
        unsigned value = 0;
        struct iomap_area area = {0xfcc00000, 0x10000};
        int fd = must_open("/dev/iomap3", O_RDWR);
        EQUAL("set", ioctl(fd, IOMAP_SET, &area), 0);
        EQUAL("read", pread(fd, &value, 4, 0), 4);
        CHECK("id", !memcmp(&value, "nopg", 4));
        EQUAL("write", pwrite(fd, &value, 4, 0x410), 4);
        volatile unsigned *p = map(fd, 0, 0x10000, RW, MAP_SHARED);
        CHECK("palette", p[0x104] == value);
        p[5] = 640;
    """,
    )
    nopg = int.from_bytes(b"nopg", "little")
    assert [(a.register, a.width, a.write, a.value) for a in accesses] == [
        ("id", 4, False, nopg), ("palette[4]", 4, True, nopg), ("palette[4]", 4, False, nopg), ("width", 4, True, 640),
    ]  # fmt: skip
    assert {a.device for a in accesses} == {"display"}
    assert m.unload("iomap") == []


def test_the_frame_buffer_is_what_the_controller_shows(machine_clean: Make, run_iomap: Run) -> None:
    """A mode by one device, pixels by the other, through their mappings; the controller's picture has them.  # C7"""
    m = machine_clean(devices=["iomap,iomap_base=0xe8000000,iomap_size=0x4000000"])
    run_iomap(
        m,
        """
        struct iomap_area area = {0xfcc00000, 0x10000};
        int fd = must_open("/dev/iomap0", O_RDWR), regs = must_open("/dev/iomap1", O_RDWR);
        EQUAL("set", ioctl(regs, IOMAP_SET, &area), 0);
        volatile unsigned *r = map(regs, 0, PAGE, RW, MAP_SHARED), *v = map(fd, 0, 4 * PAGE, RW, MAP_SHARED);
        r[5] = 4, r[6] = 2, r[7] = 32, r[8] = 0x1000, r[9] = 0x1000, r[4] = 1;
        EQUAL("it can be shown", r[12] & 4, 4);
        for (int i = 0; i < 4; i++)
            v[0x400 + i] = 0x010203 * (i + 1), v[0x800 + i] = 0xff0000;
    """,
    )
    display = next(each for each in m.kernel.pci_host.functions() if each.name == "0000:01:00.0")
    assert display.picture() == (4, 2, bytes.fromhex("010203 020406 030609 04080c" + "ff0000" * 4))


def test_set_by_parameters(machine_clean: Make) -> None:
    """iomap_base and iomap_size; a range that can't be had leaves nothing behind.  # C7, D6"""
    m = machine_clean()
    with pytest.raises(ConfigError, match="EINVAL"):
        m.load("iomap,iomap_base=0x800000,iomap_size=4096")
    assert "iomap: can't map 0x1000 bytes at 0x800000" in m.dmesg
    assert m.kernel.vmalloc.areas == [] and "iomap0" not in m.kernel.chrdevs.nodes
    m.load("iomap,iomap_base=0xe8000000,iomap_size=0x100000,iomap_devs=1")
    m.kernel.bus.memories[0].data[:5] = b"hello"
    shown = m.run(["/usr/local/bin/mapper", "/dev/iomap0", "0", "5"])
    assert (shown.exit, shown.stdout) == (0, b"hello")
    assert m.unload("iomap") == []
