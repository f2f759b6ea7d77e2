"""Register blocks and the bus: declarations, access rules, hooks, events."""

from __future__ import annotations

from typing import Any

import pytest

from machine.events import RegisterAccess
from machine.hardware.bus import Bus, BusConflict
from machine.hardware.ram import MiB, Ram
from machine.hardware.registers import Field, Reg, RegArray, RegisterBlock, RegisterError


class Timer(RegisterBlock):
    ctrl = Reg(0x00, fields={"enable": Field(0), "mode": Field(1, 3, "how it counts")}, doc="control")
    count = Reg(0x04, access="ro", reset=42)
    period = Reg(0x08)
    status = Reg(0x0C, width=2, access="w1c", reset=0xFFFF)
    key = Reg(0x10, width=1, access="wo")
    wide = Reg(0x18, width=8)

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, int]] = []

    def write_ctrl(self, value: int) -> None:
        self.told.append(("ctrl", value))

    def read_period(self) -> int:
        return self.period + 1

    def on_write(self, reg: Reg, value: int) -> None:
        self.told.append(("any " + reg.name, value))


def test_instance_and_class_access() -> None:
    timer = Timer()
    assert timer.count == 42
    timer.count = 0x1_2345_6789
    assert timer.count == 0x2345_6789
    assert Timer.count.offset == 4 and Timer.count.access == "ro"
    assert Timer.size == 4096 and list(Timer.registers) == ["ctrl", "count", "period", "status", "key", "wide"]
    timer.reset()
    assert timer.count == 42


def test_write_goes_to_the_hooks_and_ro_keeps_its_value() -> None:
    timer = Timer()
    timer.write(0, 4, 5)
    timer.write(4, 4, 99)
    assert timer.told == [("any ctrl", 5), ("ctrl", 5)]
    assert timer.ctrl == 5 and timer.count == 42 and timer.stray == 1


def test_read_hook_supplies_the_value() -> None:
    timer = Timer()
    timer.period = 7
    assert timer.read(8, 4)[0] == 8
    assert timer.period == 7


@pytest.mark.parametrize(
    ("offset", "width", "value"), [(4, 1, 42), (4, 2, 42), (5, 1, 0), (2, 4, 42 << 16), (0, 8, 42 << 32)]
)
def test_reads_are_cut_along_the_registers(offset: int, width: int, value: int) -> None:
    assert Timer().read(offset, width)[0] == value


def test_narrow_write_keeps_the_other_bytes() -> None:
    timer = Timer()
    timer.ctrl = 0x11223344
    timer.write(1, 1, 0xAA)
    assert timer.ctrl == 0x1122AA44
    timer.write(2, 4, 0xFFFFBBCC)
    assert timer.ctrl == 0xBBCCAA44
    assert timer.count == 42


def test_write_one_to_clear() -> None:
    timer = Timer()
    timer.write(0x0C, 2, 0x00F0)
    assert timer.status == 0xFF0F
    assert ("any status", 0xF0) in timer.told


def test_wide_register_and_write_only() -> None:
    timer = Timer()
    timer.write(0x18, 8, 0x1122334455667788)
    assert timer.wide == 0x1122334455667788 and timer.read(0x1C, 4)[0] == 0x11223344
    timer.write(0x10, 1, 9)
    assert timer.key == 9 and timer.read(0x10, 1)[0] == 0 and timer.stray == 1


def test_bytes_outside_registers_are_stray() -> None:
    timer = Timer()
    assert timer.read(0x800, 4) == (0, [])
    assert timer.write(0x800, 4, 1) == []
    assert timer.read(0x0E, 4)[0] == 0
    assert timer.stray == 3


def test_fields_and_describe() -> None:
    timer = Timer()
    timer.set_field("ctrl", "mode", 5)
    assert timer.ctrl == 0b1010 and timer.field("ctrl", "mode") == 5
    text = timer.describe()
    assert "0x0004 count        32 ro  0000002a" in text and "[3:1]    mode         5 how it counts" in text


def test_overlap_names_both_registers() -> None:
    with pytest.raises(RegisterError, match=r"Bad.two \(0x4, 4 bytes\) overlaps Bad.one \(0x0, 8 bytes\)"):
        type("Bad", (RegisterBlock,), {"one": Reg(0, width=8), "two": Reg(4)})


@pytest.mark.parametrize(
    "arguments", [{"width": 3}, {"access": "x"}, {"reset": 1 << 32}, {"fields": {"f": Field(30, 4)}}]
)
def test_wrong_declarations(arguments: dict[str, Any]) -> None:
    with pytest.raises(RegisterError, match=r"test_registers.py:\d+: Bad.one: "):
        type("Bad", (RegisterBlock,), {"one": Reg(0, **arguments)})


def test_a_hook_without_register_is_an_error() -> None:
    with pytest.raises(RegisterError, match=r"write_crtl: there is no register 'crtl'; did you mean 'ctrl'\?"):

        class Bad(RegisterBlock):
            ctrl = Reg(0)

            def write_crtl(self, value: int) -> None:
                pass


def test_inherited_registers() -> None:
    class Bigger(Timer):
        far = Reg(0x1000)

    assert Bigger.size == 0x2000 and "ctrl" in Bigger.registers and "far" not in Timer.registers


def bus() -> tuple[Bus, Timer, list[RegisterAccess]]:
    seen: list[RegisterAccess] = []
    made, timer = Bus(None, Ram(32 * MiB)), Timer()
    made.events.listen("register", seen.append)
    made.clock = lambda: 77
    made.attach(timer, 0xFE000000)
    return made, timer, seen


def test_bus_finds_and_tells() -> None:
    made, timer, seen = bus()
    where = made.find(0xFE000FFF)
    assert where is not None and where.block is timer and made.find(0xFE001000) is None
    made.write(0xFE000000, 4, 1, 12, 0x401000)
    assert made.read(0xFE000004, 4, 12, 0x401000) == 42
    assert seen == [
        RegisterAccess("timer", "ctrl", 0, 4, True, 1, 0x401000, 12, 77),
        RegisterAccess("timer", "count", 4, 4, False, 42, 0x401000, 12, 77),
    ]


def test_wide_access_is_told_a_register_at_a_time() -> None:
    made, _timer, seen = bus()
    made.write(0xFE000000, 8, 0x5_0000_0003)
    assert [(e.register, e.value, e.width) for e in seen] == [("ctrl", 3, 8), ("count", 5, 8)]


def test_unclaimed_addresses_read_as_ones_and_memory_as_memory() -> None:
    made, _timer, seen = bus()
    assert made.read(0xFD000000, 4) == 0xFFFFFFFF
    made.write(0xFD000000, 4, 0)
    made.write(0xA0000, 4, 0x12345678)
    assert made.read_bytes(0xA0000, 4) == bytes.fromhex("78563412")
    video = bytearray(8192)
    made.attach_memory(video, 0xE8000000)
    made.write_bytes(0xE8000004, b"abcd")
    assert bytes(video[4:8]) == b"abcd" and made.read(0xE8000004, 1) == ord("a")
    assert not seen


def test_bytes_of_registers_go_in_words() -> None:
    made, _timer, seen = bus()
    assert made.read_bytes(0xFE000003, 6) == bytes([0, 42, 0, 0, 0, 1])
    assert [(e.register, e.offset, e.width) for e in seen] == [("ctrl", 3, 1), ("count", 4, 4), ("period", 8, 1)]


def test_conflicts_are_refused() -> None:
    made, timer, _seen = bus()
    with pytest.raises(BusConflict, match="timer is at 0xfe000000"):
        made.attach(Timer(), 0xFE000000)
    with pytest.raises(ValueError, match="not the start of a page"):
        made.attach(Timer(), 0xFD000010)
    with pytest.raises(ValueError, match="there is RAM"):
        made.attach(Timer(), 0x200000)
    made.detach(timer)
    assert made.find(0xFE000000) is None
    with pytest.raises(ValueError, match="not on the bus"):
        made.detach(timer)


class Card(RegisterBlock):
    ctrl = Reg(0x00, widths=(4,))
    palette = RegArray(0x400, 256, reset=0x10, doc="colours")
    ports = RegArray(0x900, 4, width=2, access="w1c", stride=8, reset=0xFF, fields={"low": Field(0, 4)})

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[int, int]] = []

    def write_palette(self, index: int, value: int) -> None:
        self.told.append((index, value))

    def read_ports(self, index: int) -> int | None:
        return 0x1234 if index == 3 else None


def test_arrays_of_registers() -> None:
    card = Card()
    assert card.write(0x404, 4, 0xABCDEF)[0].name == "palette[1]"
    card.palette[-1] = 0x1_0000_0007
    assert (card.palette[0], card.palette[1], card.palette[255]) == (0x10, 0xABCDEF, 7) and len(card.palette) == 256
    assert card.palette[:3] == [0x10, 0xABCDEF, 0x10] and sum(card.palette) == 0xABCDEF + 7 + 254 * 0x10
    with pytest.raises(IndexError, match=r"palette\[256\]: there are 256"):
        card.palette[256] = 1
    assert card.told == [(1, 0xABCDEF)]
    assert card.write(0x40A, 4, 0x5566_7788)[1] == ("palette[3]", 0x40C, 2, 0x5566)
    assert card.told[1:] == [(2, 0x7788_0010), (3, 0x5566)]
    assert card.read(0x918, 2) == (0x1234, [("ports[3]", 0x918, 2, 0x1234)])
    card.write(0x908, 2, 0x0F)
    assert card.ports[1] == 0xF0 and card.read(0x902, 2)[0] == 0
    assert "0x0404 palette[1]   32 rw  00abcdef colours" in card.describe() and "palette[4]" not in card.describe()
    card.reset()
    assert card.palette[1] == 0x10 and card.ports[1] == 0xFF


def test_odd_accesses_are_counted() -> None:
    """Unaligned, over-wide, out of range, forbidden: each follows the declared rule, and is counted."""
    timer = Timer()
    counts = timer.counts
    timer.read(1, 2)
    assert (counts.unaligned, counts.wide) == (1, 0)
    timer.read(0, 8)
    timer.read(0x0C, 4)  # a register of 2 bytes, and 2 beyond it
    assert (counts.wide, counts.outside, counts.forbidden) == (2, 1, 0)
    timer.write(4, 4, 1)
    timer.read(0x10, 1)
    timer.read(0x800, 4)
    assert (counts.outside, counts.forbidden, counts.refused, timer.stray) == (2, 2, 0, 4)
    assert repr(counts) == "<forbidden 2, outside 2, refused 0, unaligned 1, wide 2>"


def test_a_strict_device_refuses() -> None:
    """What it does not take reads as ones, is not written, and runs no hook."""

    class Strict(Card):
        widths = (4, 8)
        unaligned = "refuse"

    card = Strict()
    assert card.read(0x00, 8) == ((1 << 64) - 1, []) and card.read(0x00, 4)[0] == 0, "ctrl's own widths come before"
    assert card.write(0x400, 2, 1) == [] and card.write(0x402, 4, 1) == [] and card.read(0x800, 1)[0] == 0xFF
    assert card.counts.refused == 4 and card.told == [] and card.palette[0] == 0x10
    assert len(card.write(0x400, 8, 0x2_0000_0001)) == 2 and card.told == [(0, 1), (1, 2)]
    with pytest.raises(RegisterError, match="'split' or 'refuse'"):
        type("Bad", (RegisterBlock,), {"unaligned": "never"})


def test_wrong_arrays() -> None:
    with pytest.raises(RegisterError, match="0 registers of 4 bytes"):
        type("Bad", (RegisterBlock,), {"many": RegArray(0, 0)})
    with pytest.raises(RegisterError, match="2 bytes apart"):
        type("Bad", (RegisterBlock,), {"many": RegArray(0, 4, stride=2)})
    with pytest.raises(RegisterError, match=r"Bad.one \(0x3c, 4 bytes\) overlaps Bad.many \(0x0, 64 bytes\)"):
        type("Bad", (RegisterBlock,), {"many": RegArray(0, 16), "one": Reg(0x3C)})
