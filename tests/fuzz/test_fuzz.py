"""A few seconds of hostile input with fixed seeds; `python -m tests.fuzz --seconds 3600` is the long form."""

from __future__ import annotations

from pathlib import Path

import pytest

from guest.toolchain import ToolMissing
from tests.fuzz.boards import fuzz_boards
from tests.fuzz.calls import fuzz_calls
from tests.fuzz.devices import fuzz_devices
from tests.fuzz.elf import fuzz_elf
from tests.fuzz.gdb import fuzz_gdb
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


@pytest.mark.parametrize("seed", range(1, 3))
def test_packets(seed: int) -> None:
    problems = fuzz_gdb(seed, 1000)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("seed", range(1, 4))
def test_board_files(seed: int) -> None:
    problems = fuzz_boards(seed, 40)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(("what", "seed"), [("devices", 1), ("devices", 3), ("ioctl", 1), ("ioctl", 2), ("ioctl", 3)])
def test_devices(what: str, seed: int) -> None:
    try:
        problems = fuzz_devices(seed, what, 600)
    except ToolMissing as missing:
        pytest.skip(str(missing))
    assert not problems, "\n".join(problems)
