"""--record and `nopage replay`: keys of a terminal at the places where they came, and recordings that don't fit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.gdb.conftest import TOP
from tests.terminal import Terminal

TRAPS = "trap 'echo got one' INT; echo ready; read x; echo then; while :; do :; done"


def replayed(recording: Path, events: Path, cwd: Path = TOP) -> subprocess.CompletedProcess[str]:
    """Without a terminal, in another environment."""
    command = [sys.executable, "-m", "machine", "replay", "--events", str(events), str(recording)]
    return subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90, check=False,
        env={**os.environ, "PYTHONPATH": str(TOP), "LC_ALL": "C.UTF-8", "COLUMNS": "33"},
    )  # fmt: skip


def test_keys_come_again_where_they_came(tmp_path: Path) -> None:
    """Ctrl-C while a shell waits for a line, and while it spins; another one ends it.  # F2"""
    recording, first, second = tmp_path / "recording", tmp_path / "first", tmp_path / "second"
    with Terminal(("sh", "-c", TRAPS), options=("--record", str(recording), "--events", str(first))) as terminal:
        terminal.expect("ready")
        terminal.type("\x03")
        terminal.expect("got one")
        terminal.expect("then")  # the trap ends `read`
        terminal.type("\x03")
        terminal.expect("got one")
        terminal.type("\x1c")
        assert terminal.exit_status() == 128 + 3
    done = replayed(recording, second)
    assert (done.returncode, done.stdout) == (128 + 3, "ready\ngot one\nthen\ngot one\n"), done.stderr
    assert first.read_bytes() == second.read_bytes()
    assert second.read_text().count('"signo":2') >= 2


def test_a_recording_of_another_program(tmp_path: Path) -> None:
    """One line says so, wherever it shows; what the kernel or the drivers do is not blamed.  # F2"""
    recording, program = tmp_path / "recording", tmp_path / "program"
    program.write_text("#!/bin/sh\nread x\necho $x\n")
    program.chmod(0o755)
    command = [sys.executable, "-m", "machine", "run", "--record", str(recording), str(program)]
    subprocess.run(command, cwd=TOP, input="1\n", text=True, check=True, timeout=90, stdout=subprocess.DEVNULL)
    program.write_text("#!/bin/sh\necho first\nread x\n")
    done = replayed(recording, tmp_path / "events")
    assert done.returncode == 125 and done.stdout == "", done
    said = " where this one asks for write. Program, files, drivers and options must be those of the recording"
    shown, _, rest = done.stderr.partition("\n")
    assert shown == f"nopage: the recorded command: nopage run --record {recording} {program}"
    assert rest.startswith(f"nopage: {recording} does not fit: the recorded run ") and said in rest, done
    assert rest.count("\n") == 1, rest
    program.write_text("#!/bin/sh\nwhile :; do :; done\n")
    done = replayed(recording, tmp_path / "events")
    assert done.returncode == 125 and " does not fit: " in done.stderr, done
    done = replayed(recording, tmp_path / "events", tmp_path)
    assert (done.returncode, done.stderr) == (125, f"nopage: {recording} was recorded in {TOP}; replay it there\n")


def test_what_went_into_files_is_printed(tmp_path: Path) -> None:
    """Recorded with standard output and error in regular files: the replay prints both, the output at its place too."""
    recording, out, again = tmp_path / "recording", tmp_path / "out", tmp_path / "again"
    program = (
        "import os\nos.write(1, b'abc\\n')\nos.pwrite(1, b'X', 1)\nos.write(2, b'said\\n')\nos.write(1, b'end\\n')\n"
    )
    command = [sys.executable, "-m", "machine", "run", "--record", str(recording), "python3", "-Sc", program]
    with out.open("w") as output, (tmp_path / "error").open("w") as error:
        subprocess.run(command, cwd=TOP, stdin=subprocess.DEVNULL, stdout=output, stderr=error, check=True, timeout=90)
    assert (out.read_text(), (tmp_path / "error").read_text()) == ("aXc\nend\n", "said\n")
    done = replayed(recording, tmp_path / "events")
    assert (done.returncode, done.stdout) == (0, "abc\nXend\n") and done.stderr.endswith("\nsaid\n"), done
    with again.open("w") as output:
        command = [sys.executable, "-m", "machine", "replay", str(recording)]
        subprocess.run(command, cwd=TOP, stdin=subprocess.DEVNULL, stdout=output, check=True, timeout=90)
    assert again.read_text() == "aXc\nend\n"


def test_closed_descriptors_are_closed_again(tmp_path: Path) -> None:
    """Recorded with standard input closed, replayed with one, and with standard output closed then."""
    program = "import errno, os, sys\nfor fd in 0, 1:\n try:\n  os.fstat(fd)\n except OSError as e:\n"
    program += "  os.write(2, b'%d closed\\n' % fd)\n"
    for closed in ("<&-", ">&-"):
        recording = tmp_path / "recording"
        script = f'exec "$@" {closed}'
        command = [sys.executable, "-m", "machine", "run", "--record", str(recording), "python3", "-Sc", program]
        done = subprocess.run(
            ["sh", "-c", script, "sh", *command], cwd=TOP, stdin=subprocess.DEVNULL, capture_output=True, timeout=90,
            text=True, check=True,
        )  # fmt: skip
        again = replayed(recording, tmp_path / "events")
        assert (again.returncode, again.stderr.splitlines()[1:]) == (0, done.stderr.splitlines())
        assert done.stderr == f"{int(closed == '>&-')} closed\n"
