"""What can go wrong from the user's point of view: each error says what is wrong and what to do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Optional


class NopageError(Exception):
    """Base of the errors that nopage raises for its user."""


class ConfigError(NopageError):
    """The machine can't be built as asked: RAM, root, bind, device or option."""


class ProgramError(NopageError):
    """A program could not be started; `errno` says why."""

    def __init__(self, program: str, errno: int, interpreter: str = "") -> None:
        missing = f"{interpreter}: bad interpreter: " if interpreter else ""
        super().__init__(f"{program}: {missing}{os.strerror(errno)}")
        self.interpreter = interpreter
        """What the program's first line, or its ELF header, asks for and the guest does not have."""
        self.program = program
        self.errno = errno


class ProgramNotFound(ProgramError):
    """There is no such program (a shell's status 127)."""


class NotExecutable(ProgramError):
    """The file is there but can't be run (a shell's status 126)."""


class TimeoutExpired(NopageError):
    """The program did not end in time; everything was killed."""

    def __init__(self, program: str, seconds: float, tasks: Sequence[str] = ()) -> None:
        super().__init__("\n".join([f"{program}: still running after {seconds:g} seconds; killed", *tasks]))
        self.program = program
        self.seconds = seconds
        self.tasks = tuple(tasks)
        """What each task did when the time was over, a line each."""


class refusing:
    """``with refusing("slot"):`` a ValueError in it becomes a ConfigError with that word before it."""

    __slots__ = ("_what",)

    def __init__(self, what: str = "") -> None:
        self._what = f"{what}: " if what else ""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, failure: Optional[BaseException], trace: object) -> None:
        if isinstance(failure, ValueError):
            raise ConfigError(f"{self._what}{failure}") from None
