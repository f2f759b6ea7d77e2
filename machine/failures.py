"""Why a program could not be started, and what a device model did wrong while one ran."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Optional

from machine import hardware
from machine.errors import DeviceError, NotExecutable, ProgramError, ProgramNotFound
from machine.kernel.abi.errno import ENOENT, ENOTDIR, Errno
from machine.kernel.task.elf import parse_bytes

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
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


def device_failure(kernel: Kernel, result: Optional[Result]) -> DeviceError:
    """The exception for the first of what device models have raised; the machine can run again after it."""
    import traceback

    from machine.testing import messages

    bus = kernel.bus
    first = bus.failures[0]
    bus.failures, bus.broken = [], False
    frames = [frame for frame in traceback.extract_tb(first.failure.__traceback__) if not _is_ours(frame.filename)]
    return DeviceError(messages.model_failed(first.block, first.what, first.failure, frames, first.sent), result)


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
