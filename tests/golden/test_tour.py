"""The tour: everything that the books say is seen, and its output is the same every time (issue: nopage tour).

After a change that is meant: ``python -m tests.golden.test_tour`` writes tour.txt anew; read the difference.
"""

from __future__ import annotations

import io
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from machine.errors import ConfigError
from machine.tour.guide import Guide, all_sections, choose

GOLDEN = Path(__file__).with_name("tour.txt")
TOP = Path(__file__).resolve().parents[2]


def whole_tour() -> tuple[bool, str]:
    stream = io.StringIO()
    return Guide(stream).tour(all_sections()), stream.getvalue()


def test_every_claim_is_seen_and_the_text_is_the_same() -> None:
    held, text = whole_tour()
    assert held, text[text.rindex("claims were not seen") - 20 :]
    assert text.splitlines() == GOLDEN.read_text().splitlines()


def test_plain_text_is_plain() -> None:
    """No colours, and at most 100 columns but for the drivers' source."""
    lines = GOLDEN.read_text().splitlines()
    assert not [line for line in lines if "\x1b" in line]
    assert not [line for line in lines if len(line) > 100 and not line.startswith("    ")]


def test_sections_are_found_by_number() -> None:
    everything = [each.number for each in all_sections()]
    assert [each.number for each in choose([])] == everything
    assert [each.number for each in choose(["15.2.4"])] == ["15.2.4"]
    assert [each.number for each in choose(["15"])] == [number for number in everything if number.startswith("15.")]
    with pytest.raises(ConfigError, match=r"no section '16'.*15\.2\.1"):
        choose(["16"])


def test_a_claim_that_is_not_seen_is_told() -> None:
    """A driver that does something else than the book says: exit status 1, and which claim it was."""
    from dataclasses import replace

    from machine.tour.model import Claim

    section = choose(["15.2.6"])[0]
    wrong = replace(section.steps[0], check=lambda seen: [Claim("it shows the RAM", "zeros", False)])
    stream = io.StringIO()
    assert not Guide(stream).tour([replace(section, steps=[wrong])])
    assert "15.2.6, step 1: it shows the RAM: zeros" in stream.getvalue()


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(TOP), "TERM": "xterm", "COLUMNS": "120"}


def test_command() -> None:
    """``nopage tour --list`` and a section, piped."""
    nopage = [sys.executable, "-m", "machine", "tour"]
    listed = subprocess.run([*nopage, "--list"], capture_output=True, text=True, env=_environment(), check=True).stdout
    assert [line.split()[0] for line in listed.splitlines()] == [each.number for each in all_sections()]
    shown = subprocess.run([*nopage, "15.2.6"], capture_output=True, text=True, env=_environment(), check=False)
    assert shown.returncode == 0 and "claims of 1 section were seen" in shown.stdout
    golden = GOLDEN.read_text().partition("§ 15.2.6 ")[2].partition("§ ")[0]
    assert golden.rstrip() in shown.stdout


def test_steps_wait_for_enter_on_a_terminal() -> None:
    """With colours, and nothing goes on before Enter."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-m", "machine", "tour", "--step", "15.2.6"], _environment())
    text = ""
    try:
        for prompts in range(1, 4):
            text += _read_until(fd, "Enter goes on", text.count("Enter goes on") + 1, text)
            assert text.count("Enter goes on") == prompts
            os.write(fd, b"\n")
        text += _read_until(fd, "were seen", 1, text)
        assert "\x1b[" in text
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        pid = 0
    finally:
        if pid:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        os.close(fd)


def _read_until(fd: int, wanted: str, times: int, before: str) -> str:
    text, end = "", time.monotonic() + 60
    while (before + text).count(wanted) < times:
        assert select.select([fd], [], [], max(0, end - time.monotonic()))[0], f"no {wanted!r} in {text!r}"
        text += os.read(fd, 65536).decode(errors="replace")
    return text


if __name__ == "__main__":
    GOLDEN.write_text(whole_tour()[1])
