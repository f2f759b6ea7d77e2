"""``--break-on`` without gdb: the prompt on the user's terminal, or commands from ``--commands`` or a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Optional, TextIO

from machine.errors import ConfigError
from machine.observe.breakon import Break, BreakOn
from machine.observe.prompt.prompt import Console, Prompt
from machine.terminal import find_terminal, usual_terminal

if TYPE_CHECKING:
    from machine.kernel.task.spawn import Spawned
    from machine.machine import Machine


def _bytewise(descriptor: int) -> Callable[[], str]:
    """Lines of a descriptor that others read too (the guest; with --rewind, another process): nothing is taken beyond
    the line's end."""

    def line() -> str:
        data = b""
        while not data.endswith(b"\n"):
            byte = os.read(descriptor, 1)
            if not byte:
                break
            data += byte
        return data.decode(errors="replace")

    return line


class Prompting:
    """The prompt of a session; as `Debugging` it is told of the program that starts, and closed."""

    left = False

    def hears(self, signo: int) -> bool:
        """`Debugging.hears`: a prompt is a terminal's, and Ctrl-C is for the program."""
        return False

    def __init__(
        self, machine: Machine, breaks: Sequence[Break], commands: Optional[str], settings: Optional[list[Any]]
    ) -> None:
        self._stack = ExitStack()
        console = self._scripted(commands) if commands is not None else self._on_terminal(settings)
        self.prompt = Prompt(machine.kernel, console, machine.read_file)
        try:
            self.prompt.breaks = BreakOn(self.prompt.control, list(breaks), machine.read_file)
        except ValueError as error:
            self.close()
            raise ConfigError(f"--break-on {error}") from None
        self.gdb = None
        self.front = self.prompt

    def _scripted(self, name: str) -> Console:
        if name == "-":
            return self._lines(_bytewise(0))
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise ConfigError(f"--commands {name}: {error.strerror}") from None
        self._stack.callback(os.close, descriptor)
        return self._lines(_bytewise(descriptor))

    def _lines(self, line: Callable[[], str]) -> Console:
        def read(prompt: str) -> Optional[str]:
            text = line()
            if not text:
                return None
            sys.stderr.write(f"{prompt}{text.rstrip()}\n")
            return text

        return Console(read, self._to_stderr, False, partial(usual_terminal, 0, None))

    @staticmethod
    def _to_stderr(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()

    def _on_terminal(self, settings: Optional[list[Any]]) -> Console:
        lent = find_terminal(settings)
        if lent.settings is None:
            return self._lines(_bytewise(0))
        ready = partial(usual_terminal, lent.descriptor, lent.settings)
        if lent.streams is None:
            return Console(_edited, self._to_stderr, True, ready)
        reader, writer = lent.streams
        for each in lent.streams:
            self._stack.enter_context(each)
        return Console(partial(_asked, reader, writer), partial(_say, writer), True, ready)

    def begin(self, process: Spawned) -> None:
        """A program is about to start: nothing is to be done, it stops where it has to."""

    def never(self) -> list[str]:
        """`BreakOn.never`."""
        said: list[str] = self.prompt.breaks.never()
        return said

    def finish(self) -> None:
        """The programs have ended."""

    def close(self) -> None:
        """End of the session."""
        self.prompt.close()
        self._stack.close()


def _edited(prompt: str) -> Optional[str]:
    """One line with the keys of readline."""
    try:
        import readline  # noqa: F401  (input() uses it)
    except ImportError:
        pass
    try:
        return input(prompt)
    except EOFError:
        return None


def _asked(reader: TextIO, writer: TextIO, prompt: str) -> Optional[str]:
    _say(writer, prompt)
    return reader.readline() or None


def _say(writer: TextIO, text: str) -> None:
    writer.write(text)
    writer.flush()
