"""kthread_run, kthread_should_stop, kthread_stop: a driver's own threads (D9)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]
OPEN = 'int fd = must_open("/dev/bad", O_RDWR);'

DRIVER = """
queue, seen, thread = DECLARE_WAIT_QUEUE_HEAD(), [], None

def quick(data):
    return data

def worker(data):
    while not kthread_should_stop():
        seen.append((data, current.comm, bool(in_interrupt())))
        wake_up(queue)
        msleep(2)
    return 42

def sleeper(data):
    sleeping = DECLARE_WAIT_QUEUE_HEAD()
    wait_event_interruptible(sleeping, kthread_should_stop)
    return -EAGAIN

def deaf(data):
    wait_event(DECLARE_WAIT_QUEUE_HEAD(), lambda: False)
    return 0

def broken(data):
    return 1 // data

def nonsense(data):
    return "done"

functions = [quick, worker, sleeper, broken, nonsense]

def bad_ioctl(inode, filp, cmd, arg):
    global thread
    if cmd == 1:
        thread = kthread_run(functions[arg], 0 if arg == 3 else 7, "bad/%d and what is cut", arg)
    elif cmd == 2:
        return wait_event_interruptible(queue, lambda: len(seen) >= arg)
    elif cmd == 3:
        return kthread_stop(thread)
    elif cmd == 4:
        msleep(5)
    return 0

misc = miscdevice(name="bad", fops=file_operations(ioctl=bad_ioctl))
misc_register(misc)
"""
EXIT = "module_exit(lambda: misc_deregister(misc))\n"


@pytest.fixture(params=[False, True], ids=["real", "virtual"])
def m(request: pytest.FixtureRequest) -> Any:
    with Machine(ram=32 << 20, check_invariants=True, deterministic=request.param) as machine:
        yield machine
        assert machine.kernel.mem.check_free_lists() == [] and machine.kernel.sched.kthreads == []


def test_a_thread_works_until_it_is_stopped(m: Machine, driver: Load, run_c: Run) -> None:
    """It runs beside the process, may sleep, is in no interrupt; what it returns is what kthread_stop returns."""
    d = driver(DRIVER + EXIT)
    run_c(m, OPEN + """
        EQUAL("start", ioctl(fd, 1, 1), 0);
        EQUAL("it works", ioctl(fd, 2, 5), 0);
        EQUAL("stop", ioctl(fd, 3, 0), 42);
        ERRNO("again", ioctl(fd, 3, 0), EINVAL);
    """)  # fmt: skip
    assert (len(d["seen"]) >= 5 and set(d["seen"]) == {(7, "bad/1 and what i", False)}) or d["seen"][0][1][
        :5
    ] == "bad/1"
    (report,) = m.kernel.reports
    assert "kthread_stop of no thread that kthread_run started (bad.py:" in report
    assert m.unload("bad") == []


def test_how_threads_end(m: Machine, driver: Load, run_c: Run) -> None:
    """By themselves, woken from a wait, before they ran, with an exception, with nonsense."""
    driver(DRIVER + EXIT)
    run_c(m, OPEN + """
        #define RUN(which) EQUAL("start", ioctl(fd, 1, which), 0); EQUAL("let it run", ioctl(fd, 4, 0), 0)
        RUN(0); EQUAL("its own end", ioctl(fd, 3, 0), 7);
        RUN(2); ERRNO("woken", ioctl(fd, 3, 0), EAGAIN);
        RUN(3); ERRNO("raised", ioctl(fd, 3, 0), EIO);
        RUN(4); ERRNO("a text", ioctl(fd, 3, 0), EIO);
    """)  # fmt: skip
    (oops,) = m.kernel.oopses
    assert oops.context == "in the kernel thread bad/3 and what "
    (report,) = m.kernel.reports
    assert re.search(
        r"kthread returned 'done', not a number \(nonsense, bad\.py:\d+\); in the kernel thread bad/4", report
    )
    assert m.unload("bad") == []


def test_a_thread_that_never_ran(m: Machine, driver: Load) -> None:
    """Stopped before anybody made way for it: -EINTR, and its function is not called."""
    d = driver(DRIVER + 'got = kthread_stop(kthread_run(worker, 1, "early"))\n' + EXIT)
    assert d["got"] == -4 and m.unload("bad") == []
    assert m.run(["true"]).exit == 0 and d["seen"] == []


def test_the_exit_function_stops_a_thread(m: Machine, driver: Load) -> None:
    """rmmod by the host and by a guest: the thread comes to its end meanwhile."""
    text = (
        DRIVER
        + """
thread = kthread_run(worker, 1, "beside")
results = []
def cleanup():
    results.append(kthread_stop(thread))
    misc_deregister(misc)
module_exit(cleanup)
"""
    )
    for remove in (lambda: m.unload("bad"), lambda: m.run(["rmmod", "bad"]).exit):
        d = driver(text)
        assert m.run(["sleep", "0.02"]).exit == 0 and d["seen"]
        assert not remove() and d["results"] == [42] and "bad" not in m.kernel.modules
    assert m.kernel.reports == []


def test_a_thread_that_is_left(m: Machine, driver: Load) -> None:
    """Listed at unload with the line that started it, and gone; one that is deaf is reported when it is waited for."""
    d = driver(DRIVER + 'thread = kthread_run(worker, 1, "beside")\n' + EXIT)
    assert m.run(["sleep", "0.02"]).exit == 0
    (line,) = m.unload("bad")
    assert re.fullmatch(r"kernel thread 'beside', started at bad\.py:\d+ in <module>", line)
    count = len(d["seen"])
    assert m.run(["sleep", "0.02"]).exit == 0 and len(d["seen"]) == count > 0
    left = "def cleanup():\n    kthread_stop(thread)\n    misc_deregister(misc)\nmodule_exit(cleanup)\n"
    driver(DRIVER + 'thread = kthread_run(deaf, 1, "deaf")\n' + left)
    assert m.run(["sleep", "0.02"]).exit == 0
    assert m.unload("bad") == []
    assert "kthread_stop: deaf sleeps and does not look at kthread_should_stop" in m.kernel.reports[0]
