"""ptrace (MECHANISMS E3, B12): programs that trace others, natively first; strace and gdb in the machine."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from machine import Machine
from tests.conftest import Outcome, build

HERE = Path(__file__).parent / "ptrace"
TARGETS = ("x86_64", "i386")
SIGSEGV = 11
Make = Callable[..., Machine]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("program", ["basics", "details", "events", "hidden", "segments"])
def test_program(guest: Callable[..., object], program: str, target: str) -> None:
    guest(HERE / f"{program}.c", target=target, flags=("-O1",))


@pytest.mark.parametrize("program", ["basics", "events"])
def test_deterministic(guest: Callable[..., object], program: str) -> None:
    guest(HERE / f"{program}.c", flags=("-O1",), deterministic=True)


@pytest.mark.parametrize("target", TARGETS)
def test_device_pages_are_out_of_reach(run_in_machine: Callable[..., Outcome], target: str) -> None:
    got = run_in_machine(build(HERE / "device.c", target=target), ["/dev/mem"])  # B12
    assert got.failures() == []
    assert (got.exit, got.stdout.count(b"ok ")) == (0, 10)


def need(tool: str) -> str:
    found = shutil.which(tool)
    if found is None:
        pytest.skip(f"{tool} is not installed")
    return found


@pytest.fixture
def debugged(machine_clean: Make) -> Callable[..., tuple[int, str, str]]:
    """Run a debugger in the machine on the program: (exit, output, errors)."""

    def run(*command: str, target: str = "x86_64") -> tuple[int, str, str]:
        program = build(HERE / "debugged.c", target=target, libc="glibc", static=False, flags=("-g", "-O0", "-pthread"))
        shown = [(str(path), str(path), False) for path in (HERE, program)]
        machine = machine_clean(check_invariants=False, binds=shown)
        done = machine.run([*command, str(program)], timeout=300)
        return done.exit, done.stdout.decode(), done.stderr.decode()

    return run


@pytest.mark.parametrize("target", TARGETS)
def test_strace(debugged: Callable[..., tuple[int, str, str]], target: str) -> None:
    """strace -f follows the child and the thread, and ends as the program does."""
    status, output, calls = debugged(need("strace"), "-f", target=target)
    assert status == 128 + SIGSEGV
    assert output == "total 35, child 7\n"
    assert re.search(r"^execve\(.* = 0$", calls, re.MULTILINE)
    assert re.search(r"exit_group\(7\) += \?$", calls, re.MULTILINE)
    assert re.search(r"^\[pid +\d+\] \+\+\+ exited with 7 \+\+\+$", calls, re.MULTILINE)
    assert re.search(r"wait4.*WEXITSTATUS\(s\) == 7\}\], 0, NULL\) = \d+$", calls, re.MULTILINE)
    assert "--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, " in calls
    assert re.search(r"^(\[pid +\d+\] )?clone3?\(", calls, re.MULTILINE)
    assert '"total 35, child 7\\n", 18' in calls
    assert calls.endswith(
        "--- SIGSEGV {si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=0x10} ---\n+++ killed by SIGSEGV +++\n"
    )


def test_strace_of_a_running_process(machine_clean: Make) -> None:
    """strace -p: SEIZE and INTERRUPT in the middle of a sleep, which goes on and ends in time."""
    machine = machine_clean(check_invariants=False)
    shell = (
        "sleep 4 & until grep -q '(sleep) S' /proc/$!/stat; do :; done; "
        "strace -o /tmp/calls -p $!; cat /tmp/calls; wait $!; echo $?"
    )
    done = machine.run([need("bash"), "-c", shell], timeout=200)
    lines = done.stdout.decode().splitlines()
    assert lines[0].startswith(("restart_syscall(<... resuming interrupted ", "clock_nanosleep("))
    assert lines[0].endswith(" = 0")
    assert lines[-2:] == ["+++ exited with 0 +++", "0"]
    need("strace")


def test_gdb_backtrace(debugged: Callable[..., tuple[int, str, str]]) -> None:
    """Where a program dies: `run`, `bt`, registers."""
    batch = ("-nx", "-batch", "-ex", "run", "-ex", "bt", "-ex", "print $rip == (long)deeper + 12")
    status, output, _ = debugged(need("gdb"), *batch)
    assert status == 0
    assert "total 35, child 7\n" in output
    assert "received signal SIGSEGV, Segmentation fault.\n" in output
    trace = re.findall(r"^#\d .*? in (\w+) \(.*\) at .*debugged\.c:(\d+)$", output, re.MULTILINE)
    assert [name for name, _ in trace] == ["deeper", "middle", "main"]
    assert output.endswith("$1 = 1\n")


def test_gdb_breakpoints_and_steps(debugged: Callable[..., tuple[int, str, str]]) -> None:
    """A breakpoint in a thread, steps, a changed variable, a software watchpoint, and on to the end."""
    script = (
        "break work", "run word", "info threads", "next", "print total", "set var total = 100", "break deeper",
        "continue", "set can-use-hw-watchpoints 0", "watch total", "finish", "print $eax == 101", "set var $rip = $rip",
        "stepi", "delete", "continue",
    )  # fmt: skip
    words = [word for line in script for word in ("-ex", line)]
    status, output, errors = debugged(need("gdb"), "-nx", "-batch", *words)
    assert status == 0, errors
    assert re.search(r"hit Breakpoint 1, work \(amount=0x23\)", output)
    assert len(re.findall(r"^[* ] \d +Thread 0x", output, re.MULTILINE)) == 2
    assert "\n$1 = 35\n" in output
    assert "\ntotal 100, child 7\n" in output
    assert re.search(r"hit Breakpoint 2, deeper \(p=0x", output)
    assert "Value returned is $2 = 101\n$3 = 1\n" in output
    assert re.search(r"exited with code 0312\]$", output, re.MULTILINE)  # 202
