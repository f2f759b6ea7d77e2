"""gpio against a model of its block.  The tool has a bug: it drives a pin before it says at which level.

`test_no_glitch` finds it.  It is marked as failing, strictly: it tells when the bug is gone.
"""

import shutil

import pytest

from machine.testing import Reg, RegisterBlock


class Gpio(RegisterBlock):
    """32 pins.  `levels` is what somebody outside sees: None while a pin is not driven."""

    dir = Reg(0x00, doc="1: output")
    out = Reg(0x04, reset=0xFFFFFFFF)
    pins = Reg(0x08, access="ro")

    def __init__(self):
        self.levels = []
        super().__init__()

    def on_write(self, reg, value):
        self.levels.append([self.out >> pin & 1 if self.dir >> pin & 1 else None for pin in range(32)])

    def seen(self, pin):
        return [levels[pin] for levels in self.levels]


pytestmark = pytest.mark.device("/dev/mem@0xfe200000", Gpio)


@pytest.fixture
def gpio(guest_cc):
    return guest_cc("gpio.c", flags=["-O1", "-Wall"])


@pytest.mark.parametrize(("pin", "level"), [(0, "high"), (31, "low")])
def test_a_pin_is_driven(run, gpio, device, pin, level):
    assert run(gpio, pin, level).exit == 0
    assert device.seen(pin)[-1] == (level == "high")
    assert all(levels[other] is None for levels in device.levels for other in range(32) if other != pin)


def test_a_pin_is_read(run, gpio, device):
    device.pins = 1 << 5
    assert run(gpio, 5, "in").stdout == b"1\n"
    assert run(gpio, 6, "in").stdout == b"0\n"


@pytest.mark.xfail(reason="the pin is high until its level is written", strict=True)
def test_no_glitch(run, gpio):
    r = run(gpio, 4, "low")
    r.bus.assert_writes([("out", 0xFFFFFFEF), ("dir", 0x10)])


@pytest.mark.skipif(not shutil.which("busybox"), reason="Debian: apt install busybox-static")
def test_devmem_of_busybox(run, device):
    """A program that nobody wrote for this: BusyBox's devmem, as Debian has it."""
    run("busybox", "devmem", "0xfe200000", "32", "0x80", check=True)
    assert device.dir == 0x80
    device.pins = 0xCAFE
    assert run("busybox", "devmem", "0xfe200008", check=True).stdout == b"0x0000CAFE\n"


@pytest.mark.skipif(not shutil.which("memtool"), reason="Debian: apt install memtool")
def test_memtool(run, device):
    """And Debian's memtool."""
    run("memtool", "mw", "-l", "0xfe200004", "0x12345678", check=True)
    assert device.out == 0x12345678
    r = run("memtool", "md", "-l", "0xfe200000+0xc", check=True)
    assert r.stdout.startswith(b"fe200000: 00000000 12345678 00000000"), r.stdout
    r.bus.assert_reads([("dir", 0), ("out", 0x12345678), ("pins", 0)])
