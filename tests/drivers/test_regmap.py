"""regmap driven by compiled programs: registers as a character device, and its interrupt (MECHANISMS C9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from machine.errors import ConfigError
from machine.testing import BusLog, Reg, RegisterBlock

Run = Callable[..., Any]
Make = Callable[..., Machine]


class Ticker(RegisterBlock):
    """Two pages; what is written to `start` is microseconds until an interrupt."""

    start = Reg(0)
    far = Reg(0x1000)

    def write_start(self, value: int) -> None:
        self.after(value, self.raise_irq)


def test_its_files(machine_clean: Make, run_c: Run) -> None:
    """mmap from any page on; read and poll count interrupts; errors as of a device of that kind.  # C9, B5"""
    m = machine_clean(deterministic=True)
    block = m.attach("/dev/ticker", Ticker)
    m.attach("/dev/other", Ticker).name = "other"
    result = run_c(m, """
        struct { int fd; short events, revents; } p;
        extern int poll(void *, unsigned long, int);
        int fd = must_open("/dev/ticker", O_RDWR), n = 0;
        volatile unsigned *regs = map(fd, 0, 2 * PAGE, RW, MAP_SHARED);
        volatile unsigned *second = map(fd, PAGE, PAGE, RW, MAP_SHARED);
        p.fd = fd, p.events = 1;
        second[0] = 5;
        EQUAL("the same register", regs[1024], 5);
        ERRNO("too long", (long)map(fd, 0, 3 * PAGE, RW, MAP_SHARED), EINVAL);
        ERRNO("beyond", (long)map(fd, 2 * PAGE, PAGE, RW, MAP_SHARED), EINVAL);
        ERRNO("no 4 bytes", read(fd, &n, 3), EINVAL);
        ERRNO("no write", write(fd, &n, 4), EINVAL);
        fcntl(fd, F_SETFL, O_NONBLOCK);
        ERRNO("nothing yet", read(fd, &n, 4), EAGAIN);
        fcntl(fd, F_SETFL, 0);
        EQUAL("not ready", poll(&p, 1, 0), 0);
        regs[0] = 100;
        EQUAL("poll", poll(&p, 1, -1), 1);
        EQUAL("ready", p.revents, 1);
        ERRNO("bad address", read(fd, (void *)8, 4), EFAULT);
        EQUAL("not lost by that", read(fd, &n, 4), 4);
        EQUAL("one", n, 1);
        regs[0] = 5000;
        EQUAL("waits", read(fd, &n, 4), 4);
        EQUAL("two", n, 2);
        int late = must_open("/dev/ticker", O_RDWR | O_NONBLOCK), other = must_open("/dev/other", O_RDWR | O_NONBLOCK);
        ERRNO("only what comes after its open", read(late, &n, 4), EAGAIN);
        ERRNO("another device's", read(other, &n, 4), EAGAIN);
        *(volatile unsigned *)map(other, PAGE, PAGE, RW, MAP_SHARED) = 7;
    """)  # fmt: skip
    assert BusLog.of_result(m, result).of("ticker").writes() == [("far", 5), ("start", 100), ("start", 5000)]
    assert block.far == 5 and BusLog.of_result(m, result).of("other").writes() == [("far", 7)]
    assert m.unload("regmap") == []
    assert m.kernel.reports == []


def test_a_device_without_an_interrupt(machine_clean: Make, run_c: Run) -> None:
    m = machine_clean(deterministic=True)
    m.attach("/dev/mem@0xfd000000", Ticker)
    m.load("regmap,regmap_start=0xfd000000,regmap_size=8192,regmap_name=mute")
    run_c(m, """
        struct { int fd; short events, revents; } p = { must_open("/dev/mute", O_RDWR), 1, 0 };
        extern int poll(void *, unsigned long, int);
        int n;
        ERRNO("no interrupt", read(p.fd, &n, 4), ENXIO);
        EQUAL("poll", poll(&p, 1, 0), 1);
        EQUAL("an error", p.revents, 8);
    """)  # fmt: skip
    assert m.unload("regmap") == []


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ("regmap_start=0xfd000000,regmap_size=4096", "EINVAL"),
        ("regmap_start=0xfd000010,regmap_size=4096,regmap_name=x", "EINVAL"),
        ("regmap_start=0xfd000000,regmap_name=x", "EINVAL"),
        ("regmap_start=0xfd000000,regmap_size=4096,regmap_name=mem", "EEXIST"),
        ("regmap_start=0xfd000000,regmap_size=4096,regmap_name=x,regmap_irq=2", "EBUSY"),
    ],
)
def test_parameters_that_can_not_be(machine_clean: Make, parameters: str, why: str) -> None:
    m = machine_clean(deterministic=True)
    with pytest.raises(ConfigError, match=why):
        m.load(f"regmap,{parameters}")
    assert "x" not in m.kernel.chrdevs.nodes
