"""The smallest machine that the engine's facts can be tried on: RAM, one set of user tables, a `Cpu`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from machine.hardware.cpu import RAX, RBX, RCX, RDI, RDX, RIP, RSI, RSP, Cpu
from machine.hardware.gdt import CPU_ENTRY_AREA, map_entry_area
from machine.hardware.paging import NX, RW, US, P, PageTables
from machine.hardware.ram import PAGE_SIZE, MiB, Ram

BOOT = 0x100000
CODE = 0x400000
DATA = 0x500000
STACK = 0x700000

SYSCALL = b"\x0f\x05"
UD2 = b"\x0f\x0b"
READONLY_DATA = P | US | NX
DATA_BITS = P | US | RW | NX
CODE_BITS = P | US
REGISTERS = {"rax": RAX, "rbx": RBX, "rcx": RCX, "rdx": RDX, "rsi": RSI, "rdi": RDI, "rsp": RSP}


class Fault(NamedTuple):
    rip: int
    address: int
    error_code: int


class Board:
    """Runs bytes of machine code in ring 3.

    A page fault maps a fresh frame, a system call ends the run, another exception is noted and ends the run; a test
    replaces `on_fault`, `on_syscall` and `on_exception` where it wants something else.
    """

    def __init__(self, size: int = 16 * MiB) -> None:
        self.ram = Ram(size)
        self._next = 0x200000
        kernel = PageTables(self.ram, self.frame, self._forget)
        map_entry_area(kernel, BOOT)
        self.kernel = kernel
        self.cpu = Cpu(self.ram, kernel.cr3, BOOT)
        self.tables = self.new_tables()
        self.faults: list[Fault] = []
        self.exceptions: list[tuple[int, int]] = []
        self.on_fault: Callable[[int, int], None] = lambda address, _error: self._supply(address)
        self.on_syscall: Callable[[], None] = self.cpu.stop
        self.on_exception: Callable[[int], None] = lambda _vector: self.cpu.stop()
        self.cpu.on_page_fault = self._fault
        self.cpu.on_syscall = self._syscall
        self.cpu.on_exception = self._exception

    def frame(self) -> int:
        """Physical address of a frame that nobody used: zeros."""
        self._next += PAGE_SIZE
        return self._next - PAGE_SIZE

    @staticmethod
    def _forget(_physical: int) -> None:
        return None

    def new_tables(self) -> PageTables:
        tables = PageTables(self.ram, self.frame, self._forget)
        tables.share(self.kernel, CPU_ENTRY_AREA)
        return tables

    def map(self, va: int, bits: int = DATA_BITS, physical: int | None = None, content: bytes = b"") -> int:
        """Map one page (a fresh frame unless `physical` is given) and return its physical address."""
        physical = self.frame() if physical is None else physical
        self.ram.view[physical : physical + len(content)] = content
        self.tables.set(va, physical | bits)
        return physical

    def entry(self, va: int) -> int:
        return self.tables.get(va)

    def start(self, code: bytes, **options: int) -> None:
        """`load`, and run until something stops it."""
        self.load(code, **options)
        self.cpu.run()

    def load(
        self, code: bytes, *, bits: int = 64, at: int = CODE, code_bits: int = CODE_BITS, **registers: int
    ) -> None:
        """Put `code` at `at` and load a fresh image that starts there."""
        for offset in range(0, len(code) + (at & 0xFFF), PAGE_SIZE):
            page = (at & -PAGE_SIZE) + offset
            if not self.entry(page):
                self.map(page, code_bits)
        self.put(at, code)
        self.cpu.fresh_image(bits, self.tables.cr3)
        self.cpu.regs[RIP], self.cpu.regs[RSP] = at, STACK
        for name, value in registers.items():
            self.cpu.regs[REGISTERS[name]] = value

    def put(self, va: int, data: bytes) -> None:
        """Write to present pages, as Python sees RAM."""
        for i, byte in enumerate(data):
            physical = self.entry(va + i) & 0x000F_FFFF_FFFF_F000
            self.ram.view[physical + (va + i & 0xFFF)] = byte

    def get(self, va: int, count: int) -> bytes:
        return bytes(
            self.ram.view[(self.entry(va + i) & 0x000F_FFFF_FFFF_F000) + (va + i & 0xFFF)] for i in range(count)
        )

    def _supply(self, address: int) -> None:
        self.map(address & -PAGE_SIZE)

    def _fault(self, address: int, error_code: int) -> None:
        self.faults.append(Fault(self.cpu.regs[RIP], address, error_code))
        self.on_fault(address, error_code)

    def _syscall(self) -> None:
        self.on_syscall()

    def _exception(self, vector: int) -> None:
        self.exceptions.append((vector, self.cpu.regs[RIP]))
        self.on_exception(vector)
