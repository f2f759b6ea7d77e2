"""Where views write: one object a destination, shared by the views that write there, so that lines stay whole."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from io import TextIOWrapper
from typing import Any, Optional, TextIO

_CONTROL = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\udc80-\udcff]"
"""Control characters, those that turn the direction of writing or end a line, and bytes that are no UTF-8."""
_CONTROL_OR_COLOUR = "\x1b\\[[0-9]+m|" + _CONTROL
_PLAIN = bytes(range(0x20, 0x7F)) + b"\n"
SHOWN = 256
"""Characters of a name in a line."""


def _escaped(found: re.Match[str]) -> str:
    text = found[0]
    if len(text) > 1:
        return text
    code = ord(text)
    return f"\\u{code:04x}" if 0xFF < code < 0xDC80 else f"\\x{code & 0xFF:02x}"


def spelled_out(text: str) -> str:
    """`text` with control characters as ``\\x1b``, but newlines and tabs."""
    return text if text.isprintable() else re.sub(_CONTROL, _escaped, text)


def one_line(text: str) -> str:
    """`text` with control characters as ``\\x1b``, newlines too: what the guest calls itself is no line of ours."""
    return spelled_out(text).replace("\n", "\\x0a")


def shortened(name: str) -> str:
    """A name of the guest's for a line of ours: of a long one the two ends, for it may have megabytes."""
    return name if len(name) <= SHOWN else f"{name[: SHOWN // 2]}...{name[-SHOWN // 2 :]}"


def close_all_the_same(file: Any) -> str:
    """Close a file whose buffer perhaps can't be written; why not, or nothing."""
    failed = ""
    try:
        file.flush()
    except OSError as error:
        failed = os.strerror(error.errno or 0)
        # closing would try again and complain
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(null, file.fileno(), inheritable=False)
        os.close(null)
    file.close()
    return failed


class LimitedFile:
    """A binary file that takes `limit` bytes, or as many as the host has room for; the rest is left out."""

    def __init__(self, path: str, limit: int) -> None:
        self.file = open(path, "wb")  # noqa: SIM115 (closed by who writes to it)
        self.left = limit
        self.failed = ""
        """What the host said when it did not take something."""

    @property
    def is_cut(self) -> bool:
        """Whether something was left out."""
        return self.left < 0

    def write(self, data: bytes) -> int:
        """All of it, or nothing."""
        self.left -= len(data)
        if self.left >= 0 and not self.failed:
            try:
                self.file.write(data)
            except OSError as error:
                self.failed = os.strerror(error.errno or 0)
        return len(data)

    def flush(self) -> None:
        """Hand over what is buffered."""
        if not self.failed:
            try:
                self.file.flush()
            except OSError as error:
                self.failed = os.strerror(error.errno or 0)

    def close(self) -> None:
        """Twice is fine."""
        if not self.file.closed:
            self.failed = close_all_the_same(self.file) or self.failed

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> LimitedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Output:
    """A stream of lines.  A view may leave one line open (`begin`); whoever writes next closes it.

    `fd` is a host descriptor, or None for a stream.  A reader that went away ends the output silently, a full disk
    ends it too: the guest's own fate does not depend on who watches.
    """

    def __init__(self, stream: TextIO, *, colour: bool = False, limit: Optional[int] = None) -> None:
        self.stream = stream
        self.colour = colour
        self.left = limit
        """Characters that may still be written; None: any number."""
        self._interrupted: Optional[Callable[[], str]] = None
        self._at_once = stream.line_buffering if isinstance(stream, TextIOWrapper) else True
        """Somebody may be looking: a line that is begun is shown at once.  A file of its own is not flushed."""
        self._broken = False
        self.failed = ""
        """What the host said when it did not take something, a reader that went away aside."""
        self._cut_inside = False
        """The last that was written was not the end of a line."""
        self.muted = False
        """What is written has been written before: the machine has gone back and repeats its past."""

    @classmethod
    def to_descriptor(cls, fd: int, *, colour: bool = False, limit: Optional[int] = None) -> Output:
        """Onto a descriptor of the host that stays open, a line at a time, at most `limit` characters."""
        stream = open(os.dup(fd), "w", encoding="utf-8", errors="surrogateescape", buffering=1)  # noqa: SIM115
        return cls(stream, colour=colour, limit=limit)

    @classmethod
    def to_file(cls, path: str, limit: Optional[int] = None) -> Output:
        """Into a fresh file, at most `limit` characters.  OSError if it can't be made."""
        return cls(open(path, "w", encoding="utf-8", errors="surrogateescape"), limit=limit)

    @property
    def is_cut(self) -> bool:
        """Whether something was left out."""
        return self.left is not None and self.left < 0

    def line(self, text: str) -> None:
        """Write whole lines (`text` without the last newline)."""
        if self._interrupted is not None:
            self._close_open_line()
        self._write(text + "\n")

    def say(self, text: str) -> None:
        """`line` for nopage's own words, which come whatever the limit says: they are few."""
        left, self.left = self.left, None
        try:
            if self._cut_inside and self._interrupted is None:
                self._write("\n")
            self.line(text)
        finally:
            self.left = left

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
        if self._broken or self.muted:
            return
        if self.left is not None:
            self.left -= len(text)
            if self.left < 0:
                return
        # Names come from the guest: they are not to steer the user's terminal.
        plain = text.isascii() and not text.encode().translate(None, _PLAIN)  # nearly always, and quickly seen
        if not plain and not text.replace("\n", "").isprintable():
            text = re.sub(_CONTROL_OR_COLOUR if self.colour else _CONTROL, _escaped, text)
        try:
            self.stream.write(text)
            self._cut_inside = text[-1:] != "\n"
        except OSError as error:
            self._fail(error)

    def flush(self) -> None:
        """Hand over what is buffered."""
        if not self._broken:
            try:
                self.stream.flush()
            except OSError as error:
                self._fail(error)

    def _fail(self, error: OSError) -> None:
        self._broken = True
        if not isinstance(error, BrokenPipeError):
            self.failed = os.strerror(error.errno or 0)

    def close(self) -> None:
        """End an open line and close the stream; twice is fine."""
        if self.stream.closed:
            return
        self._close_open_line()
        failed = close_all_the_same(self.stream)
        if failed and not self._broken:
            self.failed = failed
