"""What these tests share: Debian's gdb in batch mode, and programs with debugging information."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import build

HERE = Path(__file__).parent
TOP = HERE.parents[1]
GDB = shutil.which("gdb")
needs_gdb = pytest.mark.skipif(GDB is None, reason="gdb is not installed (apt install gdb)")
SETTINGS = ("set debuginfod enabled off", "set width 0", "set confirm off", "set pagination off")


@pytest.fixture(params=["x86_64", "i386"])
def target(request: pytest.FixtureRequest) -> str:
    """Both kinds of guest program."""
    return str(request.param)


def program(name: str, target: str, *, libc: str = "musl", static: bool = True, flags: Sequence[str] = ()) -> Path:
    """A program of this directory, compiled for people who look at it."""
    options: dict[str, str] = {"cc": "host"} if libc == "glibc" else {}
    flags = ("-g", "-O0", "-fno-stack-protector", "-msse2", *flags)
    return build(HERE / name, target=target, libc=libc, static=static, flags=flags, **options)


def line_of(name: str, text: str) -> int:
    """The number of the first line of a source file that holds `text`."""
    lines = (HERE / name).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def gdb(*commands: str, files: Sequence[str | Path] = (), timeout: float = 120) -> str:
    """What gdb prints for the commands, one after the other, whatever becomes of each."""
    assert GDB is not None
    words = [GDB, "-nx", "-batch"]
    for command in (*SETTINGS, *commands):
        words += ["-ex", command]
    done = subprocess.run(
        [*words, *map(str, files)], cwd=HERE, capture_output=True, text=True, timeout=timeout, check=False,
        errors="replace",
    )  # fmt: skip
    return done.stdout + done.stderr


class Debugged:
    """``nopage run --gdb`` in a process of its own, and what a gdb on it prints."""

    def __init__(self, *words: str | Path, options: Sequence[str] = (), wait: str = "") -> None:
        command = [sys.executable, "-m", "machine", "run", *options, f"--gdb=0{wait}", *map(str, words)]
        self.process = subprocess.Popen(
            command, cwd=TOP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        self.said = self.process.stderr.readline()
        match = re.search(r"127\.0\.0\.1:(\d+)", self.said)
        assert match is not None, self.said + self.process.stderr.read()
        self.port = int(match[1])

    def gdb(
        self, *commands: str, before: Sequence[str] = (), mode: str = "extended-remote", timeout: float = 120
    ) -> str:
        """What gdb prints: `before` is said before it connects."""
        return gdb(*before, f"target {mode} 127.0.0.1:{self.port}", *commands, timeout=timeout)

    def end(self, timeout: float = 60) -> tuple[int, str, str]:
        """(exit status, standard output, standard error) when it has ended."""
        out, err = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, err

    def __enter__(self) -> Debugged:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
