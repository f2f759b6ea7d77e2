"""A task in the middle of a step of one instruction can be killed, and others run: steps.c."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from machine import Machine
from machine.testing import Reg, RegisterBlock
from tests.conftest import build

PROGRAM = Path(__file__).parent / "steps.c"


class Registers(RegisterBlock):
    """Something to read."""

    first = Reg(0x00, reset=0x11223344)


@pytest.mark.parametrize("pages", [2800, 3000, 3100])
def test_where_memory_is_full(machine_clean: Callable[..., Machine], pages: int) -> None:
    """The stores of code that runs up to a missing page: the OOM killer ends it, or that page does."""
    machine = machine_clean(ram=16 << 20, check_invariants=False)
    result = machine.run([str(build(PROGRAM)), "full", str(pages)], timeout=60)
    assert result.signal in (9, 11)


def test_where_nobody_provides_the_page(machine_clean: Callable[..., Machine]) -> None:
    """Nothing can wake it, so it is killed."""
    machine = machine_clean()
    assert machine.run([str(build(PROGRAM)), "waits"], timeout=60).signal == 9
    assert machine.run(["true"], timeout=60).exit == 0


def test_where_another_thread_ends_the_process(machine_clean: Callable[..., Machine]) -> None:
    """An instruction that has read a device already: it does not come to its store."""
    machine = machine_clean()
    machine.attach("/dev/mem@0xfe000000", Registers)
    result = machine.run([str(build(PROGRAM, flags=["-pthread"])), "device"], timeout=60)
    assert (result.exit, result.stdout) == (0, b"end\n")


def test_what_a_step_leaves(machine_clean: Callable[..., Machine]) -> None:
    """A step's page shows what its instruction reads and writes, and nothing of the step before, of somebody else."""
    machine = machine_clean()
    machine.attach("/dev/mem@0xfe000000", Registers)
    assert machine.run([str(build(PROGRAM, flags=["-pthread"])), "left"], timeout=60).exit == 0
