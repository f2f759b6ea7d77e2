"""Where a driver must not sleep, and what is said when it does (MECHANISMS D2, D4, D7, D9; LDD3 §5.5, §7.4, §10.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from machine.kernel.mm.page import GFP_ATOMIC, GFP_KERNEL
from tests.drivers.test_timers import device

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]
OPEN = 'int fd = must_open("/dev/bad", O_RDWR); int n = 0;'

CALLS = {
    "down": ("down(semaphore())", None),
    "down_interruptible": ("down_interruptible(semaphore())", 0),
    "down_interruptible of a taken one": ("down_interruptible(semaphore(0))", -4),
    "mutex_lock": ("mutex_lock(mutex())", None),
    "wait_event": ("wait_event(queue, lambda: True)", None),
    "wait_event_interruptible": ("wait_event_interruptible(queue, lambda: False)", -512),
    "wait_event_timeout": ("wait_event_timeout(queue, lambda: False, 5)", 0),
    "wait_for_completion": ("wait_for_completion(completion())", None),
    "interruptible_sleep_on": ("interruptible_sleep_on(queue)", None),
    "msleep": ("msleep(5)", None),
    "flush_scheduled_work": ("flush_scheduled_work()", None),
    "kmalloc": ("kfree(kmalloc(10, GFP_KERNEL))", None),
    "kzalloc": ("kfree(kzalloc(10, GFP_USER))", None),
    "get_free_pages": ("free_page(__get_free_page(GFP_KERNEL))", None),
    "vmalloc": ("vmalloc(5000)", 0),
    "ioremap": ("ioremap(0xFD000000, 4096)", 0),
    "copy_to_user": ("copy_to_user(user[0], b'abcd', 4)", 4),
    "__copy_to_user": ("__copy_to_user(user[0], b'abcd', 4)", 4),
    "copy_from_user": ("copy_from_user(bytearray(4), user[0], 4)", 4),
    "__copy_from_user": ("__copy_from_user(bytearray(4), user[0], 4)", 4),
    "get_user": ("get_user([0], user[0])", -14),
    "__get_user": ("__get_user([0], user[0])", -14),
    "put_user": ("put_user(1, user[0])", -14),
    "__put_user": ("__put_user(1, user[0])", -14),
    "clear_user": ("clear_user(user[0], 4)", 4),
    "strncpy_from_user": ("strncpy_from_user(bytearray(4), user[0], 4)", -14),
    "strnlen_user": ("strnlen_user(user[0], 4)", 0),
}
"""What is called -> how, and what it gives where it can't sleep."""

FINE = (
    "kfree(kmalloc(10, GFP_ATOMIC))", "free_page(get_zeroed_page(GFP_ATOMIC))", "down_trylock(semaphore())",
    "wake_up(queue)", "up(semaphore())", "complete(completion())", "mutex_trylock(mutex())", "udelay(10)",
    "access_ok(VERIFY_READ, user[0], 4)", "mod_timer(timer, jiffies + 1)", "printk('fine\\n')", "schedule_work(work)",
)  # fmt: skip
"""What is allowed everywhere."""

DRIVER = """
def ioctl(inode, filp, cmd, arg):
    user[0] = arg
    {how}
    return 0
queue = DECLARE_WAIT_QUEUE_HEAD()
lock = spinlock_t()
user = [0]
results = []
timer = TIMER_INITIALIZER(lambda data: None, 0, 0)
work = DECLARE_WORK(lambda data: None)
def call():
    results.append(({calls}))
def handler(irq, dev_id, regs):
    call()
    return IRQ_HANDLED
late = TIMER_INITIALIZER(lambda data: call(), 0, 0)
request_irq(5, handler, 0, "bad", None)
"""
CONTEXTS = {
    "a handler": ("kernel_raise_irq(5)", "in an interrupt handler, in_atomic():1, irqs_disabled():0"),
    "a timer": ("mod_timer(late, jiffies + 1); mdelay(3)", "in a timer function (<lambda>, bad.py:44), in_atomic():1"),
    "a spinlock": ("spin_lock(lock); call(); spin_unlock(lock)", "with a spinlock held (taken at bad.py:5 in ioctl)"),
    "no interrupts": ("local_irq_disable(); call(); local_irq_enable()", "with interrupts off, in_atomic():0, irqs_d"),
    "spin_lock_irqsave": (
        "flags = spin_lock_irqsave(lock); call(); spin_unlock_irqrestore(lock, flags)",
        "with a spinlock held (taken at bad.py:5 in ioctl), in_atomic():1, irqs_disabled():1",
    ),
}
"""Where -> how to get there, and how the report calls it."""


@pytest.mark.parametrize("where", CONTEXTS)
def test_what_sleeps_is_reported(m: Machine, driver: Load, run_c: Run, where: str) -> None:
    """Each function once, with the driver's line; nothing sleeps, nothing is copied, memory is given.  # D2, D4, D7"""
    how, said = CONTEXTS[where]
    text = DRIVER.replace("{calls}", ",\n".join(call for call, _ in CALLS.values())).replace("{how}", how)
    d = driver(device(text))
    d["kernel_raise_irq"] = m.kernel.irq.raise_irq
    run_c(m, OPEN + 'n = 77; EQUAL("returns", ioctl(fd, 1, &n), 0); EQUAL("untouched", n, 77);')
    assert d["results"] == [tuple(result for _, result in CALLS.values())]
    assert len(m.kernel.reports) == len(CALLS), "\n".join(m.kernel.reports)
    for name, report in zip(CALLS, m.kernel.reports, strict=True):
        assert report.startswith("BUG: sleeping function called from invalid context at bad.py:"), report
        assert f" in call: {name.split()[0]}" in report and said in report, report
    assert all(any(report in line for line in m.dmesg) for report in m.kernel.reports)
    assert m.kernel.irq.preempt_count == 0 and not m.kernel.irq.disabled and m.kernel.irq.held == []


@pytest.mark.parametrize("where", CONTEXTS)
def test_what_is_allowed_is_not(m: Machine, driver: Load, run_c: Run, where: str) -> None:
    text = DRIVER.replace("{calls}", ", ".join(FINE)).replace("{how}", CONTEXTS[where][0])
    d = driver(device(text))
    d["kernel_raise_irq"] = m.kernel.irq.raise_irq
    run_c(m, OPEN + 'EQUAL("returns", ioctl(fd, 1, &n), 0); usleep(5000);')
    assert m.kernel.reports == [] and len(d["results"]) == 1 and m.kernel.oopses == []


def test_a_method_that_returns_with_a_lock(m: Machine, driver: Load, run_c: Run) -> None:
    """Reported with the line that took it; the machine goes on, and the lock stays taken."""
    d = driver(
        device("""
        lock = spinlock_t()
        def read(filp, buf, count, f_pos):
            spin_lock(lock)
            return 0
        def ioctl(inode, filp, cmd, arg):
            if cmd == 1:
                local_irq_disable()
            if cmd == 2:
                spin_lock_irqsave(spinlock_t())
            if cmd == 3:
                local_bh_disable()
            if cmd == 4:
                spin_unlock(lock)
            return in_atomic() * 10 + irqs_disabled()
    """)
    )
    run_c(
        m,
        OPEN
        + """
        EQUAL("read", read(fd, &n, 4), 0);
        EQUAL("sleeps as ever", usleep(1000), 0);
        EQUAL("read again", read(fd, &n, 4), 0);
        EQUAL("irqs", ioctl(fd, 1, 0), 1);
        EQUAL("both", ioctl(fd, 2, 0), 11);
        EQUAL("softirqs", ioctl(fd, 3, 0), 10);
        EQUAL("all undone", ioctl(fd, 4, 0), 0);
        EQUAL("and again", ioctl(fd, 0, 0), 0);
    """,
    )
    reports = [report.split(";")[0] for report in m.kernel.reports]
    assert reports[0].startswith("BUG: bad: method read returned with a spinlock held (taken at bad.py:5 in read): sch")
    assert reports[1].startswith("BUG: bad: spinlock recursion: the lock is taken already")
    assert "method ioctl returned with interrupts off that were not before" in reports[2]
    assert "method ioctl returned with a spinlock held (taken at bad.py:" in reports[3]
    assert "method ioctl returned with interrupts off" in reports[4]
    assert "method ioctl returned with an unbalanced spin_lock_bh" in reports[5]
    assert len(reports) == 6 and d["lock"].locked is False


def test_schedule_with_a_lock(m: Machine, driver: Load, run_c: Run) -> None:
    """BUG: scheduling while atomic; it returns at once."""
    driver(
        device("""
        lock = spinlock_t()
        def ioctl(inode, filp, cmd, arg):
            spin_lock(lock)
            set_current_state(TASK_INTERRUPTIBLE)
            if cmd == 1:
                schedule()
            left = schedule_timeout(100) if cmd == 2 else 0
            spin_unlock(lock)
            return left
    """)
    )
    run_c(m, OPEN + 'EQUAL("schedule", ioctl(fd, 1, 0), 0); EQUAL("schedule_timeout", ioctl(fd, 2, 0), 100);')
    assert len(m.kernel.reports) == 2
    assert "scheduling while atomic: prog" in m.kernel.reports[0] and "/0x00000001/" in m.kernel.reports[0]
    assert "bad.py:8 in ioctl" in m.kernel.reports[0] and "schedule_timeout" in m.kernel.reports[1]


def test_spinlocks(m: Machine, driver: Load, run_c: Run) -> None:
    """What each form returns; a deadlock with an interrupt handler is seen, and what would have avoided it is said."""
    d = driver(
        device("""
        lock, other, rw = spinlock_t(), DEFINE_SPINLOCK(), rwlock_t()
        seen = []
        def handler(irq, dev_id, regs):
            spin_lock(lock)
            return IRQ_HANDLED
        request_irq(5, handler, SA_INTERRUPT, "bad", None)
        def ioctl(inode, filp, cmd, arg):
            seen.append((spin_trylock(lock), spin_trylock(lock), spin_is_locked(lock), in_atomic()))
            spin_unlock(lock)
            spin_lock_irq(lock); seen.append((irqs_disabled(), in_atomic())); spin_unlock_irq(lock)
            spin_lock_bh(lock); seen.append((bool(in_softirq()), in_irq())); spin_unlock_bh(lock)
            outer = spin_lock_irqsave(lock)
            inner = spin_lock_irqsave(other)
            spin_unlock_irqrestore(other, inner)
            seen.append((irqs_disabled(), bool(outer & 0x200), bool(inner & 0x200)))
            spin_unlock_irqrestore(lock, outer)
            read_lock(rw); read_lock(rw); seen.append(preempt_count()); read_unlock(rw); read_unlock(rw)
            write_lock(rw); seen.append(preempt_count()); write_unlock(rw)
            seen.append((in_atomic(), irqs_disabled(), in_interrupt()))
            spin_lock(lock)
            kernel_raise_irq(5)
            spin_unlock(lock)
            spin_unlock(lock)
            read_lock(rw)
            write_lock(rw)
            read_unlock(rw)
            write_unlock(rw)
            return 0
    """)
    )
    d["kernel_raise_irq"] = m.kernel.irq.raise_irq
    run_c(m, OPEN + 'EQUAL("ioctl", ioctl(fd, 1, 0), 0);')
    assert d["seen"] == [
        (1, 0, 1, 1), (1, 1), (True, 0), (1, True, False), 2, 1, (0, 0, 0),
    ]  # fmt: skip
    reports = m.kernel.reports
    assert "spinlock recursion: the lock is taken already (at bad.py:" in reports[0]
    assert "what an interrupt also takes is taken with spin_lock_irqsave (bad.py:6 in handler)" in reports[0]
    assert "spin_unlock of a lock that is free" in reports[1] and "write_lock: the lock is taken" in reports[2]
    assert "write_unlock of a lock that nobody writes under" in reports[3] and len(reports) == 4
    assert m.kernel.irq.preempt_count == 0 and not m.kernel.irq.disabled


def test_one_place_is_reported_once(m: Machine, driver: Load) -> None:
    driver("""
        lock = spinlock_t()
        def many():
            spin_lock(lock)
            for _ in range(100):
                kfree(kmalloc(10, GFP_KERNEL))
            spin_unlock(lock)
        many()
    """)
    assert len(m.kernel.reports) == 1


def test_the_reserve_is_for_those_who_cannot_wait(m: Machine, driver: Load) -> None:
    """Memory is full: GFP_KERNEL gives NULL, GFP_ATOMIC a page of the reserve; it calls no shrinker.  # D2"""
    shrunk: list[int] = []
    m.kernel.mem.shrinkers.append(lambda wanted: shrunk.append(wanted) or 0)
    d = driver("""
        pages = []
        def fill(gfp, most=1 << 30):
            count = 0
            while count < most and (page := __get_free_page(gfp)):
                pages.append(page)
                count += 1
            return count
        def empty():
            for page in pages:
                free_page(page)
            pages.clear()
        module_exit(empty)
    """)
    free = m.kernel.mem.free_frames()
    assert d["fill"](GFP_KERNEL) > 1000 and d["fill"](GFP_KERNEL) == 0
    left = m.kernel.mem.free_frames()
    assert 0 < left < 2 * m.kernel.mem.min_free and shrunk != []
    assert d["kmalloc"](100_000, GFP_KERNEL) == 0
    shrunk.clear()
    assert d["fill"](GFP_ATOMIC, 8) == 8 and shrunk == []
    assert d["fill"](GFP_ATOMIC) == left - 8 and shrunk == [] and m.kernel.mem.free_frames() == 0
    d["empty"]()
    assert m.kernel.mem.free_frames() == free and m.unload("bad") == []
