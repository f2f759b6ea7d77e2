"""Parts of a register block that are no plain registers: queues behind one address, and memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Optional, Union, overload

from machine.hardware.field import Effects
from machine.hardware.reg import Names, Part, Reg

if TYPE_CHECKING:
    from machine.hardware.registers import RegisterBlock

FULL = ("drop", "overwrite")


class Fifo(Reg):
    """A queue of at most `depth` entries behind one register.

    ``ro``: the device puts entries in, a read by the bus takes one out (a receiver).  ``wo``: a write puts one in, the
    device takes them out (a transmitter).  ``rw``: both are the bus's.  A receiver and a transmitter can have the same
    offset.

    `empty` is what a read of the empty queue gives: a number, or ``"last"`` for the entry that was read last.  `full`
    is what becomes of one too many: ``"drop"`` loses it, ``"overwrite"`` loses the oldest.  Both are counted.

    On an instance it is a `Queue`.
    """

    __slots__ = ("depth", "empty", "full")

    def __init__(
        self,
        offset: int,
        depth: int,
        width: int = 4,
        access: str = "rw",
        empty: Union[int, str] = 0,
        full: str = "drop",
        doc: str = "",
        on_read: Names = (),
        on_write: Names = (),
    ) -> None:
        super().__init__(offset, width, access, 0, doc, on_read=on_read, on_write=on_write)
        self.depth = depth
        self.empty = empty
        self.full = full

    @overload  # type: ignore[override]  # of a block it is the queue, not a number
    def __get__(self, block: None, owner: type) -> Fifo: ...
    @overload
    def __get__(self, block: RegisterBlock, owner: type) -> Queue: ...
    def __get__(self, block: Optional[RegisterBlock], owner: type) -> Union[Fifo, Queue]:
        return self if block is None else self.queue(block)

    def __set__(self, block: RegisterBlock, value: object) -> None:
        from machine.testing import messages

        raise AttributeError(messages.fifo_set(self, block))

    def queue(self, block: RegisterBlock) -> Queue:
        """The device's own."""
        found = block.stores.get(self.name)
        if found is None:
            found = block.stores[self.name] = Queue(self, block)
        assert isinstance(found, Queue)
        return found

    def fetch(self, block: RegisterBlock) -> int:
        """A read by the bus takes the oldest entry out."""
        return self.queue(block).pop()

    def take(self, block: RegisterBlock, taken: int, given: int) -> int:
        """A write by the bus puts one in; a narrow one is extended by zeros."""
        self.queue(block).push(given & taken)
        return given & taken


class Queue:
    """What a `Fifo` of one device holds; `push` and `pop` are the device's side."""

    __slots__ = ("_block", "_entries", "_fifo", "last", "overruns", "underruns")

    def __init__(self, fifo: Fifo, block: RegisterBlock) -> None:
        self._fifo = fifo
        self._block = block
        self._entries: deque[int] = deque()
        self.overruns = 0
        """Entries that were lost because it was full."""
        self.underruns = 0
        """Entries that were taken while it was empty."""
        self.last = 0
        """The entry that was taken last."""

    def push(self, *entries: int) -> int:
        """Put entries in; how many of them were lost, or pushed others out."""
        lost = 0
        for entry in entries:
            if self.full:
                lost += 1
                if self._fifo.full == "drop":
                    continue
                self._entries.popleft()
            self._entries.append(entry & self._fifo.mask)
        self.overruns += lost
        self._tell()
        return lost

    def pop(self) -> int:
        """Take the oldest entry out; of an empty one what the declaration says."""
        if not self._entries:
            self.underruns += 1
            return self.last if self._fifo.empty == "last" else int(self._fifo.empty)
        self.last = self._entries.popleft()
        self._tell()
        return self.last

    def clear(self) -> None:
        """Forget all entries."""
        self._entries.clear()
        self._tell()

    def _tell(self) -> None:
        self._block.values[self._fifo.name] = len(self._entries)

    @property
    def full(self) -> bool:
        """Whether one more would be lost."""
        return len(self._entries) >= self._fifo.depth

    @property
    def empty(self) -> bool:
        """Whether there is nothing to take out."""
        return not self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[int]:
        return iter(self._entries)

    def __repr__(self) -> str:
        return f"<Fifo {self._fifo.name} {list(self._entries)} of {self._fifo.depth}>"


class Memory(Part):
    """`size` bytes of memory inside the block, at any width and alignment; `access` is ``rw``, ``ro`` or ``wo``.

    On an instance it is a bytearray: ``card.buffer[0:4] = b"abcd"``.  `reset` is its contents at power-on, repeated as
    often as it fits.  Accesses are told as ``buffer+0x10``; its hooks are told the offset in the memory first.
    """

    __slots__ = ("access", "effects", "reset", "size")

    def __init__(
        self,
        offset: int,
        size: int,
        access: str = "rw",
        reset: bytes = b"\0",
        doc: str = "",
        on_read: Names = (),
        on_write: Names = (),
    ) -> None:
        super().__init__(offset, doc, on_read, on_write)
        self.size = size
        self.access = access
        self.reset = reset
        self.effects: Effects

    def __repr__(self) -> str:
        return f"<Memory {self.name} {self.offset:#x} {self.size:#x} bytes {self.access}>"

    @overload
    def __get__(self, block: None, owner: type) -> Memory: ...
    @overload
    def __get__(self, block: RegisterBlock, owner: type) -> bytearray: ...
    def __get__(self, block: Optional[RegisterBlock], owner: type) -> Union[Memory, bytearray]:
        return self if block is None else self.bytes_of(block)

    def __set__(self, block: RegisterBlock, value: bytes) -> None:
        data = bytes(value)
        if len(data) != self.size:
            from machine.testing import messages

            raise ValueError(messages.memory_set(self, block, len(data)))
        self.bytes_of(block)[:] = data

    def bytes_of(self, block: RegisterBlock) -> bytearray:
        """The device's own."""
        found = block.stores.get(self.name)
        if found is None:
            found = block.stores[self.name] = self.at_reset()
        assert isinstance(found, bytearray)
        return found

    def at_reset(self) -> bytearray:
        """Its contents at power-on."""
        return _FixedBytes((self.reset * (self.size // len(self.reset) + 1))[: self.size])

    @property
    def end(self) -> int:
        """Offset of the first byte behind it."""
        return self.offset + self.size

    def cell(self, offset: int, end: int) -> Reg:
        """The bytes of it that [offset, end) touches, as a register of the block."""
        first = max(offset, self.offset)
        return _Cell(self, first, min(end, self.end) - first)


class _FixedBytes(bytearray):
    """A memory's bytes: a slice is given as many as it has, since one that grew would move all that follow."""

    __slots__ = ()

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(key, slice):
            value, there = bytes(value), len(range(*key.indices(len(self))))
            if len(value) != there:
                raise ValueError(f"{len(value)} bytes for {there} of a memory: it does not grow or shrink")
        super().__setitem__(key, value)

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise ValueError("a device's memory does not grow or shrink")

    append = extend = insert = pop = remove = clear = __delitem__ = __iadd__ = __imul__ = _refuse


class _Cell(Reg):
    """Some bytes of a memory, for one access."""

    __slots__ = ("memory",)

    def __init__(self, memory: Memory, offset: int, width: int) -> None:
        self.memory = memory
        self.offset = offset
        self.width = width
        self.access = memory.access
        self.reset = 0
        self.widths = ()
        self.fields = {}
        self.effects = memory.effects
        self.name = f"{memory.name}+{offset - memory.offset:#x}"

    @property
    def hook(self) -> str:
        return self.memory.name

    @property
    def place(self) -> tuple[int, ...]:
        return (self.offset - self.memory.offset,)

    def fetch(self, block: RegisterBlock) -> int:
        start = self.offset - self.memory.offset
        return int.from_bytes(self.memory.bytes_of(block)[start : start + self.width], "little")

    def take(self, block: RegisterBlock, taken: int, given: int) -> int:
        start = self.offset - self.memory.offset
        self.memory.bytes_of(block)[start : start + self.width] = (given & self.mask).to_bytes(self.width, "little")
        return given & self.mask
