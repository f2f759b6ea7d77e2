"""Spinlocks, interrupts off and on, and where code runs (linux/spinlock.h, linux/interrupt.h, linux/hardirq.h;
LDD3 §5.5, §10.4).

With one processor, and a kernel that is not preempted, a spinlock never spins: one that is taken twice is a
deadlock, and reported.  While one is held nobody may sleep, and a method must not return.
"""

from __future__ import annotations

from machine.kernel.context import HARDIRQ_MASK, IN_INTERRUPT, PREEMPT_OFFSET, SOFTIRQ_MASK, SOFTIRQ_OFFSET
from machine.kernel.current import current_kernel
from machine.kernel.include.pages import BUG_report
from machine.kernel.module import calling_line

_IF = 0x200
"""The interrupt flag of EFLAGS: interrupts are on."""


# -- where code runs --------------------------------------------------------------------------------------


def in_interrupt() -> int:
    """Non-zero in a handler, a softirq (timer, tasklet), and while softirqs are off."""
    return current_kernel().irq.preempt_count & IN_INTERRUPT


def in_irq() -> int:
    """Non-zero in an interrupt handler."""
    return current_kernel().irq.preempt_count & HARDIRQ_MASK


def in_softirq() -> int:
    """Non-zero in a softirq (timer, tasklet), and while softirqs are off."""
    return current_kernel().irq.preempt_count & SOFTIRQ_MASK


def in_atomic() -> int:
    """1 where code must not sleep because of where it runs or of a spinlock, else 0."""
    return int(current_kernel().irq.preempt_count != 0)


def irqs_disabled() -> int:
    """1 while interrupts are off on the processor, else 0."""
    return int(current_kernel().irq.disabled)


def preempt_count() -> int:
    """Spinlocks in bits 0 to 7, softirqs in 8 to 15, handlers from 16 on."""
    return current_kernel().irq.preempt_count


# -- interrupts off and on ----------------------------------------------------------------------------------


def local_irq_disable() -> None:
    """No interrupt reaches the processor until `local_irq_enable`."""
    current_kernel().irq.set_disabled(True)


def local_irq_enable() -> None:
    """Interrupts are on; what waited runs now."""
    current_kernel().irq.set_disabled(False)


def local_irq_save() -> int:
    """Interrupts off; returns the flags for `local_irq_restore` (in C the macro fills in a variable)."""
    return 0x2 if current_kernel().irq.set_disabled(True) else 0x2 | _IF


def local_irq_restore(flags: int) -> None:
    """Interrupts as they were at `local_irq_save`."""
    current_kernel().irq.set_disabled(not flags & _IF)


def local_bh_disable() -> None:
    """No softirq (timer, tasklet) runs until `local_bh_enable`."""
    current_kernel().irq.preempt_count += SOFTIRQ_OFFSET


def local_bh_enable() -> None:
    """Softirqs are on; what waited runs now."""
    irq = current_kernel().irq
    if not irq.preempt_count & SOFTIRQ_MASK:
        BUG_report("local_bh_enable: softirqs are not off")
        return
    irq.preempt_count -= SOFTIRQ_OFFSET
    if irq.softirqs.waiting() and not irq.preempt_count & IN_INTERRUPT:
        irq.softirqs.run()


# -- spinlocks ------------------------------------------------------------------------------------------------


class spinlock_t:
    """A spinlock.  Made free."""

    __slots__ = ("locked",)

    def __init__(self) -> None:
        self.locked = False


def SPIN_LOCK_UNLOCKED() -> spinlock_t:
    """A new spinlock that is free."""
    return spinlock_t()


DEFINE_SPINLOCK = SPIN_LOCK_UNLOCKED


def spin_lock_init(lock: spinlock_t) -> None:
    """Make the lock free."""
    lock.locked = False


def _hold(lock: object) -> None:
    irq = current_kernel().irq
    irq.held.append((lock, calling_line(3)))
    irq.preempt_count += PREEMPT_OFFSET


def _drop(lock: object) -> None:
    irq = current_kernel().irq
    for at in range(len(irq.held) - 1, -1, -1):
        if irq.held[at][0] is lock:
            del irq.held[at]
            irq.preempt_count -= PREEMPT_OFFSET
            return
    # A method left it locked; that was reported, and is not counted any more.


def _deadlock(lock: object) -> str:
    irq = current_kernel().irq
    where = next((place for held, place in irq.held if held is lock), "")
    text = "the lock is taken already" + (f" (at {where})" if where else "") + ": a real machine would hang here"
    if where and irq.preempt_count & IN_INTERRUPT:
        text += "; what an interrupt also takes is taken with spin_lock_irqsave"
    return text


def spin_lock(lock: spinlock_t) -> None:
    """Take the lock.  One that is taken already is reported as the deadlock that it is, and stays as it is."""
    if lock.locked:
        BUG_report(f"spinlock recursion: {_deadlock(lock)}")
        return
    lock.locked = True
    _hold(lock)


def spin_trylock(lock: spinlock_t) -> int:
    """Take the lock if it is free: 1 when taken, 0 when not."""
    if lock.locked:
        return 0
    lock.locked = True
    _hold(lock)
    return 1


def spin_is_locked(lock: spinlock_t) -> int:
    """1 when the lock is taken, else 0."""
    return int(lock.locked)


def spin_unlock(lock: spinlock_t) -> None:
    """Give the lock back.  One that is free is reported."""
    if not lock.locked:
        BUG_report("spin_unlock of a lock that is free")
        return
    lock.locked = False
    _drop(lock)


def spin_lock_irqsave(lock: spinlock_t) -> int:
    """Take the lock with interrupts off; returns the flags for `spin_unlock_irqrestore`."""
    flags = local_irq_save()
    if lock.locked:
        BUG_report(f"spinlock recursion: {_deadlock(lock)}")
    else:
        lock.locked = True
        _hold(lock)
    return flags


def spin_unlock_irqrestore(lock: spinlock_t, flags: int) -> None:
    """Undo `spin_lock_irqsave`; interrupts that waited run now."""
    spin_unlock(lock)
    local_irq_restore(flags)


def spin_lock_irq(lock: spinlock_t) -> None:
    """Take the lock with interrupts off, where they are known to be on."""
    local_irq_disable()
    if lock.locked:
        BUG_report(f"spinlock recursion: {_deadlock(lock)}")
        return
    lock.locked = True
    _hold(lock)


def spin_unlock_irq(lock: spinlock_t) -> None:
    """Undo `spin_lock_irq`."""
    spin_unlock(lock)
    local_irq_enable()


def spin_lock_bh(lock: spinlock_t) -> None:
    """Take the lock with softirqs off: for what timers and tasklets take too."""
    local_bh_disable()
    if lock.locked:
        BUG_report(f"spinlock recursion: {_deadlock(lock)}")
        return
    lock.locked = True
    _hold(lock)


def spin_unlock_bh(lock: spinlock_t) -> None:
    """Undo `spin_lock_bh`."""
    spin_unlock(lock)
    local_bh_enable()


# -- reader/writer locks ----------------------------------------------------------------------------------------


class rwlock_t:
    """A lock for many readers or one writer.  Made free."""

    __slots__ = ("readers", "writer")

    def __init__(self) -> None:
        self.readers = 0
        self.writer = False


def rwlock_init(lock: rwlock_t) -> None:
    """Make the lock free."""
    lock.readers, lock.writer = 0, False


def read_lock(lock: rwlock_t) -> None:
    """Take the lock to read, beside other readers."""
    if lock.writer:
        BUG_report(f"read_lock: {_deadlock(lock)}")
        return
    lock.readers += 1
    _hold(lock)


def read_unlock(lock: rwlock_t) -> None:
    """Give it back."""
    if not lock.readers:
        BUG_report("read_unlock of a lock that nobody reads under")
        return
    lock.readers -= 1
    _drop(lock)


def write_lock(lock: rwlock_t) -> None:
    """Take the lock to write, alone."""
    if lock.writer or lock.readers:
        BUG_report(f"write_lock: {_deadlock(lock)}")
        return
    lock.writer = True
    _hold(lock)


def write_unlock(lock: rwlock_t) -> None:
    """Give it back."""
    if not lock.writer:
        BUG_report("write_unlock of a lock that nobody writes under")
        return
    lock.writer = False
    _drop(lock)


__all__ = [
    "DEFINE_SPINLOCK", "SPIN_LOCK_UNLOCKED", "in_atomic", "in_interrupt", "in_irq", "in_softirq", "irqs_disabled",
    "local_bh_disable", "local_bh_enable", "local_irq_disable", "local_irq_enable", "local_irq_restore",
    "local_irq_save", "preempt_count", "read_lock", "read_unlock", "rwlock_init", "rwlock_t", "spin_is_locked",
    "spin_lock", "spin_lock_bh", "spin_lock_init", "spin_lock_irq", "spin_lock_irqsave", "spin_trylock", "spin_unlock",
    "spin_unlock_bh", "spin_unlock_irq", "spin_unlock_irqrestore", "spinlock_t", "write_lock", "write_unlock",
]  # fmt: skip
