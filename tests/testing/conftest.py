"""What the tests of the pytest plugin share: a project in which pytest runs, in this process."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import pkgutil
from pathlib import Path

import pytest

import machine.kernel
from guest.toolchain import compile
from tests.testing.programs import ECHO, SLEEPER, TIMER, WILD

REAL_CACHE = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
INSTALLED = any(each.name == "nopage" for each in importlib.metadata.entry_points(group="pytest11"))
PLUGIN = [] if INSTALLED else ["-p", "machine.testing.plugin"]
PROGRAMS = {"timer_demo": TIMER, "echo": ECHO, "sleeper": SLEEPER, "wild": WILD}

MODEL = """
import pytest
from machine.testing import Reg, RegisterBlock

class Timer(RegisterBlock):
    ctrl = Reg(0x00)
    count = Reg(0x04, access="ro", reset=42)
    period = Reg(0x08)
    status = Reg(0x0C)

at_timer = pytest.mark.device("/dev/mem@0xfe000000", Timer)
"""


@pytest.fixture(scope="session")
def programs() -> dict[str, bytes]:
    """The programs, built before `pytester` moves HOME.

    What the kernel imports at its first use is imported now: `pytester` forgets modules that came while it ran.
    """
    for each in pkgutil.walk_packages(machine.kernel.__path__, "machine.kernel."):
        importlib.import_module(each.name)
    return {name: compile(text).read_bytes() for name, text in PROGRAMS.items()}


class Project:
    """A directory with programs and a model; `run` runs pytest there on the text of a test file."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.path = Path(pytester.path)

    def run(self, tests: str, *options: str, subprocess: bool = False) -> pytest.RunResult:
        """`tests` comes after the imports; the module's marker is on none of them."""
        (self.path / "test_it.py").write_text("import pytest\nfrom devices import Timer, at_timer\n" + tests)
        words = [*PLUGIN, "-p", "no:cacheprovider", "-p", "no:randomly", *options, "test_it.py"]
        return self.pytester.runpytest_subprocess(*words) if subprocess else self.pytester.runpytest_inprocess(*words)


@pytest.fixture
def project(programs: dict[str, bytes], pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("XDG_CACHE_HOME", REAL_CACHE)  # `pytester` moves HOME
    for name, data in programs.items():
        program = pytester.path / name
        program.write_bytes(data)
        program.chmod(0o755)
    pytester.makefile(".py", devices=MODEL)
    pytester.makepyfile(conftest="import sys, os\nsys.path.insert(0, os.path.dirname(__file__))\n")
    return Project(pytester)
