"""Why there was no page, as a driver or the kernel says: for the line about the signal, `--faults`, gdb, cores."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Optional

from machine.hardware.ram import PAGE_SHIFT
from machine.kernel.abi.errno import ENOMEM, ENOSPC, Errno
from machine.kernel.mm.page import NOPAGE_OOM, NOPAGE_SIGBUS, NopageResult

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.mm.space import mm_struct
    from machine.kernel.mm.vma import vm_area_struct


def refused(vma: vm_area_struct, operation: str, method: Any, what: str) -> None:
    """Keep ``scullp.nopage returned NOPAGE_SIGBUS (scullp.py:203)`` in `kernel.refused`.

    The kernel's own method (`filemap_nopage`) has kept its reason there itself, and no line of its source would help.
    """
    kernel, owner = vma.vm_mm.kernel, vma.vm_ops.owner if vma.vm_ops is not None else None
    if owner is None:
        kernel.fault_answer = refusal(kernel, vma)
        return
    code = getattr(method, "__code__", None)
    where = f" ({os.path.basename(code.co_filename)}:{code.co_firstlineno})" if code is not None else ""
    kernel.refused = (vma, f"{owner.name}.{operation} {what}{where}")


def beyond_end(vma: vm_area_struct, size: int) -> NopageResult:
    """The answer of `filemap_nopage` for an area that is longer than its file."""
    vma.vm_mm.kernel.refused = (vma, f"beyond the end of the file ({size} byte{'' if size == 1 else 's'})")
    return NOPAGE_SIGBUS


def not_read(vma: vm_area_struct, error: Errno) -> NopageResult:
    """Its answer for a page that could not be had: EIO of the host, ENOSPC of a tmpfs, ENOMEM."""
    why = {ENOSPC: "no space is left for this page of the file", ENOMEM: "no frame is free for this page of the file"}
    text = why.get(error.errno, "this page of the file can't be read")
    vma.vm_mm.kernel.refused = (vma, f"{text} ({error})")
    return NOPAGE_OOM if error.errno == ENOMEM else NOPAGE_SIGBUS


def refusal(kernel: Kernel, vma: Optional[vm_area_struct]) -> str:
    """What the area's driver, or the kernel, said of the area's last fault; "" where the last refusal was another's."""
    return kernel.refused[1] if vma is not None and kernel.refused[0] is vma else ""


def device_offset(mm: mm_struct, address: int) -> str:
    """``offset 0x1000 of /dev/scullp0``: which byte of the mapped object an address is; "" for anonymous memory."""
    vma = mm.vma_at(address)
    if vma is None or vma.vm_file is None:
        return ""
    return f"offset {address - vma.vm_start + (vma.vm_pgoff << PAGE_SHIFT):#x} of {vma.vm_file.f_path}"
