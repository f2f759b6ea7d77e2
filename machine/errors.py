"""What can go wrong from the user's point of view: each error says what is wrong and what to do."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, Optional, TextIO


class NopageError(Exception):
    """Base of the errors that nopage raises for its user."""


def is_the_users(caught: Any) -> bool:
    """What `__tracebackhide__` of a module is: pytest shows none of its frames when the error is about what the user
    asked for, and all of them when it is ours."""
    return isinstance(caught.value, (NopageError, AssertionError)) or type(caught.value).__name__ == "RegisterError"


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


class NotBack(ConfigError):
    """A driver or a device model did not come back in time, where no program had called it: from init or exit, from
    `__init__` or `reset`, from an interrupt that a test has raised.  It was interrupted there; the text says where."""


class LimitReached(NopageError):
    """The machine was stopped because it took more of this computer than it may; says which limit it was."""


class TimeoutExpired(NopageError):
    """It was not there in time: the end of a program, which was killed with everything else; or, `waited_for`, what
    `Machine.run_until` waited for, and nothing was killed."""

    def __init__(
        self,
        what: str,
        seconds: float,
        tasks: Sequence[str] = (),
        waited_for: bool = False,
        ticks: Optional[int] = None,
    ) -> None:
        after = f"{seconds:g} seconds" if ticks is None else f"{ticks} ticks"
        text = "\n".join([f"{what}: still running after {after}; killed", *tasks])
        if waited_for:
            from machine.testing import messages

            text = messages.not_come(what, seconds, tasks)
        super().__init__(text)
        self.program = what
        self.seconds = seconds
        self.ticks = ticks
        """Set when it was `max_ticks`, and not `seconds`, that was over."""
        self.tasks = tuple(tasks)
        """What the machine was doing when the time was over: a device model or driver that did not come back, which is
        the `__cause__` too, then each task; lines."""


class Stuck(NopageError):
    """What was waited for can't come any more: every program has ended, or sleeps and nothing can wake it."""

    def __init__(self, what: str, tasks: Sequence[str] = ()) -> None:
        from machine.testing import messages

        super().__init__(messages.never_comes(what, tasks))
        self.tasks = tuple(tasks)
        """What each task does, a line each."""


class DeviceError(NopageError):
    """A device model raised while a program ran; the exception is its `__cause__`.

    When it was an access by the program, that got SIGBUS, and was run to its end all the same.
    """

    def __init__(self, text: str, result: object = None) -> None:
        super().__init__(text)
        self.result = result
        """The `Result` of the program; None when it came to no end of its own."""


def complain(text: str) -> None:
    """One message on standard error."""
    sys.stderr.write(f"nopage: {text}\n")
    sys.stderr.flush()


def said_of(error: OSError) -> str:
    """The message for one that nobody expected."""
    if isinstance(error, FileNotFoundError) and not error.filename:
        try:
            os.getcwd()
        except FileNotFoundError:
            return "the current directory is gone; change to one that is there"
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)


class Stdout:
    """Standard output whose errors say that it is: those of `print` have no name.

    They are ConfigError, which argparse does not swallow; a pipe whose reader is gone is BrokenPipeError still.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """As a stream's."""
        try:
            return self._stream.write(text)
        except OSError as error:
            raise self._named(error) from None

    def flush(self) -> None:
        """As a stream's."""
        try:
            self._stream.flush()
        except OSError as error:
            raise self._named(error) from None

    @staticmethod
    def _named(error: OSError) -> Exception:
        return error if isinstance(error, BrokenPipeError) else ConfigError(f"standard output: {error.strerror}")


def halting(why: BaseException) -> BaseException:
    """What comes out of `Machine.wait` when the machine was stopped for good."""
    return LimitReached(str(why)) if type(why).__name__ == "HostLimit" else why


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
