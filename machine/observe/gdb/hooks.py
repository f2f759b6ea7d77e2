"""The entries from the CPU while somebody steps or a variable is watched; at all other times the kernel has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from machine.hardware.cpu import RIP
from machine.kernel.task.regset import image_of
from machine.observe.gdb.stops import STEPPED

if TYPE_CHECKING:
    from machine.kernel.task.task import Task
    from machine.observe.gdb.control import Control
    from machine.observe.gdb.stepping import Step


class Hooks:
    """Stands between the CPU and `kernel.entry` as long as that is needed."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.kernel = control.kernel

    def update(self) -> None:
        """Stand between the CPU and the kernel's entries as long as that is needed."""
        cpu, entry, watching = self.kernel.cpu, self.kernel.entry, bool(self.control.watches.active)
        if watching or self.control.stepping.tasks:
            cpu.on_page_fault, cpu.on_syscall, cpu.on_exception = self._page_fault, self._system_call, self._exception
        else:
            cpu.on_page_fault, cpu.on_syscall, cpu.on_exception = entry.page_fault, entry.system_call, entry.exception
        if watching:
            cpu.run = self.control.watches.run  # type: ignore[method-assign]
        else:
            vars(cpu).pop("run", None)

    def _page_fault(self, address: int, error_code: int) -> None:
        if self.control.watches.active:
            self.control.watches.page_fault(address, error_code)
        else:
            self.kernel.entry.page_fault(address, error_code)

    def _system_call(self) -> None:
        self._around(self.kernel.entry.system_call)

    def _exception(self, vector: int) -> None:
        self._around(self.kernel.entry.exception, vector)

    def _around(self, entry: Callable[..., None], *arguments: int) -> None:
        task = self.kernel.sched.current
        self.control.watches.open()
        entry(*arguments)
        step = None if task is None else self.control.stepping.get(task)
        if task is not None and step is not None:
            self._called(task, step)
        self.control.watches.leave()

    def _called(self, task: Task, step: Step) -> None:
        """A step whose instruction was a system call that did not sleep has ended."""
        with image_of(self.kernel, task) as cpu:
            if cpu.regs[RIP] == step.rip or task.work:
                return
        if self.kernel.sched.current is task:
            self.control.stepping.hide(task, step)
            self.kernel.sched.enter(self.control.trapped, task, STEPPED)
        else:
            self.control.later(task, STEPPED)
