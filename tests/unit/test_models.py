"""Device models: kinds of access, fields, hooks, queues, memories; register maps from files; waves."""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import Any

import pytest

from machine import Machine
from machine.errors import ConfigError
from machine.hardware.field import ACCESS
from machine.testing import Field, Fifo, Memory, Reg, RegArray, RegisterBlock, RegisterError

HERE = Path(__file__).parent


def block(**parts: Any) -> Any:
    return type("Block", (RegisterBlock,), parts)()


# What 0x0F becomes under a write of 0x33, and what a read gives then and leaves (IEEE 1800.2 §18.5.3).
KINDS = {
    "rw": (0x33, 0x33, 0x33), "ro": (0x0F, 0x0F, 0x0F), "wo": (0x33, 0, 0x33), "w1": (0x33, 0x33, 0x33),
    "wo1": (0x33, 0, 0x33), "rc": (0x0F, 0x0F, 0), "rs": (0x0F, 0x0F, 0xFF), "wrc": (0x33, 0x33, 0),
    "wrs": (0x33, 0x33, 0xFF), "wc": (0, 0, 0), "ws": (0xFF, 0xFF, 0xFF), "wsrc": (0xFF, 0xFF, 0), "wcrs": (0, 0, 0xFF),
    "w1c": (0x0C, 0x0C, 0x0C), "w1s": (0x3F, 0x3F, 0x3F), "w1t": (0x3C, 0x3C, 0x3C), "w0c": (0x03, 0x03, 0x03),
    "w0s": (0xCF, 0xCF, 0xCF), "w0t": (0xC3, 0xC3, 0xC3), "w1src": (0x3F, 0x3F, 0), "w1crs": (0x0C, 0x0C, 0xFF),
    "w0src": (0xCF, 0xCF, 0), "w0crs": (0x03, 0x03, 0xFF), "woc": (0, 0, 0), "wos": (0xFF, 0, 0xFF),
}  # fmt: skip


def test_every_kind_is_here() -> None:
    assert set(KINDS) == set(ACCESS)


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_access(kind: str) -> None:
    made = block(reg=Reg(0, width=1, access=kind, reset=0x0F))
    written, read, after = KINDS[kind]
    made.write(0, 1, 0x33)
    assert made.reg == written
    assert made.read(0, 1)[0] == read and made.reg == after
    if kind in ("w1", "wo1"):
        made.write(0, 1, 0x55)
        assert made.reg == 0x33
        made.reset()
        made.write(0, 1, 0x55)
        assert made.reg == 0x55


def test_fields_have_kinds_of_their_own() -> None:
    made = block(
        reg=Reg(
            0, reset=0xF0, fields={"low": Field(0, 4), "flags": Field("7:4", access="w1c"), "id": Field(8, access="wo")}
        )
    )
    assert (Field("7:4").lsb, Field("7:4").width, Field("[3]").mask) == (4, 4, 8)
    made.write(0, 2, 0x135)
    assert made.reg == 0x1C5 and made.read(0, 4)[0] == 0xC5
    assert made["reg.flags"] == 0xC and made["reg.id"] == 1


def test_values_have_names() -> None:
    class Mode(enum.Enum):
        SLOW = 0
        FAST = 2

    made = block(ctrl=Reg(0, fields={"mode": Field(1, 2, values=Mode)}))
    made["ctrl.mode"] = "FAST"
    assert made.ctrl == 4 and made["ctrl"] == 4 and type(made).ctrl.fields["mode"].name_of(2) == "FAST"
    made["ctrl"] = 2
    assert made["ctrl.mode"] == 1


def test_hooks_by_name_and_decorator_run_in_order() -> None:
    class Base(RegisterBlock):
        ctrl = Reg(0, on_write=("first", "second"), on_read="told")
        many = RegArray(0x10, 4)
        memory = Memory(0x100, 16)

        def __init__(self) -> None:
            self.calls: list[Any] = []
            super().__init__()

        def write_ctrl(self, value: int) -> None:
            self.calls.append(("write_ctrl", value))

        def first(self, value: int) -> None:
            self.calls.append(("first", value))

        def second(self, value: int) -> None:
            self.calls.append(("second", value))

        def told(self) -> int:
            return -1

        @ctrl.on_write
        @many.on_write
        def both(self, *facts: int) -> None:
            self.calls.append(("both", *facts))

        @memory.on_write
        def stored(self, offset: int, value: int) -> None:
            self.calls.append(("stored", offset, value))

    class Derived(Base):
        @Base.ctrl.on_write
        def more(self, value: int) -> None:
            self.calls.append(("more", value))

    made = Derived()
    made.write(0, 4, 7)
    assert made.calls == [("write_ctrl", 7), ("first", 7), ("second", 7), ("both", 7), ("more", 7)]
    assert made.read(0, 4)[0] == 0xFFFFFFFF and made.ctrl == 7
    made.write(0x18, 4, 9)
    made.write(0x104, 2, 0xABCD)
    assert made.calls[5:] == [("both", 2, 9), ("stored", 4, 0xABCD)]
    plain = Base()
    plain.write(0, 4, 1)
    assert len(plain.calls) == 4


def test_a_receiver_and_a_transmitter_at_one_address() -> None:
    made = block(
        rx=Fifo(0, depth=2, width=1, access="ro", empty="last", full="overwrite"),
        tx=Fifo(0, depth=2, width=1, access="wo"),
    )
    assert made.rx.push(1, 2, 3) == 1 and list(made.rx) == [2, 3]
    assert [made.read(0, 1)[0] for _ in range(3)] == [2, 3, 3] and made.rx.underruns == 1
    for byte in b"abc":
        made.write(0, 1, byte)
    assert list(made.tx) == [0x61, 0x62] and made.tx.full and made.tx.overruns == 1
    assert made.tx.pop() == 0x61 and made.values["tx"] == 1 and repr(made.tx) == "<Fifo tx [98] of 2>"
    made.reset()
    assert made.tx.empty and not made.rx


def test_what_was_put_off_can_be_cancelled() -> None:
    with Machine(ram=32 << 20, deterministic=True) as machine:
        made = machine.attach("/dev/mem@0xfe000000", type("Block", (RegisterBlock,), {"reg": Reg(0)}))
        calls: list[Any] = []
        kept = made.after(10, calls.append, "kept")
        made.after(20, calls.append, "cancelled").cancel()
        again = made.every(100, calls.append, "again")
        machine.run_until(us=250)
        assert calls == ["kept", "again", "again"] and not kept.active and again.active
        made.reset()
        machine.run_until(us=500)
        assert calls == ["kept", "again", "again"] and repr(again) == "<done list.append>"


# -- maps ----------------------------------------------------------------------------------------------------------


def test_systemrdl() -> None:
    made: Any = RegisterBlock.from_rdl(HERE / "map.rdl")()
    assert type(made).__name__ == "uart" and list(made.registers)[:3] == ["ctrl", "status", "data"]
    assert made.ctrl == 0x50000001 and made["ctrl.parity"] == 0
    made["ctrl.parity"] = "odd"
    assert made.ctrl == 0x50000007
    made.write(0, 4, 0xFFFFFFF8)
    assert made.ctrl == 0x50000000, "bits outside fields, and those of sw = r, take no writes"
    made.status = 0x301
    made.write(4, 4, 1)
    assert made.read(4, 4)[0] == 0x300 and made.read(4, 4)[0] == 0
    made.write(8, 4, 0x1FF)
    assert made.data == 0xFF and made.read(8, 4)[0] == 0
    made.write(0x14, 2, 0xBEEF)
    assert made.levels[1] == 0xBEEF and made.arrays["levels"].stride == 4
    assert made.registers["dma1_source"].offset == 0x50 and len(made.buffer) == 64
    assert type(made).ctrl.where == (str(HERE / "map.rdl"), 9)
    assert type(made).ctrl.fields["enable"].doc == "switches it on"


def test_svd() -> None:
    made: Any = RegisterBlock.from_svd(HERE / "map.svd", "TIMER")()
    assert list(made.registers) == ["CR", "SR", "CNT", "KEY", "CCR0", "CCR1", "CCR2"] and made.CR == 2
    made.write(0, 4, 0x8000000B)
    assert made.CR == 0xB and made["CR.MODE"] == 5 and type(made).CR.fields["MODE"].name_of(5) == "fast"
    made.SR, made.CNT = 3, 9
    made.write(4, 4, 1)
    assert made.SR == 2 and made.read(8, 4)[0] == 9 and made.CNT == 0
    made.write(0xC, 2, 0x1234)
    assert made.KEY == 0x1234 and made.read(0xC, 2)[0] == 0
    assert type(made).SR.where == (str(HERE / "map.svd"), 27)


def test_a_class_of_a_map_can_be_derived_from() -> None:
    Map: Any = RegisterBlock.from_rdl(HERE / "map.rdl", "uart")

    class Uart(Map):  # type: ignore[misc]
        @Map.ctrl.on_write
        def switched(self, value: int) -> None:
            self["ctrl.version"] = 9

    made = Uart()
    made.write(0, 1, 1)
    assert made.ctrl == 0x90000001


@pytest.mark.parametrize(("library", "extra"), [("systemrdl", "rdl"), ("cmsis_svd", "svd"), ("vcd", "waves")])
def test_a_missing_library_says_how_to_get_it(library: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises((RegisterError, ConfigError), match=rf"pip install 'nopage\[{extra}\]'$"):
        if extra == "rdl":
            RegisterBlock.from_rdl(HERE / "map.rdl")
        elif extra == "svd":
            RegisterBlock.from_svd(HERE / "map.svd", "TIMER")
        else:
            with Machine(ram=32 << 20, deterministic=True) as machine:
                machine.waves("unused.vcd")


SVD = """<?xml version="1.0"?>
<device><name>D</name><addressUnitBits>8</addressUnitBits><width>32</width><size>32</size><peripherals><peripheral>
<name>T</name><baseAddress>0</baseAddress><registers>{registers}</registers></peripheral></peripherals></device>
"""
REGISTER = "<register><name>{0}</name>{1}{2}</register>"
AT = "<addressOffset>{0}</addressOffset>"


def test_svd_of_registers_that_share_a_place(tmp_path: Path) -> None:
    """STM32's timers have alternate registers: the first is taken; those that are nothing are named."""
    file = tmp_path / "t.svd"
    field = "<fields><field><name>F</name></field></fields>"
    other = "<alternateRegister>CCMR_Output</alternateRegister>"
    file.write_text(SVD.format(registers="".join((
        REGISTER.format("CCMR_Output", AT.format(8), ""), REGISTER.format("CCMR_Input", other, AT.format(8)),
        REGISTER.format("CNT", AT.format(12), other),
    ))))  # fmt: skip
    made: Any = RegisterBlock.from_svd(file, "T")
    assert made.CCMR_Output.offset == 8 and made.CNT.offset == 12 and not hasattr(made, "CCMR_Input")
    for registers, message in (
        (REGISTER.format("R", "", ""), "register R has no addressOffset"),
        (REGISTER.format("R", AT.format(0), field), "field F of register R does not say which bits"),
        ("", "peripheral T has no registers, nor has what it is derived from"),
    ):
        file.write_text(SVD.format(registers=registers))
        with pytest.raises(RegisterError, match=message):
            RegisterBlock.from_svd(file, "T")


def test_a_period_of_nothing() -> None:
    """It would stop virtual time."""

    class Spins(RegisterBlock):
        value = Reg(0)

    with pytest.raises(RegisterError, match="every: more than 0"):
        Spins().every(0, print)
