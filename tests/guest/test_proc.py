"""/proc as programs see it: the same program passes on the host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = Path(__file__).parent / "proc"


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_a_process_and_its_own_directory(guest: Callable[..., Any], target: str) -> None:
    guest(PROGRAMS / "self.c", ["an argument", ""], target=target)
