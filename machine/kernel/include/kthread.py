"""Kernel threads of a driver's own (linux/kthread.h; kernel/kthread.c).

A thread runs on a kernel stack of its own, sleeps like a process, and belongs to none: there is no user memory.  It
looks at `kthread_should_stop()` wherever it waits, and returns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from machine.kernel.abi.errno import EINTR, EINVAL, EIO
from machine.kernel.answers import is_number, nonsense
from machine.kernel.context import might_sleep
from machine.kernel.current import current_kernel
from machine.kernel.include.device import format_c
from machine.kernel.include.pages import BUG_report
from machine.kernel.module import DRIVER_FAILED, call_driver, calling_line, calling_module, module
from machine.kernel.task.kthread import start_kthread
from machine.kernel.task.task import EXIT_DEAD, TaskExit, task_struct

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel


class _Thread:
    """One thread that a driver has started."""

    def __init__(
        self, kernel: Kernel, owner: module | None, where: str, threadfn: Callable[[Any], int], data: Any
    ) -> None:
        self.kernel, self.owner, self.where = kernel, owner, where
        self.threadfn, self.data = threadfn, data
        self.task: task_struct
        self.should_stop = self.ended = False
        self.result: int = 0
        self.done = kernel.sched.queue()

    def main(self) -> None:
        """Body of its kernel stack (kernel/kthread.c: kthread)."""
        answer = call_driver(self.kernel, self.owner, "kthread", self.threadfn, self.data)
        if answer is DRIVER_FAILED:
            answer = -EIO
        elif not is_number(answer):
            nonsense(self.owner, "kthread", self.threadfn, answer, "not a number")
            answer = -EIO
        self.end(answer)
        raise TaskExit

    def end(self, result: int) -> None:
        """It runs no more."""
        self.result, self.ended = result, True
        self.task.state = EXIT_DEAD
        self.kernel.sched.kthreads.remove(self.task)
        self.done.wake()


class _Threads:
    """Those of one machine; as a leak check: module -> the threads that it left, a line each."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.all: dict[task_struct, _Thread] = {}

    def __call__(self, owner: module) -> list[str]:
        mine = [each for each in self.all.values() if each.owner is owner]
        left = [each for each in mine if not each.ended]
        for each in mine:
            del self.all[each.task]
        for each in left:
            each.end(-EINTR)
            each.task.kstack = None  # what it has on its stack goes with it
        return [f"kernel thread '{each.task.comm}', started at {each.where}" for each in left]


def _threads(kernel: Kernel) -> _Threads:
    found = next((each for each in kernel.leak_checks if isinstance(each, _Threads)), None)
    if found is None:
        found = _Threads(kernel)
        kernel.leak_checks.append(found)
    return found


def kthread_run(threadfn: Callable[[Any], int], data: Any, namefmt: str, *args: Any) -> task_struct:
    """Start a thread that calls ``threadfn(data)``; its name is as printf has it, up to 15 characters.

    The thread, for `kthread_stop`.  It runs when the others make way, and ends when `threadfn` returns.
    """
    kernel = current_kernel()
    thread = _Thread(kernel, calling_module(2), calling_line(2), threadfn, data)
    thread.task = start_kthread(kernel, format_c(namefmt, args)[:15], thread.main)
    _threads(kernel).all[thread.task] = thread
    kernel.sched.need_resched = True
    return thread.task


def kthread_should_stop() -> bool:
    """Whether somebody has called `kthread_stop` for the thread that runs: it should return."""
    kernel = current_kernel()
    thread = None if kernel.current is None else _threads(kernel).all.get(kernel.current)
    return thread is not None and thread.should_stop


def kthread_stop(k: task_struct) -> int:
    """Have the thread stop, wake it, and wait until it has: what its function returned, -EINTR if it never ran.

    May sleep.  A thread that ended before gives its result too; it can be stopped once.  -EINVAL, reported: no thread
    of `kthread_run`, or the thread itself.
    """
    kernel = current_kernel()
    thread = _threads(kernel).all.get(k)
    if thread is None or kernel.current is k:
        BUG_report(
            "kthread_stop of " + ("no thread that kthread_run started" if thread is None else "the thread itself")
        )
        return -EINVAL
    if not might_sleep(kernel, "kthread_stop"):
        return -EINTR
    thread.should_stop = True
    if k.start is not None and not thread.ended:
        k.start = None
        thread.end(-EINTR)
    kernel.sched.wake_task(k, None)
    _wait_for(kernel, thread)
    _threads(kernel).all.pop(k, None)
    return thread.result


def _wait_for(kernel: Kernel, thread: _Thread) -> None:
    """Until it has ended.  While no process runs (a module that the host unloads) the machine runs for it."""
    if kernel.current is not None:
        while not thread.ended:
            kernel.sched.wait(thread.done, interruptible=False)
    elif not thread.ended:
        kernel.sched.run(lambda: thread.ended)
        if not thread.ended:
            BUG_report(f"kthread_stop: {thread.task.comm} sleeps and does not look at kthread_should_stop")
            thread.end(-EINTR)
            thread.task.kstack = None


__all__ = ["kthread_run", "kthread_should_stop", "kthread_stop"]
