"""Register sets of a task, as debuggers and core files have them (arch/x86/kernel/ptrace.c, asm/user_64.h, user_32.h).

A task that is loaded has its registers in the processor's image, any other in its own; `image_of` makes either
readable and writable through `kernel.cpu` for a moment.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from machine.hardware.cpu import (
    CS,
    DS,
    EFLAGS,
    ES,
    FS,
    FS_BASE,
    GS,
    GS_BASE,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
    RAX,
    RBP,
    RBX,
    RCX,
    RDI,
    RDX,
    RIP,
    RSI,
    RSP,
    SS,
    Cpu,
)

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import Task

USER_REGS64 = (
    "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi", "orig_rax",
    "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs",
)  # fmt: skip
"""`struct user_regs_struct` of x86-64, 27 words of 8 bytes."""
USER_REGS32 = (
    "ebx", "ecx", "edx", "esi", "edi", "ebp", "eax", "ds", "es", "fs", "gs", "orig_eax", "eip", "cs", "eflags", "esp",
    "ss",
)  # fmt: skip
"""`struct user_regs_struct32`, 17 words of 4 bytes."""
FXSAVE_SIZE = 512
XSTATE_SIZE = 576
"""FXSAVE area and the XSAVE header of 64 bytes: the processor has x87 and SSE, XCR0 is 3."""
XCR0 = 3
USER_I387_SIZE32 = 108
"""`struct user_i387_ia32_struct`."""
USER_FLAGS = 0x50DD5
"""Bits of EFLAGS that a debugger may change: CF PF AF ZF SF TF DF OF RF NT AC (FLAG_MASK)."""

_GENERAL = {
    "rax": RAX, "rcx": RCX, "rdx": RDX, "rbx": RBX, "rsp": RSP, "rbp": RBP, "rsi": RSI, "rdi": RDI, "r8": R8, "r9": R9,
    "r10": R10, "r11": R11, "r12": R12, "r13": R13, "r14": R14, "r15": R15, "rip": RIP,
}  # fmt: skip
_GENERAL |= {"e" + name[1:]: index for name, index in _GENERAL.items() if name[1].isalpha()}
_SPECIAL = {"cs": CS, "ss": SS, "ds": DS, "es": ES, "fs": FS, "gs": GS, "fs_base": FS_BASE, "gs_base": GS_BASE}
_SEGMENTS = frozenset(("cs", "ss", "ds", "es", "fs", "gs"))
_ORIG = ("orig_rax", "orig_eax")
_EMPTY_TAG = 3


@contextmanager
def image_of(kernel: Kernel, task: Task) -> Iterator[Cpu]:
    """The processor with the registers of `task` in its image; what is changed stays the task's.

    Nothing else may run in between: no sleeping inside the `with`.
    """
    cpu = kernel.cpu
    if kernel.sched.loaded is task or not task.image:
        yield cpu
        return
    saved = bytes(cpu.image)
    cpu.image[:] = task.image
    try:
        yield cpu
    finally:
        task.image[:] = cpu.image
        cpu.image[:] = saved


def names_of(bits: int) -> Sequence[str]:
    """The general registers of a program of `bits`, in the order of its user_regs_struct."""
    return USER_REGS64 if bits == 64 else USER_REGS32


def get_user_regs(kernel: Kernel, task: Task) -> dict[str, int]:
    """The general registers by name (genregs_get).  Inside a system call orig_rax is its number, else all ones."""
    bits = task.abi.bits
    mask = (1 << bits) - 1
    with image_of(kernel, task) as cpu:
        return {name: _get(cpu, task, name) & mask for name in names_of(bits)}


def _get(cpu: Cpu, task: Task, name: str) -> int:
    if name in _GENERAL:
        return cpu.regs[_GENERAL[name]]
    if name in _ORIG:
        return task.orig_ax
    if name == "eflags":
        return cpu.eflags() & 0xFFFF_FFFF
    value = cpu.get_register(_SPECIAL[name])
    return value & 0xFFFF if name in _SEGMENTS else value


def set_user_reg(kernel: Kernel, task: Task, name: str, value: int) -> bool:
    """Write one general register; False for one that a debugger can't change (the segments' selectors).

    A negative orig_rax says that the task is in no system call, so that none is restarted.
    """
    bits = task.abi.bits
    value &= (1 << bits) - 1
    with image_of(kernel, task) as cpu:
        if name in _GENERAL:
            cpu.regs[_GENERAL[name]] = value
        elif name in _ORIG:
            task.orig_ax = -1 if value >> (bits - 1) else value
        elif name == "eflags":
            cpu.set_register(EFLAGS, cpu.eflags() & ~USER_FLAGS | value & USER_FLAGS)
        elif name in ("fs_base", "gs_base") and value < task.mm.task_size:
            cpu.set_register(_SPECIAL[name], value)
        else:
            return value == _get(cpu, task, name)
    return True


def pack_user_regs(bits: int, regs: dict[str, int]) -> bytes:
    """`struct user_regs_struct`: 216 bytes of x86-64, 68 of i386."""
    names = names_of(bits)
    return struct.pack(f"<{len(names)}{'Q' if bits == 64 else 'I'}", *(regs[name] for name in names))


def get_fxsave(kernel: Kernel, task: Task) -> bytes:
    """The FXSAVE area of the task, 512 bytes (xfpregs_get)."""
    with image_of(kernel, task) as cpu:
        return cpu.fxsave()


def set_fxsave(kernel: Kernel, task: Task, area: bytes) -> None:
    """Load the x87 and SSE state of the task from a FXSAVE area; MXCSR must be valid (fpu.MXCSR_MASK)."""
    with image_of(kernel, task) as cpu:
        cpu.fxrstor(area)


def pack_xstate(fxsave: bytes) -> bytes:
    """NT_X86_XSTATE, 576 bytes: XCR0 in the bytes that FXSAVE leaves to software, XSTATE_BV in the header."""
    area = bytearray(fxsave.ljust(XSTATE_SIZE, b"\0"))
    struct.pack_into("<Q", area, 464, XCR0)
    struct.pack_into("<Q", area, FXSAVE_SIZE, XCR0)
    return bytes(area)


def pack_i387(fxsave: bytes) -> bytes:
    """`struct user_i387_ia32_struct`, 108 bytes, from a FXSAVE area (convert_from_fxsr)."""
    control, status, valid, opcode, fip, fdp = struct.unpack_from("<HHBxHQQ", fxsave)
    top = status >> 11 & 7
    tags = 0
    for number in range(8):
        tag = _tag(fxsave, number - top & 7) if valid >> number & 1 else _EMPTY_TAG
        tags |= tag << 2 * number
    head = (control | 0xFFFF0000, status | 0xFFFF0000, tags | 0xFFFF0000)
    pointers = (fip & 0xFFFF_FFFF, fip >> 32 & 0xFFFF | opcode << 16, fdp & 0xFFFF_FFFF, fdp >> 32 & 0xFFFF)
    stack = b"".join(fxsave[32 + 16 * i : 42 + 16 * i] for i in range(8))
    return struct.pack("<7I", *head, *pointers) + stack


def _tag(fxsave: bytes, stack_index: int) -> int:
    """What the x87's own tag word says of a register that is in use: 0 valid, 1 zero, 2 special (SDM vol. 1 §8.1.7)."""
    significand, exponent = struct.unpack_from("<QH", fxsave, 32 + 16 * stack_index)
    exponent &= 0x7FFF
    if exponent == 0x7FFF:
        return 2
    if exponent == 0:
        return 2 if significand else 1
    return 0 if significand >> 63 else 2
