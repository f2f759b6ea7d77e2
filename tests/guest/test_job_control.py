"""An interactive shell on a terminal: the keys are for the job in the foreground."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
PROMPT = "prompt> "


class Terminal:
    """`nopage run bash` on a pseudo terminal, and what it printed so far."""

    def __init__(self) -> None:
        self.pid, self.fd = pty.fork()
        self.text = ""
        if self.pid == 0:
            environment = {**os.environ, "PYTHONPATH": str(TOP), "TERM": "dumb"}
            command = [
                sys.executable,
                "-m",
                "machine",
                "run",
                "--env",
                f"PS1={PROMPT}",
                "bash",
                "--norc",
                "--noediting",
            ]
            os.execve(sys.executable, command, environment)

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def expect(self, text: str, seconds: float = 60) -> None:
        """Read until `text` has come; what is before it is forgotten."""
        end = time.monotonic() + seconds
        while text not in self.text:
            assert select.select([self.fd], [], [], max(0, end - time.monotonic()))[0], f"no {text!r}: {self.text!r}"
            try:
                self.text += os.read(self.fd, 4096).decode(errors="replace")
            except OSError:
                pytest.fail(f"the end, without {text!r}: {self.text!r}")
        self.text = self.text.partition(text)[2]

    def exit_status(self, seconds: float = 60) -> int:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            if select.select([self.fd], [], [], 0.1)[0]:
                with contextlib.suppress(OSError):  # EIO: the other side is closed
                    self.text += os.read(self.fd, 4096).decode(errors="replace")
        pytest.fail(f"it runs on: {self.text!r}")

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is missing")
def test_keys_are_for_the_foreground_job() -> None:
    terminal = Terminal()
    try:
        terminal.expect(PROMPT)
        for key, status in (
            ("\x03", 128 + signal.SIGINT),
            ("\x1c", 128 + signal.SIGQUIT),
            ("\x1a", 128 + signal.SIGTSTP),
        ):
            terminal.type("sh -c 'echo r''eady; exec sleep 100'\n")
            terminal.expect("ready")
            terminal.type(key)
            terminal.expect(PROMPT)
            terminal.type("echo status $?\n")
            terminal.expect(f"status {status}")
            terminal.expect(PROMPT)
        terminal.type("jobs; kill %1; while jobs -s | grep -q .; do sleep 0.1; done\n")  # bash's wait skips the stopped
        terminal.expect("Stopped")
        terminal.expect(PROMPT)
        terminal.type("exit 7\n")
        assert terminal.exit_status() == 7
    finally:
        terminal.close()
