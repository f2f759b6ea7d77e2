"""The texts of the pytest plugin and of `nopage sweep`, provoked and compared whole."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from machine import Machine
from machine.errors import ConfigError, NopageError, Stuck, TimeoutExpired
from machine.events import KINDS
from machine.sweep import command
from machine.testing.foreach import FaultReport, Kind, Outcome
from machine.testing.harness import Devices, ProgramFailed
from tests.testing.conftest import Project
from tests.testing.programs import ECHO, HEAD, SLEEPER, WHERE, WILD, Timer

TOP = Path(__file__).parents[2]
pytest_plugins = ["pytester"]
at_timer = pytest.mark.device(WHERE, Timer)
TASK = "program (pid 2) sleeps in read(), called from PLACE"


def plain(text: object) -> str:
    """Without addresses and places in a libc, which compilers choose."""
    text = re.sub(r"called from \S+", "called from PLACE", str(text))
    text = re.sub(r"(instruction) 0x[0-9a-f]+ .*? \(", r"\1 ADDRESS CODE (", text)
    return re.sub(r"\b(main|poke)\+0x[0-9a-f]+", r"\1+N", text)


# -- programs ----------------------------------------------------------------------------------------------------


def test_a_program_that_is_not_there(run: Any) -> None:
    with pytest.raises(NopageError) as caught:
        run("./build/timerctl")
    assert str(caught.value) == (
        f"./build/timerctl: no such program. Looked in:\n  {Path.cwd()}\n  {Path(__file__).parent}\n"
        "Build it before the test, or compile it in the test: guest_cc('FILE.c')"
    )
    with pytest.raises(NopageError) as caught:
        run("timerctl")
    assert str(caught.value).splitlines()[:2] == [
        "timerctl: no such program. Looked in:",
        "  the guest's PATH, " + _path(run),
    ]


def test_a_program_that_is_meant(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`timerctl` for `./timerctl`, and a slip in the name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "build").mkdir()
    for name in ("timerctl", "build/demo"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    for name, meant in (("timerctl", "./timerctl"), ("./timerclt", "./timerctl"), ("build/dmo", "build/demo")):
        with pytest.raises(NopageError) as caught:
            run(name)
        assert str(caught.value).splitlines()[-2:] == [
            f"Did you mean {meant}?",
            "Build it before the test, or compile it in the test: guest_cc('FILE.c')",
        ]
    (tmp_path / "timerctl").chmod(0o644)
    with pytest.raises(NopageError) as caught:
        run("timerctl")
    assert "Did you mean" not in str(caught.value)


def _path(run: Any) -> str:
    return str(run.__self__.machine.env["PATH"])


def test_a_file_that_is_no_program(run: Any, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no program")
    with pytest.raises(NopageError) as caught:
        run(tmp_path / "data")
    assert str(caught.value) == f"{tmp_path}/data: can't be started: Permission denied"


def test_a_program_that_does_not_end(run: Any, guest_cc: Any) -> None:
    with pytest.raises(NopageError) as caught:
        run(guest_cc(WILD), "spin", timeout=1.5)
    assert plain(caught.value) == (
        "program: still running after 1.5 seconds; killed. What the machine was doing:\n"
        "  program (pid 2) is ready to run, at main+N program.c:28\n"
        "A longer time: run(..., timeout=SECONDS), or nopage_timeout in pytest's configuration"
    )


POLLER = (
    HEAD
    + """
int main(void)
{
    volatile uint32_t *timer = registers();
    while (!(timer[3] & 1))
        ;
    return 0;
}
"""
)


@pytest.mark.device(WHERE, Timer)
@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_a_register_that_is_polled_for_ever(run: Any, guest_cc: Any, target: str) -> None:
    with pytest.raises(NopageError) as caught:
        run(guest_cc(POLLER, target=target), timeout=1)
    said = r"at main\+N program\.c:\d+, reading timer\.status, which stays 0 \(\d+ times\)"
    assert re.fullmatch(rf"  program \(pid 2\) is ready to run, {said}", plain(caught.value).splitlines()[1]), (
        caught.value
    )


def test_what_was_done_at_the_timeout_of_nopage_run(guest_cc: Any) -> None:
    """The same as in pytest: function, source line, and the register that it waits for."""
    spec = f"{WHERE}=tests/testing/programs.py:Timer"
    words = [sys.executable, "-m", "machine", "run", "--timeout", "5", "--attach", spec, str(guest_cc(POLLER))]
    done = subprocess.run(words, cwd=TOP, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 124
    said = plain(done.stderr).splitlines()
    assert said[0].endswith(": still running after 5 seconds; killed")
    tail = r"at main\+N program\.c:\d+, reading timer\.status, which stays 0 \(\d+ times\)"
    assert re.fullmatch(rf"nopage: program \(pid 2\) \S.*, {tail}", said[1]), said


def test_programs_that_sleep(run: Any, start: Any, guest_cc: Any) -> None:
    with pytest.raises(NopageError) as caught:
        run(guest_cc(SLEEPER))
    assert plain(caught.value) == (
        "program: sleeps for ever: no timer, interrupt or input is to come; killed. What the machine was doing:\n"
        f"  {TASK}"
    )
    with pytest.raises(NopageError) as caught:
        start(guest_cc(ECHO)).wait()
    assert plain(caught.value).replace("pid 3", "pid 2") == (
        "program: waits for its standard input, which is open and empty: write to its stdin, or close it. What the "
        f"machine was doing:\n  {TASK}"
    )


def test_moments_that_do_not_come(machine: Machine, start: Any, guest_cc: Any) -> None:
    program = start(guest_cc(ECHO))
    with pytest.raises(Stuck) as stuck:
        program.read_until(b"ready")
    assert plain(stuck.value) == (
        f"b'ready' from {program.argv0} will not come: every task sleeps and nothing can wake one. What the "
        f"machine was doing:\n  {TASK}"
    )
    program.stdin.close()
    with pytest.raises(Stuck) as stuck:
        machine.run_until("register")
    assert str(stuck.value) == "an event 'register' will not come: every program has ended"
    start(guest_cc(WILD), "spin")
    with pytest.raises(TimeoutExpired) as late:
        machine.run_until("interrupt", timeout=0.5)
    assert plain(late.value).replace("pid 3", "pid 2") == (
        "an event 'interrupt' has not come in 0.5 seconds. What the machine was doing:\n"
        "  program (pid 2) is ready to run, at main+N program.c:28"
    )
    with pytest.raises(ConfigError) as wrong:
        machine.run_until("registers")
    assert str(wrong.value) == f"run_until: 'registers' is no function, and no kind of event ({', '.join(KINDS)})"


def test_a_program_that_was_to_end_well(run: Any, guest_cc: Any) -> None:
    with pytest.raises(ProgramFailed) as caught:
        run(guest_cc(WILD), check=True)
    fatal = "program (pid 2): SIGSEGV (SEGV_MAPERR) at 0x10, instruction ADDRESS CODE (poke+N program.c:23), in no area"
    assert plain(caught.value) == (
        f"program: {fatal}\n$ program\nexit 139; 7 faults, 3 system calls, 0 register accesses\n{fatal}\n"
        "standard error:\n  about to"
    )
    with pytest.raises(ProgramFailed, match=r"\Aprogram: exit status 3\n\$ program\nexit 3; "):
        run(guest_cc(ECHO), check=True)


# -- markers, fixtures, options ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tests", "options", "text"),
    [
        (
            "def test_it(device): pass\n",
            [],
            "the fixture 'device' wants a marker on test_it: @pytest.mark.device(\"/dev/mem@0xfe000000\", Timer)",
        ),
        (
            "@at_timer\n@pytest.mark.device('/dev/uio0', Timer)\ndef test_it(device): pass\n",
            [],
            (
                "the fixture 'device' is for a test with one device; here are /dev/mem@0xfe000000, /dev/uio0: take "
                "devices[...]"
            ),
        ),
        (
            "@pytest.mark.board\ndef test_it(machine): pass\n",
            [],
            'board marker: it takes a name or a file: @pytest.mark.board("my-board.toml")',
        ),
        (
            "def test_it(machine): pass\n",
            ["--nopage-ram=1M"],
            "--nopage-ram: 1M of RAM is out of range: 16M to 16G",
        ),
        (
            "def test_it(machine): pass\n",
            ["--nopage-report-for=some"],
            "--nopage-report-for: 'some' is not all or failed",
        ),
        (
            "@pytest.mark.device('/dev/mem@fe000000', Timer)\ndef test_it(machine): pass\n",
            [],
            "'/dev/mem@fe000000': at which physical address? As in '/dev/mem@0xfe000000'",
        ),
        (
            "@at_timer\n@at_timer\ndef test_it(machine): pass\n",
            [],
            "/dev/mem@0xfe000000: timer can't be at 0xfe000000: timer is at 0xfe000000",
        ),
        (
            "@pytest.mark.device('/dev/uio0', 'devices.py:Timer')\ndef test_it(machine): pass\n",
            [],
            (
                "/dev/uio0: what is attached is a class derived from RegisterBlock or an object of one, not "
                "'devices.py:Timer'"
            ),
        ),
        (
            "@pytest.mark.device('/dev/uio0', Timer, strat=5)\ndef test_it(machine): pass\n",
            [],
            (
                "/dev/uio0: Timer has no __init__ of its own that would take arguments: got an unexpected keyword "
                "argument 'strat'"
            ),
        ),
        (
            "@pytest.mark.device(Timer())\ndef test_it(machine): pass\n",
            [],
            (
                'device marker: it needs a place: @pytest.mark.device("/dev/uio0", Timer), or a driver\'s name alone'
            ),
        ),
        (
            "@pytest.mark.device(Timer)\ndef test_it(machine): pass\n",
            [],
            (
                'device marker: it needs a place: @pytest.mark.device("/dev/uio0", Timer), or a driver\'s name alone'
            ),
        ),
        (
            "def test_it(machine, inject): inject('mmaap', errno='EIO')\n",
            [],
            "inject: 'mmaap' is no system call, and not sigbus or oom; did you mean mmap?",
        ),
        (
            "def test_it(for_each_fault): for_each_fault(['./echo'], 'sigbuss')\n",
            [],
            (
                "for_each_fault: 'sigbuss' is not oom, ENOMEM, sigbus, syscall:NAME, syscall:NAME=ERRNO or short:NAME"
            ),
        ),
        (
            "def test_it(machine):\n    machine.kernel.report('Bad page state: made up')\n",
            [],
            "the machine is not clean after the test:\nBad page state: made up",
        ),
        (
            "def test_it(machine):\n    machine.close()\n",
            [],
            (
                "the machine is not clean after the test:\nthe test closed the machine: nobody knows what was left in "
                "it (the fixture closes it after a look)"
            ),
        ),
    ],
)  # fmt: skip
def test_what_a_project_does_wrong(project: Project, tests: str, options: list[str], text: str) -> None:
    said = project.run(tests, *options, "--tb=short").stdout.str()
    error = re.sub(r"^E +(\w+\.)*\w+(Error|Exception): ", "", said, flags=re.M)
    error = re.sub(r"^test_it\.py:\d+: ", "", error, flags=re.M)
    assert f"\n{text}\n" in f"\n{error}\n".replace("\nE   ", "\n"), said
    assert "machine/testing/plugin.py:" not in said and "entries are hidden" not in said, said


def test_a_failed_check_is_told_once(project: Project) -> None:
    tests = "def test_it(run):\n    run('./echo')\n    run('./echo', 'x', check=True)\n"
    said = project.run(tests).stdout.str().partition("short test summary info")[0]  # whole there where CI is set
    assert len(re.findall(r"^(?:E +)?\$ \./echo x$", said, re.M)) == 1, said
    assert len(re.findall(r"^\$ \./echo$", said, re.M)) == 1, said


def test_waves_want_a_library(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vcd", None)
    said = project.run("@at_timer\ndef test_it(machine): pass\n", "--nopage-vcd", "waves").stdout.str()
    text = "--nopage-vcd: writing waves needs pyvcd, which is not installed: pip install 'nopage[waves]'"
    assert re.search(rf"^test_it\.py:3: {re.escape(text)}$", said, re.M), said


def test_a_place_that_no_device_is_at() -> None:
    with pytest.raises(KeyError) as caught:
        Devices({"/dev/uio0": 1})["/dev/uio1"]
    assert caught.value.args == ("no device of this test is at '/dev/uio1'; there are: /dev/uio0",)


def test_the_coverage_file(project: Project) -> None:
    said = project.run("def test_it(): pass\n", "--nopage-cov", "tests", subprocess=True).stderr.str()
    assert said.strip() == (
        "ERROR: --nopage-cov=tests: the name ends in .info (for lcov) or .xml (Cobertura); without a name, put it last"
    )
    said = project.run("def test_it(): pass\n", "--nopage-drcov", "tests", subprocess=True).stderr.str()
    assert said.strip() == ("ERROR: --nopage-drcov=tests: the name ends in .drcov or .log; without a name, put it last")


@pytest.mark.parametrize("name", ["--nopage-cov", "--nopage-drcov"])
def test_coverage_that_can_t_be_written(project: Project, name: str) -> None:
    path = f"/proc/here/all{'.info' if name.endswith('-cov') else '.drcov'}"
    said = project.run("def test_it(): pass\n", f"{name}={path}", subprocess=True).stderr.str()
    assert said.strip() == f"ERROR: {name}: {path} can't be written: No such file or directory"


def test_blocks_of_a_test_that_can_t_be_written(project: Project) -> None:
    said = project.run("def test_it(run): run('./echo', 'a')\n", "--nopage-drcov-dir=/proc/here")
    said.assert_outcomes(passed=1, errors=1)
    path = "/proc/here/test_it.py-test_it.drcov"
    said.stdout.fnmatch_lines([f"test_it.py:3: --nopage-drcov-dir: {path} can't be written: No such file or directory"])


def test_guest_cc(guest_cc: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = pytest.fail.Exception
    with pytest.raises(failed) as caught:
        guest_cc("nothere.c")
    assert str(caught.value) == (
        f"guest_cc: there is no nothere.c. Looked in:\n  {Path(__file__).parent}\n  {Path.cwd()}"
    )
    with pytest.raises(failed) as caught:
        guest_cc("int main(void)\n{ return x; }\n", target="i386")
    head, first, *_ = str(caught.value).splitlines()
    assert head == "guest_cc: the text does not compile for i386:"
    assert first == "program.c:2:10: error: use of undeclared identifier 'x'"
    with pytest.raises(failed) as caught:
        guest_cc("int main(void)\n{ return 0; }\n", cc="zig", libc="glibc", static=True)
    assert str(caught.value) == "guest_cc: ziglang has no static glibc: use musl, or cc='host'"


class Outer:
    class Timer(Timer):
        pass


STORE = """
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
int main(void)
{
    char c[4];
    read(0, c, 3);
    volatile unsigned *regs = mmap(0, 4096, 3, MAP_SHARED, open("/dev/mem", O_RDWR), 0xfe000000);
    regs[0] = 1;
    return 0;
}
"""


def replay_of(result: Any) -> list[str]:
    """The last lines of a failure: how to get there."""
    with pytest.raises(AssertionError) as caught:
        result.bus.assert_no_access_to("ctrl")
    lines = str(caught.value).splitlines()
    return lines[next(number for number, line in enumerate(lines) if line.startswith("  replay")) :]


@at_timer
def test_what_a_replay_lacks(start: Any, run: Any, guest_cc: Any, inject: Any, device: Any) -> None:
    program = guest_cc(STORE)
    assert len(replay_of(run(program))) == 1
    inject("read", short=1)
    device.period = 77
    held = start(program, env={"A": "1"}, cwd="/")
    held.stdin.write(b"abc")
    command, lacks = replay_of(held.wait())
    assert re.fullmatch(
        r"  replay       .*\S run --deterministic --attach .*--break-on register:timer\.ctrl,nr=2 .*", command
    )
    assert lacks == (
        "               this replay lacks: standard input, its environment, its directory (/), "
        "inject('read', short=1), timer.period as the test set it"
    )


@pytest.mark.device("/dev/uio0", Timer)
@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_a_replay_lacks_interrupts_and_signals_of_the_test(
    start: Any, machine: Machine, guest_cc: Any, device: Timer, target: str
) -> None:
    """Those that the test makes while programs stand; not those of the model."""
    text = STORE.replace('"/dev/mem", O_RDWR), 0xfe000000', '"/dev/uio0", O_RDWR), 0')
    program = guest_cc(text.replace("regs[0] = 1;", "regs[0] = 1; regs[0] = 2;"), target=target)
    held = start(program, stdin=b"")
    machine.run_until("register")
    device.raise_irq()
    held.send_signal(28)  # SIGWINCH, which is ignored
    _, lacks = replay_of(held.wait())
    assert lacks == (
        f"               this replay lacks: interrupt {device.irq} (timer) as the test raised it, "
        "SIGWINCH that the test sent to program"
    )


@pytest.mark.device(WHERE, Timer())
def test_a_model_that_no_command_names(run: Any, guest_cc: Any) -> None:
    named = "--attach names a class of a file's own level"
    assert replay_of(run(guest_cc(STORE))) == [
        f"  replay       no command: {WHERE}: the model is an object, Timer(...), and {named}",
        "               to stand there in the test: p = start(...) in place of run(...), then",
        "               machine.run_until('register', lambda a: (a.device, a.register) == ('timer', 'ctrl'))",
    ]


@pytest.mark.device(WHERE, Outer.Timer)
def test_a_class_that_no_command_names(run: Any, guest_cc: Any) -> None:
    run(guest_cc(STORE))
    first, _, last = replay_of(run(guest_cc(STORE)))
    assert "no command: " + WHERE + ": the class Outer.Timer is inside of something, and --attach" in first
    assert last.startswith("               for _ in range(2): machine.run_until(")


# -- faults on purpose ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda i: i("mmap", errno="EIO", nth=-1), "inject: nth counts from 1, not -1"),
        (
            lambda i: i("sigbus"),
            'inject("sigbus"): say where: at="timer.status", at="/dev/uio0+0x8", at="main", or which: nth=3',
        ),
        (
            lambda i: i("sigbus", at="timer.stat"),
            (
                "inject: at='timer.stat' is no place: an address, '/dev/NAME+OFFSET', 'device.register', 'file.c:LINE' "
                "or a function; registers here: timer.ctrl, timer.count, timer.period, timer.status"
            ),
        ),
        (
            lambda i: i("mmaap", errno="EIO"),
            "inject: 'mmaap' is no system call, and not sigbus or oom; did you mean mmap?",
        ),
        (lambda i: i("mmap"), "inject('mmap'): say what it gets: errno=\"EIO\", or short=BYTES"),
        (lambda i: i("mmap", errno="EAGIN"), "inject: 'EAGIN' is no errno; did you mean EAGAIN?"),
        (
            lambda i: i("mmap", short=1),
            (
                "inject('mmap', short=...): short is for copy_file_range, getdents64, getrandom, pread64, preadv, "
                "preadv2, pwrite64, pwritev, pwritev2, read, readv, recvfrom, recvmsg, sendfile, sendfile64, sendmsg, "
                "sendto, splice, tee, vmsplice, write, writev"
            ),
        ),
        (
            lambda i: i.stuck(WHERE, "statu", 1, 1),
            "inject: timer has no register 'statu'; did you mean status?",
        ),
        (
            lambda i: i.stuck("/dev/uio7", "status", 1, 1),
            "no device of this test is at '/dev/uio7'; there are: /dev/mem@0xfe000000, timer",
        ),
        (
            lambda i: i.delayed(WHERE, "status"),
            "inject.delayed('timer', 'status'): say how long: us=500, or reads=3",
        ),
        (
            lambda i: i.lost_irq(WHERE, probability=2),
            "inject.lost_irq: probability=2 is not between 0 and 1",
        ),
        (lambda i: i.lost_irq(WHERE, probability=0.5, nth=1), "inject.lost_irq: nth=, or probability=, not both"),
    ],
)  # fmt: skip
@at_timer
def test_injections_that_mean_nothing(inject: Any, call: Any, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        call(inject)
    assert str(caught.value) == text


def test_an_injection_that_did_nothing(project: Project) -> None:
    tests = "def test_it(run, inject):\n    inject('mmap', errno='EPERM', nth=99)\n    run('./echo')\n"
    said = project.run(tests, "-W", "error::pytest.PytestWarning", subprocess=True).stdout.str()
    text = "InjectionWarning: inject('mmap', errno='EPERM', nth=99) did nothing: what it waits for did not happen\n"
    assert f"E           machine.testing.plugin.{text}" in said, said


def test_for_each_fault_refuses(for_each_fault: Any, guest_cc: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        Kind("sigbuss")
    assert str(caught.value) == (
        "for_each_fault: 'sigbuss' is not oom, ENOMEM, sigbus, syscall:NAME, syscall:NAME=ERRNO or short:NAME"
    )
    with pytest.raises(AssertionError) as few:
        FaultReport("oom", "prog", [], 0).assert_survived()
    assert str(few.value) == "prog, oom: 0 runs: nothing to fail; at least 1 were to be tried"
    with pytest.raises(AssertionError) as none:
        FaultReport("syscall:write", "prog", [], 0, ["mmap", "writev"]).assert_survived()
    assert str(none.value) == (
        "prog, syscall:write: 0 runs: nothing to fail; at least 1 were to be tried; its system calls are mmap, writev"
    )
    assert "writev" in for_each_fault(lambda run: run(guest_cc(WILD)), "syscall:mremap", status=139).calls
    bad = FaultReport(
        "syscall:read=EINTR", "prog", [Outcome(1, "a", "same"), Outcome(2, "read", "hang", 0, "it ...")], 2
    )
    with pytest.raises(AssertionError) as hangs:
        bad.assert_survived()
    assert str(hangs.value) == (
        "prog, syscall:read=EINTR: 2 runs: 1 same, 1 hang. Not survived:\n"
        "    n  verdict       exit  what failed\n"
        "    2  hang             0  read\n"
        "                          it ...\n"
        "To look at the first: inject('read', errno='EINTR', nth=2)"
    )


@pytest.mark.device(WHERE, Timer())
def test_for_each_fault_wants_classes(for_each_fault: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        for_each_fault(["./prog"], "oom")
    assert str(caught.value) == (
        f"for_each_fault: the model at '{WHERE}' is an object, Timer(...), and each run wants a fresh one: give its "
        "class to the marker"
    )


# -- nopage sweep ------------------------------------------------------------------------------------------------


def test_a_program_that_fails_without_a_failure(for_each_fault: Any, guest_cc: Any) -> None:
    """Nothing can be compared with such a run, unless the test says that it is meant."""
    program = guest_cc(WILD)
    with pytest.raises(ConfigError) as caught:
        for_each_fault([program], "oom")
    said = plain(caught.value).splitlines()
    assert said[0] == (
        "program: ends with 139 without a failure; where that is meant: for_each_fault(..., status=139). It said:"
    )
    assert said[1].startswith("  program (pid 2): SIGSEGV (SEGV_MAPERR) at 0x10,") and said[2:] == ["  about to"]
    with pytest.raises(ConfigError) as other:
        for_each_fault(lambda run: run("true"), "oom", status=3)
    assert str(other.value) == (
        "the program: ends with 0, not with 3 without a failure; where that is meant: for_each_fault(..., status=0)"
    )
    with pytest.raises(AssertionError) as nothing:
        for_each_fault([program], "sigbus", status=139).assert_survived()
    head = "program, sigbus: 0 runs: nothing to fail; at least 1 were to be tried; what could fail: "
    assert re.match(rf"{head}(ENOMEM \(\d+\), )?oom \(\d+\); its system calls are ", str(nothing.value)), nothing.value
    with pytest.raises(TimeoutExpired, match=r"still running after 1\.5 seconds"):
        for_each_fault(lambda run: run(program, "spin", timeout=1.5), "oom")


def test_an_interrupted_sweep(
    guest_cc: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_make_runs", interrupted)
    words = ["--kind", "syscall:read", "--journal", str(tmp_path / "j"), "--status", "3", "--", str(guest_cc(ECHO))]
    assert command.sweep_command(words) == 130
    assert capsys.readouterr().err == (
        "nopage: interrupted: 0 of 1 runs are done; the same command goes on from there\n"
    )
    assert command.sweep_command([*words[:2], *words[4:]]) == 130
    assert capsys.readouterr().err == "nopage: interrupted: 0 of 1 runs are done\n"
