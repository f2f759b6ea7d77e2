"""Reader/writer semaphores between processes that call a driver (LDD3 §5.3.3; MECHANISMS D7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from machine import Machine
from tests.drivers.by_program import ByProgram
from tests.drivers.conftest import chardev

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]

QUEUE = """
bad_vm_ops = vm_operations_struct()
sem = DECLARE_RWSEM()
log = []
gate, is_open = wait_queue_head_t(), []
def reader(n):
    down_read(sem)
    log.append(f"+r{n}")
    wait_event(gate, lambda: is_open)
    log.append(f"-r{n}")
    up_read(sem)
def writer(n):
    down_write(sem)
    log.append(f"+w{n}")
    msleep(20)
    log.append(f"-w{n}")
    up_write(sem)
def bad_ioctl(inode, filp, cmd, arg):
    if cmd == 3:
        is_open.append(1)
        wake_up(gate)
        return 0
    reader(arg) if cmd == 1 else writer(arg)
    return 0
"""


def test_readers_together_writers_alone(m: Machine, driver: Load, run_c: Run) -> None:
    """Two readers, then a writer, then a reader that comes after the writer: it waits its turn."""
    d = driver(chardev(QUEUE, "dict(ioctl=bad_ioctl)"))
    run_c(m, """
        static const int kind[] = {1, 1, 2, 1};
        for (int n = 0; n < 4; n++) {
            pid_t child = fork();
            if (child == 0)
                _exit(ioctl(must_open("/dev/bad", O_RDWR), kind[n], n) != 0);
            until_state(child, 0, "SD");
        }
        EQUAL("the first go on", ioctl(must_open("/dev/bad", O_RDWR), 3, 0), 0);
        int status, bad = 0;
        while (wait(&status) > 0)
            bad |= status;
        EQUAL("children", bad, 0);
    """)  # fmt: skip
    assert d["log"] == ["+r0", "+r1", "-r0", "-r1", "+w2", "-w2", "+r3", "-r3"]
    assert m.kernel.reports == [] and (d["sem"].readers, d["sem"].writer) == (0, None)


def test_tries_and_mistakes(m: Machine, driver: Load, run_c: Run) -> None:
    d = ByProgram(m, driver, run_c, """
        sem = DECLARE_RWSEM()
        def tries():
            got = [down_read_trylock(sem), down_read_trylock(sem), down_write_trylock(sem)]
            up_read(sem)
            up_read(sem)
            got += [down_write_trylock(sem), down_read_trylock(sem), down_write_trylock(sem)]
            downgrade_write(sem)
            got += [down_read_trylock(sem), down_write_trylock(sem)]
            up_read(sem)
            up_read(sem)
            mmap_write_lock(current.mm)
            mmap_write_unlock(current.mm)
            return got
        def mistakes():
            up_read(sem)
            up_write(sem)
            down_write(sem)
            down_write(sem)
            down_read(sem)
            up_write(sem)
            lock = SPIN_LOCK_UNLOCKED()
            spin_lock(lock)
            down_read(sem)
            spin_unlock(lock)
            up_read(sem)
    """)  # fmt: skip
    assert d.call("tries") == [1, 1, 0, 1, 0, 0, 1, 0] and m.kernel.reports == []
    d.call("mistakes")
    said = [text.partition("bad: ")[2] or text for text in m.kernel.reports]
    assert len(said) == 5, said
    for text, part in zip(
        said,
        ("up_read of a semaphore that nobody reads", "up_write of a semaphore that nobody writes", "down_write: this",
         "down_read: this", "down_read with a spinlock held"),
        strict=True,
    ):  # fmt: skip
        assert part in text
