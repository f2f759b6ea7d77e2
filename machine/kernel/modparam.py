"""Module parameters: their types and how a text becomes a value (kernel/params.c)."""

from __future__ import annotations

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

    def parse(self, text: str) -> Any:
        """The value of `text`: numbers in decimal, 0x or 0 (octal) form; elements of an array parted by ``:``."""
        if self.array:
            return [self._one(piece) for piece in text.split(":")]
        return self._one(text)

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
