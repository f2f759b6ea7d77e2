"""Executing one instruction by the trap flag (SDM vol. 3B §17.3.1.4): exception 1 comes after it.

TF is ours, so the guest must not see it: not in what `pushf` stores, not in the r11 that `syscall` leaves, not in the
frame of a signal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from machine.hardware.cpu import EFLAGS, R11, RIP
from machine.kernel.mm.mmio import hide_trap_flag
from machine.kernel.task.regset import image_of

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import Task

TF = 0x100


class Step:
    """A task that executes one instruction."""

    __slots__ = ("guest_tf", "handler", "rip", "spurious")

    def __init__(self, rip: int, guest_tf: bool) -> None:
        self.rip = rip
        """Of the instruction; -1 inside a system call, whose end is the end of the step."""
        self.guest_tf = guest_tf
        self.handler = False
        """A signal's handler is about to be entered: its first instruction ends the step."""
        self.spurious = False
        """An exception that came before the instruction has been ignored."""


class Stepping:
    """The tasks that execute one instruction each."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.tasks: dict[Task, Step] = {}

    def get(self, task: Task) -> Optional[Step]:
        """The step of a task that makes one."""
        return self.tasks.get(task)

    def begin(self, task: Task, inside: bool) -> None:
        """One instruction; `inside` a system call, its end."""
        with image_of(self.kernel, task) as cpu:
            flags = cpu.eflags()
            self.tasks[task] = Step(-1 if inside else cpu.regs[RIP], bool(flags & TF))
            cpu.set_register(EFLAGS, flags | TF)

    def end(self, task: Task) -> None:
        """The task makes no step any more."""
        step = self.tasks.pop(task, None)
        if step is not None and not step.guest_tf:
            self.clear_tf(task)

    def end_all(self) -> None:
        """Nobody does."""
        for task in list(self.tasks):
            self.end(task)

    def clear_tf(self, task: Task) -> None:
        """Take TF out of the task's flags."""
        with image_of(self.kernel, task) as cpu:
            cpu.set_register(EFLAGS, cpu.eflags() & ~TF)

    def enters_handler(self, task: Task) -> None:
        """The task takes a signal: its frame is without TF, and the handler's first instruction ends the step."""
        step = self.tasks.get(task)
        if step is not None:
            step.handler = True
            self.clear_tf(task)

    def is_early(self, task: Task, step: Step) -> bool:
        """Whether exception 1 came before the instruction, and is to be ignored.

        The engine looks at TF once more after `syscall`, when the kernel may have loaded another task.
        """
        rip = self.kernel.cpu.regs[RIP]
        if rip != step.rip or step.spurious:
            return False
        code = self.kernel.peek_user(task.mm, rip, 2)
        if code[:1] in (b"\xf2", b"\xf3") or code[1:] == b"\xfe":  # a string instruction, or a jump to itself
            return False
        step.spurious = True
        return True

    def hide(self, task: Task, step: Step) -> None:
        """The instruction has been executed: TF is not in what it stored."""
        if step.guest_tf or step.rip < 0:
            return
        if self.kernel.peek_user(task.mm, step.rip, 2) == b"\x0f\x05":
            self.kernel.cpu.regs[R11] &= ~TF
        hide_trap_flag(self.kernel, task, step.rip)
