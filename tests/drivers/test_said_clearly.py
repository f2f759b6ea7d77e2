"""What a newcomer gets wrong is said in words that lead on, with the driver's line (D7, D9; LDD3 ch. 3, 6, 7)."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from machine import Machine
from machine.errors import ConfigError
from machine.kernel import linux
from machine.kernel.include.missing import explain, instead_of
from tests.drivers.test_timers import device

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]
OPEN = 'int fd = must_open("/dev/bad", O_RDWR);'


def line_of(text: str, what: str) -> int:
    """Number of the line of `what` in the driver's file: the fixture puts an import on line 1."""
    return next(number for number, line in enumerate(text.splitlines(), 2) if what in line)


@pytest.mark.parametrize(
    "call, said",
    [
        (
            "wait_event_interruptible(queue, bool(ready))",
            "TypeError: wait_event_interruptible(queue, False): the condition is a function, lambda: ...,",
        ),
        ("wait_event(queue, 1)", r"TypeError: wait_event(queue, 1): the condition is a function"),
        ("wait_event_timeout(queue, None, 1)", r"wait_event_timeout(queue, None): the condition is a function"),
        (
            "copy_to_user(arg, 7, 4)",
            "BadKernelAddress: unable to handle kernel paging request at virtual address 0000000000000007",
        ),
        ("copy_to_user(arg, b'ab', 4)", "ValueError: copy_to_user of 4 bytes from a buffer of 2"),
        ("copy_from_user(bytearray(2), arg, 4)", "ValueError: copy_from_user of 4 bytes to a buffer of 2"),
        ("copy_from_user(pair(), arg, 4)", "ValueError: copy_from_user of 4 bytes to a buffer of 2"),
    ],
)  # fmt: skip
def test_calls_that_mean_something_else(m: Machine, driver: Load, run_c: Run, call: str, said: str) -> None:
    text = device(f"""
        class pair(struct):
            value = u16()
        queue, ready = DECLARE_WAIT_QUEUE_HEAD(), []
        def ioctl(inode, filp, cmd, arg):
            return {call}
    """)
    driver(text)
    run_c(m, OPEN + 'int n = 7; ERRNO("ioctl", ioctl(fd, 1, &n), EIO); EQUAL("untouched", n, 7);')
    (oops,) = m.kernel.oopses
    assert said in oops.traceback
    bug = next(line for line in m.dmesg if line.startswith("BUG: bad: "))
    assert said in bug and bug.endswith(f" at bad.py:{line_of(text, call)} in ioctl (ioctl)")


@pytest.mark.parametrize("number, size, fits", [
    (0xFFFF_FFFF, 4, True), (-1, 4, True), (1 << 32, 4, False), (-(1 << 31) - 1, 4, False), (255, 1, True),
    (256, 1, False), (1 << 63, 8, True), (1 << 64, 8, False),
])  # fmt: skip
def test_a_number_that_does_not_fit(m: Machine, driver: Load, run_c: Run, number: int, size: int, fits: bool) -> None:
    """put_user writes its low bytes, as C does, and says so.  # D7"""
    text = device(f"""
        def ioctl(inode, filp, cmd, arg):
            return put_user({number}, arg, {size})
    """)
    driver(text)
    low = number & (1 << 8 * size) - 1
    run_c(m, OPEN + f"""
        unsigned long long n = 0;
        EQUAL("put_user", ioctl(fd, 1, &n), 0);
        CHECK("low bytes", n == {low}ULL);
    """)  # fmt: skip
    if fits:
        assert m.kernel.reports == []
        return
    (report,) = m.kernel.reports
    assert report.startswith(f"BUG: bad: put_user: {number:#x} does not fit in {size} bytes")
    assert f"(bad.py:{line_of(text, 'put_user')} in ioctl)" in report


def test_put_user_takes_jiffies(m: Machine, driver: Load, run_c: Run) -> None:
    """The variable is live, and a number wherever one is wanted."""
    driver(
        device("""
        def ioctl(inode, filp, cmd, arg):
            return put_user(jiffies, arg, 8)
    """)
    )
    run_c(m, OPEN + 'unsigned long long n = ~0ULL; EQUAL("ok", ioctl(fd, 1, &n), 0); CHECK("n", n < 1000000);')


def test_a_timer_that_raises_is_in_no_process(m: Machine, driver: Load, run_c: Run) -> None:
    """The program only ran just then: its instruction has nothing to do with it."""
    text = device("""
        def tick(data):
            [][data]
        timer = TIMER_INITIALIZER(tick, 0, 7)
        def ioctl(inode, filp, cmd, arg):
            mod_timer(timer, jiffies + 1)
            mdelay(5)
            return 0
    """)
    driver(text)
    run_c(m, OPEN + 'EQUAL("fine", ioctl(fd, 1, 0), 0);')
    (oops,) = m.kernel.oopses
    place = f"(tick, bad.py:{line_of(text, 'def tick')})"
    assert (oops.where, oops.context) == ("bad.timer", f"in a timer function {place}")
    bug = next(i for i, line in enumerate(m.dmesg) if line.startswith("BUG: bad: IndexError"))
    assert re.fullmatch(
        re.escape(f"In a timer function {place}, while ") + r"program \(pid: \d+\) ran", m.dmesg[bug + 1]
    )
    assert not any(line.startswith("Process ") for line in m.dmesg)


def test_work_that_raises_is_in_its_kernel_thread(m: Machine, driver: Load, run_c: Run) -> None:
    driver(
        device("""
        work = DECLARE_WORK(lambda data: 1 // 0)
        def ioctl(inode, filp, cmd, arg):
            schedule_work(work)
            flush_scheduled_work()
            return 0
    """)
    )
    run_c(m, OPEN + 'EQUAL("fine", ioctl(fd, 1, 0), 0);')
    assert m.kernel.oopses[0].context == "in the kernel thread events/0"
    assert "In the kernel thread events/0" in m.dmesg


def test_sleeping_in_a_tasklet(m: Machine, driver: Load, run_c: Run) -> None:
    """The report says which of the softirqs it was.  # D2"""
    text = device("""
        def late(data):
            msleep(1)
        tasklet = DECLARE_TASKLET(late)
        lock = spinlock_t()
        def ioctl(inode, filp, cmd, arg):
            if cmd == 1:
                tasklet_schedule(tasklet)
                mdelay(1)
            else:
                spin_lock_bh(lock)
                spin_unlock_bh(lock)
                local_bh_disable()
                msleep(2)
                local_bh_enable()
            return 0
    """)
    driver(text)
    run_c(m, OPEN + 'EQUAL("fine", ioctl(fd, 1, 0), 0); EQUAL("fine", ioctl(fd, 2, 0), 0);')
    first, second = m.kernel.reports
    assert f"bad.py:{line_of(text, 'msleep(1)')} in late: msleep in a tasklet (late, bad.py:" in first
    assert re.search(r"; while program\[\d+\] ran$", first)
    assert "msleep with softirqs off" in second and re.search(r"; program\[\d+\] at 0x", second)


@pytest.mark.parametrize("methods, called, definition, taken", [
    ("def ioctl(filp, cmd, arg):\n    return 0", "4 arguments: (inode, filp, cmd, arg)", "def ioctl", "filp, cmd, arg"),
    ("class device:\n    def ioctl(self, filp):\n        return 0\nioctl = device().ioctl",
     "4 arguments: (inode, filp, cmd, arg)", "def ioctl", "self, filp"),
    ("def tick():\n    0\nt = DEFINE_TIMER(tick)\ndef ioctl(*_):\n    mod_timer(t, 1)\n    mdelay(3)\n    return -EIO",
     "1 argument", "def tick", ""),
])  # fmt: skip
def test_a_method_with_other_arguments(
    m: Machine, driver: Load, run_c: Run, methods: str, called: str, definition: str, taken: str
) -> None:
    """Python names no place when a call does not fit; the report does, and says what the kernel calls it with."""
    text = device(methods)
    driver(text)
    run_c(m, OPEN + 'ERRNO("ioctl", ioctl(fd, 1, 0), EIO);')
    (oops,) = m.kernel.oopses
    name, number = definition.removeprefix("def "), line_of(text, definition)
    assert f"TypeError: {name}({taken}) is called with {called}\n" in oops.traceback
    assert re.search(rf'bad.py", line {number}, in {name}', oops.traceback)
    assert any(f"at bad.py:{number} in {name}" in line for line in m.dmesg)


def test_a_type_error_inside_a_method_is_its_own(m: Machine, driver: Load, run_c: Run) -> None:
    text = device("""
        def helper(one):
            return one
        def ioctl(inode, filp, cmd, arg):
            return helper()
    """)
    driver(text)
    run_c(m, OPEN + 'ERRNO("ioctl", ioctl(fd, 1, 0), EIO);')
    assert "helper() missing 1 required positional argument" in m.kernel.oopses[0].traceback
    assert any(f"at bad.py:{line_of(text, 'return helper')} in ioctl" in line for line in m.dmesg)


# -- numbers of ioctl commands ------------------------------------------------------------------------------------

IOCTLS = """
class sample(struct):
    when = u64()
    value = u32()
    pad = u32()
commands = [
    _IO("r", 0), _IOR("r", 1, int), _IOW("r", 2, sample), _IOWR("r", 3, u16), _IOR("r", 4, 12), _IOW("r", 5, char(16)),
    _IOR("r", 6, elements(u8(), 3)), _IOR("r", 7, uint), _IOR("r", 8, sample.value), _IOR(0x72, 9, short),
    _IOR("r", 10, s64()),
]
def ioctl(inode, filp, cmd, arg):
    return commands.index(cmd) if cmd in commands else -ENOTTY
"""


def test_commands_are_the_compilers(m: Machine, driver: Load, run_c: Run) -> None:
    """`_IOR("r", 1, int)` is what the header of a C program says."""
    driver(device(IOCTLS))
    run_c(m, OPEN + """
        struct sample { unsigned long long when; unsigned value, pad; };
        typedef char name[16]; typedef unsigned char three[3]; typedef char twelve[12];
        unsigned long commands[] = {
            _IO('r', 0), _IOR('r', 1, int), _IOW('r', 2, struct sample), _IOWR('r', 3, unsigned short),
            _IOR('r', 4, twelve), _IOW('r', 5, name), _IOR('r', 6, three), _IOR('r', 7, unsigned), _IOR('r', 8, int),
            _IOR('r', 9, short), _IOR('r', 10, long long),
        };
        int i;
        for (i = 0; i < 11; i++)
            EQUAL("command", ioctl(fd, commands[i], 0), i);
    """)  # fmt: skip


@pytest.mark.parametrize("call, said", [
    ('_IOR("r", 1, float)', "TypeError: _IOR(type, nr, <class 'float'>): the third is what the argument points to"),
    ('_IOW("r", 1, "int*")', "TypeError: _IOW(type, nr, 'int*'): the third is"),
    ('_IOWR("ring", 1, int)', "TypeError: an ioctl's magic is one letter, not 'ring'"),
    ('_IO("r", 256)', "ValueError: an ioctl's number is 0 to 255, not 256"),
    ('_IOR("r", 1, 1 << 14)', "ValueError: an ioctl's size is 0 to 16383, not 16384"),
    ("sizeof(float)", "TypeError: sizeof(<class 'float'>): it takes a struct, a member, u8 to s64"),
])  # fmt: skip
def test_no_command(driver: Load, call: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        driver(f"number = {call}")
    assert re.search(r"bad\.py \(line 2\): ", str(refused.value)) and said in str(refused.value)


def test_sizes(driver: Load) -> None:
    d = driver("""
        class sample(struct):
            when = u64()
            value = u32()
        kinds = sample, sample(), sample.value, u8, s64, u16(), int, uint, short, byte, ulong
        sizes = [sizeof(each) for each in kinds]
    """)
    assert d["sizes"] == [16, 16, 4, 1, 8, 2, 4, 4, 2, 1, 8]


# -- names that are not there ---------------------------------------------------------------------------------------


def refused(m: Machine, path: Path, text: str) -> str:
    path.write_text(text)
    with pytest.raises(ConfigError) as failure:
        m.load(str(path))
    return str(failure.value)


def test_an_import_of_what_is_not_there(m: Machine, tmp_path: Path) -> None:
    """Every such name at once, each with its line, a near match or what Python has instead, and where the list is."""
    path = tmp_path / "bad.py"
    names = "    kmalloc, kzaloc,\n    container_of,\n    qwertz,\n"
    first, second, third = refused(m, path, f'"""bad"""\nfrom machine.kernel.linux import (\n{names})\n').splitlines()
    there = "(docs/driver-interface.md lists what there is)"
    assert first.startswith(f"{path}:3: <linux/...> has no 'kzaloc'; is it kzalloc") and first.endswith(f"? {there}")
    instead = "in its place: keep a reference to the object itself, for instance in filp.private_data"
    assert second == f"{path}:4: <linux/...> has no 'container_of'; {instead} {there}"
    assert third == f"{path}:5: <linux/...> has no 'qwertz' {there}"


INSTEAD = r"<linux/...> has no '%s'; in its place: "


@pytest.mark.parametrize("text, said", [
    ("from machine.kernel.linux import *\natomic_set(1, 2)\n",
     r"bad\.py \(line 2\): NameError: name 'atomic_set' is not defined \(" + INSTEAD % "atomic_set" + r"an int: .*\)"),
    ("x = printk('a')\n", r"'printk' is not defined \(it is there: from machine\.kernel\.linux import printk\)"),
    ("x = something_of_mine\n", r"NameError: name 'something_of_mine' is not defined$"),
    ("from machine.kernel import linux\nlinux.hrtimer_start(1)\n", INSTEAD % "hrtimer_start" + "a timer_list"),
])  # fmt: skip
def test_a_name_that_is_used_and_not_there(m: Machine, tmp_path: Path, text: str, said: str) -> None:
    assert re.search(said, refused(m, tmp_path / "bad.py", text))


def test_a_name_that_a_method_misses(m: Machine, driver: Load, run_c: Run) -> None:
    """At run time it is an oops with the same hint."""
    driver(
        device("""
        def ioctl(inode, filp, cmd, arg):
            return list_empty(arg)
    """)
    )
    run_c(m, OPEN + 'ERRNO("ioctl", ioctl(fd, 1, 0), EIO);')
    assert "in its place: a Python list" in m.kernel.oopses[0].traceback
    assert any("NameError: name 'list_empty' is not defined (<linux/...> has no" in line for line in m.dmesg)


def test_no_hint_stands_for_a_name_that_is_there() -> None:
    """Or it would never be shown."""
    assert [name for name in linux.__all__ if instead_of(name)] == []


BOOK = (
    "get_cycles probe_irq_on seq_operations create_singlethread_workqueue mempool_create proc_mkdir create_proc_entry "
    "MODULE_PARM class_device_create DEFINE_PER_CPU cpu_to_le32 pte_offset_map dma_pool_create filp_open alloc_disk "
    "register_blkdev register_netdev list_for_each atomic_inc"
)


@pytest.mark.parametrize("name", BOOK.split())
def test_what_the_book_uses_and_is_not_here(name: str) -> None:
    """LDD3 has it: a reader is told what takes its place."""
    assert name not in linux.__all__ and "in its place: " in explain(name)
