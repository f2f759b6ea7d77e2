"""Structures in a driver's hands: what it writes into them is checked as C's compiler would, at the driver's line.

A float or None in `vma.vm_end` goes wrong much later, in the accounts or when the process ends, where nobody can be
blamed.  An area has its class of here while a driver's `mmap` or `open` runs, and is a `linked_area` after that, which
moves no bounds; a driver's open file always has its class.
"""

from __future__ import annotations

from typing import Any, NoReturn

from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.answers import is_number, nonsense
from machine.kernel.fs.file import dentry, file, file_operations, vm_operations_struct
from machine.kernel.mm.uncounted import call_mmap
from machine.kernel.mm.vma import linked_area, vm_area_struct

_OF_AREA = frozenset(("vm_end", "vm_flags", "vm_page_prot", "vm_pgoff", "vm_start"))
_OF_FILE = frozenset(("f_count", "f_flags", "f_mode", "f_pos"))
_PLACE = frozenset(("vm_end", "vm_pgoff", "vm_start"))
_STRUCTS = {"f_dentry": dentry, "f_op": file_operations}


class lent_area(vm_area_struct):
    """An area while its driver's `mmap` or `open` runs.  Page faults see one class of areas only: faster."""

    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> None:
        _check(name, value)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        no_field_goes("vma", name)


def no_field_goes(struct: str, name: str) -> NoReturn:
    """`del vma.vm_ops`: a structure keeps its fields."""
    raise TypeError(f"del {struct}.{name}: a field of a structure does not go; assign NULL or 0")


def _check(name: str, value: Any) -> None:
    if name in _OF_AREA:
        _number("vma", name, value, 0 if name == "vm_page_prot" else -(1 << 63))
    elif name == "vm_mm" or (name == "vm_file" and not isinstance(value, file)):
        raise TypeError(f"vma.{name} = {value!r}: it is the kernel's")


def check_linked(vma: vm_area_struct, name: str, value: Any) -> None:
    """TypeError for what no method but `mmap` may write: the kernel has the area in its lists by then."""
    if name == "vm_offset":
        _number("vma", name, value)
        name, value = "vm_pgoff", value >> PAGE_SHIFT
    _check(name, value)
    if name in _PLACE and value != getattr(vma, name):
        raise TypeError(f"vma.{name} = {value:#x}: the area is where it is since its mmap returned")
    if name == "vm_ops" and value is not None and not isinstance(value, vm_operations_struct):
        raise TypeError(f"vma.vm_ops = {value!r}: no struct vm_operations_struct")


class lent_file(file):
    """An open file of a driver."""

    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OF_FILE:
            _number("filp", name, value)
        elif name in _STRUCTS and not isinstance(value, _STRUCTS[name]):
            raise TypeError(f"filp.{name} = {value!r}: no struct {_STRUCTS[name].__name__}")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        no_field_goes("filp", name)


def _number(struct: str, name: str, value: Any, least: int = -(1 << 63)) -> None:
    """TypeError for what C would not take, or not without overflow, for a long."""
    if not is_number(value) or value < least:
        hint = " ('//' divides whole numbers)" if isinstance(value, float) else ""
        why = "out of range" if isinstance(value, int) else "no whole number"
        raise TypeError(f"{struct}.{name} = {value!r}: {why}{hint}")


def lend_to_mmap(owner: Any, method: Any, args: tuple[Any, ...]) -> Any:
    """Call a driver's `mmap` method; DRIVER_FAILED, and the old bounds, when it leaves bounds that are none."""
    from machine.kernel.module import DRIVER_FAILED

    vma = args[1]
    bounds = vma.vm_start, vma.vm_end
    vma.__class__, found = lent_area, ""
    try:
        result = call_mmap(owner, method, args)
    finally:
        vma.__class__ = linked_area
        if (vma.vm_start, vma.vm_end) != bounds:
            found = _wrong_bounds(vma)
            if found:
                vma.vm_start, vma.vm_end = bounds
    if found:
        nonsense(owner, "mmap", method, result, f"with {found}")
        return DRIVER_FAILED
    return result


def _wrong_bounds(vma: vm_area_struct) -> str:
    """Why an area that is not linked yet can't be where it is; "" when it can."""
    start, end, mm = vma.vm_start, vma.vm_end, vma.vm_mm
    where = f"vma.vm_start = {start:#x}, vma.vm_end = {end:#x}: "
    if start % PAGE_SIZE or end % PAGE_SIZE:
        return where + "not at a page"
    if not 0 <= start < end <= mm.task_size:
        return where + "no area of user memory"
    return where + "another area is there" if mm.areas.within(start, end) else ""


def lend_to_open(vma: vm_area_struct) -> None:
    """Call the `open` of an area's driver: it moves no bounds."""
    from machine.kernel.module import call_driver

    ops = vma.vm_ops
    assert ops is not None and ops.open is not None
    bounds, usual = (vma.vm_start, vma.vm_end), vma.__class__
    vma.__class__ = lent_area
    try:
        call_driver(vma.vm_mm.kernel, ops.owner, "vma open", ops.open, vma)
    finally:
        vma.__class__ = usual
    if (vma.vm_start, vma.vm_end) != bounds:
        moved = f"{vma.vm_start:#x}-{vma.vm_end:#x}"
        vma.vm_start, vma.vm_end = bounds
        nonsense(ops.owner, "open", ops.open, None, f"having moved its area to {moved}")
