"""Pages mapped ahead of their first touch (mm/ahead.py): quicker, and nobody can tell.  E2

The programs on memory, natively first, in a machine that batches faults, without the checks after each call, which
would take back what was mapped ahead.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from machine import Machine
from tests.conftest import build

HERE = Path(__file__).parent / "memory"
PROGRAMS = sorted(path.stem for path in HERE.glob("*.c") if path.stem not in ("many", "walk"))
BATCH = {"batch_faults": True, "check_invariants": False}


@pytest.mark.parametrize("target", ["x86_64", "i386"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_programs(guest: Callable[..., object], program: str, target: str) -> None:
    guest(HERE / f"{program}.c", target=target, **BATCH)


@pytest.mark.parametrize("target", ["x86_64", "i386"])
@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize("seed", [3, 14])
def test_random_walk(guest: Callable[..., object], seed: int, checked: bool, target: str) -> None:
    guest(HERE / "walk.c", [str(seed)], target=target, **BATCH | {"check_invariants": checked})


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_fewer_traps(machine_clean: Callable[..., Machine], target: str) -> None:
    """Single faults where somebody watches them, and in deterministic machines."""
    program = build(HERE / "touched.c", target=target)
    traps = {}
    for name, options in {
        "single": {"check_invariants": False},
        "batch": BATCH,
        "watched": BATCH,
        "deterministic": BATCH | {"deterministic": True},
    }.items():
        machine = machine_clean(**options)
        seen: list[object] = []
        if name == "watched":
            machine.events.listen("fault", seen.append)
        assert machine.run([str(program)]).exit == 0
        traps[name] = machine.kernel.fault_count
    assert traps["batch"] < traps["single"] // 2
    assert traps["single"] == traps["watched"] == traps["deterministic"]


def test_memory_is_short(machine_clean: Callable[..., Machine]) -> None:
    """Then every page counts: a program gets as many as it would one by one."""
    program = build(HERE.parent / "engine" / "hog.c")
    counts = []
    for batch in (False, True):
        machine = machine_clean(ram=32 << 20, check_invariants=False, batch_faults=batch)
        result = machine.run([str(program), "private"], timeout=100)
        counts.append((result.exit, result.signal, result.stdout))
    assert counts[0] == counts[1]
