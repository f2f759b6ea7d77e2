"""The processor before any kernel: real mode, from the reset vector until it halts.

A second engine over the same RAM, because the first is set up for paging; with `hardware/cpu.py` the only file that
imports it.  The engine hands software interrupts to a hook in real mode too, so the vector table is followed here.
"""

from __future__ import annotations

from typing import Any

from unicorn import Uc, UcError  # type: ignore[attr-defined]
from unicorn import unicorn_const as uc_const
from unicorn import x86_const as x86

from machine.hardware.bus import Bus
from machine.hardware.ram import PCI_HOLE_END, Ram

RESET_VECTOR = 0xFFFF0
"""F000:FFF0; on a PC it is decoded at 0xfffffff0 as well, until the first far jump."""
TIMEOUT_SECONDS = 20
_IF, _TF = 0x200, 0x100


class RealModeError(Exception):
    """The firmware went astray: it did what can't be, or never halted."""


class RealMode:
    """A processor in real mode over `ram`; what is beyond RAM, and ports, are those of `bus`."""

    def __init__(self, ram: Ram, bus: Bus) -> None:
        self._bus = bus
        self._failure: Exception | None = None
        self._ram = ram
        engine: Any = Uc
        uc = self._uc = engine(uc_const.UC_ARCH_X86, uc_const.UC_MODE_16)
        uc.mem_map_ptr(0, ram.low_end, uc_const.UC_PROT_ALL, ram.address)
        start = ram.low_end
        uc.mmio_map(
            start, PCI_HOLE_END - start,
            lambda _uc, offset, size, _data: self._guarded(bus.read, start + offset, size), None,
            lambda _uc, offset, size, value, _data: self._guarded(bus.write, start + offset, size, value), None,
        )  # fmt: skip
        everywhere = 1, 0
        uc.hook_add(uc_const.UC_HOOK_INSN, self._in, None, *everywhere, x86.UC_X86_INS_IN)
        uc.hook_add(uc_const.UC_HOOK_INSN, self._out, None, *everywhere, x86.UC_X86_INS_OUT)
        uc.hook_add(uc_const.UC_HOOK_INTR, self._interrupt)

    def run(self) -> None:
        """From the reset vector until HLT.  RealModeError: an instruction that can't be, or no HLT in 20 seconds."""
        uc = self._uc
        uc.reg_write(x86.UC_X86_REG_CS, 0xF000)
        uc.reg_write(x86.UC_X86_REG_EFLAGS, 2)
        try:
            uc.emu_start(RESET_VECTOR, 0xFFFFFFFF, timeout=TIMEOUT_SECONDS * 1_000_000)
        except UcError as error:
            raise RealModeError(f"{error} at {self._where()}") from None
        if self._failure is not None:
            raise self._failure
        linear = (uc.reg_read(x86.UC_X86_REG_CS) << 4) + uc.reg_read(x86.UC_X86_REG_IP)
        if self._ram.view[linear - 1] != 0xF4:  # HLT
            raise RealModeError(f"it did not halt; it is at {self._where()}")

    def _where(self) -> str:
        return f"{self._uc.reg_read(x86.UC_X86_REG_CS):04X}:{self._uc.reg_read(x86.UC_X86_REG_IP):04X}"

    def _guarded(self, function: Any, *arguments: int) -> int:
        """What a device raises must not cross the engine: it is kept, and `run` raises it."""
        try:
            return int(function(*arguments) or 0)
        except Exception as failure:
            self._failure = self._failure or failure
            self._uc.emu_stop()
            return 0

    def _in(self, _uc: Any, port: int, size: int, _data: Any) -> int:
        return self._guarded(self._bus.ports.read, port, size)

    def _out(self, _uc: Any, port: int, size: int, value: int, _data: Any) -> None:
        self._guarded(self._bus.ports.write, port, size, value)

    def _interrupt(self, uc: Any, number: int, _data: Any) -> None:
        """INT: flags, CS and IP onto the stack, CS:IP from the vector table (SDM vol. 3B §20.1.4)."""
        view = self._ram.view
        flags = uc.reg_read(x86.UC_X86_REG_EFLAGS)
        base = uc.reg_read(x86.UC_X86_REG_SS) << 4
        sp = uc.reg_read(x86.UC_X86_REG_SP)
        for value in (flags, uc.reg_read(x86.UC_X86_REG_CS), uc.reg_read(x86.UC_X86_REG_IP)):
            sp = sp - 2 & 0xFFFF
            view[base + sp : base + sp + 2] = (value & 0xFFFF).to_bytes(2, "little")
        uc.reg_write(x86.UC_X86_REG_SP, sp)
        uc.reg_write(x86.UC_X86_REG_EFLAGS, flags & ~(_IF | _TF))
        ip, cs = (int.from_bytes(view[4 * number + n : 4 * number + n + 2], "little") for n in (0, 2))
        uc.reg_write(x86.UC_X86_REG_CS, cs)
        uc.reg_write(x86.UC_X86_REG_IP, ip)
