"""Coverage of the guest's code in DynamoRIO's drcov format (version 2), which Lighthouse and its like read.

The engine calls back for each block of code that runs, only while this view is there.  Blocks are told by file: those
of all processes that run the same program or library are one module's, whatever address it was loaded at.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, BinaryIO

from machine.hardware.ram import PAGE_SHIFT
from machine.hardware.watching import unwatch_blocks, watch_blocks

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.mm.space import mm_struct

_BLOCK = struct.Struct("<IHH")
_MAX_SIZE = 0xFFFF


def base_of(mm: mm_struct, node: object) -> int:
    """The address of a file's first byte, as its lowest area in an address space has it."""
    areas = (vma for vma in mm.areas if vma.vm_file is not None and vma.vm_file.f_inode is node)
    lowest = next(areas)
    return lowest.vm_start - (lowest.vm_pgoff << PAGE_SHIFT)


class _Module:
    __slots__ = ("base", "blocks", "end", "number")

    def __init__(self, number: int, base: int) -> None:
        self.number = number
        self.base = self.end = base
        """Where it was first loaded."""
        self.blocks: set[tuple[int, int]] = set()
        """(offset, bytes)."""


class Drcov:
    """Collects blocks until `close`, which writes `output`, a binary file."""

    def __init__(self, kernel: Kernel, output: BinaryIO) -> None:
        self._kernel, self._output = kernel, output
        self._modules: dict[str, _Module] = {}
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
        path = vma.vm_file.f_path
        base = base_of(mm, vma.vm_file.f_inode)
        module = self._modules.get(path)
        if module is None:
            module = self._modules[path] = _Module(len(self._modules), base)
        module.end = max(module.end, module.base + vma.vm_end - base)
        module.blocks.add((address - base, min(size, _MAX_SIZE)))

    def close(self) -> None:
        """Write the file."""
        unwatch_blocks(self._kernel.cpu, self._block)
        modules = sorted(self._modules.items(), key=lambda item: item[1].number)
        blocks = [(o, s, m.number) for _, m in modules for o, s in sorted(m.blocks)]
        head = f"DRCOV VERSION: 2\nDRCOV FLAVOR: nopage\nModule Table: version 2, count {len(modules)}\n"
        head += "Columns: id, base, end, entry, path\n"
        for path, m in modules:
            head += f"{m.number:3}, {m.base:#018x}, {m.end:#018x}, {0:#018x}, {path}\n"
        head += f"BB Table: {len(blocks)} bbs\n"
        with self._output as output:
            output.write(head.encode(errors="surrogateescape"))
            output.write(b"".join(_BLOCK.pack(*block) for block in blocks))
