"""A few seconds of hostile input with fixed seeds; `python -m tests.fuzz --seconds 3600` is the long form."""

from __future__ import annotations

from pathlib import Path

import pytest

from guest.toolchain import ToolMissing
from tests.fuzz.calls import fuzz_calls
from tests.fuzz.elf import fuzz_elf
from tests.fuzz.options import fuzz_options


@pytest.mark.parametrize("target", ["x86_64", "i386"])
@pytest.mark.parametrize("seed", range(1, 7))
def test_system_calls(seed: int, target: str) -> None:
    try:
        found = fuzz_calls(seed, target=target, deterministic=seed % 2 == 0)
    except ToolMissing as missing:
        pytest.skip(str(missing))
    assert not found.problems, "\n".join(found.problems)
    assert found.syscalls > 500


@pytest.mark.parametrize("seed", range(1, 4))
def test_programs(seed: int) -> None:
    problems = fuzz_elf(seed)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("seed", range(1, 5))
def test_options(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    problems = fuzz_options(seed)
    assert not problems, "\n".join(problems)
