"""EFLAGS across stops and task switches: while the engine runs they are not in the EFLAGS of its image."""

from __future__ import annotations

import pytest

from machine.hardware.cpu import EFLAGS, RBX, RIP, RSP
from tests.engine.board import CODE, DATA, STACK, Board

CF_PF_ZF_SF_OF_DF = 0xCC5
ALL_SET = b"\x68\xd7\x0e\x00\x00\x9d"  # push 0xed7; popf
READ_FLAGS = b"\x9c\x5b"  # pushf; pop rbx
CLEAR_FLAGS = b"\xfc\xb0\x01\x84\xc0"  # cld; mov al, 1; test al, al
SYSCALL = b"\x0f\x05"


@pytest.fixture
def ready(board: Board) -> Board:
    board.map(STACK - 8)
    return board


@pytest.mark.parametrize("bits", [64, 32])
def test_flags_survive_a_switch_at_a_fault(ready: Board, bits: int) -> None:
    """A store between setting and reading them faults; the image of that moment goes on in a run of its own."""
    images = []

    def keep(address: int, _error: int) -> None:
        ready.map(address & -4096)
        images.append(bytes(ready.cpu.image))
        ready.cpu.stop()

    ready.on_fault = keep
    ready.start(ALL_SET + b"\x88\x01" + READ_FLAGS + b"\x0f\x0b", bits=bits, rcx=DATA)
    assert [fault.address for fault in ready.faults] == [DATA]
    ready.cpu.image[:] = images[0]
    ready.cpu.run()
    assert ready.cpu.regs[RBX] & CF_PF_ZF_SF_OF_DF == CF_PF_ZF_SF_OF_DF


def test_flags_are_cleared_in_an_image_saved_outside(ready: Board) -> None:
    """A task that was stopped with flags set goes on inside another task's hook, and clears them."""
    ready.start(ALL_SET + SYSCALL + CLEAR_FLAGS + READ_FLAGS + SYSCALL)
    stopped = bytes(ready.cpu.image)
    turns = []

    def switch() -> None:
        turns.append(ready.cpu.regs[RIP])
        if len(turns) == 1:
            ready.cpu.image[:] = stopped
        else:
            ready.cpu.stop()

    ready.on_syscall = switch
    ready.load(SYSCALL, at=CODE + 0x1000)
    ready.cpu.run()
    assert ready.cpu.regs[RBX] & CF_PF_ZF_SF_OF_DF == 0


def test_flags_are_cleared_after_a_write_to_the_image(ready: Board) -> None:
    """As sigreturn does it: the bits that the kernel wrote do not stay."""

    def write() -> None:
        ready.cpu.set_register(EFLAGS, 0xED7)
        assert ready.cpu.eflags() & CF_PF_ZF_SF_OF_DF == CF_PF_ZF_SF_OF_DF
        ready.on_syscall = ready.cpu.stop

    ready.on_syscall = write
    ready.start(SYSCALL + CLEAR_FLAGS + READ_FLAGS + SYSCALL)
    assert ready.cpu.regs[RBX] & CF_PF_ZF_SF_OF_DF == 0
    assert ready.cpu.regs[RSP] == STACK
