"""The alternate signal stack, and where a frame goes (kernel/signal.c: do_sigaltstack; arch/x86/kernel/signal.c)."""

from __future__ import annotations

from machine.kernel.abi.errno import EINVAL, ENOMEM, EPERM, Errno
from machine.kernel.abi.signal import MINSIGSTKSZ, SA_ONSTACK, SA_RESTORER, SS_AUTODISARM, SS_DISABLE, SS_ONSTACK
from machine.kernel.task.sighand import k_sigaction
from machine.kernel.task.task import task_struct

RED_ZONE = 128
"""Bytes below RSP that 64-bit code may use without moving RSP (System V ABI)."""
XSTATE_SIZE = 576
"""Legacy area and header: what XSAVE stores for x87 and SSE, XCR0 = 3."""
FP_XSTATE_MAGIC1 = 0x46505853
FP_XSTATE_MAGIC2 = 0x46505845
FREGS_SIZE = 112
"""`struct fregs_state` in front of the FXSAVE area of a 32-bit frame."""


def on_altstack(task: task_struct, sp: int) -> bool:
    """Whether `sp` lies in the alternate stack (__on_sig_stack)."""
    return sp > task.sas_ss_sp and sp - task.sas_ss_sp <= task.sas_ss_size


def on_sig_stack(task: task_struct, sp: int) -> bool:
    """The same; with SS_AUTODISARM nobody is ever "on" it."""
    return not task.sas_ss_flags & SS_AUTODISARM and on_altstack(task, sp)


def sas_ss_flags(task: task_struct, sp: int) -> int:
    """SS_DISABLE, SS_ONSTACK or 0, as sigaltstack reports."""
    if not task.sas_ss_size:
        return SS_DISABLE
    return SS_ONSTACK if on_sig_stack(task, sp) else 0


def do_sigaltstack(task: task_struct, sp: int, ss_sp: int, ss_flags: int, ss_size: int) -> None:
    """Set the alternate stack; `sp` is the stack pointer now.

    EPERM while running on it, EINVAL for unknown flags, ENOMEM below MINSIGSTKSZ.
    """
    if on_sig_stack(task, sp):
        raise Errno(EPERM)
    mode = ss_flags & ~SS_AUTODISARM
    if mode not in (SS_DISABLE, SS_ONSTACK, 0):
        raise Errno(EINVAL)
    if (task.sas_ss_sp, task.sas_ss_size, task.sas_ss_flags) == (ss_sp, ss_size, ss_flags):
        return
    if mode == SS_DISABLE:
        ss_sp = ss_size = 0
    elif ss_size < MINSIGSTKSZ:
        raise Errno(ENOMEM)
    task.sas_ss_sp, task.sas_ss_size, task.sas_ss_flags = ss_sp, ss_size, ss_flags


def get_sigframe(task: task_struct, action: k_sigaction, sp: int, ss_is_user: bool, size: int) -> tuple[int, int]:
    """(address of the frame, address of the FP state) for a frame of `size` bytes; (0, 0) if it would
    overflow the alternate stack."""
    is_32 = task.abi.bits == 32
    if not is_32:
        sp -= RED_ZONE
    nested = on_sig_stack(task, sp)
    entering = False
    if action.flags & SA_ONSTACK:
        if sas_ss_flags(task, sp) == 0:
            sp = task.sas_ss_sp + task.sas_ss_size
            entering = True
    elif is_32 and not nested and not ss_is_user and not action.flags & SA_RESTORER and action.restorer:
        # The legacy way to switch stacks: with a foreign SS, sa_restorer is the stack.
        sp = action.restorer
        entering = True
    sp = sp - (XSTATE_SIZE + 4) & ~63
    if is_32:
        sp -= FREGS_SIZE
    fpstate = sp
    sp -= size
    sp = (sp + 4 & -16) - 4 if is_32 else (sp & -16) - 8
    if (nested or entering) and not on_altstack(task, sp):
        return 0, 0
    mask = 0xFFFFFFFF if is_32 else 0xFFFF_FFFF_FFFF_FFFF
    return sp & mask, fpstate & mask
