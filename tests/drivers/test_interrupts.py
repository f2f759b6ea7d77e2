"""Interrupts from a device model to a driver to a sleeping process (MECHANISMS A4, C9, D7, D9; LDD3 ch. 10)."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from machine import Machine
from machine.hardware.registers import RegisterError
from machine.testing import Reg, RegisterBlock
from tests.conftest import build
from tests.drivers.conftest import HERE

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]
BASE = 0xFD00_0000


class Sampler(RegisterBlock):
    """Counts what is written to `start`, a millisecond later, and raises line 5."""

    irq = 5
    start = Reg(0x0)
    count = Reg(0x4, access="ro")
    status = Reg(0x8, access="w1c")
    at_once = Reg(0xC)
    """As `start`, at once; reads as 0 afterwards."""

    def write_start(self, value: int) -> None:
        self.call_later(1_000_000, lambda: self.sample(value))

    def write_at_once(self, value: int) -> None:
        self.sample(value)
        self.values["at_once"] = 0  # the access is at its end before the handler runs

    def sample(self, value: int) -> None:
        self.count += value
        self.status |= 1
        self.raise_irq()


DRIVER = """
START, COUNT, STATUS, NOW = 0, 4, 8, 12
queue = DECLARE_WAIT_QUEUE_HEAD()
lock = spinlock_t()
ready = [0]     # samples that nobody has read
seen = []       # what the handler found
async_queue = []
inside = [0]

def handler(irq, dev_id, regs):
    if not readl(base + STATUS) & 1:
        return IRQ_NONE
    writel(1, base + STATUS)
    seen.append((irq, dev_id, bool(in_interrupt()), bool(in_irq()), irqs_disabled(), current.comm,
                 regs.rip > 0 and readl(base + NOW) == 0))
    spin_lock(lock)
    ready[0] += 1
    spin_unlock(lock)
    wake_up_interruptible(queue)
    kill_fasync(async_queue, SIGIO, POLL_IN)
    return IRQ_HANDLED

def open(inode, filp):
    return request_irq(5, handler, FLAGS, "sampler", DEV)

def release(inode, filp):
    fasync(-1, filp, 0)
    free_irq(5, DEV)
    return 0

def read(filp, buf, count, f_pos):
    if not ready[0] and filp.f_flags & O_NONBLOCK:
        return -EAGAIN
    if wait_event_interruptible(queue, lambda: ready[0]):
        return -ERESTARTSYS
    flags = spin_lock_irqsave(lock)
    ready[0] -= 1
    spin_unlock_irqrestore(lock, flags)
    return -EFAULT if put_user(readl(base + COUNT), buf, 4) else 4

def write(filp, buf, count, f_pos):
    x = [0]
    if get_user(x, buf, 4):
        return -EFAULT
    writel(x[0], base + START)
    return 4

def ioctl(inode, filp, cmd, arg):
    before = len(seen)
    if cmd == 1:                    # at once, on top of this method
        writel(arg, base + NOW)
        return len(seen) - before
    flags = spin_lock_irqsave(lock)     # held off
    writel(arg, base + NOW)
    held = len(seen) - before
    spin_unlock_irqrestore(lock, flags)
    return held * 10 + len(seen) - before

def poll(filp, table):
    poll_wait(filp, queue, table)
    return POLLIN | POLLRDNORM if ready[0] else 0

def fasync(fd, filp, on):
    return fasync_helper(fd, filp, on, async_queue)

DEV = object()
FLAGS = 0
base = ioremap(0xFD000000, 4096)
major = register_chrdev(0, "bad", file_operations(
    open=open, release=release, read=read, write=write, poll=poll, ioctl=ioctl, fasync=fasync))
devfs_mk_cdev(MKDEV(major, 0), 0o666, "bad")
def cleanup():
    devfs_remove("bad")
    unregister_chrdev(major, "bad")
    iounmap(base)
module_exit(cleanup)
"""
OPEN = 'int fd = must_open("/dev/bad", O_RDWR); int n = 0;'


@pytest.fixture
def sampler(m: Machine) -> Sampler:
    block = Sampler()
    m.attach(f"/dev/mem@{BASE:#x}", block)
    return block


def test_a_read_that_waits_for_the_interrupt(m: Machine, sampler: Sampler, driver: Load, run_c: Run) -> None:
    """The reader sleeps; the device's timer raises the line; the handler wakes it; poll sees it too.  # C9, D9"""
    d = driver(DRIVER)
    run_c(m, OPEN + """
        struct { int fd; short events, revents; } p = { fd, 1, 0 };
        extern int poll(void *, unsigned long, int);
        fcntl(fd, F_SETFL, O_NONBLOCK);
        ERRNO("nothing yet", read(fd, &n, 4), EAGAIN);
        fcntl(fd, F_SETFL, 0);
        n = 7;
        EQUAL("start", write(fd, &n, 4), 4);
        EQUAL("blocking read", read(fd, &n, 4), 4);
        EQUAL("count", n, 7);
        EQUAL("nothing to poll", poll(&p, 1, 0), 0);
        n = 3;
        EQUAL("start again", write(fd, &n, 4), 4);
        EQUAL("poll", poll(&p, 1, -1), 1);
        EQUAL("events", p.revents, 1);
        EQUAL("read", read(fd, &n, 4), 4);
        EQUAL("count", n, 10);
        static char text[4000];
        int proc = must_open("/proc/interrupts", O_RDONLY);
        CHECK("proc", read(proc, text, sizeof text - 1) > 0);
        CHECK("line", strstr(text, "\\n  5:          2          XT-PIC  sampler\\n"));
        close(proc);
    """)  # fmt: skip
    assert [entry[:5] + entry[6:] for entry in d["seen"]] == [(5, d["DEV"], True, True, 0, True)] * 2
    assert m.kernel.reports == [] and m.kernel.irq.lines[5].actions == [] and m.kernel.irq.preempt_count == 0
    assert "sampler" not in m.kernel.irq.show(), "a line without a handler is not shown"
    assert m.unload("bad") == []


def test_the_handler_runs_on_top_of_what_raised_it(
    m: Machine, sampler: Sampler, driver: Load, run_c: Run, target: str
) -> None:
    """At once after the register access, driver's or program's; held off while interrupts are off."""
    d = driver(DRIVER)
    run_c(m, OPEN + """
        EQUAL("inside writel", ioctl(fd, 1, 2), 1);
        EQUAL("at spin_unlock_irqrestore", ioctl(fd, 2, 2), 1);
        int mem = must_open("/dev/mem", O_RDWR);
        volatile unsigned *regs = mmap(NULL, PAGE, RW, MAP_SHARED, mem, 0xfd000000);
        EQUAL("status is clear", regs[2], 0);
        regs[3] = 5;
        EQUAL("the handler has cleared it again", regs[2], 0);
        EQUAL("counted", regs[1], 9);
        if (!fork()) { EQUAL("a child that sleeps", read(fd, &n, 4), 4); read(fd, &n, 4); read(fd, &n, 4);
                       EQUAL("blocks", read(fd, &n, 4), 4); EQUAL("until", n, 10); _exit(done()); }
        usleep(20000);
        regs[3] = 1;
        int status; wait(&status); EQUAL("child", status, 0);
    """)  # fmt: skip
    assert [entry[5][:4] for entry in d["seen"]] == ["prog"] * 4, "current is who was interrupted"
    assert all(entry[6] for entry in d["seen"]), "the access that raised the line was at its end"
    assert m.kernel.reports == []


def test_sigio(m: Machine, sampler: Sampler, driver: Load, run_c: Run) -> None:
    """F_SETOWN and O_ASYNC: kill_fasync in the handler sends SIGIO, or F_SETSIG's signal with si_fd and si_band."""
    driver(DRIVER)
    run_c(m, OPEN + """
        sigset_t set; siginfo_t info;
        sigemptyset(&set); sigaddset(&set, SIGIO); sigaddset(&set, SIGRTMIN);
        sigprocmask(SIG_BLOCK, &set, NULL);
        EQUAL("nobody", fcntl(fd, F_GETOWN), 0);
        ioctl(fd, 1, 1);
        struct timespec zero = { 0, 0 };
        ERRNO("not asked for", sigtimedwait(&set, &info, &zero), EAGAIN);
        EQUAL("own", fcntl(fd, F_SETOWN, getpid()), 0);
        EQUAL("owner", fcntl(fd, F_GETOWN), getpid());
        EQUAL("async", fcntl(fd, F_SETFL, O_ASYNC), 0);
        EQUAL("shown", fcntl(fd, F_GETFL) & O_ASYNC, O_ASYNC);
        ioctl(fd, 1, 1);
        EQUAL("SIGIO", sigwaitinfo(&set, &info), SIGIO);
        EQUAL("setsig", fcntl(fd, 10 /* F_SETSIG */, SIGRTMIN), 0);
        EQUAL("getsig", fcntl(fd, 11), SIGRTMIN);
        ioctl(fd, 1, 1);
        EQUAL("the other signal", sigwaitinfo(&set, &info), SIGRTMIN);
        EQUAL("si_fd", info.si_fd, fd);
        EQUAL("si_code", info.si_code, 1 /* POLL_IN */);
        EQUAL("si_band", info.si_band, 0x41);
        EQUAL("off", fcntl(fd, F_SETFL, 0), 0);
        ioctl(fd, 1, 1);
        ERRNO("no more", sigtimedwait(&set, &info, &zero), EAGAIN);
        fcntl(fd, F_SETFL, O_ASYNC);
        EQUAL("close", close(fd), 0);
    """)  # fmt: skip
    assert m.kernel.reports == [] and m.unload("bad") == []


def test_a_closed_file_in_the_fasync_list(m: Machine, sampler: Sampler, driver: Load, run_c: Run) -> None:
    """A release that forgets it is reported by the next kill_fasync.  Linux of today takes it out by itself."""
    driver(DRIVER.replace("    fasync(-1, filp, 0)\n", ""))
    body = OPEN + 'fcntl(fd, F_SETOWN, getpid()); fcntl(fd, F_SETFL, O_ASYNC); EQUAL("close", close(fd), 0);'
    run_c(m, body + 'fd = must_open("/dev/bad", O_RDWR); ioctl(fd, 1, 1); ioctl(fd, 1, 1); CHECK("lives", 1);')
    assert len(m.kernel.reports) == 1 and "kill_fasync: a closed file is in the list" in m.kernel.reports[0]


def test_a_device_without_a_line(m: Machine) -> None:
    """A model that is wired to nothing says so; one that is on no bus raises nothing and has no clock."""

    class Mute(RegisterBlock):
        value = Reg(0)

    block = Mute()
    block.raise_irq()
    with pytest.raises(RegisterError, match="in no machine yet"):
        block.call_later(1, block.raise_irq)
    m.attach(f"/dev/mem@{BASE:#x}", block)
    for call in (block.raise_irq, block.hold_irq, block.lower_irq):
        with pytest.raises(RegisterError, match="wired to no interrupt line"):
            call()
    m.kernel.bus.detach(block)
    assert block.bus is None


def test_a_handler_that_raises(m: Machine, sampler: Sampler, driver: Load, run_c: Run) -> None:
    """An oops of its driver; what it interrupted goes on, and so does the machine."""
    d = driver(DRIVER.replace("if not readl(base + STATUS) & 1:", "if 1 // 0:"))
    run_c(m, OPEN + 'ioctl(fd, 1, 2); ioctl(fd, 1, 2); CHECK("goes on", 1);')
    assert [oops.where for oops in m.kernel.oopses] == ["bad.interrupt"] * 2
    assert any("BUG: bad: ZeroDivisionError" in line and "in handler (interrupt)" in line for line in m.dmesg)
    assert d["seen"] == [] and m.kernel.irq.preempt_count == 0 and m.kernel.reports == []


def test_two_runs_are_the_same(tmp_path: Path, target: str) -> None:
    """On the virtual clock an interrupt of a device's timer comes at the same instruction in every run."""
    program = build(
        """
        #include "scullp.h"
        int main(void)
        {
            int fd = must_open("/dev/bad", O_RDWR), n = 5;
            volatile int loops = 0;
            pid_t child = fork();

            while (!child)
                loops++;
            if (write(fd, &n, 4) != 4)
                return 1;
            while (!ioctl(fd, 3, 0))
                loops++;
            kill(child, SIGKILL);
            return 0;
        }
        """,
        target=target,
        flags=[f"-I{HERE}"],
    )
    text = DRIVER.replace("current.comm,", "current.pid, regs.rip, int(jiffies),")
    text = text.replace("    if cmd == 1:", "    if cmd == 3:\n        return ready[0]\n    if cmd == 1:")
    path = tmp_path / "bad.py"
    path.write_text("from machine.kernel.linux import *\n" + text)
    stories = []
    for _ in range(2):
        with Machine(ram=32 << 20, deterministic=True) as machine:
            machine.attach(f"/dev/mem@{BASE:#x}", Sampler)
            namespace = machine.load(str(path)).namespace
            assert machine.run([str(program)], timeout=60).exit == 0
            stories.append([entry[:1] + entry[2:] for entry in namespace["seen"]])
    assert stories[0] == stories[1] and len(stories[0]) == 1


def test_the_example_of_the_guide(m: Machine, driver: Load, run_c: Run) -> None:
    """docs/writing-a-driver.md: its driver and its device work together as they stand there."""
    text = (HERE.parents[1] / "docs" / "writing-a-driver.md").read_text()
    section = text[text.index("## Interrupts\n") :]
    whole, device = re.findall(r"^```python\n(.*?)^```$", section, re.M | re.S)[:2]
    exec(device[: device.index("with Machine(")] + 'm.attach("/dev/mem@0xfd000000", Sampler)', {"m": m})
    d = driver(whole, name="sampler")
    run_c(m, """
        int n = 0, fd = must_open("/dev/sampler", O_RDONLY);
        EQUAL("read", read(fd, &n, 4), 4);
        EQUAL("count", n, 1);
        EQUAL("again", read(fd, &n, 4), 4);
        EQUAL("count", n, 2);
        ERRNO("a wrong address", read(fd, NULL, 4), EFAULT);
    """)  # fmt: skip
    assert d["ready"] == [0] and m.unload("sampler") == [] and m.kernel.reports == []
