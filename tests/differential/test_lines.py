"""Command lines of `tests.differential.lines`, natively and in a machine: the same output, errors, status and files."""

from __future__ import annotations

import os
import shutil

import pytest

from machine.compare import FenceError, compare
from tests.differential.lines import ENVIRONMENT, FILES, LINES, Line


def skip_without(programs: tuple[str, ...]) -> None:
    """Skip the test, with its name, where a program is missing."""
    missing = [name for name in programs if shutil.which(name, path=ENVIRONMENT["PATH"]) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.name)
def test_line(line: Line) -> None:
    skip_without((line.shell, *line.needs))
    if os.geteuid() and line.name == "chown":
        pytest.skip("needs root on the host")
    try:
        result = compare([line.shell, "-c", line.command], files=FILES, env=ENVIRONMENT, timeout=100)
    except FenceError as error:
        pytest.skip(str(error))
    assert not result.native.timed_out, "the line is no good: it does not end on the host"
    assert result.same, f"{line.shell} -c {line.command}\n{result.text(every=True)}"


def test_the_table_is_as_long_as_it_should_be() -> None:
    assert len({line.name for line in LINES}) == len(LINES) >= 150
