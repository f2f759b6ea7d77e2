"""What a failing assertion on register accesses shows."""

from __future__ import annotations

import pytest

from machine.events import RegisterAccess
from machine.testing import BusLog


def access(register: str, value: int, write: bool = True, rip: int = 0x401136, width: int = 4) -> RegisterAccess:
    return RegisterAccess("timer", register, 0, width, write, value, rip, 2)


LOG = BusLog([access("period", 1000), access("count", 42, write=False), access("ctrl", 1)])


def test_writes_and_reads_in_order() -> None:
    assert LOG.writes() == [("period", 1000), ("ctrl", 1)] and LOG.reads() == [("count", 42)]
    assert LOG.writes("ctrl") == [("ctrl", 1)] and LOG.to("timer.count")[0].value == 42 and len(LOG.of("uart")) == 0
    assert len(LOG[1:]) == 2


def test_assertions_that_hold() -> None:
    LOG.assert_writes([("period", 1000), ("timer.ctrl", 1)])
    LOG.assert_reads([("count", 42)])
    LOG.assert_no_access_to("status")


def test_a_difference_shows_both_sides() -> None:
    with pytest.raises(AssertionError) as caught:
        LOG.assert_writes([("period", 500), ("ctrl", 1), ("ctrl", 0)])
    assert str(caught.value).splitlines() == [
        "register writes differ: 3 expected, 2 made",
        "       expected                     made",
        ">   0  period = 0x1f4 (500)         timer.period = 0x3e8 (1000), 4 bytes at 0x401136, process 2",
        "    1  ctrl = 1                     timer.ctrl = 1, 4 bytes at 0x401136, process 2",
        ">   2  ctrl = 0                     (nothing)",
    ]


def test_forbidden_access_is_shown() -> None:
    with pytest.raises(AssertionError, match=r"no access to count .* there was 1:\n  read  timer.count = 0x2a"):
        LOG.assert_no_access_to("count")


def test_accesses_of_the_kernel_and_beside_registers() -> None:
    text = str(BusLog([access("", 7, rip=0, width=1)]))
    assert text == "write timer.0x0 (no register) = 7, 1 byte by the kernel for process 2"
