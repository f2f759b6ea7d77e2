"""`in` and `out` in user mode: what ioperm and iopl allow (arch/x86/kernel/ioport.c); SIGSEGV for the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Optional

from machine.hardware.ports import PORTS
from machine.kernel.abi.signal import SI_KERNEL, SIGSEGV

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import Task

GENERAL_PROTECTION = 13


class IoPermissions(NamedTuple):
    """A thread's; forked children and programs that it executes have them too."""

    level: int
    """What iopl has set, 0 to 3; 3 allows every port."""
    ports: int
    """Bit n: port n is allowed (ioperm)."""

    def allow(self, port: int, width: int) -> bool:
        """Whether all of the ports may be used."""
        wanted = (1 << width) - 1 << port
        return port + width <= PORTS and (self.level == 3 or self.ports & wanted == wanted)


NO_PORTS = IoPermissions(0, 0)


def user_port(kernel: Kernel, port: int, width: int, value: Optional[int]) -> int:
    """A program's access: a write of `value`, or with None a read, whose result this is."""
    task = kernel.sched.current
    if kernel.port_fault:  # what the block does behind a forbidden access has not happened
        return (1 << 8 * width) - 1
    if task is None or task.io is None or not task.io.allow(port, width):
        if task is not None:
            _Forbidden(kernel, task)
        return (1 << 8 * width) - 1
    kernel.clock.advance()
    if value is None:
        return kernel.bus.ports.read(port, width)
    kernel.bus.ports.write(port, width, value)
    if kernel.sched.need_resched or task.sigpending:  # an interrupt of the device woke somebody
        kernel.cpu.request_stop()
    return 0


class _Forbidden:
    """The fault of an instruction that is being executed: the engine can't be made to leave it undone.

    It goes on to the end of its block, or to the next trap.  Then the registers are put back to what they were at the
    instruction, and the signal is sent.  Stores of the few instructions between stay.
    """

    def __init__(self, kernel: Kernel, task: Task) -> None:
        self._kernel, self._task = kernel, task
        self._image = bytes(kernel.cpu.image)
        cpu = kernel.cpu
        self._before = cpu.on_page_fault, cpu.on_syscall, cpu.on_exception
        cpu.on_page_fault, cpu.on_syscall, cpu.on_exception = self._trap, self._trap, self._trap
        self._pending = kernel.port_fault = True
        kernel.sched.interrupt(self._raise)

    def _trap(self, *_details: int) -> None:
        """What else the block does has not happened."""
        self._raise()
        self._kernel.sched.enter(_nothing)

    def _raise(self) -> None:
        if not self._pending:
            return
        self._pending = self._kernel.port_fault = False
        cpu = self._kernel.cpu
        cpu.on_page_fault, cpu.on_syscall, cpu.on_exception = self._before
        cpu.image[:] = self._image
        self._kernel.force_sig_fault(self._task, SIGSEGV, SI_KERNEL, 0, GENERAL_PROTECTION, 0)


def _nothing() -> None:
    """Work of a task that only has to look at its signals."""
