"""The strace view against strace itself: the same program, the same lines but for addresses and process numbers."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from machine import Machine
from machine.observe.output import Output
from machine.observe.strace import Strace
from tests.conftest import ENVIRONMENT, build

SOURCE = Path(__file__).with_name("strace_calls.c")


def strace_on_host(program: Path, output: Path) -> str:
    """strace's own text; the test is skipped where the host has no strace, or does not let it trace."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    command = [strace, "-f", "-o", "/dev/fd/2", str(program)]
    probe = subprocess.run([strace, "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"strace can't trace here: {probe.stderr.strip()}")
    with open(output, "w") as stream:
        subprocess.run([strace, "-f", *command[4:]], stderr=stream, env=ENVIRONMENT, timeout=60, check=False)
    return output.read_text(errors="replace")


def strace_in_machine(machine: Machine, program: str) -> str:
    """The view's text."""
    stream = io.StringIO()
    view = Strace(machine.events, Output(stream))
    machine.run([program], timeout=120)
    view.close()
    return stream.getvalue()


def normalised(text: str) -> list[str]:
    """Lines between the marks, without the children's; addresses and process numbers are left out."""
    text = re.sub(r"[\w./-]*strace: Process \d+ attached\n", "", text)
    text = re.sub(r"^\[pid +\d+\] ", "", text, flags=re.M)
    text = text[text.index('access("/begin"') : text.index('access("/end"')]
    text = re.sub(r"0x[0-9a-f]{6,}", "ADDRESS", text)
    text = re.sub(r"(si_pid=|si_uid=|si_utime=|si_stime=)\d+", r"\1N", text)
    lines = []
    for line in text.splitlines():
        if re.match(r"(kill|tgkill|getpid|getpgid|wait4|fork|<\.\.\. (fork|wait4|kill|getpid))", line):
            line = re.sub(r"(?<![\w=])\d{1,7}(?=[,)]|$| <)", "PID", line)
        lines.append(re.sub(r" += ", " = ", line))
    return lines


def interleaving(lines: list[str]) -> list[str]:
    """What depends on who runs first is joined: a parted wait4 is one line again, in front of what came in between."""
    joined: list[str] = []
    for line in lines:
        resumed = re.match(r"<\.\.\. (\w+) resumed>(.*)", line)
        if resumed:
            at = next(
                i
                for i in reversed(range(len(joined)))
                if joined[i].startswith(resumed[1] + "(") and "<unf" in joined[i]
            )
            joined[at] = joined[at].replace("<unfinished ...>", "").rstrip() + " " + resumed[2]
            joined[at] = joined[at].replace("( ", "(").replace("  ", " ").replace(" )", ")")
        else:
            joined.append(line)
    return joined


def parts(lines: list[str]) -> tuple[list[str], list[str]]:
    """(the parent's calls in order, the others sorted): signals of children come when they come."""
    of_children = r"(\+\+\+|--- SIG(CHLD|TERM)|exit_group|kill\(PID, SIGTERM|getpid|wait4|fork)"
    others = [line for line in lines if re.match(of_children, line)]
    return [line for line in lines if line not in others], sorted(others)


def test_the_same_lines_as_strace(machine_clean: Callable[..., Machine], tmp_path: Path) -> None:
    program = build(SOURCE, libc="glibc", static=True, flags=("-Wno-unused-result", "-Wno-format"))
    expected = parts(interleaving(normalised(strace_on_host(program, tmp_path / "host"))))
    machine = machine_clean(binds=[(str(program), str(program), False)])
    got = parts(interleaving(normalised(strace_in_machine(machine, str(program)))))
    assert got[0] == expected[0]
    assert [line for line in got[1] if "SIGCHLD" not in line] == [line for line in expected[1] if "SIGCHLD" not in line]
