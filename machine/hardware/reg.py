"""The declaration of one register, or of an array of them (`registers.RegisterBlock` is the device that has them)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple, Optional, Union, overload

if TYPE_CHECKING:
    from machine.hardware.registers import RegisterBlock

ACCESS = ("rw", "ro", "wo", "w1c")
WIDTHS = (1, 2, 4, 8)


class RegisterError(Exception):
    """A block is declared wrongly."""


class Field(NamedTuple):
    """Bits `lsb` to ``lsb + width - 1`` of a register."""

    lsb: int
    width: int = 1
    doc: str = ""

    @property
    def mask(self) -> int:
        """The field's bits, in place."""
        return (1 << self.width) - 1 << self.lsb


class Reg:
    """One register: `offset` in bytes from the block's start, `width` 1, 2, 4 or 8 bytes.

    `access` is ``rw``, ``ro``, ``wo`` or ``w1c`` (write 1 to clear); `reset` its value at power-on.  `widths` are the
    widths of access, in bytes, that the register takes; () leaves it to the block.
    """

    __slots__ = ("access", "doc", "fields", "index", "name", "offset", "reset", "width", "widths")

    def __init__(
        self,
        offset: int,
        width: int = 4,
        access: str = "rw",
        reset: int = 0,
        doc: str = "",
        fields: Optional[Mapping[str, Field]] = None,
        widths: tuple[int, ...] = (),
    ) -> None:
        if width not in WIDTHS:
            raise RegisterError(f"a register is 1, 2, 4 or 8 bytes wide, not {width}")
        if access not in ACCESS:
            raise RegisterError(f"access is one of {', '.join(ACCESS)}, not {access!r}")
        if offset < 0 or not 0 <= reset < 1 << 8 * width:
            raise RegisterError(f"register at {offset:#x}: negative offset, or {reset:#x} does not fit {width} bytes")
        self.offset = offset
        self.width = width
        self.access = access
        self.reset = reset
        self.doc = doc
        self.widths = tuple(widths)
        self.fields: dict[str, Field] = dict(fields or {})
        for name, field in self.fields.items():
            if field.lsb < 0 or field.width < 1 or field.lsb + field.width > 8 * width:
                raise RegisterError(f"field {name} does not fit a register of {8 * width} bits")
        self.name = ""
        self.index = -1
        """Which of an array's it is; -1 for a register of its own."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<Reg {self.name} {self.offset:#x} {self.width} {self.access}>"

    @overload
    def __get__(self, block: None, owner: type) -> Reg: ...
    @overload
    def __get__(self, block: RegisterBlock, owner: type) -> int: ...
    def __get__(self, block: Optional[RegisterBlock], owner: type) -> Union[Reg, int]:
        return self if block is None else block.values[self.name]

    def __set__(self, block: RegisterBlock, value: int) -> None:
        block.values[self.name] = value & self.mask

    @property
    def end(self) -> int:
        """Offset of the first byte behind the register."""
        return self.offset + self.width

    @property
    def mask(self) -> int:
        """All of the register's bits."""
        return (1 << 8 * self.width) - 1

    @property
    def hook(self) -> str:
        """What its ``read_`` and ``write_`` methods are called after."""
        return self.name


class RegArray:
    """`count` registers alike, `stride` bytes apart (0: without gaps).

    On an instance ``card.palette[3]`` is one's value, and can be set; ``card.palette[:]`` is the list of all.  Accesses
    are told as ``palette[3]``; the hooks are ``read_palette(index)`` and ``write_palette(index, value)``.
    """

    __slots__ = ("count", "doc", "fields", "name", "offset", "one", "regs", "stride")

    def __init__(
        self,
        offset: int,
        count: int,
        width: int = 4,
        access: str = "rw",
        reset: int = 0,
        doc: str = "",
        fields: Optional[Mapping[str, Field]] = None,
        widths: tuple[int, ...] = (),
        stride: int = 0,
    ) -> None:
        self.one = Reg(offset, width, access, reset, doc, fields, widths)
        self.stride = stride or width
        if count < 1 or self.stride < width:
            raise RegisterError(f"array at {offset:#x}: {count} registers of {width} bytes, {self.stride} bytes apart")
        self.offset = offset
        self.count = count
        self.doc = doc
        self.fields = self.one.fields
        self.name = ""
        self.regs: dict[int, Reg] = {}
        """The registers that somebody has asked for, by index."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<RegArray {self.name}[{self.count}] {self.offset:#x} {self.one.width} {self.one.access}>"

    @overload
    def __get__(self, block: None, owner: type) -> RegArray: ...
    @overload
    def __get__(self, block: RegisterBlock, owner: type) -> ArrayValues: ...
    def __get__(self, block: Optional[RegisterBlock], owner: type) -> Union[RegArray, ArrayValues]:
        return self if block is None else ArrayValues(self, block)

    @property
    def end(self) -> int:
        """Offset of the first byte behind the last register."""
        return self.offset + (self.count - 1) * self.stride + self.one.width

    def reg(self, index: int) -> Reg:
        """The register `index`."""
        made = self.regs.get(index)
        if made is None:
            one = self.one
            made = _Element(
                self.offset + index * self.stride, one.width, one.access, one.reset, one.doc, one.fields, one.widths
            )
            made.name, made.index, made.array = f"{self.name}[{index}]", index, self.name
            self.regs[index] = made
        return made

    def touched(self, offset: int, end: int) -> Iterator[Reg]:
        """Those of which [offset, end) touches a byte, lowest first."""
        first = max(0, (offset - self.offset) // self.stride)
        for index in range(first, min(self.count, -(-(end - self.offset) // self.stride))):
            reg = self.reg(index)
            if offset < reg.end:
                yield reg


class _Element(Reg):
    """One register of an array."""

    __slots__ = ("array",)
    array: str

    @property
    def hook(self) -> str:
        return self.array


class ArrayValues:
    """An array's values on one device, indexed and sliced as a list; they are set one by one."""

    __slots__ = ("_array", "_block")

    def __init__(self, array: RegArray, block: RegisterBlock) -> None:
        self._array = array
        self._block = block

    def __len__(self) -> int:
        return self._array.count

    def _reg(self, index: int) -> Reg:
        if not -self._array.count <= index < self._array.count:
            raise IndexError(f"{self._array.name}[{index}]: there are {self._array.count}")
        return self._array.reg(index % self._array.count)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> list[int]: ...
    def __getitem__(self, index: Union[int, slice]) -> Union[int, list[int]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        reg = self._reg(index)
        return self._block.values.get(reg.name, reg.reset)

    def __setitem__(self, index: int, value: int) -> None:
        reg = self._reg(index)
        self._block.values[reg.name] = value & reg.mask

    def __iter__(self) -> Iterator[int]:
        return iter(self[:])


class Touch(NamedTuple):
    """The part of one access that fell on one register."""

    name: str
    """The register's."""
    offset: int
    """Of the part's first byte, in the block."""
    width: int
    """Bytes of the register that were touched."""
    value: int
    """What these bytes held (read) or were given (write)."""


class Counts:
    """How often a block was accessed in a way that its registers are not made for; each access counts once a kind."""

    __slots__ = ("forbidden", "outside", "refused", "unaligned", "wide")

    def __init__(self) -> None:
        self.unaligned = 0
        """Accesses whose offset is no multiple of their width."""
        self.wide = 0
        """Accesses that touch more than one register, or more bytes than a register has."""
        self.outside = 0
        """Accesses that touch bytes of no register."""
        self.forbidden = 0
        """Writes to what is read-only, reads of what is write-only."""
        self.refused = 0
        """Accesses that the device does not answer."""

    def __repr__(self) -> str:
        return "<" + ", ".join(f"{name} {getattr(self, name)}" for name in self.__slots__) + ">"
