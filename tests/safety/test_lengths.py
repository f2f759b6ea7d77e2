"""--strace reads what a call's arguments point to: never as much as they say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from machine.kernel.syscalls import load_families
from machine.kernel.syscalls.table import ROWS
from machine.observe.strace_args import MEMORY_LIMIT, Call, argument, is_output
from machine.observe.strace_calls import AUX, WHOLE
from machine.observe.strace_paths import describe_fd
from machine.observe.strace_sockets import remember


class Endless:
    """A kernel whose memory is one byte everywhere; it counts what is read."""

    def __init__(self, fill: int) -> None:
        self.fill, self.read = bytes((fill,)), 0
        self.cpu = SimpleNamespace(regs=[0] * 32)

    def peek_user(self, mm: object, address: int, count: int) -> bytes:
        self.read += max(0, count)
        assert count <= MEMORY_LIMIT, count
        return self.fill * count


@pytest.mark.parametrize("abi", ["x86_64", "i386"])
@pytest.mark.parametrize("fill", [0, 1, 0xFF])
@pytest.mark.parametrize("number", [0x7FFF_FFFF, (1 << 63) - 1])
def test_every_call(abi: str, fill: int, number: int) -> None:
    """Counts and lengths as large as can be, before the call and after it."""
    load_families()
    for name, row in ROWS[abi].items():
        for second in (1, 1 << 30):
            kernel = Endless(fill)
            task: Any = SimpleNamespace(mm=kernel, kernel=kernel, pid=2)
            call = Call(task, abi, name, row.types, (number, second, *[number] * 4)[: max(6, len(row.types))])
            texts = WHOLE[name](call) if name in WHOLE else []
            remember(call)
            texts += [str(argument(call, at)) for at in range(len(row.types)) if not is_output(call, at)]
            call.result = number
            texts += [str(argument(call, at)) for at in range(len(row.types)) if is_output(call, at)]
            texts += [AUX[name](call)] if name in AUX else []
            assert kernel.read <= 2 * MEMORY_LIMIT, (name, kernel.read)
            assert sum(map(len, texts)) <= MEMORY_LIMIT, name


def test_sockopt_reads_what_it_shows() -> None:
    kernel = Endless(1)
    task: Any = SimpleNamespace(mm=kernel, kernel=kernel, pid=2)
    types = ("fd", "int", "int", "ptr:sockopt", "uint")
    call = Call(task, "x86_64", "setsockopt", types, (3, 1, 2, 0x1000, 0x7FFF_FFFF))
    assert argument(call, 3) == "[16843009]" and kernel.read == 16


def test_a_path_of_megabytes_is_cut() -> None:
    filp = SimpleNamespace(f_path="/d" * (1 << 20))
    task: Any = SimpleNamespace(files=SimpleNamespace(fds={3: filp}))
    call: Any = SimpleNamespace(task=task, paths=1)
    assert len(describe_fd(call, 3, False)) < 5000
