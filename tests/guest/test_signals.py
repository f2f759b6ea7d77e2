"""Signals with real frames, processes and threads: each program prints the same on the host and in the machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from guest.toolchain import compile
from machine.hardware.image import RegisterImage

PROGRAMS = Path(__file__).parent / "signals"
Guest = Callable[..., Any]

BOTH = [
    "altstack", "children", "divides", "futex_ops", "futex_ring", "lock_bits", "nested", "queue", "robust", "segv_info",
    "segv_repair",
    "short_periods", "sigio",
    "handler_fpu", "signalfd", "sigreturn_words", "software_interrupts", "sources", "threads", "threads_exec", "x87",
    "x87_functions", "x87_arith", "sse4", "sse_float",
]  # fmt: skip
ONLY_64 = ["other_fpu", "sigreturn_hostile", "clone_flags", "kernel_stack", "modes64", "stack_fault"]
ONLY_32 = ["frames32", "modes32", "tls_entries"]


@pytest.mark.parametrize("name", [*BOTH, *ONLY_64])
def test_x86_64(guest: Guest, name: str) -> None:
    guest(PROGRAMS / f"{name}.c", flags=("-O1", "-pthread"))


@pytest.mark.parametrize("name", [*BOTH, *ONLY_32])
def test_i386(guest: Guest, name: str) -> None:
    guest(PROGRAMS / f"{name}.c", target="i386", flags=("-O1", "-pthread"))


@pytest.mark.parametrize("name", ["segv_info", "nested", "children", "software_interrupts", "threads"])
def test_deterministic(guest: Guest, name: str) -> None:
    guest(PROGRAMS / f"{name}.c", flags=("-O1", "-pthread", "-DNO_SPIN"), deterministic=True)


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_restarts(guest: Guest, target: str) -> None:
    """Each sleeping call against each way of being interrupted: the same table as on the host."""
    guest(PROGRAMS / "restarts.c", target=target, flags=("-O1", "-pthread"))


def test_no_handler_gets_the_state_of_anothers_fpu(
    machine_clean: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two states that FXSAVE stores alike may differ in what is the engine's: each process has its own."""
    machine = machine_clean()
    kernel = machine.kernel
    owners: dict[bytes, set[int]] = {}
    taken: list[int] = []
    save, load = RegisterImage.fxsave, RegisterImage.fxrstor

    def fxsave(cpu: RegisterImage) -> bytes:
        owners.setdefault(cpu._fp_now(), set()).add(kernel.current.pid)
        return save(cpu)

    def fxrstor(cpu: RegisterImage, area: bytes) -> None:
        before = cpu._fp_now()
        load(cpu, area)
        after = cpu._fp_now()
        if after != before and after in owners:
            assert kernel.current.pid in owners[after]
            taken.append(kernel.current.pid)

    monkeypatch.setattr(RegisterImage, "fxsave", fxsave)
    monkeypatch.setattr(RegisterImage, "fxrstor", fxrstor)
    program = compile(PROGRAMS / "other_fpu.c", flags=[f"-I{PROGRAMS.parent}"])
    assert machine.run([str(program)], timeout=60).exit == 0
    assert len(set(taken)) == 2
