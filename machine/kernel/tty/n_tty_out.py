"""Output and echo of the line discipline: columns, newlines, tabs (drivers/tty/n_tty.c: do_output_char)."""

from __future__ import annotations

from collections.abc import Callable

from machine.kernel.tty.termios import (
    ECHOCTL,
    IUTF8,
    OCRNL,
    OLCUC,
    ONLCR,
    ONLRET,
    ONOCR,
    OPOST,
    TABDLY,
    XTABS,
    ktermios,
)

NL, CR, TAB, BS, BEL = 10, 13, 9, 8, 7


def is_control(c: int) -> bool:
    """iscntrl in the kernel's character set, where 0x80 to 0x9f are controls too."""
    return c < 32 or 127 <= c < 160


class Output:
    """The column where the terminal's cursor must be, and what is written to move it."""

    __slots__ = ("canon_column", "column", "put", "termios")

    def __init__(self, termios: ktermios, put: Callable[[bytes], None]) -> None:
        self.termios = termios
        self.put = put
        """Gives bytes to the other side."""
        self.column = 0
        self.canon_column = 0
        """Where the line that is being edited starts."""

    def process(self, data: bytes) -> bytes:
        """Bytes that a program writes as they go out (OPOST)."""
        if not self.termios.c_oflag & OPOST:
            return data
        return b"".join(map(self._char, data))

    def _char(self, c: int) -> bytes:
        flags = self.termios.c_oflag
        if c == NL:
            if flags & ONLRET:
                self.column = 0
            if flags & ONLCR:
                self.column = self.canon_column = 0
                return b"\r\n"
            self.canon_column = self.column
        elif c == CR:
            if flags & ONOCR and not self.column:
                return b""
            if flags & OCRNL:
                c = NL
                if flags & ONLRET:
                    self.column = self.canon_column = 0
            else:
                self.column = self.canon_column = 0
        elif c == TAB:
            spaces = 8 - (self.column & 7)
            self.column += spaces
            if flags & TABDLY == XTABS:
                return b" " * spaces
        elif c == BS:
            if self.column > 0:
                self.column -= 1
        elif not is_control(c) or (self.termios.c_iflag & IUTF8 and c >= 0x80):
            if flags & OLCUC and 97 <= c <= 122:
                c -= 32
            if not self.is_continuation(c):
                self.column += 1
        return bytes((c,))

    def is_continuation(self, c: int) -> bool:
        """Whether a byte belongs to the character before it."""
        return bool(self.termios.c_iflag & IUTF8) and c & 0xC0 == 0x80

    # -- echo ------------------------------------------------------------------------------------

    def echo_raw(self, c: int) -> None:
        """A typed character as it is."""
        self.put(self.process(bytes((c,))))

    def echo(self, c: int) -> None:
        """A typed character, controls as ^X with ECHOCTL."""
        if self.termios.c_lflag & ECHOCTL and is_control(c) and c not in (TAB, NL) and c < 128:
            self.column += 2
            self.put(bytes((94, c ^ 0x40)))
        else:
            self.echo_raw(c)

    def erase_tab(self, columns: int, after_tab: bool) -> None:
        """Back over a tab; `columns` of characters stand before it in the line, or since the last tab."""
        if not after_tab:
            columns += self.canon_column
        back = 8 - (columns & 7)
        self.column = max(0, self.column - back)
        self.put(b"\b" * back)
