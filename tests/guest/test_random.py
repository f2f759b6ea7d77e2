"""Memory calls at random: every step's result, contents and rights are those of the host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "random"


@pytest.mark.parametrize("target", ["x86_64", "i386"])
@pytest.mark.parametrize("seed", range(1, 7))
def test_random_calls(guest: Callable[..., object], seed: int, target: str) -> None:
    guest(HERE / "random.c", [str(seed), "80"], target=target, ram=64 << 20)
