"""What a hostile guest can make nopage itself say, write and take: names, sizes, memory, time (SECURITY.md)."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from errno import EAGAIN, EMFILE, ENOMEM, ENOSPC, ETOOMANYREFS
from pathlib import Path

import pytest

from machine import Machine
from machine.errors import ConfigError, TimeoutExpired
from tests.conftest import build
from tests.terminal import Terminal

HERE = Path(__file__).parent
TOP = HERE.parents[1]
TIMER = TOP / "docs" / "examples" / "uio-timer" / "test_timerctl.py"
MiB = 1 << 20
POLLS = """
#include <fcntl.h>
#include <sys/mman.h>
int main(void)
{
	volatile unsigned *r = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, open("/dev/uio0", O_RDWR), 0);
	for (unsigned i = 0; i < 4000; i++)
		r[1] = i;
	return 0;
}
"""
MOST_MEMORY = """
import os, resource, sys
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
open(sys.argv[1], "w").write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(code)
"""
"""Writes the most KiB that the command had: a small process makes it, for it inherits the size of its maker."""


def program(name: str) -> str:
    return str(build(HERE / f"{name}.c", flags=("-w",)))


def nopage(*arguments: str, cwd: Path | None = None, timeout: float = 200) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "machine", "run", "--timeout", "100", *arguments], capture_output=True, timeout=timeout,
        check=False, stdin=subprocess.DEVNULL, cwd=cwd, env={**os.environ, "PYTHONPATH": str(TOP)},
    )  # fmt: skip


# -- words ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("-v",), ("--strace", "-y"), ("--faults",)])
def test_no_escapes_in_our_words(options: tuple[str, ...]) -> None:
    """The guest's names are shown with their control characters spelled out, and never begin a line of ours."""
    done = nopage(*options, program("said"), "comm")
    assert done.returncode == 128 + 6
    assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", done.stderr), done.stderr
    assert b"\\x1b" in done.stderr
    assert all(line.isprintable() for line in done.stderr.decode().splitlines())
    lines = done.stderr.splitlines()
    assert not [line for line in lines if line.startswith((b"nopage: forged", b"nopage (pid"))]


def test_no_keys_are_pushed() -> None:
    """TIOCSTI on the user's own terminal."""
    with Terminal([program("said"), "push"]) as terminal:
        terminal.expect("end")
        assert terminal.exit_status() == 0


# -- files that nopage writes ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("comm", "pattern"),
    [
        ("../../up", "../../up"),
        ("x", "/tmp/nopage-absolute"),
        ("..", "%e"),
        ("x", "|/bin/sh -c touch"),
        ("x", "victim"),
    ],
)
def test_where_cores_go(tmp_path: Path, comm: str, pattern: str) -> None:
    """Only into the directory, under the name that the user chose, and over nothing but another core."""
    cores = tmp_path / "a" / "cores"
    cores.mkdir(parents=True)
    (cores / "victim").write_text("precious")
    done = nopage("--core", str(cores), program("said"), "core", comm, pattern)
    assert done.returncode == 128 + 11
    names = set(os.listdir(cores)) - {"victim"}
    assert len(names) == 1 and next(iter(names)).startswith("core."), names
    assert (cores / "victim").read_text() == "precious"
    assert os.listdir(tmp_path) == ["a"] and os.listdir(tmp_path / "a") == ["cores"]
    assert not os.path.exists("/tmp/nopage-absolute")


def test_a_core_replaces_only_a_core(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "link").symlink_to("victim")
    for name in ("victim", "link"):
        done = nopage("--core", f"{tmp_path}/%e", program("said"), "core", name, "x")
        assert b"core in" not in done.stderr
        assert (tmp_path / "victim").read_text() == "precious"
    for _ in range(2):
        done = nopage("--core", f"{tmp_path}/%e", program("said"), "core", "fresh", "x")
        assert b"core in" in done.stderr
        assert (tmp_path / "fresh").read_bytes().startswith(b"\x7fELF")


def test_cores_are_bounded(tmp_path: Path) -> None:
    done = nopage("--core", str(tmp_path), "--max-trace", "600K", program("said"), "cores")
    assert done.returncode == 0
    assert 1 <= len(os.listdir(tmp_path)) < 20
    assert sum(each.stat().st_blocks * 512 for each in tmp_path.iterdir()) < 2 * MiB


def test_export_of_hostile_files(tmp_path: Path) -> None:
    """A file of terabytes is a hole again; set-user-ID bits and disks stay behind; links are not followed."""
    kept = tmp_path / "kept"
    (kept / "var").mkdir(parents=True)
    (tmp_path / "outside").write_text("precious")
    (kept / "var" / "sparse").symlink_to(tmp_path / "outside")
    done = nopage("--export", str(kept), program("said"), "sparse")
    assert (done.returncode, done.stdout) == (0, b"end\n"), done.stderr
    info = os.lstat(kept / "var" / "sparse")
    assert stat.S_ISREG(info.st_mode) and info.st_size == 1 << 42 and info.st_blocks < 100
    assert (tmp_path / "outside").read_text() == "precious"
    assert stat.S_IMODE(os.lstat(kept / "var" / "setuid").st_mode) == 0o755
    assert not os.path.lexists(kept / "var" / "disk")
    assert os.readlink(kept / "var" / "link") == "/etc/passwd"


def test_holes_take_no_room(tmp_path: Path) -> None:
    """A hole of 16 GiB in a file of a :rw bind is the host's: what the program sees is what it sees there."""
    host = subprocess.run([program("holes"), f"{tmp_path}/one"], capture_output=True, timeout=60, check=True)
    if os.lstat(tmp_path / "one").st_blocks > 1000 or not host.stdout.startswith(b"0\n"):
        pytest.skip("the host's file system has no holes")
    done = nopage("--bind", f"{tmp_path}:/rw:rw", program("holes"), "/rw/two", timeout=60)
    assert (done.returncode, done.stdout) == (0, host.stdout), done.stderr
    assert os.lstat(tmp_path / "two").st_blocks <= os.lstat(tmp_path / "one").st_blocks


@pytest.mark.parametrize("option", ["--strace", "--events", "--perfetto"])
def test_traces_are_bounded(tmp_path: Path, option: str) -> None:
    trace = tmp_path / "trace"
    done = nopage(f"{option}={trace}", "--max-trace", "200K", program("said"), "calls")
    assert done.returncode == 0
    assert trace.stat().st_size <= 200 << 10
    assert f"nopage: {trace}: it is full, the rest is left out; see --max-trace".encode() in done.stderr


@pytest.mark.parametrize(
    ("option", "left"),
    [
        ("--strace", "the rest is left out"),
        ("--events", "the rest is left out"),
        ("--perfetto", "the rest is left out"),
        ("--faults", "the rest is left out"),
        ("--drcov", "the rest is left out"),
        ("--vcd", "the rest is left out"),
        ("--report", "the file is not complete"),
        ("--record", "the file is not complete"),
        ("--cov", "the file is not complete"),
    ],
)
def test_a_full_disk(tmp_path: Path, option: str, left: str) -> None:
    """The program goes on and ends as without the option; one line says which file lacks something."""
    full = tmp_path / "full.xml"
    full.symlink_to("/dev/full")
    more = ("--attach", f"/dev/uio0={TIMER}:Timer") if option == "--vcd" else ()
    done = nopage(f"{option}={full}", *more, program("said"), "calls")
    assert (done.returncode, done.stdout) == (0, b"end\n"), done.stderr
    said = done.stderr.decode().splitlines()
    assert said[-1] == f"nopage: {full}: No space left on device; {left}"
    assert len(said) == 1 or (option == "--cov" and "no source lines" in said[0])


@pytest.mark.parametrize("option", ["--strace", "--faults", "-v"])
def test_standard_error_on_a_full_disk(option: str) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "machine", "run", option, program("said"), "calls"], stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL, stderr=full, check=False, env={**os.environ, "PYTHONPATH": str(TOP)},
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, b"end\n")


def test_waves_are_bounded(tmp_path: Path) -> None:
    """Of a program that sets the device's registers without end."""
    program, waves = tmp_path / "polls.c", tmp_path / "waves"
    program.write_text(POLLS)
    done = nopage(
        f"--vcd={waves}", "--max-trace", "50K", "--attach", f"/dev/uio0={TIMER}:Timer", str(build(program)), timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert 40 << 10 < waves.stat().st_size <= 50 << 10
    assert f"nopage: {waves}: it is full, the rest is left out; see --max-trace\n".encode() in done.stderr


def test_recorded_input_is_bounded() -> None:
    """It is kept in memory that is no process's, and counts for the limit of nopage's."""
    with open("/dev/zero", "rb") as endless:
        done = subprocess.run(
            [sys.executable, "-m", "machine", "run", "--record=/dev/null", "--max-memory", "256M", "--timeout", "100",
             "cat"],
            stdin=endless, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False,
            env={**os.environ, "PYTHONPATH": str(TOP)},
        )  # fmt: skip
    assert done.returncode == 124
    said = rb"nopage: with (\d+) MiB of input that was recorded the machine needs more than 256 MiB of this computer; "
    found = re.match(said + rb"see --max-memory\n", done.stderr)
    assert found and 150 < int(found[1]) < 1000, done.stderr


@pytest.mark.parametrize(("option", "kilobytes"), [("--strace", 20), ("--faults", 2)])
def test_what_is_shown_on_standard_error_is_bounded(option: str, kilobytes: int) -> None:
    """The views stop there; nopage's own words at the end still come."""
    done = nopage(option, "--max-trace", f"{kilobytes}K", program("said"), "calls")
    assert done.returncode == 0
    assert kilobytes << 9 < len(done.stderr) < kilobytes + 1 << 10
    assert done.stderr.endswith(b"\nnopage: standard error: it is full, the rest is left out; see --max-trace\n")


def test_output_is_bounded() -> None:
    done = nopage("--max-output", "1M", program("said"), "flood")
    assert done.returncode == 124
    assert MiB - 100 <= len(done.stdout) <= MiB
    assert b"nopage: the programs have written more than they may; see --max-output" in done.stderr


# -- memory and time --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pipes", "sockets", "xattr_files", "datagrams", "vma_processes"])
def test_memory_is_bounded(tmp_path: Path, kind: str) -> None:
    """Whatever is hoarded: the host's memory stays below the limit (and what comes in between two looks)."""
    command = [sys.executable, "-S", "-c", MOST_MEMORY, str(tmp_path / "most"), sys.executable, "-m", "machine", "run"]
    command += ["--ram", "32M", "--max-memory", "256M", program("hoard"), kind]
    with open(tmp_path / "stderr", "wb") as stderr:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr,
            env={**os.environ, "PYTHONPATH": str(TOP)},
        )  # fmt: skip
        child.wait()
    said = (tmp_path / "stderr").read_bytes()
    assert child.returncode in (137, 143), said
    if child.returncode == 137:
        assert b"the machine needed more than 256 MiB of this computer; see --max-memory" in said
    assert int((tmp_path / "most").read_text()) < (450 << 10)


def hoarded(done: subprocess.CompletedProcess[bytes], kind: str) -> tuple[int, int]:
    """How many of them the program could have, and the errno that ended it; 0 when it has as many as it wants."""
    assert done.returncode == 128 + 15, done
    found = re.search(rb"^%s: (\d+), errno (\d+)$" % kind.encode(), done.stdout, re.MULTILINE)
    assert found, done
    return int(found[1]), int(found[2])


@pytest.mark.parametrize(
    ("kind", "most", "why"),
    [
        ("vmas", 65530, ENOMEM),  # vm.max_map_count
        ("files", 4000, ENOSPC),  # inodes: half the pages of RAM
        ("root_files", 4000, ENOSPC),
        ("links", 4000, ENOSPC),
        ("symlinks", 4000, ENOSPC),
        ("directories", 4000, ENOSPC),
        ("data", 256, ENOSPC),  # 64 KiB each: half of RAM
        ("epoll_items", 8000, ENOSPC),  # fs.epoll.max_user_watches
        ("timers", 4096, EAGAIN),  # RLIMIT_SIGPENDING
        ("signals", 4096, EAGAIN),
        ("segments", 4096, ENOSPC),  # shmmni
        ("queues", 10, EMFILE),  # RLIMIT_MSGQUEUE
        ("pseudo_terminals", 4096, ENOSPC),
        ("processes", 300, EAGAIN),  # threads-max
        ("users_in_flight", 1025, ETOOMANYREFS),  # RLIMIT_NOFILE, for a user who is not root
    ],
)
def test_each_has_its_own_bound(kind: str, most: int, why: int) -> None:
    """That of Linux, with its errno, long before the host's memory matters."""
    taken, errno = hoarded(nopage("--ram", "32M", program("hoard"), kind), kind)
    assert errno == why
    assert most // 10 <= taken <= most


def test_record_locks_are_many() -> None:
    """Linux has no limit for them but memory; here it is --max-memory, and no lock waits for a look at all others."""
    assert hoarded(nopage("--timeout", "60", program("hoard"), "locks", "100000"), "locks") == (100000, 0)


@pytest.mark.parametrize("kind", ["large_read", "large_write", "large_calls"])
def test_large_calls(kind: str) -> None:
    """Counts of gigabytes in one call are moved in pieces, and end with the machine's own memory."""
    done = nopage("--ram", "64M", program("hoard"), kind)
    assert done.returncode in (137, 143), done.stderr


def test_a_loop_ends(tmp_path: Path) -> None:
    """--timeout ends what never calls the kernel, and what never comes back from it."""
    loop = tmp_path / "loop.c"
    loop.write_text("int main(void) { for (;;) ; }")
    done = nopage("--timeout", "1", str(build(loop)), timeout=60)
    assert done.returncode == 124


SPIN = """
#include <sys/wait.h>
#include <unistd.h>
static volatile unsigned long n;
static void spin(void) { for (;;) if (++n % 1000000 == 0) write(1, ".", 1); }
int main(int argc, char **argv) { if (argc > 1 && !fork()) spin(); spin(); return argv == 0; }
"""


@pytest.mark.parametrize("target", ["x86_64", "i386"])
@pytest.mark.parametrize("more", [(), ("child",)])
def test_ticks_end_a_loop_at_the_same_place(tmp_path: Path, target: str, more: tuple[str, ...]) -> None:
    """--max-ticks counts blocks of code, whoever runs them: two runs end after the same output, in the same place."""
    program = str(build(SPIN, target=target))
    first, second = (nopage("--max-ticks", "150", program, *more) for _ in range(2))
    assert first.returncode == 124
    assert 2 <= len(first.stdout) <= 8  # 7,500,000 blocks, one or two of them a round
    said = first.stderr.decode().splitlines()
    assert said[0] == f"nopage: {program}: still running after 150 ticks; killed"
    assert len(said) == 2 + len(more), said
    place = re.compile(r"nopage: program \(pid \d\) is ready to run, at (spin|main)\b.*")
    assert all(place.fullmatch(line) for line in said[1:]), said
    assert (first.stdout, first.stderr) == (second.stdout, second.stderr)


def test_ticks_are_one_budget_for_all_commands(tmp_path: Path) -> None:
    """A program that needs fewer is not disturbed; the next one has what is left, and sleeping costs nothing."""
    program = str(build(SPIN))
    done = nopage("--max-ticks", "100", "--exec", "sleep 3600", "--exec", "echo fine", program)
    assert done.returncode == 124 and done.stdout.startswith(b"fine\n"), done
    assert b"still running after 100 ticks" in done.stderr


def test_ticks_from_python(machine_clean: Callable[..., Machine]) -> None:
    """TimeoutExpired says what was over; the machine goes on, with a new budget."""
    program = str(build(SPIN))
    machine = machine_clean(deterministic=True, binds=[(program, program, False)])
    ends = []
    for _ in range(2):
        before = machine.kernel.clock.ticks
        with pytest.raises(TimeoutExpired, match="still running after 30 ticks; killed") as caught:
            machine.run([program], max_ticks=30, timeout=100)
        assert caught.value.ticks == 30 and ", at " in caught.value.tasks[0]
        ends.append(machine.kernel.clock.ticks - before)
    assert ends[0] >= 30 and machine.run(["hello"], max_ticks=30).exit == 0
    with pytest.raises(TimeoutExpired) as caught:
        machine.run([program], max_ticks=1 << 40, timeout=0.5)
    assert caught.value.ticks is None
    with pytest.raises(ConfigError, match="only a deterministic machine counts"):
        machine_clean(binds=[(program, program, False)]).run([program], max_ticks=30)


def test_what_is_said_about_limits() -> None:
    for words, said in (
        (("--max-ticks", "0"), b"'0' is not a number of ticks, 1 and more"),
        (("--max-memory", "1M"), b"1M is too little for nopage itself: 256M at least"),
        (("--max-output", "0"), b"'0' is no limit to work with"),
        (("--max-trace", "lots"), b"'lots' is not a size; write it like 64M"),
    ):
        done = nopage(*words, "true")
        assert done.returncode == 2 and said in done.stderr, done
    assert nopage("--max-memory", "none", "--max-output", "none", "--max-trace", "none", "true").returncode == 0


# -- the host changes meanwhile ---------------------------------------------------------------------


@pytest.mark.parametrize("writable", [False, True])
def test_the_host_swaps_a_directory_for_a_link(tmp_path: Path, writable: bool) -> None:
    """While the guest opens dir/secret over and over, the host makes `dir` a link out of the bind, and back."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for place in (inside / "dir", outside):
        place.mkdir(parents=True)
        (place / "secret").write_text(f"from {place.name}\n")
    (inside / "spare").symlink_to(outside)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            os.rename(inside / "dir", inside / "middle")
            os.rename(inside / "spare", inside / "dir")
            os.rename(inside / "middle", inside / "spare")

    swapper = threading.Thread(target=swap)
    swapper.start()
    once = "{ read x < /b/dir/secret && echo $x; echo y > /b/dir/new; } 2> /dev/null"
    script = f"i=0; while [ $((i+=1)) -le 400 ]; do {once}; done"
    try:
        done = nopage("--bind", f"{inside}:/b" + ":rw" * writable, "sh", "-c", script)
    finally:
        stop.set()
        swapper.join()
    assert set(done.stdout.splitlines()) <= {b"from dir"}, done.stdout
    assert os.listdir(outside) == ["secret"]
