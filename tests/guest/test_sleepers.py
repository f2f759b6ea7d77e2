"""Sleeping calls and signals (MECHANISMS E3)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Outcome, build

HERE = Path(__file__).parent / "sleepers"


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_the_event_wins(run_in_machine: Callable[..., Outcome], target: str) -> None:
    """Event and signal come together: each sleeping call answers the event.  (One processor: not for the host.)"""
    got = run_in_machine(build(HERE / "event_and_signal.c", target=target), deterministic=True)
    assert got.failures() == []
    assert (got.exit, got.stdout.count(b"ok ")) == (0, 15)
