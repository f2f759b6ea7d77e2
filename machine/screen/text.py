"""The text screen: 80 by 25 characters with their colours, as text and as pixels."""

from __future__ import annotations

from typing import Any

COLUMNS, LINES = 80, 25
TEXT_MEMORY = 0xB8000
"""Physical address of the first character; each is followed by its attribute, foreground | background << 4."""
CELLS = 2 * COLUMNS * LINES
_FONT_LINES, CELL_WIDTH, CELL_HEIGHT = 13, 8, 16
"""A glyph has 13 lines; one above and two below are empty."""
WIDTH, HEIGHT = COLUMNS * CELL_WIDTH, LINES * CELL_HEIGHT
PALETTE = (
    (0, 0, 0), (0, 0, 170), (0, 170, 0), (0, 170, 170), (170, 0, 0), (170, 0, 170), (170, 85, 0), (170, 170, 170),
    (85, 85, 85), (85, 85, 255), (85, 255, 85), (85, 255, 255), (255, 85, 85), (255, 85, 255), (255, 255, 85),
    (255, 255, 255),
)  # fmt: skip
"""Red, green and blue of the sixteen colours of text mode."""


def text_lines(cells: bytes) -> list[str]:
    """Characters without blanks at the ends, and without empty lines below."""
    text = cells[::2].replace(b"\0", b" ").decode("cp437")
    lines = [text[at : at + COLUMNS].rstrip() for at in range(0, COLUMNS * LINES, COLUMNS)]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _glyphs() -> Any:
    """256 by 16 by 8 bits, by the character's code on the screen (code page 437; the font is Latin-1's)."""
    import numpy

    import firmware

    font = numpy.frombuffer((firmware.HERE / "font8x13.bin").read_bytes(), dtype=numpy.uint8).reshape(256, _FONT_LINES)
    codes = [bytes([code]).decode("cp437").encode("latin-1", "replace")[0] if code else 0x20 for code in range(256)]
    rows = numpy.zeros((256, CELL_HEIGHT), dtype=numpy.uint8)
    rows[:, 1 : 1 + _FONT_LINES] = font[codes]
    return numpy.unpackbits(rows, axis=1).reshape(256, CELL_HEIGHT, CELL_WIDTH).astype(bool)


def text_colours(cells: bytes) -> bytes:
    """640 by 400 pixels, a byte each: the number of its colour."""
    import numpy

    pairs = numpy.frombuffer(cells, dtype=numpy.uint8).reshape(LINES, COLUMNS, 2)
    lit = _glyphs()[pairs[:, :, 0]]
    attribute = pairs[:, :, 1, None, None]
    colours = numpy.where(lit, attribute & 15, attribute >> 4 & 7)
    return bytes(colours.transpose(0, 2, 1, 3).astype(numpy.uint8).tobytes())


def text_pixels(cells: bytes) -> bytes:
    """The same with red, green and blue."""
    import numpy

    palette = numpy.array(PALETTE, dtype=numpy.uint8)
    return bytes(palette[numpy.frombuffer(text_colours(cells), dtype=numpy.uint8)].tobytes())
