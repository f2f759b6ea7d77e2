"""Interrupt lines: who has them, when handlers run, and lines that nobody quiets (LDD3 ch. 10)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from machine.errors import ConfigError
from machine.testing import Reg, RegisterBlock

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]
BASE = 0xFD00_0000


def test_asking_for_a_line(m: Machine, driver: Load) -> None:
    """0, -EBUSY, -EINVAL as request_irq has them; who shares is called in turn until all were."""
    d = driver("""
        calls = []
        def one(irq, dev_id, regs): calls.append("one"); return IRQ_NONE
        def two(irq, dev_id, regs): calls.append("two"); return IRQ_HANDLED
        got = [
            request_irq(224, one, 0, "x", None), request_irq(-1, one, 0, "x", None), request_irq(9, None, 0, "x", None),
            request_irq(9, one, SA_SHIRQ, "x", None), request_irq(0, one, SA_SHIRQ, "x", 1),
            request_irq(9, one, SA_SHIRQ, "one", 1), request_irq(9, two, 0, "x", 2),
            request_irq(9, two, SA_SHIRQ | SA_SAMPLE_RANDOM, "two", 2),
            request_irq(223, two, SA_INTERRUPT, "last", None),
            request_irq(223, two, SA_SHIRQ, "x", 1),
        ]
    """)
    assert d["got"] == [-22, -22, -22, -22, -16, 0, -16, 0, 0, -16]
    m.raise_irq(9)
    assert d["calls"] == ["one", "two"]
    assert "  9:          1          XT-PIC  one, two\n" in m.kernel.irq.show()
    d["free_irq"](9, 1)
    d["free_irq"](9, 1)
    assert "Trying to free free IRQ9" in m.kernel.reports[-1]
    m.raise_irq(9)
    assert d["calls"] == ["one", "two", "two"]
    for number in (-1, 224):
        with pytest.raises(ConfigError, match="there is no interrupt"):
            m.raise_irq(number)
    left = m.unload("bad")
    assert [text.split(" (")[0] for text in left] == ["interrupt 9", "interrupt 223"] and "bad.py:" in left[0]
    m.raise_irq(9)  # nobody there any more: nothing is called
    assert d["calls"] == ["one", "two", "two"] and any("irq 9: nobody has asked" in line for line in m.dmesg)


def test_disable_irq_keeps_one_interrupt(m: Machine, driver: Load) -> None:
    """It nests; an edge meanwhile is replayed once; an unbalanced enable is reported."""
    d = driver("""
        calls = []
        def handler(irq, dev_id, regs): calls.append(irq); return IRQ_HANDLED
        request_irq(6, handler, 0, "bad", None)
        def exit(): free_irq(6, None)
        module_exit(exit)
    """)
    d["disable_irq"](6)
    d["disable_irq"](6)
    m.raise_irq(6)
    m.raise_irq(6)
    d["enable_irq"](6)
    assert d["calls"] == []
    d["enable_irq"](6)
    assert d["calls"] == [6]
    d["enable_irq"](6)
    assert "Unbalanced enable for IRQ 6" in m.kernel.reports[-1]
    flags = d["local_irq_save"]()
    m.raise_irq(6)
    assert d["calls"] == [6] and d["irqs_disabled"]() == 1 and not d["local_irq_save"]() & 0x200
    d["local_irq_restore"](flags)
    assert d["calls"] == [6, 6] and d["irqs_disabled"]() == 0
    assert m.unload("bad") == []


def test_handlers_do_not_nest_and_tasklets_run_after_them(m: Machine, driver: Load) -> None:
    d = driver("""
        log = []
        def handler(irq, dev_id, regs):
            log.append((irq, bool(in_irq()), bool(in_softirq())))
            if irq == 3:
                tasklet_schedule(tasklet)
                tasklet_schedule(tasklet)
                tasklet_hi_schedule(urgent)
                raise_irq(4)
            log.append((irq, "end"))
            return IRQ_HANDLED
        def later(data):
            log.append((data, bool(in_irq()), bool(in_softirq()), irqs_disabled()))
        tasklet = DECLARE_TASKLET(later, "tasklet")
        urgent = tasklet_struct()
        tasklet_init(urgent, later, "urgent")
        request_irq(3, handler, 0, "three", None)
        request_irq(4, handler, 0, "four", None)
        def exit():
            free_irq(3, None); free_irq(4, None); tasklet_kill(tasklet)
        module_exit(exit)
    """)
    d["raise_irq"] = m.kernel.irq.raise_irq
    m.raise_irq(3)
    assert d["log"] == [
        (3, True, False), (3, "end"), ("urgent", False, True, 0), ("tasklet", False, True, 0),
        (4, True, False), (4, "end"),
    ]  # fmt: skip
    assert m.unload("bad") == [] and m.kernel.reports == []


def test_nobody_cared(m: Machine, driver: Load) -> None:
    """A line that a device holds and no handler quiets is switched off, by the kernel's rule."""
    d = driver("""
        calls = [0]
        answer = [IRQ_NONE]
        def handler(irq, dev_id, regs):
            calls[0] += 1
            return answer[0]
        request_irq(7, handler, 0, "deaf", None)
        module_exit(lambda: free_irq(7, None))
    """)

    class Loud(RegisterBlock):
        irq = 7

    block = Loud()
    m.attach(f"/dev/mem@{BASE:#x}", block)
    block.hold_irq()
    assert d["calls"] == [100_000]
    assert m.kernel.reports[0].startswith("irq 7: nobody cared! handlers: deaf (bad.py:")
    assert any("Disabling IRQ #7" in line for line in m.dmesg)
    block.raise_irq()
    assert d["calls"] == [100_000], "the line is off"
    block.lower_irq()
    d["answer"][0] = 1
    d["enable_irq"](7)
    assert d["calls"] == [100_001], "the edge that came meanwhile"
    block.hold_irq()
    assert d["calls"] == [200_001] and "irq 7: still held after 100000 interrupts" in m.kernel.reports[1]
    d["answer"][0] = "yes"
    block.lower_irq()
    d["enable_irq"](7)
    m.raise_irq(7)
    assert "bad: interrupt returned 'yes', not IRQ_HANDLED or IRQ_NONE" in m.kernel.reports[2]


@pytest.mark.parametrize("answer", ["None", "1 // 0"])
def test_a_held_line_whose_handler_fails(m: Machine, driver: Load, answer: str) -> None:
    """It is switched off after ten failures: nobody reads a hundred thousand tracebacks."""

    class Holding(RegisterBlock):
        irq = 7

    block = Holding()
    m.attach(f"/dev/mem@{BASE:#x}", block)
    d = driver(f"""
        calls = []
        def handler(irq, dev_id):
            calls.append(irq)
            return {answer}
        request_irq(7, handler, 0, "failing", None)
        def exit(): free_irq(7, None)
        module_exit(exit)
        KERNEL = (6, 1)
    """)
    block.raise_irq()
    assert len(d["calls"]) == 1
    block.hold_irq()
    assert len(d["calls"]) == 11
    assert "irq 7: still held, and its handlers have failed 10 times; handlers: failing" in m.kernel.reports[-1]
    assert m.unload("bad") == []


def test_a_held_line_that_its_handler_quiets(m: Machine, driver: Load) -> None:
    """Level-triggered: again and again until the device is satisfied; also when it was held before the request."""

    left = [3, 2, 1]

    class Fifo(RegisterBlock):
        irq = 11
        data = Reg(0, access="ro")

        def read_data(self) -> int:
            value = left.pop(0)
            if not left:
                self.lower_irq()
            return value

    block = Fifo()
    m.attach(f"/dev/mem@{BASE:#x}", block)
    block.hold_irq()
    d = driver("""
        got = []
        base = ioremap(0xFD000000, 4096)
        def handler(irq, dev_id):
            got.append(readl(base))
            return IRQ_HANDLED
        request_irq(11, handler, IRQF_SHARED, "fifo", got)
        def exit(): free_irq(11, got); iounmap(base)
        module_exit(exit)
        KERNEL = (6, 1)
    """)
    assert d["got"] == [3, 2, 1] and m.kernel.irq.lines[11].count == 3
    assert m.unload("bad") == [] and m.kernel.reports == []


def test_an_interrupt_from_another_thread(driver: Load, m: Machine, run_c: Run) -> None:
    """`Machine.raise_irq` wakes a machine in which everybody sleeps, and one whose program spins."""
    m.kernel.interruptible = True
    d = driver("""
        queue = DECLARE_WAIT_QUEUE_HEAD()
        got = [0]
        def handler(irq, dev_id, regs):
            got[0] += 1
            wake_up(queue)
            return IRQ_HANDLED
        def read(filp, buf, count, f_pos):
            wanted = got[0] + 1
            return 0 if not wait_event_interruptible(queue, lambda: got[0] >= wanted) else -ERESTARTSYS
        def ioctl(inode, filp, cmd, arg): return got[0]
        major = register_chrdev(0, "bad", file_operations(read=read, ioctl=ioctl))
        devfs_mk_cdev(MKDEV(major, 0), 0o666, "bad")
        request_irq(10, handler, 0, "bad", None)
    """)

    over = threading.Event()

    def press() -> None:
        while not over.wait(0.1):  # the program may come late: it counts from what it finds
            m.raise_irq(10)

    thread = threading.Thread(target=press)
    thread.start()
    try:
        run_c(m, """
        int fd = must_open("/dev/bad", O_RDWR);
        EQUAL("asleep", read(fd, NULL, 0), 0);
        int seen = ioctl(fd, 1, 0);
        pid_t child = fork();
        if (!child) for (;;) ;
        while (ioctl(fd, 1, 0) == seen) ;
        kill(child, SIGKILL); wait(NULL);
        CHECK("spinning", 1);
    """)  # fmt: skip
    finally:
        over.set()
        thread.join()
    assert d["got"][0] >= 2 and m.kernel.reports == []
