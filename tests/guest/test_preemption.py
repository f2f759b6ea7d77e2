"""A task switch at every trap: the worst scheduler that a program can meet, the same in every run (MECHANISMS E3)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from machine import Machine
from tests.conftest import build, run_on_host

SOURCE = Path(__file__).parent / "engine" / "flags_at_fault.c"
SHARES = Path(__file__).parent / "process" / "shares.c"


def switch_at_every_trap(machine: Machine) -> None:
    """Have the scheduler choose anew after each page fault and each system call, and again one block later."""

    def switch(_event: object) -> None:
        machine.kernel.sched.need_resched = True
        machine.kernel.cpu.request_stop()

    machine.events.listen("fault", switch)
    machine.events.listen("syscall_exit", switch)


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_flags_survive(target: str) -> None:
    program = build(SOURCE, target=target)
    native = run_on_host(program)
    assert native.stdout == b"0 rounds with other flags\n"
    with Machine(deterministic=True, check_invariants=True) as machine:
        switch_at_every_trap(machine)
        result = machine.run([str(program)], timeout=120)
        assert (result.exit, result.stdout) == (native.exit, native.stdout)
        assert machine.check_clean() == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is missing")
def test_a_pipeline() -> None:
    with Machine(deterministic=True) as machine:
        switch_at_every_trap(machine)
        for _ in range(3):
            result = machine.run(["bash", "-c", "diff <(echo a) <(echo b); echo x | cat | wc -l"], timeout=120)
            assert (result.exit, result.stdout, result.stderr) == (0, b"1c1\n< a\n---\n> b\n1\n", b"")
        assert machine.check_clean() == []


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_each_has_its_share(target: str) -> None:  # E3
    """A tick that is heard at the end of a system call must not cost the next task its turn."""
    program = build(SHARES, target=target)
    native = run_on_host(program)
    assert native.stdout == b"".join(b"child %d had its share\n" % n for n in range(3))
    with Machine(check_invariants=True) as machine:
        result = machine.run([str(program)], timeout=120)
        assert (result.exit, result.stdout, result.stderr) == (native.exit, native.stdout, b"")
        assert machine.check_clean() == []
