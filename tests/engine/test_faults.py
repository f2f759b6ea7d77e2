"""Page faults and other exceptions: where they arrive, and what the image then says."""

from __future__ import annotations

import pytest

from machine.hardware.cpu import (
    BREAKPOINT,
    DEBUG,
    DIVIDE_ERROR,
    EFLAGS,
    GENERAL_PROTECTION,
    INVALID_OPCODE,
    RAX,
    RCX,
    RDI,
    RIP,
    RSI,
)
from machine.hardware.paging import US, A, D, P
from tests.engine.board import CODE, CODE_BITS, DATA, DATA_BITS, READONLY_DATA, STACK, SYSCALL, UD2, Board, Fault

LOAD = b"\x48\x8b\x07"  # mov rax, [rdi]
STORE = b"\x48\x89\x07"  # mov [rdi], rax


def test_a_load_faults_with_its_own_address_and_runs_again(board: Board) -> None:
    frame = board.frame()
    board.ram.words[(frame + 0x128) >> 3] = 0x1122334455667788
    board.on_fault = lambda address, _error: board.tables.set(address & -4096, frame | DATA_BITS)
    board.start(b"\x90" + LOAD + SYSCALL, rdi=DATA + 0x128)
    assert board.faults == [Fault(CODE + 1, DATA + 0x128, 4)]
    assert board.cpu.regs[RAX] == 0x1122334455667788


def test_error_codes(board: Board) -> None:
    """Bit 0 present, 1 write, 2 user, 4 fetch (SDM vol. 3A §4.7)."""
    board.map(DATA, READONLY_DATA)
    board.map(DATA + 0x1000, P)  # a supervisor page
    board.map(DATA + 0x3000)  # no-execute

    def widen(address: int, _error: int) -> None:
        page = address & -4096
        board.map(page, CODE_BITS if page == DATA + 0x3000 else DATA_BITS, content=SYSCALL)
        board.cpu.flush_tlb()

    board.on_fault = widen
    store, load, jump = b"\x88\x07", b"\x8a\x07", b"\xff\xe7"  # mov [rdi], al; mov al, [rdi]; jmp rdi
    for code, where, error in ((store, 0, 7), (load, 0x1000, 5), (store, 0x2000, 6), (jump, 0x3000, 0x15)):
        board.start(code + SYSCALL, at=CODE + where, rdi=DATA + where)
        assert board.faults[-1].address == DATA + where
        assert board.faults[-1].error_code == error, hex(where)


def test_many_faults_in_a_row_are_no_double_fault(board: Board) -> None:
    # 1: mov [rdi], rax; add rdi, 4096; loop 1b; syscall
    board.start(STORE + b"\x48\x81\xc7\x00\x10\x00\x00" + b"\xe2\xf4" + SYSCALL, rdi=DATA, rcx=40)
    assert [fault.address for fault in board.faults] == [DATA + (n << 12) for n in range(40)]
    assert not board.exceptions


def test_rep_movsb_over_six_absent_pages(board: Board) -> None:
    text = bytes(range(256)) * 48
    for n in range(3):
        board.map(DATA + (n << 12), READONLY_DATA, content=text[n << 12 : (n + 1) << 12])
    board.cpu.flush_tlb()
    sources = [board.tables.get(DATA + (n << 12)) for n in range(3)]
    for n in range(3):
        board.tables.set(DATA + (n << 12), 0)

    def supply(address: int, error: int) -> None:
        n = (address - DATA) >> 12
        if n < 3:
            board.tables.set(address & -4096, sources[n])
        else:
            board.map(address & -4096)

    board.on_fault = supply
    board.start(b"\xf3\xa4" + UD2, rsi=DATA, rdi=DATA + 0x10000, rcx=len(text))
    assert len(board.faults) == 6 and {fault.rip for fault in board.faults} == {CODE}
    assert board.get(DATA + 0x10000, len(text)) == text
    assert (board.cpu.regs[RCX], board.cpu.regs[RSI]) == (0, DATA + len(text))


def test_rep_movsb_keeps_what_it_did_when_the_fault_is_not_answered(board: Board) -> None:
    board.map(DATA)
    board.map(DATA + 0x10000)
    board.on_fault = lambda _address, _error: board.cpu.stop()
    board.start(b"\xf3\xa4" + SYSCALL, rsi=DATA + 0xF00, rdi=DATA + 0x10000, rcx=0x200)
    assert board.faults == [Fault(CODE, DATA + 0x1000, 4)]
    assert (board.cpu.regs[RCX], board.cpu.regs[RSI], board.cpu.regs[RDI]) == (0x100, DATA + 0x1000, DATA + 0x10100)


def test_an_instruction_that_straddles_a_page(board: Board) -> None:
    code = b"\x48\xb8" + (0x1234567890ABCDEF).to_bytes(8, "little") + SYSCALL  # mov rax, imm64
    board.map(CODE, CODE_BITS)
    second = board.frame()
    board.ram.view[second : second + len(code) - 4] = code[4:]
    board.put(CODE + 0xFFC, code[:4])
    board.on_fault = lambda address, _error: board.tables.set(address & -4096, second | CODE_BITS)
    board.start(b"\xeb\x00", at=CODE + 0xFFA)  # jmp +0: only so that `start` maps nothing more
    assert board.faults == [Fault(CODE + 0xFFC, CODE + 0x1000, 0x14)]
    assert board.cpu.regs[RAX] == 0x1234567890ABCDEF


def test_a_store_across_two_absent_pages(board: Board) -> None:
    board.start(STORE + SYSCALL, rdi=DATA + 0xFFC, rax=0x8877665544332211)
    assert {fault.address & -4096 for fault in board.faults} == {DATA, DATA + 0x1000}
    assert board.get(DATA + 0xFFC, 8) == bytes.fromhex("1122334455667788")


def test_calling_null_faults_at_null(board: Board) -> None:
    """Without `ctl_exits_enabled` the engine would take the jump to 0 for the end of the run."""
    board.map(STACK - 0x1000)
    board.on_fault = lambda _address, _error: board.cpu.stop()
    board.start(b"\xff\xd7" + SYSCALL, rdi=0)  # call rdi
    assert board.faults[-1] == Fault(0, 0, 0x14)


@pytest.mark.parametrize(
    ("code", "vector", "after"),
    [
        (b"\x0f\x0b", INVALID_OPCODE, 0),  # ud2
        (b"\xcc", BREAKPOINT, 1),  # int3: RIP is behind it
        (b"\xf7\xf1", DIVIDE_ERROR, 0),  # div ecx
        (b"\xf4", GENERAL_PROTECTION, 0),  # hlt
        (b"\x0f\x20\xc0", GENERAL_PROTECTION, 0),  # mov rax, cr0
        (b"\x48\x8b\x07", GENERAL_PROTECTION, 0),  # mov rax, [rdi] with an address that is not canonical
        (b"\xcd\x80", 0x80, 2),  # int 0x80
    ],
    ids=["ud2", "int3", "divide", "hlt", "cr0", "not canonical", "int 0x80"],
)
def test_other_exceptions(board: Board, code: bytes, vector: int, after: int) -> None:
    board.start(b"\x90" + code, rdi=0x8000_0000_0000_0000)
    assert board.exceptions == [(vector, CODE + 1 + after)]
    board.start(b"\x90\x90" + code, at=CODE + 0x100, rdi=0x8000_0000_0000_0000)
    assert board.exceptions[1:] == [(vector, CODE + 0x102 + after)], "the second one arrives like the first"


def test_a_handler_may_move_the_instruction_pointer(board: Board) -> None:
    """What a signal does: the hook changes registers, and that is where the program goes on."""

    def deliver(_vector: int) -> None:
        board.cpu.regs[RIP] = CODE + 0x100
        board.cpu.regs[RDI] = 77

    board.map(CODE, CODE_BITS, content=b"\x00" * 0x100 + b"\x48\x89\xf8" + SYSCALL)  # mov rax, rdi
    board.on_exception = deliver
    board.start(b"\x0f\x0b")
    assert board.cpu.regs[RAX] == 77


def test_syscall_goes_on_two_bytes_later(board: Board) -> None:
    calls: list[tuple[int, int]] = []

    def answer() -> None:
        calls.append((board.cpu.regs[RAX], board.cpu.regs[RIP]))
        board.cpu.regs[RAX] = 41 + len(calls)
        if len(calls) == 3:
            board.cpu.stop()

    board.on_syscall = answer
    board.start(SYSCALL * 3, rax=7)
    assert calls == [(7, CODE + 2), (42, CODE + 4), (43, CODE + 6)]
    assert (board.cpu.regs[RAX], board.cpu.regs[RIP]) == (44, CODE + 6)


def test_trap_flag_gives_an_exception_after_every_instruction(board: Board) -> None:
    def step(vector: int) -> None:
        if len(board.exceptions) == 1:
            board.cpu.set_register(EFLAGS, 0x302)
        elif len(board.exceptions) == 4:
            board.cpu.set_register(EFLAGS, 0x202)

    board.on_exception = step
    board.start(b"\xcc" + b"\x48\xff\xc0" * 5 + SYSCALL)  # int3; inc rax, five times
    assert board.exceptions == [(BREAKPOINT, CODE + 1), *((DEBUG, CODE + 1 + 3 * n) for n in (1, 2, 3))]
    assert board.cpu.regs[RAX] == 5


def test_the_mmu_sets_accessed_and_dirty(board: Board) -> None:
    board.map(DATA)
    board.start(LOAD + SYSCALL, rdi=DATA)
    assert board.entry(DATA) & (A | D) == A
    board.start(STORE + SYSCALL, at=CODE + 0x100, rdi=DATA)
    assert board.entry(DATA) & (A | D) == A | D
    assert board.entry(CODE) & (A | US | P) == A | US | P


def test_what_a_handler_raises_comes_out_of_run(board: Board) -> None:
    def broken(_address: int, _error: int) -> None:
        raise KeyError("from inside the hook")

    board.on_fault = broken
    with pytest.raises(KeyError, match="from inside the hook"):
        board.start(LOAD + SYSCALL, rdi=DATA)
    board.on_fault = lambda address, _error: board._supply(address)
    board.start(LOAD + SYSCALL, rdi=DATA)
    assert len(board.faults) == 2, "the processor goes on after it"


def test_a_software_interrupt_is_no_exception(board: Board) -> None:
    """`int N` is a general protection fault at itself with the gate's number, where the IDT of Linux has DPL 0."""
    codes = []

    def skip(vector: int) -> None:
        codes.append(board.cpu.error_code)
        board.cpu.regs[RIP] += 2 if vector == 13 else 0

    board.on_exception = skip
    board.start(bytes.fromhex("488b07 cd0e cd06 cd80 cd20 cd03 cd04 488b03") + SYSCALL, rdi=DATA, rbx=DATA + 0x1000)
    assert board.exceptions == [
        (13, CODE + 3), (13, CODE + 5), (0x80, CODE + 9), (13, CODE + 9), (3, CODE + 13), (4, CODE + 15),
    ]  # fmt: skip
    assert codes[:2] + codes[3:4] == [14 * 8 + 2, 6 * 8 + 2, 0x20 * 8 + 2]
    assert [fault.address for fault in board.faults] == [DATA, DATA + 0x1000]
