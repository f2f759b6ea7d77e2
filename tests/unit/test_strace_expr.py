"""`-e` of --strace: sets of calls, injections and what is wrong with them; -y and -yy in a machine."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from machine import Machine
from machine.cli import main
from machine.kernel.abi.signal import SIGCHLD, SIGUSR1
from machine.observe.output import Output
from machine.observe.strace import Strace
from machine.observe.strace_expr import Expressions, Injection, Injector
from machine.observe.strace_sets import all_names, parse_set
from tests.conftest import build


def test_sets() -> None:
    assert parse_set("open,read") == {"open", "read"}
    assert parse_set("!open,read") == all_names() - {"open", "read"}, "as strace: the whole set is inverted"
    assert parse_set("%memory,!mmap,!mmap2") == parse_set("memory") - {"mmap", "mmap2"}
    assert parse_set("/^epoll_cr") == {"epoll_create", "epoll_create1"}
    assert parse_set("all") == all_names() and parse_set("none") == parse_set("?nothing") == set()
    assert {"open", "openat", "stat", "execve", "unlink"} <= parse_set("%file") and "read" not in parse_set("%file")
    assert parse_set("%%stat") == parse_set("%stat,%lstat,%fstat") and "statfs" not in parse_set("%%stat")


def test_what_is_shown() -> None:
    assert Expressions().shows("open") and Expressions().shows("syscall_0x1c7") and Expressions().shows_signal(SIGCHLD)
    chosen = Expressions(["trace=open", "signal=!CHLD,sigusr1"])
    assert chosen.shows("open") and not chosen.shows("read") and not chosen.shows("syscall_0x1c7")
    assert not chosen.shows_signal(SIGCHLD) and not chosen.shows_signal(SIGUSR1) and chosen.shows_signal(11)
    assert Expressions(["read,write"]).trace == {"read", "write"} and Expressions(["!read"]).shows("syscall_0x1c7")
    assert Expressions(["trace=read", "trace=open"]).trace == {"open"}, "the last one counts"
    assert not Expressions(["signal=none"]).shows_signal(SIGCHLD)


@pytest.mark.parametrize(
    ("text", "injection"),
    [
        ("inject=mmap:error=EPERM:when=2", Injection(-1, first=2, last=2)),
        ("inject=mmap:retval=0x10:when=3+", Injection(16, first=3)),
        ("inject=mmap:error=22:when=2..9+3", Injection(-22, first=2, last=9, step=3)),
        ("inject=mmap:signal=USR1:delay_exit=2ms", Injection(signo=SIGUSR1, delay_exit=2_000_000)),
        ("inject=mmap:delay_enter=7", Injection(delay_enter=7000)), ("fault=mmap", Injection(-38)),
        ("fault=mmap:error=ENOMEM:when=1+2", Injection(-12, first=1, step=2)),
    ],
)  # fmt: skip
def test_injections(text: str, injection: Injection) -> None:
    assert Expressions([text]).injections == {"mmap": injection}


def test_when() -> None:
    hits = [n for n in range(1, 13) if Injection(-1, first=2, last=9, step=3).hits(n)]
    assert hits == [2, 5, 8]
    assert [n for n in range(1, 9) if Injection(-1, first=3).hits(n)] == [3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("trace=opne", "invalid system call 'opne'; did you mean open?"), ("%fiel", "did you mean %file?"),
        ("trace=/(", "invalid regular expression '('"), ("signal=FOO", "invalid signal 'FOO'"),
        ("inject=getpid:when=2", "it says nothing to do"), ("inject=getpid:error=EFOO", "error=EFOO"),
        ("inject=getpid:error=EPERM:retval=3", "retval twice"), ("inject=getpid:error=EPERM:when=0", "when=0"),
        ("inject=getpid:error=EPERM:when=3..2", "when=3..2"), ("fault=getpid:retval=1", "retval=1"),
        ("inject=getpid:syscall=getuid", "syscall= is not supported"), ("inject=getpid:delay_enter=2h", "delay_enter"),
        ("abbrev=none", "'abbrev=' is not among what -e takes"), ("inject=getpid:retval=x", "retval=x"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(text: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "-e", text, "hello"])
    assert ended.value.code == 2 and complaint in capsys.readouterr().err


CALLS = """
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
static volatile int signals;
static void count(int signo) { signals++; }
int main(void)
{
    int failed = 0, pair[2], pipes[2];
    signal(SIGUSR1, count);
    for (int i = 0; i < 5; i++) failed = failed * 2 + (getpgid(0) < 0 ? 1 : 0);
    void *p = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = open("/dev/null", O_RDWR), copy = dup(fd);
    write(copy, "x", 1);
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    pipe(pipes);
    struct pollfd ready = {pipes[1], POLLOUT, 0};
    poll(&ready, 1, 0);
    write(pair[0], "y", 1);
    printf("%d %d %d\\n", failed, p == MAP_FAILED ? errno : 0, signals);
    return 0;
}
"""


@pytest.fixture(params=["x86_64", "i386"])
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    source = tmp_path / "calls.c"
    source.write_text(CALLS)
    return build(source, target=request.param, static=True, flags=("-Wno-unused-result", "-Wno-unused-parameter"))


def traced(make: Callable[..., Machine], program: Path, texts: list[str], paths: int = 0) -> tuple[bytes, list[str]]:
    machine = make(binds=[(str(program), "/mnt/calls", False)])
    stream, chosen = io.StringIO(), Expressions(texts)
    injector = Injector(machine.kernel, chosen)
    view = Strace(machine.events, Output(stream), chosen, paths)
    result = machine.run(["/mnt/calls"], timeout=120)
    view.close()
    injector.close()
    assert machine.kernel.entry.tamper is None and machine.events.syscall_exit is None
    return result.stdout, stream.getvalue().splitlines()


def test_calls_are_tampered_with(machine_clean: Callable[..., Machine], program: Path) -> None:
    """# F2"""
    said, lines = traced(machine_clean, program, ["trace=getpgid", "inject=getpgid:error=EPERM:signal=USR1:when=2+2"])
    assert said == b"10 0 2\n", "the second and the fourth of five failed, each with a signal"
    injected = "getpgid(0)                              = -1 EPERM (Operation not permitted) (INJECTED)"
    told = "--- SIGUSR1 {si_signo=SIGUSR1, si_code=SI_KERNEL} ---"
    fine = "getpgid(0)                              = 2"
    assert lines == [fine, injected, told, fine, injected, told, fine, "+++ exited with 0 +++"]
    said, lines = traced(machine_clean, program, ["trace=none", "inject=getpgid:error=EPERM"])
    assert said == b"0 0 0\n" and lines == ["+++ exited with 0 +++"]
    said, lines = traced(machine_clean, program, ["getpgid", "inject=getpgid:delay_enter=3ms:when=1..2", "signal=none"])
    assert said == b"0 0 0\n" and [line.endswith("= 2 (DELAYED)") for line in lines[:5]] == [True] * 2 + [False] * 3


def test_descriptors_are_named(machine_clean: Callable[..., Machine], program: Path) -> None:
    """-y: what they lead to; -yy: devices and ends of sockets."""
    chosen = ["trace=/^open,dup,write,pipe,pipe2,socketpair,poll"]
    _, lines = traced(machine_clean, program, chosen, 1)
    text = "\n".join(lines)
    assert "= 3</dev/null>" in text and "dup(3</dev/null>)" in text and "= 4</dev/null>" in text
    assert 'write(4</dev/null>, "x", 1)' in text and "[7<pipe:[" in text and "{fd=8<pipe:[" in text
    _, lines = traced(machine_clean, program, chosen, 2)
    text = "\n".join(lines)
    assert 'write(4</dev/null<char 1:3>>, "x", 1)' in text and "write(5<UNIX-STREAM:[" in text
    assert "->" in text
