"""Files, directories, descriptors and waiting for them (MECHANISMS E4), natively first."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "files"
PROGRAMS = sorted(path.stem for path in HERE.glob("*.c"))


@pytest.mark.parametrize("target", ["x86_64", "i386"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_static(guest: Callable[..., object], program: str, target: str) -> None:
    if program == "xattrs" and os.getuid():
        pytest.skip("natively it needs root: trusted.* and another user")
    guest(HERE / f"{program}.c", target=target)
