"""Fork bombs and runaway allocation end as on Linux, and the report says which limit was met (MECHANISMS E2, E3)."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from machine import Machine
from tests.conftest import build

HERE = Path(__file__).parent / "limits"
TARGETS = ("x86_64", "i386")
MiB = 1 << 20
SIGKILL = 9
Make = Callable[..., Machine]


def program(name: str, target: str = "x86_64") -> str:
    return str(build(HERE / f"{name}.c", target=target))


def nopage(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "machine", "run", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, stdin=subprocess.DEVNULL)


# -- tasks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", ["processes", "threads"])
def test_max_tasks(machine_clean: Make, kind: str, target: str) -> None:
    """The bomb itself is one of the 50; the next fork is EAGAIN; all that were made are waited for."""
    machine = machine_clean(max_tasks=50, check_invariants=False)
    for _ in range(2):
        result = machine.run([program("bomb", target), kind], timeout=200)
        assert (result.exit, result.stdout) == (3, b"49 made, 49 waited for, Resource temporarily unavailable\n")
    assert machine.limits == {"fork was refused (EAGAIN): 50 tasks are the most; see --max-tasks": 2}
    assert machine.read_file("/proc/sys/kernel/threads-max") == b"51\n"


def test_a_real_bomb(machine_clean: Make) -> None:
    """Each child forks twice, seven deep: more than there may be.  Those that there are end, and nobody is lost."""
    machine = machine_clean(max_tasks=40, check_invariants=False)
    script = "b() { if [ $1 = 7 ]; then sleep 0.5; else b $(($1 + 1)) & b $(($1 + 1)) & wait; fi; }; b 0 2> /dev/null"
    result = machine.run(["sh", "-c", script], timeout=200)
    assert result.exit in (0, 2)  # 2: dash itself could not fork
    assert machine.run(["sleep", "3"], timeout=200).exit == 0
    ((text, count),) = machine.limits.items()
    assert text.startswith("fork was refused (EAGAIN): 40 tasks")
    assert count >= 1


def test_nproc_and_pid_max(machine_clean: Make) -> None:
    """RLIMIT_NPROC counts a user's tasks and is no limit for root; pid_max is one for everybody."""
    bomb = program("bomb")
    machine = machine_clean(check_invariants=False, binds=[(bomb, bomb, False)])
    limited = machine.run(["sh", "-c", f"ulimit -p 20; {bomb} processes 1000"], timeout=200)
    assert (limited.exit, limited.stdout) == (3, b"19 made, 19 waited for, Resource temporarily unavailable\n")
    assert machine.limits == {"fork was refused (EAGAIN): RLIMIT_NPROC of user 1000 is 20": 1}
    limited = machine.run(["sh", "-c", f"echo 340 > /proc/sys/kernel/pid_max; {bomb}"], timeout=200)
    assert limited.exit == 3
    assert re.fullmatch(rb"3\d\d made, 3\d\d waited for, Resource temporarily unavailable\n", limited.stdout)


def test_the_report_of_tasks() -> None:
    done = nopage("--max-tasks", "10", program("bomb"))
    assert (done.returncode, done.stdout) == (3, "9 made, 9 waited for, Resource temporarily unavailable\n")
    assert done.stderr == "nopage: fork was refused (EAGAIN): 10 tasks are the most; see --max-tasks\n"
    bomb = program("bomb")
    forever = ("sh", "-c", f"{bomb}; while :; do :; done")
    done = nopage("--max-tasks", "10", "--timeout", "5", "--bind", f"{bomb}:{bomb}", *forever)
    assert done.returncode == 124
    assert done.stderr.endswith("\nnopage: fork was refused (EAGAIN): 10 tasks are the most; see --max-tasks\n")
    done = nopage("--max-tasks", "many", "true")
    assert done.returncode == 2
    assert "'many' is not a number of tasks, 1 to 32767" in done.stderr


# -- memory -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("how", ["touch", "read"])
def test_the_hog_is_killed(machine_clean: Make, how: str, target: str) -> None:
    """RAM is full: the largest process dies of SIGKILL, in a page fault or in a system call; its parent goes on."""
    machine = machine_clean(ram=32 * MiB, check_invariants=False)
    result = machine.run([program("hog", target), how, "fork"], timeout=200)
    assert (result.exit, result.stdout) == (0, b"the child: signal 9 status 0\n")
    log = "\n".join(machine.dmesg)
    assert "hog invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), order=0, oom_score_adj=0" in log
    assert re.search(r"Out of memory: Killed process \d+ \(hog\) total-vm:\d+kB, anon-rss:[23]\d{4}kB, file-rss:", log)
    (text,) = machine.limits
    assert re.fullmatch(r"out of memory: hog \(pid \d+\) with [23]\d MiB was killed; see --ram", text)
    alone = machine.run([program("hog", target), how], timeout=200)
    assert alone.signal == SIGKILL


def test_who_is_chosen(machine_clean: Make) -> None:
    """oom_score_adj: -1000 never, 1000 first, then who has most."""
    machine = machine_clean(ram=64 * MiB, check_invariants=False)
    result = machine.run([program("innocent")], timeout=200)
    assert result.stdout == b"who asked for it: signal 9\nthe hog: signal 9\nwho must not: signal 0 status 11\n"
    assert result.exit == 0


def test_forks_survive_a_hog(machine_clean: Make) -> None:
    """A shell that starts programs all the time beside a hog: only the hog dies."""
    hog = program("hog")
    machine = machine_clean(ram=64 * MiB, check_invariants=False, binds=[(hog, hog, False)])
    script = f"{hog} touch & i=0; while [ $i -lt 60 ]; do (exit 3); i=$((i+1)); done; wait $!; echo $? $i"
    result = machine.run(["sh", "-c", script], timeout=200)
    assert result.stdout == b"137 60\n", result.stderr


def test_rlimit_as(machine_clean: Make) -> None:
    hog = program("hog")
    machine = machine_clean(check_invariants=False, binds=[(hog, hog, False)])
    result = machine.run(["sh", "-c", f"ulimit -v 102400; {hog} malloc"], timeout=200)
    assert (result.exit, result.stdout) == (3, b"Out of memory after many\n")
    assert machine.limits == {"memory was refused (ENOMEM): RLIMIT_AS is 102400 KiB": 1}


def test_the_report_of_memory() -> None:
    done = nopage("--ram", "32M", program("hog"), "touch")
    assert done.returncode == 128 + SIGKILL
    first, second = done.stderr.splitlines()
    assert re.fullmatch(r"nopage: hog \(pid \d+\): killed by SIGKILL", first)
    assert re.fullmatch(r"nopage: out of memory: hog \(pid \d+\) with [23]\d MiB was killed; see --ram", second)


# -- files in memory --------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_inodes_of_a_tmpfs(machine_clean: Make, target: str, tmp_path: Path) -> None:
    """As many as half the pages of RAM; the same on the host, on a tmpfs of its own where we may mount one."""
    path = program("inodes", target)
    machine = machine_clean(ram=16 << 20)
    result = machine.run([path, "/dev/shm"], timeout=200)
    assert (result.exit, result.stderr) == (0, b""), result.stdout
    assert b"FAIL" not in result.stdout and result.stdout.count(b"ok ") == 50
    script = f"mount -t tmpfs -o nr_inodes=60 none {tmp_path} && exec {path} {tmp_path}"
    command = ["unshare", "-m", "sh", "-c", script] if shutil.which("unshare") else ["false"]
    host = subprocess.run(command, capture_output=True, timeout=60, check=False)
    if host.stdout:
        assert (host.returncode, host.stdout) == (0, result.stdout)


def test_the_size_of_a_tmpfs(machine_clean: Make) -> None:
    """Half of RAM; what a program could not write is not there, and statfs knows."""
    machine = machine_clean(ram=32 << 20)
    show = "stat -f -c '%b %f %c %d' /dev/shm"
    result = machine.run(["sh", "-c", f"cat /dev/zero > /dev/shm/full; {show}; rm /dev/shm/full; {show}"], timeout=200)
    assert b"No space left on device" in result.stderr
    pages = machine.kernel.mem.total_frames() // 2
    full, empty = result.stdout.decode().splitlines()
    assert (full, empty) == (f"{pages} 0 {pages} {pages - 2}", f"{pages} {pages} {pages} {pages - 1}")


@pytest.mark.parametrize("target", TARGETS)
def test_paths_of_epoll(machine_clean: Make, target: str) -> None:
    """Sets in sets, by many descriptors: EINVAL where Linux gives it, and no wait asks one set twice."""
    host = subprocess.run([program("epoll_paths")], capture_output=True, timeout=60, check=True)
    assert b"a file, 40: 40 (errno 22) 12 (errno 22) 0 40 40; 0 ready, 0 then\n" in host.stdout
    machine = machine_clean()
    result = machine.run([program("epoll_paths", target)], timeout=60)
    assert (result.exit, result.stderr, result.stdout) == (0, b"", host.stdout)
    assert not machine.kernel.epoll_holders


@pytest.mark.parametrize("target", TARGETS)
def test_watches_of_a_user(machine_clean: Make, target: str) -> None:
    """epoll items, inotify watches and inotify descriptors are counted over all processes of a user, and given back."""
    machine = machine_clean(ram=32 << 20, deterministic=True)
    result = machine.run([program("watches", target)], timeout=300)
    assert (result.exit, result.stderr) == (0, b""), result.stdout
    assert result.stdout.count(b"ok ") == 12
    assert not machine.kernel.vfs.ucounts
    shown = machine.run(["sh", "-c", "cat /proc/sys/fs/epoll/max_user_watches /proc/sys/fs/inotify/max_user_watches"])
    frames = machine.kernel.mem.total_frames()
    assert shown.stdout == b"%d\n8192\n" % ((frames // 25 << 12) // 184)
