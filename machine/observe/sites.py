"""Where in a program each recorded access to device registers was made.

That is kept when it is made, for the process may be gone when somebody asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Optional

from machine.hardware.ram import PAGE_SHIFT

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.observe.symbols import Mapping

CODE_BYTES = 15


class Site(NamedTuple):
    """One instruction of a program."""

    rip: int
    mapping: Optional[Mapping]
    """The file that it is from, where that is mapped; None for code from nowhere."""
    code: bytes
    bits: int
    comm: str


class Sites:
    """By index in `Bus.record`, where the access was made; nothing for those of the kernel."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.by_index: dict[int, Site] = {}
        self._known: dict[tuple[int, int], Site] = {}

    def __call__(self, pid: int, rip: int) -> None:
        """An access was recorded."""
        task = self.kernel.tasks.get(pid)
        if not rip or task is None or task.mm is None:
            return
        key = task.mm.number, rip
        site = self._known.get(key)
        if site is None:
            mm = task.mm
            vma = mm.vma_at(rip)
            mapping = None
            if vma is not None and vma.vm_file is not None:
                mapping = (vma.vm_file.f_path, vma.vm_start, vma.vm_pgoff << PAGE_SHIFT)
            site = Site(rip, mapping, self.kernel.peek_user(mm, rip, CODE_BYTES), mm.bits, task.comm)
            self._known[key] = site
        self.by_index[len(self.kernel.bus.record) - 1] = site


def watch_sites(kernel: Kernel) -> Sites:
    """Have them kept from now on."""
    kept = kernel.bus.on_record
    if not isinstance(kept, Sites):
        kept = Sites(kernel)
        kernel.bus.on_record = kept
    return kept
