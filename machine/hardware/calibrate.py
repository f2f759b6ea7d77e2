"""Where the register image keeps what the engine's register API lacks: searches that accept one place only.

The places belong to one version of the engine.  A search that finds none, or two, says so instead of
guessing: `Cpu` refuses to start then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

REGS_OFFSET = 40
"""Byte offset of RAX in the image; checked, not trusted."""

_GENERAL_REGISTERS = 17
"""RAX to R15, and RIP."""


class CalibrationError(Exception):
    """The register image is not laid out as it should be; the text says what was not found."""


def only_change(before: bytes, after: bytes, old: int, new: int, what: str) -> int:
    """Index of the one 32-bit word (signed) that was `old` in `before` and is `new` in `after`."""
    a, b = (memoryview(x[: len(x) & ~3]).cast("i") for x in (before, after))
    return _only([i for i in range(REGS_OFFSET // 4, len(a)) if a[i] == old and b[i] == new], what)


def only_word(image: bytes, value: int, what: str) -> int:
    """Index of the one 64-bit word behind the general registers that is `value`."""
    words = memoryview(image[: len(image) & ~7]).cast("Q")
    first = REGS_OFFSET // 8 + _GENERAL_REGISTERS
    return _only([i for i in range(first, len(words)) if words[i] == value], what)


def any_place(found: list[list[int]], wanted: list[int], what: str) -> int:
    """An index at which each of the lists has the value that is wanted of it: where several have, all are right."""
    for i, values in enumerate(zip(*found, strict=True)):
        if list(values) == wanted:
            return i
    raise CalibrationError(f"{what} was found nowhere in the engine's registers")


def _only(places: list[int], what: str) -> int:
    if len(places) != 1:
        raise CalibrationError(f"{what} was found in {len(places)} places of the register image")
    return places[0]


def check_registers(regs: memoryview, expected: Mapping[str, int]) -> None:
    """`regs` holds the values of `expected`, in its order."""
    for i, (name, value) in enumerate(expected.items()):
        if regs[i] != value:
            raise CalibrationError(f"{name} is not where it was in the register image")


def find_wide(
    image: memoryview, write: Callable[[int, bytes], None], first: int, count: int, size: int
) -> list[memoryview]:
    """Views of `count` registers of `size` bytes in the image, found by writing a mark into each."""
    views = []
    for i in range(count):
        mark = bytes((0x5A + 7 * i + 13 * j) & 0x7F for j in range(size))
        write(first + i, mark)
        now = bytes(image)
        place = now.find(mark)
        if place < 0 or now.find(mark, place + 1) >= 0:
            raise CalibrationError(f"register {first + i} was not found in the register image")
        views.append(image[place : place + size])
        write(first + i, bytes(size))
    return views
