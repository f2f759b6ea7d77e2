"""The guest's standard files: a terminal, pipes and files of the host, and bytes in memory."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import socket
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from machine import Machine
from machine.errors import TimeoutExpired
from machine.kernel.fs import nowait
from machine.kernel.fs.hostio import _local_modes
from machine.terminal import usual_terminal


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
    assert (tmp_path / "out").read_text() == "before\nfirst\nsecond\n13\nafter\n"
    os.close(source)
    os.close(target)


def test_bytes(machine_clean: Callable[..., Machine]) -> None:
    machine = machine_clean(ram=64 << 20)
    result = machine.run(["sh", "-c", "read a; echo $a; cat | tr a-z A-Z; echo err >&2"], stdin=b"one\ntwo\nthree")
    assert (result.stdout, result.stderr) == (b"one\nTWO\nTHREE", b"err\n")
    assert machine.run(["cat"]).stdout == b""


BUSY = "while :; do :; done & "


@pytest.mark.parametrize("deterministic", [False, True])
def test_input_while_another_program_computes(machine_clean: Callable[..., Machine], deterministic: bool) -> None:
    """Who waits for it need not wait until all others sleep."""
    reading, writing = os.pipe()
    out_read, out_write = os.pipe()
    machine = machine_clean(ram=64 << 20, deterministic=deterministic)
    script = BUSY + "echo ready; read x; echo got $x; kill $!"
    process = machine.spawn(["sh", "-c", script], stdin=reading, stdout=out_write)

    def late() -> None:
        assert os.read(out_read, 100) == b"ready\n"
        time.sleep(1)
        os.write(writing, b"a line\n")

    typist = threading.Thread(target=late, daemon=True)
    typist.start()
    assert machine.wait(process, timeout=100).exit == 0
    typist.join()
    assert os.read(out_read, 100) == b"got a line\n"
    for fd in (reading, writing, out_read, out_write):
        os.close(fd)


@contextmanager
def full(kind: str, directory: Path) -> Iterator[tuple[int, int]]:
    """A descriptor that waits when it is written, since nobody reads; the other end."""
    if kind == "socket":
        ours, theirs = socket.socketpair()
        outer, inner = theirs.detach(), ours.detach()
    elif kind == "terminal":
        outer, inner = pty.openpty()
    elif kind == "FIFO":
        os.mkfifo(directory / "fifo")
        outer = os.open(directory / "fifo", os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(outer, True)
        inner = os.open(directory / "fifo", os.O_WRONLY)
    else:
        outer, inner = os.pipe()
    try:
        yield inner, outer
    finally:
        os.close(inner)
        os.close(outer)


SLOWLY = "i=0; while [ $i -lt 5000 ]; do i=$((i+1)); done & head -c 300000 /dev/zero | tr '\\0' x; wait; printf end"
KINDS = ["pipe", "FIFO", "socket", "terminal"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_reader_that_does_not_read(machine_clean: Callable[..., Machine], tmp_path: Path, kind: str) -> None:
    """The writer waits; other programs do not, and `timeout` ends it."""
    machine = machine_clean(ram=64 << 20)
    with full(kind, tmp_path) as (inner, _):
        writer = machine.spawn(["sh", "-c", "yes 0123456789 & sleep 1; kill $!; exit 3"], stdout=inner)
        assert machine.wait(writer, timeout=60).exit == 3
        started = time.monotonic()
        writer = machine.spawn(["yes"], stdout=inner)
        with pytest.raises(TimeoutExpired, match="called from write"):
            machine.wait(writer, timeout=2)
        assert time.monotonic() - started < 30


@pytest.mark.parametrize("kind", KINDS)
def test_a_repeatable_machine_waits_for_a_slow_reader(
    machine_clean: Callable[..., Machine], tmp_path: Path, kind: str
) -> None:
    """The whole machine: whether the reader is slow makes no difference to what runs when."""
    texts = []
    for slow in (False, True):
        (tmp_path / str(slow)).mkdir()
        machine = machine_clean(ram=64 << 20, deterministic=True)
        switches: list[object] = []
        machine.kernel.events.listen(
            "switch", lambda event, seen=switches: seen.append((event.pid, event.rip, event.time_ns))
        )
        with full(kind, tmp_path / str(slow)) as (inner, outer):
            seen = bytearray()

            def read(slow: bool = slow, outer: int = outer, seen: bytearray = seen) -> None:
                while not seen.endswith(b"end"):
                    time.sleep(0.01 * slow)
                    seen.extend(os.read(outer, 4096))

            reader = threading.Thread(target=read, daemon=True)
            reader.start()
            writer = machine.spawn(["sh", "-c", SLOWLY], stdout=inner)
            assert machine.wait(writer, timeout=100).exit == 0
            reader.join()
        texts.append((bytes(seen), switches))
    assert len(texts[0][0]) == 300003 and len(texts[0][1]) > 10
    assert texts[0] == texts[1]
    machine = machine_clean(ram=64 << 20, deterministic=True)
    with full(kind, tmp_path) as (inner, _):
        writer = machine.spawn(["yes"], stdout=inner)
        with pytest.raises(TimeoutExpired, match="called from write"):
            machine.wait(writer, timeout=2)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_waits(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of reads and writes, with RWF_NOWAIT, on a host that has none, and in a Python that has none."""

    def refuse(*_: object) -> int:
        raise OSError(errno.EOPNOTSUPP, "no RWF_NOWAIT here")

    for turn in range(3):
        if turn == 1:
            monkeypatch.setattr(os, "preadv", refuse)
            monkeypatch.setattr(os, "pwritev", refuse)
        elif turn == 2:
            monkeypatch.setattr(nowait, "_NOWAIT", 0)
            monkeypatch.delattr(os, "preadv")
            monkeypatch.delattr(os, "pwritev")
        (tmp_path / str(turn)).mkdir()
        with full(kind, tmp_path / str(turn)) as (inner, outer):
            if kind != "terminal":
                with pytest.raises(BlockingIOError):
                    nowait.read(outer, 100)
            assert nowait.write(inner, b"text") == 4
            assert nowait.read(outer, 100) == b"text"
            if kind == "terminal":
                with pytest.raises(BlockingIOError):
                    nowait.read(inner, 100)
                os.write(outer, b"typed\n")
                assert nowait.read(inner, 100) == b"typed\n"
            with pytest.raises(BlockingIOError):
                while True:
                    assert nowait.write(inner, b"x" * 100_000)
            assert os.get_blocking(inner) and os.get_blocking(outer)


def test_as_the_users_shell_opened_them(machine_clean: Callable[..., Machine], tmp_path: Path) -> None:
    """Input that is only for writing is EBADF; a terminal's output may be read, as pagers do."""
    machine = machine_clean(ram=64 << 20)
    for_writing = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    assert run(machine, ["sh", "-c", "cat 2>/dev/null"], for_writing, for_writing) == 1
    outer, inner = pty.openpty()
    os.write(outer, b"a key\n")
    null = os.open("/dev/null", os.O_RDONLY)
    result = machine.spawn(["sh", "-c", "read x <&2; echo $x"], stdin=null, stderr=inner)
    assert machine.wait(result, timeout=60).stdout == b"a key\n"
    for fd in (for_writing, outer, inner, null):
        os.close(fd)


def test_a_terminal_that_has_gone() -> None:
    """Its settings can't be asked for; that is no error of ours."""
    outer, inner = pty.openpty()
    settings = termios.tcgetattr(inner)
    os.close(outer)
    assert _local_modes(inner) == 0
    with usual_terminal(inner, settings):
        pass
    os.close(inner)
