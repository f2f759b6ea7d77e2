"""The demo programs, as README shows them: mapper, lsdev, devwrite, poke, hello (MECHANISMS C4, C11)."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from guest import TARGETS, bin_directory
from machine import Machine
from tests.conftest import run_on_host

SIGBUS = 7
Make = Callable[..., Machine]


@pytest.fixture(params=TARGETS)
def scullp(machine_clean: Make, request: pytest.FixtureRequest) -> Callable[..., tuple[int, bytes, str]]:
    """Run a demo program of either target in one machine with scullp: (exit, output, errors)."""
    machine = machine_clean(devices=["scullp"])

    def run(name: str, *arguments: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
        result = machine.run([str(bin_directory(request.param) / name), *arguments], stdin=stdin)
        return result.exit, result.stdout, result.stderr.decode()

    return run


def test_listing_and_mapper(scullp: Callable[..., tuple[int, bytes, str]]) -> None:
    """The book's session: a listing of /dev into the device, its first 140 bytes, and 200 from 8192."""
    _, listing, _ = scullp("lsdev", "/dev", "/usr/bin")
    assert len(listing) > 8392
    assert scullp("lsdev", "-o", "/dev/scullp0", "/dev", "/usr/bin") == (0, b"", "")
    assert scullp("mapper", "/dev/scullp", "0", "140") == (
        0,
        listing[:140],
        'mapped "/dev/scullp" from 0 (0x00000000) to 140 (0x0000008c)\n',
    )
    assert scullp("mapper", "/dev/scullp0", "8192", "200") == (
        0,
        listing[8192:8392],
        'mapped "/dev/scullp0" from 8192 (0x00002000) to 8392 (0x000020c8)\n',
    )
    assert scullp("mapper", "/dev/scullp0", "0x2000", "0310")[1] == listing[8192:8392]
    assert re.search(rb"^crw-rw-rw-   1 root +root +1,   5 .+ zero$", listing, re.MULTILINE)


def test_mapper_errors(scullp: Callable[..., tuple[int, bytes, str]]) -> None:
    status, _, errors = scullp("mapper")
    assert status == 1
    assert errors.endswith("mapper FILE OFFSET LENGTH\n")
    assert scullp("mapper", "/nothing", "0", "1") == (1, b"", "/nothing: No such file or directory\n")
    assert scullp("mapper", "/dev/scullp0", "1", "1") == (1, b"", "mmap: Invalid argument\n")
    assert scullp("mapper", "/dev/scullp0", "0", "0") == (1, b"", "mmap: Invalid argument\n")
    assert scullp("mapper", "/dev/null", "0", "1") == (1, b"", "mmap: No such device\n")
    status, _, errors = scullp("mapper", "/dev/scullp0", "x", "1")
    assert status == 1
    assert errors.endswith(': not a number: "x"\n')
    # An empty device: the first page is not there.
    assert scullp("mapper", "/dev/scullp0", "0", "1")[0] == 128 + SIGBUS


def test_devwrite_and_poke(scullp: Callable[..., tuple[int, bytes, str]]) -> None:
    assert scullp("devwrite", "/dev/scullp1", stdin=b"from standard input") == (
        0,
        b"",
        "wrote 19 bytes to /dev/scullp1 at 0\n",
    )
    assert (
        scullp("devwrite", "/dev/scullp1", "0x3000", "some", "text")[2] == "wrote 10 bytes to /dev/scullp1 at 12288\n"
    )
    assert scullp("poke", "/dev/scullp1", "1")[1] == b"/dev/scullp1 at 0x1: 0x72 'r'\n"
    assert scullp("poke", "/dev/scullp1", "0x3005")[1] == b"/dev/scullp1 at 0x3005: 0x74 't'\n"
    assert scullp("poke", "/dev/scullp1", "0x1000")[0] == 128 + SIGBUS  # a hole
    assert scullp("poke", "/dev/scullp1", "0x4000")[0] == 128 + SIGBUS  # the end
    assert scullp("poke", "/dev/scullp1", "1", "0x41")[1] == b"/dev/scullp1 at 0x1: 0x41 'A'\n"
    assert scullp("mapper", "/dev/scullp1", "0", "4")[1] == b"fAom"
    assert scullp("poke", "-p", "/dev/scullp1", "2", "66")[1] == b"/dev/scullp1 at 0x2: 0x42 'B'\n"
    assert scullp("mapper", "/dev/scullp1", "0", "4")[1] == b"fAom"


@pytest.mark.parametrize("target", TARGETS)
def test_on_plain_files(machine_clean: Make, tmp_path: Path, target: str) -> None:
    """The same as on the host, where devices are not needed."""
    data = bytes(range(256)) * 40
    (tmp_path / "data").write_bytes(data)
    machine = machine_clean(binds=[(str(tmp_path), str(tmp_path), False)])
    for arguments in (["data", "0", "100"], ["data", "4096", "5000"], ["data", "8192", "2048"], ["none", "0", "1"]):
        command = [str(tmp_path / arguments[0]), *arguments[1:]]
        program = bin_directory(target) / "mapper"
        there, here = machine.run([str(program), *command]), run_on_host(program, command)
        assert (there.exit, there.stdout, there.stderr) == (here.exit, here.stdout, here.stderr)


def test_names_from_the_guests_path(machine_clean: Make) -> None:
    result = machine_clean().run(["hello", "you"])
    assert result.stdout == b"hello, you: Linux 6.1.0-nopage, a program of 64 bits\n"
