"""The registers of a stopped task, as a debugger sees them (arch/x86/kernel/ptrace.c, asm/user_{32,64}.h).

Each function works on the image in `cpu`; `of_task` puts another task's there for a moment.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
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
from machine.hardware.fpu import FXSAVE_SIZE, MXCSR_MASK
from machine.hardware.gdt import USER_DS
from machine.kernel.abi.errno import EINVAL, EIO, EPERM, Errno
from machine.kernel.task.task import task_struct

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

TF = 0x100
FLAG_MASK = 0x54DD5
"""Flags that a debugger may change: CF PF AF ZF SF TF DF OF NT RF AC (ptrace.c: FLAG_MASK)."""
TASK_SIZE_MAX = 0x7FFF_FFFF_F000

_R12, _R13, _R14, _R15 = 12, 13, 14, 15
_GENERAL64 = {
    0: _R15, 1: _R14, 2: _R13, 3: _R12, 4: RBP, 5: RBX, 6: R11, 7: R10, 8: R9, 9: R8, 10: RAX, 11: RCX, 12: RDX,
    13: RSI, 14: RDI, 16: RIP, 19: RSP,
}  # fmt: skip
_ORIG64, _CS64, _FLAGS64, _SS64 = 15, 17, 18, 20
_BASES64 = {21: FS_BASE, 22: GS_BASE}
_DATA64 = {23: DS, 24: ES, 25: FS, 26: GS}
WORDS64 = 27
"""Members of `struct user_regs_struct`."""
_GENERAL32 = {0: RBX, 1: RCX, 2: RDX, 3: RSI, 4: RDI, 5: RBP, 6: RAX, 12: RIP, 15: RSP}
_DATA32 = {7: DS, 8: ES, 9: FS, 10: GS}
_ORIG32, _CS32, _FLAGS32, _SS32 = 11, 13, 14, 16
WORDS32 = 17


@contextmanager
def of_task(kernel: Kernel, task: task_struct) -> Iterator[Cpu]:
    """The processor with the registers of `task`, which does not run; changes are kept."""
    cpu = kernel.cpu
    if kernel.sched.loaded is task:
        yield cpu
        return
    mine = bytes(cpu.image)
    cpu.image[:] = task.image
    try:
        yield cpu
    finally:
        task.image[:] = cpu.image
        cpu.image[:] = mine


def words_of(wide: bool) -> int:
    """How many members `user_regs_struct` of x86-64 (`wide`) or i386 has."""
    return WORDS64 if wide else WORDS32


def get_word(cpu: Cpu, task: task_struct, index: int, wide: bool) -> int:
    """Member `index` of the task's `user_regs_struct` in the form of x86-64 or i386 (getreg, getreg32)."""
    if not wide:
        return _get_word32(cpu, task, index) & 0xFFFFFFFF
    if index in _GENERAL64:
        return cpu.regs[_GENERAL64[index]]
    if index == _ORIG64:
        return task.orig_ax & 0xFFFF_FFFF_FFFF_FFFF
    if index == _FLAGS64:
        return _flags(cpu, task)
    if index in _BASES64:
        return cpu.get_register(_BASES64[index])
    return cpu.get_register({_CS64: CS, _SS64: SS}.get(index) or _DATA64[index]) & 0xFFFF


def _get_word32(cpu: Cpu, task: task_struct, index: int) -> int:
    if index in _GENERAL32:
        return cpu.regs[_GENERAL32[index]]
    if index == _ORIG32:
        return task.orig_ax
    if index == _FLAGS32:
        return _flags(cpu, task)
    return cpu.get_register({_CS32: CS, _SS32: SS}.get(index) or _DATA32[index]) & 0xFFFF


def _flags(cpu: Cpu, task: task_struct) -> int:
    flags = cpu.eflags()
    return flags & ~TF if task.ptrace is not None and task.ptrace.forced_tf else flags


def arch_prctl(kernel: Kernel, task: task_struct, target: task_struct, address: int, option: int) -> int:
    """PTRACE_ARCH_PRCTL: arch_prctl(2) for the task that is traced.  EINVAL: no such option; EPERM: no user address."""
    from machine.kernel.syscalls.misc import ARCH_GET_FS, ARCH_GET_GS, ARCH_SET_FS, ARCH_SET_GS

    register = FS_BASE if option in (ARCH_GET_FS, ARCH_SET_FS) else GS_BASE
    if task.abi.bits == 32:
        raise Errno(EIO)
    if option in (ARCH_GET_FS, ARCH_GET_GS):
        with of_task(kernel, target) as cpu:
            base = cpu.get_register(register)
        task.mm.put_u64(address, base)
    elif option in (ARCH_SET_FS, ARCH_SET_GS):
        if address >= target.mm.task_size:
            raise Errno(EPERM)
        with of_task(kernel, target) as cpu:
            cpu.set_register(register, address)
    else:
        raise Errno(EINVAL)
    return 0


def set_word(cpu: Cpu, task: task_struct, index: int, value: int, wide: bool) -> None:
    """Change member `index` (putreg, putreg32).  EIO: a value that the processor would not take."""
    general = _GENERAL64 if wide else _GENERAL32
    if index in general:
        cpu.regs[general[index]] = value
    elif index == (_ORIG64 if wide else _ORIG32):
        task.orig_ax = (value & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
    elif index == (_FLAGS64 if wide else _FLAGS32):
        _set_flags(cpu, task, value)
    elif wide and index in _BASES64:
        if value >= TASK_SIZE_MAX:
            raise Errno(EIO)
        cpu.set_register(_BASES64[index], value)
    else:
        _set_segment(cpu, task, index, value, wide)


def _set_flags(cpu: Cpu, task: task_struct, value: int) -> None:
    if task.ptrace is not None:
        if value & TF:
            task.ptrace.forced_tf = False
        elif task.ptrace.forced_tf:
            value |= TF
    cpu.set_register(EFLAGS, cpu.eflags() & ~FLAG_MASK | value & FLAG_MASK)


def _set_segment(cpu: Cpu, task: task_struct, index: int, value: int, wide: bool) -> None:
    """Selectors are of ring 3 (set_segment_reg), and one without a descriptor becomes 0 when the task runs.

    The bases of FS and GS stay, as on a processor with FSGSBASE.  Another code segment is refused here.
    """
    number = ({_CS64: CS, _SS64: SS} if wide else {_CS32: CS, _SS32: SS}).get(index)
    if number is None:
        number = (_DATA64 if wide else _DATA32)[index]
    value &= 0xFFFF
    if value and value & 3 != 3:
        raise Errno(EIO)
    if value == cpu.get_register(number) & 0xFFFF:
        return
    if number in (CS, SS):
        raise Errno(EIO)
    present = value == USER_DS or (12 <= value >> 3 <= 14 and task.tls_array[(value >> 3) - 12] >> 47 & 1)
    cpu.set_selector(number, value if present else 0)


def general(cpu: Cpu, task: task_struct, wide: bool) -> bytes:
    """The whole `user_regs_struct` (NT_PRSTATUS)."""
    count = words_of(wide)
    words = (get_word(cpu, task, index, wide) for index in range(count))
    return struct.pack(f"<{count}{'Q' if wide else 'I'}", *words)


def set_general(cpu: Cpu, task: task_struct, data: bytes, wide: bool) -> None:
    """Load as much of a `user_regs_struct` as `data` has, whole words."""
    size = 8 if wide else 4
    for index in range(min(len(data) // size, words_of(wide))):
        set_word(cpu, task, index, int.from_bytes(data[index * size : (index + 1) * size], "little"), wide)


def set_fxsave(cpu: Cpu, data: bytes) -> None:
    """Load an FXSAVE area (NT_PRFPREG of x86-64, NT_PRXFPREG).  EINVAL: not 512 bytes, or reserved bits of MXCSR."""
    if len(data) < FXSAVE_SIZE or int.from_bytes(data[24:28], "little") & ~MXCSR_MASK:
        raise Errno(EINVAL)
    cpu.fxrstor(data[:FXSAVE_SIZE])


# -- the x87 state as FSAVE stores it, `struct user_i387_struct` of i386 -----------------------------------

_I387 = struct.Struct("<7I")
I387_SIZE = 108
_EMPTY = 3


def i387(cpu: Cpu) -> bytes:
    """The 108 bytes of FSAVE (convert_from_fxsr)."""
    area = cpu.fxsave()
    fcw, fsw, valid, fop, fip, fdp = struct.unpack_from("<HHBxHQQ", area)
    top = fsw >> 11 & 7
    tags = 0
    for physical in range(8):
        tag = _EMPTY
        if valid >> physical & 1:
            tag = _tag(area[32 + 16 * (physical - top & 7) :][:10])
        tags |= tag << 2 * physical
    head = _I387.pack(
        fcw | 0xFFFF0000, fsw | 0xFFFF0000, tags | 0xFFFF0000, fip & 0xFFFFFFFF,
        cpu.get_register(CS) & 0xFFFF | fop << 16, fdp & 0xFFFFFFFF, cpu.get_register(DS) & 0xFFFF | 0xFFFF0000,
    )  # fmt: skip
    return head + b"".join(area[32 + 16 * i : 42 + 16 * i] for i in range(8))


def _tag(value: bytes) -> int:
    """Valid 0, zero 1, special 2 (twd_fxsr_to_i387)."""
    mantissa, exponent = int.from_bytes(value[:8], "little"), int.from_bytes(value[8:], "little") & 0x7FFF
    if exponent == 0x7FFF:
        return 2
    if exponent == 0:
        return 2 if mantissa else 1
    return 0 if mantissa >> 63 else 2


def set_i387(cpu: Cpu, data: bytes) -> None:
    """Load what FSAVE stored (convert_to_fxsr)."""
    if len(data) < I387_SIZE:
        raise Errno(EINVAL)
    fcw, fsw, tags, fip, fcs, fdp, _fos = _I387.unpack_from(data)
    area = bytearray(cpu.fxsave())
    valid = sum(1 << i for i in range(8) if tags >> 2 * i & 3 != _EMPTY)
    struct.pack_into("<HHBxHQQ", area, 0, fcw & 0xFFFF, fsw & 0xFFFF, valid, fcs >> 16 & 0x7FF, fip, fdp)
    for i in range(8):
        area[32 + 16 * i : 42 + 16 * i] = data[28 + 10 * i : 38 + 10 * i]
    cpu.fxrstor(bytes(area))
