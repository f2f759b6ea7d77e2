"""Signals that nopage itself gets, while it runs a program, waits for gdb, or can go back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
DEAF = "trap '' TERM HUP INT; echo ready; while :; do sleep 1; done"
STOPPED = "echo ready; kill -STOP $$; echo not me"
HEARS = "trap 'echo heard; exit 7' INT; echo ready; while :; do sleep 1; done"


@contextmanager
def nopage(*arguments: str, verb: str = "run", cwd: Path = TOP, **environment: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "machine", verb, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(TOP), **environment},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.parametrize(("script", "options"), [(DEAF, ()), (DEAF, ("--rewind",)), (STOPPED, ())])
def test_the_third_one_is_for_nopage(script: str, options: tuple[str, ...]) -> None:
    """A program that ignores SIGTERM, or is stopped for good, ends all the same."""
    with nopage(*options, "/bin/sh", "-c", script) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        for _ in range(2):
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
        time.sleep(1)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        status, out, err = ended(process)
    assert (status, out) == (137, "")
    assert "nopage: SIGTERM for the third time: all programs are killed\n" in err


STUCK = """
import os, sys, time
from machine.kernel.linux import MISC_DYNAMIC_MINOR, file_operations, misc_register, miscdevice, module_init

def read(filp, buf, count, ppos):
    os.write(2, b"in the driver\\n")
    while True:
        time.sleep(0.1)

def init():
    return misc_register(miscdevice(minor=MISC_DYNAMIC_MINOR, name="stuck", fops=file_operations(read=read)))

module_init(init)
"""


def test_the_next_one_ends_nopage_itself(tmp_path: Path) -> None:
    """Where a driver's own code does not come back, nobody kills programs."""
    driver = tmp_path / "stuck.py"
    driver.write_text(STUCK)
    with nopage("--device", str(driver), "/bin/cat", "/dev/stuck") as process:
        assert process.stderr is not None and process.stderr.readline() == "in the driver\n"
        for _ in range(3):
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
        time.sleep(1)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert ended(process)[0] == -signal.SIGTERM


@pytest.mark.parametrize(("number", "status", "text"), [(signal.SIGCONT, 0, "back\n"), (signal.SIGHUP, 129, "")])
def test_a_program_that_has_stopped_itself(number: signal.Signals, status: int, text: str) -> None:
    """`fg` of the user's shell lets it go on, and a terminal that closes ends it."""
    with nopage("/bin/sh", "-c", "echo ready; kill -STOP $$; echo back") as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        time.sleep(1)
        assert process.poll() is None
        process.send_signal(number)
        assert ended(process)[:2] == (status, text)


def test_the_terminals_size_while_gdb_is_awaited() -> None:
    """It is nothing to the wait; Ctrl-C ends that, and not the program."""
    with nopage("--gdb", "0", "/bin/sh", "-c", "echo ran; exit 7") as process:
        assert process.stderr is not None and "Ctrl-C: go on without" in process.stderr.readline()
        time.sleep(1)
        process.send_signal(signal.SIGWINCH)
        time.sleep(1)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert ended(process)[:2] == (7, "ran\n")


@pytest.mark.parametrize("options", [(), ("--rewind",)])
def test_an_interrupt_for_the_process_alone(options: tuple[str, ...]) -> None:
    """Of a supervisor, not of the terminal, which would send it to every process of ours."""
    with nopage(*options, "/bin/sh", "-c", HEARS) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert ended(process)[:2] == (7, "heard\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_temporary_directories(tmp_path: Path, number: signal.Signals) -> None:
    """Those of a comparison go with it."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    words = "--unfenced", "sh", "-c", "sleep 100"
    with nopage(*words, verb="compare", cwd=here, TMPDIR=str(there)) as process:
        deadline = time.monotonic() + 60
        while not list(there.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert list(there.iterdir())
        time.sleep(0.5)
        process.send_signal(number)
        status, _, err = ended(process)
    assert status == 128 + number, err
    assert not list(there.iterdir())


def test_one_file_for_two_options(tmp_path: Path) -> None:
    file = str(tmp_path / "file")
    for options in (("--events", file, "--drcov", file), ("--perfetto", file, "--drcov", file)):
        with nopage(*options, "true") as process:
            assert ended(process) == (125, "", f"nopage: {file}: two options would write to it, each in its own way\n")
