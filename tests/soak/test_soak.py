"""The short form of ``python -m tests.soak --minutes 60`` (E3, D6)."""

from __future__ import annotations

import pytest

from guest.toolchain import ToolMissing
from tests.soak.load import soak


def test_mixed_load() -> None:
    try:
        tally = soak(15)
    except ToolMissing as missing:
        pytest.skip(str(missing))
    assert not tally.problems, "\n".join(tally.problems)
    assert tally.rounds > 3
