"""What a driver's `mmap` method left behind, taken over by the kernel (the end of mm/mmap.c: mmap_region)."""

from __future__ import annotations

from typing import Any

from machine.hardware.paging import RW
from machine.kernel.answers import nonsense
from machine.kernel.dialect import is_today
from machine.kernel.fs.file import vm_operations_struct
from machine.kernel.mm.vma import wants_writenotify


def adopt_area(owner: Any, method: Any, vma: Any) -> bool:
    """After a driver's `mmap` method: the operations it gave its area are the driver's, and know its dialect.

    In today's dialect an area without operations has empty ones (`dummy_vm_ops`, mm/mmap.c of 4.18), so that a page
    that nobody mapped is SIGBUS; and the entries of one with `page_mkwrite` begin read-only.  False: `vm_ops` is none.
    """
    ops = vma.vm_ops
    today = is_today(owner)
    if ops is None:
        if today:
            ops = vma.vm_ops = vm_operations_struct()
            ops.owner, ops.today = owner, True
        return True
    if not isinstance(ops, vm_operations_struct):
        vma.vm_ops = None
        nonsense(owner, "mmap", method, ops, "as vma.vm_ops, which is no vm_operations_struct")
        return False
    if ops.owner is None:
        ops.owner = owner
    if ops.owner is owner:
        ops.today = today
        if wants_writenotify(vma):
            vma.vm_page_prot &= ~RW
    return True
