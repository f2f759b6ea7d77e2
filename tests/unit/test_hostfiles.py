"""Files of the host in the place of RAM (hardware/hostfiles.py, truncated.py)."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from machine.hardware import hostfiles
from machine.hardware.ram import PAGE_SIZE, MiB, Ram
from machine.hardware.truncated import truncations

AT, COUNT = 4 * MiB, 64 * PAGE_SIZE


@pytest.fixture
def ram() -> Ram:
    return Ram(16 * MiB)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"".join(bytes([n]) * PAGE_SIZE for n in range(1, 81)))
    return path


def mapped(ram: Ram, file: Path, offset: int = 0, count: int = COUNT) -> bool:
    fd = os.open(file, os.O_RDONLY)
    try:
        return ram.files.map(AT, count, fd, offset)
    finally:
        os.close(fd)


def test_what_it_shows(ram: Ram, file: Path) -> None:
    """The file, and what the machine wrote, which the file does not get; what nobody wrote follows the file."""
    ram.view[AT - 1] = ram.view[AT + COUNT] = 0x77
    assert mapped(ram, file, 16 * PAGE_SIZE)
    assert [ram.view[AT + n * PAGE_SIZE + 5] for n in range(64)] == list(range(17, 81))
    assert ram.view[AT - 1] == ram.view[AT + COUNT] == 0x77
    before = file.read_bytes()
    ram.view[AT + 9] = 0xEE
    assert ram.view[AT + 8 : AT + 11] == bytes((17, 0xEE, 17)) and file.read_bytes() == before
    with file.open("r+b") as writer:
        writer.seek(16 * PAGE_SIZE)
        writer.write(b"\xdd" * 2 * PAGE_SIZE)
    assert ram.view[AT + 8] == 17 and ram.view[AT + PAGE_SIZE] == 0xDD
    ram.files.unmap(AT + PAGE_SIZE, 2 * PAGE_SIZE)
    assert bytes(ram.view[AT + PAGE_SIZE : AT + 3 * PAGE_SIZE]) == bytes(2 * PAGE_SIZE)
    assert ram.view[AT + 3 * PAGE_SIZE] == 20
    ram.discard()
    assert not any(ram.view[AT - PAGE_SIZE : AT + COUNT + PAGE_SIZE])


@pytest.mark.parametrize("how", ["python", "written", "C"])
def test_truncated(ram: Ram, file: Path, how: str) -> None:
    """The process that reads or writes what is gone goes on, with zeros."""
    assert mapped(ram, file)
    os.truncate(file, 10 * PAGE_SIZE)
    before = truncations().count
    if how == "python":
        assert ram.view[AT + 10 * PAGE_SIZE] == 0 and ram.view[AT + 9 * PAGE_SIZE] == 10
    elif how == "written":
        ram.view[AT + 11 * PAGE_SIZE - 1] = 1
        assert bytes(ram.view[AT + 10 * PAGE_SIZE : AT + 11 * PAGE_SIZE]) == bytes(PAGE_SIZE - 1) + b"\1"
    else:
        assert ctypes.string_at(ram.address + AT + 10 * PAGE_SIZE, PAGE_SIZE) == bytes(PAGE_SIZE)
    assert truncations().count == before + 1
    assert bytes(ram.view[AT + 11 * PAGE_SIZE : AT + COUNT]) == bytes(COUNT - 11 * PAGE_SIZE)
    assert truncations().count == before + 54


def test_what_can_not_be_mapped(ram: Ram, file: Path) -> None:
    """Beyond the end, a pipe, a directory, a file to be written only: False, and RAM is as good as before."""
    assert not mapped(ram, file, 40 * PAGE_SIZE)
    reading, writing = os.pipe()
    assert not ram.files.map(AT, COUNT, reading, 0)
    os.close(reading)
    os.close(writing)
    fd = os.open(file, os.O_WRONLY)
    assert not ram.files.map(AT, COUNT, fd, 0)
    os.close(fd)
    assert not ram.files.map(AT, COUNT, fd, 0)
    ram.view[AT : AT + COUNT] = b"\x55" * COUNT
    assert mapped(ram, file)


def test_too_many_machines(file: Path) -> None:
    """Only so many at once; each gives its place back, with `discard` or when it is gone."""
    machines = [Ram(16 * MiB) for _ in range(80)]
    assert [mapped(ram, file) for ram in machines].count(True) <= 64
    assert not mapped(machines[-1], file)
    machines[3].discard()
    assert mapped(machines[-1], file)
    del machines[:10]
    assert all(mapped(ram, file) for ram in machines[-5:])


def test_the_hosts_areas(ram: Ram, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the host has given most of the areas that it gives to a process, files are read, and RAM is zeroed."""
    areas = hostfiles._Areas(4000)
    monkeypatch.setattr(hostfiles, "_areas", areas)
    many = sum(mapped(ram, file, offset % 16 * PAGE_SIZE) for offset in range(3000))
    assert many == 3000  # each in the place of the one before
    areas._left, areas.most = 0, 100
    assert not mapped(ram, file)
    ram.files.unmap(AT, COUNT)
    assert not any(ram.view[AT : AT + COUNT])


OTHERS = """
import ctypes, mmap, os, sys, tempfile
from machine.hardware.ram import Ram
ram = Ram(16 << 20)
with tempfile.TemporaryFile() as file:
    file.truncate(1 << 20)
    assert ram.files.map(1 << 20, 1 << 20, file.fileno(), 0)
    other = mmap.mmap(file.fileno(), 1 << 20)
    file.truncate(0)
    assert ram.view[1 << 20] == 0
    print("ours", flush=True)
    sys.argv[1] == "sent" and os.kill(os.getpid(), 7)
    other[5]
print("not reached")
"""


@pytest.mark.parametrize("how", ["sent", "mapped"])
@pytest.mark.parametrize("handler", ["", "import faulthandler; faulthandler.enable()"])
def test_what_is_nobodys(how: str, handler: str) -> None:
    """SIGBUS that another process sends, or of memory that is not a machine's: as it would be without us."""
    done = subprocess.run([sys.executable, "-c", handler + OTHERS, how], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-7, "ours\n")
    assert ("Fatal Python error: Bus error" in done.stderr) == bool(handler)
