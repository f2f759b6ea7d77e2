"""The register trap on the engine itself: raw code in ring 3, a register block, no system around it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Optional

import pytest

from machine.events import Events, RegisterAccess
from machine.hardware.bus import Bus
from machine.hardware.cpu import DEBUG, EFLAGS, RAX, RDI, RIP, RSP, Cpu
from machine.hardware.gdt import CPU_ENTRY_AREA, map_entry_area
from machine.hardware.paging import NX, PF_PRESENT, RW, US, A, D, P, PageTables
from machine.hardware.ram import PAGE_MASK, PAGE_SIZE, MiB, Ram
from machine.hardware.registers import Reg, RegisterBlock
from machine.kernel.mm.mmio import TF, MmioTrap
from machine.kernel.mm.page import GFP_KERNEL, GFP_ZERO, Memory
from machine.kernel.mm.pte import DEVICE
from machine.kernel.mm.vma import VM_READ, VM_SHARED, VM_WRITE

CODE, DEV, DATA, STACK = 0x400000, 0x500000, 0x600000, 0x700000
BASE = 0xFE000000

pytestmark = pytest.mark.skipif(not shutil.which("gcc"), reason="the test's code is assembled with gcc")


class Block(RegisterBlock):
    """Two pages; registers at the start, around the page boundary, and a FIFO whose reads count up."""

    ctrl = Reg(0x00, reset=0x11223344)
    count = Reg(0x04, access="ro", reset=42)
    wide = Reg(0x08, width=8, reset=0x1122334455667788)
    fifo = Reg(0x10)
    table0 = Reg(0x20, width=8, reset=0x0807060504030201)
    table1 = Reg(0x28, width=8, reset=0x100F0E0D0C0B0A09)
    last = Reg(0xFFC, reset=0xA1A2A3A4)
    first = Reg(0x1000, reset=0xB1B2B3B4)

    def read_fifo(self) -> int:
        self.fifo += 1
        return self.fifo


class Space:
    """Enough of an address space: tables, and a look at what is present."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.bits = 64
        self.tables = box.tables

    def peek(self, address: int, count: int) -> bytes:
        data = b""
        for at in range(address, address + count):
            pte = self.tables.get(at)
            if not pte & P:
                break
            data += bytes([self.box.ram.view[(pte & 0xF_FFFF_F000) + (at & 0xFFF)]])
        return data


class Box:
    """One CPU, one address space, one block; code runs from CODE to the `hlt` behind it, or to a signal."""

    def __init__(self, tmp: Path) -> None:
        self.tmp = tmp
        self.ram = Ram(32 * MiB)
        self.mem = Memory(self.ram, lambda text: None)
        self.mem.release_range(0x300, self.ram.limit >> 12)
        kernel_tables = PageTables(self.ram, self.frame, lambda _: None)
        map_entry_area(kernel_tables, 0x100000)
        self.cpu = Cpu(self.ram, kernel_tables.cr3, 0x100000)
        self.tables = PageTables(self.ram, self.frame, lambda _: None)
        self.tables.share(kernel_tables, CPU_ENTRY_AREA)
        self.events = Events()
        self.seen: list[RegisterAccess] = []
        self.events.listen("register", self.seen.append)
        self.bus = Bus(self.cpu, self.ram)
        self.block = Block()
        self.bus.attach(self.block, BASE)
        self.task = _Task(9, "t", Space(self))
        self.signals: list[tuple[int, int]] = []
        self.log: list[str] = []
        kernel: Any = SimpleNamespace(
            cpu=self.cpu, bus=self.bus, events=self.events, ram=self.ram, mem=self.mem, current=self.task,
            clock=SimpleNamespace(monotonic_ns=lambda: 0, advance=lambda: None), fault_answer="",
            sched=SimpleNamespace(timers=SimpleNamespace(due=lambda: False)),
            printk=lambda text, level: self.log.append(text), force_sig_fault=self.signal,
            peek_user=lambda mm, address, count: mm.peek(address, count),
        )  # fmt: skip
        self.mmio = MmioTrap(kernel)
        self.faults: list[int] = []
        self.debug_traps = 0
        self.readable_only = False
        self.bad = 0
        self.cpu.on_page_fault, self.cpu.on_exception, self.cpu.on_syscall = self.fault, self.trap, self.cpu.stop
        self.vma: Any = SimpleNamespace(vm_flags=VM_READ | VM_WRITE | VM_SHARED, vm_start=DEV)
        for i in range(Block.size // PAGE_SIZE):
            self.tables.set(DEV + i * PAGE_SIZE, BASE + i * PAGE_SIZE | DEVICE)

    def frame(self) -> int:
        return self.mem.alloc_pages(GFP_KERNEL | GFP_ZERO) << 12

    def map(self, va: int, data: bytes = b"", executable: bool = False) -> int:
        pte = self.tables.get(va)
        physical = pte & 0xF_FFFF_F000 if pte else self.frame()
        self.tables.set(va & PAGE_MASK, physical | P | RW | US | A | D | (0 if executable else NX))
        self.ram.view[physical + (va & 0xFFF) : physical + (va & 0xFFF) + len(data)] = data
        return physical

    def signal(self, task: Any, signo: int, code: int, address: int, trapno: int, error: int) -> None:
        self.mmio.cancel(task)
        self.signals.append((signo, address))
        self.cpu.stop()

    def fault(self, address: int, error_code: int) -> None:
        self.faults.append(address)
        pte = self.tables.get(address)
        if address & PAGE_MASK == self.bad:
            self.signal(self.task, 11, 1, address, 14, error_code)
        elif error_code & 2 and DEV <= address < DEV + Block.size and self.readable_only:
            self.signal(self.task, 11, 2, address, 14, error_code)
        elif pte & DEVICE and not pte & P:
            physical = (pte & 0xFFFFF000) | (address & 0xFFF)
            if not self.mmio.access(self.task, self.vma, address, error_code, physical):
                self.signal(self.task, 7, 2, address, 14, error_code)
        else:
            assert not error_code & PF_PRESENT, hex(address)
            self.map(address)

    def trap(self, vector: int) -> None:
        if vector == DEBUG and self.mmio.debug_exception(self.task):
            return
        if vector == DEBUG:
            self.debug_traps += 1
        else:
            self.cpu.stop()

    def run(self, source: str, bits: int = 64, setup: Optional[dict[int, int]] = None, flags: int = 0) -> None:
        path = self.tmp / "code.s"
        path.write_text(f".intel_syntax noprefix\n.code{bits}\n{source}\n.byte 0xf4\n")
        subprocess.run(["gcc", "-c", "-o", str(path.with_suffix(".o")), str(path)], check=True)
        subprocess.run(
            ["objcopy", "-O", "binary", "-j", ".text", str(path.with_suffix(".o")), str(path.with_suffix(".bin"))],
            check=True,
        )
        code = path.with_suffix(".bin").read_bytes()
        for at in range(0, len(code), PAGE_SIZE):
            self.map(CODE + at, code[at : at + PAGE_SIZE], True)
        self.cpu.drop_code()
        self.task.mm.bits = bits
        self.cpu.fresh_image(bits, self.tables.cr3)
        self.cpu.regs[RIP], self.cpu.regs[RSP], self.cpu.regs[RDI] = CODE, STACK, DEV
        if flags:
            self.cpu.set_register(EFLAGS, self.cpu.get_register(EFLAGS) | flags)
        self.cpu.run()
        assert not self.mmio.steps
        for page in range(DEV, DEV + Block.size, PAGE_SIZE):
            assert self.tables.get(page) & (P | DEVICE) == DEVICE
        if not flags & TF:
            assert not self.cpu.get_register(EFLAGS) & TF

    def accesses(self) -> list[tuple[str, str, int, int]]:
        return [("W" if e.write else "R", e.register, e.width, e.value) for e in self.seen]


class _Task:
    def __init__(self, pid: int, comm: str, mm: Space) -> None:
        self.pid, self.comm, self.mm = pid, comm, mm


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


@pytest.mark.parametrize(
    ("store", "expected"),
    [
        ("mov byte ptr [rdi], 0x55", [("W", "ctrl", 1, 0x55)]),
        ("mov word ptr [rdi], 0x5566", [("W", "ctrl", 2, 0x5566)]),
        ("mov dword ptr [rdi], 0x55667788", [("W", "ctrl", 4, 0x55667788)]),
        ("mov rax, 0x1122334455667788\nmov [rdi+8], rax", [("W", "wide", 8, 0x1122334455667788)]),
        ("mov word ptr [rdi+1], 0x5566", [("W", "ctrl", 2, 0x5566)]),
        ("mov eax, 7\nmov [rdi+rax*8-0x38], eax", [("W", "ctrl", 4, 7)]),
        ("mov eax, 7\nmovnti [rdi], eax", [("W", "ctrl", 4, 7)]),
        ("pxor xmm0, xmm0\nmovdqu [rdi+0x20], xmm0", [("W", "table0", 16, 0), ("W", "table1", 16, 0)]),
    ],
)
def test_stores_arrive_whole(box: Box, store: str, expected: list[tuple[str, str, int, int]]) -> None:
    box.run(store)
    assert box.accesses() == expected


@pytest.mark.parametrize(
    ("load", "rax", "expected"),
    [
        ("movzx eax, byte ptr [rdi+1]", 0x33, [("R", "ctrl", 1, 0x33)]),
        ("movsx rax, word ptr [rdi+4]", 42, [("R", "count", 2, 42)]),
        ("mov eax, [rdi]", 0x11223344, [("R", "ctrl", 4, 0x11223344)]),
        ("mov rax, [rdi+8]", 0x1122334455667788, [("R", "wide", 8, 0x1122334455667788)]),
        ("mov eax, [rdi+6]", 0x77880000, [("R", "count", 4, 0), ("R", "wide", 4, 0x7788)]),
        ("movdqu xmm0, [rdi+0x20]\nmovq rax, xmm0", 0x0807060504030201,
         [("R", "table0", 16, 0x0807060504030201), ("R", "table1", 16, 0x100F0E0D0C0B0A09)]),
        ("xor eax, eax\ncmp dword ptr [rdi+4], 42\nsete al", 1, [("R", "count", 4, 42)]),
        ("mov rax, 3\ntest dword ptr [rdi+4], 2\nsetnz al", 1, [("R", "count", 4, 42)]),
    ],
)  # fmt: skip
def test_loads_arrive_whole(box: Box, load: str, rax: int, expected: list[tuple[str, str, int, int]]) -> None:
    box.run(load)
    assert box.cpu.regs[RAX] == rax
    assert box.accesses() == expected


@pytest.mark.parametrize(
    ("source", "written", "rax"),
    [
        ("xor eax, eax\nadd dword ptr [rdi], 1", 0x11223345, 0),
        ("mov eax, 5\nlock xadd [rdi], eax", 0x11223349, 0x11223344),
        ("mov eax, 5\nxchg [rdi], eax", 5, 0x11223344),
        ("mov eax, 0x11223344\nmov ecx, 9\nlock cmpxchg [rdi], ecx", 9, 0x11223344),
        ("mov eax, 0\nor dword ptr [rdi], 8", 0x1122334C, 0),
        ("mov eax, 0\nnot dword ptr [rdi]", 0xEEDDCCBB, 0),
        ("mov eax, 0\nbts dword ptr [rdi], 31", 0x91223344, 0),
        ("mov eax, 0\nshl dword ptr [rdi], 4", 0x12233440, 0),
        ("mov eax, 0\ninc dword ptr [rdi]", 0x11223345, 0),
    ],
)
def test_read_modify_write_is_one_read_and_one_write(box: Box, source: str, written: int, rax: int) -> None:
    box.run(source)
    assert box.accesses() == [("R", "ctrl", 4, 0x11223344), ("W", "ctrl", 4, written)]
    assert box.cpu.regs[RAX] == rax and box.block.ctrl == written
    assert len([a for a in box.faults if a & PAGE_MASK == DEV]) == 1


def test_rip_is_the_instructions(box: Box) -> None:
    box.run("mov eax, [rdi]\nnop\nmov [rdi], eax")
    assert [e.rip - CODE for e in box.seen] == [0, 3] and {e.pid for e in box.seen} == {9}


def test_reads_with_side_effects_happen_once(box: Box) -> None:
    box.run("mov eax, [rdi+0x10]\nmov ecx, [rdi+0x10]\nadd eax, ecx")
    assert box.cpu.regs[RAX] == 3 and box.block.fifo == 2


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("rep movsb", [("W", "ctrl", 1, 1), ("W", "ctrl", 1, 2), ("W", "ctrl", 1, 3)]),
        ("rep movsd", [("W", "ctrl", 4, 0x04030201), ("W", "count", 4, 0x08070605), ("W", "wide", 4, 0x0C0B0A09)]),
    ],
)
def test_string_moves_to_registers(box: Box, source: str, expected: list[tuple[str, str, int, int]]) -> None:
    box.map(DATA, bytes(range(1, 17)))
    box.run(f"mov esi, {DATA}\nmov ecx, 3\n{source}")
    assert box.accesses() == expected
    assert box.cpu.regs[1] == 0


def test_string_moves_from_registers_to_untouched_memory(box: Box) -> None:
    box.run(f"mov rsi, rdi\nmov edi, {DATA}\nmov ecx, 2\nrep movsd\nmov rax, [{DATA}]")
    assert box.accesses() == [("R", "ctrl", 4, 0x11223344), ("R", "count", 4, 42)]
    assert box.cpu.regs[RAX] == 42 << 32 | 0x11223344


def test_string_moves_between_registers(box: Box) -> None:
    box.run("mov rsi, rdi\nadd rsi, 4\nmovsd\n")
    assert box.accesses() == [("R", "count", 4, 42), ("W", "ctrl", 4, 42)]
    box.seen.clear()
    box.run("lea rsi, [rdi+0x1000]\nmovsd\n")
    assert box.accesses() == [("R", "first", 4, 0xB1B2B3B4), ("W", "ctrl", 4, 0xB1B2B3B4)]


def test_stos_and_lods(box: Box) -> None:
    box.run("mov eax, 0x77\nmov ecx, 2\nmov rsi, rdi\nrep stosd\nlodsd")
    assert box.accesses() == [("W", "ctrl", 4, 0x77), ("W", "count", 4, 0x77), ("R", "ctrl", 4, 0x77)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("mov rax, [rdi+0xffc]", [("R", "first", 4, 0xB1B2B3B4), ("R", "last", 4, 0xA1A2A3A4)]),
        ("mov eax, [rdi+0xffe]", [("R", "first", 2, 0xB3B4), ("R", "last", 2, 0xA1A2)]),
        ("mov rax, 0x0102030405060708\nmov [rdi+0xffc], rax",
         [("W", "first", 4, 0x01020304), ("W", "last", 4, 0x05060708)]),
    ],
)  # fmt: skip
def test_accesses_across_two_pages(box: Box, source: str, expected: list[tuple[str, str, int, int]]) -> None:
    box.run(source)
    assert sorted(box.accesses()) == sorted(expected)


def test_across_into_ordinary_memory(box: Box) -> None:
    after = DEV + Block.size
    box.run(f"mov rax, 0x0102030405060708\nmov [rdi+{Block.size - 4}], rax\nmov eax, [{after}]")
    assert box.cpu.regs[RAX] == 0x01020304
    assert box.accesses() == [("W", "", 4, 0x05060708)] and box.block.stray == 1


def test_instruction_across_two_pages(box: Box) -> None:
    box.run(f".fill {PAGE_SIZE - 1}, 1, 0x90\nmov eax, [rdi]")
    assert box.accesses() == [("R", "ctrl", 4, 0x11223344)] and box.seen[0].rip == CODE + PAGE_SIZE - 1


def test_a_fault_of_another_operand_that_is_answered(box: Box) -> None:
    box.run(f"mov rsi, rdi\nmov edi, {DATA}\nmovsd\nmov eax, [{DATA}]")
    assert box.cpu.regs[RAX] == 0x11223344 and box.accesses() == [("R", "ctrl", 4, 0x11223344)]


def test_a_fault_of_another_operand_that_is_fatal(box: Box) -> None:
    box.bad = DATA
    box.run(f"mov rsi, rdi\nmov edi, {DATA}\nmovsd")
    assert box.signals == [(11, DATA)] and box.cpu.regs[RIP] != CODE
    assert box.accesses() == [("R", "ctrl", 4, 0x11223344)]


def test_write_where_only_reading_is_allowed(box: Box) -> None:
    box.vma.vm_flags = VM_READ | VM_SHARED
    box.readable_only = True
    box.run("add dword ptr [rdi], 1")
    assert box.signals == [(11, DEV)] and not box.seen and box.block.ctrl == 0x11223344


def test_write_to_a_private_mapping_is_a_bogus_page(box: Box) -> None:
    box.vma.vm_flags = VM_READ | VM_WRITE
    box.run("mov dword ptr [rdi], 1")
    assert box.signals == [(9, 0)] and box.log[0] == "do_wp_page: bogus page at address 00500000" and not box.seen


@pytest.mark.parametrize("code", ["mov ss, [rdi]", "mov ss, word ptr [rdi+rax]"])
def test_the_stack_segment_from_a_register(box: Box, code: str) -> None:
    """No trap comes right behind it: the next instruction, a system call say, would be made in the middle of a step."""
    box.run(code)
    assert box.signals == [(7, DEV)] and not box.seen and box.cpu.regs[RIP] == CODE
    assert not box.mmio.steps


def test_the_guests_own_single_step_goes_on(box: Box) -> None:
    box.run("mov eax, [rdi]\nmov [rdi], eax\nnop", flags=TF)
    assert box.accesses() == [("R", "ctrl", 4, 0x11223344), ("W", "ctrl", 4, 0x11223344)]
    assert box.debug_traps == 3


def test_push_and_pop_of_registers(box: Box) -> None:
    box.run("push qword ptr [rdi+8]\npop rax\npush 0x99\npop qword ptr [rdi+8]")
    assert box.cpu.regs[RAX] == 0x1122334455667788
    assert box.accesses() == [("R", "wide", 8, 0x1122334455667788), ("W", "wide", 8, 0x99)]


def test_the_stack_in_registers(box: Box) -> None:
    box.run("lea rsp, [rdi+0x10]\npush 0x77\npop rax")
    assert box.accesses() == [("W", "wide", 8, 0x77), ("R", "wide", 8, 0x77)]


def test_bit_test_beyond_its_operand(box: Box) -> None:
    box.run("mov eax, 33\nbts dword ptr [rdi], eax")
    assert box.accesses() == [("R", "count", 4, 42), ("W", "count", 4, 42 | 2)]


def test_jump_into_registers_is_a_bus_error(box: Box) -> None:
    box.run("jmp rdi")
    assert box.signals == [(7, DEV)] and not box.seen


def test_32_bit_code(box: Box) -> None:
    box.run("mov eax, [edi+4]\nmov dword ptr [edi], 0x1234\nadd [edi], eax", bits=32)
    assert box.accesses() == [
        ("R", "count", 4, 42), ("W", "ctrl", 4, 0x1234), ("R", "ctrl", 4, 0x1234), ("W", "ctrl", 4, 0x125E),
    ]  # fmt: skip
