"""Tasks of the kernel's own, which have no user side (kernel/fork.c: kernel_thread)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from machine.kernel.abi.layout import ABI64
from machine.kernel.fs.fdtable import files_struct, fs_struct
from machine.kernel.task.sighand import SIGNAL_UNKILLABLE, sighand_struct, signal_struct
from machine.kernel.task.task import TASK_UNINTERRUPTIBLE, task_struct

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel


def kernel_task(kernel: Kernel, name: str) -> task_struct:
    """A task without user memory.  Its number is 0 and no list of processes has it: nothing can be sent to it."""
    task = task_struct(kernel, 0, 0)
    task.comm = name
    task.abi = ABI64
    task.mm = None  # type: ignore[assignment]
    task.state = TASK_UNINTERRUPTIBLE
    task.files = files_struct(kernel)
    task.fs = fs_struct(kernel.root, kernel.root)
    task.sighand = sighand_struct()
    task.signal = signal_struct(task)
    task.signal.flags = SIGNAL_UNKILLABLE
    task.image = bytearray()
    return task


def start_kthread(kernel: Kernel, name: str, function: Callable[[], None]) -> task_struct:
    """Run `function`, which must not return, on the kernel stack of a task of its own; it may sleep."""
    task = kernel_task(kernel, name)
    task.start = (function, ())
    kernel.sched.kthreads.append(task)
    kernel.sched.add(task)
    return task
