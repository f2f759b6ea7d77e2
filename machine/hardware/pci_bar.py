"""What a PCI function has besides its header: base address registers, an expansion ROM, capabilities."""

from __future__ import annotations

import mmap
from typing import Any, NamedTuple, Optional

from machine.hardware.pci_regs import (  # isort: skip
    PCI_BASE_ADDRESS_MEM_PREFETCH, PCI_BASE_ADDRESS_MEM_TYPE_64, PCI_BASE_ADDRESS_SPACE_IO,
)  # fmt: skip
from machine.hardware.ram import PAGE_SIZE
from machine.hardware.registers import RegisterBlock, Touch


class PciError(Exception):
    """A card is declared wrongly."""


def wrong_card(text: str, *facts: Any) -> PciError:
    """The error whose words are `messages.TEXT(*facts)`."""
    from machine.testing import messages

    return PciError(getattr(messages, text)(*facts))


class Capability(NamedTuple):
    """One entry of the capabilities list: `body` follows its two bytes of identifier and pointer."""

    id: int
    body: bytes
    writable: bytes = b""
    """Bits of `body` that can be written; what is missing is read-only."""


class Bar:
    """One base address register, and what is behind it.

    `size` is what it takes of the address space, a power of two: at least 4096 for memory, 4 to 256 for I/O
    (`io`).  It may be left out when a `block` or `memory` says how much it is.  `block` is a RegisterBlock at
    the start.  `memory` is how many bytes of memory the card has there; what is behind it reads as ones, as do all
    bytes of a BAR with neither.  `bits` is 32 or 64.
    """

    def __init__(
        self,
        size: int = 0,
        *,
        block: Optional[RegisterBlock] = None,
        memory: int = 0,
        prefetchable: bool = False,
        bits: int = 32,
        io: bool = False,
    ) -> None:
        if block is not None and not isinstance(block, RegisterBlock):
            raise wrong_card("no_block", block)
        behind = memory if block is None else (0 if io else block.size)
        self.size = size or 1 << max(0, behind - 1).bit_length()
        least, most = (4, 256) if io else (PAGE_SIZE, 1 << bits - 1)
        if self.size & self.size - 1 or not least <= self.size <= most:
            raise wrong_card("wrong_bar_size", least, most, self.size)
        if behind > self.size or memory % PAGE_SIZE or bits not in (32, 64) or (memory and (io or block is not None)):
            raise wrong_card("wrong_bar", self.size, behind, bits)
        self.block = block
        self.memory = memory
        self.prefetchable = prefetchable
        self.bits = bits
        self.io = io
        self._store: Optional[mmap.mmap] = None

    @property
    def store(self) -> mmap.mmap:
        """The card's memory as the bus takes it.  The host commits its pages when they are touched."""
        if self._store is None:
            self._store = mmap.mmap(-1, self.memory, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        return self._store

    @property
    def buffer(self) -> memoryview:
        """The card's memory, `memory` bytes."""
        return memoryview(self.store)

    @property
    def flags(self) -> int:
        """The low bits of the register, which say what kind it is."""
        if self.io:
            return PCI_BASE_ADDRESS_SPACE_IO
        wide = PCI_BASE_ADDRESS_MEM_TYPE_64 if self.bits == 64 else 0
        return wide | (PCI_BASE_ADDRESS_MEM_PREFETCH if self.prefetchable else 0)


class Rom(RegisterBlock):
    """An expansion ROM on the bus: its bytes, then ones; writes are lost."""

    def __init__(self, name: str, data: bytes, size: int) -> None:
        self.name = name
        self.size = size  # type: ignore[misc]  # of this ROM, not of all
        self.data = data
        super().__init__()

    def read(self, offset: int, width: int) -> tuple[int, list[Touch]]:
        piece = self.data[offset : offset + width]
        return int.from_bytes(piece + b"\xff" * (width - len(piece)), "little"), []

    def write(self, offset: int, width: int, value: int) -> list[Touch]:
        self.stray += 1
        return []
