"""Debian's gdb on a running machine: places, steps, variables, threads, children, signals, calls, late comers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.gdb.conftest import TOP, Debugged, line_of, needs_gdb, program

pytestmark = needs_gdb


def many(target: str, libc: str = "musl") -> Path:
    if libc == "glibc":
        return program("many.c", target, libc="glibc", static=False, flags=("-pthread",))
    return program("many.c", target)


def line(text: str) -> int:
    return line_of("many.c", text)


def test_breakpoints(target: str) -> None:
    """At the first instruction; break, bt, arguments, finish, a condition, a temporary one, a call of a function of the
    guest; delete and go on to the end.  # F3"""
    with Debugged(many(target)) as session:
        text = session.gdb(
            "info inferiors", "p $pc == &_start", "break twice", "continue", "bt", "p x", "finish", "p counter",
            "condition 1 x == 3", "continue", "p x", "p twice(50)", "p counter", "x/2i $pc", "set var counter = 1000",
            "delete", "continue",
        )  # fmt: skip
        status, out, err = session.end()
    assert f"many.c:{line('counts')}" in text and "#1 " in text and "in calls () at" in text, text
    assert "$1 = 1" in text and "$2 = 1\n" in text, text
    assert "Value returned is $3 = 2" in text and "$4 = 1\n" in text and "$5 = 3\n" in text, text
    assert "$7 = 3" in text or "The program being debugged stopped" in text or "$6 = 100" in text, text
    assert "exited with code 07" in text, text
    assert (status, out) == (7, "12 1003\n"), (out, err)


def test_steps(target: str) -> None:
    """next, step into a function, stepi through calls and first touches of pages; TF never shows.  # F3"""
    with Debugged(many(target)) as session:
        text = session.gdb(
            "break main", "continue", "next", "step", "info line", "step", "step", "step", "step", "bt 1", "next",
            "next", "next", "next", "next", "next", "next", "next", "stepi 40", "p $eflags", "continue",
        )  # fmt: skip
        status, out, _ = session.end()
    text = text.replace("./many.c", "many.c")
    assert f"twice (x=1) at many.c:{line('counts')}" in text, text
    assert "TF" not in text.split("stepi")[-1].split("exited")[0], text
    assert (status, out) == (7, "12 6\n"), text


STEPS = """
python
n = 0
try:
    while True:
        gdb.execute("stepi", to_string=True)
        n += 1
except gdb.error as error:
    print("END", n > 300, error)
end
"""


def test_a_step_over_system_calls(target: str, tmp_path: Path) -> None:
    """Instruction by instruction to the end of the program: each is one step, and the output is the same.  # F3"""
    script = tmp_path / "steps"
    script.write_text(STEPS)
    with Debugged(many(target), "calls") as session:
        text = session.gdb("break calls", "continue", f"source {script}")
        status, out, _ = session.end()
    assert "END True" in text, text
    assert (status, out) == (7, "12 6\n"), text


def test_watchpoints(target: str) -> None:
    """Write, read and either, to the byte; neighbours in the page go on; a system call that stores there.  # F3"""
    with Debugged(many(target), "variables") as session:
        text = session.gdb(
            "break variables", "continue", "watch array[2]", "continue", "rwatch array[2]", "continue", "delete",
            "awatch other", "continue", "delete", "watch buffer[2]", "continue", "bt 3", "p buffer", "delete",
            "continue",
        )  # fmt: skip
        status, out, _ = session.end()
    stops = re.findall(
        r"(Hardware (?:\w+ )*(?:watchpoint|read watchpoint|access \(read/write\) watchpoint) \d+: .*)", text
    )
    assert "Old value = 0\nNew value = 8" in text, text
    assert re.search(r"Hardware read watchpoint 3: array\[2\]\n\nValue = 8", text), text
    assert re.search(r"Hardware access \(read/write\) watchpoint 4: other", text), text
    assert "New value = 111 'o'" in text, text
    assert "from a call" in text, text
    assert (status, out) == (7, "9 from a call\n"), (stops, text)


def test_signals_beside_a_watchpoint(target: str) -> None:
    """A frame that is made where an instruction would have run with the page open has no trap flag.  # F3"""
    with Debugged(program("alarms.c", target)) as session:
        text = session.gdb(
            "handle SIGALRM nostop noprint pass", "break main", "continue", "watch alarms if alarms > 40", "continue",
            "delete", "detach",
        )  # fmt: skip
        status, out, err = session.end()
    assert "New value = 41" in text, text
    assert (status, out) == (0, "0\n"), err


def test_threads_beside_a_watchpoint(target: str) -> None:
    """Threads that write to the watched page all the time: only the watched variable stops anybody, and when nothing is
    watched any more none of them is left with a trap flag.  # F3"""
    with Debugged(program("beside.c", target, libc="glibc", static=False, flags=("-pthread",))) as session:
        text = session.gdb("break main", "continue", "watch shared.watched", *["continue"] * 20, "delete", "detach")
        status, out, err = session.end()
    assert text.count("New value = ") == 20 and "New value = 20" in text, text
    assert "SIGTRAP" not in text + err and (status, out) == (0, "30 60000\n"), (text, err)


def test_a_process_that_is_traced() -> None:
    """As on Linux: a program of the guest's traces it, so gdb can't."""
    with Debugged(program("tracing.c", "x86_64"), wait=",nowait") as session:
        assert session.process.stdout is not None
        traced = int(session.process.stdout.readline())
        text = session.gdb("add-inferior -no-connection", "inferior 2", f"attach {traced}", "inferior 1", "detach")
        text += session.gdb(f"attach {traced}", "detach")
        session.process.kill()
    assert "Attaching" in text and "failed" in text, text


def test_threads(target: str) -> None:
    """info threads, a breakpoint in a thread, stepping one while the others stand, registers of each.  # F3"""
    with Debugged(many(target, "glibc"), "threads") as session:
        text = session.gdb(
            "break worker", "continue", "info threads", "continue", "delete", "break twice if x == 20", "continue",
            "info threads", "bt 2", "thread apply all -s p $sp", "set scheduler-locking on", "next", "next",
            "set scheduler-locking off", "delete", "continue",
        )  # fmt: skip
        status, out, _ = session.end()
    assert len(set(re.findall(r"Thread \d+\.(\d+)", text))) == 3, text
    assert "twice (x=20)" in text and "worker (arg=0x14)" in text, text
    assert (status, out) == (7, "90\n"), text


@pytest.mark.parametrize("mode", ["parent", "child"])
def test_fork(target: str, mode: str) -> None:
    """follow-fork-mode: the one that is not followed goes on alone, and no breakpoint of ours kills it.  # F3"""
    with Debugged(many(target), "children") as session:
        text = session.gdb("break twice", "continue", "bt 2", "continue", before=[f"set follow-fork-mode {mode}"])
        status, out, _ = session.end()
    where = line("in the child") if mode == "child" else line("in the parent")
    assert f"many.c:{where}" in text, text
    assert ("exited with code 05" if mode == "child" else "exited with code 07") in text, text
    assert (status, out) == (7, "5 1\n"), text


def test_both_sides_of_a_fork(target: str) -> None:
    """detach-on-fork off: two inferiors; catch fork.  # F3"""
    with Debugged(many(target), "children") as session:
        text = session.gdb(
            "catch fork", "continue", "break twice", "continue", "p x", "info inferiors", "continue", "inferior 1",
            "continue", "p x", "continue", before=["set detach-on-fork off", "set schedule-multiple on"],
        )  # fmt: skip
        status, out, _ = session.end()
    assert "Catchpoint 1 (forked process" in text, text
    assert "$1 = 100" in text and "exited with code 05" in text and "$2 = 1\n" in text, text
    assert (status, out) == (7, "5 1\n"), text


def test_child_of_vfork(target: str) -> None:
    """follow-fork-mode child: it runs while its parent stands still, which goes on when it has ended.  # F3"""
    with Debugged(many(target), "vfork") as session:
        text = session.gdb("break vforks", "continue", "continue", before=["set follow-fork-mode child"])
        status, out, _ = session.end()
    assert "vfork to child" in text and "Inferior 2 (process 3) exited" in text, text
    assert (status, out) == (7, "6 2\n"), text


def test_vfork(target: str) -> None:
    """catch vfork: the parent, which sleeps until its child has ended, and what it does after.  # F3"""
    with Debugged(many(target), "vfork") as session:
        text = session.gdb("catch vfork", "continue", "break twice", "continue", "p x", "delete", "continue")
        status, out, _ = session.end()
    assert "Catchpoint 1 (vforked process" in text and "$1 = 2\n" in text, text
    assert (status, out) == (7, "6 2\n"), text


def test_nopage_debug(target: str, tmp_path: Path) -> None:
    """It starts $GDB on the program; what gdb kills at its end is no news; without gdb it says how to connect; --gdb
    beside it is a mistake.  # F3"""
    script = tmp_path / "mygdb"
    script.write_text('#!/bin/sh\nexec gdb -nx -batch "$@" -ex "break twice" -ex continue -ex "p x" $MORE\n')
    script.chmod(0o755)

    def debug(gdb: str, *options: str, more: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "machine", "debug", *options, str(many(target))], cwd=TOP, text=True, timeout=120,
            env={**os.environ, "GDB": gdb, "MORE": more}, capture_output=True, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip

    done = debug(str(script))
    assert "$1 = 1\n" in done.stdout and done.returncode == 0 and "SIGKILL" not in done.stderr, done
    done = debug(str(script), more="-ex delete -ex continue")
    assert "12 6\n" in done.stdout and done.returncode == 7, done
    done = debug("no-such-gdb", "--timeout", "2")
    assert "there is no no-such-gdb here" in done.stderr and "target extended-remote" in done.stderr, done
    assert done.returncode == 124
    assert debug(str(script), "--gdb", "1234").returncode == 2


def test_exec(target: str) -> None:
    """catch exec: the new program's symbols, its breakpoints.  # F3"""
    with Debugged(many(target), "exec") as session:
        text = session.gdb("catch exec", "continue", "break twice", "continue", "p x", "delete", "continue")
        status, out, _ = session.end()
    assert "Catchpoint 1 (exec'd" in text and "$1 = 1\n" in text, text
    assert (status, out) == (7, "12 6\n"), text


def test_signals(target: str) -> None:
    """A signal stops before its handler, with siginfo; step into the handler; a deadly one is thrown away.  # F3"""
    with Debugged(many(target), "signals") as session:
        text = session.gdb(
            "continue", "p $_siginfo.si_signo", "p $_siginfo._sifields._kill.si_pid", "stepi", "info symbol $pc",
            "continue", "p $_siginfo.si_signo", "signal 0",
        )  # fmt: skip
        status, out, _ = session.end()
    assert "received signal SIGUSR1" in text and "$1 = 10\n" in text and "$2 = 2\n" in text, text
    assert "handler in section" in text, text
    assert "received signal SIGTERM" in text and "$3 = 15\n" in text, text
    assert (status, out) == (7, "10\n"), text


def test_passed_signals(target: str) -> None:
    """handle SIGUSR1 nostop pass; a deadly signal reaches the program.  # F3"""
    with Debugged(many(target), "signals") as session:
        text = session.gdb("handle SIGUSR1 nostop noprint pass", "continue", "continue")
        status, out, _ = session.end()
    assert "SIGUSR1," not in text and "terminated with signal SIGTERM" in text, text
    assert (status, out) == (143, "10\n"), text


def test_catch_syscall(target: str) -> None:
    """Entry and return, by name; arguments and result.  # F3"""
    first = "$rdi" if target == "x86_64" else "$ebx"
    with Debugged(many(target), "variables") as session:
        text = session.gdb(
            "break variables", "continue", "catch syscall write", "continue", f"p {first}", "continue", "delete",
            "continue",
        )  # fmt: skip
        status, out, _ = session.end()
    assert "(call to syscall write)" in text and "(returned from syscall write)" in text, text
    assert (status, out) == (7, "9 from a call\n"), text


@pytest.mark.parametrize("what", ["spin", "sleep"])
def test_a_late_comer(target: str, what: str) -> None:
    """nowait: gdb finds the program running, looks, changes, leaves; it goes on.  # F3"""
    with Debugged(many(target, "glibc"), what, wait=",nowait") as session:
        assert session.process.stdout is not None
        assert session.process.stdout.readline() == ("spinning\n" if what == "spin" else "sleeping\n")
        text = session.gdb("bt", "p stop_now", "detach")
        assert "$1 = 0" in text and "main (argc=2" in text, text
        time.sleep(0.3)
        text = session.gdb("set var stop_now = 1", *(["signal SIGUSR1"] if what == "sleep" else ["continue"]))
        status, out, _ = session.end()
    assert (status, out) == (7, "stopped\n" if what == "spin" else "awake\n"), text


@pytest.mark.parametrize("what", ["spin", "sleep"])
def test_ctrl_c(target: str, what: str) -> None:
    """Interrupt while it spins, and while it sleeps in a call that is restarted afterwards.  # F3"""
    interrupt = (
        "python import threading, os, signal; threading.Timer(1.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()"
    )
    with Debugged(many(target, "glibc"), what) as session:
        there = "tbreak " + {"spin": "spin", "sleep": "sleepy"}[what]
        text = session.gdb(there, "continue", interrupt, "continue", "bt", "p stop_now", interrupt, "continue",
                           "set var stop_now = 1", "p stop_now", "kill")  # fmt: skip
        status, _, _ = session.end()
    assert text.count("received signal SIGINT") == 2 and "main (argc=2" in text, text
    assert status == 137


def test_run_again(target: str) -> None:
    """extended-remote: kill, run, run again with other arguments.  # F3"""
    with Debugged(many(target)) as session:
        text = session.gdb(
            "set remote exec-file " + str(many(target)), "kill", "break twice", "run variables", "set args calls",
            "run", "p x", "delete", "continue",
        )  # fmt: skip
        status, out, err = session.end()
    assert "$1 = 1\n" in text and text.count("exited with code 07") == 2, text + err
    assert out.endswith("12 6\n") and status == 137, (out, err)


def test_a_fault_in_a_hole(target: str) -> None:
    """Stepping into SIGBUS in scullp: line, address, area, driver, walk; then the program dies of it.  # F3, C4"""
    hole = program("hole.c", target, libc="glibc", static=False, flags=("-pthread",))
    with Debugged(hole, options=["--device", "scullp"]) as session:
        text = session.gdb(
            "break touch", "continue", "monitor faults", "next", "next", "next",
            "p $_siginfo._sifields._sigfault.si_addr", "p device + 4096", 'eval "monitor vma %p", device',
            'eval "monitor walk %p", device + 4096', "monitor faults",
            'eval "monitor page %p", anonymous + (1 << 19)', "monitor maps", "monitor dmesg", "monitor help",
            "monitor nonsense", "monitor goto 3", "monitor walk 0xffff888000100000", "monitor maps 2",
            "monitor maps 99", "monitor frames -1", "monitor frames 0x99999999", "continue",
        )  # fmt: skip
        status, _, err = session.end()
    assert re.search(r"CR3 +0x[0-9a-f]+, the kernel's own\n(.*\n)*PDE ", text), text
    assert "received signal SIGBUS" in text and "return device[4096];" in text, text
    address = re.search(r"\$1 = \(void \*\) (0x[0-9a-f]+)", text)
    assert address is not None and f"$2 = {address[1]}" in text, text
    assert "vm_ops       scullp: nopage, open, close" in text and "VM_RESERVED" in text, text
    assert re.search(r"PTE +absent", text) or re.search(r"P[MD].* absent", text), text
    assert re.search(r"fault \d+  hole\[2\] .*scullp\.nopage.*SIGBUS", text), text
    assert "owner anonymous, count 1, mapped 1 times" in text and "/dev/scullp0" in text, text
    assert "no such command: nonsense" in text and "can't go back: start it with --rewind" in text, text
    assert text.count("[stack]") == 2 and "monitor maps: no process 99 has memory" in text, text
    assert "monitor frames: wants a frame number, like 0x1fc21" in text and "there is no frame 0x99999999" in text, text
    assert status == 135 and "SIGBUS (BUS_ADRERR)" in err


def test_gdb_that_goes_away(target: str) -> None:
    """A connection that ends without a word: the program stays stopped for the next gdb.  # F3"""
    with Debugged(many(target)) as session:
        text = session.gdb("break twice", "continue", "disconnect", mode="remote")
        assert "twice (x=1)" in text, text
        text = session.gdb("bt 1", "continue")
        status, out, err = session.end()
    assert "twice (x=1)" in text and "exited with code 07" in text, text
    assert (status, out) == (7, "12 6\n") and "gdb is gone" in err
