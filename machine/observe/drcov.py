"""Coverage of the guest's code in DynamoRIO's drcov format (version 2), which Lighthouse and its like read.

The engine calls back for each block of code that runs, only while this view is there.  Blocks are told by file: those
of all processes that run the same program or library are one module's, whatever address it was loaded at.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from machine.hardware.ram import PAGE_SHIFT
from machine.hardware.watching import unwatch_blocks, watch_blocks

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.mm.space import mm_struct

_BLOCK = struct.Struct("<IHH")
_PACKED = struct.Struct("<IH")
_MAX_SIZE = 0xFFFF


def base_of(mm: mm_struct, node: object) -> int:
    """The address of a file's first byte, as its lowest area in an address space has it."""
    areas = (vma for vma in mm.areas if vma.vm_file is not None and vma.vm_file.f_inode is node)
    lowest = next(areas)
    return lowest.vm_start - (lowest.vm_pgoff << PAGE_SHIFT)


class _Module:
    __slots__ = ("base", "blocks", "size")

    def __init__(self, base: int) -> None:
        self.base = base
        """Where it was first loaded."""
        self.size = 0
        """Bytes from there to the end of its last area that had code which ran."""
        self.blocks: set[tuple[int, int]] = set()
        """(offset, bytes)."""


class Blocks:
    """The blocks of all programs and libraries of one run, or of many."""

    def __init__(self) -> None:
        self.modules: dict[str, _Module] = {}

    def add(self, path: str, base: int, size: int, blocks: Iterable[tuple[int, int]]) -> None:
        """Add blocks, (offset, bytes), of a file that was loaded at `base`."""
        module = self.modules.get(path)
        if module is None:
            module = self.modules[path] = _Module(base)
        module.size = max(module.size, size)
        module.blocks.update(blocks)

    def add_all(self, others: Blocks) -> None:
        """Add what other runs had."""
        for path, module in others.modules.items():
            self.add(path, module.base, module.size, module.blocks)

    def total(self) -> int:
        """How many blocks there are."""
        return sum(len(module.blocks) for module in self.modules.values())

    def pack(self) -> list[list[Any]]:
        """Plain lists, strings, numbers and bytes, for another process."""
        return [
            [path, each.base, each.size, b"".join(_PACKED.pack(*block) for block in sorted(each.blocks))]
            for path, each in self.modules.items()
        ]

    def add_packed(self, packed: list[list[Any]]) -> None:
        """Add what another process has packed."""
        for path, base, size, blocks in packed:
            self.add(path, base, size, _PACKED.iter_unpack(blocks))

    def write(self, output: BinaryIO) -> None:
        """Write a drcov file and close it.  OSError."""
        modules = list(self.modules.items())
        head = f"DRCOV VERSION: 2\nDRCOV FLAVOR: nopage\nModule Table: version 2, count {len(modules)}\n"
        head += "Columns: id, base, end, entry, path\n"
        for number, (name, each) in enumerate(modules):
            path = name.replace("\n", "\\x0a")  # a module is a line
            head += f"{number:3}, {each.base:#018x}, {each.base + each.size:#018x}, {0:#018x}, {path}\n"
        head += f"BB Table: {self.total()} bbs\n"
        with output:
            output.write(head.encode(errors="surrogateescape"))
            for number, (_, each) in enumerate(modules):
                output.write(b"".join(_BLOCK.pack(*block, number) for block in sorted(each.blocks)))


class BlockView:
    """Watches the blocks of one machine until `close`, which adds them to each of `blocks`."""

    def __init__(self, kernel: Kernel, blocks: Sequence[Blocks]) -> None:
        self._kernel, self._sums = kernel, blocks
        self._found = Blocks()
        self._seen: set[tuple[int, int, int]] = set()
        """(number of the address space, address, bytes)."""
        watch_blocks(kernel.cpu, self._block)

    def _block(self, address: int, size: int) -> None:
        mm = self._kernel.sched.loaded_mm
        if mm is None:
            return
        key = mm.number, address, size
        if key not in self._seen:
            self._seen.add(key)
            self._first_time(mm, address, size)

    def _first_time(self, mm: mm_struct, address: int, size: int) -> None:
        vma = mm.vma_at(address)
        if vma is None or vma.vm_file is None:
            return
        base = base_of(mm, vma.vm_file.f_inode)
        self._found.add(vma.vm_file.f_path, base, vma.vm_end - base, ((address - base, min(size, _MAX_SIZE)),))

    def close(self) -> None:
        """Add up, and watch no more."""
        unwatch_blocks(self._kernel.cpu, self._block)
        for each in self._sums:
            each.add_all(self._found)


class Drcov:
    """``nopage run --drcov``: the blocks of one machine, written to `output`, a binary file, by `close`."""

    def __init__(self, kernel: Kernel, output: BinaryIO) -> None:
        self._output = output
        self._blocks = Blocks()
        self._view = BlockView(kernel, (self._blocks,))

    def close(self) -> None:
        """Write the file."""
        self._view.close()
        self._blocks.write(self._output)
