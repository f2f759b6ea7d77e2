"""The CPU: Unicorn in ring 3 under real paging.  The only module that imports the engine.

The kernel gives three handlers (`on_page_fault`, `on_syscall`, `on_exception`).  Each is called
inside the engine's hook with the task's registers in `regs` and `image`; what it leaves there
is what runs when the hook returns.  So a task switch or a signal frame is an edit of the image.

Two fields of the image are not in the engine's register API: the page-fault error code and the
mark "an exception is being delivered".  `_calibrate` finds their places with deliberate faults.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import struct
from collections.abc import Callable
from typing import Any

from unicorn import Uc, UcError  # type: ignore[attr-defined]
from unicorn import unicorn_const as uc_const
from unicorn import x86_const as x86
from unicorn.unicorn_py3 import unicorn as binding

from machine.hardware.ram import ISA_HOLE_END, ISA_HOLE_START, PAGE_SIZE, PCI_HOLE_END, PCI_HOLE_START, Ram

# Indices into `Cpu.regs`, in the engine's (and the ModRM byte's) order.
RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, RIP = range(17)

# Selectors of the flat segments, as Linux has them.
KERNEL_CS = 0x10
KERNEL_DS = 0x18
USER32_CS = 0x23
USER_DS = 0x2B
USER_CS = 0x33
GDT_ENTRY_TLS_MIN = 12
GDT_ENTRY_TLS_MAX = 14

EFLAGS_FIXED = 0x202
FPCW_DEFAULT = 0x37F
MXCSR_DEFAULT = 0x1F80
MXCSR_MASK = 0xFFFF
"""Bits of MXCSR that exist; loading another is a general-protection fault."""

# Exception vectors (SDM vol. 3A table 6-1).
DIVIDE_ERROR, DEBUG, NMI, BREAKPOINT, OVERFLOW, BOUND, INVALID_OPCODE = range(7)
GENERAL_PROTECTION, PAGE_FAULT = 13, 14

_FLAT64_CODE = 0x00AF9B000000FFFF
_FLAT_DATA = 0x00CF93000000FFFF
_FLAT32_USER_CODE = 0x00CFFB000000FFFF
_FLAT_USER_DATA = 0x00CFF3000000FFFF
_FLAT64_USER_CODE = 0x00AFFB000000FFFF

_CR0 = 0x80010033  # PG, WP, NE, ET, MP, PE
_CR4 = 0x00000620  # PAE, OSFXSR, OSXMMEXCPT
_CR4_TSD = 0x4
_EFER = 0xD01  # NXE, LMA, LME, SCE
_MSR_EFER = 0xC0000080

_FXSAVE = struct.Struct("<HHBxHQQII")

_INTR = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p)
_SYSCALL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
_CPUID = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_INVALID = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_void_p)

BLOCK_BUDGET = 50_000
"""Blocks of code between two ticks of a repeatable processor: about a millisecond."""

_FLUSH_TLB = uc_const.UC_CTL_IO_WRITE << 30 | uc_const.UC_CTL_TLB_FLUSH

# Offsets of fields of the image; checked, not trusted, by _calibrate.
_REGS_OFFSET = 40

Handler = Callable[..., None]


class CpuError(Exception):
    """The engine is not one that this program can drive, or it stopped for a reason of its own."""


class Cpu:
    """One x86-64 processor over `ram`.

    `boot` is the physical address of two frames for the GDT and the entry stub, which the
    tables at `cr3` must map, supervisor-only and executable, at `boot + direct_map`.
    `repeatable`: `rdtsc` traps (exception 13), CPUID does not offer RDRAND and RDSEED.
    """

    def __init__(self, ram: Ram, cr3: int, boot: int, direct_map: int, repeatable: bool = False) -> None:
        self.ram = ram
        self.counts_blocks = repeatable
        engine: Any = Uc
        self._uc: Any = engine(uc_const.UC_ARCH_X86, uc_const.UC_MODE_64)
        self._uch: Any = self._uc._uch
        for start, end in ram.pieces:
            self._uc.mem_map_ptr(start, end - start, uc_const.UC_PROT_ALL, ram.address + start)
        self._boot, self._boot_virtual = boot, boot + direct_map
        self._context = ctypes.c_void_p()
        self._bind()
        self.on_page_fault: Callable[[int, int], None] = self._unexpected_fault
        self.on_syscall: Callable[[], None] = self._unexpected
        self.on_exception: Callable[[int], None] = self._unexpected
        self._eflags_word = ctypes.c_uint64()
        self._eflags_pointer = ctypes.byref(self._eflags_word)
        self._failure: BaseException | None = None
        self._flush_wanted = self._drop_wanted = False
        self._in_hook = False
        self.running = False
        self._map_holes()
        self._write_gdt()
        self._enable_paging(cr3)
        if repeatable:
            self._make_repeatable()
        self._add_hooks()
        self._calibrate(cr3)

    # -- the engine's library, called without the binding's layers ----------------------------

    def _bind(self) -> None:
        lib = ctypes.PyDLL(binding.uclib._name)
        slow = binding.uclib
        for name in ("uc_context_save", "uc_context_restore"):
            function = getattr(lib, name)
            function.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
            function.restype = ctypes.c_int
        self._save_raw, self._restore_raw = lib.uc_context_save, lib.uc_context_restore
        self._start_raw, self._ctl_raw = slow.uc_emu_start, slow.uc_ctl
        self._context_size = int(slow.uc_context_size(self._uch))
        if slow.uc_context_alloc(self._uch, ctypes.byref(self._context)):
            raise CpuError("the engine could not allocate a register image")
        for name in ("uc_context_reg_read", "uc_context_reg_write"):
            function = getattr(lib, name)
            function.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
            function.restype = ctypes.c_int
        self._reg_read_raw, self._reg_write_raw = lib.uc_context_reg_read, lib.uc_context_reg_write
        raw = (ctypes.c_char * self._context_size).from_address(self._context.value or 0)
        self.image = memoryview(raw).cast("B")
        """The register image of the trapped task: everything that a switch must save."""
        whole = self._context_size & ~7
        self.regs = self.image[:whole].cast("Q")[_REGS_OFFSET // 8 :]
        """General registers and RIP as 64-bit words: ``regs[RAX]`` .. ``regs[RIP]``."""
        self._words = self.image[:whole].cast("Q")
        self._ints = self.image[: self._context_size & ~3].cast("i")
        self._uch_value = self._uch.value
        self._ctx_value = self._context.value

    def _map_holes(self) -> None:
        """Answer what nobody claims with ones, as a bus without a target does (master abort)."""
        self._uc.mem_map_ptr(
            ISA_HOLE_START, ISA_HOLE_END - ISA_HOLE_START, uc_const.UC_PROT_ALL, self.ram.address + ISA_HOLE_START
        )
        self._claimed: list[tuple[int, int]] = []
        low_end = min(self.ram.limit, PCI_HOLE_START)
        self._unclaimed_ranges = [(low_end, PCI_HOLE_END)]
        top = max(self.ram.limit, PCI_HOLE_END)
        self._unclaimed_ranges.append((top, 1 << 40))
        for start, end in self._unclaimed_ranges:
            self._uc.mmio_map(start, end - start, self._float_read, None, self._float_write, None)

    @staticmethod
    def _float_read(_uc: Any, _offset: int, size: int, _data: Any) -> int:
        return (1 << (8 * size)) - 1

    @staticmethod
    def _float_write(_uc: Any, _offset: int, _size: int, _value: int, _data: Any) -> None:
        return None

    def map_memory(self, physical: int, size: int, host_address: int) -> None:
        """Device memory (a frame buffer): `size` bytes at `physical`, backed by the host's `host_address`.

        Page-aligned and inside one unclaimed range (a PCI window, or above all RAM).
        """
        hole = [each for each in self._unclaimed_ranges if each[0] <= physical and physical + size <= each[1]]
        if not hole:
            raise ValueError(f"device memory {physical:#x}-{physical + size - 1:#x} is not in a hole of the memory map")
        start, end = hole[0]
        self._uc.mem_unmap(start, end - start)
        self._uc.mem_map_ptr(physical, size, uc_const.UC_PROT_ALL, host_address)
        parts = [(a, b) for a, b in ((start, physical), (physical + size, end)) if a < b]
        for a, b in parts:
            self._uc.mmio_map(a, b - a, self._float_read, None, self._float_write, None)
        where = self._unclaimed_ranges.index((start, end))
        self._unclaimed_ranges[where : where + 1] = parts

    # -- start-up ------------------------------------------------------------------------------

    def _write_gdt(self) -> None:
        table = self.ram.words[self._boot >> 3 : (self._boot + PAGE_SIZE) >> 3]
        for selector, descriptor in (
            (KERNEL_CS, _FLAT64_CODE),
            (KERNEL_DS, _FLAT_DATA),
            (USER32_CS, _FLAT32_USER_CODE),
            (USER_DS, _FLAT_USER_DATA),
            (USER_CS, _FLAT64_USER_CODE),
        ):
            table[selector >> 3] = descriptor
        self.gdt = table
        """The descriptor table itself; entries 12 to 14 are a task's TLS descriptors."""

    def _enable_paging(self, cr3: int) -> None:
        uc = self._uc
        uc.ctl_exits_enabled(True)
        uc.ctl_set_exits([])
        uc.reg_write(x86.UC_X86_REG_CR3, cr3)
        uc.reg_write(x86.UC_X86_REG_CR4, _CR4)
        uc.msr_write(_MSR_EFER, _EFER)
        uc.reg_write(x86.UC_X86_REG_GDTR, (0, self._boot_virtual, 0x7F, 0))
        uc.reg_write(x86.UC_X86_REG_CS, KERNEL_CS)
        uc.reg_write(x86.UC_X86_REG_SS, KERNEL_DS)
        uc.reg_write(x86.UC_X86_REG_CR0, _CR0)

    def _make_repeatable(self) -> None:
        self._uc.reg_write(x86.UC_X86_REG_CR4, _CR4 | _CR4_TSD)
        seen = {leaf: self.cpuid(leaf) for leaf in (1, 7)}
        seen[1] = (*seen[1][:2], seen[1][2] & ~(1 << 30), seen[1][3])
        seen[7] = (seen[7][0], seen[7][1] & ~(1 << 18), *seen[7][2:])
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
        virtual = stub + self._boot_virtual - self._boot
        uc = self._uc
        uc.reg_write(x86.UC_X86_REG_RAX, leaf)
        uc.reg_write(x86.UC_X86_REG_RCX, 0)
        uc.ctl_set_exits([virtual + 2])
        uc.emu_start(virtual, 0)
        uc.ctl_set_exits([])
        uc.ctl_flush_tb()
        names = (x86.UC_X86_REG_EAX, x86.UC_X86_REG_EBX, x86.UC_X86_REG_ECX, x86.UC_X86_REG_EDX)
        a, b, c, d = (uc.reg_read(name) for name in names)
        return a, b, c, d

    def _add_hooks(self) -> None:
        self._intr_cb = _INTR(self._intr_hook)
        self._syscall_cb = _SYSCALL(self._syscall_hook)
        self._invalid_cb = _INVALID(self._invalid_hook)
        self._hook(uc_const.UC_HOOK_INTR, self._intr_cb)
        self._hook(uc_const.UC_HOOK_INSN, self._syscall_cb, ctypes.c_int(x86.UC_X86_INS_SYSCALL))
        self._hook(uc_const.UC_HOOK_INSN_INVALID, self._invalid_cb)
        self._add_stop_check()

    def _add_stop_check(self) -> None:
        """Make `request_stop` exact.

        `uc_emu_stop` from another thread stops *inside* an instruction: the engine looks at its exit flag
        after every load and store, so an ``inc`` or ``xchg`` of memory that had stored already is run once
        more.  Only at the start of a block is a stop exact.  A dozen bytes of host code look at a flag
        there: ``cmp byte [rcx], 0; jne 1f; ret; 1: mov rax, uc_emu_stop; jmp rax``.

        A repeatable processor counts the blocks instead, ``dec qword [rcx]; jz 1f; ret; ...``, and stops
        every `BLOCK_BUDGET` of them: a tick that comes at the same instruction in every run.
        """
        if platform.machine() not in ("x86_64", "AMD64"):
            raise CpuError(f"nopage runs on x86-64 hosts, this one is {platform.machine()}")
        target = ctypes.cast(binding.uclib.uc_emu_stop, ctypes.c_void_p).value or 0
        test = b"\x48\xff\x09\x74\x01\xc3" if self.counts_blocks else b"\x80\x39\x00\x75\x01\xc3"
        code = test + b"\x48\xb8" + target.to_bytes(8, "little") + b"\xff\xe0"
        self._stop_code = mmap.mmap(-1, PAGE_SIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        self._stop_code.write(code)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._stop_code))
        if ctypes.CDLL(None).mprotect(ctypes.c_void_p(start), PAGE_SIZE, mmap.PROT_READ | mmap.PROT_EXEC):
            raise CpuError("the host does not let this process make executable memory")
        self._stop_word = ctypes.c_int64(BLOCK_BUDGET if self.counts_blocks else 0)
        self._hook(uc_const.UC_HOOK_BLOCK, ctypes.c_void_p(start), user_data=ctypes.addressof(self._stop_word))

    def _hook(self, kind: int, callback: Any, *extra: Any, user_data: int = 0) -> None:
        handle = ctypes.c_size_t()
        code = ctypes.cast(callback, ctypes.c_void_p)
        data = ctypes.c_void_p(user_data)
        everywhere = ctypes.c_uint64(1), ctypes.c_uint64(0)
        status = binding.uclib.uc_hook_add(self._uch, ctypes.byref(handle), kind, code, data, *everywhere, *extra)
        if status:
            raise CpuError(f"the engine refused a hook (error {status})")

    def _calibrate(self, cr3: int) -> None:
        """Enter ring 3 once a mode; find what the register API lacks; keep the images as templates."""
        probe = 0x5A5A_1234_5000
        stub = self._boot + PAGE_SIZE
        self.ram.view[stub : stub + 2] = b"\x48\xcf"  # iretq
        self._uc.reg_write(x86.UC_X86_REG_FPCW, FPCW_DEFAULT)
        self._uc.reg_write(x86.UC_X86_REG_MXCSR, MXCSR_DEFAULT)
        self._save_raw(self._uch_value, self._ctx_value)
        before = bytes(self.image)
        self._enter_ring3(stub, USER_CS, probe)
        after = bytes(self.image)
        self._exception_at = self._only_change(before, after, -1, PAGE_FAULT, "the exception in flight")
        self._error_at = self._only_change(before, after, 0, 0x14, "the page-fault error code")
        self._cr3_at = self._only_word(after, cr3, "CR3")
        self._cr2_at = self._cr3_at - 1
        if self._words[self._cr2_at] != probe:
            raise CpuError(self._refusal("CR2 is not beside CR3 in the register image"))
        self._ints[self._exception_at] = -1
        self._check_registers(probe)
        self._fpu_views = self._find_wide(self._write_wide, x86.UC_X86_REG_FP0, 8, 10)
        self._xmm_views = self._find_wide(self._write_wide, x86.UC_X86_REG_XMM0, 16, 16)
        self._template64 = bytes(self.image)
        self.image[:] = before
        self._restore_raw(self._uch_value, self._ctx_value)
        self._enter_ring3(stub, USER32_CS, 0x1234_5000)
        if self._ints[self._error_at] != 0x14 or self._words[self._cr2_at] != 0x1234_5000:
            raise CpuError(self._refusal("the second deliberate fault was not reported where the first was"))
        self._ints[self._exception_at] = -1
        for segment in (DS, ES):
            self.set_register(segment, USER_DS)
        self._template32 = bytes(self.image)
        self.ram.view[stub : stub + PAGE_SIZE] = bytes(PAGE_SIZE)

    def _enter_ring3(self, stub: int, cs: int, rip: int) -> None:
        frame = (stub + 0x800) >> 3
        self.ram.words[frame : frame + 5] = memoryview(
            b"".join(v.to_bytes(8, "little") for v in (rip, cs, EFLAGS_FIXED, 0x7000, USER_DS))
        ).cast("Q")
        offset = self._boot_virtual - self._boot
        self._uc.reg_write(x86.UC_X86_REG_RSP, stub + 0x800 + offset)
        self._trapped = False
        self._calibrating = True
        status = self._start_raw(self._uch, stub + offset, 0, 0, 0)
        self._calibrating = False
        if not self._trapped:
            raise CpuError(self._refusal(f"a deliberate page fault was not reported (engine error {status})"))

    @staticmethod
    def _refusal(why: str) -> str:
        version = ".".join(str(n) for n in binding.uc_version()[:2])
        return f"cannot calibrate this Unicorn ({version}): {why}; nopage is made for unicorn 2.1.4"

    def _only_change(self, before: bytes, after: bytes, old: int, new: int, what: str) -> int:
        a, b = (memoryview(x[: len(x) & ~3]).cast("i") for x in (before, after))
        places = [i for i in range(_REGS_OFFSET // 4, len(a)) if a[i] == old and b[i] == new]
        if len(places) != 1:
            raise CpuError(self._refusal(f"{what} was found in {len(places)} places of the register image"))
        return places[0]

    def _only_word(self, image: bytes, value: int, what: str) -> int:
        words = memoryview(image[: len(image) & ~7]).cast("Q")
        first = _REGS_OFFSET // 8 + 17
        places = [i for i in range(first, len(words)) if words[i] == value]
        if len(places) != 1:
            raise CpuError(self._refusal(f"{what} was found in {len(places)} places of the register image"))
        return places[0]

    def _check_registers(self, rip: int) -> None:
        names = (*"RAX RCX RDX RBX RSP RBP RSI RDI".split(), *(f"R{n}" for n in range(8, 16)), "RIP")  # noqa: SIM905
        for i, name in enumerate(names):
            if i in (RSP, RIP):
                continue
            self.set_register(getattr(x86, "UC_X86_REG_" + name), 0x1111 * (i + 1))
        for i, name in enumerate(names):
            expected = 0x7000 if i == RSP else rip if i == RIP else 0x1111 * (i + 1)
            if self.regs[i] != expected:
                raise CpuError(self._refusal(f"{name} is not where it was in the register image"))
        for i in range(16):
            self.regs[i] = 0

    def _find_wide(self, write: Callable[[int, bytes], None], first: int, count: int, size: int) -> list[memoryview]:
        """Views of `count` registers of `size` bytes in the image, found by writing a mark into each."""
        views = []
        for i in range(count):
            mark = bytes((0x5A + 7 * i + 13 * j) & 0x7F for j in range(size))
            write(first + i, mark)
            image = bytes(self.image)
            place = image.find(mark)
            if place < 0 or image.find(mark, place + 1) >= 0:
                raise CpuError(self._refusal(f"register {first + i} was not found in the register image"))
            views.append(self.image[place : place + size])
            write(first + i, bytes(size))
        return views

    # -- hooks -----------------------------------------------------------------------------------

    def _intr_hook(self, _uc: int, vector: int, _data: Any) -> None:
        self._save_raw(self._uch_value, self._ctx_value)
        if self._calibrating:
            self._trapped = vector == PAGE_FAULT
            self._uc.emu_stop()
            return
        self._in_hook = True
        try:
            if vector == 14:
                self._ints[self._exception_at] = -1
                self.on_page_fault(self._words[self._cr2_at], self._ints[self._error_at])
            else:
                if vector < 32:
                    self._ints[self._exception_at] = -1
                self.on_exception(vector)
        except BaseException as failure:
            self._fail(failure)
        self._in_hook = False
        self._restore_raw(self._uch_value, self._ctx_value)
        if self._flush_wanted:
            self._flush_now()

    def _syscall_hook(self, _uc: int, _data: Any) -> None:
        self._save_raw(self._uch_value, self._ctx_value)
        regs = self.regs
        regs[RIP] += 2
        self._in_hook = True
        try:
            self.on_syscall()
        except BaseException as failure:
            self._fail(failure)
        self._in_hook = False
        regs[RIP] = (regs[RIP] - 2) & 0xFFFF_FFFF_FFFF_FFFF  # the engine adds 2 after this hook
        self._restore_raw(self._uch_value, self._ctx_value)
        regs[RIP] = (regs[RIP] + 2) & 0xFFFF_FFFF_FFFF_FFFF
        if self._flush_wanted:
            self._flush_now()

    def _invalid_hook(self, _uc: int, _data: Any) -> bool:
        self._save_raw(self._uch_value, self._ctx_value)
        self._in_hook = True
        try:
            self._ints[self._exception_at] = -1
            self.on_exception(INVALID_OPCODE)
        except BaseException as failure:
            self._fail(failure)
        self._in_hook = False
        self._restore_raw(self._uch_value, self._ctx_value)
        if self._flush_wanted:
            self._flush_now()
        return True

    def _fail(self, failure: BaseException) -> None:
        """Keep what a handler raised: it must not cross the engine; `run` raises it again."""
        if self._failure is None:
            self._failure = failure
        self._uc.emu_stop()

    def _unexpected(self, *_args: Any) -> None:
        raise CpuError("a trap arrived before the kernel was ready")

    _unexpected_fault = _unexpected

    # -- what the kernel uses ----------------------------------------------------------------------

    def run(self) -> None:
        """Run the task in `image` until `stop`; its state is in `image` again afterwards."""
        self._restore_raw(self._uch_value, self._ctx_value)
        if self._flush_wanted:
            self._flush_now()
        self.running = True
        if not self.counts_blocks:
            self._stop_word.value = 0
        elif self._stop_word.value <= 0:
            self._stop_word.value = BLOCK_BUDGET
        try:
            status = self._start_raw(self._uch, self.regs[RIP], 0, 0, 0)
        finally:
            self.running = False
        self._save_raw(self._uch_value, self._ctx_value)
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        if status:
            raise CpuError(f"the engine stopped: {_error_text(status)} at {self.regs[RIP]:#x}")

    def stop(self) -> None:
        """Make `run` return.  Only from a handler, inside the engine's hook."""
        self._uc.emu_stop()

    def budget_spent(self) -> bool:
        """Whether `run` returned because `BLOCK_BUDGET` blocks have been run since the last time it did."""
        return self.counts_blocks and self._stop_word.value <= 0

    def request_stop(self) -> None:
        """Make `run` return at the start of the next block of code.  From any thread, at any time."""
        self._stop_word.value = 1

    def fresh_image(self, bits: int, cr3: int) -> None:
        """Load `image` with a new program's state: registers zero, x87 and SSE at their defaults, ring 3."""
        self.image[:] = self._template64 if bits == 64 else self._template32
        self._words[self._cr3_at] = cr3
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
        self._ctl_raw(self._uch, _FLUSH_TLB)
        if self._drop_wanted:
            self._drop_wanted = False
            self._uc.ctl_flush_tb()

    def drop_code(self) -> None:
        """Drop translated code: a frame that was executable was written by the kernel, or given away.

        Done before the guest runs again, however often it was asked for.
        """
        self._drop_wanted = self._flush_wanted = True

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
        self._reg_read_raw(self._ctx_value, EFLAGS, self._eflags_pointer)
        return self._eflags_word.value

    def set_register(self, number: int, value: int) -> None:
        """Write a register of the image by the engine's constant."""
        word = ctypes.c_uint64(value)
        if self._reg_write_raw(self._ctx_value, number, ctypes.byref(word)):
            raise CpuError(f"register {number} cannot be written")

    def get_xmm(self, number: int) -> bytes:
        """The 16 bytes of XMM `number` of the image."""
        data = (ctypes.c_ubyte * 16)()
        self._reg_read_raw(self._ctx_value, x86.UC_X86_REG_XMM0 + number, data)
        return bytes(data)

    def set_xmm(self, number: int, value: bytes) -> None:
        """Write XMM `number` of the image."""
        data = (ctypes.c_ubyte * 16).from_buffer_copy(value)
        self._reg_write_raw(self._ctx_value, x86.UC_X86_REG_XMM0 + number, data)

    def load_code_segment(self, selector: int) -> None:
        """Give the image another CS, `USER_CS` or `USER32_CS`, and with it the mode; all other registers stay.

        The register API sets the selector alone, so the rest comes from the other mode's template.
        """
        state, flags = self.fxsave(), self.get_register(EFLAGS)
        regs = list(self.regs[: RIP + 1])
        cr3 = self._words[self._cr3_at]
        bases = [(number, self.get_register(number)) for number in (FS_BASE, GS_BASE)]
        segments = [(number, self.get_register(number)) for number in (DS, ES, FS, GS)]
        self.image[:] = self._template64 if selector == USER_CS else self._template32
        self._words[self._cr3_at] = cr3
        for number, value in segments + bases:
            if self.get_register(number) != value:
                self.set_register(number, value)
        for i, value in enumerate(regs):
            self.regs[i] = value
        self.set_register(EFLAGS, flags)
        self.fxrstor(state)

    # -- x87 and SSE state ----------------------------------------------------------------------------

    def _write_wide(self, number: int, value: bytes) -> None:
        data = (ctypes.c_ubyte * 16).from_buffer_copy(value.ljust(16, b"\0"))
        self._reg_write_raw(self._ctx_value, number, data)

    def fxsave(self) -> bytes:
        """The 512 bytes that FXSAVE64 stores for the image (SDM vol. 1 §10.5.1)."""
        status = self.get_register(FPSW) & 0xFFFF
        tags = self.get_register(FPTAG)
        valid = sum(1 << i for i in range(8) if tags >> (2 * i) & 3 != 3)
        area = bytearray(512)
        _FXSAVE.pack_into(
            area, 0, self.get_register(FPCW) & 0xFFFF, status, valid, self.get_register(x86.UC_X86_REG_FOP) & 0x7FF,
            self.get_register(x86.UC_X86_REG_FIP), self.get_register(x86.UC_X86_REG_FDP),
            self.get_register(MXCSR) & 0xFFFFFFFF, MXCSR_MASK,
        )  # fmt: skip
        top = status >> 11 & 7
        views = self._fpu_views
        for i in range(8):
            area[32 + 16 * i : 42 + 16 * i] = views[top + i & 7]
        area[160:416] = b"".join(self._xmm_views)
        return bytes(area)

    def fxrstor(self, area: bytes) -> None:
        """Load x87 and SSE state into the image from the 512 bytes of an FXSAVE64 area.

        The caller has checked MXCSR against `MXCSR_MASK`.
        """
        control, status, valid, opcode, fip, fdp, mxcsr, _mask = _FXSAVE.unpack_from(area)
        top = status >> 11 & 7
        views = self._fpu_views
        for i in range(8):
            views[top + i & 7][:] = area[32 + 16 * i : 42 + 16 * i]
        for i, view in enumerate(self._xmm_views):
            view[:] = area[160 + 16 * i : 176 + 16 * i]
        self.set_register(FPSW, status)
        self.set_register(FPCW, control)
        self.set_register(FPTAG, sum(0 if valid >> i & 1 else 3 << (2 * i) for i in range(8)))
        self.set_register(x86.UC_X86_REG_FOP, opcode)
        self.set_register(x86.UC_X86_REG_FIP, fip)
        self.set_register(x86.UC_X86_REG_FDP, fdp)
        self.set_register(MXCSR, mxcsr & MXCSR_MASK)


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
