"""The signal frames of i386 programs (arch/x86/kernel/signal_32.c with CONFIG_IA32_EMULATION, sigframe.h).

Without SA_SIGINFO a program gets the classic frame (`struct sigframe_ia32`), with it
`struct rt_sigframe_ia32`.  Both have the FP state above them: 112 bytes in FSAVE's layout, then the
FXSAVE image at a multiple of 64.

The return address is SA_RESTORER's, which musl always gives; without one it is the vDSO's.  `retcode`
inside the frame itself is there for debuggers, and the last resort of a program without a vDSO.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from machine.hardware.cpu import CS, DS, EFLAGS, ES, FS, GS, RAX, RBP, RBX, RCX, RDI, RDX, RIP, RSI, RSP, SS
from machine.hardware.gdt import USER32_CS, USER_DS
from machine.kernel.abi.errno import Errno
from machine.kernel.abi.signal import SA_RESTORER, SA_SIGINFO
from machine.kernel.task.altstack import FREGS_SIZE, XSTATE_SIZE, do_sigaltstack, get_sigframe
from machine.kernel.task.sigframe64 import (
    CLEARED_EFLAGS,
    FIX_EFLAGS,
    UC_FP_XSTATE,
    bad_frame,
    finish_return,
    fpstate_bytes,
    restore_fpstate,
)
from machine.kernel.task.sighand import k_sigaction
from machine.kernel.task.siginfo import SIZE as SIGINFO_SIZE
from machine.kernel.task.siginfo import siginfo
from machine.kernel.task.signal import set_current_blocked
from machine.kernel.task.task import task_struct
from machine.kernel.task.vdso import KERNEL_RT_SIGRETURN, KERNEL_SIGRETURN, vdso_symbol

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

_CONTEXT = struct.Struct("<4I 8I 7I 3I")
"""sigcontext_32: gs fs es ds; di si bp sp bx dx cx ax; trapno err ip cs flags sp ss; fpstate oldmask cr2."""
_ORDER = (RDI, RSI, RBP, RSP, RBX, RDX, RCX, RAX)
_SEGMENTS = (GS, FS, ES, DS)

_FPSTATE_UNUSED = 624
_SC_AT = 8
_EXTRAMASK_AT = _SC_AT + _CONTEXT.size + _FPSTATE_UNUSED
_RETCODE_AT = _EXTRAMASK_AT + 4
FRAME_SIZE = _RETCODE_AT + 8

_RT_INFO_AT = 16
_RT_UC_AT = _RT_INFO_AT + SIGINFO_SIZE
_UC_HEAD = struct.Struct("<II III")
"""uc_flags, uc_link, uc_stack."""
_RT_SC_AT = _RT_UC_AT + _UC_HEAD.size
_RT_RETCODE_AT = _RT_SC_AT + _CONTEXT.size + 8
RT_FRAME_SIZE = _RT_RETCODE_AT + 8

_RETCODE = bytes.fromhex("58b877000000cd80")  # pop %eax; mov $__NR_sigreturn, %eax; int $0x80
_RT_RETCODE = bytes.fromhex("b8ad000000cd8000")  # mov $__NR_rt_sigreturn, %eax; int $0x80

_FREGS = struct.Struct("<7I 80s HH")
"""FSAVE's environment: cwd swd twd fip fcs foo fos, eight registers of 10 bytes, status, magic."""


def _fregs_bytes(kernel: Kernel, fxsave: bytes) -> bytes:
    """The FSAVE form of an FXSAVE image (convert_from_fxsr, save_fsave_header)."""
    control, status, valid, opcode, fip, fdp = struct.unpack_from("<HHBxHQQ", fxsave)
    registers = b"".join(fxsave[32 + 16 * i : 42 + 16 * i] for i in range(8))
    cpu = kernel.cpu
    return _FREGS.pack(
        control | 0xFFFF0000, status | 0xFFFF0000, _full_tags(fxsave, status, valid) | 0xFFFF0000,
        fip & 0xFFFFFFFF, cpu.get_register(CS) & 0xFFFF | opcode << 16, fdp & 0xFFFFFFFF,
        cpu.get_register(DS) & 0xFFFF | 0xFFFF0000, registers, status, 0,
    )  # fmt: skip


def _full_tags(fxsave: bytes, status: int, valid: int) -> int:
    """The two-bit tags: 0 valid, 1 zero, 2 special, 3 empty (twd_fxsr_to_i387)."""
    top = status >> 11 & 7
    tags = 0
    for i in range(8):
        tag = 3
        if valid >> i & 1:
            at = 32 + 16 * (i - top & 7)
            mantissa = int.from_bytes(fxsave[at : at + 8], "little")
            exponent = int.from_bytes(fxsave[at + 8 : at + 10], "little") & 0x7FFF
            if exponent == 0x7FFF:
                tag = 2
            elif exponent == 0:
                tag = 2 if mantissa else 1
            else:
                tag = 0 if mantissa >> 63 else 2
        tags |= tag << (2 * i)
    return tags


def _write_fpstate(kernel: Kernel, task: task_struct, fpstate: int) -> None:
    area = fpstate_bytes(kernel, XSTATE_SIZE + 4 + FREGS_SIZE)
    task.mm.copy_to_user(fpstate, _fregs_bytes(kernel, area) + area)


def _restore_fpstate(kernel: Kernel, task: task_struct, fpstate: int) -> bool:
    """x87 from the FSAVE part, SSE from the FXSAVE part behind it (convert_to_fxsr)."""
    if not fpstate:
        return restore_fpstate(kernel, task, 0)
    if not restore_fpstate(kernel, task, fpstate + FREGS_SIZE, compat=True):
        return False
    try:
        raw = task.mm.copy_from_user(fpstate, FREGS_SIZE)
    except Errno:
        return False
    control, status, tags, fip, fcs, foo, _fos, registers, _status, _magic = _FREGS.unpack(raw)
    area = bytearray(kernel.cpu.fxsave())
    valid = sum(1 << i for i in range(8) if tags >> (2 * i) & 3 != 3)
    struct.pack_into(
        "<HHBxHQQ", area, 0, control & 0xFFFF, status & 0xFFFF, valid, fcs >> 16 & 0x7FF, fip, foo
    )  # fmt: skip
    for i in range(8):
        area[32 + 16 * i : 42 + 16 * i] = registers[10 * i : 10 * i + 10]
    kernel.cpu.fxrstor(bytes(area))
    return True


def _context_bytes(kernel: Kernel, task: task_struct, oldset: int, fpstate: int) -> bytes:
    cpu, regs = kernel.cpu, kernel.cpu.regs
    trapno, error_code, cr2 = task.thread
    sp = regs[RSP] & 0xFFFFFFFF
    return _CONTEXT.pack(
        *[cpu.get_register(segment) & 0xFFFF for segment in _SEGMENTS],
        *[regs[i] & 0xFFFFFFFF for i in _ORDER],
        trapno, error_code & 0xFFFFFFFF, regs[RIP] & 0xFFFFFFFF, cpu.get_register(CS) & 0xFFFF,
        cpu.get_register(EFLAGS) & 0xFFFFFFFF, sp, cpu.get_register(SS) & 0xFFFF,
        fpstate, oldset & 0xFFFFFFFF, cr2 & 0xFFFFFFFF,
    )  # fmt: skip


def setup_frame32(kernel: Kernel, task: task_struct, info: siginfo, action: k_sigaction, oldset: int) -> bool:
    """Write the frame that the action asks for and point the registers at the handler; False if not possible."""
    rt = bool(action.flags & SA_SIGINFO)
    cpu = kernel.cpu
    regs = cpu.regs
    ss_is_user = cpu.get_register(SS) & 0xFFFF == USER_DS
    size = RT_FRAME_SIZE if rt else FRAME_SIZE
    frame, fpstate = get_sigframe(task, action, regs[RSP] & 0xFFFFFFFF, ss_is_user, size)
    if not frame:
        return False
    context = _context_bytes(kernel, task, oldset, fpstate)
    try:
        _write_fpstate(kernel, task, fpstate)
        if rt:
            _write_rt_frame(task, frame, info, action, oldset, context)
        else:
            _write_frame(task, frame, info, action, oldset, context)
    except Errno:
        return False
    regs[RAX] = info.signo
    regs[RDX] = frame + _RT_INFO_AT if rt else 0
    regs[RCX] = frame + _RT_UC_AT if rt else 0
    regs[RIP] = action.handler & 0xFFFFFFFF
    regs[RSP] = frame
    cpu.set_register(EFLAGS, cpu.get_register(EFLAGS) & ~CLEARED_EFLAGS)
    for segment in (DS, ES, SS):
        if cpu.get_register(segment) & 0xFFFF != USER_DS:
            cpu.load_segment(segment, USER_DS, cpu.gdt[USER_DS >> 3])
    if cpu.get_register(CS) & 0xFFFF != USER32_CS:
        cpu.load_code_segment(USER32_CS)
    return True


def _restorer(action: k_sigaction, retcode: int) -> int:
    return action.restorer & 0xFFFFFFFF if action.flags & SA_RESTORER else retcode


def _write_frame(
    task: task_struct, frame: int, info: siginfo, action: k_sigaction, oldset: int, context: bytes
) -> None:
    pretcode = _restorer(action, vdso_symbol(task.mm, KERNEL_SIGRETURN) or frame + _RETCODE_AT)
    task.mm.copy_to_user(frame, struct.pack("<Ii", pretcode, info.signo) + context)
    task.mm.copy_to_user(frame + _EXTRAMASK_AT, struct.pack("<I", oldset >> 32) + _RETCODE)


def _write_rt_frame(
    task: task_struct, frame: int, info: siginfo, action: k_sigaction, oldset: int, context: bytes
) -> None:
    pretcode = _restorer(action, vdso_symbol(task.mm, KERNEL_RT_SIGRETURN) or frame + _RT_RETCODE_AT)
    head = struct.pack("<IiII", pretcode, info.signo, frame + _RT_INFO_AT, frame + _RT_UC_AT)
    stack = _UC_HEAD.pack(
        UC_FP_XSTATE, 0, task.sas_ss_sp & 0xFFFFFFFF, task.sas_ss_flags & 0xFFFFFFFF, task.sas_ss_size & 0xFFFFFFFF
    )
    mask = struct.pack("<Q", oldset)
    task.mm.copy_to_user(frame, head + info.pack(32) + stack + context + mask + _RT_RETCODE)


def _restore_context(kernel: Kernel, task: task_struct, raw: bytes) -> bool:
    cpu, regs = kernel.cpu, kernel.cpu.regs
    values = _CONTEXT.unpack(raw)
    for segment, value in zip(_SEGMENTS, values[:4], strict=True):
        _load_segment(kernel, segment, value & 0xFFFF)
    for index, value in zip(_ORDER, values[4:12], strict=True):
        regs[index] = value
    _trapno, _err, ip, cs, flags, _sp, ss = values[12:19]
    regs[RIP] = ip
    cpu.set_register(EFLAGS, cpu.get_register(EFLAGS) & ~FIX_EFLAGS | flags & FIX_EFLAGS)
    if not _restore_fpstate(kernel, task, values[19]):
        return False
    finish_return(kernel, task, cs & 0xFFFF | 3, ss & 0xFFFF | 3)
    return True


def _load_segment(kernel: Kernel, segment: int, selector: int) -> None:
    """Reload a data segment register that the handler's frame changed; a bad selector becomes null."""
    cpu = kernel.cpu
    if selector & ~3:
        selector |= 3
    if selector == cpu.get_register(segment) & 0xFFFF:
        return
    index = selector >> 3
    valid = selector == USER_DS or (12 <= index <= 14 and cpu.gdt[index] >> 47 & 1)
    cpu.load_segment(segment, selector if valid else 0, cpu.gdt[index] if valid else 0)


def sigreturn32(kernel: Kernel, task: task_struct) -> int:
    """sigreturn: undo the classic frame.  Returns the EAX of the frame."""
    task.restart, task.orig_ax = None, -1
    frame = kernel.cpu.regs[RSP] - 8 & 0xFFFFFFFF
    try:
        raw = task.mm.copy_from_user(frame + _SC_AT, _CONTEXT.size)
        extra = task.mm.get_u32(frame + _EXTRAMASK_AT)
    except Errno:
        return bad_frame(kernel, task)
    oldmask = int.from_bytes(raw[-8:-4], "little")
    set_current_blocked(task, oldmask | extra << 32)
    if not _restore_context(kernel, task, raw):
        return bad_frame(kernel, task)
    return kernel.cpu.regs[RAX]


def rt_sigreturn32(kernel: Kernel, task: task_struct) -> int:
    """rt_sigreturn: undo the frame with siginfo.  Returns the EAX of the frame."""
    task.restart, task.orig_ax = None, -1
    frame = kernel.cpu.regs[RSP] - 4 & 0xFFFFFFFF
    try:
        raw = task.mm.copy_from_user(frame + _RT_UC_AT, _RT_RETCODE_AT - _RT_UC_AT)
    except Errno:
        return bad_frame(kernel, task)
    _flags, _link, ss_sp, ss_flags, ss_size = _UC_HEAD.unpack_from(raw)
    context = raw[_UC_HEAD.size : _UC_HEAD.size + _CONTEXT.size]
    set_current_blocked(task, int.from_bytes(raw[-8:], "little"))
    if not _restore_context(kernel, task, context):
        return bad_frame(kernel, task)
    try:
        do_sigaltstack(task, kernel.cpu.regs[RSP], ss_sp, ss_flags, ss_size)
    except Errno:
        pass  # restore_altstack ignores what sigaltstack would refuse
    return kernel.cpu.regs[RAX]
