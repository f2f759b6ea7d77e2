"""What must be invalidated when an entry changes, and what need not."""

from __future__ import annotations

from machine.hardware.cpu import RAX, RBX, RCX
from machine.hardware.paging import NX, RW, US, A, D, P
from tests.engine.board import CODE_BITS, DATA, DATA_BITS, READONLY_DATA, SYSCALL, UD2, Board

LOAD_RAX = b"\x0f\xb6\x07"  # movzx eax, byte [rdi]
LOAD_RBX = b"\x0f\xb6\x1f"  # movzx ebx, byte [rdi]
LOAD_RCX = b"\x0f\xb6\x0f"  # movzx ecx, byte [rdi]
STORE = b"\xc6\x07\x42"  # mov byte [rdi], 0x42


def flush_is_wanted(board: Board) -> bool:
    return board.cpu._flush_wanted


def test_absent_to_present_needs_no_flush(board: Board) -> None:
    unflushed: list[bool] = []

    def supply(address: int, _error: int) -> None:
        board.map(address & -4096, content=b"\x07")
        unflushed.append(flush_is_wanted(board))

    board.on_fault = supply
    board.start(LOAD_RAX + SYSCALL, rdi=DATA)
    assert board.cpu.regs[RAX] == 7 and unflushed == [False]


def test_another_frame_is_seen_only_after_a_flush(board: Board) -> None:
    old = board.map(DATA, content=b"\x01")
    new = board.frame()
    board.ram.view[new] = 2
    calls: list[None] = []

    def change() -> None:
        calls.append(None)
        if len(calls) == 1:
            board.tables.set(DATA, new | DATA_BITS)
        elif len(calls) == 2:
            board.cpu.flush_tlb()
        else:
            board.cpu.stop()

    board.on_syscall = change
    keep = b"\x49\x89\xf8"  # mov r8, rdi: two instructions between the calls
    board.start(
        LOAD_RAX + SYSCALL + keep + LOAD_RBX + SYSCALL + b"\x0f\xb6\x17" + SYSCALL,  # movzx edx, byte [rdi]
        rdi=DATA,
    )
    assert old != new
    assert board.cpu.regs[RBX] == 1, "the TLB still held the old translation"
    assert board.cpu.regs[2] == 2, "RDX: the flush forgot it"


def test_taking_a_page_away_is_seen_only_after_a_flush(board: Board) -> None:
    board.map(DATA, content=b"\x09")
    calls: list[int] = []

    def change() -> None:
        calls.append(len(board.faults))
        if len(calls) == 1:
            board.tables.set(DATA, 0)
        elif len(calls) == 2:
            board.cpu.flush_tlb()
        else:
            board.cpu.stop()

    board.on_syscall = change
    board.start((LOAD_RBX + SYSCALL) * 3, rdi=DATA)
    assert calls == [0, 0, 1]


def test_write_protection_is_seen_only_after_a_flush(board: Board) -> None:
    board.map(DATA)
    calls: list[int] = []

    def change() -> None:
        calls.append(len(board.faults))
        if len(calls) == 1:
            board.tables.set(DATA, board.entry(DATA) & ~RW)
        elif len(calls) == 2:
            board.cpu.flush_tlb()
        else:
            board.cpu.stop()

    def allow(_address: int, _error: int) -> None:
        board.tables.set(DATA, board.entry(DATA) | RW)

    board.on_syscall, board.on_fault = change, allow
    board.start((STORE + SYSCALL) * 3, rdi=DATA)
    assert calls == [0, 0, 1]


def test_an_upgrade_that_answers_the_write_fault_needs_no_flush(board: Board) -> None:
    """Copy-on-write of a page without execute permission: the retried store fills the TLB anew."""
    old = board.map(DATA, READONLY_DATA, content=b"\x05\x06")
    new = board.frame()
    unflushed: list[bool] = []

    def copy(_address: int, error: int) -> None:
        assert error == 7
        board.ram.view[new : new + 4096] = board.ram.view[old : old + 4096]
        board.tables.set(DATA, new | DATA_BITS)
        unflushed.append(flush_is_wanted(board))

    board.on_fault = copy
    board.start(LOAD_RAX + STORE + LOAD_RBX + b"\x0f\xb6\x4f\x01" + UD2, rdi=DATA)
    regs = board.cpu.regs
    assert unflushed == [False]
    assert (regs[RAX], regs[RBX], regs[RCX]) == (5, 0x42, 6)
    assert (board.ram.view[old], board.ram.view[new]) == (5, 0x42)


def test_switching_tables_switches_what_is_seen(board: Board) -> None:
    board.map(DATA, content=b"\x01")
    other = board.new_tables()
    board.start(LOAD_RAX + SYSCALL, rdi=DATA)
    code, frame = board.entry(0x400000), board.frame()
    board.ram.view[frame] = 2
    other.set(0x400000, code)
    other.set(DATA, frame | DATA_BITS)
    calls: list[None] = []

    def switch() -> None:
        calls.append(None)
        board.cpu.switch_tables(other.cr3) if len(calls) == 1 else board.cpu.stop()

    board.on_syscall = switch
    board.start(LOAD_RAX + SYSCALL + LOAD_RBX + SYSCALL, rdi=DATA)
    assert board.cpu.regs[RBX] == 2


def test_two_mebibyte_pages(board: Board) -> None:
    board.tables.map_large(0x4000_0000, 0x800000, P | RW | US | NX)
    board.ram.view[0x800000 + 0x12345] = 0x77
    board.start(LOAD_RAX + STORE + LOAD_RBX + SYSCALL, rdi=0x4000_0000 + 0x12345)
    assert (board.cpu.regs[RAX], board.cpu.regs[RBX]) == (0x77, 0x42)
    assert board.ram.view[0x800000 + 0x12345] == 0x42 and not board.faults
    directory = board.tables._middle(2, 0x4000_0000)
    assert board.ram.words[directory >> 3] & (A | D) == A | D


def test_code_upgraded_by_its_own_write_needs_the_code_dropped(board: Board) -> None:
    """Copy-on-write of an executable page: the old frame's code is what runs, until it is dropped."""
    page = DATA
    text = b"\xb8\x01\x00\x00\x00" + SYSCALL  # mov eax, 1; syscall
    old = board.map(page, CODE_BITS, content=text)
    new = board.frame()
    seen: list[int] = []

    def copy(_address: int, error: int) -> None:
        assert error == 7
        board.ram.view[new : new + 4096] = board.ram.view[old : old + 4096]
        board.tables.set(page, new | CODE_BITS | RW)
        board.cpu.drop_code()

    def calls() -> None:
        seen.append(board.cpu.regs[RAX])
        board.cpu.regs[16] = 0x400000 + 2 if len(seen) == 1 else board.cpu.regs[16]
        if len(seen) == 2:
            board.cpu.stop()

    board.on_fault, board.on_syscall = copy, calls
    # jmp rdi; (then) mov byte [rdi + 1], 2; jmp rdi
    board.start(b"\xff\xe7" + b"\xc6\x47\x01\x02" + b"\xff\xe7", rdi=page)
    assert seen == [1, 2]
    assert board.ram.view[old + 1] == 1
