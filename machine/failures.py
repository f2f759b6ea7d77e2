"""Why a program could not be started, and what a device model did wrong while one ran."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Optional

from machine import hardware
from machine.errors import DeviceError, NotExecutable, ProgramError, ProgramNotFound
from machine.hardware.bus import Lockup
from machine.kernel.abi.errno import ENOENT, ENOTDIR, Errno
from machine.kernel.task.elf import parse_bytes

if TYPE_CHECKING:
    from machine.hardware.bus import ModelFailure
    from machine.kernel.task.spawn import Spawned
    from machine.programs import Programs, Result


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


def program_meant(name: str, directories: Sequence[str]) -> str:
    """``./timerctl`` for ``timerctl`` or ``./timerclt``, where there is one in one of these directories of the host;
    "" where there is none."""
    directory, slash, plain = name.rpartition("/")
    for each in directories:
        there = os.path.join(each, directory)
        if not slash and _is_program(os.path.join(there, name)):
            return f"./{name}"
        if slash and os.path.isdir(there):
            import difflib

            programs = [file for file in os.listdir(there) if _is_program(os.path.join(there, file))]
            close = difflib.get_close_matches(plain, programs, 1)
            if close:
                return f"{directory}/{close[0]}"
    return ""


def _is_program(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def device_failure(machine: Programs, result: Optional[Result]) -> DeviceError:
    """The exception for the first of what device models have raised; the machine can run again after it."""
    import traceback

    from machine.testing import messages

    bus = machine.kernel.bus
    first = bus.failures[0]
    bus.failures, bus.broken = [], False
    told = led_to(machine, first)
    if isinstance(first.failure, Lockup):
        return DeviceError(messages.model_interrupted(first.failure.text, first.sent, told), result)
    frames = [frame for frame in traceback.extract_tb(first.failure.__traceback__) if not _is_ours(frame.filename)]
    return DeviceError(messages.model_failed(first.block, first.what, first.failure, frames, first.sent, told), result)


def led_to(machine: Programs, failed: ModelFailure) -> list[str]:
    """Lines about the access to a register that has led to it: which, and the program's line and instruction."""
    from machine.accesses import Context

    return Context(machine).led_to(failed)


def _is_ours(path: str) -> bool:
    """Whether it is a file that runs device models, rather than one that is a model."""
    return os.path.dirname(path) == os.path.dirname(hardware.__file__)


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
