"""What does not come back is interrupted, and named: hooks of models, drivers, conditions.  The machine goes on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from machine import Machine
from machine.errors import DeviceError, TimeoutExpired
from machine.kernel.task import watchdog
from machine.kernel.task.sched import Scheduler
from machine.kernel.task.ticker import Deadline
from machine.testing import Reg, RegisterBlock
from tests.testing.conftest import Project
from tests.testing.programs import HEAD, WHERE

pytest_plugins = ["pytester"]

TOP = Path(__file__).parents[2]
HERE = Path(__file__).name

STORE = (
    HEAD
    + r"""
int main(int argc, char **argv)
{
	registers()[argc > 2] = atoi(argv[1]);
	for (;;)
		;
}
"""
)
READER = (
    HEAD
    + r"""
int main(int argc, char **argv)
{
	return registers()[1];
}
"""
)
LOOP, SWALLOWED, SLEEP, LATER, OURS, LOST, DEAF = range(1, 8)


class Looping(RegisterBlock):
    """Each value of ctrl is a way not to come back."""

    ctrl = Reg(0x00)
    count = Reg(0x04)

    @ctrl.on_write
    def started(self, value: int) -> None:
        if value not in (LATER, LOST):
            LOOPS.set()
        if DEADLINES and value not in (LATER, LOST):
            time_is_up()
        if "TELL" in os.environ:
            print("looping", file=sys.stderr, flush=True)
        if value == LOOP:
            while True:
                pass
        while value == SWALLOWED:
            try:
                self.helper()
            except Exception:
                pass
        if value == SLEEP:
            time.sleep(1000)
        if value == LATER:
            self.after(10, self.expired)
        while value == OURS:
            self.dma_read(0x100000, 4 << 20)

        while value == DEAF:
            try:
                time.sleep(1)
            except BaseException:
                pass

    def helper(self) -> None:
        self.count += 1

    def expired(self) -> None:
        LOOPS.set()
        if DEADLINES:
            time_is_up()
        while True:
            self.count ^= 1

    @count.on_read
    def counted(self) -> int:
        if DEADLINES:
            time_is_up()
        while True:
            pass


def lines_of(text: object) -> list[str]:
    """With this file's lines as FILE:N, and without what compilers choose."""
    text = re.sub(r"(main|registers)\+0x[0-9a-f]+", r"\1+N", re.sub(rf"[\w./-]*{HERE}:\d+", "FILE:N", str(text)))
    return re.sub(r"program \(pid \d+\)", "program (pid 2)", text).splitlines()


DEADLINES: list[Any] = []
LOOPS = threading.Event()
"""A model or a driver is about to loop."""


def time_is_up() -> None:
    """The time that the test has given is over now, when the model is about to loop."""
    deadline = DEADLINES.pop()
    deadline._timer.cancel()
    threading.Thread(target=deadline._expire, daemon=True).start()


def once_it_loops(act: Any, *arguments: Any) -> None:
    """Do it from another thread, a moment after the loop has begun."""
    LOOPS.clear()

    def wait() -> None:
        if LOOPS.wait(100):
            time.sleep(0.3)
            act(*arguments)

    threading.Thread(target=wait, daemon=True).start()


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    """What loops is interrupted soon."""

    def made(sched: Scheduler, seconds: float) -> Deadline:
        deadline = Deadline(sched, seconds)
        DEADLINES[:] = [deadline] if seconds == 30 else DEADLINES
        return deadline

    monkeypatch.setattr(Scheduler, "host_deadline", made)
    monkeypatch.setattr(watchdog, "GRACE", 0.1)


HOOKS = [
    (LOOP, "a write of 0x1 to ctrl", ["started: while True:", "started: pass"], "x86_64"),
    (LOOP, "a write of 0x1 to ctrl", ["started: while True:", "started: pass"], "i386"),
    (SWALLOWED, "a write of 0x2 to ctrl", ["started: ", "helper: self.count += 1"], "x86_64"),
    (SLEEP, "a write of 0x3 to ctrl", ["started: time.sleep(1000)"], "x86_64"),
    (LATER, "Looping.expired, called by the clock", ["expired: "], "x86_64"),
    (OURS, "a write of 0x5 to ctrl", ["started: "], "i386"),
]


@pytest.mark.device(WHERE, Looping)
@pytest.mark.parametrize(("how", "what", "innermost", "target"), HOOKS)
def test_hooks(
    late: None, run: Any, guest_cc: Any, device: Looping, how: int, what: str, innermost: list[str], target: str
) -> None:
    """It is a timeout that names class, hook, file and line; the next program runs on the same machine."""
    program = guest_cc(STORE, target=target)
    with pytest.raises(TimeoutExpired) as caught:
        run(program, how, timeout=30)
    said = lines_of(caught.value)
    assert said[:2] == [
        "program: still running after 30 seconds; killed. What the machine was doing:",
        f"  FILE:N: Looping ('looping') did not come back from {what}; interrupted in",
    ]
    assert any(f"    FILE:N in {line}" in line_ for line in innermost for line_ in said[2:]), said
    assert "A longer time" not in said[-1]
    assert type(caught.value.__cause__).__name__ == "Lockup"
    with pytest.raises(TimeoutExpired) as caught:
        run(program, LOST, timeout=0.8)
    assert device.ctrl == LOST and "did not come back" not in str(caught.value)


@pytest.mark.device(WHERE, Looping)
def test_a_read(late: None, run: Any, guest_cc: Any) -> None:
    with pytest.raises(TimeoutExpired, match=r"did not come back from a read of 4 bytes of count; interrupted in"):
        run(guest_cc(READER), timeout=30)


LOOPER = r"""
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	char c = 0;
	int fd;
	mknod("/tmp/loop", S_IFCHR | 0600, makedev(231, 0));
	fd = open("/tmp/loop", O_RDWR);
	if (argv[1][0] == 'r')
		read(fd, &c, 1);
	if (argv[1][0] == 'w')
		write(fd, &c, 1);
	if (argv[1][0] == 'i')
		ioctl(fd, 1, 1);
	return fd < 0;
}
"""


@pytest.mark.device(str(Path(__file__).with_name("loopdrv.py")))
@pytest.mark.parametrize("call", ["read", "write", "ioctl"])
def test_drivers(late: None, run: Any, machine: Machine, guest_cc: Any, call: str) -> None:
    program = guest_cc(LOOPER)
    machine.kernel.modules["loopdrv"].namespace["about_to_loop"] = time_is_up
    with pytest.raises(TimeoutExpired) as caught:
        run(program, call, timeout=30)
    place = rf"  \S*loopdrv\.py:\d+: the driver loopdrv did not come back from {call}; interrupted in"
    assert re.fullmatch(place, str(caught.value).splitlines()[1]), caught.value
    assert f" in loop_{call}: " in str(caught.value).splitlines()[2]
    assert run(program, "open").exit == 0
    assert not machine.kernel.mmio.steps and machine.kernel.modules["loopdrv"].refcount == 0
    assert [each.where for each in machine.kernel.oopses] == [f"loopdrv.{call}"]
    machine.kernel.oopses.clear()


@pytest.mark.device(WHERE, Looping)
def test_a_condition(late: None, start: Any, machine: Machine, guest_cc: Any, device: Looping) -> None:
    def never(_event: object) -> bool:
        time_is_up()
        while True:
            pass

    program = start(guest_cc(STORE), LOST)
    with pytest.raises(TimeoutExpired) as caught:
        machine.run_until("register", never, timeout=30)
    assert lines_of(caught.value)[:2] == [
        "an event 'register' has not come in 30 seconds. What the machine was doing:",
        "  FILE:N: run_until did not come back from its condition; interrupted in",
    ]
    assert program.running and device.ctrl == LOST


@pytest.mark.device(WHERE, Looping)
def test_in_another_thread(late: None, machine: Machine, guest_cc: Any) -> None:
    """No signal can be handled there: the interpreter is asked."""
    program, caught = str(guest_cc(STORE)), []

    def run() -> None:
        try:
            machine.run([program, str(LOOP)], timeout=30)
        except TimeoutExpired as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    assert "Looping ('looping') did not come back from a write of 0x1 to ctrl" in str(caught[0])


@pytest.mark.device(WHERE, Looping)
@pytest.mark.parametrize("how", [LOOP, LATER])
def test_control_c_of_a_script(machine: Machine, guest_cc: Any, how: int) -> None:
    """`Machine.interrupt`, as `nopage run` has it for Ctrl-C: the signal would never get through."""
    once_it_loops(machine.interrupt, signal.SIGINT)
    program = str(guest_cc(STORE))
    with pytest.raises(DeviceError, match=r"Looping \('looping'\) did not come back from .*; interrupted in"):
        machine.run([program, str(how)], timeout=30)
    assert not machine.kernel.bus.failures and not machine.kernel.bus.broken


@pytest.mark.device(str(Path(__file__).with_name("loopdrv.py")))
@pytest.mark.device(WHERE, Looping)
@pytest.mark.parametrize("what", ["1", "4", "read", "ioctl"])
def test_control_c_of_pytest(run: Any, machine: Machine, guest_cc: Any, what: str) -> None:
    """KeyboardInterrupt comes out of `run`, and the machine can be ended."""
    if not what.isdigit():
        machine.kernel.modules["loopdrv"].namespace["about_to_loop"] = LOOPS.set
    once_it_loops(os.kill, os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(guest_cc(STORE if what.isdigit() else LOOPER), what, timeout=30)


def test_nopage_run(guest_cc: Any) -> None:
    spec = f"{WHERE}=tests/testing/{HERE}:Looping"
    words = ["run", "--timeout", "6", "--attach", spec, str(guest_cc(STORE)), str(LATER)]
    done = subprocess.run(
        [sys.executable, "-m", "machine", *words], cwd=TOP, capture_output=True, text=True, timeout=60, check=False
    )
    what = "Looping.expired, called by the clock"
    assert done.returncode == 124
    said = lines_of(done.stderr)
    assert said[0].endswith(": still running after 6 seconds; killed")
    assert said[1] == f"nopage: FILE:N: Looping ('looping') did not come back from {what}; interrupted in"
    assert said[2].startswith("nopage:   FILE:N in ")


def test_control_c_of_nopage_run(guest_cc: Any) -> None:
    spec = f"{WHERE}=tests/testing/{HERE}:Looping"
    words = [sys.executable, "-m", "machine", "run", "--attach", spec, str(guest_cc(STORE)), str(LOOP)]
    with subprocess.Popen(
        words, cwd=TOP, env={**os.environ, "TELL": "1"}, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        while "looping" not in running.stderr.readline():
            pass
        running.send_signal(signal.SIGINT)
        said = running.communicate(timeout=60)[1]
    assert running.returncode == 125
    assert [line for line in lines_of(said) if "did not come back" in line] == [
        "nopage: FILE:N: Looping ('looping') did not come back from a write of 0x1 to ctrl; interrupted in"
    ]
    assert "  the program got SIGBUS" in said.splitlines()


CAUGHT = (
    f"nopage: it has caught the exception that was to end it {watchdog.SWALLOWED} times: 'except:' and 'except "
    "BaseException:' do, 'except Exception:' lets it through. Nothing else stops it; this process ends, status 124"
)


def test_a_loop_that_nothing_ends(guest_cc: Any, tmp_path: Path) -> None:
    """It catches what is to end it: nopage says where it is, and ends, with what its views have seen so far."""
    spec = f"{WHERE}=tests/testing/{HERE}:Looping"
    words = ["run", "--timeout", "3", "--attach", spec, "--events", str(tmp_path / "events")]
    done = subprocess.run(
        [sys.executable, "-m", "machine", *words, str(guest_cc(STORE)), str(DEAF)],
        cwd=TOP, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == watchdog.STATUS == 124
    _, head, *frames, caught = lines_of(done.stderr)
    assert head == "nopage: FILE:N: Looping ('looping') did not come back from a write of 0x7 to ctrl; interrupted in"
    assert frames[0].startswith("  FILE:N in started: ") and caught == CAUGHT
    assert (tmp_path / "events").read_text().count("\n") > 50


DEAF_TEST = """
import time

class Deaf(Timer):
    def write_ctrl(self, value):
        while True:
            try:
                time.sleep(1)
            except:
                pass

@pytest.mark.device("/dev/mem@0xfe000000", Deaf)
def test_deaf(run):
    run("./timer_demo", timeout=2)
"""


@pytest.mark.parametrize("workers", [0, 1])
def test_a_test_that_nothing_ends(project: Project, workers: int) -> None:
    """pytest ends rather than hang, and says in which test; a process of pytest-xdist is only replaced."""
    options = ["-n", str(workers), "--max-worker-restart=1"] if workers else ["-p", "no:xdist"]
    result = project.run(DEAF_TEST + "def test_after(): pass\n", *options, subprocess=True)
    said = result.stderr.str()
    assert "\ntest_it.py::test_deaf\nnopage: " in said and CAUGHT in said
    assert "did not come back from a write of 0x" in said and "to ctrl; interrupted in" in said
    if not workers:
        assert result.ret == watchdog.STATUS
    else:
        result.assert_outcomes(passed=1, failed=1)
