"""Redirections to regular files of the host: natively and in a machine, the same answers, files and positions."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from machine import Machine
from tests.conftest import build

SOURCE = Path(__file__).parents[1] / "guest" / "files" / "standard.c"
KINDS = {
    "file": (os.O_WRONLY | os.O_TRUNC, "out"),
    "rw": (os.O_RDWR, "out"),
    "append": (os.O_WRONLY | os.O_APPEND, "out"),
    "append-rw": (os.O_RDWR | os.O_APPEND, "out"),
    "same": (os.O_RDWR, "in"),
}


def outcome(where: Path, kind: str, run: Callable[[int, int, int], int]) -> tuple[int, bytes, bytes, int, int]:
    """(exit status, what it said, the output file, positions that are left) of a program on fresh files."""
    where.mkdir(parents=True)
    (where / "in").write_text("hello world, this is standard input: 0123456789")
    (where / "out").write_text("OLD CONTENTS")
    flags, name = KINDS[kind]
    stdin, stdout = os.open(where / "in", os.O_RDWR), os.open(where / name, flags)
    said = os.open(where / "said", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    try:
        status = run(stdin, stdout, said)
        places = [os.lseek(fd, 0, os.SEEK_CUR) for fd in (stdin, stdout)]
    finally:
        for fd in (stdin, stdout, said):
            os.close(fd)
    return status, (where / "said").read_bytes(), (where / name).read_bytes(), places[0], places[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", ["positions", "appending", "copying", "again"])
def test_regular_files(machine_clean: Callable[..., Machine], tmp_path: Path, kind: str, part: str) -> None:
    program = build(SOURCE)
    number = str(["positions", "appending", "copying", "again"].index(part))

    def native(stdin: int, stdout: int, said: int) -> int:
        return subprocess.run([program, number], stdin=stdin, stdout=stdout, stderr=said, check=False).returncode

    machine = machine_clean(ram=64 << 20, binds=[(str(program), "/program", False, False)])

    def here(stdin: int, stdout: int, said: int) -> int:
        process = machine.spawn(["/program", number], stdin=stdin, stdout=stdout, stderr=said)
        return machine.wait(process, timeout=120).exit

    assert outcome(tmp_path / "here", kind, here) == outcome(tmp_path / "native", kind, native)


def test_a_c_library_without_flags_for_writes(
    machine_clean: Callable[..., Machine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Usual writes stay where they are, those with O_APPEND go to the end by other means."""
    monkeypatch.setattr("machine.kernel.fs.hostregular._RWF", (0, 0, 0))
    for part in ("positions", "appending"):
        test_regular_files(machine_clean, tmp_path / part, "rw", part)


def test_no_more_rights_than_the_shell_gave(machine_clean: Callable[..., Machine], tmp_path: Path) -> None:
    """Standard input that was opened for reading is not opened for writing again, nor the output for reading."""
    (tmp_path / "in").write_text("as it was")
    (tmp_path / "out").write_text("a secret")
    stdin, stdout = os.open(tmp_path / "in", os.O_RDONLY), os.open(tmp_path / "out", os.O_WRONLY | os.O_APPEND)
    machine = machine_clean(ram=64 << 20)
    script = "{ echo x > /proc/$$/fd/0; cat < /proc/$$/fd/1; : > /dev/stdin; } 2>&1 | grep -c denied"
    process = machine.spawn(["sh", "-c", script], stdin=stdin, stdout=stdout, stderr=stdout)
    assert machine.wait(process, timeout=120).exit == 0
    os.close(stdin)
    os.close(stdout)
    assert (tmp_path / "in").read_text() == "as it was" and (tmp_path / "out").read_text() == "a secret3\n"
