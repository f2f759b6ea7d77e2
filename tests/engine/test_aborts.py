"""Code that the engine's translator aborts on is an invalid opcode; every other abort is one."""

from __future__ import annotations

import threading
from pathlib import Path

from machine.hardware import aborts
from machine.hardware.cpu import INVALID_OPCODE, RAX, RIP
from tests.engine.board import CODE, Board

LOCK_BTC = bytes.fromhex("f00fbaf800")  # lock btc eax, 0
TOP = Path(__file__).parents[2]


def run(board: Board, code: bytes) -> list[tuple[int, int]]:
    """The exceptions other than page faults, and where."""
    seen: list[tuple[int, int]] = []
    cpu = board.cpu

    def stop(vector: int) -> None:
        seen.append((vector, cpu.regs[RIP]))
        cpu.stop()

    cpu.on_exception = stop
    board.on_syscall = cpu.stop
    cpu.drop_code()
    board.start(code)
    return seen


def test_an_invalid_opcode(board: Board) -> None:
    """A hundred times, and the engine goes on."""
    for _ in range(100):
        assert run(board, LOCK_BTC) == [(INVALID_OPCODE, CODE)]
        assert board.cpu.gave_up() and not board.cpu.gave_up()
    assert run(board, b"\xff\xc0\xff\xc0\x0f\x05") == []  # inc eax; inc eax; syscall
    assert board.cpu.regs[RAX] == 2
    assert run(board, b"\x0f\x0b") == [(INVALID_OPCODE, CODE)]  # ud2: of the code's own
    assert not board.cpu.gave_up()


def test_in_another_thread_with_another_engine_waiting() -> None:
    first, seen = Board(), []
    thread = threading.Thread(target=lambda: seen.extend(run(Board(), LOCK_BTC)))
    thread.start()
    thread.join()
    assert seen == run(first, LOCK_BTC) == [(INVALID_OPCODE, CODE)]


def test_whatever_is_no_pointer_is_not_read() -> None:
    held = bytearray(b"registers of the processor")
    import ctypes

    there = ctypes.addressof(ctypes.c_char.from_buffer(held))
    assert aborts.find_env([0, -1, 8, 1 << 47, there + 1, there], bytes(held)) == there
    assert aborts.find_env([8, there + 1], bytes(held)) is None
