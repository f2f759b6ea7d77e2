"""Texts: how things are called."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any


def place(where: tuple[str, int]) -> str:
    """``tests/test_timer.py:12``: relative to the current directory where that is above."""
    path, line = where
    relative = os.path.relpath(path)
    return f"{path if relative.startswith('..') else relative}:{line}"


def said(failure: BaseException) -> str:
    """`str(failure)`, also of an exception whose `__str__` raises."""
    try:
        return str(failure)
    except Exception as another:
        return f"<its __str__ raised {type(another).__name__}>"


def place_of(path: str) -> str:
    """A file, relative to the current directory where that is above."""
    return place((path, 0)).rpartition(":")[0]


def of_function(function: Any) -> tuple[str, int]:
    """Where a function is written; of something else its repr."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return (repr(function), 0) if code is None else (code.co_filename, code.co_firstlineno)


def a_number(value: int) -> str:
    """``7``, ``0x3e8 (1000)``."""
    return f"{value:#x} ({value})" if value > 9 else str(value)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean ctrl?``, else what there is."""
    import difflib

    names = list(known)
    close = difflib.get_close_matches(word, names, 1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are: {', '.join(names)}" if names else "; there are none"


def at(cls: Any, part: Any) -> str:
    return f"{place(part.where)}: {cls.__name__}.{part.name}"


def extent(part: Any) -> str:
    return f"{part.offset:#x}, {part.end - part.offset} bytes"
