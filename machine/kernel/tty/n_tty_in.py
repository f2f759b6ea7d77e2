"""What a typed character does (drivers/tty/n_tty.c: n_tty_receive_char and what it calls)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from machine.kernel.abi.signal import SIGINT, SIGQUIT, SIGTSTP
from machine.kernel.tty.n_tty_out import (
    BS,
    CR,
    ECHO_OP_ERASE_TAB,
    ECHO_OP_MOVE_BACK_COL,
    ECHO_OP_SET_CANON_COL,
    NL,
    TAB,
    Output,
    is_alnum,
    is_control,
    lower,
)
from machine.kernel.tty.termios import (
    ECHO,
    ECHOCTL,
    ECHOE,
    ECHOK,
    ECHOKE,
    ECHONL,
    ECHOPRT,
    EXTPROC,
    ICRNL,
    IEXTEN,
    IGNCR,
    INLCR,
    ISIG,
    ISTRIP,
    IUCLC,
    IXANY,
    IXON,
    NOFLSH,
    PARMRK,
    VEOF,
    VEOL,
    VEOL2,
    VERASE,
    VINTR,
    VKILL,
    VLNEXT,
    VQUIT,
    VREPRINT,
    VSTART,
    VSTOP,
    VSUSP,
    VWERASE,
)

if TYPE_CHECKING:
    from machine.kernel.tty.tty_io import tty_struct

DISABLED = 0
"""__DISABLED_CHAR: a key that is switched off; in the buffer, marked as the end of a line, it is Ctrl-D."""
SIGNAL_KEYS = ((VINTR, SIGINT), (VQUIT, SIGQUIT), (VSUSP, SIGTSTP))


class Input:
    """The buffer of `struct n_tty_data` and the keys that change it.  Places are counted from the first byte that was
    not read yet (read_tail)."""

    __slots__ = ("canon_head", "erasing", "icanon", "lnext", "out", "read_buf", "read_flags", "special", "taken", "tty")

    def __init__(self, tty: tty_struct) -> None:
        self.tty = tty
        self.out = Output(tty)
        self.read_buf = bytearray()
        """From read_tail to read_head."""
        self.canon_head = 0
        """Where the line begins that can still be edited."""
        self.read_flags: deque[int] = deque()
        """The bytes that end a line, counted from the first one that ever came."""
        self.taken = 0
        """How many bytes were read, or thrown away, so far."""
        self.lnext = False
        """Ctrl-V: the next character is only that."""
        self.erasing = False
        """Within the \\.../ of ECHOPRT."""
        self.icanon = False
        self.special: frozenset[int] = frozenset()
        """char_map: characters that are looked at."""

    # -- characters --------------------------------------------------------------------------------

    def receive_standard(self, data: bytes) -> None:
        """n_tty_receive_buf_standard."""
        termios = self.tty.termios
        iflag, lflag = termios.c_iflag, termios.c_lflag
        for c in data:
            if iflag & ISTRIP:
                c &= 0x7F
            if iflag & IUCLC and lflag & IEXTEN:
                c = lower(c)
            if self.lnext:
                self.lnext = False
                self._any_key()
                self._ordinary(c)
            elif lflag & EXTPROC:
                self.read_buf.append(c)
            elif c in self.special:
                self._special(c)
            else:
                self._any_key()
                self._ordinary(c)
        self.out.flush_echoes()

    def _any_key(self) -> None:
        """IXANY: every key goes on after Ctrl-S, not after tcflow(TCOOFF)."""
        tty = self.tty
        if tty.flow_stopped and not tty.tco_stopped and tty.termios.c_iflag & (IXON | IXANY) == IXON | IXANY:
            tty.start()
            self.out.process_echoes()

    def _ordinary(self, c: int, newline: bool = False) -> None:
        """`newline`: the next line is echoed as one, not as a control character."""
        if self.tty.termios.c_lflag & ECHO:
            self._finish_erasing()
            if newline and c == NL:
                self.out.echo_raw(NL)
            else:
                self._begin_line()
                self.out.echo(c)
            self.out.commit_echoes()
        self._queue(c)

    def _queue(self, c: int) -> None:
        if c == 0xFF and self.tty.termios.c_iflag & PARMRK:
            self.read_buf.append(c)
        self.read_buf.append(c)

    def _begin_line(self) -> None:
        if self.canon_head == len(self.read_buf):
            self.out.echo_operation(ECHO_OP_SET_CANON_COL)

    def _special(self, c: int) -> None:
        """n_tty_receive_char_special."""
        termios = self.tty.termios
        iflag, lflag, cc = termios.c_iflag, termios.c_lflag, termios.c_cc
        if iflag & IXON and c in (cc[VSTART], cc[VSTOP]):
            if c == cc[VSTART]:
                self.tty.start()
                self.out.process_echoes()
            else:
                self.tty.stop()
            return
        if lflag & ISIG:
            for key, signo in SIGNAL_KEYS:
                if c == cc[key]:
                    self._signal(signo, c)
                    return
        self._any_key()
        if c == CR:
            if iflag & IGNCR:
                return
            if iflag & ICRNL:
                c = NL
        elif c == NL and iflag & INLCR:
            c = CR
        if not (self.icanon and self._canonical(c)):
            self._ordinary(c, newline=True)

    def _signal(self, signo: int, c: int) -> None:
        """Ctrl-C, Ctrl-\\, Ctrl-Z: what waits on either side goes, unless NOFLSH (isig)."""
        tty = self.tty
        tty.signal_foreground(signo)
        if not tty.termios.c_lflag & NOFLSH:
            self.out.forget_echoes()
            tty.flush_output()
            self.reset_buffer()
        if tty.termios.c_iflag & IXON:
            tty.start()
        if tty.termios.c_lflag & ECHO:
            self.out.echo(c)
            self.out.commit_echoes()
        else:
            self.out.process_echoes()

    def reset_buffer(self) -> None:
        """Forget what has come (reset_buffer_flags)."""
        self.taken += len(self.read_buf)
        self.read_buf.clear()
        self.read_flags.clear()
        self.canon_head = 0
        self.erasing = False
        self.tty.tell_flushed()

    # -- lines -------------------------------------------------------------------------------------

    def _canonical(self, c: int) -> bool:
        """A character that edits or ends the line; False for any other (n_tty_receive_char_canon)."""
        lflag, cc = self.tty.termios.c_lflag, self.tty.termios.c_cc
        extended = bool(lflag & IEXTEN)
        if c in (cc[VERASE], cc[VKILL]) or (c == cc[VWERASE] and extended):
            self._erase(c)
            self.out.commit_echoes()
        elif c == cc[VLNEXT] and extended:
            self._next_literally(lflag)
        elif c == cc[VREPRINT] and lflag & ECHO and extended:
            self._reprint(c)
        elif c == NL:
            if lflag & (ECHO | ECHONL):
                self.out.echo_raw(NL)
                self.out.commit_echoes()
            self._end_line(NL)
        elif c == cc[VEOF]:
            self._end_line(DISABLED)
        elif c == cc[VEOL] or (c == cc[VEOL2] and extended):
            if lflag & ECHO:
                self._begin_line()
                self.out.echo(c)
                self.out.commit_echoes()
            if c == 0xFF and self.tty.termios.c_iflag & PARMRK:
                self.read_buf.append(c)
            self._end_line(c)
        else:
            return False
        return True

    def _end_line(self, c: int) -> None:
        self.read_flags.append(self.taken + len(self.read_buf))
        self.read_buf.append(c)
        self.canon_head = len(self.read_buf)
        self.tty.wake_readers()

    def _next_literally(self, lflag: int) -> None:
        self.lnext = True
        if lflag & ECHO:
            self._finish_erasing()
            if lflag & ECHOCTL:
                self.out.echo_raw(94)
                self.out.echo_raw(BS)
                self.out.commit_echoes()

    def _reprint(self, c: int) -> None:
        self._finish_erasing()
        self.out.echo(c)
        self.out.echo_raw(NL)
        for each in self.read_buf[self.canon_head :]:
            self.out.echo(each)
        self.out.commit_echoes()

    # -- erasing -----------------------------------------------------------------------------------

    def _finish_erasing(self) -> None:
        if self.erasing:
            self.out.echo_raw(47)
            self.erasing = False

    def _erase(self, key: int) -> None:
        """Ctrl-H, Ctrl-W or Ctrl-U: take characters of the unfinished line back (eraser)."""
        lflag, cc = self.tty.termios.c_lflag, self.tty.termios.c_cc
        if len(self.read_buf) == self.canon_head:
            return
        if key == cc[VERASE]:
            self._erase_one(VERASE)
        elif key == cc[VWERASE]:
            self._erase_word()
        elif not lflag & ECHO:
            del self.read_buf[self.canon_head :]
        elif lflag & (ECHOK | ECHOKE | ECHOE) != ECHOK | ECHOKE | ECHOE:
            del self.read_buf[self.canon_head :]
            self._finish_erasing()
            self.out.echo(cc[VKILL])
            if lflag & ECHOK:
                self.out.echo_raw(NL)
            return
        else:
            while self._erase_one(VKILL):
                pass
        if len(self.read_buf) == self.canon_head and lflag & ECHO:
            self._finish_erasing()

    def _erase_word(self) -> None:
        in_word = False
        while len(self.read_buf) > self.canon_head:
            c = self.read_buf[self._last()]
            if is_alnum(c) or c == 95:
                in_word = True
            elif in_word:
                break
            if not self._erase_one(VWERASE):
                break

    def _last(self) -> int:
        """Where the last character of the line begins: before the bytes that continue it."""
        start = len(self.read_buf) - 1
        while start > self.canon_head and self.out.is_continuation(self.read_buf[start]):
            start -= 1
        return start

    def _erase_one(self, key: int) -> bool:
        """The last character; False where there is none, or only the rest of one."""
        if len(self.read_buf) == self.canon_head:
            return False
        start = self._last()
        c = self.read_buf[start]
        if self.out.is_continuation(c):
            return False
        gone = bytes(self.read_buf[start:])
        del self.read_buf[start:]
        if self.tty.termios.c_lflag & ECHO:
            self._show_erased(key, c, gone)
        return True

    def _show_erased(self, key: int, c: int, gone: bytes) -> None:
        lflag, cc = self.tty.termios.c_lflag, self.tty.termios.c_cc
        if lflag & ECHOPRT:
            if not self.erasing:
                self.out.echo_raw(92)
                self.erasing = True
            self.out.echo(c)
            for each in gone[1:]:
                self.out.echo_raw(each)
                self.out.echo_operation(ECHO_OP_MOVE_BACK_COL)
        elif key == VERASE and not lflag & ECHOE:
            self.out.echo(cc[VERASE])
        elif c == TAB:
            self._erase_tab()
        else:
            if is_control(c) and lflag & ECHOCTL:
                self._back()
            if not is_control(c) or lflag & ECHOCTL:
                self._back()

    def _back(self) -> None:
        for c in (BS, 32, BS):
            self.out.echo_raw(c)

    def _erase_tab(self) -> None:
        columns, after_tab = 0, 0
        for c in reversed(self.read_buf[self.canon_head :]):
            if c == TAB:
                after_tab = 0x80
                break
            if is_control(c):
                columns += 2 if self.tty.termios.c_lflag & ECHOCTL else 0
            elif not self.out.is_continuation(c):
                columns += 1
        self.out.echo_operation(ECHO_OP_ERASE_TAB, columns & 7 | after_tab)
