"""The guest's standard files: a terminal, pipes and files of the host, and bytes in memory."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
from collections.abc import Callable
from pathlib import Path

from machine import Machine


def run(machine: Machine, argv: list[str], stdin: int, stdout: int) -> int:
    """Start a program on descriptors of the host; its exit status."""
    process = machine.spawn(argv, stdin=stdin, stdout=stdout, stderr=stdout)
    return machine.wait(process, timeout=120).exit


def test_a_terminal(machine_clean: Callable[..., Machine]) -> None:
    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("<HHHH", 33, 77, 0, 0))
    os.write(outer, b"a line\nanother\n")
    script = "test -t 0 && echo terminal; stty size; read x; echo got $x; read y; echo got $y"
    machine = machine_clean(ram=64 << 20)
    assert run(machine, ["sh", "-c", script], inner, inner) == 0
    text = ""
    while "got another\n" not in text:  # it may come in pieces
        text += os.read(outer, 4096).decode().replace("\r", "")
    for line in ("terminal", "33 77", "got a line", "got another"):
        assert line in text.split("\n"), text
    os.close(outer)
    os.close(inner)


def test_a_pipe_of_the_host(machine_clean: Callable[..., Machine]) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"b\na\n")
    os.close(writing)
    out_read, out_write = os.pipe()
    machine = machine_clean(ram=64 << 20)
    script = "sort; test -t 0 || echo no terminal; test -p /dev/stdin && echo pipe"
    assert run(machine, ["sh", "-c", script], reading, out_write) == 0
    assert os.read(out_read, 100) == b"a\nb\nno terminal\npipe\n"
    for fd in (reading, out_read, out_write):
        os.close(fd)


def test_a_broken_pipe_of_the_host(machine_clean: Callable[..., Machine]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    null = os.open("/dev/null", os.O_RDONLY)
    machine = machine_clean(ram=64 << 20)
    assert run(machine, ["sh", "-c", "echo x; echo y"], null, writing) == 128 + 13
    os.close(writing)
    os.close(null)


def test_files_of_the_host(machine_clean: Callable[..., Machine], tmp_path: Path) -> None:
    """A redirection shares the host's position: what others append comes after what the guest wrote."""
    (tmp_path / "in").write_text("first\nsecond\n")
    source = os.open(tmp_path / "in", os.O_RDONLY)
    target = os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT)
    os.write(target, b"before\n")
    machine = machine_clean(ram=64 << 20)
    assert run(machine, ["sh", "-c", "read x; echo $x; cat; wc -c < /dev/stdin"], source, target) == 0
    os.write(target, b"after\n")
    assert (tmp_path / "out").read_text() == "before\nfirst\nsecond\n0\nafter\n"
    os.close(source)
    os.close(target)


def test_bytes(machine_clean: Callable[..., Machine]) -> None:
    machine = machine_clean(ram=64 << 20)
    result = machine.run(["sh", "-c", "read a; echo $a; cat | tr a-z A-Z; echo err >&2"], stdin=b"one\ntwo\nthree")
    assert (result.stdout, result.stderr) == (b"one\nTWO\nTHREE", b"err\n")
    assert machine.run(["cat"]).stdout == b""
