"""Where in its program a task is, for people: the innermost place with a source line."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Optional

from machine.hardware.cpu import RIP, RSP
from machine.hardware.ram import PAGE_SHIFT
from machine.kernel.mm.vma import VM_EXEC
from machine.observe.symbols import Location, Symbols

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.mm.vma import vm_area_struct
    from machine.kernel.task.task import Task

STACK_SCANNED = 2048
"""Bytes of the stack in which the caller with a source line is looked for."""


def mapping_of(area: Optional[vm_area_struct]) -> Optional[tuple[str, int, int]]:
    """What `Symbols` wants to know of an area."""
    if area is None or area.vm_file is None:
        return None
    return area.vm_file.f_path, area.vm_start, area.vm_pgoff << PAGE_SHIFT


class Sources:
    """Names of the places in the programs of a machine, whose files `read_file` reads."""

    def __init__(self, kernel: Kernel, read_file: Callable[[str], bytes]) -> None:
        self.kernel = kernel
        self._symbols = Symbols(read_file)

    def at(self, task: Task, rip: int) -> Location:
        """Function and line of an address."""
        return self._symbols.locate(rip, mapping_of(task.mm.vma_at(rip)))

    def here(self, task: Task) -> str:
        """Where the task is: the innermost place with a source line, as far as the stack tells it."""
        regs = self.kernel.cpu.regs
        place = self.at(task, regs[RIP])
        if place.line:
            return str(place)
        caller = self._caller(task, regs[RSP])
        return str(caller) if caller is not None else str(place) or f"{regs[RIP]:#x}"

    def _caller(self, task: Task, stack: int) -> Optional[Location]:
        """The first word on the stack that follows a call in code with lines.  No unwinding: libraries often have no
        information for it."""
        width = task.abi.bits // 8
        data = self.kernel.peek_user(task.mm, stack, STACK_SCANNED)
        for (word,) in struct.iter_unpack("<Q" if width == 8 else "<I", data[: len(data) // width * width]):
            area = task.mm.vma_at(word)
            if area is None or not area.vm_flags & VM_EXEC:
                continue
            before = self.kernel.peek_user(task.mm, word - 5, 5)
            if before[:1] == b"\xe8" or before[3:4] == b"\xff" or before[2:3] == b"\xff":
                place = self.at(task, word - 1)
                if place.line:
                    return place
        return None
