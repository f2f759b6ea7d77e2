"""Pseudo terminals of the guest: line discipline, sessions, hanging up (MECHANISMS E3, E4), natively first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from machine import Machine
from tests.conftest import build, run_on_host

HERE = Path(__file__).parent / "terminal"
PROGRAMS = sorted(path.stem for path in HERE.glob("*.c"))


@pytest.mark.parametrize("target", ["x86_64", "i386"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_static(guest: Callable[..., object], program: str, target: str) -> None:
    guest(HERE / f"{program}.c", target=target, flags=[f"-I{HERE}"])


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_what_is_locked_stays(target: str) -> None:  # E4
    program = build(HERE / "root" / "lock.c", target=target, flags=[f"-I{HERE}"])
    native = run_on_host(program)
    with Machine(check_invariants=True) as machine:
        result = machine.run([str(program)], timeout=60)
        assert result.exit == 0
        if native.stdout != b"lock: Operation not permitted\n":  # a container without CAP_SYS_ADMIN
            assert result.stdout == native.stdout
        assert b"echo kept, icanon gone, opost gone, intr kept, quit changed" in result.stdout
        assert machine.check_clean() == []
