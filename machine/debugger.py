"""``breakpoint()`` inside a driver, in ``nopage run``: pdb on the user's terminal, whatever the guest made of it.

The guest has the same terminal, and may have put it into raw mode.  So each time that pdb waits for a command, the
terminal gets back the settings that it had at the start, Ctrl-C is Python's again, and both are undone afterwards.
"""

from __future__ import annotations

import os
import pdb
import signal
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Optional

TERMINAL = "/dev/tty"


class Debugger(pdb.Pdb):
    """pdb whose prompt is on a terminal in its usual mode."""

    def __init__(self, descriptor: int, settings: Optional[list[Any]], **streams: Any) -> None:
        super().__init__(nosigint=True, **streams)
        self._descriptor = descriptor
        self._settings = settings
        self._opened = list(streams.values()) if descriptor > 2 else []

    def close(self) -> None:
        """Close what `make_debugger` opened."""
        for each in self._opened:
            each.close()

    def interaction(self, *arguments: Any, **named: Any) -> None:
        """One stop: commands until one that runs the program (its arguments differ between Pythons)."""
        with self._usual_terminal():
            super().interaction(*arguments, **named)

    @contextmanager
    def _usual_terminal(self) -> Iterator[None]:
        guests: Any = None
        if self._settings is not None:
            guests = termios.tcgetattr(self._descriptor)
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._settings)
        handler = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, handler)
            if guests is not None:
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, guests)


def make_debugger(settings: Optional[list[Any]]) -> Debugger:
    """On standard input and output if they are terminals, else on the user's terminal, else on what there is.

    `settings` are those of standard input as the user had them, None when that is no terminal.
    """
    if settings is not None and os.isatty(1):
        return Debugger(0, settings)
    try:
        terminal = os.open(TERMINAL, os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return Debugger(0, None, stdin=sys.stdin, stdout=sys.stderr)
    reader = os.fdopen(terminal, encoding="utf-8", errors="replace")
    writer = os.fdopen(os.dup(terminal), "w", encoding="utf-8", errors="replace")
    return Debugger(terminal, settings or termios.tcgetattr(terminal), stdin=reader, stdout=writer)
