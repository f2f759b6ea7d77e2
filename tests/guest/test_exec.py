"""Starting programs (MECHANISMS E1): every linking, what is on the stack, execve(2), and what cannot be started."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from guest import bin_directory
from machine import Machine, cli
from machine.errors import NotExecutable, ProgramNotFound, TimeoutExpired
from machine.kernel.abi.errno import EACCES, ENOENT, ENOEXEC, ENOTDIR

HERE = Path(__file__).parent / "exec"
LINKINGS: dict[str, dict[str, Any]] = {
    "musl-static": {},
    "musl-static-pie": {"pie": True},
    "glibc-static": {"libc": "glibc"},
    "glibc-static-pie": {"libc": "glibc", "pie": True},
    "glibc-dynamic": {"libc": "glibc", "static": False, "pie": False},
    "glibc-dynamic-pie": {"libc": "glibc", "static": False},
}
HELLO = """
#include <stdio.h>
int main(int argc, char **argv)
{
	printf("hello, %s: %d\\n", argv[1], argc);
	return 42;
}
"""


@pytest.mark.parametrize("target", ["x86_64", "i386"])
@pytest.mark.parametrize("linking", LINKINGS)
def test_hello(guest: Callable[..., object], linking: str, target: str) -> None:
    guest(HELLO, ["world"], target=target, **LINKINGS[linking])


@pytest.mark.parametrize("target", ["x86_64", "i386"])
@pytest.mark.parametrize("linking", ["musl-static", "musl-static-pie", "glibc-dynamic-pie"])
def test_start(guest: Callable[..., object], linking: str, target: str) -> None:
    guest(HERE / "start.c", ["one", "", "two words"], target=target, **LINKINGS[linking])


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_execve(guest: Callable[..., object], target: str) -> None:
    guest(HERE / "execve.c", target=target)


@pytest.fixture
def startable(machine_clean: Callable[..., Machine], tmp_path: Path) -> Callable[[str, bytes, int], Machine]:
    """A machine that shows `tmp_path` with one file in it."""

    def make(name: str, content: bytes, mode: int) -> Machine:
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(mode)
        return machine_clean(binds=[(str(tmp_path), str(tmp_path), False)])

    return make


@pytest.mark.parametrize(
    ("content", "mode", "errno"),
    [
        (b"", 0o755, ENOEXEC),
        (b"some text\n", 0o755, ENOEXEC),
        (b"some text\n", 0o644, EACCES),
        ((bin_directory("x86_64") / "hello").read_bytes()[:50], 0o755, ENOEXEC),
        ((bin_directory("i386") / "hello").read_bytes()[:30], 0o755, ENOEXEC),
        (b"\x7fELF\x02\x02" + bytes(200), 0o755, ENOEXEC),
        (b"#!/no/such/interpreter\n", 0o755, ENOENT),
    ],
    ids=["empty", "text", "not-executable", "truncated-64", "truncated-32", "big-endian", "interpreter"],
)
def test_no_program(
    startable: Callable[[str, bytes, int], Machine], tmp_path: Path, content: bytes, mode: int, errno: int
) -> None:
    machine = startable("program", content, mode)
    with pytest.raises(NotExecutable) as caught:
        machine.run([str(tmp_path / "program")])
    assert caught.value.errno == errno
    assert ("/no/such/interpreter: bad interpreter: No such file" in str(caught.value)) == (errno == ENOENT)


def test_truncated_segments(startable: Callable[[str, bytes, int], Machine], tmp_path: Path) -> None:
    """Headers that are whole, contents that are not: the program starts, and dies of SIGBUS or SIGSEGV."""
    machine = startable("program", (bin_directory("x86_64") / "hello").read_bytes()[:1000], 0o755)
    result = machine.run([str(tmp_path / "program")])
    assert result.signal in (7, 11)


@pytest.mark.parametrize("bound", [True, False])
def test_a_program_that_is_replaced_on_the_host(
    machine_clean: Callable[..., Machine], tmp_path: Path, bound: bool
) -> None:
    """As compilers do: between its bind, or its first mention, and its start; one that runs stays what it is."""
    program, new = tmp_path / "program", tmp_path / "new"

    def put(name: str) -> None:
        shutil.copy(bin_directory("x86_64") / name, new)
        new.replace(program)

    put("hello")
    machine = machine_clean(binds=[(str(program), str(program), False)] if bound else [])
    put("dmesg")
    process = machine.start([str(program)])
    put("hello")
    assert process.wait(timeout=60).stdout.startswith(b"hello")
    put("dmesg")
    put("hello")
    assert machine.run([str(program)]).stdout.startswith(b"hello")


@pytest.mark.parametrize("signo", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_program_that_is_killed_before_it_has_begun(machine_clean: Callable[..., Machine], signo: int) -> None:
    """It died of that, and is no program that can't be executed."""
    process = machine_clean().start(["true"])
    process.send_signal(signo)
    assert process.wait(timeout=60).signal == signo


def test_no_time_at_all(machine_clean: Callable[..., Machine]) -> None:
    with pytest.raises(TimeoutExpired):
        machine_clean().run(["sleep", "10"], timeout=0.000_001)


@pytest.mark.parametrize(
    ("path", "errno"), [("/nothing/there", ENOENT), ("/usr", EACCES), ("/bin/sh/x", ENOTDIR), ("no-such-name", ENOENT)]
)
def test_no_file(machine_clean: Callable[..., Machine], path: str, errno: int) -> None:
    with pytest.raises(ProgramNotFound if errno in (ENOENT, ENOTDIR) else NotExecutable) as caught:
        machine_clean().run([path])
    assert caught.value.errno == errno


def test_script(startable: Callable[[str, bytes, int], Machine], tmp_path: Path) -> None:
    machine = startable("script", b"#!/usr/local/bin/hello  from a script \n", 0o755)
    result = machine.run([str(tmp_path / "script"), "argument"])
    assert result.exit == 0
    assert result.stdout.startswith(f"hello, from a script, {tmp_path}/script, argument: Linux ".encode())


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (None, 127, "No such file or directory"),
        (b"", 126, "Exec format error"),
        (b"#!/no/such/interpreter\n", 126, "/no/such/interpreter: bad interpreter: No such file or directory"),
        ((bin_directory("x86_64") / "hello").read_bytes()[:50], 126, "Exec format error"),
    ],
    ids=["missing", "empty", "interpreter", "truncated"],
)
def test_command_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    content: bytes | None,
    status: int,
    message: str,
) -> None:
    """As a shell says it: 127 for what is not there, 126 for what cannot be executed."""
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "program").write_bytes(content)
        (tmp_path / "program").chmod(0o755)
    assert cli.main(["run", "./program"]) == status
    assert message in capfd.readouterr().err


def test_directory_on_the_command_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "/usr"]) == 126
    assert "/usr: Permission denied" in capfd.readouterr().err
