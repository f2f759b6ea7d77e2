"""README's first journey, as it stands there: its files, its command, its output."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.testing.conftest import PLUGIN

README = Path(__file__).resolve().parents[2] / "README.md"


def blocks() -> dict[str, str]:
    """Language -> text, of the section's blocks."""
    section = README.read_text().split("## Test your program without its board\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^```(\w*)\n(.*?)^```$", section, re.M | re.S))


def plain(text: str) -> list[str]:
    """What pytest says of the failure, without what a compiler may place elsewhere."""
    text = re.sub(r"0x5555[0-9a-f]+", "0x5555...", text)
    text = re.sub(r"(replay +)\S*(nopage|python\S* -m machine) run", r"\1nopage run", text)
    text = re.sub(r"(instruction ).*", r"\1...", text)
    text = re.sub(r"main\+0x[0-9a-f]+", "main+...", text)
    text = re.sub(r"\d+ faults, \d+ system calls", "... faults, ... system calls", text)
    return [line.rstrip() for line in text.splitlines()]


@pytest.mark.skipif(not shutil.which("cc"), reason="no compiler here (Debian: apt install gcc)")
def test_from_the_files_to_the_failure(tmp_path: Path) -> None:
    found = blocks()
    assert set(found) == {"c", "python", "sh", ""}
    (tmp_path / "timerctl.c").write_text(found["c"])
    (tmp_path / "test_timerctl.py").write_text(found["python"])
    install, build_and_run = found["sh"].splitlines()
    build, _, run = build_and_run.partition(" && ")
    assert run == ".venv/bin/pytest" and install.endswith(".venv/bin/pip install -q $NOPAGE pytest")
    subprocess.run(build, shell=True, cwd=tmp_path, check=True, timeout=60)
    command = [sys.executable, "-m", "pytest", *PLUGIN]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    said, expected = plain(done.stdout), plain(found[""])
    start = said.index(expected[0])
    assert said[start : start + len(expected)] == expected
