"""Physical memory: whose addresses the engine's calls take, what nobody claims, and what size costs."""

from __future__ import annotations

import ctypes
import gc
import mmap
import resource
import threading
import time
from pathlib import Path

import pytest
from unicorn import UC_PROT_ALL, Uc
from unicorn.unicorn_const import UC_ARCH_X86, UC_HOOK_MEM_READ_UNMAPPED, UC_HOOK_MEM_UNMAPPED, UC_MODE_64
from unicorn.x86_const import UC_X86_REG_CR4

from machine.hardware.cpu import GENERAL_PROTECTION, RAX, RBX, RDX
from machine.hardware.ram import GiB, Ram
from tests.engine.board import DATA, DATA_BITS, SYSCALL, Board

CR4_TSD = 4
LOAD_RAX = b"\x48\x8b\x07"  # mov rax, [rdi]
LOAD_RBX = b"\x48\x8b\x1f"  # mov rbx, [rdi]
STORE_RDX = b"\x48\x89\x17"  # mov [rdi], rdx


def test_mem_read_takes_physical_addresses(board: Board) -> None:
    physical = board.map(DATA, content=b"physical")
    board.start(LOAD_RAX + SYSCALL, rdi=DATA)
    assert bytes(board.cpu._uc.mem_read(physical, 8)) == b"physical"
    assert bytes(board.cpu._uc.mem_read(DATA, 8)) == bytes(8), "DATA as a physical address is another frame"


@pytest.mark.parametrize("physical", [0xD8000000, 0xFEE00000, 0x2000000, 5 * GiB])
def test_what_nobody_claims_reads_ones_and_ignores_writes(board: Board, physical: int) -> None:
    board.map(DATA, physical=physical, bits=DATA_BITS)
    board.start(LOAD_RAX + STORE_RDX + LOAD_RBX + SYSCALL, rdi=DATA, rdx=0x1234)
    assert board.cpu.regs[RAX] == board.cpu.regs[RBX] == 0xFFFF_FFFF_FFFF_FFFF
    assert not board.faults and not board.exceptions


def test_the_isa_hole_is_memory(board: Board) -> None:
    """Video memory and ROMs live in the RAM buffer at their own addresses."""
    board.map(DATA, physical=0xA0000, bits=DATA_BITS)
    board.start(STORE_RDX + LOAD_RBX + SYSCALL, rdi=DATA, rdx=0x55AA)
    assert board.cpu.regs[RBX] == 0x55AA == board.ram.words[0xA0000 >> 3]


def test_device_memory_in_a_hole(board: Board) -> None:
    frame_buffer = mmap.mmap(-1, 0x2000)
    view = memoryview(frame_buffer)
    board.cpu.map_memory(0xE8000000, 0x2000, ctypes.addressof(ctypes.c_char.from_buffer(frame_buffer)))
    for n, physical in enumerate((0xE7FFF000, 0xE8000000, 0xE8001000, 0xE8002000)):
        board.map(DATA + (n << 12), physical=physical, bits=DATA_BITS)
    view[0x1000:0x1008] = b"8 bytes!"
    code = STORE_RDX + LOAD_RAX + b"\x48\x8b\x9f\x00\x10\x00\x00" + SYSCALL  # mov rbx, [rdi + 0x1000]
    board.start(code, rdi=DATA + 0x1000, rdx=0x77)
    assert (board.cpu.regs[RAX], board.cpu.regs[RBX]) == (0x77, int.from_bytes(b"8 bytes!", "little"))
    assert view[0] == 0x77
    for where in (DATA, DATA + 0x3000):
        board.start(LOAD_RAX + SYSCALL, rdi=where)
        assert board.cpu.regs[RAX] == 0xFFFF_FFFF_FFFF_FFFF, "both sides of it are still nobody's"


def test_device_memory_over_the_pieces_of_a_hole(board: Board) -> None:
    """The hole is kept in pieces; memory may lie across their ends (0xe8000000), and takes nobody else's."""
    memory = mmap.mmap(-1, 0x4000)
    host = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    board.cpu.map_memory(0xE7FFF000, 0x4000, host)
    for n, physical in enumerate((0xE7FFE000, 0xE7FFF000, 0xE8002000, 0xE8003000)):
        board.map(DATA + (n << 12), physical=physical, bits=DATA_BITS)
    for n, seen in ((0, 0xFFFF_FFFF_FFFF_FFFF), (1, 0), (2, 0), (3, 0xFFFF_FFFF_FFFF_FFFF)):
        board.start(LOAD_RAX + SYSCALL, rdi=DATA + (n << 12))
        assert board.cpu.regs[RAX] == seen
    for start in (0xE7FFE000, 0xE8000000, 0xE8002000):
        with pytest.raises(ValueError, match="not in a hole of the memory map"):
            board.cpu.map_memory(start, 0x2000, host)
    board.cpu.map_memory(0xE8003000, 0x1000, host)


def test_device_memory_cannot_cover_ram(board: Board) -> None:
    with pytest.raises(ValueError, match="not in a hole of the memory map"):
        board.cpu.map_memory(0x400000, 0x1000, board.ram.address)


def test_an_unmapped_hook_that_declines_ends_the_run() -> None:
    """Why holes are covered: the engine gives up with an error of its own, and nothing can be delivered."""
    uc = Uc(UC_ARCH_X86, UC_MODE_64)
    uc.mem_map(0x1000, 0x1000, UC_PROT_ALL)
    uc.mem_write(0x1000, b"\x48\x8b\x07\x90")
    seen: list[tuple[int, int]] = []
    uc.hook_add(UC_HOOK_MEM_UNMAPPED, lambda _uc, kind, address, *_rest: seen.append((kind, address)) or False)
    with pytest.raises(Exception, match="UC_ERR_READ_UNMAPPED"):
        uc.emu_start(0x1000, 0x1003)
    assert seen and seen[0][1] == 0 and UC_HOOK_MEM_READ_UNMAPPED & UC_HOOK_MEM_UNMAPPED


def test_sixteen_gibibytes_cost_nothing() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    before, started = resident(), time.process_time()
    board = Board(16 * GiB)
    taken = time.process_time() - started
    assert board.ram.limit > 16 * GiB
    assert resident() - before < 24 << 20
    assert taken < 1.0
    board.map(DATA, physical=board.ram.limit - 4096, bits=DATA_BITS)
    board.start(STORE_RDX + SYSCALL, rdi=DATA, rdx=0x99)
    assert board.ram.view[board.ram.limit - 4096] == 0x99, "the last frame is above 4 GiB"


def test_memory_is_given_back_with_the_machine() -> None:
    """A test suite makes hundreds of machines in one process."""

    def mapped() -> int:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()

    Board()
    gc.collect()
    before = mapped()
    for _ in range(8):
        Ram(1 * GiB)
        gc.collect()
    assert mapped() - before < 1 * GiB


def test_rdtsc_runs_and_traps_as_told(board: Board) -> None:
    """CR4.TSD, which is a part of the register image."""
    board.start(b"\x0f\x31" + SYSCALL)
    assert board.cpu.regs[RAX] | board.cpu.regs[RDX] and not board.exceptions
    board.load(b"\x0f\x31" + SYSCALL)
    board.cpu.set_register(UC_X86_REG_CR4, board.cpu.get_register(UC_X86_REG_CR4) | CR4_TSD)
    board.cpu.run()
    assert [vector for vector, _ in board.exceptions] == [GENERAL_PROTECTION]


def test_stop_from_another_thread(board: Board) -> None:
    """The tick of the scheduler and Ctrl-C: the engine runs without the interpreter's lock."""
    over = threading.Event()

    def stop() -> None:
        while not over.wait(0.05):  # one that comes before the engine runs is lost
            board.cpu.stop()

    timer = threading.Thread(target=stop)
    started = time.perf_counter()
    timer.start()
    board.start(b"\xff\xc0\xeb\xfc")  # inc eax, for ever
    over.set()
    timer.join()
    assert 0.04 < time.perf_counter() - started < 60
    assert board.cpu.regs[RAX] > 1000 and not board.cpu.running
