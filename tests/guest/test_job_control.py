"""An interactive shell on a terminal: the keys are for the job in the foreground."""

from __future__ import annotations

import shutil
import signal

import pytest

from tests.terminal import PROMPT, Terminal


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is missing")
def test_keys_are_for_the_foreground_job() -> None:
    with Terminal(("bash", "--norc", "--noediting")) as terminal:
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
