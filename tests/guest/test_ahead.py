"""Pages mapped ahead of their first touch (mm/ahead.py): quicker, and nobody can tell.  E2

The programs on memory, natively first, in a machine that batches faults, without the checks after each call, which
would take back what was mapped ahead.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from machine import Machine
from machine.kernel.mm import fault_around
from machine.kernel.mm.filemap import address_space
from tests.conftest import build

HERE = Path(__file__).parent / "memory"
PROGRAMS = sorted(
    path.stem
    for path in HERE.glob("*.c")
    if path.stem not in ("cut", "in_order", "in_place", "many", "straight", "walk")
)
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
@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("size", [600 * 4096, 600 * 4096 + 1000, 4096 + 8, 8])
def test_files_in_order(
    guest: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, batch: bool, target: str
) -> None:
    """What is read in order is read by 32 pages, then by 128; the end of the file page by page.  B4"""
    reads: list[tuple[int, int]] = []
    reader = fault_around._read

    def noted(mapping: address_space, first: int, number: int) -> bool:
        done = reader(mapping, first, number)
        if done and mapping.host.i_size == size:
            reads.append((first, number))
        return done

    monkeypatch.setattr(fault_around, "_read", noted)
    data = b"".join(struct.pack("<II4088x", 7919 * n & 0xFFFF_FFFF, n) for n in range(size + 4095 >> 12))[:size]
    file = tmp_path / "data"
    file.write_bytes(data)
    guest(
        HERE / "in_order.c",
        [str(file)],
        target=target,
        binds=[(str(file),) * 2 + (False,)],
        **BATCH | {"batch_faults": batch},
    )
    large = [(0, 32), (32, 32), (64, 32), (96, 32), (128, 128), (256, 128), (384, 128), (512, 32), (544, 32)]
    assert reads == (large if batch and size > 1 << 20 else [])


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


LARGE = [0, 16, 32, 64, 128, *range(256, 4096, 256)]
ODD = [0, 1, 3, 19, 35, 67, 131, 195, 227, 243, 251, 255]


@pytest.mark.parametrize("target", ["x86_64", "i386"])
@pytest.mark.parametrize(
    ("first", "count", "more", "runs"),
    [
        pytest.param(0x50000, 4096, [], LARGE, id="16 MiB"),
        pytest.param(0x500FD, 256, [], ODD, id="odd"),
        pytest.param(0x50000, 4096, ["stack"], LARGE, id="stack"),
        pytest.param(0, 64, [], [0, 16, 32], id="zero"),
    ],
)
def test_long_runs(
    guest: Callable[..., object],
    machine_clean: Callable[..., Machine],
    first: int,
    count: int,
    more: list[str],
    runs: list[int],
    target: str,
) -> None:
    """Memory that is touched in order comes by 16 pages, up to 64, and then up to 256, in blocks aligned to their size:
    from an odd start they grow, at an odd end they shrink.  A stack that grows meanwhile does not disturb them."""
    words = [str(first), str(count), *more]
    if first:  # root's alone, elsewhere
        guest(HERE / "straight.c", words, target=target, **BATCH)
    machine = machine_clean(**BATCH)
    faults: list[int] = []
    old = machine.kernel.entry.page_fault

    def noted(address: int, error_code: int) -> None:
        if first <= address >> 12 < first + count:
            faults.append((address >> 12) - first)
        old(address, error_code)

    machine.kernel.cpu.on_page_fault = noted
    assert machine.run([str(build(HERE / "straight.c", target=target)), *words]).exit == 0
    assert faults == runs


def test_memory_is_short(machine_clean: Callable[..., Machine]) -> None:
    """Then every page counts: a program gets as many as it would one by one."""
    program = build(HERE.parent / "engine" / "hog.c")
    counts = []
    for batch in (False, True):
        machine = machine_clean(ram=32 << 20, check_invariants=False, batch_faults=batch)
        result = machine.run([str(program), "private"], timeout=100)
        counts.append((result.exit, result.signal, result.stdout))
    assert counts[0] == counts[1]
