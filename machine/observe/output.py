"""Where views write: one object a destination, shared by the views that write there, so that lines stay whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from io import TextIOWrapper
from typing import Optional, TextIO


class Output:
    """A stream of lines.  A view may leave one line open (`begin`); whoever writes next closes it.

    `fd` is a host descriptor, or None for a stream.  A reader that went away ends the output silently: the guest's
    own fate does not depend on who watches.
    """

    def __init__(self, stream: TextIO, *, colour: bool = False) -> None:
        self.stream = stream
        self.colour = colour
        self._interrupted: Optional[Callable[[], str]] = None
        self._at_once = stream.line_buffering if isinstance(stream, TextIOWrapper) else True
        """Somebody may be looking: a line that is begun is shown at once.  A file of its own is not flushed."""
        self._broken = False

    @classmethod
    def to_descriptor(cls, fd: int, *, colour: bool = False) -> Output:
        """Onto a descriptor of the host that stays open, a line at a time."""
        stream = open(os.dup(fd), "w", encoding="utf-8", errors="surrogateescape", buffering=1)  # noqa: SIM115
        return cls(stream, colour=colour)

    @classmethod
    def to_file(cls, path: str) -> Output:
        """Into a fresh file.  OSError if it can't be made."""
        return cls(open(path, "w", encoding="utf-8", errors="surrogateescape"))

    def line(self, text: str) -> None:
        """Write whole lines (`text` without the last newline)."""
        self._close_open_line()
        self._write(text + "\n")

    def begin(self, text: str, interrupted: Callable[[], str]) -> None:
        """Write the start of a line.  If somebody else writes before `finish`, the line is ended with what
        `interrupted` returns."""
        self._close_open_line()
        self._write(text)
        self._interrupted = interrupted
        if self._at_once:
            self.flush()

    def finish(self, text: str) -> None:
        """Write the rest of the line that `begin` left open."""
        self._interrupted = None
        self._write(text + "\n")

    def _close_open_line(self) -> None:
        interrupted, self._interrupted = self._interrupted, None
        if interrupted is not None:
            self._write(interrupted() + "\n")

    def _write(self, text: str) -> None:
        if self._broken:
            return
        try:
            self.stream.write(text)
        except BrokenPipeError:
            self._broken = True

    def flush(self) -> None:
        """Hand over what is buffered."""
        if not self._broken:
            try:
                self.stream.flush()
            except BrokenPipeError:
                self._broken = True

    def close(self) -> None:
        """End an open line and close the stream."""
        self._close_open_line()
        self.flush()
        if self._broken:
            # The buffer can't be written; closing would try again and complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), self.stream.fileno())
        self.stream.close()
