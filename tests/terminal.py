"""A program on a pseudo terminal of the host, and somebody who types: natively, or in a machine by `nopage run`."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

TOP = Path(__file__).resolve().parents[1]
PROMPT = "prompt> "
SIDES = ("host", "machine")
SHELL = ("bash", "--norc", "--noprofile")


def _fresh_settings() -> list[Any]:
    """What a pseudo terminal starts with."""
    sides = os.openpty()
    settings = termios.tcgetattr(sides[1])
    for fd in sides:
        os.close(fd)
    return settings


class Terminal:
    """A program, and what it has printed since the last `expect`."""

    def __init__(
        self,
        command: Sequence[str] = SHELL,
        *,
        side: str = "machine",
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        size: tuple[int, int] = (24, 80),
        cwd: Path | None = None,
    ) -> None:
        wanted = {"PS1": PROMPT, "TERM": "dumb", "HISTFILE": "", **(environment or {})}
        if side == "machine":
            given = [word for name, value in wanted.items() for word in ("--env", f"{name}={value}")]
            command = [sys.executable, "-m", "machine", "run", *given, *options, "--", *command]
        self.text = ""
        self.settings = _fresh_settings()
        """Of the terminal before the program has changed them."""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):  # ignored by who runs us in the background
                signal.signal(number, signal.SIG_DFL)
            with contextlib.suppress(OSError):
                os.chdir(cwd or os.getcwd())
                os.execvpe(command[0], command, {**os.environ, **wanted, "PYTHONPATH": str(TOP)})
            os._exit(127)
        self.resize(*size)

    def resize(self, rows: int, columns: int) -> None:
        """The user drags the corner of the window."""
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.fd, text.encode())

    def read(self, seconds: float) -> bool:
        """Wait for more text; False when there is none in time."""
        if not select.select([self.fd], [], [], max(0.0, seconds))[0]:
            return False
        try:
            data = os.read(self.fd, 4096)
        except OSError:  # EIO: the other side is closed
            return False
        self.text += data.decode(errors="replace")
        return bool(data)

    def expect(self, text: str, seconds: float = 60) -> str:
        """Read until `text` has come: what stood before it, which is forgotten."""
        end = time.monotonic() + seconds
        while text not in self.text:
            if not self.read(end - time.monotonic()):
                pytest.fail(f"no {text!r}: {self.text!r}")
        before, _, self.text = self.text.partition(text)
        return before

    def press(self, key: str, text: str) -> None:
        """Press a key until `text` comes: one that comes while the shell is busy may be lost, natively too."""
        for _ in range(6):
            self.type(key)
            end = time.monotonic() + 10
            while text not in self.text and self.read(end - time.monotonic()):
                pass
            if text in self.text:
                break
        self.expect(text, 0)

    def run(self, command: str) -> str:
        """Type a command line to a shell, and what it prints before the next prompt."""
        self.type(command + "\n")
        self.expect("\n")
        return self.expect(PROMPT).replace("\r\n", "\n")

    def cooked(self, seconds: float = 60) -> None:
        """Wait until the shell has given the terminal to its program: keys typed before may be lost, natively too."""
        end = time.monotonic() + seconds
        while not termios.tcgetattr(self.fd)[3] & termios.ICANON:
            assert time.monotonic() < end, "the shell goes on editing"
            time.sleep(0.01)

    def changed(self) -> list[int]:
        """Which settings of the terminal are not what they were: indices into what tcgetattr gives."""
        now = termios.tcgetattr(self.fd)
        return [index for index, (old, new) in enumerate(zip(self.settings, now, strict=True)) if old != new]

    def exit_status(self, seconds: float = 90) -> int:
        """Wait for the end: the status, or the negative number of a signal."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                while self.read(0):
                    pass
                return os.waitstatus_to_exitcode(status)
            if not self.read(0.1):
                time.sleep(0.02)
        pytest.fail(f"it runs on: {self.text!r}")

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_why: object) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)
