"""One system call that costs its program nothing and the machine much: --timeout ends it, and its memory is bounded."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.safety.test_bounds import MOST_MEMORY, TOP, nopage, program

SECONDS = 2
SOON = 40
"""Seconds after --timeout, for computers that do other things; the calls themselves would take minutes and more."""


@pytest.mark.parametrize("kind", ["mincore", "comm", "sysctl", "datagram", "select"])
def test_they_are_short(kind: str) -> None:
    """Calls that Linux answers without looking at each page, byte or descriptor: the answer is the host's."""
    if os.geteuid() and kind in ("sysctl", "datagram"):
        pytest.skip("the host lets root alone do it")
    host = subprocess.run([program("long_calls"), kind], capture_output=True, timeout=60, check=False)
    assert re.fullmatch(rb"%s: (0, errno 0|-1, errno \d+)\n" % kind.encode(), host.stdout), host
    done = nopage("--timeout", "60", program("long_calls"), kind)
    assert (done.returncode, done.stdout) == (0, host.stdout), done


@pytest.mark.parametrize(
    "kind",
    ["populate", "madvise", "mlock", "exec", "stream", "poll", "read_vm", "random", "files", "write", "zeropage"],
)
def test_they_are_broken_off(kind: str) -> None:
    """Soon after the time is up, not when the call is over; and what the program was in is still said."""
    begin = time.monotonic()
    done = nopage("--timeout", str(SECONDS), "--ram", "128M", "--max-memory", "600M", program("long_calls"), kind)
    took = time.monotonic() - begin
    assert done.returncode in ((124, 137) if kind in ("stream", "random") else (124,)), done
    assert done.returncode == 137 or b": still running after 2 seconds; killed\n" in done.stderr
    assert took < SECONDS + SOON, took


def test_a_signal_ends_one() -> None:
    """SIGTERM that comes to nopage itself: its program dies in the middle of the call."""
    command = [
        sys.executable,
        "-m",
        "machine",
        "run",
        "-v",
        "--timeout",
        "100",
        program("long_calls"),
        "populate",
        "tell",
    ]
    environment = {**os.environ, "PYTHONPATH": str(TOP)}
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment) as child:
        assert child.stderr is not None
        while b"begins" not in child.stderr.readline():
            pass
        time.sleep(0.5)
        begin = time.monotonic()
        child.send_signal(signal.SIGTERM)
        assert child.wait() == 128 + signal.SIGTERM
        assert time.monotonic() - begin < SOON


# -- long paths ---------------------------------------------------------------------------------------


def test_maps_of_a_deep_file(tmp_path: Path) -> None:
    """/proc/self/maps shows a path whole, however long; links whose target fits no page are ENAMETOOLONG."""
    host = subprocess.run(
        [program("deep_maps"), str(tmp_path), "300", "30"], capture_output=True, timeout=60, check=True
    )
    done = nopage("--timeout", "60", program("deep_maps"), "/tmp", "300", "30")
    assert (done.returncode, done.stdout) == (0, host.stdout), done.stderr


def test_maps_of_deep_files_take_little(tmp_path: Path) -> None:
    """3000 areas of a file half a megabyte of path away: a text of 1.5 GiB, of which only what is read is there."""
    most = tmp_path / "most"
    command = [sys.executable, "-S", "-c", MOST_MEMORY, str(most), sys.executable, "-m", "machine", "run"]
    command += ["--ram", "64M", "--max-memory", "256M", "--timeout", "4", program("deep_maps"), "/tmp", "2000", "3000"]
    begin = time.monotonic()
    done = subprocess.run(
        command, capture_output=True, stdin=subprocess.DEVNULL, check=False, env={**os.environ, "PYTHONPATH": str(TOP)}
    )
    assert done.returncode == 124 and b"still running after 4 seconds" in done.stderr, done
    assert time.monotonic() - begin < 4 + SOON
    assert int(most.read_text()) < 200 << 10
