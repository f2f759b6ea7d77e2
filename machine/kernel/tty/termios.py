"""Settings of a terminal: `struct ktermios`, and the forms in which programs see it (asm-generic/termbits.h)."""

from __future__ import annotations

import struct

# Places in c_cc.
VINTR, VQUIT, VERASE, VKILL, VEOF, VTIME, VMIN, VSWTC, VSTART, VSTOP, VSUSP = range(11)
VEOL, VREPRINT, VDISCARD, VWERASE, VLNEXT, VEOL2 = range(11, 17)
NCCS = 19

# c_iflag
IGNBRK, BRKINT, IGNPAR, PARMRK, INPCK, ISTRIP, INLCR, IGNCR = 0x1, 0x2, 0x4, 0x8, 0x10, 0x20, 0x40, 0x80
ICRNL, IUCLC, IXON, IXANY, IXOFF, IMAXBEL, IUTF8 = 0x100, 0x200, 0x400, 0x800, 0x1000, 0x2000, 0x4000
# c_oflag
OPOST, OLCUC, ONLCR, OCRNL, ONOCR, ONLRET = 0x1, 0x2, 0x4, 0x8, 0x10, 0x20
TABDLY = XTABS = 0x1800
# c_cflag
CBAUD, B38400, CSIZE, CS8, CREAD, HUPCL, PARENB, CIBAUD = 0x100F, 0xF, 0x30, 0x30, 0x80, 0x400, 0x100, 0x100F0000
IBSHIFT = 16
# c_lflag
ISIG, ICANON, ECHO, ECHOE, ECHOK, ECHONL, NOFLSH, TOSTOP = 0x1, 0x2, 0x8, 0x10, 0x20, 0x40, 0x80, 0x100
ECHOCTL, ECHOPRT, ECHOKE, FLUSHO, PENDIN, IEXTEN, EXTPROC = 0x200, 0x400, 0x800, 0x1000, 0x4000, 0x8000, 0x10000

_SPEEDS = (0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400)
_FAST = (
    57600, 115200, 230400, 460800, 500000, 576000, 921600, 1000000, 1152000, 1500000, 2000000, 2500000, 3000000,
    3500000, 4000000,
)  # fmt: skip
"""Rates of the codes 0x1001 and above; 0x1000 (BOTHER) stands for the number in the structure."""

TERMIOS = struct.Struct(f"<4IB{NCCS}s")
TERMIOS2 = struct.Struct(f"<4IB{NCCS}s2I")
TERMIO = struct.Struct("<4HB8sx")
INIT_C_CC = bytes((3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0))


def _rate(code: int, given: int) -> int:
    """Bits a second of a baud code (tty_termios_baud_rate)."""
    if code & 0x1000:
        return given if code == 0x1000 else _FAST[min(code & 0xF, len(_FAST)) - 1]
    return _SPEEDS[code & 0xF]


class ktermios:
    """`struct ktermios`; `c_cc` is a bytearray of `NCCS`."""

    __slots__ = ("c_cc", "c_cflag", "c_iflag", "c_ispeed", "c_lflag", "c_line", "c_oflag", "c_ospeed", "locked")

    def __init__(self, iflag: int, oflag: int, cflag: int, lflag: int) -> None:
        self.c_iflag, self.c_oflag, self.c_cflag, self.c_lflag = iflag, oflag, cflag, lflag
        self.c_line = 0
        self.c_cc = bytearray(INIT_C_CC)
        self.c_ispeed = self.c_ospeed = 38400
        self.locked = bytes(TERMIOS.size)
        """Bits of the words that stay as they are, and of each other member whether it does (`termios_locked`)."""

    def flags(self) -> tuple[int, int, int, int, int]:
        """The four words and the number of the line discipline."""
        return self.c_iflag, self.c_oflag, self.c_cflag, self.c_lflag, self.c_line

    def pack(self) -> bytes:
        """TCGETS: 36 bytes."""
        return TERMIOS.pack(*self.flags(), bytes(self.c_cc))

    def pack2(self) -> bytes:
        """TCGETS2: 44 bytes, the speeds as numbers too."""
        return TERMIOS2.pack(*self.flags(), bytes(self.c_cc), self.c_ispeed, self.c_ospeed)

    def pack_old(self) -> bytes:
        """TCGETA: System V's `struct termio`, 18 bytes."""
        return TERMIO.pack(*(word & 0xFFFF for word in self.flags()[:4]), self.c_line, bytes(self.c_cc[:8]))

    def set(self, data: bytes) -> None:
        """TCSETS."""
        *words, cc = TERMIOS.unpack(data)
        self._take(words, cc)
        self.c_ospeed = _rate(self.c_cflag & CBAUD, self.c_ospeed)
        self.c_ispeed = self._input_rate(self.c_ispeed)

    def set2(self, data: bytes) -> None:
        """TCSETS2."""
        *words, cc, ispeed, ospeed = TERMIOS2.unpack(data)
        self._take(words, cc)
        self.c_ospeed = _rate(self.c_cflag & CBAUD, ospeed)
        self.c_ispeed = self._input_rate(ispeed)

    def set_old(self, data: bytes) -> None:
        """TCSETA: only the lower halves of the words and the first eight characters."""
        *words, cc = TERMIO.unpack(data)
        merged = [old & ~0xFFFF | new for old, new in zip(self.flags()[:4], words[:4], strict=True)]
        self._take([*merged, words[4]], cc + bytes(self.c_cc[8:]))

    def _take(self, words: list[int], cc: bytes) -> None:
        *masks, _line, kept = TERMIOS.unpack(self.locked)
        self.c_iflag, self.c_oflag, self.c_cflag, self.c_lflag = (
            new & ~mask | old & mask for new, old, mask in zip(words[:4], self.flags()[:4], masks, strict=True)
        )
        self.c_cc[:] = bytes(old if keep else new for new, old, keep in zip(cc, self.c_cc, kept, strict=True))

    def _input_rate(self, given: int) -> int:
        code = self.c_cflag >> IBSHIFT & CBAUD
        return _rate(code, given) if code else self.c_ospeed


def std_termios() -> ktermios:
    """What a terminal starts with (tty_std_termios, as pty slaves have it)."""
    return ktermios(
        ICRNL | IXON, OPOST | ONLCR, B38400 | CS8 | CREAD,
        ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
    )  # fmt: skip


def raw_termios() -> ktermios:
    """What the master side of a pseudo terminal has."""
    return ktermios(0, 0, B38400 | CS8 | CREAD, 0)
