"""Random calls give here what they give on the host (E2, E4).

The long form: ``python -m tests.differential.random_calls PROGRAM --seeds 1-200``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from guest.toolchain import ToolMissing
from tests.differential.random_calls import COUNTS, PROGRAMS, CannotRun, compiled, difference


def program(name: str, target: str) -> Path:
    try:
        return compiled(name, target)
    except (CannotRun, ToolMissing) as why:
        pytest.skip(str(why))


@pytest.mark.parametrize(("target", "seed"), [("x86_64", 1), ("x86_64", 2), ("i386", 3)])
@pytest.mark.parametrize("name", PROGRAMS)
def test_random_calls(name: str, target: str, seed: int) -> None:
    found = difference(program(name, target), seed, COUNTS.get(name, 2500))
    assert not found, found


@pytest.mark.parametrize(("name", "seed"), [("files", 4), ("files", 7), ("files", 103), ("names", 2), ("names", 5)])
def test_files_of_the_host(name: str, seed: int) -> None:
    found = difference(program(name, "x86_64"), seed, 2500, bound=True)
    assert not found, found
