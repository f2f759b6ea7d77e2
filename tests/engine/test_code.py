"""Translated code: who drops it, and who must ask."""

from __future__ import annotations

from machine.hardware.cpu import RAX, RBX
from machine.hardware.paging import RW
from tests.engine.board import CODE, CODE_BITS, DATA, DATA_BITS, SYSCALL, Board

ONE = b"\xb8\x01\x00\x00\x00"  # mov eax, 1


def test_python_writes_do_not_drop_code(board: Board) -> None:
    seen: list[int] = []

    def patch() -> None:
        seen.append(board.cpu.regs[RAX])
        if len(seen) == 1:
            board.put(CODE + 1, b"\x02")
        elif len(seen) == 2:
            board.cpu.drop_code()
        else:
            board.cpu.stop()

    board.on_syscall = patch
    board.start(ONE + SYSCALL + b"\xeb\xf7")  # and again
    assert seen == [1, 1, 2]


def test_the_engines_own_writes_do_not_drop_code_either(board: Board) -> None:
    seen: list[int] = []
    physical = board.map(CODE, CODE_BITS)

    def patch() -> None:
        seen.append(board.cpu.regs[RAX])
        if len(seen) == 1:
            board.cpu._uc.mem_write(physical + 1, b"\x02")
        else:
            board.cpu.stop()

    board.on_syscall = patch
    board.start(ONE + SYSCALL + b"\xeb\xf7")
    assert seen == [1, 1]


def test_a_tlb_flush_does_not_drop_code(board: Board) -> None:
    seen: list[int] = []

    def patch() -> None:
        seen.append(board.cpu.regs[RAX])
        if len(seen) == 1:
            board.put(CODE + 1, b"\x02")
            board.cpu.flush_tlb()
        else:
            board.cpu.stop()

    board.on_syscall = patch
    board.start(ONE + SYSCALL + b"\xeb\xf7")
    assert seen == [1, 1]


def test_self_modifying_code(board: Board) -> None:
    # 1: mov eax, 1; mov byte [rip - 11], 2; inc ebx; cmp ebx, 2; jne 1b; syscall
    code = ONE + b"\xc6\x05\xf5\xff\xff\xff\x02" + b"\xff\xc3" + b"\x83\xfb\x02" + b"\x75\xed" + SYSCALL
    board.start(code, code_bits=CODE_BITS | RW)
    assert (board.cpu.regs[RAX], board.cpu.regs[RBX]) == (2, 2)
    assert not board.faults


def test_code_changed_through_a_no_execute_alias(board: Board) -> None:
    physical = board.map(CODE, CODE_BITS)
    board.map(DATA, DATA_BITS, physical)
    seen: list[int] = []

    def note() -> None:
        seen.append(board.cpu.regs[RAX])
        if len(seen) == 2:
            board.cpu.stop()

    board.on_syscall = note
    board.start(ONE + SYSCALL + b"\xc6\x47\x01\x02" + b"\xeb\xf3", rdi=DATA)  # mov byte [rdi + 1], 2; jmp to the start
    assert seen == [1, 2]


def test_writable_first_then_executable(board: Board) -> None:
    """What a just-in-time compiler does: write, mprotect, jump."""
    board.map(DATA, CODE_BITS, content=ONE + SYSCALL)
    seen: list[int] = []

    def protect() -> None:
        seen.append(board.cpu.regs[RAX])
        if len(seen) == 1:  # from the code: make it writable, go on at the store
            board.tables.set(DATA, board.entry(DATA) & ~CODE_BITS | DATA_BITS)
            board.cpu.regs[16] = CODE + 2
        elif len(seen) == 2:
            board.tables.set(DATA, board.entry(DATA) & ~DATA_BITS | CODE_BITS)
        else:
            board.cpu.stop()
        board.cpu.flush_tlb()

    board.on_syscall = protect
    board.start(b"\xff\xe7" + b"\xc6\x47\x01\x03" + SYSCALL + b"\xff\xe7", rdi=DATA)
    assert seen == [1, 1, 3]
