"""`struct pt_regs`: what was interrupted, as a handler's third argument up to Linux 2.6.18 (asm/ptrace.h)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.hardware.cpu import RIP, RSP

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel


class pt_regs:
    """The registers of the process on top of which the handler runs; they change when it goes on."""

    __slots__ = ("_kernel",)

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    @property
    def rip(self) -> int:
        """Address of its next instruction (`eip` on i386)."""
        return int(self._kernel.cpu.regs[RIP])

    @property
    def rsp(self) -> int:
        """Its stack pointer (`esp`)."""
        return int(self._kernel.cpu.regs[RSP])

    eip, esp = rip, rsp
