"""`nopage run` in scripts: the session of the book, exit statuses, pipes, input that ends (MECHANISMS B, E3, E4)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
BOOK = (
    "ls -l /dev > /dev/scullp0; mapper /dev/scullp0 0 140; mapper /dev/scullp0 8192 200; "
    "mapper /dev/mem 0x10000 0x1000 | od -Ax -t x1"
)


def nopage(*words: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    settings: dict[str, object] = {"stdin": subprocess.DEVNULL, "timeout": 240, **options}
    command = [sys.executable, "-m", "machine", "run", *words]
    environment = {**os.environ, "PYTHONPATH": str(TOP)}
    return subprocess.run(command, capture_output=True, env=environment, check=False, **settings)  # type: ignore[call-overload,no-any-return]


def test_the_session_of_the_book() -> None:
    """As typed in the issue.  /dev is shorter here than the book's: its listing ends before byte 8,192."""
    done = nopage("--device", "scullp", "--", "sh", "-c", BOOK)
    listing, dump = done.stdout[:140], done.stdout[140:].decode().splitlines()
    assert listing.startswith(b"total 0\n")
    assert listing.count(b"\n") >= 2
    assert dump == ["000000" + " 00" * 16, "*", "001000"]  # the first frame that nobody has: zeros, then the end
    assert b'mapped "/dev/scullp0" from 0 (0x00000000) to 140 (0x0000008c)\n' in done.stderr
    assert b'mapped "/dev/scullp0" from 8192 (0x00002000) to 8392 (0x000020c8)\n' in done.stderr
    assert b'mapped "/dev/mem" from 65536 (0x00010000) to 69632 (0x00011000)\n' in done.stderr
    assert b"Bus error" in done.stderr
    assert done.returncode == 0


def test_the_session_with_a_longer_listing() -> None:
    """A directory like the book's /dev: the third page shows the bytes that ls wrote there."""
    script = BOOK.replace("/dev >", "/usr/bin >").partition("; mapper /dev/mem")[0]
    done = nopage("--device", "scullp", "--", "sh", "-c", f"ls -l /usr/bin > /tmp/list; {script}; cat /tmp/list")
    shown, listing = done.stdout[:340], done.stdout[340:]
    assert done.returncode == 0
    assert shown == listing[:140] + listing[8192:8392]
    assert len(shown) == 340


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["sh", "-c", "exit 5"], 5),
        (["sh", "-c", "kill -9 $$"], 128 + signal.SIGKILL),
        (["sh", "-c", "kill -TERM $$"], 128 + signal.SIGTERM),
        (["sh", "-c", "kill -SEGV $$"], 128 + signal.SIGSEGV),
        (["no-such-program"], 127),
        (["/etc/passwd"], 126),
        (["/usr"], 126),
        (["sh", "-c", "no-such-program"], 127),
        (["sh", "-c", "/etc/passwd"], 126),
        (["sh", "-c", "false | true"], 0),
        (["bash", "-c", "set -o pipefail; false | true"], 1),
    ],
)
def test_exit_statuses(words: list[str], status: int) -> None:
    if words[0] == "bash" and shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    done = nopage("--", *words)
    assert done.returncode == status, done.stderr
    assert done.stdout == b""


def test_pipes_on_both_sides() -> None:
    text = "".join(f"{number}\n" for number in range(30_000)).encode()
    done = nopage("--", "sh", "-c", "sort -rn | head -2; cat", input=text, stdin=None)
    assert (done.returncode, done.stdout) == (0, b"29999\n29998\n")


def test_a_reader_that_goes_away() -> None:
    """nopage run yes | head: the writer ends of SIGPIPE, without a word."""
    environment = {**os.environ, "PYTHONPATH": str(TOP)}
    command = f"{sys.executable} -m machine run -- yes | head -3; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, env=environment, timeout=240, check=False)
    assert (done.stdout, done.stderr) == (b"y\ny\ny\n141\n", b"")


def test_input_at_its_end() -> None:
    for words in (["cat"], ["sh"], ["bash", "-i"] if shutil.which("bash") else ["sh"]):
        assert nopage("--", *words).returncode == 0


def test_closed_descriptors() -> None:
    """Without standard input, and without output: what the host's shell says with <&- and >&-."""
    environment = {**os.environ, "PYTHONPATH": str(TOP)}
    for redirection, status in (("<&-", 1), (">&-", 1)):
        command = f"exec {sys.executable} -m machine run -- cat /proc/version - {redirection}"
        done = subprocess.run(
            ["sh", "-c", command], capture_output=True, env=environment, timeout=240, check=False, input=b""
        )
        assert done.returncode == status, (redirection, done)
        assert b"Bad file descriptor" in done.stderr
