"""The short form of ``python -m tests.soak --minutes 60``: rounds of fewer calls, a look after each (E3, D6)."""

from __future__ import annotations

from typing import Any

import pytest

from guest.toolchain import ToolMissing
from machine import Machine
from tests.soak import load
from tests.soak.load import soak


def test_mixed_load() -> None:
    try:
        tally = soak(15, short=True)
    except ToolMissing as missing:
        pytest.skip(str(missing))
    assert not tally.problems, "\n".join(tally.problems)
    assert tally.rounds > 3
    assert tally.looks > 12000


def test_what_is_lost_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame, and 40 MiB of the host's memory, that go in the last round."""
    lost: list[bytearray] = []
    real = load._drivers
    rounds = []

    def losing(machine: Machine, *others: Any) -> None:
        real(machine, *others)
        rounds.append(0)
        if len(rounds) > load.WARM_ROUNDS:
            machine.kernel.mem.alloc_pages(owner="kernel")
            lost.append(bytearray(b"x") * (40 << 20))

    monkeypatch.setattr(load, "_drivers", losing)
    monkeypatch.setattr(load, "programs", lambda short: ([(["hello"], b"")], []))
    tally = soak(0)
    assert len(tally.problems) == 2, tally.problems
    assert tally.problems[0] == "1 frames more than at the start"
    assert tally.problems[1].endswith(" MiB more than at the start")
