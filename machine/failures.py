"""Why a program could not be started."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from machine.errors import NotExecutable, ProgramError, ProgramNotFound
from machine.kernel.abi.errno import ENOENT, ENOTDIR, Errno
from machine.kernel.task.elf import parse_bytes

if TYPE_CHECKING:
    from machine.kernel.task.spawn import Spawned
    from machine.programs import Programs


def spawn_failure(machine: Programs, process: Spawned) -> ProgramError:
    """The exception for a process that never was one: NotExecutable or ProgramNotFound."""
    error = process.error
    assert error is not None
    if error.errno not in (ENOENT, ENOTDIR):
        return NotExecutable(process.argv0, error.errno)
    interpreter = _interpreter(machine, process.argv0)
    if interpreter:
        return NotExecutable(process.argv0, error.errno, interpreter)
    return ProgramNotFound(process.argv0, error.errno)


def _interpreter(machine: Programs, program: str) -> str:
    """What a program that is there asks to be run by: the word after ``#!``, or the path in PT_INTERP."""
    try:
        content = machine.read_file(os.path.join(os.getcwd(), program)) if "/" in program else b""
    except OSError:
        return ""
    if content.startswith(b"#!"):
        words = content[2:].split(b"\n", 1)[0].split()
        return os.fsdecode(words[0]) if words else ""
    try:
        return os.fsdecode(parse_bytes(content).interp or b"")
    except Errno:
        return ""
