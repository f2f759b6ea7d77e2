"""Output and echo of the line discipline: columns, newlines, tabs (drivers/tty/n_tty.c: do_output_char).

What is to be echoed is noted first and goes out at certain moments: a signal's character, or Ctrl-S, can be faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from machine.kernel.tty.termios import (
    ECHO,
    ECHOCTL,
    ECHONL,
    IUTF8,
    OCRNL,
    OLCUC,
    ONLCR,
    ONLRET,
    ONOCR,
    OPOST,
    TABDLY,
    XTABS,
)

if TYPE_CHECKING:
    from machine.kernel.tty.tty_io import tty_struct

NL, CR, TAB, BS = 10, 13, 9, 8
ECHO_OP_START, ECHO_OP_MOVE_BACK_COL, ECHO_OP_SET_CANON_COL, ECHO_OP_ERASE_TAB = 0xFF, 0x80, 0x81, 0x82
"""In the notes: a command follows, or 0xff itself, or a control character to show as ^X."""
ECHO_COMMIT_WATERMARK = ECHO_BLOCK = 256
ECHO_DISCARD_WATERMARK = 4096 - (ECHO_BLOCK + 32)


def is_control(c: int) -> bool:
    """iscntrl of the kernel, which has Latin-1 and no controls above 127."""
    return c < 32 or c == 127


def is_alnum(c: int) -> bool:
    """isalnum of the kernel: letters of Latin-1 too."""
    return 48 <= c <= 57 or 65 <= c <= 90 or 97 <= c <= 122 or (c >= 192 and c not in (215, 247))


def lower(c: int) -> int:
    """tolower of the kernel."""
    return c + 32 if 65 <= c <= 90 or (192 <= c <= 222 and c != 215) else c


def upper(c: int) -> int:
    """toupper of the kernel, for which everything from 223 on is a small letter."""
    return c - 32 if 97 <= c <= 122 or (c >= 223 and c != 247) else c


class Output:
    """The column where the terminal's cursor must be, what is written to move it, what is still to be echoed."""

    __slots__ = ("canon_column", "column", "commit", "echo_buf", "mark", "tty")

    def __init__(self, tty: tty_struct) -> None:
        self.tty = tty
        self.column = 0
        self.canon_column = 0
        """Where the line that is being edited starts."""
        self.echo_buf = bytearray()
        self.mark = self.commit = 0
        """How much of it may go out at the next occasion, and may go out now."""

    # -- what programs write -----------------------------------------------------------------------

    def write(self, data: bytes) -> int:
        """As much as there is room for on the other side: how many bytes (n_tty_write)."""
        self.process_echoes()
        room = self.tty.room()
        if not self.tty.termios.c_oflag & OPOST:
            self.tty.send(data[:room])
            return min(room, len(data))
        out, done = bytearray(), 0
        for c in data:
            shown = self._char(c, room - len(out))
            if shown is None:
                break
            out += shown
            done += 1
        self.tty.send(bytes(out))
        return done

    def _char(self, c: int, space: int) -> Optional[bytes]:
        """One character as it goes out; None where it needs more than `space` bytes (do_output_char)."""
        if space <= 0:
            return None
        flags = self.tty.termios.c_oflag
        if c == NL:
            return self._newline(flags, space)
        if c == CR:
            return self._carriage_return(flags)
        if c == TAB:
            spaces = 8 - (self.column & 7)
            if flags & TABDLY == XTABS:
                if space < spaces:
                    return None
                self.column += spaces
                return b" " * spaces
            self.column += spaces
        elif c == BS:
            self.back()
        elif not is_control(c):
            if flags & OLCUC:
                c = upper(c)
            if not self.is_continuation(c):
                self.column += 1
        return bytes((c,))

    def _newline(self, flags: int, space: int) -> Optional[bytes]:
        if flags & ONLRET:
            self.column = 0
        if flags & ONLCR:
            if space < 2:
                return None
            self.column = self.canon_column = 0
            return b"\r\n"
        self.canon_column = self.column
        return b"\n"

    def _carriage_return(self, flags: int) -> bytes:
        if flags & ONOCR and not self.column:
            return b""
        if not flags & OCRNL:
            self.column = self.canon_column = 0
            return b"\r"
        if flags & ONLRET:
            self.column = self.canon_column = 0
        return b"\n"

    def is_continuation(self, c: int) -> bool:
        """Whether a byte belongs to the character before it."""
        return bool(self.tty.termios.c_iflag & IUTF8) and c & 0xC0 == 0x80

    def back(self) -> None:
        """The cursor goes one column to the left."""
        if self.column > 0:
            self.column -= 1

    # -- notes for the echo ------------------------------------------------------------------------

    def echo_raw(self, c: int) -> None:
        """A character as it is (echo_char_raw)."""
        self.echo_buf += bytes((ECHO_OP_START, ECHO_OP_START) if c == ECHO_OP_START else (c,))

    def echo(self, c: int) -> None:
        """A typed character, controls as ^X with ECHOCTL (echo_char)."""
        if self.tty.termios.c_lflag & ECHOCTL and is_control(c) and c != TAB:
            self.echo_buf += bytes((ECHO_OP_START, c))
        else:
            self.echo_raw(c)

    def echo_operation(self, *codes: int) -> None:
        """One of ECHO_OP_*, and what belongs to it."""
        self.echo_buf += bytes((ECHO_OP_START, *codes))

    def forget_echoes(self) -> None:
        """Nothing of what was noted is shown."""
        self.echo_buf.clear()
        self.mark = self.commit = 0

    # -- echo --------------------------------------------------------------------------------------

    def commit_echoes(self) -> None:
        """A character was dealt with: a whole block of notes goes out at once."""
        self.mark = size = len(self.echo_buf)
        if size >= ECHO_COMMIT_WATERMARK and size % ECHO_BLOCK <= self.commit % ECHO_BLOCK:
            self._show(size)

    def process_echoes(self) -> None:
        """Before anything else is written."""
        if self.mark:
            self._show(self.mark)

    def flush_echoes(self) -> None:
        """Everything that came was looked at."""
        if self.tty.termios.c_lflag & (ECHO | ECHONL) and self.commit != len(self.echo_buf):
            self._show(len(self.echo_buf))

    def _show(self, end: int) -> None:
        """Notes up to `end` go out while there is room; if very many wait, the oldest are lost (__process_echoes)."""
        self.commit = end
        space, out, tail = self.tty.room(), bytearray(), 0
        while tail < end:
            shown = self._noted(tail, space - len(out))
            if shown is None:
                break
            out += shown
            tail += self._size(tail)
        while end - tail >= ECHO_DISCARD_WATERMARK:
            tail += self._size(tail)
        del self.echo_buf[:tail]
        self.mark = max(0, self.mark - tail)
        self.commit = end - tail
        self.tty.send(bytes(out))

    def _size(self, at: int) -> int:
        if self.echo_buf[at] != ECHO_OP_START:
            return 1
        return 3 if self.echo_buf[at + 1] == ECHO_OP_ERASE_TAB else 2

    def _noted(self, at: int, space: int) -> Optional[bytes]:
        c = self.echo_buf[at]
        if c != ECHO_OP_START:
            if self.tty.termios.c_oflag & OPOST:
                return self._char(c, space)
            return bytes((c,)) if space > 0 else None
        op = self.echo_buf[at + 1]
        if op == ECHO_OP_ERASE_TAB:
            return self._erase_tab(self.echo_buf[at + 2], space)
        if op == ECHO_OP_SET_CANON_COL:
            self.canon_column = self.column
            return b""
        if op == ECHO_OP_MOVE_BACK_COL:
            self.back()
            return b""
        shown = bytes((op,)) if op == ECHO_OP_START else bytes((94, op ^ 0x40))
        if len(shown) > space:
            return None
        self.column += len(shown)
        return shown

    def _erase_tab(self, columns: int, space: int) -> Optional[bytes]:
        """Back over a tab; `columns` of characters stand before it in the line, or (0x80) since the last tab."""
        if not columns & 0x80:
            columns += self.canon_column
        back = 8 - (columns & 7)
        if back > space:
            return None
        self.column = max(0, self.column - back)
        return b"\b" * back
