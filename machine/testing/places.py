"""Where in a program something happens: the place that `at=` of an injection names, and the line of a hit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from machine.errors import ConfigError, is_the_users
from machine.hardware.cpu import RIP
from machine.hardware.paging import P
from machine.hardware.ram import PAGE_MASK, PAGE_SHIFT
from machine.kernel.mm.pte import DEVICE, PTE_PFN
from machine.kernel.mm.vma import VM_EXEC, VM_SHARED
from machine.observe.sources import Sources
from machine.testing import messages

if TYPE_CHECKING:
    from machine import Machine
    from machine.kernel.mm.vma import vm_area_struct
    from machine.kernel.task.task import Task

__tracebackhide__ = is_the_users

REGISTER_BYTES = 4
_LINE = re.compile(r"[\w.+-]+:\d+")
_SYMBOL = re.compile(r"[A-Za-z_]\w*")


class Touch(NamedTuple):
    """One fault, as places are compared with it."""

    address: int
    area: Optional[vm_area_struct]
    physical: int
    """Of a device's register; -1 for anything else."""


class Place:
    """What `at=` says: an address, ``/dev/uio0`` or ``/dev/uio0+0x8``, ``timer.status``, ``timer.c:38`` or the name of
    a function."""

    def __init__(self, machine: Machine, at: Any, sources: Sources) -> None:
        self._machine, self._sources, self.text = machine, sources, at
        self._path, self._offset = "", -1
        self._physical = -1
        self._code = ""
        if isinstance(at, int):
            self.text = f"{at:#x}"
            self._address = at
            return
        self._address = -1
        self._parse(str(at))

    def _parse(self, at: str) -> None:
        if at.startswith("/"):
            self._path, plus, offset = at.partition("+")
            self._offset = int(offset, 0) if plus else -1
        elif _LINE.fullmatch(at) or _SYMBOL.fullmatch(at):
            self._code = at
        else:
            self._physical = self._register(at)

    def _register(self, at: str) -> int:
        device, _, register = at.partition(".")
        known = []
        for each in self._machine.kernel.bus.blocks:
            for name, reg in each.block.registers.items():
                if each.recorded:
                    known.append(f"{each.block.name}.{name}")
                if (each.block.name, name) == (device, register):
                    return int(each.start + reg.offset)
        raise ConfigError(messages.no_such_place(at, known))

    def holds(self, task: Task, touch: Touch) -> bool:
        """Whether a fault is there.  A page is one place; a register has its own bytes."""
        if self._code:
            where = self._sources.at(task, self._machine.kernel.cpu.regs[RIP])
            return self._code in (where.function, f"{where.file}:{where.line}")
        if self._physical >= 0:
            return 0 <= touch.physical - self._physical < REGISTER_BYTES
        if not self._path:
            return _near(touch, touch.address, self._address)
        area = touch.area
        if area is None or area.vm_file is None or area.vm_file.f_path != self._path:
            return False
        offset = touch.address - area.vm_start + (area.vm_pgoff << PAGE_SHIFT)
        return self._offset < 0 or _near(touch, offset, self._offset)


def _near(touch: Touch, position: int, wanted: int) -> bool:
    if touch.physical >= 0:
        return 0 <= position - wanted < REGISTER_BYTES
    return position & PAGE_MASK == wanted & PAGE_MASK


def touch_of(task: Task, address: int) -> Touch:
    """What a fault touches."""
    area = task.mm.vma_at(address)
    entry = 0 if area is None else task.mm.tables.get(address)
    if entry & DEVICE and not entry & P:
        return Touch(address, area, (entry & PTE_PFN) | (address & ~PAGE_MASK))
    return Touch(address, area, -1)


def can_be_a_bus_error(touch: Touch) -> bool:
    """Memory of a device, or of a file that is shared: where SIGBUS comes from.  Not a program's own text."""
    area = touch.area
    if area is None or area.vm_file is None:
        return False
    driver = area.vm_ops is not None and area.vm_ops.owner is not None
    return touch.physical >= 0 or driver or bool(area.vm_flags & VM_SHARED and not area.vm_flags & VM_EXEC)
