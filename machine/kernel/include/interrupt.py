"""Interrupt handlers, tasklets and work queues (linux/interrupt.h, linux/workqueue.h; LDD3 ch. 10, §7.5, §7.6).

A handler is ``handler(irq, dev_id, regs)`` and returns IRQ_HANDLED or IRQ_NONE; in a driver for a Linux of today it is
``handler(irq, dev_id)``.  It must not sleep, and there is no process whose memory it could touch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from machine.kernel.context import might_sleep
from machine.kernel.current import current_kernel
from machine.kernel.dialect import is_today
from machine.kernel.include.pages import BUG_report
from machine.kernel.include.spinlock import in_interrupt
from machine.kernel.irq import (
    IRQ_HANDLED,
    IRQ_NONE,
    IRQF_SHARED,
    NR_IRQS,
    SA_INTERRUPT,
    SA_SAMPLE_RANDOM,
    SA_SHIRQ,
    irqaction,
)
from machine.kernel.module import calling_line, calling_module
from machine.kernel.softirq import NS_PER_TICK, tasklet_struct
from machine.kernel.workqueue import work_struct


def request_irq(irq: int, handler: Callable[..., Any], flags: int, name: str, dev_id: Any) -> int:
    """Have `handler` called for interrupts of line `irq`, 0 to 223; /proc/interrupts shows `name`.

    `flags`: SA_SHIRQ (IRQF_SHARED) where the line is shared, SA_INTERRUPT to run with interrupts off, SA_SAMPLE_RANDOM.
    `dev_id` is given to the handler, and tells it from others of the line: it may be None unless that is shared.
    0; -EINVAL: no such line, no handler, shared without `dev_id`; -EBUSY: the line is taken, and one of them does not
    share (kernel/irq/manage.c: request_irq; LDD3 §10.2).
    """
    action = irqaction(handler, flags, name, dev_id, calling_module(2), calling_line(2))
    return current_kernel().irq.request(irq, action)


def free_irq(irq: int, dev_id: Any) -> None:
    """Take back what `request_irq` gave, for the same `dev_id`.  Where there is nothing to free it is reported."""
    if in_interrupt():
        BUG_report(f"free_irq({irq}) in interrupt context: it would wait for itself")
        return
    if not current_kernel().irq.free(irq, dev_id):
        BUG_report(f"Trying to free free IRQ{irq}")


def _known(irq: int, what: str) -> bool:
    if 0 <= irq < NR_IRQS:
        return True
    BUG_report(f"{what}({irq}): there is no such interrupt")
    return False


def disable_irq(irq: int) -> None:
    """No handler of the line runs until `enable_irq`, as often as it was disabled; an interrupt meanwhile is kept."""
    if _known(irq, "disable_irq"):
        current_kernel().irq.disable_line(irq)


def disable_irq_nosync(irq: int) -> None:
    """`disable_irq` that does not wait for a handler: with one processor the same."""
    if _known(irq, "disable_irq_nosync"):
        current_kernel().irq.disable_line(irq)


def enable_irq(irq: int) -> None:
    """Undo one `disable_irq`.  A line that is not disabled is reported."""
    if _known(irq, "enable_irq") and not current_kernel().irq.enable_line(irq):
        BUG_report(f"Unbalanced enable for IRQ {irq}")


def synchronize_irq(irq: int) -> None:
    """Wait until no handler of the line runs: with one processor that is so, except in a handler, which is reported."""
    if _known(irq, "synchronize_irq") and current_kernel().irq.preempt_count >> 16:
        BUG_report(f"synchronize_irq({irq}) in a handler: it would wait for itself")


def IRQ_RETVAL(x: Any) -> int:
    """IRQ_HANDLED when `x` is true, else IRQ_NONE."""
    return IRQ_HANDLED if x else IRQ_NONE


# -- tasklets -------------------------------------------------------------------------------------------


def tasklet_init(t: tasklet_struct, func: Callable[[Any], None], data: Any) -> None:
    """Prepare a tasklet: ``func(data)`` will run."""
    t.func, t.data, t.count, t.scheduled, t.today = func, data, 0, False, False


def DECLARE_TASKLET(func: Callable[[Any], None], data: Any = 0) -> tasklet_struct:
    """A new tasklet.  (C's first argument is its name.)"""
    return tasklet_struct(func, data)


def tasklet_setup(t: tasklet_struct, callback: Callable[[tasklet_struct], None]) -> None:
    """`tasklet_init` of today: ``callback(t)`` will run (since Linux 5.9)."""
    t.func, t.count, t.scheduled, t.today = callback, 0, False, True


def tasklet_schedule(t: tasklet_struct) -> None:
    """Have the tasklet run soon, once: after the handler that schedules it.  Nothing while it is scheduled already."""
    t.owner, t.where = calling_module(2), calling_line(2)
    current_kernel().irq.softirqs.schedule(t, high=False)


def tasklet_hi_schedule(t: tasklet_struct) -> None:
    """`tasklet_schedule`, before timers and other tasklets."""
    t.owner, t.where = calling_module(2), calling_line(2)
    current_kernel().irq.softirqs.schedule(t, high=True)


def tasklet_disable(t: tasklet_struct) -> None:
    """The tasklet does not run until `tasklet_enable`; it may be scheduled."""
    t.count += 1


def tasklet_enable(t: tasklet_struct) -> None:
    """Undo one `tasklet_disable`."""
    if not t.count:
        BUG_report("tasklet_enable of a tasklet that is not disabled")
        return
    t.count -= 1
    if not t.count:
        current_kernel().irq.softirqs.enable(t)


def tasklet_kill(t: tasklet_struct) -> None:
    """Wait until the tasklet is not scheduled any more: one that is runs once more."""
    softirqs = current_kernel().irq.softirqs
    if in_interrupt():
        BUG_report("Attempt to kill tasklet from interrupt")
        return
    if not t.scheduled:
        return
    if t.count:
        BUG_report("tasklet_kill of a tasklet that is scheduled and disabled: it would wait for ever")
        return
    softirqs.run()


# -- work queues ----------------------------------------------------------------------------------------


def INIT_WORK(work: work_struct, func: Callable[[Any], None], data: Any = None) -> None:
    """Prepare work: ``func(data)`` will run in a kernel thread, where it may sleep.  ``func(work)`` since 2.6.20."""
    work.func = func
    work.data = work if is_today(calling_module(2)) else data


def DECLARE_WORK(func: Callable[[Any], None], data: Any = None) -> work_struct:
    """New work.  (C's first argument is its name.)"""
    work = work_struct(func, data)
    if is_today(calling_module(2)):
        work.data = work
    return work


def _prepared(work: work_struct) -> bool:
    if work.func is None:
        BUG_report("schedule_work without INIT_WORK")
        return False
    work.owner, work.where = calling_module(3), calling_line(3)
    return True


def schedule_work(work: work_struct) -> int:
    """Have the kernel thread `events/0` do it soon: 1, or 0 when it is scheduled already."""
    return int(_prepared(work) and current_kernel().workqueue.queue(work))


def schedule_delayed_work(work: work_struct, delay: int) -> int:
    """The same, `delay` jiffies later."""
    return int(_prepared(work) and current_kernel().workqueue.queue(work, max(1, int(delay)) * NS_PER_TICK))


def cancel_delayed_work(work: work_struct) -> int:
    """Stop work whose delay has not passed: 1, or 0 when there is none; it may run just now."""
    return int(current_kernel().workqueue.cancel_delay(work))


def flush_scheduled_work() -> None:
    """Wait until all work that was scheduled before is done.  May sleep.  Work with a delay is not waited for."""
    kernel = current_kernel()
    if might_sleep(kernel, "flush_scheduled_work"):
        kernel.workqueue.flush()


__all__ = [
    "DECLARE_TASKLET", "DECLARE_WORK", "INIT_WORK", "IRQF_SHARED", "IRQ_HANDLED", "IRQ_NONE", "IRQ_RETVAL", "NR_IRQS",
    "SA_INTERRUPT", "SA_SAMPLE_RANDOM", "SA_SHIRQ", "cancel_delayed_work", "disable_irq", "disable_irq_nosync",
    "enable_irq", "flush_scheduled_work", "free_irq", "request_irq", "schedule_delayed_work", "schedule_work",
    "synchronize_irq", "tasklet_disable", "tasklet_enable", "tasklet_hi_schedule", "tasklet_init", "tasklet_kill",
    "tasklet_schedule", "tasklet_setup", "tasklet_struct", "work_struct",
]  # fmt: skip
