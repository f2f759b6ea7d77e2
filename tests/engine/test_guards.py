"""What keeps a hostile program from ending or reading the host's process is there, or the kernel's log says so."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from machine import Machine
from machine.hardware import cpu
from machine.hardware.divides import guard_divides
from machine.hardware.patches import guard_lengths
from tests.engine.board import Board

TOP = Path(__file__).parents[2]


def test_all_are_there(board: Board) -> None:
    assert board.cpu.unguarded == []


def test_another_build_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not guard_lengths(SimpleNamespace())
    another = ctypes.CDLL(None).qsort
    assert not guard_lengths(SimpleNamespace(helper_pcmpestri_xmm_x86_64=another, helper_pcmpestrm_xmm_x86_64=another))
    monkeypatch.setattr("machine.hardware.divides._divides", None)
    assert guard_divides(SimpleNamespace()) is None
    monkeypatch.setattr(cpu, "guard_lengths", lambda library: False)
    with Machine() as machine:
        log = [line.text for line in machine.kernel.log.since(0)]
    assert "Unicorn: this build is another one: no guard against PCMPESTRI (SECURITY.md)" in log


SENT = [(signal.SIGABRT, "abort"), (signal.SIGABRT, "kill"), (signal.SIGFPE, "kill")]
OTHERS = """
import faulthandler, os, signal, sys
number = int(sys.argv[1])
if "dump" in sys.argv:
    faulthandler.enable()
from tests.engine.board import Board
board = Board()
def sent():
    os.abort() if "abort" in sys.argv else os.kill(os.getpid(), number)
if "inside" in sys.argv:
    board.on_syscall = sent
    board.start(b"\\x0f\\x05")
sent()
"""


@pytest.mark.parametrize("where", [[], ["inside"], ["dump"], ["dump", "inside"]])
@pytest.mark.parametrize(("number", "how"), SENT)
def test_a_signal_that_is_not_the_engines(where: list[str], number: signal.Signals, how: str) -> None:
    """The process ends by it, in a handler of the engine's too; whoever had a handler before is called."""
    done = subprocess.run(
        [sys.executable, "-c", OTHERS, str(int(number)), how, *where], capture_output=True, cwd=TOP, timeout=100,
        check=False, env={**os.environ, "PYTHONPATH": str(TOP)},
    )  # fmt: skip
    assert done.returncode == -number, done.stderr
    name = {signal.SIGABRT: b"Aborted", signal.SIGFPE: b"Floating point exception"}[number]
    assert (b"Fatal Python error: " + name in done.stderr) == ("dump" in where)


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGFPE])
def test_one_that_comes_from_outside(number: signal.Signals) -> None:
    """While the engine runs: a supervisor's SIGABRT is no abort of the engine."""
    code = "from tests.engine.board import Board; print(1, flush=True); Board().start(b'\\xeb\\xfe')"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=TOP, env={**os.environ, "PYTHONPATH": str(TOP)}
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"1\n"
        time.sleep(1)
        assert process.poll() is None
        process.send_signal(number)
        assert process.wait(60) == -number
