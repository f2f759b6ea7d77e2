"""What a driver said when it gave no page: for the line about the signal, `--faults`, gdb and the core."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Optional

from machine.hardware.ram import PAGE_SHIFT

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.mm.space import mm_struct
    from machine.kernel.mm.vma import vm_area_struct


def refused(vma: vm_area_struct, operation: str, method: Any, what: str) -> None:
    """Keep ``scullp.nopage returned NOPAGE_SIGBUS (scullp.py:203)`` in `kernel.refused`."""
    code = getattr(method, "__code__", None)
    where = f" ({os.path.basename(code.co_filename)}:{code.co_firstlineno})" if code is not None else ""
    owner = vma.vm_ops.owner if vma.vm_ops is not None else None
    vma.vm_mm.kernel.refused = (vma, f"{getattr(owner, 'name', '?')}.{operation} {what}{where}")


def refusal(kernel: Kernel, vma: Optional[vm_area_struct]) -> str:
    """What the area's driver said of the last fault that it refused; "" where the last fault was another's."""
    return kernel.refused[1] if vma is not None and kernel.refused[0] is vma else ""


def device_offset(mm: mm_struct, address: int) -> str:
    """``offset 0x1000 of /dev/scullp0``: which byte of the mapped object an address is; "" for anonymous memory."""
    vma = mm.vma_at(address)
    if vma is None or vma.vm_file is None:
        return ""
    return f"offset {address - vma.vm_start + (vma.vm_pgoff << PAGE_SHIFT):#x} of {vma.vm_file.f_path}"
