"""The declaration of one register, or of an array of them (`registers.RegisterBlock` is the device that has them)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Optional, TypeVar, Union, overload

from machine.hardware.field import ACCESS, Effects, Field, check_arguments

if TYPE_CHECKING:
    from machine.hardware.registers import RegisterBlock

WIDTHS = (1, 2, 4, 8)
Names = Union[str, Iterable[str]]
Hook = TypeVar("Hook", bound=Callable[..., Any])

__all__ = ["ACCESS", "WIDTHS", "Counts", "Field", "Part", "Reg", "RegArray", "RegisterError", "Touch"]


class RegisterError(Exception):
    """A block is declared, or used, wrongly."""


def names(given: Names) -> tuple[str, ...]:
    """One method's name or several."""
    return (given,) if isinstance(given, str) else tuple(given)


class Part:
    """What an attribute of a block can declare.  `where` is the file and the line of the declaration."""

    __slots__ = ("doc", "name", "offset", "reading", "where", "writing")

    def __new__(cls, *_args: Any, **options: Any) -> Any:
        """TypeError for an argument that there is not, with the one that is meant."""
        __tracebackhide__ = True
        check_arguments(cls, options)
        return super().__new__(cls)

    def __init__(self, offset: int, doc: str, on_read: Names, on_write: Names) -> None:
        self.offset = offset
        self.doc = doc
        self.name = ""
        self.reading = names(on_read)
        """Methods that are called before a read."""
        self.writing = names(on_write)
        """Methods that are called after a write."""
        frame = sys._getframe(1)
        while frame.f_code.co_filename == __file__ or frame.f_code.co_name == "__init__":
            assert frame.f_back is not None
            frame = frame.f_back
        self.where = frame.f_code.co_filename, frame.f_lineno

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @property
    def end(self) -> int:
        """Offset of the first byte behind it."""
        raise NotImplementedError

    def on_read(self, method: Hook) -> Hook:
        """Decorator: the method is called before the bus reads this; what it returns (unless None) is what is read."""
        return _mark(method, "read", self)

    def on_write(self, method: Hook) -> Hook:
        """Decorator: the method is called after the bus has written this, with the value.  Any number of methods."""
        return _mark(method, "write", self)


def _mark(method: Hook, kind: str, part: Part) -> Hook:
    marks = method.__dict__.setdefault("_register_hooks", [])
    marks.append((kind, part))
    return method


class Reg(Part):
    """One register: `offset` in bytes from the block's start, `width` 1, 2, 4 or 8 bytes.

    `access` is a kind of field.py (``rw``, ``ro``, ``wo``, ``w1c``, ``rc``, ...); `reset` its value at power-on.
    `widths` are the widths of access, in bytes, that the register takes; () leaves it to the block.  `on_read` and
    `on_write` name methods of the block, one or several.
    """

    __slots__ = ("access", "effects", "fields", "index", "reset", "width", "widths")

    def __init__(
        self,
        offset: int,
        width: int = 4,
        access: str = "rw",
        reset: int = 0,
        doc: str = "",
        fields: Optional[Mapping[str, Field]] = None,
        widths: tuple[int, ...] = (),
        on_read: Names = (),
        on_write: Names = (),
    ) -> None:
        super().__init__(offset, doc, on_read, on_write)
        self.width = width
        self.access = access
        self.reset = reset
        self.widths = tuple(widths)
        self.fields: dict[str, Field] = dict(fields or {})
        self.index = -1
        """Which of an array's it is; -1 for a register of its own."""
        self.effects: Effects
        """Made when the declaration has been checked (declare.py)."""

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
        """What its hooks are filed under: the name of the register, or of its array."""
        return self.name

    @property
    def place(self) -> tuple[int, ...]:
        """What its hooks are told first: its index in an array."""
        return ()

    def fetch(self, block: RegisterBlock) -> int:
        """The bus reads it, and no hook has said what."""
        return block.values.get(self.name, self.reset)

    def take(self, block: RegisterBlock, taken: int, given: int) -> int:
        """The bus writes the bits `taken` of it; what hooks are told.

        That is the register's new value as far as its bits are stored, else what was written.
        """
        effects, old = self.effects, block.values.get(self.name, self.reset)
        if effects.plain:
            told = block.values[self.name] = old & ~taken | given & taken
            return told
        block.values[self.name] = effects.write(old, given, taken, block.once(self, taken))
        return given & taken | old & ~taken & effects.stored


class RegArray(Part):
    """`count` registers alike, `stride` bytes apart (0: without gaps).

    On an instance ``card.palette[3]`` is one's value, and can be set; ``card.palette[:]`` is the list of all.  Accesses
    are told as ``palette[3]``; the hooks are told the index first: ``read_palette(index)``,
    ``write_palette(index, value)``.
    """

    __slots__ = ("count", "fields", "one", "regs", "stride")

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
        on_read: Names = (),
        on_write: Names = (),
    ) -> None:
        super().__init__(offset, doc, on_read, on_write)
        self.one = Reg(offset, width, access, reset, doc, fields, widths)
        self.stride = stride or width
        self.count = count
        self.fields = self.one.fields
        self.regs: dict[int, Reg] = {}
        """The registers that somebody has asked for, by index."""

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
            made.effects = one.effects
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

    @property
    def place(self) -> tuple[int, ...]:
        return (self.index,)


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
            from machine.testing import messages

            raise IndexError(messages.no_such_element(self._array, index))
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
