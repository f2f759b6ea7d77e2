"""Many processes, threads, stages and jobs end with no lost process, page or descriptor (issue 4, "Done when").

The short form is among the tests; NOPAGE_LONG=1 has ten times as many of everything.
"""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from machine import Machine
from machine.kernel.fs.file import file
from tests.conftest import build, run_on_host

HERE = Path(__file__).parent / "load"
TARGETS = ("x86_64", "i386")
MORE = 10 if os.environ.get("NOPAGE_LONG") else 1
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/", "LC_ALL": "C"}
Make = Callable[..., Machine]


def open_files() -> int:
    """Open files of every machine that there is: whatever is open must be somewhere in memory."""
    return sum(1 for each in gc.get_objects() if isinstance(each, file) and each.f_count > 0)


@pytest.fixture
def run(machine_clean: Make) -> Callable[..., tuple[int, bytes, bytes]]:
    """Run a command in a machine that must be clean after it: no process, no page, no open file is left."""

    def once(*command: str, **options: object) -> tuple[int, bytes, bytes]:
        machine = machine_clean(env=ENVIRONMENT, check_invariants=False, **options)
        machine.run(["/bin/true"])
        before = open_files()
        result = machine.run(list(command), timeout=400)
        assert machine.check_clean() == []
        assert open_files() == before
        assert [task.pid for task in machine.kernel.tasks.values()] == [1]
        return result.exit, result.stdout, result.stderr

    return once


@pytest.mark.parametrize("target", TARGETS)
def test_a_thousand_forks(run: Callable[..., tuple[int, bytes, bytes]], target: str) -> None:
    program, count = build(HERE / "forks.c", target=target), str(1000 * MORE)
    native = run_on_host(program, [count])
    assert run(str(program), count) == (0, native.stdout, b"")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("libc", ["musl", "glibc"])
def test_two_hundred_threads(run: Callable[..., tuple[int, bytes, bytes]], libc: str, target: str) -> None:
    program = build(HERE / "threads.c", target=target, libc=libc, static=libc == "musl", flags=("-pthread",))
    count = str(min(200 * MORE, 1000))
    native = run_on_host(program, [count])
    assert native.stdout == b"%s threads, %s right, total %d, serial 1\n" % (*[count.encode()] * 2, int(count) * 20)
    assert run(str(program), count) == (0, native.stdout, b"")


def test_a_pipeline_of_twenty_stages(run: Callable[..., tuple[int, bytes, bytes]]) -> None:
    """300 KiB through 20 processes, unchanged and in order; and one that its reader leaves early."""
    lines = 50_000 * MORE
    stages = " | ".join(["cat"] * 18)
    assert run("sh", "-c", f"seq {lines} | {stages} | tail -n 1") == (0, b"%d\n" % lines, b"")
    assert run("bash", "-c", f"set -o pipefail; yes | {stages} | head -n 2")[:2] == (141, b"y\ny\n")


def test_a_shell_that_starts_programs(run: Callable[..., tuple[int, bytes, bytes]]) -> None:
    script = f"i=0; while [ $i -lt {50 * MORE} ]; do /bin/true & /bin/false; wait; i=$((i+1)); done; echo $i"
    assert run("sh", "-c", script) == (0, b"%d\n" % (50 * MORE), b"")


def test_python_with_subprocesses(run: Callable[..., tuple[int, bytes, bytes]]) -> None:
    if shutil.which("python3", path=ENVIRONMENT["PATH"]) is None:
        pytest.skip("python3 is not installed")
    script = """
import subprocess, threading
def one(i):
    return subprocess.run(["sh", "-c", f"read x; echo $x; exit {i}"], input=b"%d\\n" % i, capture_output=True)
done = [one(i) for i in range(COUNT)]
print([(each.returncode, each.stdout) for each in done] == [(i % 256, b"%d\\n" % i) for i in range(COUNT)])
pipes = [subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(8)]
got = {}
def talk(i):
    got[i] = len(pipes[i].communicate(b"x" * 100000 * (i + 1))[0])
threads = [threading.Thread(target=talk, args=(i,)) for i in range(8)]
[each.start() for each in threads]
[each.join() for each in threads]
print(sorted(got.values()), [each.returncode for each in pipes])
"""
    status, output, errors = run("python3", "-c", script.replace("COUNT", str(12 * MORE)))
    assert (status, errors) == (0, b"")
    assert output == b"True\n%s %s\n" % (str([100000 * i for i in range(1, 9)]).encode(), str([0] * 8).encode())


def test_make_with_four_jobs(run: Callable[..., tuple[int, bytes, bytes]], tmp_path: Path) -> None:
    """A C project of a few files, compiled by gcc and linked, four at a time; then the program runs."""
    for tool in ("make", "gcc"):
        if shutil.which(tool, path=ENVIRONMENT["PATH"]) is None:
            pytest.skip(f"{tool} is not installed")
    count = 6 * MORE
    for i in range(count):
        (tmp_path / f"part{i}.c").write_text(f"int part{i}(int n) {{ return n + {i}; }}\n")
    calls = "".join(f"total = part{i}(total); " for i in range(count))
    parts = "".join(f"int part{i}(int); " for i in range(count))
    (tmp_path / "main.c").write_text(
        f'#include <stdio.h>\n{parts}\nint main(void) {{ int total = 0; {calls}printf("%d\\n", total); return 0; }}\n'
    )
    (tmp_path / "Makefile").write_text(
        "OBJECTS = main.o $(patsubst %.c,%.o,$(wildcard part*.c))\nprog: $(OBJECTS)\n\tgcc -o $@ $^\n"
    )
    script = "cp -r /project /tmp/project && cd /tmp/project && make -j4 > log 2>&1; grep -c '^cc' log; ./prog"
    total = sum(range(count))
    status, output, errors = run("sh", "-c", script, binds=[(str(tmp_path), "/project", False)], ram=1 << 30)
    assert (status, output, errors) == (0, b"%d\n%d\n" % (count + 1, total), b"")
