"""misc_register, devices without positions, pr_info, BUG_ON and WARN_ON, the time of day (B1, D9; LDD3 §6.5, §7.2)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]

MISC = """
opened = []
def bad_open(inode, filp):
    opened.append((imajor(inode), iminor(inode), filp.private_data))
    return 0
def bad_read(filp, buf, count, f_pos):
    return -EFAULT if copy_to_user(buf, b"misc", min(count, 4)) else min(count, 4)
fops = file_operations(open=bad_open, read=bad_read)
misc = miscdevice(minor=MISC_DYNAMIC_MINOR, name="bad", fops=fops)
results = [misc_register(misc)]
minor = misc.minor
"""


@pytest.mark.parametrize("kernel, minor, mode", [("(2, 6, 10)", 63, "0640"), ("(6, 1)", 127, "0600")])
def test_a_misc_device(m: Machine, driver: Load, run_c: Run, kernel: str, minor: int, mode: str) -> None:
    """Its node, /proc/misc, /sys/class/misc; a minor that nobody has is ENODEV.  Today `open` finds the miscdevice."""
    d = driver(f"KERNEL = {kernel}\n" + MISC + "module_exit(lambda: misc_deregister(misc))\n")
    assert d["results"] == [0] and d["minor"] == minor
    run_c(m, f"""
        struct stat s;
        char room[200] = "";
        EQUAL("stat", stat("/dev/bad", &s), 0); EQUAL("mode", s.st_mode, S_IFCHR | {mode});
        EQUAL("rdev", s.st_rdev, 10 << 8 | {minor});
        EQUAL("read", read(must_open("/dev/bad", O_RDONLY), room, 9), 4); CHECK("data", !strcmp(room, "misc"));
        memset(room, 0, sizeof room);
        (void)!read(must_open("/proc/misc", O_RDONLY), room, 199);
        CHECK("/proc/misc", !strcmp(room, "{minor:3} bad\\n"));
        memset(room, 0, sizeof room);
        (void)!read(must_open("/proc/devices", O_RDONLY), room, 199);
        CHECK("/proc/devices", strstr(room, "\\n 10 misc\\n"));
        memset(room, 0, sizeof room);
        (void)!read(must_open("/sys/class/misc/bad/dev", O_RDONLY), room, 199);
        CHECK("/sys", !strcmp(room, "10:{minor}\\n"));
        EQUAL("mknod", mknod("/tmp/other", S_IFCHR | 0600, 10 << 8 | 5), 0);
        ERRNO("nobody's", open("/tmp/other", O_RDONLY), ENODEV);
    """)  # fmt: skip
    today = kernel == "(6, 1)"
    assert d["opened"] == [(10, minor, d["misc"] if today else None)]
    assert m.unload("bad") == [] and m.kernel.misc_devices == [] and m.kernel.reports == []
    assert d["misc"].minor == (255 if today else minor)
    run_c(
        m, 'ERRNO("gone", open("/dev/bad", O_RDONLY), ENOENT); ERRNO("", open("/sys/class/misc/bad/dev", 0), ENOENT);'
    )


def test_what_misc_register_refuses(m: Machine, driver: Load) -> None:
    """EBUSY for a minor, EEXIST for a name or a node, EINVAL for half a device; the rest is listed at unload."""
    d = driver(MISC + """
results += [misc_register(each) for each in (
    miscdevice(63, "other", fops), miscdevice(7, "bad", fops), miscdevice(7, "null", fops), miscdevice(7, "", fops),
    miscdevice(7, "none"), miscdevice(256, "far", fops), miscdevice(7, "own", fops, nodename="in/own", mode=0o666),
    miscdevice(255, "next", fops),
)]
again = misc_deregister(miscdevice(9, "never", fops))
""")  # fmt: skip
    assert d["results"] == [0, -16, -17, -17, -22, -22, -22, 0, 0] and d["again"] == -22
    assert [(each.minor, each.name) for each in m.kernel.misc_devices] == [(62, "next"), (7, "own"), (63, "bad")]
    assert "misc_deregister of 'never', which is not registered (bad.py:" in m.kernel.reports[0]
    left = m.unload("bad")
    assert [re.sub(r"\d+$", "N", line) for line in left] == [
        f"misc device '{name}', registered at bad.py:N in {where}"
        for name, where in (("next", "<listcomp>"), ("own", "<listcomp>"), ("bad", "<module>"))
    ] or [line.partition(",")[0] for line in left] == ["misc device 'next'", "misc device 'own'", "misc device 'bad'"]
    assert m.kernel.misc_devices == []


def test_a_misc_device_in_use_stays(m: Machine, driver: Load, run_c: Run) -> None:
    """Its open file counts as the module's user, and goes on; the last close lets the module go."""
    driver(MISC + "module_exit(lambda: misc_deregister(misc))\n")
    run_c(m, """
        char room[8] = "";
        int fd = must_open("/dev/bad", O_RDONLY);
        ERRNO("in use", syscall(SYS_delete_module, "bad", O_NONBLOCK), EWOULDBLOCK);
        EQUAL("read", read(fd, room, 8), 4);
        close(fd);
        EQUAL("rmmod", syscall(SYS_delete_module, "bad", O_NONBLOCK), 0);
        ERRNO("gone", open("/dev/bad", O_RDONLY), ENOENT);
    """)  # fmt: skip
    assert "bad" not in m.kernel.modules and m.kernel.misc_devices == [] and m.kernel.reports == []


# -- devices without positions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("table, seeks, preads", [
    ("open=nonseekable_open", "ESPIPE", "ESPIPE"), ("open=nonseekable_open, llseek=no_llseek", "ESPIPE", "ESPIPE"),
    ("llseek=no_llseek", "ESPIPE", "0"), ("llseek=noop_llseek", "0", "0"), ("open=stream_open", "ESPIPE", "ESPIPE"),
])  # fmt: skip
def test_devices_without_positions(m: Machine, driver: Load, run_c: Run, table: str, seeks: str, preads: str) -> None:
    """lseek, pread, pwrite: ESPIPE, or a position that stays."""
    driver(f"""
        def bad_read(filp, buf, count, f_pos):
            f_pos[0] += 3
            return 0
        def bad_write(filp, buf, count, f_pos):
            return count
        misc = miscdevice(name="bad", fops=file_operations(read=bad_read, write=bad_write, {table}))
        misc_register(misc)
        module_exit(lambda: misc_deregister(misc))
    """)
    check = lambda call, errno, value: (  # noqa: E731
        f'ERRNO("{call}", {call}, {errno});' if errno != "0" else f'EQUAL("{call}", {call}, {value});'
    )
    run_c(m, 'int fd = must_open("/dev/bad", O_RDWR); char c = 0; EQUAL("read", read(fd, &c, 1), 0);'
          + check("lseek(fd, 100, SEEK_SET)", seeks, 3) + check("lseek(fd, 0, SEEK_END)", seeks, 3)
          + check("pread(fd, &c, 1, 5)", preads, 0) + check("pwrite(fd, &c, 1, 5)", preads, 1))  # fmt: skip
    assert m.unload("bad") == []


# -- messages and assertions ------------------------------------------------------------------------------------------

LEVELS = ["emerg", "alert", "crit", "err", "warn", "notice", "info"]


def test_pr_info_and_its_relatives(m: Machine, driver: Load) -> None:
    """Levels 0 to 6; pr_fmt changes the text; pr_debug wants DEBUG; pr_cont goes on with a line."""
    calls = "\n".join(f'pr_{name}("%s %d\\n", "{name}", 7)' for name in LEVELS)
    driver(calls + '\npr_debug("quiet\\n")\npr_info("half ")\npr_cont("and half\\n")\npr_warning("old\\n")')
    driver(
        'DEBUG = 1\ndef pr_fmt(fmt): return "mine: " + fmt\npr_debug("loud\\n")\npr_info("%x\\n", 255)\n', name="two"
    )
    assert [(line.level, line.text) for line in m.kernel.log.since(0)][-11:] == [
        *((level, f"{name} 7") for level, name in enumerate(LEVELS)),
        (6, "half and half"), (4, "old"), (7, "mine: loud"), (6, "mine: ff"),
    ]  # fmt: skip


def test_bug_on_and_warn_on(m: Machine, driver: Load, run_c: Run) -> None:
    """BUG_ON ends the method and names its line; WARN_ON reports and goes on."""
    d = driver("""
        seen = []
        def bad_ioctl(inode, filp, cmd, arg):
            for _ in range(2):
                seen.append((WARN_ON(cmd == 1), WARN(cmd == 2, "cmd %d", cmd), WARN_ON_ONCE(cmd == 3)))
            BUG_ON(cmd == 4)
            if cmd == 5:
                BUG()
            return 7
        misc = miscdevice(name="bad", fops=file_operations(ioctl=bad_ioctl))
        misc_register(misc)
    """)
    run_c(m, """
        int cmd, fd = must_open("/dev/bad", O_RDWR);
        for (cmd = 0; cmd < 4; cmd++) EQUAL("goes on", ioctl(fd, cmd, 0), 7);
        ERRNO("BUG_ON", ioctl(fd, 4, 0), EIO);
        ERRNO("BUG", ioctl(fd, 5, 0), EIO);
        EQUAL("others go on", ioctl(fd, 0, 0), 7);
    """)  # fmt: skip
    assert d["seen"][:8] == [(cmd == 1, cmd == 2, cmd == 3) for cmd in range(4) for _ in range(2)]
    place = re.escape("WARNING: bad: at bad.py:6 in bad_ioctl")
    expected = [place + ";", place + ";", place + ": cmd 2;", place + ": cmd 2;", place + ";"]
    assert len(m.kernel.reports) == 5
    assert all(re.match(want, got) for want, got in zip(expected, m.kernel.reports, strict=True)), m.kernel.reports
    bugs = [line for line in m.dmesg if line.startswith("BUG: bad: ")]
    assert bugs[0].endswith("kernel BUG: the condition of BUG_ON is true at bad.py:7 in bad_ioctl (ioctl)")
    assert bugs[1].endswith("KernelBUG: kernel BUG at bad.py:9 in bad_ioctl (ioctl)")


# -- the time ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deterministic", [False, True], ids=["real", "virtual"])
def test_the_time_of_day(run_c: Run, tmp_path: Any, deterministic: bool) -> None:
    """A driver's clocks are those that the program sees."""
    path = tmp_path / "clock.py"
    path.write_text("""
from machine.kernel.linux import *
class times(struct):
    tv = member(timeval)
    ts = member(timespec)
    mono = s64()
    real = s64()
def clock_read(filp, buf, count, f_pos):
    t = times(mono=ktime_get_ns(), real=ktime_get_real())
    do_gettimeofday(t.tv)
    getnstimeofday(t.ts)
    assert ktime_to_ms(ktime_sub(ktime_get(), t.mono)) >= 0 and ktime_get_real_seconds() >= t.ts.tv_sec
    start = jiffies
    end = ktime_get() + 2_000_000
    while ktime_get() < end:
        cpu_relax()
    assert ktime_to_us(5_999) == 5 and ktime_us_delta(7_000, 2_000) == 5 and ktime_to_ns(3) == 3
    assert time_after_eq(3, 3) and time_before_eq(3, 3) and not time_after_eq(2, 3) and not time_before_eq(4, 3)
    return -EFAULT if copy_to_user(buf, t, sizeof(times)) else sizeof(times)
misc = miscdevice(name="clock", fops=file_operations(read=clock_read))
misc_register(misc)
module_exit(lambda: misc_deregister(misc))
""")
    with Machine(devices=[str(path)], ram=32 << 20, deterministic=deterministic) as m:
        run_c(m, """
            long long t[6], before, after, mono_before, mono_after;
            struct timespec ts;
            int fd = must_open("/dev/clock", O_RDONLY);
            #define NOW(clock, to) clock_gettime(clock, &ts); to = ts.tv_sec * 1000000000LL + ts.tv_nsec
            NOW(CLOCK_REALTIME, before); NOW(CLOCK_MONOTONIC, mono_before);
            EQUAL("read", read(fd, t, sizeof t), sizeof t);
            NOW(CLOCK_REALTIME, after); NOW(CLOCK_MONOTONIC, mono_after);
            long long tv = t[0] * 1000000000 + t[1] * 1000, spec = t[2] * 1000000000 + t[3];
            CHECK("timeval", before / 1000 <= tv / 1000 && tv <= after);
            CHECK("timespec", before <= spec && spec <= after);
            CHECK("real", before <= t[5] && t[5] <= after);
            CHECK("monotonic", mono_before <= t[4] && t[4] <= mono_after);
            CHECK("two milliseconds", after - before >= 2000000);
        """)  # fmt: skip
        assert m.unload("clock") == [] and m.kernel.reports == [] and not m.kernel.oopses


# -- flush ---------------------------------------------------------------------------------------------------------


def test_flush_is_called_at_each_close(m: Machine, driver: Load, run_c: Run) -> None:
    """close gives what it returns, EIO for what raises or means nothing; `release` comes once, after the last."""
    d = driver("""
        order, answers = [], [0, -ENOSPC, None, "raises", 0]
        def bad_flush(filp):
            order.append("flush")
            answer = answers.pop(0)
            return 1 // 0 if answer == "raises" else answer
        def bad_release(inode, filp):
            order.append("release")
            return 0
        misc = miscdevice(name="bad", fops=file_operations(flush=bad_flush, release=bad_release))
        misc_register(misc)
        module_exit(lambda: misc_deregister(misc))
    """)
    run_c(m, """
        int i, fds[5];
        fds[0] = must_open("/dev/bad", O_RDWR);
        for (i = 1; i < 5; i++) fds[i] = dup(fds[0]);
        EQUAL("0", close(fds[0]), 0);
        ERRNO("ENOSPC", close(fds[1]), ENOSPC);
        ERRNO("None", close(fds[2]), EIO);
        ERRNO("raises", close(fds[3]), EIO);
        EQUAL("0", close(fds[4]), 0);
    """)  # fmt: skip
    assert d["order"] == ["flush"] * 5 + ["release"]
    assert "flush returned None, not a number (bad_flush, bad.py:4)" in m.kernel.reports[0]
    assert "ZeroDivisionError" in m.kernel.oopses[0].traceback and len(m.kernel.oopses) == 1
    assert m.unload("bad") == []
