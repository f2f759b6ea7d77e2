"""C structures through declared fields, laid out as the compiler for x86-64 lays them out.

    class iomap_area(struct):
        base = u64()
        size = u64()
        name = char(16)

    area = iomap_area()                        # 32 bytes of its own, zeroed
    if copy_from_user(area, arg, sizeof(area)):
        return -EFAULT
    dev = iomap_area(kmalloc(sizeof(iomap_area), GFP_KERNEL))    # over kernel memory, as through a pointer
    dev.base = area.base

Numbers are cut to their size when assigned, as in C.  `ulong` has 64 bits, here and in an x86-64 program; an i386
program's long has 32, and its compiler aligns u64 to 4 bytes.  A structure that both kinds of program hand to a driver
should therefore have fields of fixed sizes, each at a multiple of its size; ``class x(struct, pack=4)`` is what an
i386 compiler makes of the same fields, ``pack=1`` is without any gaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Generic, Optional, TypeVar, Union, overload

from machine.kernel.include.string import Data, kernel_memory, memcpy, scattered_memory

T = TypeVar("T")
S = TypeVar("S", bound="struct")


class field(Generic[T]):
    """One member: a descriptor that reads and writes its bytes."""

    size: int
    """Bytes."""
    align: int
    offset: int = -1
    """Bytes from the start of the structure, once it is a member of one."""
    name: str = ""

    def unpack(self, data: bytes) -> T:
        """The value of the member's bytes."""
        raise NotImplementedError

    def pack(self, value: T) -> bytes:
        """The bytes of a value."""
        raise NotImplementedError

    @overload
    def __get__(self, instance: None, owner: Any) -> field[T]: ...
    @overload
    def __get__(self, instance: struct, owner: Any) -> T: ...
    def __get__(self, instance: Optional[struct], owner: Any) -> Union[field[T], T]:
        if instance is None:
            return self
        return self.unpack(instance.load(self.offset, self.size))

    def __set__(self, instance: struct, value: T) -> None:
        instance.store(self.offset, self.pack(value))


class _integer(field[int]):
    _bytes: ClassVar[int]
    _signed: ClassVar[bool] = False

    def __init__(self) -> None:
        self.size = self.align = self._bytes

    def unpack(self, data: bytes) -> int:
        return int.from_bytes(data, "little", signed=self._signed)

    def pack(self, value: int) -> bytes:
        return (value & (1 << 8 * self.size) - 1).to_bytes(self.size, "little")


class u8(_integer):
    """Unsigned, 1 byte."""

    _bytes = 1


class u16(_integer):
    """Unsigned, 2 bytes."""

    _bytes = 2


class u32(_integer):
    """Unsigned, 4 bytes: also `unsigned int`."""

    _bytes = 4


class u64(_integer):
    """Unsigned, 8 bytes: also a pointer of an x86-64 program."""

    _bytes = 8


class s8(u8):
    """Signed, 1 byte."""

    _signed = True


class s16(u16):
    """Signed, 2 bytes."""

    _signed = True


class s32(u32):
    """Signed, 4 bytes: also `int`."""

    _signed = True


class s64(u64):
    """Signed, 8 bytes."""

    _signed = True


class _ulong(str):
    """Two things under one name, as in C: a type of `module_param`, and, called, a member of a structure."""

    __slots__ = ()

    def __call__(self) -> u64:
        return u64()


ulong = _ulong("ulong")
"""``unsigned long``, 8 bytes (4 in an i386 program: see above); also the type of a module's parameter."""


class char(field[bytes]):
    """``char name[n]``: a string.  Read up to its NUL; a shorter value is filled up with NULs, a longer one refused."""

    def __init__(self, n: int) -> None:
        self.size, self.align = n, 1

    def unpack(self, data: bytes) -> bytes:
        return data.partition(b"\0")[0]

    def pack(self, value: bytes) -> bytes:
        if len(value) > self.size:
            raise ValueError(f"{len(value)} bytes for char {self.name}[{self.size}]")
        return value.ljust(self.size, b"\0")


class elements(field["tuple[T, ...]"]):
    """``u32 name[n]`` is ``name = elements(u32(), n)``: read as a tuple, assigned as a whole."""

    def __init__(self, kind: field[T], n: int) -> None:
        self.kind, self.n = kind, n
        self.size, self.align = kind.size * n, kind.align

    def unpack(self, data: bytes) -> tuple[T, ...]:
        step = self.kind.size
        return tuple(self.kind.unpack(data[at : at + step]) for at in range(0, self.size, step))

    def pack(self, value: Sequence[T]) -> bytes:
        if len(value) != self.n:
            raise ValueError(f"{len(value)} values for {self.name}[{self.n}]")
        return b"".join(self.kind.pack(each) for each in value)


class member(field[S]):
    """A structure inside a structure: reading gives it over the same bytes, assigning copies."""

    def __init__(self, kind: type[S]) -> None:
        self.kind = kind
        self.size, self.align = kind._size, kind._align

    @overload
    def __get__(self, instance: None, owner: Any) -> member[S]: ...
    @overload
    def __get__(self, instance: struct, owner: Any) -> S: ...
    def __get__(self, instance: Optional[struct], owner: Any) -> Union[member[S], S]:
        return self if instance is None else instance.part(self.kind, self.offset)

    def unpack(self, data: bytes) -> S:
        return self.kind(bytearray(data))

    def pack(self, value: S) -> bytes:
        return bytes(value)


class struct:
    """A C structure: subclasses declare their members.  See the top of the file."""

    _fields: ClassVar[dict[str, field[Any]]] = {}
    _size: ClassVar[int] = 0
    _align: ClassVar[int] = 1

    __slots__ = ("_buffer", "address")

    def __init_subclass__(cls, pack: int = 8, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        fields, offset, align = dict(cls._fields), cls._size, cls._align
        for name, each in vars(cls).items():
            if isinstance(each, field):
                step = min(each.align, pack)
                offset = -(-offset // step) * step
                each.name, each.offset = name, offset
                fields[name] = each
                offset += each.size
                align = max(align, step)
        cls._fields, cls._align = fields, align
        cls._size = -(-offset // align) * align

    def __init__(self, at: Union[int, bytearray, memoryview, scattered_memory, None] = None, **values: Any) -> None:
        """Over the kernel memory at address `at`, over a buffer, or over bytes of its own; `values` are assigned."""
        self.address = at if isinstance(at, int) else None
        """Its kernel address, None for bytes of its own: ``&area``."""
        buffer = bytearray(self._size) if at is None or isinstance(at, int) else at
        if len(buffer) < self._size:
            raise ValueError(f"{len(buffer)} bytes for a struct {type(self).__name__} of {self._size}")
        self._buffer = buffer if isinstance(buffer, scattered_memory) else memoryview(buffer)
        for name, value in values.items():
            if name not in self._fields:
                raise TypeError(f"struct {type(self).__name__} has no member '{name}'")
            setattr(self, name, value)

    def load(self, offset: int, size: int) -> bytes:
        """`size` bytes at `offset`."""
        if self.address is not None:
            return bytes(kernel_memory(self.address + offset, size))
        return bytes(self._buffer[offset : offset + size])

    def store(self, offset: int, data: Data) -> None:
        """Write `data` at `offset`."""
        if self.address is not None:
            memcpy(self.address + offset, data, len(data))
        else:
            self._buffer[offset : offset + len(data)] = bytes(data)

    def part(self, kind: type[S], offset: int) -> S:
        """A structure of type `kind` over the bytes at `offset`."""
        if self.address is not None:
            return kind(self.address + offset)
        return kind(self._buffer[offset : offset + kind._size])

    def __bytes__(self) -> bytes:
        return self.load(0, self._size)

    def __len__(self) -> int:
        return self._size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and bytes(self) == bytes(other)

    __hash__ = None  # type: ignore[assignment]

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._fields and name not in struct.__slots__:
            raise AttributeError(f"struct {type(self).__name__} has no member '{name}'")
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        shown = (f"{n}={v:#x}" if isinstance(v := getattr(self, n), int) else f"{n}={v!r}" for n in self._fields)
        return f"{type(self).__name__}({', '.join(shown)})"


_NUMBERS = {"int": 4, "uint": 4, "short": 2, "ushort": 2, "byte": 1, "long": 8, "ulong": 8}
"""Bytes of the types that have other uses in Python: `int`, and the types of `module_param`."""


def sizeof(what: Any) -> int:
    """Bytes of a structure (the type or one of it), a member (``sizeof(iomap_area.name)``) or a number's type: u32,
    `int` (4), `long` (8; 4 in a 32-bit program)."""
    if isinstance(what, field):
        return what.size
    if isinstance(what, struct) or (isinstance(what, type) and issubclass(what, struct)):
        return what._size
    if isinstance(what, type) and issubclass(what, _integer):
        return what._bytes
    size = _NUMBERS.get("int" if what is int else str(what))
    if size is None:
        raise TypeError(f"sizeof({what!r}): it takes a struct, a member, u8 to s64, int, long, short or byte")
    return size


def offsetof(kind: type[struct], name: str) -> int:
    """Bytes from the start of a structure to its member `name`."""
    return kind._fields[name].offset


__all__ = [
    "char", "elements", "member", "offsetof", "s8", "s16", "s32", "s64", "sizeof", "struct", "u8", "u16", "u32",
    "u64", "ulong",
]  # fmt: skip
