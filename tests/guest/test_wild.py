"""Wild pointers in every system call: EFAULT, as on the host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "wild"


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_wild_pointers(guest: Callable[..., object], target: str) -> None:
    guest(HERE / "wild.c", target=target)
