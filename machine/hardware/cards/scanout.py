"""What a display shows: frame buffer memory turned into red, green and blue.  Loaded by who wants a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy

if TYPE_CHECKING:
    from machine.hardware.cards.display_regs import Mode

_BITS = {15: ((10, 5), (5, 5), (0, 5)), 16: ((11, 5), (5, 6), (0, 5))}
"""(lowest bit, bits) of red, green and blue."""


def rgb(memory: memoryview, mode: Mode, palette: Sequence[int]) -> bytes:
    """``3 * width * height`` bytes.  Colours of fewer than 8 bits are stretched so that all ones are white."""
    pixel = (mode.depth + 7) // 8
    span = memory[mode.start : mode.start + (mode.height - 1) * mode.stride + mode.width * pixel]
    raw = numpy.frombuffer(span, dtype=numpy.uint8)
    lines: Any = numpy.lib.stride_tricks.as_strided(
        raw, (mode.height, mode.width * pixel), (mode.stride, 1), writeable=False
    )
    if mode.depth == 8:
        table = numpy.array([(each >> 16 & 255, each >> 8 & 255, each & 255) for each in palette], dtype=numpy.uint8)
        return bytes(table[lines].tobytes())
    pixels = numpy.ascontiguousarray(lines).reshape(mode.height, mode.width, pixel)
    if pixel > 2:
        return bytes(pixels[:, :, 2::-1].tobytes())
    words = pixels[:, :, 0].astype(numpy.uint32) | pixels[:, :, 1].astype(numpy.uint32) << 8
    parts = [((words >> low & (1 << bits) - 1) * 255 + (1 << bits) // 2 - 1) // ((1 << bits) - 1)
             for low, bits in _BITS[mode.depth]]  # fmt: skip
    return bytes(numpy.stack(parts, axis=2).astype(numpy.uint8).tobytes())
