"""Two calls of the engine that leave "an exception is being delivered" behind: why neither is used.

Both look up an address in the present tables.  When it is not mapped there, the look-up's own page fault
stays in the register image, and the guest's next real page fault arrives as a double fault.
"""

from __future__ import annotations

from machine.hardware.cpu import RAX, RIP, Cpu
from machine.hardware.paging import PageTables
from tests.engine.board import CODE, CODE_BITS, DATA, STACK, SYSCALL, Board

INC_FOREVER = b"\x48\xff\xc0" * 3 + b"\xeb\xf5"
LOAD = b"\x48\x8b\x07" + SYSCALL  # mov rax, [rdi]
ELSEWHERE = 0x800000
DOUBLE_FAULT = 8


def start_raw(cpu: Cpu, rip: int, count: int) -> None:
    """`Cpu.run`, with the engine's instruction count."""
    cpu.regs[RIP] = rip
    cpu._restore_raw(cpu._uch_value, cpu._ctx_value)
    if cpu._flush_wanted:
        cpu._flush_now()
    assert cpu._start_raw(cpu._uch, rip, 0, 0, count) == 0
    cpu._save_raw(cpu._uch_value, cpu._ctx_value)


def other_tables(board: Board) -> PageTables:
    """Tables in which only `ELSEWHERE` is mapped: what the next task has."""
    board.tables = board.new_tables()
    board.map(ELSEWHERE, CODE_BITS, content=LOAD)
    board.cpu.switch_tables(board.tables.cr3)
    board.cpu.regs[7] = DATA
    return board.tables


def prepared() -> Board:
    board = Board()
    board.start(SYSCALL)
    board.map(CODE + 0x1000, CODE_BITS, content=INC_FOREVER)
    board.cpu.regs[RAX] = 0
    board.cpu.regs[4] = STACK
    return board


def test_a_count_is_kept() -> None:
    board = prepared()
    start_raw(board.cpu, CODE + 0x1000, 5)
    assert (board.cpu.regs[RAX], board.cpu.regs[RIP]) == (4, CODE + 0x1003)


def test_a_count_leaves_an_exception_in_flight_for_the_next_task() -> None:
    """The hook that counts is taken away at the next start without a count, by looking up the counted code."""
    board = prepared()
    start_raw(board.cpu, CODE + 0x1000, 5)
    other_tables(board)
    start_raw(board.cpu, ELSEWHERE, 0)
    assert [vector for vector, _ in board.exceptions] == [DOUBLE_FAULT] and not board.faults


def test_without_a_count_nothing_is_left() -> None:
    board = prepared()
    other_tables(board)
    start_raw(board.cpu, ELSEWHERE, 0)
    assert [fault.address for fault in board.faults] == [DATA] and not board.exceptions


def test_removing_cached_code_at_an_absent_address_leaves_an_exception_in_flight() -> None:
    board = prepared()
    cpu = board.cpu
    other_tables(board)
    start_raw(cpu, ELSEWHERE + 3, 0)  # the system call: the new tables are loaded
    assert cpu._ints[cpu._exception_at] == -1
    cpu._uc.ctl_remove_cache(CODE + 0x1000, CODE + 0x1010)
    cpu._save_raw(cpu._uch_value, cpu._ctx_value)
    assert cpu._ints[cpu._exception_at] == 14


def test_dropping_all_code_leaves_nothing(board: Board) -> None:
    board.start(LOAD, rdi=DATA)
    board.cpu.drop_code()
    board.cpu._flush_now()
    board.cpu._save_raw(board.cpu._uch_value, board.cpu._ctx_value)
    assert board.cpu._ints[board.cpu._exception_at] == -1
    board.start(LOAD, rdi=DATA + 0x1000)
    assert [fault.address for fault in board.faults] == [DATA, DATA + 0x1000] and not board.exceptions
