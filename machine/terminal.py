"""The user's terminal, lent for a while by a guest that may have put it into any mode."""

from __future__ import annotations

import os
import signal
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, Optional, TextIO

TERMINAL = "/dev/tty"


@contextmanager
def usual_terminal(descriptor: int, settings: Optional[list[Any]]) -> Iterator[None]:
    """With the settings that the user had (None: it is no terminal) and with Python's own Ctrl-C; the guest's again
    afterwards."""
    guests: Any = None
    if settings is not None:
        with suppress(termios.error):  # it has gone
            guests = termios.tcgetattr(descriptor)
            termios.tcsetattr(descriptor, termios.TCSADRAIN, settings)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if guests is not None:
            with suppress(termios.error):
                termios.tcsetattr(descriptor, termios.TCSADRAIN, guests)


class Lent(NamedTuple):
    """A way to the user; `streams` (reading, writing) are ours to close, None when it is standard input and output."""

    descriptor: int
    settings: Optional[list[Any]]
    """None: nobody is there, it is no terminal."""
    streams: Optional[tuple[TextIO, TextIO]]


def find_terminal(settings: Optional[list[Any]]) -> Lent:
    """Standard input and output if they are terminals, else the user's terminal, else what there is.

    `settings` are those of standard input as the user had them, None when that is no terminal.
    """
    if settings is not None and os.isatty(1):
        return Lent(0, settings, None)
    try:
        terminal = os.open(TERMINAL, os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return Lent(0, None, (sys.stdin, sys.stderr))
    reader = os.fdopen(terminal, encoding="utf-8", errors="replace")
    writer = os.fdopen(os.dup(terminal), "w", encoding="utf-8", errors="replace")
    return Lent(terminal, settings or termios.tcgetattr(terminal), (reader, writer))
