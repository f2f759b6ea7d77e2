"""The line that says why a program died: gathered while the process is still there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Optional

from machine.events import Signal
from machine.hardware.ram import PAGE_SHIFT
from machine.kernel.abi.signal import describe, layout_of, name

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.mm.space import mm_struct

ReadFile = Callable[[str], bytes]


def said_of(kernel: Kernel, mm: mm_struct, address: int) -> str:
    """``offset 0x1000 of /dev/scullp0: scullp.nopage returned NOPAGE_SIGBUS (scullp.py:203)``; "" where nobody refused.

    Without the offset for anonymous memory.
    """
    from machine.kernel.mm.refusal import device_offset, refusal

    why = refusal(kernel, mm.vma_at(address))
    return f"{device_offset(mm, address)}: {why}".removeprefix(": ") if why else ""


def why_line(kernel: Kernel, mm: mm_struct, event: Signal, read_file: ReadFile) -> str:
    """Why a process dies of `event`, in one line; `mm` is its memory."""
    if mm.not_started:
        signal = name(event.signo)
        return f"{event.comm} (pid {event.pid}): killed by {signal} while it was being started: {mm.not_started}"
    if layout_of(event.signo, event.si_code) != "fault" and event.si_code != 0x80:
        return f"{event.comm} (pid {event.pid}): killed by {name(event.signo)}"
    from machine.observe.faults import fatal_line

    code = mm.vma_at(event.rip)
    mapping = None
    if code is not None and code.vm_file is not None:
        mapping = (code.vm_file.f_path, code.vm_start, code.vm_pgoff << PAGE_SHIFT)
    area = mm.vma_at(event.address) if layout_of(event.signo, event.si_code) == "fault" else None
    return fatal_line(
        event, kernel.peek_user(mm, event.rip, 16), mm.bits, "" if area is None else area.maps_line(), mapping,
        read_file, said_of(kernel, mm, event.address) if area is not None else "",
    )  # fmt: skip


class FatalSignals:
    """Listens for deadly signals of processes that the user started, and keeps a line for each.

    Only a signal that a person may wonder about costs anything: the disassembler and the symbols are loaded then.
    """

    def __init__(self, kernel: Kernel, read_file: ReadFile) -> None:
        self.kernel = kernel
        self.read_file = read_file
        self._lines: dict[int, str] = {}
        kernel.events.listen("signal", self._on_signal)

    def _on_signal(self, event: Signal) -> None:
        task = self.kernel.tasks.get(event.pid)
        if event.action not in ("core", "terminate") or task is None or task.tgid not in self.kernel.spawned:
            return
        self._lines[task.tgid] = why_line(self.kernel, task.mm, event, self.read_file)

    def line(self, fatal: Optional[Signal], program: str, signo: int) -> str:
        """What is known about the death of a process; `fatal` is the event that ended it."""
        kept = self._lines.pop(fatal.pid, None) if fatal is not None else None
        if kept is not None:
            return kept
        return f"{program}: killed by {name(signo) if fatal is None else describe(signo, fatal.si_code)}"
