"""radimo driven by compiled programs (MECHANISMS C10, D4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from machine.errors import ConfigError

Run = Callable[..., Any]
Make = Callable[..., Machine]


def test_read_write_seek(machine_clean: Make, run_c: Run) -> None:
    """A fixed size, zeros at first, any bytes, an end.  # C10"""
    m = machine_clean(ram=32 << 20, devices=["radimo,radimo_size=64"])
    run_c(
        m,
        """
        static char buf[70000], back[70000];
        int fd = must_open("/dev/radimo", O_RDWR);
        EQUAL("the end", lseek(fd, 0, SEEK_END), 65536);
        ERRNO("nothing fits there", write(fd, "x", 1), ENOSPC);
        EQUAL("nothing is there", read(fd, buf, 1), 0);
        EQUAL("back", lseek(fd, -3, SEEK_CUR), 65533);
        EQUAL("up to the end", write(fd, "abcdef", 6), 3);
        EQUAL("zeros at first", pread(fd, buf, 65533, 0), 65533);
        CHECK("all", all_are(buf, 0, 65533));
        for (int i = 0; i < 70000; i++) buf[i] = i * 13;
        EQUAL("write", pwrite(fd, buf, 70000, 1), 65535);
        EQUAL("read", pread(fd, back, 70000, 1), 65535);
        CHECK("the same", !memcmp(buf, back, 65535));
        ERRNO("bad buffer to read", pread(fd, (void *)16, 5, 0), EFAULT);
        ERRNO("bad buffer to write", pwrite(fd, (void *)16, 5, 1), EFAULT);
        EQUAL("nothing was harmed", pread(fd, back, 5, 1), 5);
        CHECK("as before", !memcmp(buf, back, 5));
        ERRNO("before the start", lseek(fd, -1, SEEK_SET), EINVAL);
        ERRNO("bad whence", lseek(fd, 0, 7), EINVAL);
    """,
    )
    (area,) = m.kernel.vmalloc.areas
    assert len(area.pages) == 16 and m.kernel.mem.owner_of(area.pages[0]) is m.kernel.modules["radimo"]


def test_ioctl(machine_clean: Make, run_c: Run) -> None:
    """The sizes, in the widths of both kinds of program; BLKFLSBUF empties what nobody maps.  # C10"""
    m = machine_clean(ram=32 << 20, devices=["radimo,radimo_size=100"])
    run_c(
        m,
        """
        #define BLKGETSIZE _IO(0x12, 96)
        #define BLKFLSBUF _IO(0x12, 97)
        #define BLKSSZGET _IO(0x12, 104)
        #define BLKGETSIZE64 _IOR(0x12, 114, size_t)
        struct { unsigned long sectors, beyond; } a = {~0UL, ~0UL};
        unsigned long long bytes = ~0ULL;
        int sector = 0, fd = must_open("/dev/radimo", O_RDWR);
        char c = 'c';
        EQUAL("BLKGETSIZE", ioctl(fd, BLKGETSIZE, &a), 0);
        EQUAL("sectors", a.sectors, 200);
        CHECK("no byte more", a.beyond == ~0UL);
        EQUAL("BLKGETSIZE64", ioctl(fd, BLKGETSIZE64, &bytes), 0);
        EQUAL("bytes", bytes, 102400);
        EQUAL("BLKSSZGET", ioctl(fd, BLKSSZGET, &sector), 0);
        EQUAL("sector", sector, 512);
        ERRNO("bad pointer", ioctl(fd, BLKGETSIZE64, 8), EFAULT);
        ERRNO("no such command", ioctl(fd, _IO(0x12, 255), 0), ENOTTY);
        EQUAL("write", pwrite(fd, &c, 1, 5000), 1);
        char *p = map(fd, 0, 8192, PROT_READ, MAP_SHARED);
        EQUAL("mapped", p[5000], 'c');
        ERRNO("mapped: not emptied", ioctl(fd, BLKFLSBUF, 0), EBUSY);
        EQUAL("still there", p[5000], 'c');
        munmap(p, 8192);
        EQUAL("emptied", ioctl(fd, BLKFLSBUF, 0), 0);
        EQUAL("read", pread(fd, &c, 1, 5000), 1);
        EQUAL("zero", c, 0);
        setuid(1000);
        ERRNO("others may not", ioctl(fd, BLKFLSBUF, 0), EACCES);
    """,
    )


def test_mmap(machine_clean: Make, run_c: Run) -> None:
    """The very pages, one at a time; past the end SIGBUS; the tail of the last page is zeros.  # C10, B7, B10"""
    m = machine_clean(ram=32 << 20, devices=["radimo,radimo_size=10"])
    calls: list[int] = []
    m.events.listen("driver_call", lambda call: calls.append(call.args[1]) if call.operation == "nopage" else None)
    run_c(
        m,
        """
        char c;
        int fd = must_open("/dev/radimo", O_RDWR);
        char *p = map(fd, 0, 4 * PAGE, RW, MAP_SHARED), *q = map(fd, PAGE, PAGE, RW, MAP_PRIVATE);
        catch_faults();
        p[PAGE + 1] = 's';
        EQUAL("read sees a store", pread(fd, &c, 1, PAGE + 1), 1);
        EQUAL("it", c, 's');
        EQUAL("private", q[1], 's');
        q[1] = 'q';
        EQUAL("keeps to itself", p[PAGE + 1], 's');
        READS("the last page", p + 2 * PAGE + 2047);
        EQUAL("its tail", p[2 * PAGE + 3000], 0);
        NO_READ("past the end", p + 3 * PAGE, SIGBUS, BUS_ADRERR);
        if (!fork()) { p[5] = 'f'; _exit(0); }
        wait(NULL);
        EQUAL("shared with a child", p[5], 'f');
    """,
    )
    assert len(calls) == 6  # page 1 twice, page 2, past the end, page 0 by the child and by its parent
    module = m.kernel.modules["radimo"].namespace
    assert module["radimo_vmas"] == 0
    mem = m.kernel.mem
    assert [mem.count[pfn] for pfn in m.kernel.vmalloc.areas[0].pages] == [1, 1, 1]
    free = mem.free_frames()
    assert m.unload("radimo") == [] and m.kernel.vmalloc.areas == []
    assert mem.free_frames() == free + 3 + 1  # its pages and their leaf table


def test_loading(machine_clean: Make) -> None:
    m = machine_clean(ram=32 << 20)
    for size, errno in ((0, "EINVAL"), (1 << 21, "EINVAL"), (40 << 10, "ENOMEM")):
        with pytest.raises(ConfigError, match=errno):
            m.load(f"radimo,radimo_size={size}")
    assert "radimo: no memory for 40960 KiB" in m.dmesg and m.kernel.vmalloc.areas == []
    m.load("radimo")
    assert "radimo: 2048 KiB" in m.dmesg and len(m.kernel.vmalloc.areas[0].pages) == 512
