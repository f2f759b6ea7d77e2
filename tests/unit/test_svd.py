"""What a CMSIS-SVD file says and cmsis-svd alone does not make of it (hardware/svdtree.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from machine.hardware.reg import RegisterError
from machine.hardware.registers import RegisterBlock

DEVICE = """<?xml version="1.0"?>
<device><name>D</name><addressUnitBits>8</addressUnitBits><width>32</width><size>32</size><peripherals><peripheral>
<name>T</name><baseAddress>0</baseAddress><registers>
{registers}
</registers></peripheral>{more}</peripherals></device>
"""


def register(name: str, offset: str | int | None, more: str = "", derived: str = "") -> str:
    at = "" if offset is None else f"<addressOffset>{offset}</addressOffset>"
    return f"<register{derived and f' derivedFrom={derived!r}'}><name>{name}</name>{at}{more}</register>"


def cluster(name: str, offset: int, content: str, more: str = "", derived: str = "") -> str:
    start = f"<cluster{derived and f' derivedFrom={derived!r}'}><name>{name}</name>"
    return f"{start}<addressOffset>{offset}</addressOffset>{more}{content}</cluster>"


def field(name: str, lsb: int, msb: int, more: str = "") -> str:
    return f"<field><name>{name}</name><lsb>{lsb}</lsb><msb>{msb}</msb>{more}</field>"


def fields(*each: str) -> str:
    return f"<fields>{''.join(each)}</fields>"


def array(dim: int, step: int, index: str = "") -> str:
    return f"<dim>{dim}</dim><dimIncrement>{step}</dimIncrement>" + (f"<dimIndex>{index}</dimIndex>" if index else "")


def block(tmp_path: Path, registers: str, more: str = "", peripheral: str = "T") -> Any:
    file = tmp_path / "t.svd"
    file.write_text(DEVICE.format(registers=registers, more=more), encoding="utf-8")
    return RegisterBlock.from_svd(file, peripheral)


def offsets(made: Any) -> dict[str, int]:
    return {name: made.__dict__[name].offset for name in made.registers}


def test_clusters_within_clusters(tmp_path: Path) -> None:
    """Names and offsets of all levels, arrays of each; size, access and reset value of the nearest that says one."""
    inner = cluster("B%s", 4, register("C", 0) + register("E%s", 8, array(2, 2) + "<size>16</size>"), array(2, 16))
    outer = cluster(
        "A[%s]",
        0x10,
        inner + register("D", 0, "<access>write-only</access>"),
        array(2, 0x40, "x,y") + "<size>8</size><access>read-only</access><resetValue>7</resetValue>",
    )
    made = block(tmp_path, register("FIRST", 0) + "\n" + outer)
    assert offsets(made) == {
        "FIRST": 0, "A_x__D": 0x10, "A_x__B0_C": 0x14, "A_x__B0_E0": 0x1C, "A_x__B0_E1": 0x1E, "A_x__B1_C": 0x24,
        "A_x__B1_E0": 0x2C, "A_x__B1_E1": 0x2E, "A_y__D": 0x50, "A_y__B0_C": 0x54, "A_y__B0_E0": 0x5C,
        "A_y__B0_E1": 0x5E, "A_y__B1_C": 0x64, "A_y__B1_E0": 0x6C, "A_y__B1_E1": 0x6E,
    }  # fmt: skip
    assert (made.FIRST.width, made.A_x__B0_C.width, made.A_x__B0_E0.width) == (4, 1, 2)
    assert made.A_x__B0_C.where == (str(tmp_path / "t.svd"), 5)
    one = made()
    assert one.A_x__B0_C == 7
    one.write(0x14, 1, 9)
    one.write(0x10, 1, 9)
    assert (one.A_x__B0_C, one.A_x__D, one.read(0x10, 1)[0]) == (7, 9, 0)


def test_what_is_derived(tmp_path: Path) -> None:
    """Registers, clusters, fields and peripherals, with and without a description, over several steps, from others'."""
    value = "<enumeratedValue><name>{}</name><value>1</value></enumeratedValue>"
    values = f"<enumeratedValues><name>{{}}</name>{value}</enumeratedValues>"
    made = block(
        tmp_path,
        register("X", 0, fields(field("F", 0, 3, values.format("onoff", "on")), field("G", 4, 4)))
        + register("Y", 4, fields(field("G", 8, 9)), "X")
        + register("Z", 8, "", "T.Y")
        + register("W", 12, fields('<field derivedFrom="T.X.G"><name>H</name><lsb>30</lsb><msb>30</msb></field>',
                                   field("I", 0, 1, '<enumeratedValues derivedFrom="onoff"/>')))
        + cluster("K", 0x20, register("R", 4)) + cluster("L", 0x40, register("S", 8), "", "K"),
        '<peripheral derivedFrom="T"><name>U</name><baseAddress>0</baseAddress><registers>'
        + register("X", 0x80) + "</registers></peripheral>",
    )  # fmt: skip
    assert offsets(made) == {"X": 0, "Y": 4, "Z": 8, "W": 12, "K_R": 0x24, "L_S": 0x48, "L_R": 0x44}
    assert {name: (each.lsb, each.width) for name, each in made.Z.fields.items()} == {"F": (0, 4), "G": (8, 2)}
    assert made.Z.fields["F"].name_of(1) == made.W.fields["I"].name_of(1) == "on"
    other = RegisterBlock.from_svd(tmp_path / "t.svd", "U")
    assert offsets(other) == {"X": 0x80, "Y": 4, "Z": 8, "W": 12, "K_R": 0x24, "L_S": 0x48, "L_R": 0x44}


@pytest.mark.parametrize(
    ("registers", "message"),
    [
        (register("Y", 4, "", "ZZ"), "register Y is derived from 'ZZ', and there is none"),
        (register("Y", 4, "", "Y"), "register Y is derived from itself"),
        (register("Y", 4, "", "Z") + register("Z", 8, "", "Y"), "register Y is derived from itself"),
        (register("X", 0, fields(field("F", 0, 1), field("F", 2, 3))), "register X has 2 fields F"),
        (register("X[%s]", 0, array(10**9, 4)), r"register X\[%s\]: its dim is 1,000,000,000; 1 to 65,536 can be had"),
        (register("X%s", 0, array(0, 4)), "register X%s: its dim is 0; 1 to 65,536"),
        (register("X%s", 0, array(3, 4, "A,B")), "register X%s: its dim is 3, and its dimIndex 'A,B' has 2"),
        (register("X%s", 0, array(3, 4, "0-99999999999")), "register X%s: its dim is 3, and its dimIndex '0-9+' has"),
        (cluster("A%s", 0, cluster("B%s", 0, register("X", 0), array(300, 4)), array(300, 4)), "more than 65,536 reg"),
        (register("", 0), "a register in line 4 has no name"),
        (register("X", "0x"), "register X: addressOffset is '0x', which is no number"),
        (register("X", "zz"), "register X: addressOffset is 'zz', which is no number"),
    ],
)
def test_what_can_not_be_meant(tmp_path: Path, registers: str, message: str) -> None:
    with pytest.raises(RegisterError, match=message):
        block(tmp_path, registers)


def test_of_other_peripherals(tmp_path: Path) -> None:
    """What is wrong there is no matter; arrays of them count by their names."""
    more = "<peripheral><name>V</name><baseAddress>0</baseAddress><registers>{}</registers></peripheral>"
    assert offsets(block(tmp_path, register("X", "#1000"), more.format(register("Y", 4, "", "ZZ")))) == {"X": 8}
    several = array(2, 0x1000) + "<name>W%s</name><baseAddress>0</baseAddress>"
    made = block(
        tmp_path, register("X", 0), f"<peripheral>{several}<registers>{register('Q', 4)}</registers></peripheral>", "W1"
    )
    assert offsets(made) == {"Q": 4}
