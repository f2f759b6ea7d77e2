"""The line discipline of terminals: what a typed character does, and what a read finds (drivers/tty/n_tty.c).

Two stores: `lines`, complete in canonical mode, each with the mark whether Ctrl-D ended it; and `edit`, the line
that can still be edited, or, in raw mode, all that has come.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from machine.kernel.abi.signal import SIGINT, SIGQUIT, SIGTSTP
from machine.kernel.tty.n_tty_out import BEL, BS, CR, NL, TAB, Output, is_control
from machine.kernel.tty.termios import (
    ECHO,
    ECHOCTL,
    ECHOE,
    ECHOK,
    ECHOKE,
    ECHONL,
    ECHOPRT,
    ICANON,
    ICRNL,
    IEXTEN,
    IGNCR,
    IMAXBEL,
    INLCR,
    ISIG,
    ISTRIP,
    IUCLC,
    IXANY,
    IXON,
    NOFLSH,
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
    from machine.kernel.tty.tty_io import tty_struct

N_TTY_BUF_SIZE = 4096
SIGNAL_KEYS = ((VINTR, SIGINT), (VQUIT, SIGQUIT), (VSUSP, SIGTSTP))


class n_tty:
    """`struct n_tty_data` of one terminal."""

    __slots__ = ("edit", "erasing", "flip", "lines", "lnext", "out", "tty")

    def __init__(self, tty: tty_struct) -> None:
        self.tty = tty
        self.out = Output(tty.termios, tty.to_other_side)
        self.lines: deque[tuple[bytearray, bool]] = deque()
        self.edit = bytearray()
        self.flip: deque[int] = deque()
        """Input that has come and was not looked at yet: the buffer is full."""
        self.lnext = False
        """Ctrl-V: the next character is only that."""
        self.erasing = False
        """Within the \\.../ of ECHOPRT."""

    # -- state -----------------------------------------------------------------------------------

    def held(self) -> int:
        """Bytes in the buffer, marks of Ctrl-D included."""
        return len(self.edit) + sum(len(line) + eof for line, eof in self.lines)

    def readable(self) -> int:
        """Bytes for FIONREAD: whole lines in canonical mode (inq_canon)."""
        return sum(len(line) for line, _ in self.lines) + (0 if self.tty.termios.c_lflag & ICANON else len(self.edit))

    def available(self, poll: bool = False) -> bool:
        """Whether a read would find something; for `poll` in raw mode MIN characters (input_available_p)."""
        termios = self.tty.termios
        if self.lines:
            return True
        if termios.c_lflag & ICANON:
            return False
        wanted = termios.c_cc[VMIN] if poll and not termios.c_cc[VTIME] and termios.c_cc[VMIN] else 1
        return len(self.edit) >= wanted

    def mode_changed(self, old_lflag: int) -> None:
        """TCSETS has switched ICANON: what is there stays readable (n_tty_set_termios)."""
        new = self.tty.termios.c_lflag
        if (old_lflag ^ new) & ICANON:
            if new & ICANON:
                if self.edit:
                    self.lines.append((self.edit, False))
                    self.edit = bytearray()
            else:
                self.edit = bytearray().join([*(line for line, _ in self.lines), self.edit])
                self.lines.clear()
            self.lnext = self.erasing = False

    def flush(self, unseen: bool = True) -> None:
        """Forget all input, but for a key only what was typed before it (n_tty_flush_buffer)."""
        self.lines.clear()
        self.edit.clear()
        if unseen:
            self.flip.clear()
        self.lnext = self.erasing = False

    # -- reading -----------------------------------------------------------------------------------

    def take(self, count: int) -> bytes:
        """Up to `count` bytes, one line at most in canonical mode; b"" for a Ctrl-D alone."""
        if not self.lines:
            data = bytes(self.edit[:count])
            del self.edit[:count]
        else:
            line = self.lines[0][0]
            data = bytes(line[:count])
            del line[:count]
            if not line:  # the mark of Ctrl-D goes with its line
                self.lines.popleft()
        self.pump()
        return data

    # -- typing ------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Characters come from the other side (n_tty_receive_buf)."""
        if self.tty.is_master:  # nothing is special there, and who writes has asked for room
            self.edit += data
            self.tty.wake_readers()
            return
        self.flip.extend(data)
        self.pump()

    def pump(self) -> None:
        """Look at what has come, as far as there is room; a line that is too long loses what follows."""
        flip = self.flip
        while flip:
            if self.held() >= N_TTY_BUF_SIZE - 1:
                if not self.tty.termios.c_lflag & ICANON or self.lines:
                    return
                self._receive_over(flip.popleft())
            else:
                self._receive(flip.popleft())

    def _receive_over(self, c: int) -> None:
        """The buffer holds one unfinished line and is full: only what ends or shortens it counts."""
        cc = self.tty.termios.c_cc
        special = (cc[VINTR], cc[VQUIT], cc[VSUSP], cc[VERASE], cc[VKILL], cc[VEOF], cc[VWERASE], NL, CR)
        if c and c in special:
            self._receive(c)
        elif self.tty.termios.c_iflag & IMAXBEL:
            self.tty.to_other_side(bytes((BEL,)))

    def _receive(self, c: int) -> None:
        termios = self.tty.termios
        iflag, lflag, cc = termios.c_iflag, termios.c_lflag, termios.c_cc
        if iflag & ISTRIP:
            c &= 0x7F
        if iflag & IUCLC and lflag & IEXTEN and 65 <= c <= 90:
            c += 32
        if self.lnext:
            self.lnext = False
            self._store(c)
            return
        if iflag & IXON and c:
            if c == cc[VSTART]:
                self.tty.start()
                return
            if c == cc[VSTOP]:
                self.tty.stop()
                return
        if lflag & ISIG and c:
            for key, signo in SIGNAL_KEYS:
                if c == cc[key]:
                    self._signal(signo, c)
                    return
        if iflag & IXON and iflag & IXANY and self.tty.flow_stopped:
            self.tty.start()
        if c == CR:
            if iflag & IGNCR:
                return
            if iflag & ICRNL:
                c = NL
        elif c == NL and iflag & INLCR:
            c = CR
        if not (lflag & ICANON and self._canonical(c)):
            self._store(c)

    def _signal(self, signo: int, c: int) -> None:
        """Ctrl-C, Ctrl-\\, Ctrl-Z: what waits on either side goes, unless NOFLSH (isig)."""
        tty = self.tty
        tty.signal_foreground(signo)
        if not tty.termios.c_lflag & NOFLSH:
            self.flush(unseen=False)
            tty.flush_output()
        if tty.termios.c_iflag & IXON:
            tty.start()
        if tty.termios.c_lflag & ECHO:
            self.out.echo(c)

    def _store(self, c: int) -> None:
        """An ordinary character (n_tty_receive_char)."""
        if self.tty.termios.c_lflag & ECHO:
            self._finish_erasing()
            if c == NL:
                self.out.echo_raw(NL)
            else:
                self._start_of_line()
                self.out.echo(c)
        self.edit.append(c)
        self.tty.wake_readers()

    def _start_of_line(self) -> None:
        if not self.edit:
            self.out.canon_column = self.out.column

    def _canonical(self, c: int) -> bool:
        """A character that edits or ends the line; False for any other."""
        termios = self.tty.termios
        lflag, cc = termios.c_lflag, termios.c_cc
        extended = bool(lflag & IEXTEN)
        if c == NL:
            if lflag & (ECHO | ECHONL):
                self.out.echo_raw(NL)
            self._end_line(bytes((NL,)), False)
        elif not c:
            return False
        elif c in (cc[VERASE], cc[VKILL]) or (c == cc[VWERASE] and extended):
            self._erase(c)
        elif c == cc[VLNEXT] and extended:
            self.lnext = True
            if lflag & ECHO:
                self._finish_erasing()
                if lflag & ECHOCTL:
                    self.out.put(b"^\b")
        elif c == cc[VREPRINT] and lflag & ECHO and extended:
            self._reprint(c)
        elif c == cc[VEOF]:
            self._end_line(b"", True)
        elif c == cc[VEOL] or (c == cc[VEOL2] and extended):
            if lflag & ECHO:
                self._start_of_line()
                self.out.echo(c)
            self._end_line(bytes((c,)), False)
        else:
            return False
        return True

    def _end_line(self, end: bytes, eof: bool) -> None:
        self.lines.append((self.edit + end, eof))
        self.edit = bytearray()
        self.tty.wake_readers()

    def _reprint(self, c: int) -> None:
        self._finish_erasing()
        self.out.echo(c)
        self.out.echo_raw(NL)
        for each in self.edit:
            self.out.echo(each)

    # -- erasing -----------------------------------------------------------------------------------

    def _finish_erasing(self) -> None:
        if self.erasing:
            self.out.put(b"/")
            self.out.column += 1
            self.erasing = False

    def _erase(self, key: int) -> None:
        """Ctrl-H, Ctrl-W or Ctrl-U: take characters of the unfinished line back (eraser)."""
        termios = self.tty.termios
        lflag, cc = termios.c_lflag, termios.c_cc
        if not self.edit:
            return
        if key == cc[VKILL]:
            if not lflag & ECHO:
                self.edit.clear()
                return
            if lflag & (ECHOK | ECHOKE | ECHOE) != ECHOK | ECHOKE | ECHOE:
                self.edit.clear()
                self._finish_erasing()
                self.out.echo(key)
                if lflag & ECHOK:
                    self.out.echo_raw(NL)
                return
        in_word = False
        while self.edit:
            start = len(self.edit) - 1
            while start > 0 and self.out.is_continuation(self.edit[start]):
                start -= 1
            c = self.edit[start]
            if key == cc[VWERASE]:
                if c == 95 or chr(c).isalnum():
                    in_word = True
                elif in_word:
                    break
            gone = bytes(self.edit[start:])
            del self.edit[start:]
            if lflag & ECHO:
                self._show_erased(key, c, gone)
            if key == cc[VERASE]:
                break
        if not self.edit and lflag & ECHO:
            self._finish_erasing()

    def _show_erased(self, key: int, c: int, gone: bytes) -> None:
        lflag, cc = self.tty.termios.c_lflag, self.tty.termios.c_cc
        if lflag & ECHOPRT:
            if not self.erasing:
                self.out.put(b"\\")
                self.out.column += 1
                self.erasing = True
            self.out.echo(c)
            self.out.put(gone[1:])
        elif key == cc[VERASE] and not lflag & ECHOE:
            self.out.echo(cc[VERASE])
        elif c == TAB:
            self._erase_tab()
        else:
            if is_control(c) and c < 128 and lflag & ECHOCTL:
                self._back()
            if not (is_control(c) and c < 128) or lflag & ECHOCTL:
                self._back()

    def _back(self) -> None:
        for c in (BS, 32, BS):
            self.out.echo_raw(c)

    def _erase_tab(self) -> None:
        columns, after_tab = 0, False
        for c in reversed(self.edit):
            if c == TAB:
                after_tab = True
                break
            if is_control(c) and c < 128:
                columns += 2 if self.tty.termios.c_lflag & ECHOCTL else 0
            elif not self.out.is_continuation(c):
                columns += 1
        self.out.erase_tab(columns, after_tab)
