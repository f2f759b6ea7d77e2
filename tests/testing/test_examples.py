"""The examples: pytest runs in each as a user would run it, and the bug of one is told as its text says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.testing.conftest import PLUGIN

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


def run_pytest(name: str, directory: Path, *options: str) -> str:
    """What pytest says about a copy of an example."""
    project = directory / name
    shutil.copytree(EXAMPLES / name, project, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))
    command = [sys.executable, "-m", "pytest", *PLUGIN, *options]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=280, check=False)
    return done.stdout + done.stderr


def tools(*names: str) -> int:
    return sum(bool(shutil.which(name)) for name in names)


@pytest.mark.parametrize(
    ("name", "passed", "skipped", "xfailed"),
    [
        ("uio-timer", 8, 0, 0),
        ("fb-draw", 3 + tools("fbset"), 1 - tools("fbset"), 0),
        ("pci-dma", 9 + tools("lspci"), 1 - tools("lspci"), 0),
        ("mem-gpio", 3 + tools("busybox", "memtool"), 2 - tools("busybox", "memtool"), 1),
    ],
)
def test_an_example(name: str, passed: int, skipped: int, xfailed: int, tmp_path: Path) -> None:
    output = run_pytest(name, tmp_path)
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", output.splitlines()[-1])}
    wanted = {"passed": passed, "skipped": skipped, "xfailed": xfailed}
    assert {word: counts.get(word, 0) for word in ("failed", "errors", "error", *wanted)} == {
        "failed": 0, "errors": 0, "error": 0, **wanted,
    }, output  # fmt: skip


def plain(text: str) -> list[str]:
    """A failure without what differs from compiler to compiler and from home to home."""
    text = re.sub(r"~?/\S*/(gpio\b)", r"\1", text)
    text = re.sub(r"(replay +)\S*(nopage|python\S* -m machine) run", r"\1nopage run", text)
    text = re.sub(r"(instruction ).*", r"\1...", text)
    text = re.sub(r"(\bmain)\+0x[0-9a-f]+", r"\1+...", text)
    text = re.sub(r"(at |\*)0x[0-9a-f]{5,}", r"\1...", text)
    return [line.rstrip() for line in text.splitlines() if line.startswith("E ")]


def test_the_bug_of_the_gpio_tool_is_told(tmp_path: Path) -> None:
    output = run_pytest("mem-gpio", tmp_path, "--runxfail", "-k", "glitch")
    assert plain(output) == plain((EXAMPLES / "mem-gpio" / "failure.txt").read_text())
