"""Reading programs: ELF headers of every hostile kind, scripts, and what the loader promises.

Where it can be asked, the host's kernel is the judge: the same file is given to its execve.
"""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

import pytest

from machine.kernel.abi.errno import EACCES, EIO, ENOENT, ENOEXEC, NAMES, Errno
from machine.kernel.task import elf
from machine.kernel.task.binfmt_elf import ELF_HWCAP
from machine.kernel.task.binfmt_script import Script, parse_script
from tests.elf_files import BASE, LOADER, interp, load, program

SPOILED: dict[str, bytes] = {
    "good": program(),
    "empty": b"",
    "only the magic number": b"\x7fELF",
    "header alone": program()[:64],
    "header cut in the middle": program()[:40],
    "wrong magic number": program(magic=b"\x7fELG"),
    "relocatable object": program(kind=1),
    "core file": program(kind=4),
    "type 0xffff": program(kind=0xFFFF),
    "another machine": program(machine=183),
    "no program headers": program(phnum=0),
    "phentsize too small": program(phentsize=32),
    "phentsize too big": program(phentsize=64),
    "phentsize 0": program(phentsize=0),
    "program headers beyond the end": program(phoff=1 << 20),
    "program headers at a huge offset": program(phoff=(1 << 63) - 8),
    "program headers at a negative offset": program(phoff=1 << 63),
    "program headers cut by the end": program(phnum=80),
    "65535 program headers": program(phnum=0xFFFF),
    "interpreter's path without a NUL": program(segments=[interp(0x100C, 4), load()], tail=b"abcd"),
    "interpreter's path of one byte": program(segments=[interp(0x100C, 1), load()], tail=b"\0"),
    "interpreter's path empty": program(segments=[interp(0x100C, 2), load()], tail=b"\0\0"),
    "interpreter's path of size 0": program(segments=[interp(0x100C, 0), load()]),
    "interpreter's path too long": program(segments=[interp(0x100C, 4097), load()], tail=b"x" * 4096 + b"\0"),
    "interpreter's path beyond the end": program(segments=[interp(0x100000, 20), load()]),
    "interpreter's path cut by the end": program(segments=[interp(0x100C, 100), load()], tail=LOADER),
    "interpreter's path at a negative offset": program(segments=[interp(1 << 63, 20), load()]),
    "interpreter that is not there": program(segments=[interp(0x100C, len(LOADER)), load()], tail=LOADER),
}


def host_errno(path: Path) -> int:
    """What the host's execve says of a file: 0 if it started."""
    try:
        subprocess.run([path], check=False, capture_output=True, stdin=subprocess.DEVNULL, timeout=10)
    except OSError as error:
        return error.errno or 0
    return 0


def our_errno(data: bytes) -> int:
    try:
        found = elf.parse_bytes(data)
    except Errno as error:
        return error.errno
    if found.interp is not None:
        return ENOENT if found.interp else EACCES  # an empty path is the current directory
    return 0


@pytest.mark.parametrize("name", SPOILED)
def test_headers_are_refused_as_the_host_refuses_them(name: str, tmp_path: Path) -> None:
    data = SPOILED[name]
    path = tmp_path / "program"
    path.write_bytes(data)
    path.chmod(0o755)
    host, mine = host_errno(path), our_errno(data)
    assert NAMES.get(mine, mine) == NAMES.get(host, host)


def test_many_program_headers(tmp_path: Path) -> None:
    """Linux allows 64 KiB of them, more than a page."""
    segments = [load()] + [(0, 0, 0, 0, 0, 0, 0)] * 70
    data = program(segments=segments)
    path = tmp_path / "program"
    path.write_bytes(data)
    path.chmod(0o755)
    assert NAMES.get(our_errno(data), 0) == NAMES.get(host_errno(path), 0)


def test_a_64_bit_program() -> None:
    stack = (elf.PT_GNU_STACK, 6, 0, 0, 0, 0, 16)
    second = load(0x2000, BASE + 0x3000, 0x123, 0x2345, flags=6)
    found = elf.parse_bytes(program(segments=[load(), second, stack]))
    assert (found.bits, found.type, found.entry, found.phnum) == (64, elf.ET_EXEC, BASE + 0x1000, 3)
    assert [s.vaddr for s in found.loads] == [BASE, BASE + 0x3000]
    assert found.loads[1].prot == 3
    assert found.stack_exec == elf.EXSTACK_DISABLE_X
    assert found.phdr_vaddr == BASE + 64
    assert found.total_mapping_size((1 << 64) - 1) == 0x3000 + 0x2345
    assert found.interp is None


def test_executable_stack_is_seen() -> None:
    assert elf.parse_bytes(program()).stack_exec == elf.EXSTACK_DEFAULT
    stack = (elf.PT_GNU_STACK, 7, 0, 0, 0, 0, 16)
    assert elf.parse_bytes(program(segments=[load(), stack])).stack_exec == elf.EXSTACK_ENABLE_X


def test_the_first_interpreter_counts() -> None:
    tail = b"/a\0/b\0"
    found = elf.parse_bytes(program(segments=[interp(0x100C, 3), interp(0x100F, 3), load()], tail=tail))
    assert found.interp == b"/a"


def test_interpreter_beyond_the_end_is_an_io_error() -> None:
    with pytest.raises(Errno) as failure:
        elf.parse_bytes(SPOILED["interpreter's path beyond the end"])
    assert failure.value.errno == EIO


@pytest.mark.parametrize(
    ("vaddr", "filesz", "memsz", "good"),
    [
        (0x400000, 0x1000, 0x1000, True),
        (0x400000, 0x1000, 0xFFF, False),
        (0x7FFF_FFFF_F000, 0, 1, False),
        (0x7FFF_FFFF_E000, 0, 0x1000, True),
        (0x7FFF_FFFF_E000, 0, 0x1001, False),
        (1 << 63, 0, 0, False),
        (0, 0, (1 << 64) - 1, False),
    ],
)
def test_segments_must_fit_in_user_space(vaddr: int, filesz: int, memsz: int, good: bool) -> None:
    segment = elf.Segment(elf.PT_LOAD, 5, 0, vaddr, vaddr, filesz, memsz, 0x1000)
    assert segment.fits(vaddr, 0x7FFF_FFFF_F000) is good


def test_alignment_ignores_what_is_no_power_of_two() -> None:
    segments = [(*load()[:6], 0x200000), (*load()[:6], 0x300000), (*load()[:6], 1)]
    assert elf.parse_bytes(program(segments=segments)).maximum_alignment() == 0x200000


def test_a_32_bit_program() -> None:
    head = struct.pack(
        "<4sBBBB8xHHIIIIIHHHHHH",
        elf.ELFMAG,
        1,
        1,
        1,
        0,
        elf.ET_DYN,
        elf.EM_386,
        1,
        0x1234,
        52,
        0,
        0,
        52,
        32,
        1,
        0,
        0,
        0,
    )
    segment = struct.pack("<IIIIIIII", elf.PT_LOAD, 0x10, 0x2000, 0x2000, 0x30, 0x40, 6, 0x1000)
    found = elf.parse_bytes(head + segment)
    assert (found.bits, found.entry, found.phentsize) == (32, 0x1234, 32)
    assert found.loads == [elf.Segment(elf.PT_LOAD, 6, 0x10, 0x2000, 0x2000, 0x30, 0x40, 0x1000)]


def test_random_bytes_never_raise_anything_but_errno() -> None:
    import random

    source = random.Random(7)
    for _ in range(3000):
        data = bytearray(program(segments=[interp(0x100C, len(LOADER)), load()], tail=LOADER))
        for _ in range(source.randrange(1, 8)):
            data[source.randrange(200)] = source.randrange(256)
        try:
            found = elf.parse_bytes(bytes(data[: source.randrange(len(data))]))
        except Errno:
            continue
        assert found.segments


# -- scripts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "interpreter", "argument"),
    [
        (b"#!/bin/sh\n", b"/bin/sh", None),
        (b"#!/bin/sh", b"/bin/sh", None),
        (b"#! \t/bin/sh  \n", b"/bin/sh", None),
        (b"#!/bin/sh -e\n", b"/bin/sh", b"-e"),
        (b"#!/bin/sh  -e  -x \t\n", b"/bin/sh", b"-e  -x"),
        (b"#!/usr/bin/env python3\nprint()\n", b"/usr/bin/env", b"python3"),
        (b"#!sh\n", b"sh", None),
        (b"#!/bin/sh\0junk\n", b"/bin/sh", None),
        (b"#!/bin/sh " + b"x" * 300 + b"\n", b"/bin/sh", b"x" * 245),
    ],
)
def test_script_lines(line: bytes, interpreter: bytes, argument: bytes | None) -> None:
    assert parse_script(line) == Script(interpreter, argument)


@pytest.mark.parametrize("line", [b"#!\n", b"#! \t \n", b"#!" + b" " * 300, b"#!/" + b"x" * 300 + b"\n"])
def test_bad_script_lines(line: bytes) -> None:
    with pytest.raises(Errno) as failure:
        parse_script(line)
    assert failure.value.errno == ENOEXEC


@pytest.mark.parametrize(
    "line",
    [
        b"#!/bin/echo a  b \n",
        b"#! /bin/echo\n",
        b"#!/bin/echo",
        b"#!/bin/echo " + b"y" * 300 + b"\n",
        b"#!/bin/echo\0 z\n",
    ],
)
def test_the_host_reads_script_lines_alike(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "script"
    path.write_bytes(line)
    path.chmod(0o755)
    shown = subprocess.run([path, "last"], check=True, capture_output=True).stdout
    script = parse_script(line[:256])
    words = [os.fsencode(path), b"last"] if script.argument is None else [script.argument, os.fsencode(path), b"last"]
    assert shown == b" ".join(words) + b"\n"


# -- what AT_HWCAP promises --------------------------------------------------------------------------------


def test_a_script_without_a_name_means_the_current_directory(tmp_path: Path) -> None:
    path = tmp_path / "script"
    path.write_bytes(b"#!")
    path.chmod(0o755)
    assert parse_script(b"#!") == Script(b"", None)
    assert host_errno(path) == EACCES


def test_hwcap_is_what_cpuid_of_the_engine_says() -> None:
    import unicorn
    from unicorn import x86_const as x86

    engine = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
    engine.mem_map(0x1000, 0x1000)
    engine.mem_write(0x1000, b"\x0f\xa2")  # cpuid
    engine.reg_write(x86.UC_X86_REG_RAX, 1)
    engine.emu_start(0x1000, 0x1002)
    assert engine.reg_read(x86.UC_X86_REG_RDX) == ELF_HWCAP
