"""The vDSO tells the time without the kernel, and says what the kernel says (MECHANISMS E1)."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from machine import Machine
from machine.hardware.tsc import tsc_reader
from tests.conftest import build, run_on_host

SOURCE = Path(__file__).parent / "vdso" / "clocks.c"
KINDS = [(target, libc) for target in ("x86_64", "i386") for libc in ("musl", "glibc")]
pytestmark = pytest.mark.skipif(tsc_reader() is None, reason="this host's time-stamp counter is no clock")


@pytest.mark.parametrize(("target", "libc"), KINDS)
def test_the_kernel_is_not_asked(machine_clean: Callable[..., Machine], target: str, libc: str) -> None:
    """x86_64: every function of the vDSO; i386's C libraries know fewer of them."""
    program = str(build(SOURCE, target=target, libc=libc, static=libc == "musl"))
    more = ["more"] if target == "x86_64" else []
    machine = machine_clean()
    few, many = (machine.run([program, count, *more]) for count in ("1", "5000"))
    assert (few.exit, many.exit) == (0, 0)
    assert many.syscalls - few.syscalls < 50, "5,000 rounds made system calls"
    assert many.stdout == b"ok rounds\n"


@pytest.mark.parametrize(("target", "libc"), KINDS)
def test_it_says_what_the_kernel_says(machine_clean: Callable[..., Machine], target: str, libc: str) -> None:
    program = build(SOURCE, target=target, libc=libc, static=libc == "musl")
    native = run_on_host(program, ["0"])
    assert native.failures() == []
    before = time.time_ns()
    result = machine_clean().run([str(program), "0"])
    assert before - 1_000_000 <= int(result.stderr) <= time.time_ns() + 1_000_000
    assert (result.exit, result.stdout) == (0, native.stdout)


def test_a_virtual_clock_is_the_kernels(machine_clean: Callable[..., Machine]) -> None:
    """A deterministic machine has no counter that could say more: its time is in the kernel alone."""
    results = []
    for _ in range(2):
        result = machine_clean(deterministic=True).run([str(build(SOURCE)), "500"])
        assert result.exit == 0
        assert result.syscalls > 2000
        results.append(result.stderr)
    assert results[0] == results[1]


def test_code_and_data_in_the_maps(machine_clean: Callable[..., Machine]) -> None:
    lines = machine_clean().run(["/bin/cat", "/proc/self/maps"]).stdout.decode().splitlines()
    places = {line.split()[-1]: line.split() for line in lines if line.endswith(("[vvar]", "[vdso]"))}
    assert places["[vvar]"][1] == "r--p"
    assert places["[vdso]"][1] == "r-xp"
    assert places["[vvar]"][0].split("-")[1] == places["[vdso]"][0].split("-")[0]


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_unwinding(guest: Callable[..., object], target: str) -> None:
    guest(
        SOURCE.with_name("unwound.c"),
        target=target,
        libc="glibc",
        static=False,
        flags=("-O1", "-fexceptions", "-pthread"),
    )
