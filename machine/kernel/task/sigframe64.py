"""The signal frame of 64-bit programs (arch/x86/kernel/signal_64.c, include/uapi/asm/{sigcontext,ucontext}.h).

From the stack pointer up: the return address (SA_RESTORER), `struct ucontext`, `siginfo_t`; above it,
aligned to 64 bytes, the FXSAVE image with an XSAVE header behind it.
"""

from __future__ import annotations

import struct
from functools import cache, lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Optional

from machine.hardware.cpu import GENERAL_PROTECTION, R8, RAX, RBP, RBX, RCX, RDI, RDX, RIP, RSI, RSP
from machine.hardware.fpu import FPCW_DEFAULT, MXCSR_DEFAULT, MXCSR_MASK
from machine.hardware.gdt import USER32_CS, USER_CS, USER_DS
from machine.kernel.abi.errno import Errno
from machine.kernel.abi.signal import SA_RESTORER, SA_SIGINFO, SIGSEGV
from machine.kernel.mm.noncanonical import is_canonical
from machine.kernel.task.altstack import (
    FP_XSTATE_MAGIC1,
    FP_XSTATE_MAGIC2,
    XSTATE_SIZE,
    do_sigaltstack,
    get_sigframe,
)
from machine.kernel.task.sighand import k_sigaction
from machine.kernel.task.siginfo import SIZE as SIGINFO_SIZE
from machine.kernel.task.siginfo import siginfo
from machine.kernel.task.signal import force_sig, force_sig_info, set_current_blocked
from machine.kernel.task.task import task_struct

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

UC_FP_XSTATE, UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS = 1, 2, 4

_UCONTEXT = struct.Struct("<QQ QI4xQ 18Q 4H 4Q Q64x Q")
"""uc_flags, uc_link, uc_stack, sigcontext_64, sigmask."""
_ORDER = (R8, R8 + 1, R8 + 2, R8 + 3, R8 + 4, R8 + 5, R8 + 6, R8 + 7, RDI, RSI, RBP, RBX, RDX, RAX, RCX, RSP, RIP)
_IN_IMAGE = struct.Struct("17Q")
_TO_FRAME = itemgetter(*_ORDER)
_TO_IMAGE = itemgetter(*(_ORDER.index(i) for i in range(17)))
"""The image has RAX to RIP in the processor's order."""
_FPSTATE_AT = 40 + 23 * 8
"""Of `struct ucontext`: where sigcontext_64 has the address of the FP state."""
_UC_AT = 8
_INFO_AT = _UC_AT + _UCONTEXT.size
FRAME_SIZE = _INFO_AT + SIGINFO_SIZE

# EFLAGS bits that sigreturn takes from the frame (FIX_EFLAGS): AC RF OF DF TF SF ZF AF PF CF.
FIX_EFLAGS = 0x50DD5
CLEARED_EFLAGS = 0x1B3500
"""What a handler begins without: DF, RF, TF; and IOPL, VM, VIF, VIP, which only the engine's IRET sets, when it goes to
virtual-8086 mode."""

_SW = struct.Struct("<IIQI")
_SW_AT = 464
_FPSSE = 3


def fpstate_bytes(kernel: Kernel, extended_size: int) -> bytes:
    """The FP part of a frame: FXSAVE image, software bytes, XSAVE header, second magic number."""
    return _fpstate_of(kernel.cpu.fxsave(), extended_size)


@lru_cache(2)  # most handlers, and what they interrupt, leave them alone
def _fpstate_of(image: bytes, extended_size: int) -> bytes:
    area = bytearray(image)
    _SW.pack_into(area, _SW_AT, FP_XSTATE_MAGIC1, extended_size, _FPSSE, XSTATE_SIZE)
    header = _FPSSE.to_bytes(64, "little")
    return bytes(area) + header + FP_XSTATE_MAGIC2.to_bytes(4, "little")


def setup_rt_frame(kernel: Kernel, task: task_struct, info: siginfo, action: k_sigaction, oldset: int) -> bool:
    """Write the frame and point the registers at the handler; False if that is not possible."""
    cpu, mm = kernel.cpu, task.mm
    regs = cpu.regs
    frame, fpstate = get_sigframe(task, action, regs[RSP], True, FRAME_SIZE)
    if not frame or not action.flags & SA_RESTORER:  # x86-64 demands the restorer
        return False
    trapno, error_code, cr2 = task.thread
    flags = cpu.eflags()
    cs, ss = cpu.selectors()
    context = _UCONTEXT.pack(
        UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS, 0,
        task.sas_ss_sp, task.sas_ss_flags, task.sas_ss_size,
        *_TO_FRAME(regs[:17].tolist()), flags,
        cs, 0, 0, ss,
        error_code & 0xFFFF_FFFF_FFFF_FFFF, trapno, oldset, cr2, fpstate,
        oldset,
    )  # fmt: skip
    data = action.restorer.to_bytes(8, "little") + context
    if action.flags & SA_SIGINFO:
        data += info.pack(64)
    try:
        mm.copy_to_user(fpstate, fpstate_bytes(kernel, XSTATE_SIZE + 4))
        mm.copy_to_user(frame, data)
    except Errno:
        return False
    regs[RDI] = info.signo
    regs[RAX] = 0
    regs[RSI] = frame + _INFO_AT
    regs[RDX] = frame + _UC_AT
    regs[RIP] = action.handler
    regs[RSP] = frame
    cpu.set_eflags(flags & ~CLEARED_EFLAGS)
    if cs != USER_CS:
        cpu.load_code_segment(USER_CS)
    if not is_canonical(action.handler):
        # The CPU would fault on the way to user mode; the frame is there already.
        force_sig_info(kernel, task, SIGSEGV, trapno=GENERAL_PROTECTION)
    return True


def restore_fpstate(kernel: Kernel, task: task_struct, fpstate: int, compat: bool = False) -> bool:
    """Load x87 and SSE from the frame's image at `fpstate` (fpu__restore_sig); False if it is bad.

    0 resets them.  A damaged XSAVE header is a general-protection fault of XRSTOR, so "bad", as are
    addresses that are no multiple of 64; XRSTOR looks at bytes 8 to 23 of the header only.  A `compat`
    frame is copied and checked by the kernel instead, the whole header, at any address.  Wrong magic
    numbers mean a plain FXSAVE image.
    """
    if not fpstate:
        kernel.cpu.fxrstor(initial_fpstate())
        return True
    try:
        area = task.mm.copy_from_user(fpstate, 512)
    except Errno:
        return False
    if int.from_bytes(area[24:28], "little") & ~MXCSR_MASK:
        return False
    magic1, extended, features, size = _SW.unpack_from(area, _SW_AT)
    has_header = magic1 == FP_XSTATE_MAGIC1 and size == XSTATE_SIZE and size <= extended
    if has_header:
        try:
            tail = task.mm.copy_from_user(fpstate + 512, XSTATE_SIZE - 512 + 4)
        except Errno:
            return False
        if int.from_bytes(tail[-4:], "little") == FP_XSTATE_MAGIC2:
            present = int.from_bytes(tail[:8], "little")
            if present & ~_FPSSE or any(tail[8 : 64 if compat else 24]) or (fpstate & 63 and not compat):
                return False
            area = _with_features(area, present & features)
    if fpstate & 15 and not compat:
        return False
    kernel.cpu.fxrstor(area)
    return True


def _with_features(area: bytes, features: int) -> bytes:
    """What XRSTOR loads: components outside `features` take their initial values, MXCSR always loads."""
    initial = initial_fpstate()
    x87 = area if features & 1 else initial
    sse = area if features & 2 else initial
    return x87[:24] + area[24:32] + x87[32:160] + sse[160:416] + bytes(96)


@cache
def initial_fpstate() -> bytes:
    """The FXSAVE image of a fresh program."""
    area = bytearray(512)
    struct.pack_into("<H", area, 0, FPCW_DEFAULT)
    struct.pack_into("<II", area, 24, MXCSR_DEFAULT, MXCSR_MASK)
    return bytes(area)


def bad_frame(kernel: Kernel, task: task_struct) -> int:
    """The frame can't be read or makes no sense: SIGSEGV (signal_fault)."""
    force_sig(kernel, task, SIGSEGV)
    return 0


def frame_is_there(task: task_struct) -> Optional[tuple[bytes, bytes]]:
    """What `rt_sigreturn64` reads, ucontext and FP part (empty: none), where that takes no page fault."""
    mm = task.mm
    where = task.kernel.cpu.regs[RSP] - 8 & 0xFFFF_FFFF_FFFF_FFFF
    raw = mm.take_at_once(where + _UC_AT, _UCONTEXT.size)
    if raw is None:
        return None
    fpstate = int.from_bytes(raw[_FPSTATE_AT : _FPSTATE_AT + 8], "little")
    area = mm.take_at_once(fpstate, XSTATE_SIZE + 4) if fpstate else b""
    return None if area is None else (raw, area)


def _as_saved(kernel: Kernel, area: bytes) -> bool:
    """Whether `area` is the FP part as a frame gets it, of what is in the registers anyway: there is nothing to do."""
    return area == fpstate_bytes(kernel, XSTATE_SIZE + 4)


def rt_sigreturn64(kernel: Kernel, task: task_struct, saved: Optional[tuple[bytes, bytes]] = None) -> int:
    """Undo `setup_rt_frame`: registers, FP state, mask and alternate stack from the frame below RSP.

    `saved` is what `frame_is_there` has read of it.
    Returns the RAX of the frame, which the dispatcher stores in RAX.
    """
    cpu, regs = kernel.cpu, kernel.cpu.regs
    task.restart = None
    task.orig_ax = -1
    frame = regs[RSP] - 8 & 0xFFFF_FFFF_FFFF_FFFF
    if saved is not None:
        raw = saved[0]
    else:
        try:
            raw = task.mm.copy_from_user(frame + _UC_AT, _UCONTEXT.size)
        except Errno:
            return bad_frame(kernel, task)
    (uc_flags, _link, ss_sp, ss_flags, ss_size, *rest) = _UCONTEXT.unpack(raw)
    general, eflags = rest[:17], rest[17]
    cs, _gs, _fs, ss = rest[18:22]
    fpstate, mask = rest[26], rest[27]
    set_current_blocked(task, mask)
    regs[:17] = memoryview(_IN_IMAGE.pack(*_TO_IMAGE(general))).cast("Q")
    cpu.set_eflags(cpu.eflags() & ~FIX_EFLAGS | eflags & FIX_EFLAGS)
    if (saved is None or not saved[1] or fpstate & 63 or not _as_saved(kernel, saved[1])) and not restore_fpstate(
        kernel, task, fpstate
    ):
        return bad_frame(kernel, task)
    try:
        do_sigaltstack(task, regs[RSP], ss_sp, ss_flags, ss_size)
    except Errno:
        pass  # restore_altstack ignores what sigaltstack would refuse
    cs |= 3
    ss = ss | 3 if uc_flags & UC_STRICT_RESTORE_SS else USER_DS
    finish_return(kernel, task, cs, ss)
    return regs[RAX]


def finish_return(kernel: Kernel, task: task_struct, cs: int, ss: int) -> None:
    """Load CS and SS as the IRET to user mode would; what it can't load is a SIGSEGV (fixup_bad_iret)."""
    cpu = kernel.cpu
    if cs not in (USER_CS, USER32_CS) or ss != USER_DS:
        bad = cs if cs not in (USER_CS, USER32_CS) else ss
        force_sig_info(kernel, task, SIGSEGV, trapno=GENERAL_PROTECTION, error_code=bad & 0xFFFC)
        return
    if cs != cpu.selectors()[0]:
        cpu.load_code_segment(cs)
    if cs == USER_CS and not is_canonical(cpu.regs[RIP]):
        force_sig_info(kernel, task, SIGSEGV, trapno=GENERAL_PROTECTION)
