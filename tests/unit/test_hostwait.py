"""Signals of the host that come while the machine is about to sleep (MECHANISMS E3)."""

from __future__ import annotations

import asyncio
import ctypes
import os
import select
import signal
import time
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from machine import Machine
from machine.kernel.task import hostwait

SLEEP = ["/bin/sleep", "1000"]


class Late:
    """Stands for a descriptor; asking for its number raises SIGUSR2, in C alone: Python does not look for signals
    between that and select(2)."""

    def __init__(self, fd: int) -> None:
        kill: Any = ctypes.PyDLL(None)["kill"]
        kill.restype = {0: fd}.__getitem__
        self.fileno = partial(kill, os.getpid(), int(signal.SIGUSR2))


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The first time that the machine sleeps on the host a signal comes just before."""
    sleeps: list[int] = []

    def at_select(reading: list[Any], *others: Any) -> Any:
        sleeps.append(len(reading))
        if len(sleeps) > 1:
            return select.select(reading, *others)
        ready, *rest = select.select([*reading[:-1], Late(reading[-1])], *others)
        return ([reading[-1]] if ready else [], *rest)

    monkeypatch.setattr(hostwait, "select", SimpleNamespace(select=at_select))
    before = signal.getsignal(signal.SIGUSR2)
    yield sleeps
    signal.signal(signal.SIGUSR2, before)


def test_signal_before_select(late: list[int]) -> None:
    with Machine() as machine:
        signal.signal(signal.SIGUSR2, lambda *_: machine.interrupt(signal.SIGTERM))
        start = time.monotonic()
        result = machine.run(SLEEP, timeout=60)
    assert result.signal == signal.SIGTERM and late
    assert time.monotonic() - start < 50
    assert signal.set_wakeup_fd(-1) == -1


def test_signal_of_an_event_loop(late: list[int]) -> None:
    """Who embeds the machine has its own descriptor for signals: those that came while the machine ran are its too."""
    seen: list[str] = []

    async def embed() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, seen.append, "SIGUSR2")
        with Machine() as machine:
            machine.run(["/bin/sleep", "1"], timeout=60)
        assert late and not seen
        await asyncio.sleep(0.1)

    asyncio.run(embed())
    assert seen == ["SIGUSR2"]


def test_an_interrupt_that_is_late() -> None:
    """A timer's thread that comes after the machine's end writes to nobody, whoever has the pipe's number by then."""
    with Machine() as machine:
        wait = machine.kernel.sched._host
        number = wait._wake_write
    reading, writing = os.pipe()
    try:
        os.dup2(writing, number)
        os.set_blocking(reading, False)
        wait.interrupt()
        with pytest.raises(BlockingIOError):
            os.read(reading, 1)
    finally:
        for fd in {reading, writing, number}:
            os.close(fd)
