"""Memory as a process sees it (MECHANISMS A2, B8, B11, B14, E2), natively first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from machine import Machine
from tests.conftest import build

HERE = Path(__file__).parent / "memory"
PROGRAMS = sorted(path.stem for path in HERE.glob("*.c") if path.stem not in ("cut", "in_place", "many", "walk"))


@pytest.mark.parametrize("target", ["x86_64", "i386"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_static(guest: Callable[..., object], program: str, target: str) -> None:
    guest(HERE / f"{program}.c", target=target)


@pytest.mark.parametrize("target", ["x86_64", "i386"])
@pytest.mark.parametrize("program", ["files", "layout"])
def test_dynamic(guest: Callable[..., object], program: str, target: str) -> None:
    guest(HERE / f"{program}.c", target=target, libc="glibc", static=False)


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_very_many_areas(guest: Callable[..., object], target: str) -> None:
    """vm.max_map_count.  The invariants of 65,530 areas are not checked after each call."""
    guest(HERE / "many.c", target=target, check_invariants=False)


@pytest.mark.parametrize("target", ["x86_64", "i386"])
@pytest.mark.parametrize("seed", [2, 13, 24])
def test_random_walk(guest: Callable[..., object], seed: int, target: str) -> None:
    """1500 calls and accesses at random: results, areas and contents are those of the host."""
    guest(HERE / "walk.c", [str(seed)], target=target)


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_fresh_fpu(guest: Callable[..., object], target: str) -> None:
    guest(HERE.parent / "engine" / "fresh_fpu.c", target=target)


@pytest.mark.xfail(reason="the engine stores 16 bytes as two times 8: the first half is written before the fault")
@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_wide_store(guest: Callable[..., object], target: str) -> None:
    guest(HERE.parent / "engine" / "wide_store.c", target=target)


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_the_end_of_the_code(guest: Callable[..., object], target: str) -> None:
    guest(HERE.parent / "engine" / "page_end.c", target=target)


@pytest.mark.parametrize("target", ["x86_64", "i386"])
@pytest.mark.parametrize("kind", ["private", "shared", "populate", "read", "fork", "file"])
def test_out_of_memory(machine_clean: Callable[..., Machine], kind: str, target: str) -> None:
    """More memory than the machine has: the program is stopped, the machine goes on, nothing is lost."""
    program = build(HERE.parent / "engine" / "hog.c", target=target)
    machine = machine_clean(ram=32 << 20, check_invariants=False)
    result = machine.run([str(program), kind], timeout=100)
    if kind == "file":
        assert result.exit == 28  # ENOSPC
        machine.run(["/bin/rm", "/tmp/hog"])
    elif kind != "fork":  # there one of many is stopped, which need not be the first
        assert result.signal == 9
    after = machine.run(["/bin/sh", "-c", "sleep 2; echo alive"], timeout=100)
    assert after.stdout == b"alive\n"


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_lengths_of_strings(guest: Callable[..., object], target: str) -> None:
    """The engine believed a length of -2^31, and read the host's memory (hardware/patches.py)."""
    guest(HERE.parent / "engine" / "string_lengths.c", target=target, flags=("-O1", "-msse4.2", "-mno-red-zone"))
