"""Module parameters: their types and how a text becomes a value (kernel/params.c)."""

from __future__ import annotations

import re
from typing import Any, Union

_RANGES = {
    "byte": (0, 0xFF),
    "short": (-(1 << 15), (1 << 15) - 1),
    "ushort": (0, 0xFFFF),
    "int": (-(1 << 31), (1 << 31) - 1),
    "uint": (0, (1 << 32) - 1),
    "long": (-(1 << 63), (1 << 63) - 1),
    "ulong": (0, (1 << 64) - 1),
}
_PIECE = r'(?:"[^"]*"?|[^\s"])+'
_BOOLEANS = {"1": True, "y": True, "Y": True, "": True, "0": False, "n": False, "N": False}

byte, short, ushort, uint, long, ulong = "byte", "short", "ushort", "uint", "long", "ulong"
charp, invbool = "charp", "invbool"
"""Types of `module_param`, beside Python's own `int`, `bool` and `str`."""

ParamType = Union[type, str]


class ParameterError(ValueError):
    """A value that its parameter does not take; the message is for the user."""


class kernel_param:
    """`struct kernel_param`: one declared parameter."""

    __slots__ = ("array", "name", "perm", "type_name")

    def __init__(self, name: str, kind: ParamType, perm: int, array: bool = False) -> None:
        text = kind if isinstance(kind, str) else kind.__name__
        text = "charp" if text == "str" else text
        if text not in _RANGES and text not in ("charp", "bool", "invbool"):
            raise TypeError(f"module_param({name}): no such type: {text}")
        self.name = name
        self.type_name = f"array of {text}" if array else text
        self.perm = perm
        self.array = array

    def parse(self, text: str, separator: str = ":") -> Any:
        """The value of `text`: numbers in decimal, 0x or 0 (octal) form.

        Elements of an array are parted by ``:`` on our command line, where a comma begins the next parameter, and by
        ``,`` in the guest, as the kernel has it.
        """
        if self.array:
            return [self._one(piece) for piece in text.split(separator)]
        return self._one(text)

    def show(self, value: Any) -> str:
        """A value as /sys/module/NAME/parameters shows it (param_get_*): Y and N, decimal numbers, commas."""
        if self.array and isinstance(value, (list, tuple)):
            return ",".join(self._show_one(each) for each in value)
        return self._show_one(value)

    def _show_one(self, value: Any) -> str:
        kind = self.type_name.removeprefix("array of ")
        if kind in ("bool", "invbool"):
            return "Y" if bool(value) != (kind == "invbool") else "N"
        return "(null)" if value is None else str(value)

    def _one(self, text: str) -> Any:
        kind = self.type_name.removeprefix("array of ")
        if kind == "charp":
            return text
        if kind in ("bool", "invbool"):
            if text not in _BOOLEANS:
                raise ParameterError(f"{self.name}={text}: a {kind} is 0, 1, y or n")
            return _BOOLEANS[text] != (kind == "invbool")
        try:
            digits = text.strip().lower().lstrip("+-")
            octal = len(digits) > 1 and digits.isdigit() and digits[0] == "0"
            value = int(text, 8 if octal else 0)
        except ValueError:
            raise ParameterError(f"{self.name}={text}: not a number") from None
        low, high = _RANGES[kind]
        if not low <= value <= high:
            raise ParameterError(f"{self.name}={text}: {kind} is from {low} to {high}")
        return value


def parse_args(text: str) -> list[tuple[str, str]]:
    """(name, value) of the parameters in init_module(2)'s text (kernel/params.c: parse_args, next_arg).

    Blanks part them; quotes around a value or a whole parameter keep its blanks and are taken off; a name alone has the
    value "", which switches a bool on.  A dash in a name is an underscore.
    """
    found = []
    for piece in re.findall(_PIECE, text):
        if piece.startswith('"'):
            piece = piece[1:].removesuffix('"')
        name, _, value = piece.partition("=")
        if value.startswith('"'):
            value = value[1:].removesuffix('"')
        found.append((name.replace("-", "_"), value))
    return found
