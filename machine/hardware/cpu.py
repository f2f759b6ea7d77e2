"""The CPU: Unicorn in ring 3 under real paging.  With realmode.py the only module that imports the engine.

The kernel gives three handlers (`on_page_fault`, `on_syscall`, `on_exception`).  Each is called
inside the engine's hook with the task's registers in `regs` and `image`; what it leaves there
is what runs when the hook returns.  So a task switch or a signal frame is an edit of the image.

Two fields of the image are not in the engine's register API: the page-fault error code and the
mark "an exception is being delivered".  `_calibrate` finds their places with deliberate faults.

Beside this file: the image itself (image.py), the searches of the calibration (calibrate.py), FXSAVE's layout
(fpu.py), segments (gdt.py), the exact stop (stop.py), the hooks of traps (traps.py), physical addresses that are not
RAM (holes.py), what is mended of the engine (aborts.py, divides.py, patches.py, sse4.py, transcendental.py).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from unicorn import Uc, UcError  # type: ignore[attr-defined]
from unicorn import unicorn_const as uc_const
from unicorn import x86_const as x86
from unicorn.unicorn_py3 import unicorn as binding

from machine.hardware.aborts import AbortGuard, find_env
from machine.hardware.calibrate import REGS_OFFSET, CalibrationError, any_place
from machine.hardware.codepoints import CodePoints
from machine.hardware.divides import guard_divides
from machine.hardware.fpu import FPCW_DEFAULT, FPTAG_DEFAULT, MXCSR_DEFAULT
from machine.hardware.gdt import CPU_ENTRY_AREA, KERNEL_CS, KERNEL_DS, USER32_CS, USER_CS, USER_DS, write_gdt
from machine.hardware.holes import Holes
from machine.hardware.image import EFLAGS_FIXED, CpuError, RegisterImage
from machine.hardware.patches import guard_blocks, guard_lengths, mend_horizontal
from machine.hardware.porthooks import PortHooks
from machine.hardware.ram import PAGE_SIZE, Ram
from machine.hardware.sse import mend_sse
from machine.hardware.sse4 import mend_strings
from machine.hardware.stop import StopCheck
from machine.hardware.transcendental import mend_x87
from machine.hardware.traps import TrapHooks

# Indices into `Cpu.regs`, in the engine's (and the ModRM byte's) order.
RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, RIP = range(17)

# Exception vectors (SDM vol. 3A table 6-1).
DIVIDE_ERROR, DEBUG, NMI, BREAKPOINT, OVERFLOW, BOUND, INVALID_OPCODE = range(7)
STACK_FAULT, GENERAL_PROTECTION, PAGE_FAULT, X87_FP, SIMD_FP = 12, 13, 14, 16, 19

TF = 0x100
"""EFLAGS: exception 1 after each instruction."""

_CR0 = 0x80010033  # PG, WP, NE, ET, MP, PE
_CR4 = 0x00000620  # PAE, OSFXSR, OSXMMEXCPT
_CR4_TSD = 0x4
_EFER = 0xD01  # NXE, LMA, LME, SCE
_MSR_EFER = 0xC0000080

_RDRAND, _SSE42 = 1 << 30, 1 << 20
"""CPUID leaf 1, ECX (SDM vol. 2A)."""
_BMI1, _BMI2, _RDSEED = 1 << 3, 1 << 8, 1 << 18
"""CPUID leaf 7, EBX.  BLSI's carry, BZHI of large positions, PEXT and PDEP of 32 bits and RORX of RIP-relative operands
are the engine's, not hardware's (tests/engine/test_modes.py)."""
_CPUID = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)

_STUB = CPU_ENTRY_AREA + PAGE_SIZE
_PROBE_STACK = 0x7000
"""RSP at the deliberate faults."""
_USER_FETCH = 0x14
"""Their error code: an instruction fetch from ring 3, no page (SDM vol. 3A §4.7)."""

_NO_GUARD: Any = nullcontext()
_FLUSH_TLB = uc_const.UC_CTL_IO_WRITE << 30 | uc_const.UC_CTL_TLB_FLUSH


class Cpu(RegisterImage):
    """One x86-64 processor over `ram`.

    `boot` is the physical address of two frames for the GDT and the entry stub, which all tables
    must map at CPU_ENTRY_AREA (`map_entry_area`).
    `repeatable`: `rdtsc` traps (exception 13), CPUID does not offer RDRAND and RDSEED.
    """

    # What each trap reads: a slot takes half as long as one of many attributes in a dictionary.
    __slots__ = (
        "_cr2_at", "_error_at", "_flush_wanted", "_ints", "_words", "image", "on_exception", "on_page_fault",
        "on_syscall", "regs",
    )  # fmt: skip

    def __init__(self, ram: Ram, cr3: int, boot: int, repeatable: bool = False) -> None:
        self.ram = ram
        self.counts_blocks = repeatable
        engine: Any = Uc
        self._uc: Any = engine(uc_const.UC_ARCH_X86, uc_const.UC_MODE_64)
        for start, end in ram.pieces:
            self._uc.mem_map_ptr(start, end - start, uc_const.UC_PROT_ALL, ram.address + start)
        self._boot = boot
        super().__init__(binding.uclib, self._uc._uch, x86)
        self.on_page_fault: Callable[[int, int], None] = self._unexpected_fault
        self.on_syscall: Callable[[], None] = self._unexpected
        self.on_exception: Callable[[int], None] = self._unexpected
        self.on_port: Callable[[int, int, int | None], int] = self._unexpected_port
        self.codepoints = CodePoints(self._hook_code, self._unhook_code, self._uc.emu_stop, self._fail)
        self._failure: BaseException | None = None
        self._flush_wanted = self._drop_wanted = False
        self._guard: AbortGuard | None = None
        self._aborts = 0
        self._blocks: tuple[int, Any, list[Any]] | None = None  # hook, callback, listeners of watching.py
        self.running = self._stopped = False
        self._map_changes: list[Callable[[], None]] = []
        self.holes = Holes(self._uc, ram, uc_const.UC_PROT_ALL)
        self.gdt = write_gdt(ram, boot)
        """The descriptor table itself; entries 12 to 14 are a task's TLS descriptors."""
        self._enable_paging(cr3)
        self._offer_features(repeatable, mend_strings(binding.uclib))
        self._add_hooks()
        try:
            self._calibrate(cr3)
        except CalibrationError as why:
            version = ".".join(str(n) for n in binding.uc_version()[:2])
            text = f"cannot calibrate this Unicorn ({version}): {why}; nopage is made for unicorn 2.1.4"
            raise CpuError(text) from None
        guards = {
            "abort()": self._guard is not None, "IDIV": guard_divides(binding.uclib) is not None,
            "long blocks": guard_blocks(binding.uclib), "PCMPESTRI": guard_lengths(binding.uclib),
        }  # fmt: skip
        mend_horizontal(binding.uclib)
        mend_x87(binding.uclib)  # before the next, which has its places in code that this leaves as it is
        mend_sse(binding.uclib)
        self.unguarded = [name for name, there in guards.items() if not there]
        """What of a hostile program's could end or read the host's process: this build of the engine is another one."""

    # -- start-up ------------------------------------------------------------------------------

    def _enable_paging(self, cr3: int) -> None:
        uc = self._uc
        uc.ctl_exits_enabled(True)
        uc.ctl_set_exits([])
        uc.reg_write(x86.UC_X86_REG_CR3, cr3)
        uc.reg_write(x86.UC_X86_REG_CR4, _CR4)
        uc.msr_write(_MSR_EFER, _EFER)
        uc.reg_write(x86.UC_X86_REG_GDTR, (0, CPU_ENTRY_AREA, 0x7F, 0))
        uc.reg_write(x86.UC_X86_REG_CS, KERNEL_CS)
        uc.reg_write(x86.UC_X86_REG_SS, KERNEL_DS)
        uc.reg_write(x86.UC_X86_REG_CR0, _CR0)

    def _offer_features(self, repeatable: bool, strings: bool) -> None:
        """What CPUID says: not what the engine gets wrong, nor, on a repeatable processor, what differs each time."""
        if repeatable:
            self._uc.reg_write(x86.UC_X86_REG_CR4, _CR4 | _CR4_TSD)
        seen = {leaf: self.cpuid(leaf) for leaf in (1, 7)}
        seen[1] = (*seen[1][:2], seen[1][2] & ~(_RDRAND * repeatable | _SSE42 * (not strings)), seen[1][3])
        seen[7] = (seen[7][0], seen[7][1] & ~(_RDSEED * repeatable | _BMI1 | _BMI2), *seen[7][2:])
        self._cpuid_seen = seen
        self._cpuid_cb = _CPUID(self._cpuid_hook)
        self._hook(uc_const.UC_HOOK_INSN, self._cpuid_cb, ctypes.c_int(x86.UC_X86_INS_CPUID))

    def _cpuid_hook(self, _uc: int, _data: Any) -> int:
        values = self._cpuid_seen.get(self._uc.reg_read(x86.UC_X86_REG_EAX))
        if values is None or (values is self._cpuid_seen[7] and self._uc.reg_read(x86.UC_X86_REG_ECX)):
            return 0
        for name, value in zip(("RAX", "RBX", "RCX", "RDX"), values, strict=True):
            self._uc.reg_write(getattr(x86, "UC_X86_REG_" + name), value)
        return 1

    def cpuid(self, leaf: int) -> tuple[int, int, int, int]:
        """What the engine's processor says to CPUID `leaf` (ECX 0): EAX, EBX, ECX, EDX.  At start-up only."""
        stub = self._boot + PAGE_SIZE
        self.ram.view[stub : stub + 3] = b"\x0f\xa2\x90"
        uc = self._uc
        uc.reg_write(x86.UC_X86_REG_RAX, leaf)
        uc.reg_write(x86.UC_X86_REG_RCX, 0)
        uc.ctl_set_exits([_STUB + 2])
        uc.emu_start(_STUB, 0)
        uc.ctl_set_exits([])
        uc.ctl_flush_tb()
        names = (x86.UC_X86_REG_EAX, x86.UC_X86_REG_EBX, x86.UC_X86_REG_ECX, x86.UC_X86_REG_EDX)
        a, b, c, d = (uc.reg_read(name) for name in names)
        return a, b, c, d

    def _add_hooks(self) -> None:
        image = self._ctx_value or 0
        traps = self._traps = TrapHooks(self._addresses, self._uch_value, image, image + REGS_OFFSET, self._eflags)
        traps.call(self._probe_trap, self._probe_trap, self._probe_trap)
        intr, syscall, invalid = (ctypes.c_void_p(code) for code in (traps.intr, traps.syscall, traps.invalid))
        of_syscall = ctypes.c_int(x86.UC_X86_INS_SYSCALL)
        self._hook(uc_const.UC_HOOK_INTR, intr, user_data=traps.data)
        self._hook(uc_const.UC_HOOK_INSN, syscall, of_syscall, user_data=traps.data)
        self._hook(uc_const.UC_HOOK_INSN_INVALID, invalid, user_data=traps.data)
        self._ports = PortHooks(self, uc_const.UC_HOOK_INSN, x86.UC_X86_INS_IN, x86.UC_X86_INS_OUT)
        stop = ctypes.cast(binding.uclib.uc_emu_stop, ctypes.c_void_p).value or 0
        self._stop_check: Any = StopCheck(stop, self.counts_blocks)
        code, data = ctypes.c_void_p(self._stop_check.code), self._stop_check.data
        self._stop_hook = self._hook(uc_const.UC_HOOK_BLOCK, code, user_data=data)

    def count_bytes(self) -> Any:
        """From now on each place in user code has a number (bytecount.py); a repeatable processor that does not run."""
        from machine.hardware.bytecount import ByteCount

        stop = ctypes.cast(binding.uclib.uc_emu_stop, ctypes.c_void_p).value or 0
        self._unhook_code(self._stop_hook)
        count = self._stop_check = ByteCount(self, self._traps, stop, EFLAGS)
        around = (count.around_syscall(self._syscall_trap), count.around(self._page_fault_trap))
        self._traps.call(*around, count.around_exception(self._exception_trap))
        self._stop_hook = self._hook(uc_const.UC_HOOK_BLOCK, ctypes.c_void_p(count.code), user_data=count.data)
        self.drop_code()
        return count

    def _hook(self, kind: int, callback: Any, *extra: Any, user_data: int = 0, at: int | None = None) -> int:
        handle = ctypes.c_size_t()
        code = ctypes.cast(callback, ctypes.c_void_p)
        data = ctypes.c_void_p(user_data)
        first, last = (1, 0) if at is None else (at, at)  # from 1 to 0: everywhere
        where = ctypes.c_uint64(first), ctypes.c_uint64(last)
        status = binding.uclib.uc_hook_add(self._uch, ctypes.byref(handle), kind, code, data, *where, *extra)
        if status:
            raise CpuError(f"the engine refused a hook (error {status})")
        return handle.value

    def _calibrate(self, cr3: int) -> None:
        """Enter ring 3 once a mode; find what the register API lacks; keep the images as templates."""
        probe = 0x5A5A_1234_5000
        stub = self._boot + PAGE_SIZE
        self.ram.view[stub : stub + 2] = b"\x48\xcf"  # iretq
        self._uc.reg_write(x86.UC_X86_REG_FPCW, FPCW_DEFAULT)
        self._uc.reg_write(x86.UC_X86_REG_FPTAG, FPTAG_DEFAULT)
        self._uc.reg_write(x86.UC_X86_REG_MXCSR, MXCSR_DEFAULT)
        self._save_raw(self._uch_value, self._ctx_value)
        before = bytes(self.image)
        self._enter_ring3(stub, USER_CS, probe)
        self._learn_places(before, cr3, probe, _USER_FETCH, PAGE_FAULT)
        self._learn_registers(_PROBE_STACK, probe)
        self._template64 = bytes(self.image)
        self.image[:] = before
        self._restore_raw(self._uch_value, self._ctx_value)
        self._enter_ring3(stub, USER32_CS, 0x1234_5000)
        if self.error_code != _USER_FETCH or self._words[self._cr2_at] != 0x1234_5000:
            raise CalibrationError("the second deliberate fault was not reported where the first was")
        self._ints[self._exception_at] = -1
        for segment in (DS, ES):
            self.set_register(segment, USER_DS)
        self._template32 = bytes(self.image)
        self.image[:] = before
        self._restore_raw(self._uch_value, self._ctx_value)
        self._find_syscall_length()
        self.ram.view[stub : stub + PAGE_SIZE] = bytes(PAGE_SIZE)
        image = self._ctx_value or 0
        self._traps.clears(image + 4 * self._exception_at, image + 4 * self._error_at)
        self._traps.call(self._syscall_trap, self._page_fault_trap, self._exception_trap)

    def _find_syscall_length(self) -> None:
        """Where the engine's function for SYSCALL has the instruction's length: three of them, with prefixes; it has
        its processor's address, too, which an AbortGuard needs."""
        stub, found = self._boot + PAGE_SIZE, []
        marks = [0x5A5A_0000_0000 + i for i in range(16)]
        for i, mark in enumerate(marks):
            self.regs[i] = mark
        self._restore_raw(self._uch_value, self._ctx_value)

        def look() -> None:
            found.append(self._traps.pushed())
            self._guard = self._guard or self._guard_of(found[-1], marks)
            self._uc.emu_stop()

        self._traps.call(look, self._probe_trap, self._probe_trap)
        for n in range(3):
            self.ram.view[stub : stub + 6] = b"\x66" * n + b"\x0f\x05" + b"\x90" * (4 - n)
            self._uc.ctl_flush_tb()
            self._uc.emu_start(_STUB, 0)
        self._traps.length_is_at(any_place(found, [2, 3, 4], "the length of SYSCALL"))

    def _guard_of(self, pushed: list[int], registers: list[int]) -> AbortGuard | None:
        """None where the engine does not show what is needed: then an abort of the engine ends the process."""
        env = find_env(pushed[1:], b"".join(value.to_bytes(8, "little") for value in registers))
        function = getattr(binding.uclib, "helper_raise_exception_x86_64", None)
        address = ctypes.cast(function, ctypes.c_void_p).value if function is not None else None
        return None if env is None or address is None else AbortGuard(address, env)

    def _enter_ring3(self, stub: int, cs: int, rip: int) -> None:
        frame = (stub + 0x800) >> 3
        self.ram.words[frame : frame + 5] = memoryview(
            b"".join(v.to_bytes(8, "little") for v in (rip, cs, EFLAGS_FIXED, _PROBE_STACK, USER_DS))
        ).cast("Q")
        self._uc.reg_write(x86.UC_X86_REG_RSP, _STUB + 0x800)
        self._trapped = False
        status = self._start_raw(self._uch, _STUB, 0, 0, 0)
        if not self._trapped:
            raise CalibrationError(f"a deliberate page fault was not reported (engine error {status})")

    # -- hooks -----------------------------------------------------------------------------------

    def _syscall_trap(self) -> None:
        try:
            self.on_syscall()
        except BaseException as failure:
            self._fail(failure)
        if self._flush_wanted:
            self._flush_now()

    def _page_fault_trap(self) -> None:
        try:
            self.on_page_fault(self._words[self._cr2_at], self._ints[self._error_at])
        except BaseException as failure:
            self._fail(failure)
        if self._flush_wanted:
            self._flush_now()

    def _exception_trap(self) -> None:
        try:
            vector = self._traps.vector
            # SYSCALL ends by looking at TF, before the next instruction: what was put there in its hook traps too early
            if vector != DEBUG or not self._traps.take_early_step():
                self.on_exception(vector)
        except BaseException as failure:
            self._fail(failure)
        if self._flush_wanted:
            self._flush_now()

    def _probe_trap(self) -> None:
        """A deliberate fault of the calibration."""
        self._trapped = self._traps.vector == PAGE_FAULT
        self._uc.emu_stop()

    def _fail(self, failure: BaseException) -> None:
        """Keep what a handler raised: it must not cross the engine; `run` raises it again."""
        if self._failure is None:
            self._failure = failure
        self._uc.emu_stop()

    def _unexpected(self, *_args: Any) -> None:
        raise CpuError("a trap arrived before the kernel was ready")

    def _unexpected_port(self, *_args: Any) -> int:
        raise CpuError("a port was used before the kernel was ready")

    def save_image(self) -> None:
        """Take the registers into the image, inside a hook of an instruction."""
        self._save_raw(self._uch_value, self._ctx_value)

    _unexpected_fault = _unexpected

    # -- what the kernel uses ----------------------------------------------------------------------

    def map_memory(self, physical: int, size: int, host_address: int) -> None:
        """Device memory (a frame buffer): `size` bytes at `physical`, backed by the host's `host_address`.

        Page-aligned and inside one unclaimed range (a PCI window, or above all RAM).
        """
        self._change_map(lambda: self.holes.map_memory(physical, size, host_address))

    def unmap_memory(self, physical: int, size: int) -> None:
        """Take device memory off again: what is there reads as ones.  Guest tables may still lead there."""
        self._change_map(lambda: self.holes.unmap_memory(physical, size))

    def _change_map(self, change: Callable[[], None]) -> None:
        """At once, or in a hook after leaving the engine: changed under it, it can spin for ever
        (tests/drivers/test_pci.py).  The guest runs no instruction in between."""
        if not self.running:
            change()
            self.flush_tlb()
            return
        self._map_changes.append(change)
        if self._ports.active:
            self.request_stop()
        else:
            self._uc.emu_stop()

    def _hook_code(self, callback: Any, address: int) -> int:
        self.drop_code()
        return self._hook(uc_const.UC_HOOK_CODE, callback, at=address)

    def hook_blocks(self, callback: Any) -> int:
        """A hook on every block of code, for watching.py; its handle."""
        self.drop_code()
        return self._hook(uc_const.UC_HOOK_BLOCK, callback)

    def _unhook_code(self, handle: int) -> None:
        binding.uclib.uc_hook_del(self._uch, ctypes.c_size_t(handle))
        self.drop_code()

    def run(self) -> None:
        """Run the task in `image` until `stop`; its state is in `image` again afterwards."""
        while True:
            self._stop_check.arm()
            while self._run_once():
                pass
            while self._map_changes:
                for change in self._map_changes:
                    change()
                self._map_changes.clear()
                self.flush_tlb()
                if self._stopped:
                    break
                while self._run_once():
                    pass
            if not self._stop_check.again():
                return

    def _run_once(self) -> bool:
        """Enter the engine; whether to do it again at once."""
        self._gather_flags()
        self._restore_raw(self._uch_value, self._ctx_value)
        if self._flush_wanted:
            self._flush_now()
        self.running = True
        self._stopped = False
        try:
            with self._guard or _NO_GUARD:
                status = self._start_raw(self._uch, self.regs[RIP], 0, 0, 0)
        finally:
            self.running = False
        self._save_raw(self._uch_value, self._ctx_value)
        self._stop_check.left(self.regs[RIP])
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        if status == uc_const.UC_ERR_FETCH_PROT:  # from addresses that nobody claims: ones, and FF FF is no instruction
            self.on_exception(INVALID_OPCODE)
            return not self._stopped and not self._map_changes
        if status:
            raise CpuError(f"the engine stopped: {_error_text(status)} at {self.regs[RIP]:#x}")
        return False

    def stop(self) -> None:
        """Make `run` return.  Only from a handler, inside the engine's hook."""
        self._stopped = True
        self._uc.emu_stop()

    def gave_up(self) -> bool:
        """Whether an exception 6 since the last call was the engine's own: it can't translate the code (aborts.py)."""
        before, self._aborts = self._aborts, self._guard.count if self._guard else 0
        return before != self._aborts

    def budget_spent(self) -> bool:
        """Whether `run` returned because a repeatable processor's budget of blocks was spent: its tick."""
        return bool(self._stop_check.budget_spent())

    def request_stop(self) -> None:
        """Make `run` return at the start of the next block of code.  From any thread, at any time."""
        self._stop_check.request()

    def fresh_image(self, bits: int, cr3: int) -> None:
        """Load `image` with a new program's state: registers zero, x87 and SSE at their defaults, ring 3."""
        self._load_template(bits, cr3)
        self._flush_wanted = True

    def switch_tables(self, cr3: int) -> None:
        """Give the image another CR3; the TLB is flushed when the hook returns."""
        self._words[self._cr3_at] = cr3
        self._flush_wanted = True

    def flush_tlb(self) -> None:
        """Forget every cached translation before the guest runs again."""
        self._flush_wanted = True

    def _flush_now(self) -> None:
        self._flush_wanted = False
        self._ctl_raw(self._uch_value, _FLUSH_TLB)
        if self._drop_wanted:
            self._drop_wanted = False
            self._uc.ctl_flush_tb()

    def drop_code(self) -> None:
        """Drop translated code: a frame that was executable was written by the kernel, or given away.

        Done before the guest runs again, however often it was asked for.
        """
        self._drop_wanted = self._flush_wanted = True


def _error_text(status: int) -> str:
    make: Any = UcError
    return str(make(status))


EFLAGS = x86.UC_X86_REG_EFLAGS
FS_BASE = x86.UC_X86_REG_FS_BASE
GS_BASE = x86.UC_X86_REG_GS_BASE
CS = x86.UC_X86_REG_CS
SS = x86.UC_X86_REG_SS
DS = x86.UC_X86_REG_DS
ES = x86.UC_X86_REG_ES
FS = x86.UC_X86_REG_FS
GS = x86.UC_X86_REG_GS
MXCSR = x86.UC_X86_REG_MXCSR
FPCW = x86.UC_X86_REG_FPCW
FPSW = x86.UC_X86_REG_FPSW
FPTAG = x86.UC_X86_REG_FPTAG
