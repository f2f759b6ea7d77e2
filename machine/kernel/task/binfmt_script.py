"""Scripts: the first line names the interpreter (fs/binfmt_script.c: load_script)."""

from __future__ import annotations

from typing import Optional

from machine.kernel.abi.errno import ENOEXEC, Errno
from machine.records import NamedTuple

BINPRM_BUF_SIZE = 256
"""How much of a file execve looks at to know its format, bytes."""
_BLANKS = b" \t"
_ENDS = b" \t\0"


class Script(NamedTuple):
    """What a ``#!`` line says."""

    interpreter: bytes
    argument: Optional[bytes]
    """The rest of the line, as one argument, however many words it has; None without one."""


def is_script(head: bytes) -> bool:
    """Whether a file that starts with `head` is one."""
    return head[:2] == b"#!"


def parse_script(head: bytes) -> Script:
    """Read the line from the first 256 bytes.  ENOEXEC: no interpreter there, or its name may be cut off.

    A line that goes on past the buffer is accepted as long as the name itself ends inside; its
    argument is then cut to what fits.
    """
    buffer = head[:BINPRM_BUF_SIZE].ljust(BINPRM_BUF_SIZE, b"\0")
    end = buffer.find(b"\n")
    if end < 0:
        end = BINPRM_BUF_SIZE - 1
        name = _skip_blanks(buffer, 2, end)
        if name is None or _next_end(buffer, name, end) is None:
            raise Errno(ENOEXEC)
    while buffer[end - 1] in _BLANKS:
        end -= 1
    start = _skip_blanks(buffer, 2, end)
    if start is None or start == end:
        raise Errno(ENOEXEC)
    argument = None
    separator = _next_end(buffer, start, end)
    if separator is not None and buffer[separator]:
        first = _skip_blanks(buffer, separator, end)
        if first is not None:
            argument = _c_string(buffer[first:end])
    stop = end if separator is None else separator
    return Script(_c_string(buffer[start:stop]), argument)


def _skip_blanks(buffer: bytes, first: int, last: int) -> Optional[int]:
    """The first byte of [first, last] that is no blank (next_non_spacetab)."""
    return next((i for i in range(first, last + 1) if buffer[i] not in _BLANKS), None)


def _next_end(buffer: bytes, first: int, last: int) -> Optional[int]:
    """The first blank or NUL of [first, last] (next_terminator)."""
    return next((i for i in range(first, last + 1) if buffer[i] in _ENDS), None)


def _c_string(data: bytes) -> bytes:
    return data.split(b"\0", 1)[0]
