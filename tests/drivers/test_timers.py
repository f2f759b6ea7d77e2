"""Kernel timers, delays, sleeping for a while, work queues, completions, mutexes (MECHANISMS D9; LDD3 ch. 5 to 7)."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from machine import Machine
from machine.kernel.current import set_current_kernel

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]
OPEN = 'int fd = must_open("/dev/bad", O_RDWR); int n = 0;'

DEVICE = """
_methods = {name: globals()[name] for name in ("read", "ioctl") if name in globals()}
major = register_chrdev(0, "bad", file_operations(**_methods))
devfs_mk_cdev(MKDEV(major, 0), 0o666, "bad")
def cleanup():
    devfs_remove("bad")
    unregister_chrdev(major, "bad")
module_exit(cleanup)
"""


def device(body: str) -> str:
    """A driver of /dev/bad with the `read` and `ioctl` that `body` defines."""
    return textwrap.dedent(body) + DEVICE


@pytest.fixture(params=[False, True], ids=["real", "virtual"])
def m(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """Both clocks: real time, and the virtual one."""
    with Machine(ram=32 << 20, check_invariants=True, deterministic=request.param) as machine:
        before = set_current_kernel(machine.kernel)
        yield machine
        set_current_kernel(before)
        assert machine.kernel.irq.preempt_count == 0 and not machine.kernel.irq.disabled


def test_a_timer_wakes_a_reader(m: Machine, driver: Load, run_c: Run) -> None:
    """add_timer fires once, in a softirq, not before `expires`; mod_timer in its own function repeats."""
    d = driver(
        device("""
        queue = DECLARE_WAIT_QUEUE_HEAD()
        fired = []
        timer = timer_list()
        init_timer(timer)
        def tick(data):
            fired.append((int(jiffies) - data[0], bool(in_interrupt()), bool(in_irq()), timer_pending(timer)))
            if len(fired) < 3:
                data[0] = int(jiffies) + 5
                mod_timer(timer, data[0])
            else:
                wake_up(queue)
        def read(filp, buf, count, f_pos):
            timer.function = tick
            timer.data = [jiffies + 5]
            timer.expires = jiffies + 5
            add_timer(timer)
            return wait_event_interruptible(queue, lambda: len(fired) == 3)
    """)
    )
    run_c(m, OPEN + 'EQUAL("read", read(fd, NULL, 0), 0);')
    assert len(d["fired"]) == 3 and all(entry[1:] == (True, False, 0) and entry[0] >= 0 for entry in d["fired"])
    if m.kernel.deterministic:
        assert [entry[0] for entry in d["fired"]] == [0, 0, 0], "the virtual clock jumps to the very tick"
    assert m.unload("bad") == [] and m.kernel.reports == []


def test_what_the_timer_calls_return(m: Machine, driver: Load) -> None:
    d = driver("""
        def nothing(data): pass
        timer = TIMER_INITIALIZER(nothing, 0, 0)
        got = [timer_pending(timer), del_timer(timer), mod_timer(timer, jiffies + 1000), timer_pending(timer),
               mod_timer(timer, jiffies + 2000), del_timer_sync(timer), timer_pending(timer)]
        mod_timer(timer, jiffies + 1000)
        add_timer(timer)
        init_timer(timer)
        add_timer(timer_list())
    """)
    assert d["got"] == [0, 0, 0, 1, 1, 1, 0]
    texts = ["add_timer of a timer that is pending", "init_timer of a timer", "add_timer of a timer without a function"]
    assert len(m.kernel.reports) == 3
    assert all(want in got and "bad.py:" in got for want, got in zip(texts, m.kernel.reports, strict=True))
    left = m.unload("bad")
    assert len(left) == 1 and left[0].startswith("a pending timer, started at bad.py:")
    assert m.kernel.irq.softirqs.timers == {}, "it would call into nothing"


def test_timers_of_today(m: Machine, driver: Load, run_c: Run) -> None:
    """timer_setup and DEFINE_TIMER give the function its timer."""
    d = driver("""
        KERNEL = (6, 1)
        seen = []
        wait = DECLARE_WAIT_QUEUE_HEAD()
        def callback(t):
            seen.append(t)
            wake_up(wait)
        one, two = timer_list(), DEFINE_TIMER(callback)
        timer_setup(one, callback, 0)
        def read(filp, buf, count, f_pos):
            mod_timer(one, jiffies + msecs_to_jiffies(3))
            mod_timer(two, jiffies + msecs_to_jiffies(6))
            return 0 if wait_event_timeout(wait, lambda: len(seen) == 2, HZ) else -ETIME
        major = register_chrdev(0, "bad", file_operations(read=read))
        devfs_mk_cdev(MKDEV(major, 0), 0o666, "bad")
    """)
    run_c(m, OPEN + 'EQUAL("read", read(fd, NULL, 0), 0);')
    assert d["seen"] == [d["one"], d["two"]]


def test_a_program_that_spins_does_not_hold_off_a_timer(m: Machine, driver: Load, run_c: Run) -> None:
    """The guest loops in user mode until a page that the timer writes to changes; no system call is made."""
    driver(f"""
        page = get_zeroed_page(GFP_KERNEL)
        SetPageReserved(virt_to_page(page))
        timer = timer_list()
        def tick(data): kernel_memory(page, 1)[0] = 1
        def mmap(filp, vma):
            init_timer(timer)
            timer.function, timer.expires = tick, jiffies + {30 if m.kernel.deterministic else 400}
            add_timer(timer)
            return remap_pfn_range(vma, vma.vm_start, __pa(page) >> PAGE_SHIFT, PAGE_SIZE, vma.vm_page_prot)
        major = register_chrdev(0, "bad", file_operations(mmap=mmap))
        devfs_mk_cdev(MKDEV(major, 0), 0o666, "bad")
    """)
    run_c(
        m,
        OPEN
        + """
        volatile char *p = map(fd, 0, PAGE, PROT_READ, MAP_SHARED);
        while (!*p) n++;
        CHECK("looped", n > 100);
    """,
    )
    assert m.kernel.reports == []


def test_delays_and_sleeps(m: Machine, driver: Load, run_c: Run) -> None:
    """A busy wait lets timers in and nobody else; a sleep lets others run; what is left when a signal comes."""
    d = driver(
        device("""
        order = []
        timer = timer_list()
        timer.function = lambda data: order.append("timer")
        def ioctl(inode, filp, cmd, arg):
            start = jiffies + 0
            if cmd == 1:                      # busy
                mod_timer(timer, jiffies + 5)
                flags = local_irq_save()
                mdelay(10)
                order.append("held off")
                local_irq_restore(flags)
                mod_timer(timer, jiffies + 5)
                mdelay(10)
                udelay(1000)
                order.append("busy")
            elif cmd == 2:
                msleep(800)
                order.append("slept")
            elif cmd == 3:
                set_current_state(TASK_INTERRUPTIBLE)
                left = schedule_timeout(20)
                order.append(left)
            elif cmd == 4:
                return msleep_interruptible(5000)
            elif cmd == 5:
                order.append("other")
            elif cmd == 6:
                end = jiffies + 3
                while time_before(jiffies, end):
                    cpu_relax()
            elif cmd == 7:
                return len(order)
            return jiffies - start
    """)
    )
    run_c(
        m,
        OPEN
        + """
        if (!fork()) { while (!ioctl(fd, 7, 0)) usleep(5000); ioctl(fd, 5, 0); _exit(0); }
        CHECK("busy", ioctl(fd, 1, 0) >= 20);
        wait(NULL);
        if (!fork()) { usleep(5000); ioctl(fd, 5, 0); _exit(0); }
        n = ioctl(fd, 2, 0);
        CHECK("msleep", n >= 800);
        wait(NULL);
        CHECK("schedule_timeout", ioctl(fd, 3, 0) >= 20);
        CHECK("jiffies move in a loop", ioctl(fd, 6, 0) >= 3);
        signal(SIGUSR1, (void (*)(int))getpid);
        pid_t parent = getpid();
        if (!fork()) { until_state(parent, 0, "SD"); usleep(20000); kill(parent, SIGUSR1); _exit(0); }
        n = ioctl(fd, 4, 0);
        CHECK("the rest", n > 0 && n < 5000);
        wait(NULL);
    """,
    )
    assert d["order"] == ["held off", "timer", "timer", "busy", "other", "other", "slept", 0]
    assert m.kernel.reports == []


def test_work_runs_in_a_process_that_may_sleep(m: Machine, driver: Load, run_c: Run) -> None:
    """schedule_work from a timer; the work sleeps, and takes a semaphore; flush_scheduled_work waits for it."""
    d = driver(
        device("""
        done = []
        sem = semaphore()
        timer = timer_list()
        def work_function(data):
            down(sem)
            msleep(10)
            done.append((data, current.comm, in_interrupt(), copy_to_user(4096, b"x", 1)))
            up(sem)
        work = work_struct()
        INIT_WORK(work, work_function, "data")
        later = DECLARE_WORK(work_function, "later")
        def leave_some(): schedule_work(work)
        timer.function = lambda data: done.append((schedule_work(work), schedule_work(work)))
        def ioctl(inode, filp, cmd, arg):
            mod_timer(timer, jiffies + 2)
            msleep(5)
            flush_scheduled_work()
            schedule_delayed_work(later, 5)
            msleep(40)
            flush_scheduled_work()            # it runs, but the time may have come late
            schedule_delayed_work(later, 1000)
            return cancel_delayed_work(later) * 10 + cancel_delayed_work(later)
    """)
    )
    run_c(m, OPEN + 'EQUAL("ioctl", ioctl(fd, 1, 0), 10);')
    assert d["done"] == [(1, 0), ("data", "events/0", 0, 1), ("later", "events/0", 0, 1)]
    assert m.check_clean() == []
    d["leave_some"]()
    left = m.unload("bad")
    assert len(left) == 1 and left[0].startswith("scheduled work, scheduled at bad.py:")
    assert m.kernel.workqueue.items == [] and m.kernel.reports == []


def test_flush_in_an_exit_function(m: Machine, driver: Load) -> None:
    """Unloaded by the host, where no process runs: the work is done, and nothing is left."""
    d = driver("""
        done = []
        work = DECLARE_WORK(done.append, 7)
        schedule_work(work)
        module_exit(flush_scheduled_work)
    """)
    assert m.unload("bad") == [] and d["done"] == [7]


def test_completions_and_mutexes(m: Machine, driver: Load, run_c: Run) -> None:
    """Two processes; a mutex is for one of them at a time and knows its owner; complete lets one go on."""
    d = driver(
        device("""
        done = completion()
        lock = mutex()
        log = []
        def ioctl(inode, filp, cmd, arg):
            if cmd == 1:
                return wait_for_completion_interruptible(done)
            if cmd == 2:
                complete(done)
            if cmd == 3:
                mutex_lock(lock)
                log.append("in")
                msleep(10)
                log.append("out")
                mutex_unlock(lock)
            if cmd == 4:
                mutex_lock(lock)
                mutex_lock(lock)
                mutex_unlock(lock)
                mutex_unlock(lock)
            if cmd == 5:
                return mutex_trylock(lock) * 10 + mutex_trylock(lock) - mutex_unlock_is_none()
            if cmd == 6:
                return wait_for_completion_timeout(done, 10)
            return 0
        def mutex_unlock_is_none():
            mutex_unlock(lock)
            return 0
    """)
    )
    run_c(m, OPEN + """
        pid_t child;
        for (n = 0; n < 2; n++) if (!fork()) _exit(ioctl(fd, 1, 0));
        usleep(10000); ioctl(fd, 2, 0);
        int status; wait(&status); EQUAL("one", status, 0);
        EQUAL("the other waits", waitpid(-1, &status, WNOHANG), 0);
        ioctl(fd, 2, 0); wait(&status); EQUAL("two", status, 0);
        EQUAL("times out", ioctl(fd, 6, 0), 0);
        ioctl(fd, 2, 0); CHECK("done before", ioctl(fd, 6, 0) > 0);
        for (n = 0; n < 3; n++) if (!fork()) _exit(ioctl(fd, 3, 0));
        for (n = 0; n < 3; n++) { wait(&status); EQUAL("child", status, 0); }
        EQUAL("trylock", ioctl(fd, 5, 0), 10);
        EQUAL("deadlock", ioctl(fd, 4, 0), 0);
        child = fork(); if (!child) { ioctl(fd, 1, 0); _exit(0); }
        usleep(10000); kill(child, SIGKILL); waitpid(child, &status, 0);
        EQUAL("killed", status, SIGKILL);
    """)  # fmt: skip
    assert d["log"] == ["in", "out"] * 3
    assert len(m.kernel.reports) == 2
    assert "mutex_lock: the mutex is taken already by this process" in m.kernel.reports[0]
    assert "mutex_unlock of a mutex that is free" in m.kernel.reports[1]


def test_sleeping_by_hand(m: Machine, driver: Load, run_c: Run) -> None:
    """prepare_to_wait around schedule(), add_wait_queue, interruptible_sleep_on; a wake-up in between is not lost."""
    driver(
        device("""
        queue = DECLARE_WAIT_QUEUE_HEAD()
        flag = [0]
        def ioctl(inode, filp, cmd, arg):
            if cmd == 1:
                wait = DEFINE_WAIT()
                while not flag[0]:
                    prepare_to_wait(queue, wait, TASK_INTERRUPTIBLE)
                    if not flag[0]:
                        schedule()
                    if signal_pending(current):
                        break
                finish_wait(queue, wait)
                return waitqueue_active(queue)
            if cmd == 2:
                wait = DECLARE_WAITQUEUE(current)
                add_wait_queue(queue, wait)
                rounds = 0
                while flag[0] < 3:
                    set_current_state(TASK_INTERRUPTIBLE)
                    if flag[0] < 3:
                        schedule()
                    rounds += 1
                set_current_state(TASK_RUNNING)
                remove_wait_queue(queue, wait)
                return rounds
            if cmd == 3:
                wait = DEFINE_WAIT()
                prepare_to_wait(queue, wait, TASK_INTERRUPTIBLE)
                wake_up(queue)                  # between the look and the sleep
                schedule()
                finish_wait(queue, wait)
                return 0
            if cmd == 4:
                interruptible_sleep_on(queue)
                return -ERESTARTSYS if signal_pending(current) else 0
            if cmd == 5:
                prepare_to_wait(queue, DEFINE_WAIT(), TASK_INTERRUPTIBLE)
                return 0                        # a mistake: no finish_wait
            flag[0] += 1
            wake_up(queue)
            return 0
    """)
    )
    run_c(m, OPEN + """
        int status;
        if (!fork()) _exit(ioctl(fd, 1, 0));
        usleep(10000); ioctl(fd, 0, 0); wait(&status); EQUAL("prepare_to_wait", status, 0);
        pid_t child;
        if (!(child = fork())) _exit(ioctl(fd, 2, 0));
        until_state(child, 0, "SD"); ioctl(fd, 0, 0); until_state(child, 0, "SD"); ioctl(fd, 0, 0); wait(&status);
        EQUAL("woken twice", status >> 8, 2);
        EQUAL("not lost", ioctl(fd, 3, 0), 0);
        if (!(child = fork())) _exit(ioctl(fd, 4, 0));
        until_state(child, 0, "SD"); ioctl(fd, 0, 0); wait(&status); EQUAL("sleep_on", status, 0);
        EQUAL("goes on", ioctl(fd, 5, 0), 0);
    """)  # fmt: skip
    assert len(m.kernel.reports) == 1 and "method ioctl returned in state TASK_INTERRUPTIBLE" in m.kernel.reports[0]


def test_a_periodic_timer_does_not_keep_the_machine_from_ending(m: Machine, driver: Load, run_c: Run) -> None:
    """A tasklet and a timer that start themselves again: programs run, and the machine can be closed."""
    d = driver("""
        count = [0, 0]
        timer = timer_list()
        def again(data):
            count[0] += 1
            mod_timer(timer, jiffies)
        timer.function = again
        mod_timer(timer, jiffies)
        def spin(data):
            count[1] += 1
            tasklet_schedule(tasklet)
        tasklet = DECLARE_TASKLET(spin)
        tasklet_schedule(tasklet)
    """)
    run_c(m, 'usleep(20000); CHECK("yes", 1);')
    assert d["count"][0] > 5 and d["count"][1] > 5
    assert [text.split(",")[0] for text in m.unload("bad")] == ["a pending timer", "a scheduled tasklet"]
