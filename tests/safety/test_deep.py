"""Directories in one another, deeper than Python's functions may call themselves and longer than any path."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import build

HERE = Path(__file__).parent
DEEP = 1100


def deep(*options: str, directory: str, length: int) -> subprocess.CompletedProcess[bytes]:
    program = build(HERE / "deep.c", flags=("-w",))
    command = [sys.executable, "-m", "machine", "run", "--timeout", "100", *options, str(program), directory]
    return subprocess.run(
        [*command, str(DEEP), str(length)], cwd=HERE.parents[1], capture_output=True, check=False, timeout=200
    )


def test_in_the_layer() -> None:
    """The line at the end names the top, and shows the ends of the others."""
    done = deep(directory="/var", length=250)
    assert (done.returncode, done.stdout) == (0, b"%d\n" % DEEP), done.stderr
    (said,) = done.stderr.splitlines()
    assert said.startswith(b"nopage: changes that end with the machine: /var/top, /var/top/dddd")
    assert b"%d more" % (DEEP - 4) in said and len(said) < 2000


def test_exported(tmp_path: Path) -> None:
    """What has a path is kept, and one line says that there was more."""
    done = deep("--export", str(tmp_path), directory="/var", length=250)
    assert done.stdout == b"%d\n" % DEEP
    assert b"File name too long" in done.stderr and b"Traceback" not in done.stderr
    kept = "var/top" + f"/{'d' * 250}" * 15
    with_room = os.open(tmp_path, os.O_PATH)
    try:
        assert os.stat(kept, dir_fd=with_room)
    finally:
        os.close(with_room)


def test_renamed_on_the_host(tmp_path: Path) -> None:
    try:
        done = deep("--bind", f"{tmp_path}:/rw:rw", directory="/rw", length=1)
        assert (done.returncode, done.stdout) == (0, b"%d\n" % DEEP), done.stderr
        assert os.listdir(tmp_path) == ["top"]
    finally:
        subprocess.run(["rm", "-rf", str(tmp_path / "top")], check=True)  # Python's own calls itself
