"""The line discipline of terminals: what comes, what a read finds (drivers/tty/n_tty.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.kernel.tty.n_tty_in import DISABLED, Input
from machine.kernel.tty.termios import (
    ECHO,
    EXTPROC,
    ICANON,
    ICRNL,
    IEXTEN,
    IGNCR,
    INLCR,
    ISIG,
    ISTRIP,
    IUCLC,
    IXON,
    PARMRK,
    VEOF,
    VEOL,
    VEOL2,
    VERASE,
    VINTR,
    VKILL,
    VLNEXT,
    VMIN,
    VQUIT,
    VREPRINT,
    VSTART,
    VSTOP,
    VSUSP,
    VTIME,
    VWERASE,
)

if TYPE_CHECKING:
    from machine.kernel.tty.termios import ktermios
    from machine.kernel.tty.tty_io import tty_struct

N_TTY_BUF_SIZE = 4096
FLIP_LIMIT = 8192
"""Bytes that have come and wait for room; then the writer waits (pty_common_install: tty_buffer_set_limit)."""
_LOOKED_AT = ISTRIP | IUCLC | IGNCR | ICRNL | INLCR | IXON | PARMRK
"""In c_iflag: characters are not simply stored."""


class n_tty(Input):
    """`struct n_tty_data` of one side of a terminal."""

    __slots__ = ("commit_head", "flip", "pumping", "raw")

    def __init__(self, tty: tty_struct) -> None:
        super().__init__(tty)
        self.commit_head = 0
        """In raw mode: how much may be read."""
        self.flip = bytearray()
        """What has come and was not looked at yet: the buffer is full."""
        self.pumping = False
        self.raw = True
        self.set_termios(None)

    # -- settings ----------------------------------------------------------------------------------

    def set_termios(self, old: ktermios | None) -> None:
        """The settings were `old` (n_tty_set_termios).  Lines that end by a mark lose it where ICANON changes: what
        was Ctrl-D is a byte of 0 then."""
        termios = self.tty.termios
        if old is None or (old.c_lflag ^ termios.c_lflag) & (ICANON | EXTPROC):
            self.read_flags.clear()
            self.canon_head = 0
            if termios.c_lflag & ICANON and self.read_buf:
                self.canon_head = len(self.read_buf)
                self.read_flags.append(self.taken + self.canon_head - 1)
            self.commit_head = len(self.read_buf)
            self.erasing = self.lnext = False
        self.icanon = bool(termios.c_lflag & ICANON)
        self.raw = not (termios.c_iflag & _LOOKED_AT or termios.c_lflag & (ICANON | ISIG | ECHO))
        if not self.raw:
            self.special = _special_characters(termios)
        if not termios.c_iflag & IXON and old is not None and old.c_iflag & IXON and not self.tty.tco_stopped:
            self.tty.start()
            self.out.process_echoes()
        self.tty.wake()

    # -- state -------------------------------------------------------------------------------------

    def by_lines(self) -> bool:
        """Whether a read gives lines."""
        return self.icanon and not self.tty.termios.c_lflag & EXTPROC

    def readable(self) -> int:
        """Bytes for FIONREAD: whole lines in canonical mode (inq_canon)."""
        if not self.by_lines():
            return len(self.read_buf)
        marks = (at - self.taken for at in self.read_flags)
        return self.canon_head - sum(self.read_buf[at] == DISABLED for at in marks)

    def available(self, poll: bool = False) -> bool:
        """Whether a read would find something; for `poll` in raw mode MIN characters (input_available_p)."""
        if self.by_lines():
            return self.canon_head > 0
        cc = self.tty.termios.c_cc
        return self.commit_head >= (cc[VMIN] if poll and not cc[VTIME] and cc[VMIN] else 1)

    # -- reading -----------------------------------------------------------------------------------

    def take(self, count: int) -> bytes:
        """Up to `count` bytes, in canonical mode of one line; b"" for a Ctrl-D alone."""
        if not count:
            return b""
        return self._take_line(count) if self.by_lines() else self._take_raw(count)

    def more(self) -> bool:
        """In raw mode: whether there is more to be read at once."""
        return not self.by_lines() and self.commit_head > 0

    def _take_raw(self, count: int) -> bytes:
        """copy_from_read_buf; with EXTPROC a Ctrl-D that is all there is ends the file."""
        data = bytes(self.read_buf[: min(count, self.commit_head)])
        self._gone(len(data))
        termios = self.tty.termios
        if termios.c_lflag & EXTPROC and self.icanon and data == bytes((termios.c_cc[VEOF],)) and not self.commit_head:
            return b""
        return data

    def _take_line(self, count: int) -> bytes:
        """canon_copy_from_read_buf; the mark of Ctrl-D goes with its line, even if that just fits (canon_skip_eof)."""
        size = min(count, self.canon_head)
        end = self.read_flags[0] - self.taken if self.read_flags else size
        if end >= size:
            data = bytes(self.read_buf[:size])
            self._gone(size)
            if self.read_flags and end == size and self.read_buf[0] == DISABLED:
                self.read_flags.popleft()
                self._gone(1)
            return data
        self.read_flags.popleft()
        data = bytes(self.read_buf[: end + (self.read_buf[end] != DISABLED)])
        self._gone(end + 1)
        return data

    def _gone(self, count: int) -> None:
        del self.read_buf[:count]
        self.taken += count
        self.canon_head -= count
        self.commit_head = max(0, self.commit_head - count)

    def unread(self, data: bytes) -> None:
        """Put back what a reader's memory could not take, a line of its own where lines are read."""
        self.read_buf[:0] = data
        self.taken -= len(data)
        self.canon_head += len(data)
        self.commit_head += len(data)
        if self.by_lines():
            self.read_flags.appendleft(self.taken + len(data) - 1)

    # -- what comes --------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Characters come from the other side.  Those that it echoes are looked at when it has looked at all that it
        got: until then a signal's key throws them away (flush_to_ldisc, a work on its own)."""
        if data:
            self.flip += data
            if not self.tty.link.ldisc.pumping:
                self.pump()

    def flip_room(self) -> int:
        """How much may come until the writer has to wait."""
        return max(0, FLIP_LIMIT - len(self.flip))

    def flush_unseen(self) -> None:
        """Forget what has come and found no room (tty_buffer_flush)."""
        self.flip.clear()

    def reset_buffer(self) -> None:
        """Forget what was looked at and not read."""
        super().reset_buffer()
        self.commit_head = 0

    def pump(self) -> None:
        """Look at what has come, as far as there is room (n_tty_receive_buf_common)."""
        if not self.flip or self.pumping:
            return
        self.pumping = True
        try:
            while data := bytes(self.flip[: self._room()]):
                del self.flip[: len(data)]
                self._receive(data)
        finally:
            self.pumping = False
        self.tty.link.ldisc.pump()

    def _room(self) -> int:
        """How many to look at now.  Of a line that is too long the next ones one by one: only what ends or shortens it
        counts."""
        room = N_TTY_BUF_SIZE - len(self.read_buf)
        if self.tty.termios.c_iflag & PARMRK:
            room = -(-room // 3)
        if room > 1:
            return room - 1
        overflow = self.icanon and not self.canon_head
        if overflow and room < 1:
            self.read_buf.pop()
        return int(overflow)

    def _receive(self, data: bytes) -> None:
        """__receive_buf."""
        termios = self.tty.termios
        changes = termios.c_iflag & ISTRIP or (termios.c_iflag & IUCLC and termios.c_lflag & IEXTEN)
        if self.raw or (termios.c_lflag & EXTPROC and not changes):
            self.read_buf += data
        else:
            self.receive_standard(data)
        if self.by_lines():
            return
        self.commit_head = len(self.read_buf)
        if self.read_buf:
            self.tty.wake_readers()


def _special_characters(termios: ktermios) -> frozenset[int]:
    """Characters that are more than themselves (char_map)."""
    iflag, lflag, cc = termios.c_iflag, termios.c_lflag, termios.c_cc
    keys: list[int] = []
    found: set[int] = set()
    if iflag & (IGNCR | ICRNL):
        found.add(13)
    if iflag & INLCR:
        found.add(10)
    if lflag & ICANON:
        found.add(10)
        keys += [VERASE, VKILL, VEOF, VEOL]
        if lflag & IEXTEN:
            keys += [VWERASE, VLNEXT, VEOL2, *([VREPRINT] if lflag & ECHO else [])]
    if iflag & IXON:
        keys += [VSTART, VSTOP]
    if lflag & ISIG:
        keys += [VINTR, VQUIT, VSUSP]
    return frozenset(found | {cc[key] for key in keys}) - {DISABLED}
