"""The registers of the display controller, 64 KiB: mode, palette, vertical blank, and a 2D engine over its memory.

Everything is 32 bits wide and little-endian; accesses of 2 or 8 bytes are cut along the registers.

======= ============ ==================================================================================================
0x000   id           "nopg"
0x004   version      1
0x008   memory       bytes of frame buffer memory
0x010   control      0 on, 1 blanked (the picture is black; blank interrupts go on)
0x014   width        pixels, of the picture that is shown
0x018   height       lines
0x01c   depth        bits a pixel: 8 (palette), 15 (5:5:5), 16 (5:6:5), 24 and 32 (8:8:8, blue in the lowest byte)
0x020   stride       bytes from one line to the next
0x024   start        byte of the memory where the picture begins
0x028   refresh      pictures in 1,000 seconds, 1,000,000 at most
0x030   status       0 the engine is busy, 1 in the vertical blank, 2 the mode can be shown
0x034   irq_enable   0 vertical blank, 1 the engine is done, 2 engine error: which of irq_status pull the interrupt
0x038   irq_status   the same bits; written as 1 they are cleared.  An engine error is a command that the engine did not
                     take: it was busy, or the rectangle is not in the memory
0x03c   frame        vertical blanks since the controller was switched on
0x100 - 0x138        the engine, see below
0x400 - 0x7ff        palette[256], 0x00RRGGBB
======= ============ ==================================================================================================

The engine fills and copies rectangles of pixels.  `dst` and `src` are surfaces: the byte of their first pixel, and
bytes a line.  Coordinates are two signed 16-bit numbers, x in the low half; sizes are two unsigned ones, width in the
low half.  What lies outside the clip rectangle (its last corner is outside) is left alone.  A copy may overlap itself.
Writing `command` starts: 1 fill with `color`, 2 copy.  It takes a microsecond, and a nanosecond a pixel; the pixels are
in memory when it starts.
"""

from __future__ import annotations

from typing import NamedTuple, Optional

from machine.hardware.cards.blitter import Blitter
from machine.hardware.registers import Field, Reg, RegArray, RegisterBlock

IRQ_VBLANK, IRQ_ENGINE, IRQ_ERROR = 1, 2, 4
BUSY, IN_VBLANK, MODE_OK = 1, 2, 4
DEPTHS = {8: 1, 15: 2, 16: 2, 24: 3, 32: 4}
"""Bytes a pixel of each depth."""
MAX_REFRESH = 1_000_000
"""A thousand pictures a second: what a program asks for beyond that would leave it no time to run."""
BLANK_PART = 20
"""The vertical blank is the first 20th of a picture's time."""

_IRQS = {"vblank": Field(0), "engine": Field(1), "error": Field(2)}


class Mode(NamedTuple):
    """What the controller shows."""

    width: int
    height: int
    depth: int
    stride: int
    start: int


class DisplayRegisters(RegisterBlock):
    """The block; `memory` is the card's frame buffer."""

    name = "display"
    size = 0x10000

    id = Reg(0x000, access="ro", reset=int.from_bytes(b"nopg", "little"))
    version = Reg(0x004, access="ro", reset=1)
    memory_size = Reg(0x008, access="ro")
    control = Reg(0x010, fields={"on": Field(0), "blank": Field(1)})
    width = Reg(0x014)
    height = Reg(0x018)
    depth = Reg(0x01C)
    stride = Reg(0x020)
    start = Reg(0x024)
    refresh = Reg(0x028, reset=60_000)
    status = Reg(0x030, access="ro", fields={"busy": Field(0), "vblank": Field(1), "mode_ok": Field(2)})
    irq_enable = Reg(0x034, fields=_IRQS)
    irq_status = Reg(0x038, access="w1c", fields=_IRQS)
    frame = Reg(0x03C, access="ro")

    dst = Reg(0x100, doc="byte of the target's first pixel")
    dst_stride = Reg(0x104)
    src = Reg(0x108)
    src_stride = Reg(0x10C)
    pixel = Reg(0x110, reset=4, doc="bytes a pixel: 1, 2, 3, 4")
    color = Reg(0x114)
    clip_first = Reg(0x118)
    clip_last = Reg(0x11C, reset=0x7FFF_7FFF)
    dst_xy = Reg(0x120)
    src_xy = Reg(0x124)
    extent = Reg(0x128, doc="width and height")
    command = Reg(0x138, access="wo")

    palette = RegArray(0x400, 256)

    def __init__(self, memory: memoryview) -> None:
        self.memory = memory
        self.blitter = Blitter(memory)
        self._on_since = 0
        self._busy_until = 0
        self._ticking = False
        super().__init__()

    def reset(self) -> None:
        """Power-on: nothing is shown; the memory keeps what it had."""
        super().reset()
        self.memory_size = len(self.memory)
        self._busy_until = 0

    # -- the picture -------------------------------------------------------------------------------

    @property
    def mode(self) -> Optional[Mode]:
        """What is shown; None while the controller is off, or its registers make no mode."""
        width, height, depth = self.width, self.height, self.depth
        if not self.control & 1 or depth not in DEPTHS or not width or not height:
            return None
        line = width * DEPTHS[depth]
        if self.stride < line or self.start + (height - 1) * self.stride + line > len(self.memory):
            return None
        return Mode(width, height, depth, self.stride, self.start)

    def picture(self) -> Optional[tuple[int, int, bytes]]:
        """(width, height, pixels): red, green and blue, a byte each, line after line; None while nothing is shown."""
        mode = self.mode
        if mode is None:
            return None
        from machine.hardware.cards.scanout import rgb

        if self.control & 2:
            return mode.width, mode.height, bytes(3 * mode.width * mode.height)
        return mode.width, mode.height, rgb(self.memory, mode, self.palette[:])

    def visible(self) -> Optional[tuple[object, ...]]:
        """What the picture depends on, quicker to get and to compare than the picture; None while nothing is shown."""
        mode = self.mode
        if mode is None:
            return None
        if self.control & 2:
            return mode[:2]
        shown = self.memory[mode.start : mode.start + mode.height * mode.stride]
        return mode, self.palette[:] if mode.depth == 8 else None, bytes(shown)

    # -- time --------------------------------------------------------------------------------------

    def _period(self) -> int:
        return 10**12 // max(1, min(self.refresh, MAX_REFRESH))

    def write_control(self, value: int) -> None:
        """Switching on starts the counting of pictures."""
        if value & 1 and not self._on_since:
            self._on_since = self.now() + 1
        elif not value & 1:
            self._on_since = 0
        self._tick_later()

    def read_frame(self) -> int:
        """Counted from the clock: nothing has to run for it."""
        return (self.now() + 1 - self._on_since) // self._period() if self._on_since else 0

    def read_status(self) -> int:
        """Computed when it is asked for."""
        status = BUSY if self.now() < self._busy_until else 0
        if self._on_since and (self.now() + 1 - self._on_since) % self._period() < self._period() // BLANK_PART:
            status |= IN_VBLANK
        return status | (MODE_OK if self.mode is not None else 0)

    def _tick_later(self) -> None:
        """See to an interrupt at the next vertical blank, if anybody wants it and there will be one."""
        if self._ticking or not self.irq_enable & IRQ_VBLANK or not self._on_since:
            return
        self._ticking = True
        period = self._period()
        self.call_later(period - (self.now() + 1 - self._on_since) % period, self._vblank)

    def _vblank(self) -> None:
        self._ticking = False
        if self._on_since and self.irq_enable & IRQ_VBLANK:
            self._interrupt(IRQ_VBLANK)
            self._tick_later()

    # -- interrupts ----------------------------------------------------------------------------------

    def _interrupt(self, bits: int) -> None:
        self.irq_status |= bits
        self._drive()

    def _drive(self) -> None:
        if self.irq_status & self.irq_enable:
            self.hold_irq()
        else:
            self.lower_irq()

    def write_irq_enable(self, value: int) -> None:
        """Bits that are set already interrupt at once."""
        self._drive()
        self._tick_later()

    def write_irq_status(self, value: int) -> None:
        """Acknowledged."""
        self._drive()

    # -- the engine ------------------------------------------------------------------------------------

    def write_command(self, value: int) -> None:
        """Start; an error while the engine is busy, for no command, and for a rectangle outside the memory."""
        self.command = 0
        pixels = -1
        if self.now() >= self._busy_until:
            pixels = self.blitter.run(value, self)
        if pixels < 0:
            self._interrupt(IRQ_ERROR)
            return
        takes = 1000 + pixels
        self._busy_until = self.now() + takes
        self.call_later(takes, lambda: self._interrupt(IRQ_ENGINE))
