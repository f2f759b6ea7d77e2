"""What bits of a register do when the bus reads and writes them: fields, and the kinds of access.

The kinds are those of the register models of hardware verification, in lower case (IEEE 1800.2 §18.5.3, UVM):

======== ============================================================================================
rw       reads as it was written                        ro       writes are lost
wo       reads as 0                                     w1       only the first write counts; reads as written
rc, rs   ro, and a read clears (sets) it                wo1      w1, and reads as 0
wc, ws   any write clears (sets) it                     woc, wos wc, ws, and reads as 0
w1c      a bit written as 1 is cleared                  w1s, w1t is set, toggled
w0c      a bit written as 0 is cleared                  w0s, w0t is set, toggled
wrc, wrs rw, and a read clears (sets) it                wsrc, wcrs, w1src, w1crs, w0src, w0crs  one and the other
======== ============================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Optional, Union

STORE, ONE_CLEAR, ONE_SET, ONE_TOGGLE, ZERO_CLEAR, ZERO_SET, ZERO_TOGGLE, CLEAR, SET, ONCE = range(10)
"""What a write does to a bit."""

_READ_ONLY: Optional[int] = None
ACCESS: dict[str, tuple[bool, str, Optional[int]]] = {
    "rw": (True, "", STORE), "ro": (True, "", _READ_ONLY), "wo": (False, "", STORE),
    "rc": (True, "c", _READ_ONLY), "rs": (True, "s", _READ_ONLY), "wrc": (True, "c", STORE), "wrs": (True, "s", STORE),
    "wc": (True, "", CLEAR), "ws": (True, "", SET), "wsrc": (True, "c", SET), "wcrs": (True, "s", CLEAR),
    "w1c": (True, "", ONE_CLEAR), "w1s": (True, "", ONE_SET), "w1t": (True, "", ONE_TOGGLE),
    "w0c": (True, "", ZERO_CLEAR), "w0s": (True, "", ZERO_SET), "w0t": (True, "", ZERO_TOGGLE),
    "w1src": (True, "c", ONE_SET), "w1crs": (True, "s", ONE_CLEAR),
    "w0src": (True, "c", ZERO_SET), "w0crs": (True, "s", ZERO_CLEAR),
    "woc": (False, "", CLEAR), "wos": (False, "", SET), "w1": (True, "", ONCE), "wo1": (False, "", ONCE),
}  # fmt: skip
"""Kind -> (whether it can be read, what a read does: nothing, ``c``lears, ``s``ets, what a write does)."""


def check_arguments(cls: Any, options: Iterable[str]) -> None:
    """TypeError for an argument that there is not, with the one that is meant."""
    __tracebackhide__ = True
    code = cls.__init__.__code__
    known = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
    for name in options:
        if name not in known:
            from machine.testing import messages

            raise TypeError(messages.no_such_argument(cls, name, known))


class Field:
    """Bits of a register: ``Field(4)`` is bit 4, ``Field(4, 2)`` two bits from bit 4 on, ``Field("5:4")`` the same.

    `access` is a kind of the table above where it differs from the register's.  `values` names values:
    ``{"off": 0, "slow": 1}`` or an `enum.Enum`.
    """

    __slots__ = ("access", "doc", "lsb", "values", "width")

    def __new__(cls, *_args: Any, **options: Any) -> Any:
        """TypeError for an argument that there is not."""
        __tracebackhide__ = True
        check_arguments(cls, options)
        return super().__new__(cls)

    def __init__(
        self,
        lsb: Union[int, str],
        width: int = 1,
        doc: str = "",
        access: str = "",
        values: Union[Mapping[str, int], Any] = None,
    ) -> None:
        if isinstance(lsb, str):
            lsb, width = _bits(lsb)
        self.lsb = lsb
        self.width = width
        self.doc = doc
        self.access = access
        self.values: dict[str, int] = _named(values)

    def __repr__(self) -> str:
        return f"<Field [{self.lsb + self.width - 1}:{self.lsb}]>"

    @property
    def mask(self) -> int:
        """The field's bits, in place."""
        return (1 << self.width) - 1 << self.lsb

    def of(self, register: int) -> int:
        """The field's value in a register's."""
        return (register & self.mask) >> self.lsb

    def name_of(self, value: int) -> str:
        """``slow``, or the number where it has no name."""
        return next(
            (name for name, number in self.values.items() if number == value),
            f"{value:#x}" if value > 9 else str(value),
        )


def _bits(text: str) -> tuple[int, int]:
    """``[7:4]``: the lowest bit and how many.  ValueError."""
    high, _, low = text.strip("[]").partition(":")
    if not high.strip().isdigit() or not (low or high).strip().isdigit() or int(high) < int(low or high):
        from machine.testing import messages

        raise ValueError(messages.wrong_bits(text))
    return int(low or high), int(high) - int(low or high) + 1


def _named(values: Any) -> dict[str, int]:
    if values is None:
        return {}
    if isinstance(values, Mapping):
        return dict(values)
    if not hasattr(values, "__members__"):
        from machine.testing import messages

        raise TypeError(messages.wrong_values(values))
    return {each.name: int(each.value) for each in values}  # an enum


class Effects:
    """What the bus does to a whole register: masks by kind.  `plain`: all bits are stored, and read as they are."""

    __slots__ = ("clears", "plain", "readable", "sets", "stored", "writes")

    def __init__(self, mask: int, access: str, fields: Mapping[str, Field]) -> None:
        parts = [(field.mask, field.access or access) for field in fields.values()]
        rest = mask
        for bits, _ in parts:
            rest &= ~bits
        self.readable = self.clears = self.sets = 0
        self.writes: dict[int, int] = {}
        """What a write does -> the bits to which it does it."""
        for bits, kind in [*parts, (rest, access)]:
            readable, reading, writing = ACCESS[kind]
            self.readable |= bits if readable else 0
            self.clears |= bits if reading == "c" else 0
            self.sets |= bits if reading == "s" else 0
            if writing is not None and bits:
                self.writes[writing] = self.writes.get(writing, 0) | bits
        self.stored = self.writes.get(STORE, 0)
        self.plain = self.writes == {STORE: mask} and self.readable == mask and not self.clears | self.sets

    def write(self, old: int, given: int, taken: int, once: int) -> int:
        """The register after a write of `given` to the bits `taken`; bits of `once` have had their first write."""
        value = old
        for kind, bits in self.writes.items():
            bits &= taken
            if kind == STORE:
                value = value & ~bits | given & bits
            elif kind == ONCE:
                value = value & ~(bits & ~once) | given & bits & ~once
            elif kind == CLEAR:
                value &= ~bits
            elif kind == SET:
                value |= bits
            else:
                chosen = bits & (given if kind in (ONE_CLEAR, ONE_SET, ONE_TOGGLE) else ~given)
                if kind in (ONE_CLEAR, ZERO_CLEAR):
                    value &= ~chosen
                elif kind in (ONE_SET, ZERO_SET):
                    value |= chosen
                else:
                    value ^= chosen
        return value
