"""--break-on: what is accepted, and what is said of anything else."""

from __future__ import annotations

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


def test_commands_want_stops(capsys: pytest.CaptureFixture[str]) -> None:
    """--commands without --break-on, and a file that is not there."""
    assert main(["run", "--commands", "x", "hello"]) == 125
    assert "--commands is for the prompt of --break-on" in capsys.readouterr().err
    assert main(["run", "--break-on", "oops", "--commands", "/not/there", "hello"]) == 125
    assert "/not/there: No such file" in capsys.readouterr().err
