"""Pictures of the screen as files: PNG and GIF, single and animated."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any, BinaryIO, NamedTuple

from machine.screen import Picture

SUFFIXES = (".png", ".gif")
_COMPRESSION = 1
"""Of what is kept while the machine runs: quick."""
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class Frame(NamedTuple):
    """One picture of a recording."""

    duration_ms: int
    png: bytes


def _image(picture: Picture) -> Any:
    from PIL import Image

    return Image.frombytes("RGB", picture[:2], picture.pixels)


def to_png(picture: Picture, level: int = _COMPRESSION) -> bytes:
    """A PNG file, quickly rather than small."""
    return _encoded(_image(picture), level)


def _encoded(image: Any, level: int) -> bytes:
    data = BytesIO()
    image.save(data, "PNG", compress_level=level)
    return data.getvalue()


def save(picture: Picture, path: str) -> None:
    """Write one picture, in the form that the name's end says.  OSError."""
    _image(picture).save(path, "GIF" if path.lower().endswith(".gif") else "PNG")


def save_animation(frames: Sequence[Frame], path: str) -> None:
    """Write a recording: a PNG whose frames hold what has changed, or a GIF.  OSError."""
    sizes = [struct.unpack(">II", frame.png[16:24]) for frame in frames]
    canvas = max(width for width, _ in sizes), max(height for _, height in sizes)
    with open(path, "wb") as file:
        if path.lower().endswith(".gif"):
            _write_gif(frames, canvas, file)
        else:
            _write_apng(frames, canvas, file)


def _images(frames: Sequence[Frame], canvas: tuple[int, int]) -> Iterator[Any]:
    """The pictures, each on the canvas that all fit on."""
    from PIL import Image

    for frame in frames:
        with Image.open(BytesIO(frame.png)) as image:
            whole = Image.new("RGB", canvas)
            whole.paste(image)
        yield whole


def _write_gif(frames: Sequence[Frame], canvas: tuple[int, int], file: BinaryIO) -> None:
    images = _images(frames, canvas)
    first = next(images)
    durations = [max(10, frame.duration_ms) for frame in frames]
    first.save(file, "GIF", save_all=True, append_images=images, duration=durations, loop=0)


# -- animated PNG: Pillow makes the pictures, one at a time; it would want all of them in memory at once ----


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _picture_data(png: bytes) -> bytes:
    """The contents of all IDAT chunks."""
    found, at = b"", len(_SIGNATURE)
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        if kind == b"IDAT":
            found += png[at + 8 : at + 8 + length]
        at += 12 + length
    return found


def _delay(milliseconds: int) -> tuple[int, int]:
    """As numerator and denominator, 16 bits each: from a minute on tenths or whole seconds."""
    for unit in (1000, 100, 10, 1):
        if milliseconds * unit // 1000 <= 0xFFFF:
            return milliseconds * unit // 1000, unit
    return 0xFFFF, 1


def _write_apng(frames: Sequence[Frame], canvas: tuple[int, int], file: BinaryIO) -> None:
    from PIL import ImageChops

    file.write(_SIGNATURE + _chunk(b"IHDR", struct.pack(">IIBBBBB", *canvas, 8, 2, 0, 0, 0)))
    file.write(_chunk(b"acTL", struct.pack(">II", len(frames), 0)))
    before, sequence = None, 0
    for frame, image in zip(frames, _images(frames, canvas), strict=True):
        box = (0, 0, *canvas)
        if before is not None:
            box = ImageChops.difference(before, image).getbbox() or (0, 0, 1, 1)
        before = image
        left, top, right, bottom = box
        place = (right - left, bottom - top, left, top)
        file.write(_chunk(b"fcTL", struct.pack(">IIIIIHHBB", sequence, *place, *_delay(frame.duration_ms), 0, 0)))
        data = _picture_data(_encoded(image.crop(box), 6))
        if sequence == 0:
            file.write(_chunk(b"IDAT", data))
            sequence = 1
        else:
            file.write(_chunk(b"fdAT", struct.pack(">I", sequence + 1) + data))
            sequence += 2
    file.write(_chunk(b"IEND", b""))
