"""The floor of a page fault: a hook that does nothing but write the entry.

    python -m bench.floor [PAGES] [--binding]

The guest reads one byte a page; the frames are there already, as a driver's are.  What a fault costs above this figure
is the kernel's and the driver's own work.  With --binding the hook is a Python function as Unicorn's binding installs
it, through ctypes, which saves and restores the image itself: all that the engine offers without host code of our own.
"""

from __future__ import annotations

import ctypes
import sys
import time
from typing import Any

from unicorn import unicorn_const as uc_const

from machine.hardware.cpu import RCX, RDI, RIP, Cpu
from machine.hardware.gdt import CPU_ENTRY_AREA, map_entry_area
from machine.hardware.paging import NX, US, P, PageTables
from machine.hardware.ram import PAGE_SIZE, MiB, Ram

_INTR = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p)

BOOT = 0x100000
TABLES = 0x200000
FRAMES = 16 * MiB
CODE, DATA = 0x400000, 0x1000_0000
# 1: mov al, [rdi]; add rdi, 4096; dec ecx; jnz 1b; syscall
LOOP = bytes.fromhex("8a07 4881c700100000 ffc9 75f3 0f05")


class BindingCpu(Cpu):
    """The same processor with a hook through ctypes for exceptions."""

    def _hook(self, kind: int, callback: Any, *extra: Any, **named: Any) -> int:
        handle = super()._hook(kind, callback, *extra, **named)
        if kind == uc_const.UC_HOOK_INTR:
            self._intr_hook = handle
        return handle

    def through_binding(self) -> None:
        """From now on: the calibration needs the other."""
        self._unhook_code(self._intr_hook)
        self._intr_callback = _INTR(self._intr)
        self._hook(uc_const.UC_HOOK_INTR, self._intr_callback)

    def _intr(self, _uc: int, _vector: int, _data: Any) -> None:
        self._save_raw(self._uch_value, self._ctx_value)
        self._ints[self._exception_at] = -1
        self._page_fault_trap()
        self._restore_raw(self._uch_value, self._ctx_value)


def measure(pages: int, binding: bool = False) -> float:
    """Nanoseconds a first touch of `pages` pages; `binding`: with the hook of Unicorn's own binding."""
    ram = Ram(FRAMES + (pages * PAGE_SIZE + 2 * MiB & -2 * MiB))
    free = iter(range(TABLES, FRAMES, PAGE_SIZE))
    kernel = PageTables(ram, lambda: next(free), lambda _physical: None)
    map_entry_area(kernel, BOOT)
    cpu = (BindingCpu if binding else Cpu)(ram, kernel.cr3, BOOT)
    if isinstance(cpu, BindingCpu):
        cpu.through_binding()
    tables = PageTables(ram, lambda: next(free), lambda _physical: None)
    tables.share(kernel, CPU_ENTRY_AREA)
    code = next(free)
    ram.view[code : code + len(LOOP)] = LOOP
    tables.set(CODE, code | P | US)
    for n in range(pages):
        tables.leaf(DATA + n * PAGE_SIZE)
        ram.view[FRAMES + n * PAGE_SIZE] = 1
    words, leaves, seen = ram.words, tables.leaves, 0
    bits = FRAMES - DATA | P | US | NX

    def fault(address: int, _error: int) -> None:
        nonlocal seen
        seen += 1
        words[leaves[address >> 21] + (address >> 12 & 511)] = (address & -PAGE_SIZE) + bits

    cpu.on_page_fault = fault
    cpu.on_syscall = cpu.stop
    cpu.fresh_image(64, tables.cr3)
    cpu.regs[RIP], cpu.regs[RDI], cpu.regs[RCX] = CODE, DATA, pages
    started = time.perf_counter_ns()
    cpu.run()
    taken = time.perf_counter_ns() - started
    if seen != pages:
        raise SystemExit(f"{pages} pages gave {seen} faults")
    return taken / pages


if __name__ == "__main__":
    words = sys.argv[1:]
    through_binding = "--binding" in words
    words = [word for word in words if word != "--binding"]
    print(f"{measure(int(words[0]) if words else 2048, through_binding):.3f}")
