"""What signal frames need of the register image: x87, SSE, EFLAGS and the mode can be edited in a hook."""

from __future__ import annotations

import struct

import pytest

from machine.hardware.cpu import CS, EFLAGS, MXCSR, RBX, RCX, RIP
from machine.hardware.fpu import MXCSR_MASK
from machine.hardware.gdt import USER32_CS, USER_CS
from tests.engine.board import DATA, SYSCALL, Board

INT3 = b"\xcc"
FNINIT_AND_THREE_CONSTANTS = bytes.fromhex("dbe3 d9eb d9e8 d9ea d9ee ddd8".replace(" ", ""))
"""fninit; fldpi; fld1; fldl2e; fldz; fstp %st(0): ST0 = log2(e), ST1 = 1, ST2 = pi."""
FILL_XMM = bytes.fromhex("660f76db 66440f76ff".replace(" ", ""))
"""pcmpeqd %xmm3,%xmm3; pcmpeqd %xmm15,%xmm15."""
FXSAVE64 = bytes.fromhex("480fae07")
"""fxsave64 (%rdi)."""


def _fxsave_of_the_guest(board: Board, area: int = DATA) -> bytes:
    return board.get(area, 512)


def test_fxsave_is_what_the_instruction_stores(board: Board) -> None:
    board.map(DATA)
    board.start(FNINIT_AND_THREE_CONSTANTS + FILL_XMM + FXSAVE64 + INT3, rdi=DATA)
    ours, theirs = board.cpu.fxsave(), _fxsave_of_the_guest(board)
    assert ours[:6] == theirs[:6], "control word, status word, tags"
    assert ours[24:28] == theirs[24:28], "MXCSR"
    assert ours[32:416] == theirs[32:416], "ST0 to ST7, XMM0 to XMM15"


def test_fxrstor_in_a_hook_is_what_the_guest_goes_on_with(board: Board) -> None:
    board.map(DATA)
    wiped = bytes.fromhex("dbe3 660fefdb 66450fefff".replace(" ", ""))  # fninit; pxor xmm3; pxor xmm15
    saved: list[bytes] = []

    def exception(_vector: int) -> None:
        saved.append(board.cpu.fxsave())
        if len(saved) == 2:
            board.cpu.fxrstor(saved[0])
        elif len(saved) == 3:
            board.cpu.stop()

    board.on_exception = exception
    board.start(FNINIT_AND_THREE_CONSTANTS + FILL_XMM + INT3 + wiped + INT3 + FXSAVE64 + INT3, rdi=DATA)
    assert saved[1][32:416] != saved[0][32:416]
    got = _fxsave_of_the_guest(board)
    assert got[:6] == saved[0][:6] and got[32:416] == saved[0][32:416]


def test_every_top_of_stack_survives(board: Board) -> None:
    """ST(i) is relative to TOP; the registers behind it are not."""
    board.load(INT3)
    for top in range(8):
        area = bytearray(512)
        struct.pack_into("<HHB", area, 0, 0x37F, top << 11, 0b1010_0101)
        struct.pack_into("<II", area, 24, 0x1F80, MXCSR_MASK)
        for i in range(8):
            area[32 + 16 * i : 42 + 16 * i] = bytes([i + 1] * 8) + b"\xff\x3f"
        board.cpu.fxrstor(bytes(area))
        assert board.cpu.fxsave() == bytes(area)


def test_mxcsr(board: Board) -> None:
    board.map(DATA, content=(0x5F80).to_bytes(4, "little"))
    ldmxcsr = bytes.fromhex("0fae17")
    board.start(ldmxcsr + INT3, rdi=DATA)
    assert board.cpu.get_register(MXCSR) == 0x5F80
    area = bytearray(board.cpu.fxsave())
    struct.pack_into("<I", area, 24, 0x9FC0)
    board.cpu.fxrstor(bytes(area))
    assert board.cpu.get_register(MXCSR) == 0x9FC0


@pytest.mark.parametrize("entry", [INT3, SYSCALL], ids=["interrupt hook", "syscall hook"])
def test_eflags_written_in_a_hook(board: Board, entry: bytes) -> None:
    """Condition codes are computed lazily by the engine; what a hook writes must win, DF included."""
    written = 0x202 | 0x1 | 0x40 | 0x400 | 0x800  # CF, ZF, DF, OF
    seen: list[int] = []

    def write(*_vector: int) -> None:
        seen.append(board.cpu.get_register(EFLAGS))
        if len(seen) == 1:
            board.cpu.set_register(EFLAGS, written)
        else:
            board.cpu.stop()

    board.on_exception = write
    board.on_syscall = write
    board.map(0x6FF000)
    code = bytes.fromhex("31c0 83f801 fc".replace(" ", "")) + entry + bytes.fromhex("9c5b") + INT3
    board.start(code, rsp=0x6FF800)
    assert seen[0] & 0x8D5 == 0x95, "0 - 1: CF, AF, SF, PF"
    assert board.cpu.regs[RBX] & 0xCD5 == written & 0xCD5
    assert seen[1] & 0xCD5 == written & 0xCD5


def test_string_instruction_goes_the_way_that_the_hook_set(board: Board) -> None:
    board.map(DATA, content=b"abcdefgh")
    board.map(DATA + 0x1000)

    def exception(_vector: int) -> None:
        if len(board.exceptions) == 1:
            board.cpu.set_register(EFLAGS, 0x602)
        else:
            board.cpu.stop()

    board.on_exception = exception
    code = bytes.fromhex("fc") + INT3 + bytes.fromhex("f3a4") + INT3  # cld; int3; rep movsb; int3
    board.start(code, rdi=DATA + 0x1007, rsi=DATA + 7, rcx=4)
    assert board.get(DATA + 0x1000, 8) == b"\0\0\0\0efgh" and board.cpu.regs[RCX] == 0


def test_change_of_mode_in_a_hook(board: Board) -> None:
    """A sigreturn with CS 0x23 goes on in compatibility mode, with everything else as it was."""
    board.load(FNINIT_AND_THREE_CONSTANTS + FILL_XMM + INT3 + b"\x48\x90" + INT3, rax=5, rbx=77)
    state: list[bytes] = []

    def exception(_vector: int) -> None:
        state.append(board.cpu.fxsave())
        if len(state) == 1:
            board.cpu.load_code_segment(USER32_CS)
        else:
            board.cpu.stop()

    board.on_exception = exception
    board.cpu.run()
    assert board.cpu.get_register(CS) == USER32_CS
    assert board.cpu.regs[0] == 4, "48 is dec eax in 32-bit code"
    assert board.cpu.regs[RBX] == 77 and state[0] == state[1]
    board.cpu.load_code_segment(USER_CS)
    assert board.cpu.get_register(CS) == USER_CS and board.cpu.fxsave() == state[0]
    assert board.cpu.regs[RIP] == board.exceptions[-1][1]
