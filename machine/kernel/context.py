"""Where code runs, and what it may do there: the rule of sleeping (include/linux/hardirq.h; kernel/sched.c).

`kernel.irq.preempt_count` has spinlocks in bits 0 to 7, softirqs in 8 to 15, handlers from 16 on.  It is 0 whenever a
task is switched out, so there is one a machine and not one a task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

from machine.kernel.module import calling_line, calling_module
from machine.kernel.task.task import TASK_INTERRUPTIBLE, TASK_RUNNING, TASK_UNINTERRUPTIBLE

if TYPE_CHECKING:
    from machine.kernel.irq import Interrupts
    from machine.kernel.kernel import Kernel

PREEMPT_OFFSET, SOFTIRQ_OFFSET, HARDIRQ_OFFSET = 1, 0x100, 0x1_0000
PREEMPT_MASK, SOFTIRQ_MASK, HARDIRQ_MASK = 0xFF, 0xFF00, 0x0FFF_0000
IN_INTERRUPT = SOFTIRQ_MASK | HARDIRQ_MASK
_ASLEEP = {TASK_INTERRUPTIBLE: "TASK_INTERRUPTIBLE", TASK_UNINTERRUPTIBLE: "TASK_UNINTERRUPTIBLE"}


class KernelBug(Exception):
    """The kernel caught itself in something that must not be; an oops."""


def might_sleep(kernel: Kernel, what: str) -> bool:
    """Whether code may sleep here.  False: it is reported with the driver's line, and the caller must not sleep.

    `what` is the function that may sleep.  It may not in a handler, softirq or timer, with a spinlock held, and with
    interrupts off (kernel/sched.c: __might_sleep).  One place is reported once.
    """
    irq = kernel.irq
    if not irq.preempt_count and not irq.disabled:
        return True
    place, owner = calling_line(2), calling_module(2)
    key = (owner, place, what)
    if key not in irq.told:
        irq.told.add(key)
        why = _why(irq)
        kernel.report(
            f"BUG: sleeping function called from invalid context at {place or 'the kernel'}: {what} {why}, "
            f"in_atomic():{int(irq.preempt_count != 0)}, irqs_disabled():{int(irq.disabled)}"
        )
    return False


def _why(irq: Interrupts) -> str:
    if irq.preempt_count & HARDIRQ_MASK:
        return "in an interrupt handler"
    if irq.preempt_count & PREEMPT_MASK:
        if not irq.held:
            return "with a spinlock held"
        return f"with {getattr(irq.held[-1][0], 'what', 'a spinlock')} held (taken at {irq.held[-1][1]})"
    if irq.preempt_count & SOFTIRQ_MASK:
        return f"in {irq.softirqs.running}" if irq.softirqs.running else "with softirqs off (spin_lock_bh)"
    return "with interrupts off"


def interrupt_context(irq: Interrupts) -> str:
    """``in a timer function (tick, bad.py:12)``: what runs that is no process's own work; "" for a process."""
    if irq.preempt_count & HARDIRQ_MASK:
        return "in an interrupt handler"
    return f"in {irq.softirqs.running}" if irq.preempt_count & SOFTIRQ_MASK and irq.softirqs.running else ""


def switch_atomic(kernel: Kernel) -> None:
    """The current task goes to sleep where it must not, and nobody noticed before: reported.

    With a spinlock held or interrupts off it sleeps all the same, and comes back with them; the others run without.
    In a handler there is nobody to put to sleep: KernelBug.
    """
    irq, task = kernel.irq, kernel.current
    assert task is not None
    text = f"BUG: scheduling while atomic: {task.comm}/0x{irq.preempt_count:08x}/{task.pid}"
    if irq.preempt_count & IN_INTERRUPT:
        task.state = TASK_RUNNING
        raise KernelBug(text)
    kernel.report(text)
    kept = irq.preempt_count, irq.disabled, irq.held
    irq.preempt_count, irq.disabled, irq.held = 0, False, []
    kernel.sched.hub.switch()
    irq.preempt_count, irq.disabled, irq.held = kept


def left_in_state(kernel: Kernel, owner: Any, operation: str, count: int, disabled: bool) -> None:
    """A driver's method, entered with `count` and `disabled`, returned in another context, or with its process
    about to sleep: reported and undone."""
    irq = kernel.irq
    if irq.preempt_count != count:
        kept = (irq.preempt_count & PREEMPT_MASK) - (count & PREEMPT_MASK)
        places = ", ".join(where for _, where in irq.held[-kept:]) if kept > 0 else ""
        held = getattr(irq.held[-1][0], "what", "a spinlock") if places else ""
        what = f"with {held} held (taken at {places})" if places else "with an unbalanced spin_lock_bh"
        kernel.driver_bug(owner, f"method {operation} returned {what}: scheduling while atomic")
        if kept > 0:
            del irq.held[-kept:]
        irq.preempt_count = count
    if irq.disabled != disabled:
        state = "off" if irq.disabled else "on"
        kernel.driver_bug(owner, f"method {operation} returned with interrupts {state} that were not before")
        irq.set_disabled(disabled)
    task = kernel.current
    if task is not None and task.state in _ASLEEP and not count and task.kstack is getcurrent():
        kernel.driver_bug(owner, f"method {operation} returned in state {_ASLEEP[task.state]}: finish_wait?")
        task.state = TASK_RUNNING
