from __future__ import annotations

import pytest

from tests.engine.board import Board


@pytest.fixture
def board() -> Board:
    return Board()
