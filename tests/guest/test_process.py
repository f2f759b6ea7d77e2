"""Processes, pipes and threads (MECHANISMS E3), natively first.  Signals have tests of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "process"
PROGRAMS = sorted(path.stem for path in HERE.glob("*.c"))


@pytest.mark.parametrize("target", ["x86_64", "i386"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_static(guest: Callable[..., object], program: str, target: str) -> None:
    guest(HERE / f"{program}.c", target=target)


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_threads_of_glibc(guest: Callable[..., object], target: str) -> None:
    guest(HERE / "threads.c", target=target, libc="glibc", static=False)


def test_syscall_registers(guest: Callable[..., object]) -> None:
    guest(HERE.parent / "engine" / "syscall_registers.c")
