"""Deterministic mode: two runs give the same stream of events, threads and spinning included."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from machine import Machine
from tests.conftest import build

SOURCE = Path(__file__).parent / "engine" / "spin.c"


def stream(program: Path) -> list[Any]:
    seen: list[Any] = []
    with Machine(deterministic=True, check_invariants=True) as machine:
        machine.events.listen(
            "syscall_exit", lambda e: seen.append((e.pid, e.enter.name, e.enter.args, e.result, e.time_ns))
        )
        machine.events.listen("fault", lambda f: seen.append((f.pid, f.rip, f.address, f.pfn, f.outcome, f.time_ns)))
        machine.events.listen("signal", lambda s: seen.append((s.pid, s.signo, s.rip, s.time_ns)))
        result = machine.run([str(program)], timeout=120)
        seen.append((result.exit, result.stdout))
        assert machine.check_clean() == []
    return seen


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_two_runs_are_alike(target: str) -> None:
    program = build(SOURCE, target=target)
    first, second = stream(program), stream(program)
    assert first[-1] == (0, b"counted 40000, alarm seen, peer seen\n")
    assert first == second


def test_in_real_time_too() -> None:
    program = build(SOURCE, target="x86_64")
    with Machine() as machine:
        result = machine.run([str(program)], timeout=120)
        assert (result.exit, result.stdout) == (0, b"counted 40000, alarm seen, peer seen\n")
        assert machine.check_clean() == []


RDTSC = r"""
#include <stdio.h>
int main(void)
{
	unsigned a, d;
	unsigned long long plain, wide, with_cpu;
	__asm__ volatile("rdtsc" : "=a"(a), "=d"(d));
	plain = (unsigned long long)d << 32 | a;
	__asm__ volatile(".byte 0x66, 0x48, 0x0f, 0x31" : "=a"(a), "=d"(d));
	wide = (unsigned long long)d << 32 | a;
	__asm__ volatile(".byte 0x2e, 0x0f, 0x01, 0xf9" : "=a"(a), "=d"(d) : : "rcx");
	with_cpu = (unsigned long long)d << 32 | a;
	puts(plain < wide && wide < with_cpu ? "forward" : "not forward");
}
"""


def test_the_time_stamp_counter_with_prefixes(machine_clean: Callable[..., Machine]) -> None:
    result = machine_clean(deterministic=True).run([str(build(RDTSC))])
    assert result.stdout == b"forward\n", result
