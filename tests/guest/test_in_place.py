"""Files of the host that stand in the place of frames (hardware/hostfiles.py).  B4 E2"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from machine import Machine
from machine.hardware.hostfiles import HostFiles
from machine.kernel.mm.page import PG_host
from tests.conftest import build

HERE = Path(__file__).parent / "memory"
BATCH = {"batch_faults": True, "check_invariants": False}


@pytest.fixture
def maps(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What `HostFiles.map` answered."""
    answers: list[bool] = []
    old = HostFiles.map

    def noted(self: HostFiles, start: int, count: int, fd: int, offset: int) -> bool:
        answers.append(old(self, start, count, fd, offset))
        return answers[-1]

    monkeypatch.setattr(HostFiles, "map", noted)
    return answers


@pytest.mark.parametrize("target", ["x86_64", "i386"])
@pytest.mark.parametrize("ram", [512, 48])
def test_as_on_the_host(guest: Callable[..., object], maps: list[bool], tmp_path: Path, ram: int, target: str) -> None:
    """Read, written privately and for all, cut; and its frames used for something else."""
    file = tmp_path / "file"
    file.touch()
    guest(HERE / "in_place.c", [str(file)], target=target, ram=ram << 20, binds=[(str(file), str(file), True)], **BATCH)
    assert maps == [True] * len(maps) and len(maps) >= 3


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_cut_behind_its_back(
    machine_clean: Callable[..., Machine], maps: list[bool], tmp_path: Path, target: str
) -> None:
    """Somebody on the host truncates the file: what is gone is zeros, and the program and nopage go on."""
    file, pages = tmp_path / "file", 1024
    file.write_bytes((b"x" + bytes(4095)) * pages)
    machine = machine_clean(binds=[(str(file), "/mnt/a", False), (str(file), "/mnt/b", True)], **BATCH)
    done = machine.run([str(build(HERE / "cut.c", target=target)), "/mnt/a", "/mnt/b"])
    assert done.exit == 0, done.stdout
    assert b"512 of 1024 left\n" in done.stdout and b"y 0\n" in done.stdout
    assert maps.count(True) > 5


def test_when_memory_is_short(machine_clean: Callable[..., Machine], maps: list[bool], tmp_path: Path) -> None:
    """Frames with pages of a file are given back, and have others; nobody else sees what was in them."""
    files = [tmp_path / f"file{n}" for n in range(3)]
    for n, file in enumerate(files):
        file.write_bytes((n.to_bytes(2, "little") + bytes(4094)) * 6000)
    machine = machine_clean(ram=48 << 20, binds=[(str(tmp_path), "/mnt", False)], **BATCH)
    program = str(build(HERE / "in_order.c", target="x86_64"))
    for n in (0, 1, 2, 0):
        done = machine.run([program, f"/mnt/file{n}"])
        assert done.exit == 0 and done.stdout.startswith(b"6000 pages, "), done.stderr
    mem = machine.kernel.mem
    assert any(flags & PG_host for flags in mem.flags[: mem.max_pfn])
    assert machine.run([str(build(HERE / "straight.c", target="x86_64")), "327680", "4096"]).exit == 0
    kmalloc = [mem.alloc_pages(0x10, 3, "kernel") for _ in range(300)]
    for pfn in kmalloc:
        page = bytes(machine.kernel.ram.view[pfn << 12 : pfn + 8 << 12])
        assert page.count(0) + page.count(0xAA) == len(page)
        mem.free_pages(pfn, 3)
    assert maps.count(True) > 30


def test_one_page_a_fault(machine_clean: Callable[..., Machine], maps: list[bool], tmp_path: Path) -> None:
    """Where a recording, a debugger or a test must see the same each time, pages are copied."""
    file = tmp_path / "file"
    file.write_bytes(bytes(1 << 21))
    for options in ({}, BATCH | {"deterministic": True}):
        machine = machine_clean(binds=[(str(file), "/mnt/file", False)], **options)
        assert machine.run([str(build(HERE / "in_order.c", target="x86_64")), "/mnt/file"]).exit == 0
    assert maps == []
