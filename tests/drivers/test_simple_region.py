"""`simple_region`: a part of physical memory, and what mremap makes of it (MECHANISMS C3, B8, B11, B13)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from machine.errors import ConfigError

Run = Callable[..., Any]
Make = Callable[..., Machine]
BOTH = ["/dev/simple_region", "/dev/simple_region_sigbus"]


@pytest.fixture
def m(machine_clean: Make) -> Machine:
    machine = machine_clean(devices=["simple_region"], ram=32 << 20)
    for page in range(0xC0, 0xCD):
        machine.kernel.ram.view[page << 12] = page
    return machine


@pytest.mark.parametrize("device", BOTH)
def test_offsets_and_sizes(m: Machine, run_c: Run, device: str) -> None:
    """Offset 0 is the region's first byte; what runs past its end or begins beyond it is EINVAL.  # B13, B14"""
    run_c(m, f"""
        int fd = must_open("{device}", O_RDWR);
        unsigned char *all = map(fd, 0, 13 * PAGE, PROT_READ, MAP_SHARED), *last;
        for (int i = 0; i < 13; i++)
            if (all[i * PAGE] != 0xc0 + i) return 1;
        last = map(fd, 12 * PAGE, 1, RW, MAP_SHARED);
        EQUAL("the last page", last[0], 0xcc);
        last[1] = 0x5a;
        EQUAL("one page at two addresses", all[12 * PAGE + 1], 0x5a);
        ERRNO("a page too long", map(fd, 0, 14 * PAGE, PROT_READ, MAP_SHARED), EINVAL);
        ERRNO("a byte too long", map(fd, 0, 13 * PAGE + 1, PROT_READ, MAP_SHARED), EINVAL);
        ERRNO("past the end", map(fd, 12 * PAGE, 2 * PAGE, PROT_READ, MAP_SHARED), EINVAL);
        ERRNO("at the end", map(fd, 13 * PAGE, PAGE, PROT_READ, MAP_SHARED), EINVAL);
        ERRNO("beyond the end", map(fd, 14 * PAGE, PAGE, PROT_READ, MAP_SHARED), EINVAL);
        ERRNO("far beyond", map(fd, 0x7ffff000LL * 4096, PAGE, PROT_READ, MAP_SHARED), EINVAL);
    """)  # fmt: skip
    assert m.kernel.ram.view[0xCC001] == 0x5A


def test_plain_grown(m: Machine, run_c: Run) -> None:
    """The driver does not hear of it: zero pages past the end, private to the process; a part may be grown into what
    the region has there and shows zeros all the same.  # C3, B8, B11"""
    m.kernel.ram.view[0xCD000] = 0x99  # the page after the region
    run_c(m, """
        int fd = must_open("/dev/simple_region", O_RDWR);
        unsigned char *room = (unsigned char *)hole(64), *p, *q;
        p = mmap(room, 13 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0);
        CHECK("grow", mremap(p, 13 * PAGE, 15 * PAGE, 0) == p);
        EQUAL("mapped", p[12 * PAGE], 0xcc);
        EQUAL("zeros past the end", p[13 * PAGE], 0);
        CHECK("all of it", all_are(p + 13 * PAGE, 0, 2 * PAGE));
        p[13 * PAGE] = 7;
        EQUAL("its own page", p[13 * PAGE], 7);
        q = mmap(room + 32 * PAGE, PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0);
        CHECK("grow inside", mremap(q, PAGE, 2 * PAGE, 0) == q);
        EQUAL("zeros inside", q[PAGE], 0);
        EQUAL("moved", ((unsigned char *)mremap(p, 15 * PAGE, 16 * PAGE, MREMAP_MAYMOVE))[PAGE], 0xc1);
    """)  # fmt: skip
    assert m.kernel.ram.view[0xCD000] == 0x99


def test_sigbus_grown(m: Machine, run_c: Run) -> None:
    """mremap can't be refused; the first touch of the new part is SIGBUS, in a system call EFAULT.  # C3, B10, B11"""
    calls: list[int] = []
    m.events.listen(
        "driver_call",
        lambda call: calls.append(call.args[1] - call.args[0].vm_start) if call.operation == "nopage" else None,
    )
    run_c(m, """
        int fd = must_open("/dev/simple_region_sigbus", O_RDWR);
        unsigned char *room = (unsigned char *)hole(64), *p;
        p = mmap(room, 13 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0);
        catch_faults();
        READS("mapped", p + 12 * PAGE);
        CHECK("grow", mremap(p, 13 * PAGE, 15 * PAGE, 0) == p);
        READS("still", p + 12 * PAGE);
        NO_READ("past the end", p + 13 * PAGE, SIGBUS, BUS_ADRERR);
        NO_WRITE("the page after", p + 14 * PAGE + 5, SIGBUS, BUS_ADRERR);
        NO_READ("nothing beyond", p + 15 * PAGE, SIGSEGV, SEGV_MAPERR);
        int pipes[2];
        EQUAL("pipe", pipe(pipes), 0);
        ERRNO("in a system call", write(pipes[1], p + 13 * PAGE, 1), EFAULT);
    """)  # fmt: skip
    # Only for what was not mapped.  The pipe's copy makes a second attempt at the same byte.
    assert calls[:2] == [0xD000, 0xE000] and set(calls) == {0xD000, 0xE000}


def test_parameters(machine_clean: Make, run_c: Run) -> None:
    """Any region: here the registers of the display, in one page.  # C3"""
    m = machine_clean(devices=["simple_region,simple_region_start=0xfcc00000,simple_region_size=0x1000"])
    run_c(m, """
        int fd = must_open("/dev/simple_region", O_RDWR);
        CHECK("a page", map(fd, 0, PAGE, PROT_READ, MAP_SHARED) != MAP_FAILED);
        ERRNO("two pages", map(fd, 0, 2 * PAGE, PROT_READ, MAP_SHARED), EINVAL);
    """)  # fmt: skip
    assert m.unload("simple_region") == []
    m.load("simple_region,simple_region_size=0x1800")
    run_c(m, """
        int fd = must_open("/dev/simple_region", O_RDWR);
        CHECK("whole pages only", map(fd, 0, PAGE, PROT_READ, MAP_SHARED) != MAP_FAILED);
        ERRNO("half of the second", map(fd, PAGE, 0x800, PROT_READ, MAP_SHARED), EINVAL);
    """)  # fmt: skip
    assert m.unload("simple_region") == []
    for wrong in ("simple_region_start=0xc0010", "simple_region_size=0"):
        with pytest.raises(ConfigError, match="EINVAL"):
            m.load(f"simple_region,{wrong}")
    assert any("simple_region: 0xd000 bytes at 0xc0010 can't be mapped" in line for line in m.dmesg)


def test_a_devices_registers_as_the_region(machine_clean: Make, run_c: Run) -> None:
    """The register BAR of the display controller, 16 pages: each access is seen, nothing beyond can be mapped, and a
    mapping that mremap makes longer reads zeros, or is SIGBUS.  # C3, B8, B11, B13, A1"""
    m = machine_clean(devices=["simple_region,simple_region_start=0xfcc00000,simple_region_size=0x10000"])
    accesses: list[Any] = []
    m.events.listen("register", accesses.append)
    run_c(m, """
        for (int i = 0; i < 2; i++) {
            int fd = must_open(i ? "/dev/simple_region_sigbus" : "/dev/simple_region", O_RDWR);
            char *room = hole(64);
            volatile unsigned *regs = mmap(room, 16 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0), *last;
            CHECK("id", regs[0] == 0x67706f6e);
            regs[0x100] = 0x123456;
            last = map(fd, 15 * PAGE, PAGE, RW, MAP_SHARED);
            EQUAL("no register", last[1], 0);
            ERRNO("past the end", (long)map(fd, 0, 17 * PAGE, RW, MAP_SHARED), EINVAL);
            CHECK("grow", mremap(room, 16 * PAGE, 17 * PAGE, 0) == room);
            catch_faults();
            if (i)
                NO_READ("beyond", room + 16 * PAGE, SIGBUS, BUS_ADRERR);
            else
                EQUAL("zeros beyond", room[16 * PAGE], 0);
        }
    """)  # fmt: skip
    seen = [(a.register, a.offset, a.write, a.value) for a in accesses]
    one = [("id", 0, False, 0x67706F6E), ("palette[0]", 0x400, True, 0x123456), ("", 0xF004, False, 0)]
    assert seen == one * 2
