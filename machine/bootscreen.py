"""The screen after the power-on test: 80 by 25 characters at 0xb8000, as text and as a picture."""

from __future__ import annotations

import struct
from typing import Optional

from machine import boards
from machine.errors import ConfigError
from machine.hardware.board import BoardError, PostState
from machine.hardware.ram import PAGE_SIZE
from machine.screen.text import CELLS, HEIGHT, PALETTE, TEXT_MEMORY, WIDTH, text_colours, text_lines


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
    return state.pages.get(TEXT_MEMORY & -PAGE_SIZE, bytes(PAGE_SIZE))[:CELLS]


def screen_lines(state: PostState) -> list[str]:
    """The screen as text, without blanks at the ends and empty lines below; [] for a board without a display."""
    return text_lines(_cells(state))


def picture(state: PostState) -> bytes:
    """The screen as 640 by 400 pixels, a byte each: the number of its colour."""
    return text_colours(_cells(state))


def save_png(state: PostState, path: str) -> None:
    """Write the screen as a PNG.  ConfigError when that can't be."""
    from PIL import Image

    image = Image.frombytes("P", (WIDTH, HEIGHT), picture(state))
    image.putpalette(struct.pack("48B", *(part for colour in PALETTE for part in colour)))
    try:
        image.save(path, "PNG")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
