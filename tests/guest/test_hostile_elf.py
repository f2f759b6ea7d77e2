"""Programs whose headers pass and whose segments are odd or evil: they start, or die, as on the host."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from machine import Machine
from machine.errors import NopageError
from machine.kernel.task import elf
from tests.conftest import run_on_host
from tests.elf_files import BASE, interp, load, program

TOP = 0x7FFF_FFFF_F000


def exit_with(address: int) -> bytes:
    """mov $60, %eax; movzbl (address), %edi; syscall: a program whose status is a byte of its memory."""
    return bytes.fromhex("b83c000000480fb63c25") + struct.pack("<I", address) + bytes.fromhex("0f05")


def poke(address: int) -> bytes:
    """movb $9, (address), then exit with that byte."""
    return bytes.fromhex("c60425") + struct.pack("<I", address) + b"\x09" + exit_with(address)


DATA = BASE + 0x10000
TEXT = load()
EVIL: dict[str, bytes] = {
    "good": program(),
    "no PT_LOAD at all": program(segments=[(4, 4, 0, 0, 0, 0, 1)]),
    "filesz above memsz": program(segments=[load(memsz=0x1000)]),
    "second segment with filesz above memsz": program(segments=[TEXT, load(0, DATA, 0x20, 0x10)]),
    "huge memsz": program(segments=[load(memsz=1 << 46)]),
    "memsz of all bits": program(segments=[load(memsz=(1 << 64) - 1)]),
    "filesz and memsz of all bits": program(segments=[load(filesz=(1 << 64) - 1, memsz=(1 << 64) - 1)]),
    "segment above user space": program(segments=[TEXT, load(0, 1 << 63, 0x10, 0x10)]),
    "segment at the top": program(segments=[TEXT, load(0, TOP - 0x1000, 0x10, 0x1000)]),
    "segment at address 0": program(segments=[TEXT, load(0, 0, 0x10, 0x10)]),
    "address and offset that disagree": program(segments=[load(offset=0x10)]),
    "offset not aligned, address neither": program(segments=[TEXT, load(0x123, DATA + 0x123, 0x10, 0x10)]),
    "offset beyond the end": program(segments=[TEXT, load(0x100000, DATA, 0x10, 0x10)]),
    "offset of all bits": program(segments=[TEXT, load((1 << 64) - 0x1000, DATA, 0x10, 0x10)]),
    "entry in kernel space": program(entry=0xFFFF_8000_0000_0000),
    "entry not canonical": program(entry=1 << 60),
    "entry that is not mapped": program(entry=0x1234),
    "entry in a segment that is not executable": program(segments=[load(flags=4)]),
    "segment that is write only": program(segments=[TEXT, load(0, DATA, 0x10, 0x10, flags=2)]),
    "segment without rights": program(segments=[TEXT, load(0, DATA, 0x10, 0x10, flags=0)]),
    "two segments, the second over the first": program(segments=[load(), load()]),
    "overlapping in part": program(segments=[load(), load(0, BASE + 0x1000, 0x10, 0x10, flags=6)]),
    "in descending order": program(segments=[load(0, DATA, 0x10, 0x10, flags=6), TEXT]),
    "bss alone": program(
        segments=[load(filesz=0x1020, memsz=0x1020), load(0, DATA, 0, 0x3000, flags=6)], code=poke(DATA + 0x2FFF)
    ),
    "rest of a data page is zero": program(
        segments=[load(filesz=0x1020, memsz=0x1020), load(0, DATA, 0x10, 0x20, flags=6)], code=exit_with(DATA + 0x10)
    ),
    "data is there": program(
        segments=[load(filesz=0x1020, memsz=0x1020), load(0, DATA, 0x10, 0x20, flags=6)], code=exit_with(DATA + 1)
    ),
    "read-only segment with bss": program(
        segments=[load(filesz=0x1020, memsz=0x1020), load(0, DATA, 0x10, 0x2000, flags=4)],
        code=exit_with(DATA + 0x1FFF),
    ),
    "rest of a read-only page": program(
        segments=[load(filesz=0x1020, memsz=0x1020), load(0, DATA, 0x10, 0x20, flags=4)], code=exit_with(DATA + 0x40)
    ),
    "code that writes to itself": program(segments=[load(filesz=0x1020, memsz=0x1020)], code=poke(BASE + 0x100)),
    "code that may write to itself": program(
        segments=[load(filesz=0x1020, memsz=0x1020, flags=7)], code=poke(BASE + 0x100)
    ),
    "stack that is executable": program(
        segments=[TEXT, (elf.PT_GNU_STACK, 7, 0, 0, 0, 0, 16)], code=bytes.fromhex("6890909090ffe4")
    ),
    "stack that is not": program(
        segments=[TEXT, (elf.PT_GNU_STACK, 6, 0, 0, 0, 0, 16)], code=bytes.fromhex("6890909090ffe4")
    ),
    "position independent": program(
        kind=elf.ET_DYN,
        entry=0x1000,
        segments=[load(0, 0, 0x1010, 0x1010)],
        code=bytes.fromhex("b83c000000bf2a0000000f05"),
    ),
    "position independent with a gap": program(
        kind=elf.ET_DYN, entry=0x1000, segments=[load(0, 0, 0x1010, 0x1010), load(0, 1 << 30, 0x10, 0x10, flags=6)]
    ),
    "position independent of 2 MiB alignment": program(
        kind=elf.ET_DYN, entry=0x1000, segments=[(elf.PT_LOAD, 5, 0, 0, 0x1010, 0x1010, 0x200000)]
    ),
    "position independent, larger than user space": program(
        kind=elf.ET_DYN, entry=0x1000, segments=[load(0, 0, 0x1010, 0x1010), load(0, 1 << 47, 0x10, 0x10)]
    ),
    "interpreter that is text": program(segments=[interp(0x100C, 12), load()], tail=b"/etc/passwd\0"),
    "interpreter that is a directory": program(segments=[interp(0x100C, 5), load()], tail=b"/etc\0"),
    "interpreter that is a device": program(segments=[interp(0x100C, 10), load()], tail=b"/dev/null\0"),
}


def run_here(machine: Machine, path: Path) -> str:
    try:
        return f"exit {machine.run([str(path)], timeout=60).exit}"
    except NopageError as error:
        return f"errno {error.errno}"  # type: ignore[attr-defined]


def run_there(path: Path) -> str:
    try:
        return f"exit {run_on_host(path).exit}"
    except OSError as error:
        return f"errno {error.errno}"


def test_hostile_programs(machine_clean: Callable[..., Machine], tmp_path: Path) -> None:
    """As the user who runs the tests: root alone may have memory at address 0."""
    machine = machine_clean(binds=[(str(tmp_path), str(tmp_path), False)], user=(os.geteuid(), os.getegid()))
    wrong = []
    for number, (name, data) in enumerate(EVIL.items()):
        path = tmp_path / f"program{number}"
        path.write_bytes(data)
        path.chmod(0o755)
        expected, got = run_there(path), run_here(machine, path)
        if expected != got:
            wrong.append(f"{name}: {got}, on the host {expected}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("count", [2, 5, 6])
def test_scripts_of_scripts(machine_clean: Callable[..., Machine], tmp_path: Path, count: int) -> None:
    """Five scripts in a row are allowed, six are ELOOP."""
    interpreter = "/bin/echo"
    for number in range(count):
        script = tmp_path / f"script{number}"
        script.write_text(f"#!{interpreter} {number}\n")
        script.chmod(0o755)
        interpreter = str(script)
    machine = machine_clean(binds=[(str(tmp_path), str(tmp_path), False)])
    try:
        got = machine.run([interpreter, "end"]).stdout
    except NopageError as error:
        got = f"errno {error.errno}".encode()  # type: ignore[attr-defined]
    try:
        expected = run_on_host(Path(interpreter), ["end"]).stdout
    except OSError as error:
        expected = f"errno {error.errno}".encode()
    assert got == expected
