"""A quotient that is too large for the host's IDIV, too: exception 0 of the program; any other SIGFPE is the host's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from machine.hardware import divides
from machine.hardware.cpu import DIVIDE_ERROR, RAX, RDX, RIP
from tests.engine.board import CODE, Board

IDIV = b"\xf7\xf9"  # idiv ecx
TOP = Path(__file__).parents[2]


def test_an_exception_of_the_program(board: Board) -> None:
    """With RIP at the instruction, in the middle of a block, and registers as they were; again and again."""
    before = divides.guard_divides(None).count  # type: ignore[union-attr]
    for _ in range(100):
        board.exceptions.clear()
        board.start(b"\x90\x90" + IDIV + b"\x0f\x05", rax=0, rdx=0x8000_0000, rcx=0xFFFF_FFFF)
        assert board.exceptions == [(DIVIDE_ERROR, CODE + 2)]
        assert board.cpu.regs[RIP] == CODE + 2
        assert (board.cpu.regs[RAX], board.cpu.regs[RDX]) == (0, 0x8000_0000)
    assert divides.guard_divides(None).count == before + 100  # type: ignore[union-attr]
    board.exceptions.clear()
    board.start(IDIV + b"\x0f\x05", rax=7, rdx=0, rcx=2)
    assert (board.cpu.regs[RAX], board.cpu.regs[RDX], board.exceptions) == (3, 1, [])


OTHERS = """
import faulthandler, os, signal, sys
if "dump" in sys.argv:
    faulthandler.enable()
from tests.engine.board import Board
board = Board()
def sent():
    os.kill(os.getpid(), signal.SIGFPE)
if "inside" in sys.argv:
    board.on_syscall = sent
    board.start(b"\\x0f\\x05")
sent()
"""


@pytest.mark.parametrize("where", [[], ["inside"], ["dump"], ["dump", "inside"]])
def test_another_sigfpe(where: list[str]) -> None:
    """The process ends by it; whoever had a handler before is called."""
    done = subprocess.run(
        [sys.executable, "-c", OTHERS, *where], capture_output=True, cwd=TOP, timeout=100, check=False,
        env={**os.environ, "PYTHONPATH": str(TOP)},
    )  # fmt: skip
    assert done.returncode == -signal.SIGFPE, done.stderr
    assert (b"Fatal Python error: Floating point exception" in done.stderr) == ("dump" in where)
