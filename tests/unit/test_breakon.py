"""--break-on: what is accepted, and what is said of anything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from machine.cli import main
from machine.events import PageFault, SyscallEnter
from machine.observe.breakon import parse_break


def test_expressions() -> None:
    """Kinds, names, filters, nr.  # F3"""
    one = parse_break("fault:driver=scullp,nr=3")
    assert (one.kind, one.names, one.nr) == ("fault", None, 3)
    fault = PageFault(1, 2, "a", 0, 0x5008, 4, "user", b"", 64, "", 0, 0, None, driver="scullp")
    assert one.filters.match("fault", fault)
    assert parse_break("fault:addr=0x5000").filters.match("fault", fault)
    assert not parse_break("fault:addr=0x6000").filters.match("fault", fault)
    assert parse_break("signal:SIGBUS,segv,pid=3").names == {"SIGBUS", "SIGSEGV"}
    calls = parse_break("syscall:%memory,write,comm=sh")
    assert calls.names is not None and {"mmap", "munmap", "write"} <= calls.names
    call = SyscallEnter(2, "sh", "x86_64", 9, "mmap", (), 0, None)
    assert calls.filters.match("syscall_enter", call)
    assert parse_break("oops").names is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "does not begin with fault, signal, syscall, oops"),
        ("faults", "like fault:driver=scullp,nr=3"),
        ("fault:", "nothing after the colon"),
        ("fault:scullp", "'scullp' is not KEY=VALUE with one of the keys driver, addr, pid, comm, nr"),
        ("fault:nr=0", "nr=0: not a number from 1"),
        ("fault:addr=here", "not ADDRESS or FIRST-END"),
        ("signal:SIGFOO", "there is no signal SIGFOO"),
        ("signal:driver=x", "is not a name, or KEY=VALUE with one of the keys pid, comm, nr"),
        ("syscall:mmapp", "did you mean mmap?"),
        ("oops:now", "'now' is not KEY=VALUE"),
    ],
)
def test_mistakes(text: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A bad expression says what is accepted.  # F3"""
    with pytest.raises(SystemExit) as ended:
        main(["run", f"--break-on={text}", "hello"])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.fixture
def attached(tmp_path: Path) -> list[str]:
    """--attach of a timer."""
    model = tmp_path / "timer.py"
    model.write_text(
        "from machine.testing import *\nclass Timer(RegisterBlock):\n    ctrl = Reg(0)\n    table = RegArray(0x40, 4)\n"
    )
    return ["run", "--deterministic", "--attach", f"/dev/uio0={model}:Timer"]


def test_registers_that_nobody_has(attached: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The machine is known then: an error, with what there is."""
    assert main([*attached, "--break-on", "register:timer.nope", "hello"]) == 125
    said = capsys.readouterr().err
    assert said.endswith("no device has a register 'timer.nope'; there are: timer.ctrl, timer.table\n")
    assert said.startswith("nopage: --break-on 'register:timer.nope': ")
    assert main([*attached, "--gdb", "0,nowait", "--break-on", "register:nope,pid=2", "hello"]) == 125
    assert "no device has a register 'nope'; there are: " in capsys.readouterr().err


def test_what_never_came_is_said(attached: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """At the end, a line each."""
    words = ["--break-on", "register:timer.table[3],nr=3", "--break-on", "syscall:exit_group,nr=2"]
    assert main([*attached, *words, "hello"]) == 0
    assert capfd.readouterr().err == (
        "nopage: --break-on register:timer.table[3],nr=3 has never stopped the program: there were none\n"
        "nopage: --break-on syscall:exit_group,nr=2 has never stopped the program: there were 1\n"
    )


def test_commands_want_stops(capsys: pytest.CaptureFixture[str]) -> None:
    """--commands without --break-on, and a file that is not there."""
    assert main(["run", "--commands", "x", "hello"]) == 125
    assert "--commands is for the prompt of --break-on" in capsys.readouterr().err
    assert main(["run", "--break-on", "oops", "--commands", "/not/there", "hello"]) == 125
    assert "/not/there: No such file" in capsys.readouterr().err
