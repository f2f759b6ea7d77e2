"""The hooks in host code: what they call, what they leave in the image, and that nothing of Python gets lost there."""

from __future__ import annotations

import gc
import sys

import capstone
import pytest

from machine.hardware import traps
from machine.hardware.cpu import R11, RAX, RCX, RIP
from tests.engine.board import CODE, DATA, Board


@pytest.mark.parametrize("name", ["_SYSCALL_CODE", "_INVALID_CODE", "_INTR_CODE", "_PYTHON_CODE"])
def test_the_code_is_whole(name: str) -> None:
    """Each part is instructions to its last byte, and its jumps stay inside."""
    code = getattr(traps, name)
    found = list(capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64).disasm(code, 0))
    starts = {each.address for each in found}
    assert sum(each.size for each in found) == len(code)
    jumps = [each for each in found if each.mnemonic.startswith("j")]
    assert all(int(each.op_str, 16) in starts for each in jumps)
    pushed = sum(each.mnemonic == "push" and not each.op_str.isdigit() for each in found)
    assert pushed == sum(each.mnemonic == "pop" for each in found)


def test_syscall_leaves_its_registers(board: Board) -> None:
    """RCX is the next instruction, R11 the flags; the image says where the program goes on."""
    seen = []
    board.on_syscall = lambda: (
        seen.append((*(board.cpu.regs[i] for i in (RCX, R11, RIP)), board.cpu.eflags())),
        board.cpu.stop(),
    )[1]
    board.start(b"\x31\xc0\x0f\x05")  # xor eax, eax: ZF and PF
    ((rcx, r11, rip, flags),) = seen
    assert rcx == rip == board.cpu.regs[RIP] == CODE + 4
    assert r11 == flags and r11 & 0x44 == 0x44


@pytest.mark.parametrize("prefixes", [b"", b"\x66", b"\x66\x66\x67", b"\x2e\xf3\x48", b"\x66" * 13])
def test_syscall_is_as_long_as_its_prefixes_make_it(board: Board, prefixes: bytes) -> None:
    """The next instruction is behind all of it; and where a handler puts RIP, as at a switch to another task, the
    program goes on, and nowhere else."""
    seen: list[tuple[int, int]] = []
    regs = board.cpu.regs

    def handle() -> None:
        seen.append((regs[RCX], regs[RIP]))
        if len(seen) == 1:
            regs[RIP] = CODE + 32
        else:
            board.cpu.stop()

    board.on_syscall = handle
    board.start((prefixes + b"\x0f\x05").ljust(32, b"\x90") + b"\xff\xc0\x0f\x05")  # 32: inc eax; syscall
    length = len(prefixes) + 2
    assert seen == [(CODE + length, CODE + length), (CODE + 36, CODE + 36)]
    assert regs[RAX] == 1


def test_references_do_not_pile_up(board: Board) -> None:
    """A thousand page faults leave as many references as there were."""
    gc.collect()  # what other tests left refers to None, too
    gc.disable()
    try:
        _a_thousand_faults(board)
    finally:
        gc.enable()


def _a_thousand_faults(board: Board) -> None:
    for n in range(1000):
        board.map(DATA + 0x100000 + n * 0x1000)
        board.tables.set(DATA + 0x100000 + n * 0x1000, 0)
    none, trap = sys.getrefcount(None), sys.getrefcount(board.cpu._traps._called[1])
    # 1: mov al, [rdi]; add rdi, 4096; dec ecx; jnz 1b; syscall
    board.start(b"\xb9\xe8\x03\x00\x00" + bytes.fromhex("8a07 4881c700100000 ffc9 75f3 0f05"), rdi=DATA + 0x100000)
    assert len(board.faults) == 1000
    after = sys.getrefcount(None), sys.getrefcount(board.cpu._traps._called[1])
    assert abs(after[0] - none) < 500 and after[1] == trap
    assert board.cpu.regs[RAX] & 0xFF == 0


def test_what_a_handler_raises_comes_out_of_run(board: Board) -> None:
    def fail() -> None:
        raise KeyError("of the handler")

    board.on_syscall = fail
    with pytest.raises(KeyError, match="of the handler"):
        board.start(b"\x0f\x05")
    board.on_syscall = board.cpu.stop
    board.start(b"\x0f\x05")  # and the engine goes on


def test_what_is_raised_beside_the_handlers_is_written(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may cross the engine: Python's own way for such errors."""
    told = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: told.append((what.exc_type, str(what.exc_value))))
    cpu = board.cpu

    def stray() -> None:
        cpu.stop()
        raise ValueError("stray")

    cpu._traps.call(stray, stray, stray)
    board.start(b"\x0f\x05")
    assert told == [(ValueError, "stray")]
