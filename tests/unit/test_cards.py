"""The models of cards by themselves: what their registers do, on a bus with a clock of the test's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from machine.hardware.bus import Bus
from machine.hardware.cards.display_regs import BUSY, IN_VBLANK, MODE_OK, DisplayRegisters, Mode
from machine.hardware.cards.edu_regs import EDU_BUFFER, EduRegisters
from machine.hardware.cards.timer_gpio import TimerGpio
from machine.hardware.ram import MiB, Ram
from machine.hardware.registers import RegisterBlock

BASE = 0xFD000000


class Bench:
    """A bus, a clock, and the level of interrupt line 9."""

    def __init__(self, block: RegisterBlock) -> None:
        self.now = 0
        self.later: list[tuple[int, Callable[[], None]]] = []
        self.line = False
        self.raised = 0
        self.bus = Bus(None, Ram(32 * MiB))
        self.bus.clock = lambda: self.now
        self.bus.call_later = lambda delay, callback: self.later.append((self.now + delay, callback))
        self.bus.set_irq = self.set_irq
        self.block = block
        block.irq = 9
        self.bus.attach(block, BASE)

    def set_irq(self, irq: int, level: bool) -> None:
        assert irq == 9
        self.raised += level and not self.line
        self.line = level

    def go(self, nanoseconds: int) -> None:
        """Time passes."""
        end = self.now + nanoseconds
        while due := [each for each in self.later if each[0] <= end]:
            first = min(due, key=lambda each: each[0])
            self.later.remove(first)
            self.now = first[0]
            first[1]()
        self.now = end

    def set(self, **registers: int) -> None:
        for name, value in registers.items():
            reg = self.block.registers[name]
            self.bus.write(BASE + reg.offset, reg.width, value)

    def get(self, name: str) -> int:
        reg = self.block.registers[name]
        return self.bus.read(BASE + reg.offset, reg.width)


# -- display ---------------------------------------------------------------------------------------------------


@pytest.fixture
def memory() -> bytearray:
    return bytearray(1 * MiB)


@pytest.fixture
def display(memory: bytearray) -> Bench:
    return Bench(DisplayRegisters(memoryview(memory)))


def pack(x: int, y: int) -> int:
    return (y & 0xFFFF) << 16 | x & 0xFFFF


def test_a_mode_is_shown_when_its_registers_make_one(display: Bench) -> None:
    block = display.block
    assert isinstance(block, DisplayRegisters)
    assert display.get("id").to_bytes(4, "little") == b"nopg" and display.get("memory_size") == 1 * MiB
    display.set(width=4, height=2, depth=32, stride=16, start=32)
    assert block.picture() is None and display.get("status") == 0
    display.set(control=1)
    assert block.mode == Mode(4, 2, 32, 16, 32) and display.get("status") & MODE_OK
    for name, value in (("stride", 15), ("depth", 12), ("start", 1 * MiB - 31), ("height", 0)):
        before = display.get(name)
        display.set(**{name: value})
        assert block.mode is None and not display.get("status") & MODE_OK, name
        display.set(**{name: before})
    display.set(control=3)
    assert block.picture() == (4, 2, bytes(24))


@pytest.mark.parametrize(
    ("depth", "pixels", "expected"),
    [
        (8, b"\x00\x01\x02\xff", "000000 112233 000000 ffeedd"),
        (15, b"\xff\x7f\x00\x7c\xe0\x03\x1f\x00", "ffffff ff0000 00ff00 0000ff"),
        (16, b"\xff\xff\x00\xf8\xe0\x07\x1f\x00", "ffffff ff0000 00ff00 0000ff"),
        (24, b"\x01\x02\x03" * 4, "030201 030201 030201 030201"),
        (32, b"\x01\x02\x03\x77" * 4, "030201 030201 030201 030201"),
    ],
)  # fmt: skip
def test_depths(display: Bench, memory: bytearray, depth: int, pixels: bytes, expected: str) -> None:
    """Two lines, apart by a stride that is wider than they are."""
    block = display.block
    assert isinstance(block, DisplayRegisters)
    half = len(pixels) // 2
    memory[0x100 : 0x100 + half] = pixels[:half]
    memory[0x150 : 0x150 + half] = pixels[half:]
    display.set(width=2, height=2, depth=depth, stride=0x50, start=0x100, control=1)
    display.bus.write(BASE + 0x404, 4, 0x112233)
    display.bus.write(BASE + 0x7FC, 4, 0xFFEEDD)
    assert block.picture() == (2, 2, bytes.fromhex(expected))


def test_vertical_blank(display: Bench) -> None:
    """60 a second from when it was switched on; an interrupt each while somebody wants them, and no clock else."""
    display.set(width=4, height=2, depth=32, stride=16, control=1)
    assert display.get("status") & IN_VBLANK and not display.later
    display.go(2_000_000)
    assert not display.get("status") & IN_VBLANK and display.get("frame") == 0
    display.go(100_000_000)
    assert display.get("frame") == 6 and not display.line
    display.set(irq_enable=1)
    display.go(16_700_000)
    assert display.line and display.get("irq_status") == 1 and display.raised == 1
    display.go(16_700_000)
    assert display.raised == 1, "not acknowledged: the line is still held"
    display.set(irq_status=1)
    assert not display.line and display.get("irq_status") == 0
    display.go(16_700_000)
    assert display.raised == 2
    display.set(irq_enable=0, irq_status=1)
    display.go(100_000_000)
    assert display.raised == 2 and not display.later
    display.set(control=0)
    assert display.get("frame") == 0 and not display.get("status") & IN_VBLANK
    display.set(refresh=0xFFFFFFFF, control=1)
    display.go(1_000_000_000)
    assert display.get("frame") == 1000, "at most a thousand a second"
    display.set(control=0)


def test_fill_copy_and_clip(display: Bench, memory: bytearray) -> None:
    display.set(dst=0x1000, dst_stride=8, pixel=1, color=0xAB, dst_xy=pack(2, 1), extent=pack(3, 2), command=1)
    assert memory[0x1000:0x1018].hex(" ", 8) == "0000000000000000 0000ababab000000 0000ababab000000"
    assert display.get("status") & BUSY and display.get("irq_status") == 0
    display.go(1005)
    assert display.get("status") & BUSY
    display.go(1)
    assert not display.get("status") & BUSY and display.get("irq_status") == 2
    # only what is in the clip rectangle, the rest of the target being off the surface
    display.set(
        clip_first=pack(0, 0), clip_last=pack(8, 2), color=0x77, dst_xy=pack(-2, -1), extent=pack(4, 9), command=1
    )
    assert memory[0x1000:0x1018].hex(" ", 8) == "7777000000000000 7777ababab000000 0000ababab000000"
    display.go(10_000)
    # a copy onto itself, further on: one right and one down
    memory[0x1000:0x1018] = bytes(range(24))
    display.set(
        clip_last=0x7FFF7FFF, src=0x1000, src_stride=8, src_xy=0, dst_xy=pack(1, 1), extent=pack(4, 2), command=2
    )
    assert memory[0x1000:0x1018].hex(" ", 8) == "0001020304050607 08000102030d0e0f 1008090a0b151617"
    display.go(10_000)
    memory[0x1000:0x1018] = bytes(range(24))
    display.set(src_xy=pack(1, 1), dst_xy=pack(0, 0), command=2)
    assert memory[0x1000:0x1018].hex(" ", 8) == "090a0b0c04050607 111213140c0d0e0f 1011121314151617"
    display.go(10_000)
    # the source moves with what the clip rectangle takes away
    display.set(
        src=0x1000,
        dst=0x2000,
        src_xy=pack(0, 0),
        dst_xy=pack(-1, -1),
        clip_first=pack(0, 0),
        extent=pack(3, 2),
        command=2,
    )
    assert memory[0x2000:0x2008] == b"\x12\x13" + bytes(6)


def test_the_engine_refuses(display: Bench, memory: bytearray) -> None:
    """Outside the memory, busy, no command: an error, and nothing is drawn."""
    display.set(irq_enable=4, dst=1 * MiB - 15, dst_stride=16, extent=pack(4, 1), color=1, command=1)
    assert display.line and display.get("irq_status") == 4 and not any(memory)
    display.set(irq_status=4, dst=0, command=1)
    assert not display.line and any(memory)
    display.set(dst=0x1000, command=1)
    assert display.line and not any(memory[0x1000:])
    display.go(10_000)
    display.set(irq_status=6)
    for bad in ({"command": 3}, {"pixel": 5, "command": 1}, {"pixel": 4, "src": 1 << 31, "command": 2}):
        display.set(**bad)
        assert display.get("irq_status") == 4, bad
        display.set(irq_status=4)
    display.set(extent=0, command=1)
    display.go(10_000)
    assert display.get("irq_status") == 2, "nothing to do is no error"


# -- edu -------------------------------------------------------------------------------------------------------


@pytest.fixture
def edu(memory: bytearray) -> Bench:
    def write(address: int, data: bytes) -> None:
        memory[address : address + len(data)] = data

    return Bench(EduRegisters(lambda address, count: bytes(memory[address : address + count]), write))


def test_edu_identification_liveness_factorial(edu: Bench) -> None:
    edu.set(liveness=0x12345678)
    assert (edu.get("id"), edu.get("liveness")) == (0x010000ED, 0xEDCBA987)
    for number, expected in ((0, 1), (5, 120), (12, 479001600), (13, 1932053504), (34, 0), (1 << 31, 0)):
        edu.set(factorial=number)
        assert edu.get("status") == 1
        edu.set(factorial=99)  # lost
        edu.go(10_000)
        assert (edu.get("status"), edu.get("factorial")) == (0, expected)
    assert not edu.line
    edu.set(status=0xFF, factorial=4)
    assert edu.get("status") == 0x81
    edu.go(10_000)
    assert edu.line and edu.get("irq_status") == 1 and edu.get("status") == 0x80
    edu.set(irq_raise=0x30)
    edu.set(irq_ack=1)
    assert edu.line and edu.get("irq_status") == 0x30
    edu.set(irq_ack=0x30)
    assert not edu.line


def test_edu_dma(edu: Bench, memory: bytearray) -> None:
    block = edu.block
    assert isinstance(block, EduRegisters)
    memory[0x1234:0x1238] = b"data"
    edu.set(dma_source=0xF000_1234 | 1 << 40, dma_target=EDU_BUFFER + 16, dma_count=4, dma_command=5)
    edu.set(dma_count=9)
    assert edu.get("dma_command") == 5 and not any(block.buffer) and edu.get("dma_count") == 4
    edu.go(100_000)
    assert block.buffer[16:20] == b"data" and edu.line and (edu.get("dma_command"), edu.get("irq_status")) == (4, 0x100)
    edu.set(dma_source=EDU_BUFFER + 17, dma_target=0x2000, dma_count=3, dma_command=3)
    edu.go(100_000)
    assert memory[0x2000:0x2004] == b"ata\0"
    edu.set(dma_source=EDU_BUFFER + 4095, dma_count=2, dma_command=3)
    edu.go(100_000)
    assert block.overruns == 1 and memory[0x2000:0x2004] == b"ata\0" and edu.get("dma_command") == 2


def test_edu_takes_its_widths_only(edu: Bench) -> None:
    assert (
        edu.bus.read(BASE, 2) == 0xFFFF and edu.bus.read(BASE + 0x80, 4) == 0 and edu.bus.read(BASE, 8) == (1 << 64) - 1
    )
    edu.bus.write(BASE + 5, 4, 1)
    assert edu.block.counts.refused == 3 and edu.get("liveness") == 0xFFFFFFFF


# -- timer and pins ----------------------------------------------------------------------------------------------


def test_timer() -> None:
    bench = Bench(TimerGpio())
    bench.set(load=100, control=1)
    bench.go(30_500)
    assert bench.get("count") == 70 and bench.get("status") == 0
    bench.go(70_000)
    assert bench.get("status") == 1 and not bench.line and bench.get("count") == 100
    bench.set(control=5)
    assert bench.line, "a status bit that is there already"
    bench.set(status=1)
    assert not bench.line
    bench.go(100_000)
    assert bench.line and bench.raised == 2
    bench.set(control=0, status=1)
    bench.go(1_000_000)
    assert bench.get("count") == 0 and bench.raised == 2
    bench.set(load=50, control=7)
    bench.go(1_000_000)
    assert bench.raised == 3 and bench.get("control") == 6 and not bench.later


def test_pins() -> None:
    device = TimerGpio()
    bench, seen = Bench(device), []
    device.on_output = seen.append
    bench.set(direction=0x0F, out=0x3, set=0x8, clear=0x1)
    assert seen == [0, 3, 0xB, 0xA] and bench.get("out") == 0xA and bench.get("input") == 0xA
    device.pull(4, True)
    device.pull(0, True)
    assert bench.get("input") == 0x1A and not bench.line, "an output is what it drives"
    bench.set(edge=0x10)
    device.pull(5, True)
    assert not bench.line
    device.pull(4, False)
    assert bench.line and (bench.get("status"), bench.get("changed")) == (2, 0x10)
    bench.set(changed=0x10)
    assert not bench.line and bench.get("status") == 0
    with pytest.raises(ValueError, match="no pin 32"):
        device.pull(32, True)
