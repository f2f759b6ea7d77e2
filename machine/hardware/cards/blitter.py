"""The display controller's 2D engine: rectangles of pixels filled and copied in its memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from machine.hardware.cards.display_regs import DisplayRegisters

FILL, COPY = 1, 2


def signed_pair(packed: int) -> tuple[int, int]:
    """(x, y) of two signed 16-bit numbers, x in the low half."""
    return (packed & 0xFFFF ^ 0x8000) - 0x8000, (packed >> 16 & 0xFFFF ^ 0x8000) - 0x8000


class Blitter:
    """Works on `memory`, whose bytes are the card's."""

    def __init__(self, memory: memoryview) -> None:
        self.memory = memory

    def run(self, command: int, regs: DisplayRegisters) -> int:
        """Do `command`; the number of pixels written, -1 when it can't be done (and nothing was written)."""
        if command not in (FILL, COPY) or not 1 <= regs.pixel <= 4:
            return -1
        x, y = signed_pair(regs.dst_xy)
        left, top = signed_pair(regs.clip_first)
        right, bottom = signed_pair(regs.clip_last)
        first_x, first_y = max(x, left), max(y, top)
        width = min(x + (regs.extent & 0xFFFF), right) - first_x
        height = min(y + (regs.extent >> 16), bottom) - first_y
        if width <= 0 or height <= 0:
            return 0
        line, pixel = width * regs.pixel, regs.pixel
        to = regs.dst + first_y * regs.dst_stride + first_x * pixel
        if not self._inside(to, regs.dst_stride, line, height):
            return -1
        if command == FILL:
            self._fill(to, regs.dst_stride, regs.color.to_bytes(4, "little")[:pixel] * width, height)
            return width * height
        src_x, src_y = signed_pair(regs.src_xy)
        at = regs.src + (src_y + first_y - y) * regs.src_stride + (src_x + first_x - x) * pixel
        if not self._inside(at, regs.src_stride, line, height):
            return -1
        self._copy(to, regs.dst_stride, at, regs.src_stride, line, height)
        return width * height

    def _inside(self, at: int, stride: int, line: int, height: int) -> bool:
        return at >= 0 and at + (height - 1) * stride + line <= len(self.memory)

    def _fill(self, to: int, stride: int, line: bytes, height: int) -> None:
        memory, length = self.memory, len(line)
        for _ in range(height):
            memory[to : to + length] = line
            to += stride

    def _copy(self, to: int, to_stride: int, at: int, at_stride: int, line: int, height: int) -> None:
        memory = self.memory
        rows = range(height)
        # From the end when the target is further on: an overlapping copy must not read what it has written.
        for row in reversed(rows) if to > at else rows:
            source, target = at + row * at_stride, to + row * to_stride
            memory[target : target + line] = memory[source : source + line]
