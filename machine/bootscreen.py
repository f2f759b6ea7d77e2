"""The screen after the power-on test: 80 by 25 characters at 0xb8000, as text and as a picture."""

from __future__ import annotations

import struct
from typing import Optional

from machine import boards
from machine.errors import ConfigError
from machine.hardware.board import BoardError, PostState
from machine.hardware.ram import PAGE_SIZE

COLUMNS, LINES = 80, 25
_SCREEN = 0xB8000
_FONT_LINES, CELL_WIDTH, CELL_HEIGHT = 13, 8, 16
"""A glyph has 13 lines; one above and two below are empty."""
PALETTE = (
    (0, 0, 0), (0, 0, 170), (0, 170, 0), (0, 170, 170), (170, 0, 0), (170, 0, 170), (170, 85, 0), (170, 170, 170),
    (85, 85, 85), (85, 85, 255), (85, 255, 85), (85, 255, 255), (255, 85, 85), (255, 85, 255), (255, 255, 85),
    (255, 255, 255),
)  # fmt: skip
"""Red, green and blue of the sixteen colours of text mode."""


def power_on(which: Optional[str], ram: int) -> PostState:
    """Run a board's firmware with `ram` bytes, whatever is in the cache.  ConfigError: what can't be, and where."""
    from machine.hardware.ram import Ram

    try:
        memory = Ram(ram)
        return boards.load(which, ram, cached=False).start(memory)
    except BoardError as error:
        raise boards.explain(error, which) from None


def _cells(state: PostState) -> bytes:
    """Characters and attributes: 80 by 25 pairs of bytes."""
    first = _SCREEN & -PAGE_SIZE
    return state.pages.get(first, bytes(PAGE_SIZE))[: 2 * COLUMNS * LINES]


def screen_lines(state: PostState) -> list[str]:
    """The screen as text, without blanks at the ends and empty lines below; [] for a board without a display."""
    text = _cells(state)[::2].replace(b"\0", b" ").decode("cp437")
    lines = [text[at : at + COLUMNS].rstrip() for at in range(0, COLUMNS * LINES, COLUMNS)]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def picture(state: PostState) -> bytes:
    """The screen as 640 by 400 pixels, a byte each: the number of its colour."""
    import firmware

    font = (firmware.HERE / "font8x13.bin").read_bytes()
    cells = _cells(state)
    width = COLUMNS * CELL_WIDTH
    pixels = bytearray(width * LINES * CELL_HEIGHT)
    for index in range(COLUMNS * LINES):
        code, attribute = cells[2 * index], cells[2 * index + 1]
        shown = bytes([code]).decode("cp437").encode("latin-1", "replace")[0] if code else 0x20
        row, column = divmod(index, COLUMNS)
        for line in range(CELL_HEIGHT):
            inside = 1 <= line <= _FONT_LINES
            bits = font[shown * _FONT_LINES + line - 1] if inside else 0
            start = (row * CELL_HEIGHT + line) * width + column * CELL_WIDTH
            pixels[start : start + 8] = bytes(
                attribute & 15 if bits >> (7 - bit) & 1 else attribute >> 4 & 7 for bit in range(8)
            )
    return bytes(pixels)


def save_png(state: PostState, path: str) -> None:
    """Write the screen as a PNG.  ConfigError when that can't be."""
    from PIL import Image

    image = Image.frombytes("P", (COLUMNS * CELL_WIDTH, LINES * CELL_HEIGHT), picture(state))
    image.putpalette(struct.pack("48B", *(part for colour in PALETTE for part in colour)))
    try:
        image.save(path, "PNG")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
