"""What keeps a hostile program from ending or reading the host's process is there, or the kernel's log says so."""

from __future__ import annotations

import ctypes
import operator
import os
import re
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from machine import Machine
from machine.hardware import cpu
from machine.hardware.divides import guard_divides
from machine.hardware.patches import guard_blocks, guard_lengths, mend_horizontal
from machine.hardware.sse import mend_sse
from machine.hardware.sse4 import mend_strings
from machine.hardware.transcendental import mend_x87
from tests.engine.board import DATA, Board

TOP = Path(__file__).parents[2]


def test_all_are_there(board: Board) -> None:
    assert board.cpu.unguarded == []


def test_another_build_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as unmended:
        unmended.setattr("machine.hardware.patches._own_code", [])
        unmended.setattr("machine.hardware.transcendental._own", [])
        for module in ("sse4", "sse", "x87"):
            unmended.setattr(f"machine.hardware.{module}._own", [])
        for mend in (guard_blocks, guard_lengths, mend_horizontal, mend_strings, mend_x87, mend_sse):
            assert not mend(SimpleNamespace())
    another = ctypes.CDLL(None).qsort
    assert not guard_blocks(SimpleNamespace(tb_gen_code_x86_64=another))
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
    name = {signal.SIGABRT: b"Aborted", signal.SIGFPE: b"Floating.point exception"}[number]
    assert bool(re.search(b"Fatal Python error: " + name, done.stderr)) == ("dump" in where)


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGFPE])
def test_one_that_comes_from_outside(number: signal.Signals) -> None:
    """While the engine runs: a supervisor's SIGABRT is no abort of the engine."""
    code = "from tests.engine.board import Board; board = Board(); board.on_syscall = lambda: print(1, flush=True); "
    code += "board.start(b'\\x0f\\x05\\xeb\\xfe')"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=TOP, env={**os.environ, "PYTHONPATH": str(TOP)}
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"1\n"
        time.sleep(1)
        assert process.poll() is None
        process.send_signal(number)
        assert process.wait(60) == -number


LONG = """
import sys
from tests.engine.board import Board, CODE, DATA, STACK
from machine.hardware.cpu import RIP
instruction = bytes.fromhex(sys.argv[2])
board = Board()
board.map(DATA)
for start in (b"", b"\\x90"):
    code = start + instruction * 1500
    board.cpu.drop_code()
    board.start(code + b"\\x0f\\x05", bits=int(sys.argv[1]), rdi=DATA)
    assert (board.exceptions, board.cpu.regs[RIP]) == ([], CODE + len(code) + 2), board.exceptions
"""
LEAVING = {
    "insertps": "660f3a21c100", "shufps": "0fc6c01b", "pshufw": "0f70c01b", "palignr": "660f3a0fc101", "fadd": "d8c0",
    "fld": "d9c0", "fxch": "d9c9", "fcomi": "dbf1", "crc32": "f20f38f0c1", "pclmulqdq": "660f3a44c100",
    "aeskeygenassist": "660f3adfc100", "pcmpistri": "660f3a63c100", "roundsd": "660f3a0bc100", "fadd m32": "d807",
    "mpsadbw": "660f3a42c100", "mov ds": "8ed9",
}  # fmt: skip
"""Instructions after which the engine's translator leaves temporaries behind."""


@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("name", LEAVING)
def test_long_blocks(name: str, bits: int) -> None:
    """1,500 of them in a row are translated in pieces; in one they end the process."""
    done = subprocess.run(
        [sys.executable, "-c", LONG, str(bits), LEAVING[name]], capture_output=True, cwd=TOP, timeout=100, check=False,
        env={**os.environ, "PYTHONPATH": str(TOP)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()


def halves(form: str, size: int, operation: Callable[[int, int], int], *operands: bytes) -> bytes:
    """What PHADD and PHSUB make of their operands, 8 or 16 bytes each (SDM vol. 2B)."""
    values = [v for data in operands for v in struct.unpack(f"<{len(data) // size}{form}", data)]
    results = [operation(values[n], values[n + 1]) for n in range(0, len(values), 2)]
    return b"".join((each & (1 << 8 * size) - 1).to_bytes(size, "little") for each in results)


def saturated(value: int) -> int:
    return max(-0x8000, min(0x7FFF, value))


HORIZONTAL: dict[int, tuple[str, int, Callable[[int, int], int]]] = {
    1: ("h", 2, operator.add), 2: ("i", 4, operator.add), 3: ("h", 2, lambda a, b: saturated(a + b)),
    5: ("h", 2, operator.sub), 6: ("i", 4, operator.sub), 7: ("h", 2, lambda a, b: saturated(a - b)),
}  # fmt: skip


@pytest.mark.parametrize("opcode", HORIZONTAL)
@pytest.mark.parametrize("size", [8, 16])
def test_horizontal_sums(board: Board, opcode: int, size: int) -> None:
    """PHADDW, PHADDD, PHADDSW, PHSUBW, PHSUBD, PHSUBSW of two registers, of one, and of memory."""
    first, second = (
        bytes.fromhex("ff7f018000800100 1234ffff80007fff"),
        bytes.fromhex("0102fffe7fff7f01 8000ffff00000001"),
    )
    prefix, load = (b"\x66", b"\xf3\x0f\x6f") if size == 16 else (b"", b"\x0f\x6f")
    form, width, operation = HORIZONTAL[opcode]
    board.map(DATA)
    for modrm, operands in ((0xC1, (first, second)), (0xC0, (first, first)), (0x47, (first, second))):
        code = load + b"\x07" + load + b"\x4f\x10" + prefix + bytes((0x0F, 0x38, opcode, modrm))
        code += b"\x10" * (modrm == 0x47) + (b"\xf3\x0f\x7f" if size == 16 else b"\x0f\x7f") + b"\x47\x20" + b"\x0f\x05"
        board.put(DATA, first + second)
        board.cpu.drop_code()
        board.start(code, rdi=DATA)
        expected = halves(form, width, operation, *(each[:size] for each in operands))
        assert board.get(DATA + 0x20, size) == expected, hex(modrm)
