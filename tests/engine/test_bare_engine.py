"""Facts about the engine itself that decided against something: tried without `Cpu`."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

import pytest
from unicorn import UC_PROT_ALL, Uc, UcError
from unicorn.unicorn_const import (
    UC_ARCH_X86,
    UC_HOOK_BLOCK,
    UC_HOOK_INSN,
    UC_HOOK_INTR,
    UC_HOOK_MEM_FETCH_UNMAPPED,
    UC_MODE_16,
    UC_MODE_64,
)
from unicorn.x86_const import (
    UC_X86_INS_OUT,
    UC_X86_REG_CS,
    UC_X86_REG_DR0,
    UC_X86_REG_DR7,
    UC_X86_REG_EAX,
    UC_X86_REG_FPCW,
    UC_X86_REG_MXCSR,
    UC_X86_REG_RDI,
    UC_X86_REG_RIP,
)

CODE, DEVICE = 0x1000, 0x10000


def engine(code: bytes) -> Uc:
    """An engine without paging, with `code` at CODE."""
    uc = Uc(UC_ARCH_X86, UC_MODE_64)
    uc.mem_map(CODE, 0x1000, UC_PROT_ALL)
    uc.mem_write(CODE, code)
    return uc


@pytest.mark.parametrize(
    ("code", "offset", "seen"),
    [
        (b"\x48\x8b\x07", 0, [("R", 0, 4), ("R", 4, 4)]),  # mov rax, [rdi]
        (b"\x8b\x07", 0, [("R", 0, 4)]),  # mov eax, [rdi]
        (b"\x8b\x07", 1, [("R", 0, 4), ("R", 4, 4)]),
        (b"\x66\x89\x07", 3, [("W", 3, 1), ("W", 4, 1)]),  # mov [rdi], ax
    ],
    ids=["8 bytes", "4 bytes", "unaligned load", "unaligned store"],
)
def test_mmio_map_cuts_accesses_in_pieces(code: bytes, offset: int, seen: list[tuple[str, int, int]]) -> None:
    """Why a register block is no `mmio_map`: what the instruction did can't be told any more."""
    uc = engine(code)
    accesses: list[tuple[str, int, int]] = []

    def read(_uc: Any, at: int, size: int, _data: Any) -> int:
        accesses.append(("R", at, size))
        return 0

    def write(_uc: Any, at: int, size: int, _value: int, _data: Any) -> None:
        accesses.append(("W", at, size))

    uc.mmio_map(DEVICE, 0x1000, read, None, write, None)
    uc.reg_write(UC_X86_REG_RDI, DEVICE + offset)
    uc.emu_start(CODE, CODE + len(code))
    assert sorted(accesses) == seen


def test_the_instruction_pointer_of_an_mmio_access_is_stale() -> None:
    uc = engine(b"\x90\x90\x90\x8b\x07")
    where: list[int] = []

    def read(uc: Any, _at: int, _size: int, _data: Any) -> int:
        where.append(uc.reg_read(UC_X86_REG_RIP))
        return 0

    uc.mmio_map(DEVICE, 0x1000, read, None, None, None)
    uc.reg_write(UC_X86_REG_RDI, DEVICE)
    uc.emu_start(CODE, CODE + 5)
    assert where == [CODE], "the block's start, not CODE + 3"


def test_without_exits_a_jump_to_zero_ends_the_run() -> None:
    """`until` is an address, and 0 is the one that a program with a null pointer calls."""
    code = b"\x31\xc0\xff\xe0"  # xor eax, eax; jmp rax
    uc = engine(code)
    uc.emu_start(CODE, 0)
    assert uc.reg_read(UC_X86_REG_RIP) == 0
    uc = engine(code)
    uc.ctl_exits_enabled(True)
    uc.ctl_set_exits([])
    fetched: list[int] = []
    uc.hook_add(UC_HOOK_MEM_FETCH_UNMAPPED, lambda _uc, _kind, address, *_rest: bool(fetched.append(address)))
    with pytest.raises(UcError):
        uc.emu_start(CODE, 0)
    assert fetched == [0]


def test_a_fresh_engine_has_no_floating_point_defaults() -> None:
    """Exec must set them: with 0 the precision is single and every exception is unmasked."""
    uc = engine(b"\x90")
    assert (uc.reg_read(UC_X86_REG_FPCW), uc.reg_read(UC_X86_REG_MXCSR)) == (0, 0)


def test_watchpoints_of_the_debug_registers_do_not_fire() -> None:
    """Why a debugger's watch is page protection."""
    uc = engine(b"\x89\x07\x90")  # mov [rdi], eax
    uc.mem_map(DEVICE, 0x1000, UC_PROT_ALL)
    vectors: list[int] = []
    uc.hook_add(UC_HOOK_INTR, lambda _uc, vector, _data: vectors.append(vector))
    uc.reg_write(UC_X86_REG_DR0, DEVICE)
    uc.reg_write(UC_X86_REG_DR7, 0xD0001)  # 4 bytes, write, local
    uc.reg_write(UC_X86_REG_RDI, DEVICE)
    uc.emu_start(CODE, CODE + 3)
    assert vectors == []


def test_an_exception_in_a_hook_comes_out_of_the_bindings_emu_start() -> None:
    """The binding keeps it and stops; `Cpu`, whose hooks go past the binding, does the same for itself."""
    uc = engine(b"\x90\x90")

    def broken(*_args: Any) -> None:
        raise LookupError("mine")

    uc.hook_add(UC_HOOK_BLOCK, broken)
    with pytest.raises(LookupError, match="mine"):
        uc.emu_start(CODE, CODE + 2)


def test_real_mode_in_a_second_engine_over_the_same_memory() -> None:
    """Firmware: a ROM at 0xf0000, in and out through a hook, RAM shared with whoever else has the buffer."""
    buffer = mmap.mmap(-1, 1 << 20)
    memory = memoryview(buffer)
    uc = Uc(UC_ARCH_X86, UC_MODE_16)
    uc.mem_map_ptr(0, 1 << 20, UC_PROT_ALL, ctypes.addressof(ctypes.c_char.from_buffer(buffer)))
    code = b"\xb0\x5a" + b"\xe6\x80" + b"\xa2\x00\x05" + b"\xf4"  # mov al, 0x5a; out 0x80, al; mov [0x500], al; hlt
    memory[0xF0000 : 0xF0000 + len(code)] = code
    ports: list[tuple[int, int, int]] = []

    def out(_uc: Any, port: int, size: int, value: int, _data: Any) -> None:
        ports.append((port, size, value))

    uc.hook_add(UC_HOOK_INSN, out, None, 1, 0, UC_X86_INS_OUT)
    uc.reg_write(UC_X86_REG_CS, 0xF000)
    uc.emu_start(0xF0000, 0xF0007)
    assert ports == [(0x80, 1, 0x5A)] and memory[0x500] == 0x5A
    assert uc.reg_read(UC_X86_REG_EAX) & 0xFF == 0x5A
