"""The register image: the block into which the engine's `uc_context_save` copies the processor, as Python sees it.

General registers are read and written in place, the others by the engine's own numbers (`UC_X86_REG_...`).
Four more fields are read in place, at places that the calibration found (hardware/calibrate.py): CR2, CR3, the
page-fault error code, and the exception that is being delivered.
"""

from __future__ import annotations

import ctypes
import struct
from typing import Any

from machine.hardware.calibrate import (
    REGS_OFFSET,
    CalibrationError,
    check_registers,
    find_wide,
    only_change,
    only_word,
)
from machine.hardware.fpu import FpuControl, pack_fxsave, unpack_fxsave
from machine.hardware.gdt import USER_CS

EFLAGS_FIXED = 0x202
"""EFLAGS of a new program: interrupts on, and bit 1, which is always set."""
_FP_KNOWN = 4
"""States of the task that are kept in both forms: those of a handler and of what it interrupts."""

FLAGS = 17
"""Where EFLAGS follows RIP in `regs`."""
_SEGMENT_SIZE = 24
_GENERAL = "RAX RCX RDX RBX RSP RBP RSI RDI R8 R9 R10 R11 R12 R13 R14 R15 RIP".split()  # noqa: SIM905


class CpuError(Exception):
    """The engine is not one that this program can drive, or it stopped for a reason of its own."""


class RegisterImage:
    """The image of `engine` (a `uc_engine *` of `library`); `numbers` has the constants `UC_X86_REG_...`."""

    def __init__(self, library: Any, engine: Any, numbers: Any) -> None:
        self._library = library
        self._numbers = numbers
        self._uch: Any = engine
        self._context = ctypes.c_void_p()
        self._bind()
        self._eflags = int(numbers.UC_X86_REG_EFLAGS)
        self._eflags_word = ctypes.c_uint64()
        self._eflags_pointer = ctypes.byref(self._eflags_word)
        self._segments = [getattr(numbers, "UC_X86_REG_" + name) for name in ("DS", "ES", "FS", "GS")]
        self._bases = [numbers.UC_X86_REG_FS_BASE, numbers.UC_X86_REG_GS_BASE]
        control = ("FPSW", "FPCW", "FPTAG", "FOP", "FIP", "FDP", "MXCSR")  # in the order of FpuControl
        self._fpu_control = [getattr(numbers, "UC_X86_REG_" + name) for name in control]
        self._segments_at = 0
        self._template64 = self._template32 = b""
        self._fp_region = slice(0, 0)
        """The part of the image with all x87 and SSE state in it; empty until it is looked for."""
        self._fp_known: dict[bytes, bytes] = {}
        """What that part was when it was saved lately: the same as FXSAVE64 stores it."""

    def _bind(self) -> None:
        """Bind what each trap calls without the binding's layers, and make the views."""
        slow = self._library
        lib = ctypes.PyDLL(slow._name)
        for name in ("uc_context_save", "uc_context_restore"):
            function = getattr(lib, name)
            function.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
            function.restype = ctypes.c_int
        self._save_raw, self._restore_raw = lib.uc_context_save, lib.uc_context_restore
        self._start_raw, self._ctl_raw = slow.uc_emu_start, lib.uc_ctl
        self._ctl_raw.argtypes = (ctypes.c_void_p, ctypes.c_int)
        self._context_size = int(slow.uc_context_size(self._uch))
        if slow.uc_context_alloc(self._uch, ctypes.byref(self._context)):
            raise CpuError("the engine could not allocate a register image")
        for name in ("uc_context_reg_read", "uc_context_reg_write"):
            function = getattr(lib, name)
            function.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
            function.restype = ctypes.c_int
        self._reg_read_raw, self._reg_write_raw = lib.uc_context_reg_read, lib.uc_context_reg_write
        raw_functions = (lib.uc_context_save, lib.uc_context_restore, lib.uc_context_reg_read)
        self._addresses = [ctypes.cast(function, ctypes.c_void_p).value or 0 for function in raw_functions]
        raw = (ctypes.c_char * self._context_size).from_address(self._context.value or 0)
        self.image = memoryview(raw).cast("B")
        """The register image of the trapped task: everything that a switch must save."""
        whole = self._context_size & ~7
        self.regs = self.image[:whole].cast("Q")[REGS_OFFSET // 8 :]
        """General registers and RIP as 64-bit words: ``regs[RAX]`` .. ``regs[RIP]``."""
        self._words = self.image[:whole].cast("Q")
        self._ints = self.image[: self._context_size & ~3].cast("i")
        self._uch_value = self._uch.value
        self._ctx_value = self._context.value

    # -- calibration -----------------------------------------------------------------------------

    def _learn_places(self, before: bytes, cr3: int, cr2: int, error_code: int, vector: int) -> None:
        """Find the four fields: `before` had none of a page fault, the image now has one with these values."""
        after = bytes(self.image)
        self._exception_at = only_change(before, after, -1, vector, "the exception in flight")
        self._error_at = only_change(before, after, 0, error_code, "the page-fault error code")
        self._cr3_at = only_word(after, cr3, "CR3")
        self._cr2_at = self._cr3_at - 1
        if self._words[self._cr2_at] != cr2:
            raise CalibrationError("CR2 is not beside CR3 in the register image")
        self._ints[self._exception_at] = -1

    def _learn_registers(self, rsp: int, rip: int) -> None:
        """Write each register through the engine and look for it in the image; zero is left in them."""
        expected = {name: 0x1111 * (i + 1) for i, name in enumerate(_GENERAL)}
        for name, value in expected.items():
            if name not in ("RSP", "RIP"):
                self.set_register(getattr(self._numbers, "UC_X86_REG_" + name), value)
        check_registers(self.regs, expected | {"RSP": rsp, "RIP": rip, "EFLAGS": EFLAGS_FIXED})
        for i in range(16):
            self.regs[i] = 0
        self._st = find_wide(self.image, self._write_wide, self._numbers.UC_X86_REG_FP0, 8, 10)
        """Views of the x87 registers, by physical number."""
        self._xmm = find_wide(self.image, self._write_wide, self._numbers.UC_X86_REG_XMM0, 16, 16)

    def _write_wide(self, number: int, value: bytes) -> None:
        data = (ctypes.c_ubyte * 16).from_buffer_copy(value.ljust(16, b"\0"))
        self._reg_write_raw(self._ctx_value, number, data)

    # -- registers ---------------------------------------------------------------------------------

    @property
    def error_code(self) -> int:
        """Error code of the exception that was taken last."""
        return self._ints[self._error_at]

    def get_register(self, number: int) -> int:
        """A register of the image by the engine's constant (`FS_BASE`, `EFLAGS`, ...)."""
        value = ctypes.c_uint64()
        if self._reg_read_raw(self._ctx_value, number, ctypes.byref(value)):
            raise CpuError(f"register {number} cannot be read")
        return value.value

    def eflags(self) -> int:
        """EFLAGS of the image (`get_register(EFLAGS)`, for the system call path)."""
        self._reg_read_raw(self._ctx_value, self._eflags, self._eflags_pointer)
        return self._eflags_word.value

    def set_eflags(self, value: int) -> None:
        """Write EFLAGS of the image."""
        self._eflags_word.value = value
        self._reg_write_raw(self._ctx_value, self._eflags, self._eflags_pointer)

    def selectors(self) -> tuple[int, int]:
        """CS and SS of the image."""
        if not self._segments_at:
            self._segment(self._segments[0])
        at = self._segments_at + _SEGMENT_SIZE >> 2  # ES is before them
        return self._ints[at] & 0xFFFF, self._ints[at + _SEGMENT_SIZE // 4] & 0xFFFF

    def set_register(self, number: int, value: int) -> None:
        """Write a register of the image by the engine's constant."""
        word = ctypes.c_uint64(value)
        if self._reg_write_raw(self._ctx_value, number, ctypes.byref(word)):
            raise CpuError(f"register {number} cannot be written")

    def _segment(self, number: int) -> memoryview:
        """A segment register in the image, 24 bytes: selector, base, limit and flags.  Found when first asked for."""
        if not self._segments_at:
            fs_base = self._bases[0]
            old, mark = self.get_register(fs_base), 0x5EC7_BA5E_1230
            self.set_register(fs_base, mark)
            found = only_word(bytes(self.image), mark, "FS.base")
            self.set_register(fs_base, old)
            self._segments_at = found * 8 - 8 - 4 * _SEGMENT_SIZE
        names = ("ES", "CS", "SS", "DS", "FS", "GS")  # R_ES to R_GS of target/i386/cpu.h
        index = [getattr(self._numbers, "UC_X86_REG_" + name) for name in names].index(number)
        at = self._segments_at + index * _SEGMENT_SIZE
        return self.image[at : at + _SEGMENT_SIZE]

    def set_selector(self, number: int, selector: int) -> None:
        """Change what a data segment register shows, and not the base that goes with it: 64-bit code uses no more."""
        self._segment(number)[:4] = selector.to_bytes(4, "little")

    def load_segment(self, number: int, selector: int, descriptor: int) -> None:
        """Load a data segment register as `mov ds, ax` does; `descriptor` 0 for a null selector.

        `set_register` would have the engine read the descriptor through the TLB of a processor that an image has not,
        which ends in a fault of the host's.
        """
        base = descriptor >> 16 & 0xFFFFFF | (descriptor >> 56 & 0xFF) << 24
        limit = descriptor & 0xFFFF | (descriptor >> 48 & 0xF) << 16
        if descriptor >> 55 & 1:
            limit = limit << 12 | 0xFFF
        self._segment(number)[:] = struct.pack("<I4xQII", selector, base, limit, descriptor >> 32)

    def _gather_flags(self) -> None:
        """Put the arithmetic flags into the image's EFLAGS, where the engine takes them from when it starts.

        While it runs they are the operands of the last instruction that set them, and an image that was saved
        inside a hook has them only there.
        """
        self.regs[FLAGS] = self.eflags()

    def get_xmm(self, number: int) -> bytes:
        """The 16 bytes of XMM `number` of the image."""
        return bytes(self._xmm[number])

    def set_xmm(self, number: int, value: bytes) -> None:
        """Write XMM `number` of the image."""
        self._xmm[number][:] = value

    def fxsave(self) -> bytes:
        """The 512 bytes that FXSAVE64 stores for the image (hardware/fpu.py)."""
        now = self._fp_now()
        saved = self._fp_known.get(now)
        if saved is None:
            control = FpuControl._make(self.get_register(number) for number in self._fpu_control)
            saved = pack_fxsave(control, self._st, self._xmm)
            if len(self._fp_known) >= _FP_KNOWN:
                self._fp_known.clear()
            self._fp_known[now] = saved
        return saved

    def forget_fpu(self) -> None:
        """Another task's registers are in the image from now on.  What a state has beside what FXSAVE stores is the
        engine's, and a program's own: the engine lets some malformed instructions write it."""
        self._fp_known.clear()

    def fxrstor(self, area: bytes) -> None:
        """Load x87 and SSE state into the image from the 512 bytes of an FXSAVE64 area.

        The caller has checked MXCSR against `fpu.MXCSR_MASK`.
        """
        for image, saved in self._fp_known.items():
            if saved == area:  # the state of before a signal handler, mostly, or the initial one
                self.image[self._fp_region] = image
                return
        control = unpack_fxsave(area, self._st, self._xmm)
        for number, value in zip(self._fpu_control, control, strict=True):
            self.set_register(number, value)

    def _fp_now(self) -> bytes:
        if not self._fp_region.stop:
            self._fp_region = self._find_fp_region()
        return bytes(self.image[self._fp_region])

    def _find_fp_region(self) -> slice:
        """From the first to the last byte that differs when every x87 and SSE register is another."""
        before = bytes(self.image)
        for number in self._fpu_control:
            self.set_register(number, self.get_register(number) ^ 0x2040)
        for view in (*self._st, *self._xmm):
            view[:] = bytes(byte ^ 0xFF for byte in view)
        changed = [i for i, (old, new) in enumerate(zip(before, self.image, strict=True)) if old != new]
        self.image[:] = before
        return slice(changed[0], changed[-1] + 1)

    # -- whole images --------------------------------------------------------------------------------

    def _load_template(self, bits: int, cr3: int) -> None:
        """A new program's state: registers zero, x87 and SSE at their defaults, ring 3."""
        self.image[:] = self._template64 if bits == 64 else self._template32
        self._words[self._cr3_at] = cr3

    def load_code_segment(self, selector: int) -> None:
        """Give the image another CS, `USER_CS` or `USER32_CS`, and with it the mode; all other registers stay.

        The register API sets the selector alone, so the rest comes from the other mode's template.
        """
        state, flags = self.fxsave(), self.eflags()
        regs = list(self.regs[: len(_GENERAL)])
        kept = [(number, bytes(self._segment(number))) for number in self._segments]
        self._load_template(64 if selector == USER_CS else 32, self._words[self._cr3_at])
        for number, segment in kept:
            self._segment(number)[:] = segment
        for i, word in enumerate(regs):
            self.regs[i] = word
        self.set_register(self._eflags, flags)
        self.fxrstor(state)
