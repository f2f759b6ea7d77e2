"""Which misaligned accesses the engine lets through: where 16 bytes must be aligned, it does not look."""

from __future__ import annotations

import pytest

from machine.hardware.cpu import RAX
from tests.engine.board import DATA, SYSCALL, Board

VALUE = bytes(range(0x10, 0x30))
READ_XMM0 = b"\x66\x48\x0f\x7e\xc0" + SYSCALL  # movq rax, xmm0
GENERAL_PROTECTION = 13


@pytest.mark.parametrize(
    "load",
    [b"\x0f\x28\x07", b"\x66\x0f\x28\x07", b"\x66\x0f\x6f\x07", b"\x66\x0f\xef\xc0\x66\x0f\xfe\x07"],
    ids=["movaps xmm0, [rdi]", "movapd xmm0, [rdi]", "movdqa xmm0, [rdi]", "pxor xmm0, xmm0; paddd xmm0, [rdi]"],
)
def test_a_misaligned_load_of_16_bytes_runs(board: Board, load: bytes) -> None:
    """A processor raises #GP for each of them, which Linux makes SIGSEGV."""
    board.map(DATA, content=VALUE)
    board.start(load + READ_XMM0, rdi=DATA + 1)
    assert board.exceptions == [] and board.cpu.regs[RAX] == int.from_bytes(VALUE[1:9], "little")


@pytest.mark.parametrize(
    "store",
    [b"\x0f\x29\x07", b"\x66\x0f\x7f\x07", b"\x0f\x2b\x07"],
    ids=["movaps [rdi], xmm0", "movdqa [rdi], xmm0", "movntps [rdi], xmm0"],
)
def test_a_misaligned_store_of_16_bytes_runs(board: Board, store: bytes) -> None:
    board.map(DATA, content=VALUE)
    board.start(b"\x66\x0f\xef\xc0" + store + SYSCALL, rdi=DATA + 1)  # pxor xmm0, xmm0
    assert board.exceptions == [] and board.get(DATA, 18) == VALUE[:1] + bytes(16) + VALUE[17:18]


def test_the_flag_that_asks_for_alignment_is_ignored(board: Board) -> None:
    """EFLAGS.AC: a processor raises #AC for the load, which Linux makes SIGBUS (BUS_ADRALN)."""
    board.map(DATA, content=VALUE)
    set_ac = b"\x9c\x81\x0c\x24\x00\x00\x04\x00\x9d"  # pushf; or dword [rsp], 0x40000; popf
    board.start(set_ac + b"\x8b\x07" + SYSCALL, rdi=DATA + 1)  # mov eax, [rdi]
    assert board.exceptions == [] and board.cpu.regs[RAX] == int.from_bytes(VALUE[1:5], "little")


@pytest.mark.parametrize(
    "code", [b"\x0f\xae\x07", b"\xf0\x48\x0f\xc7\x0f"], ids=["fxsave [rdi]", "lock cmpxchg16b [rdi]"]
)
def test_what_is_refused(board: Board, code: bytes) -> None:
    board.map(DATA)
    board.start(code + SYSCALL, rdi=DATA + 8)
    assert [vector for vector, _ in board.exceptions] == [GENERAL_PROTECTION]
