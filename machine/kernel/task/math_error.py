"""A floating-point exception that is not masked, of the x87 or of SSE (arch/x86/kernel/traps.c: math_error)."""

from __future__ import annotations

from machine.hardware.cpu import FPCW, FPSW, MXCSR, SIMD_FP, Cpu
from machine.kernel.abi.signal import FPE_FLTDIV, FPE_FLTINV, FPE_FLTOVF, FPE_FLTRES, FPE_FLTUND, SI_KERNEL

_CODES = ((0x01, FPE_FLTINV), (0x04, FPE_FLTDIV), (0x08, FPE_FLTOVF), (0x12, FPE_FLTUND), (0x20, FPE_FLTRES))
"""Bits of status and control word, or of MXCSR (IE, ZE, OE, DE or UE, PE), and what they are called."""


def fpu_exception_code(cpu: Cpu, vector: int) -> int:
    """`si_code` of the SIGFPE (fpu__exception_code): the first exception that has happened and is not masked."""
    if vector == SIMD_FP:
        mxcsr = cpu.get_register(MXCSR)
        happened, masked = mxcsr, mxcsr >> 7
    else:
        happened, masked = cpu.get_register(FPSW), cpu.get_register(FPCW)
    return next((code for bits, code in _CODES if happened & ~masked & bits), SI_KERNEL)
