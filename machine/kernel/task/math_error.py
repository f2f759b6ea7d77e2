"""An exception of the x87 that is not masked (arch/x86/kernel/traps.c: math_error)."""

from __future__ import annotations

from machine.hardware.cpu import FPCW, FPSW, Cpu
from machine.kernel.abi.signal import FPE_FLTDIV, FPE_FLTINV, FPE_FLTOVF, FPE_FLTRES, FPE_FLTUND, SI_KERNEL

_CODES = ((0x01, FPE_FLTINV), (0x04, FPE_FLTDIV), (0x08, FPE_FLTOVF), (0x12, FPE_FLTUND), (0x20, FPE_FLTRES))
"""Bits of status and control word (IE, ZE, OE, DE or UE, PE), and what they are called."""


def fpu_exception_code(cpu: Cpu) -> int:
    """`si_code` of the SIGFPE (fpu__exception_code): the first that is set in the status word and not masked."""
    unmasked = cpu.get_register(FPSW) & ~cpu.get_register(FPCW)
    return next((code for bits, code in _CODES if unmasked & bits), SI_KERNEL)
