"""Accesses of the guest to device registers, seen one at a time.

The pages of a register block are never present: an entry with P = 0, the `DEVICE` bit and the physical address
stands for each.  An access faults, and then:

1. `access`: the faulting instruction is decoded (width, direction, operands).  A scratch frame is put behind the page.
   Where the instruction reads, the bus is read and the frame filled.  TF is set: one instruction will run.
2. The instruction runs, on ordinary memory.  Should it touch another absent page (an access across two pages,
   a string move between two devices), it faults again: back to 1 with another frame, or an ordinary
   fault is answered in between.
3. `debug_exception`: what the instruction wrote is taken from the frame and written to the bus, the entry
   becomes absent again, TF goes back to what the guest had.

A step without pages is made where the engine has looked too far ahead (`looked_ahead`).

Between 1 and 3 the task neither is switched out nor gets signals, unless the instruction itself causes one: then
`cancel` undoes 1 and the device has seen the read only, as on a real bus.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from machine.hardware.bus import BusConflict
from machine.hardware.cpu import EFLAGS, RIP, RSP
from machine.hardware.iomem import request_region
from machine.hardware.paging import NX, PCD, PF_FETCH, PF_USER, PF_WRITE, RW, US, A, D, P
from machine.hardware.ram import PAGE_MASK, PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import Errno
from machine.kernel.abi.signal import BUS_ADRERR, SIGBUS, SIGKILL
from machine.kernel.mm.decode import Decoder
from machine.kernel.mm.page import GFP_ATOMIC, SCRATCH, PG_exec
from machine.kernel.mm.pte import DEVICE, PROTNONE
from machine.kernel.mm.vma import VM_EXEC, VM_IO, VM_PFNMAP, VM_READ, VM_SHARED, VM_WRITE
from machine.kernel.task.signal import fatal_signal_pending

if TYPE_CHECKING:
    from machine.hardware.registers import RegisterBlock
    from machine.kernel.kernel import Kernel
    from machine.kernel.mm.space import mm_struct
    from machine.kernel.mm.vma import vm_area_struct
    from machine.kernel.task.task import Task

TF = 0x100
MAX_INSTRUCTION = 15
_PREFIXES = bytes((0x66, 0xF2, 0xF3, *range(0x40, 0x50)))
_PUSHF = b"\x9c"
_FAULTS = 8
"""More page faults than one instruction has: two operands of two pages each, and two pages of code."""
_PAGE_FAULT = 14
_ONES = bytes([0xFF]) * PAGE_SIZE
_ACCESS = VM_READ | VM_WRITE | VM_EXEC
_PTE_ADDRESS = 0x000F_FFFF_FFFF_F000


class _Span:
    """The bytes of one page that one operand of the instruction covers."""

    __slots__ = ("offset", "reads", "size", "writes")

    def __init__(self, offset: int, size: int, reads: bool, writes: bool) -> None:
        self.offset = offset
        """In the page."""
        self.size = size
        self.reads = reads
        self.writes = writes


class _Window:
    """One page of registers with a scratch frame behind it."""

    __slots__ = ("address", "entry", "index", "pfn", "physical", "spans")

    def __init__(self, address: int, index: int, entry: int, pfn: int, physical: int, spans: list[_Span]) -> None:
        self.address = address
        """Of the page, as the program sees it."""
        self.index = index
        """Of the page-table entry, in `ram.words`."""
        self.entry = entry
        """What the entry holds while nobody looks."""
        self.pfn = pfn
        self.physical = physical
        self.spans = spans


class _Step:
    """One instruction that is about to run on scratch frames."""

    __slots__ = ("guest_tf", "returns", "rip", "windows")

    def __init__(self, rip: int, guest_tf: bool) -> None:
        self.rip = rip
        self.guest_tf = guest_tf
        self.returns = 0
        """How often the task was about to go on with it while a signal waited."""
        self.windows: list[_Window] = []


class MmioTrap:
    """The trap of one machine.  `steps` holds the tasks that are between 1 and 3 above."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.cpu = kernel.cpu
        self.bus = kernel.bus
        self.bus.events = kernel.events
        self.bus.clock = kernel.clock.monotonic_ns
        self.bus.on_access = self._accessed
        self.bus.current_pid = self._current_pid
        self.steps: dict[Task, _Step] = {}
        self.decoder = Decoder()
        self._scratch: list[int] = []

    def _accessed(self) -> None:
        """Time goes on; what a device does after a while is done when it is due, also for a program that polls."""
        kernel = self.kernel
        kernel.clock.advance()
        if kernel.sched.timers.due():
            kernel.sched.need_resched = True

    def _current_pid(self) -> int:
        task = self.kernel.current
        return 0 if task is None else task.pid

    # -- 1: the fault --------------------------------------------------------------------------

    def access(self, task: Task, vma: vm_area_struct, address: int, error_code: int, physical: int) -> bool:
        """The instruction at RIP touches the registers at `address`, which the area allows.

        `physical` is the address behind `address`.  False: it can't be done (the fetch of an instruction, bytes that
        are no instruction, a load of SS, behind which step 3 would come an instruction late, a device model that
        raises), and the task gets SIGBUS.
        """
        rip = self.cpu.regs[RIP]
        code = self.kernel.peek_user(task.mm, rip, MAX_INSTRUCTION)
        if error_code & PF_FETCH or not code:
            return False
        spans = self._spans(code, task.mm.bits, address, bool(error_code & PF_WRITE))
        if spans is None:
            return False
        writes = any(span.writes for span in spans)
        if writes and vma.vm_flags & VM_WRITE and not vma.vm_flags & VM_SHARED:
            self._refuse_copy(task, address, error_code)
            return True
        step = self._begin(task, rip)
        failures = len(self.bus.failures)
        try:
            window = self._open(task, address, physical, spans, bool(vma.vm_flags & VM_WRITE) or not writes)
        except Errno:  # no memory, and nobody left to take it from
            return False
        step.windows.append(window)
        return len(self.bus.failures) == failures

    def _refuse_copy(self, task: Task, address: int, error_code: int) -> None:
        """A write to a private mapping of what has no struct page (mm/memory.c of 2.6.10: do_wp_page)."""
        self.kernel.printk(f"do_wp_page: bogus page at address {address & PAGE_MASK:08x}", 3)
        self.kernel.printk(f"VM: killing process {task.comm}", 3)
        self.kernel.fault_answer = "bogus page"
        self.kernel.force_sig_fault(task, SIGKILL, 0, 0, _PAGE_FAULT, error_code)

    def _spans(self, code: bytes, bits: int, address: int, write: bool) -> Optional[list[_Span]]:
        """The parts of the instruction's operands that lie in the page of `address`."""
        insn = self.decoder.decode(code, bits)
        if insn is None or insn.loads_ss:
            return None
        page = address & PAGE_MASK
        spans, hit = [], False
        for operand in insn.operands:
            start = operand.address(self.cpu, insn.length)
            first, last = max(start, page), min(start + operand.size, page + PAGE_SIZE)
            if first >= last:
                continue
            mine = first <= address < last
            hit = hit or mine
            # A read-modify-write faults once, as a read: what faults as a write is no read, whatever capstone says.
            reads = not write if mine else operand.reads
            spans.append(_Span(first - page, last - first, reads, operand.writes or (mine and write)))
        if not hit:
            # No operand is there: the stack of a push, a pop, a call or a return.
            offset = address - page
            spans.append(_Span(offset, min(bits // 8, PAGE_SIZE - offset), not write, write))
        return spans

    def _begin(self, task: Task, rip: int) -> _Step:
        """The task's step, made unless an earlier fault of the same instruction made it."""
        step = self.steps.get(task)
        if step is None:
            flags = self.cpu.get_register(EFLAGS)
            step = self.steps[task] = _Step(rip, bool(flags & TF))
            self.cpu.set_register(EFLAGS, flags | TF)
        return step

    def _open(self, task: Task, address: int, physical: int, spans: list[_Span], allowed: bool) -> _Window:
        """Put a scratch frame behind the page and fill in what the instruction will read.

        Not `allowed` (a read-modify-write where writing is forbidden): nothing is read, and the write will fault.
        """
        tables = task.mm.tables
        index = tables.leaf(address)
        pfn = self._scratch.pop() if self._scratch else self._new_scratch()
        window = _Window(address & PAGE_MASK, index, self.kernel.ram.words[index], pfn, physical & PAGE_MASK, spans)
        frame = self.kernel.ram.frame(pfn)
        frame[:] = _ONES  # what was in the last step's page is nobody's business
        if allowed:
            rip = self.cpu.regs[RIP]
            for span in spans:
                if span.reads:
                    value = self.bus.read(window.physical + span.offset, span.size, task.pid, rip)
                    frame[span.offset : span.offset + span.size] = value.to_bytes(span.size, "little")
        tables.ram.words[index] = pfn << PAGE_SHIFT | P | US | (RW if allowed else 0) | A | D | PCD | NX
        return window

    def _new_scratch(self) -> int:
        """A frame that no mapping counts: reserved, so that an unmap in between leaves it alone.

        The hardware has no such frame, so where memory is full somebody else goes without one.
        """
        mem = self.kernel.mem
        while True:
            try:
                pfn = mem.alloc_pages(GFP_ATOMIC, 0, SCRATCH)
                break
            except Errno:
                if not self.kernel.wait_for_memory():
                    raise
        mem.reserve(pfn, SCRATCH)
        return pfn

    # -- 3: after the instruction --------------------------------------------------------------

    def debug_exception(self, task: Task) -> bool:
        """Exception 1 arrived.  True: it ended a step.  False: it is the guest's own (its TF, or no step at all)."""
        step = self.steps.get(task)
        if step is None:
            return False
        writes = [
            (window, span, self._bytes(window, span)) for window in step.windows for span in window.spans if span.writes
        ]
        self._close(task, step)
        if not step.windows and not step.guest_tf:
            hide_trap_flag(self.kernel, task, step.rip)
        for window, span, value in writes:
            failures = len(self.bus.failures)
            self.bus.write(window.physical + span.offset, span.size, value, task.pid, step.rip)
            if len(self.bus.failures) != failures:
                address = window.address + span.offset
                self.kernel.force_sig_fault(task, SIGBUS, BUS_ADRERR, address, _PAGE_FAULT, PF_USER | PF_WRITE)
        return not step.guest_tf

    # -- devices come and go -----------------------------------------------------------------------

    def follow_bus(self) -> None:
        """A device has left an address or come to one: entries that lead to registers fault, others don't.

        The entries keep their addresses, as on a PC when somebody moves a BAR under a mapping.
        """
        kernel = self.kernel
        for mm in kernel.mms:
            for vma in mm.each_vma():
                if vma.vm_flags & (VM_IO | VM_PFNMAP):
                    self._follow_area(mm, vma)
        self.cpu.flush_tlb()

    def _follow_area(self, mm: mm_struct, vma: vm_area_struct) -> None:
        words, mem, bus = mm.ram.words, mm.mem, self.bus
        for address in range(vma.vm_start, vma.vm_end, PAGE_SIZE):
            if not mm.tables.get(address):
                continue
            index = mm.tables.leaf(address)
            entry = words[index]
            physical = entry & _PTE_ADDRESS
            if mem.pfn_valid(physical >> PAGE_SHIFT):
                continue
            if bus.find(physical) is not None:
                words[index] = entry & ~(P | PROTNONE) | DEVICE
            elif entry & DEVICE and not entry & P:
                words[index] = entry & ~DEVICE | (P if vma.vm_flags & _ACCESS else PROTNONE)

    def dma_written(self, physical: int, count: int) -> None:
        """A device has written RAM: code that was translated from there is dropped."""
        mem = self.kernel.mem
        for pfn in range(physical >> PAGE_SHIFT, (physical + count - 1 >> PAGE_SHIFT) + 1):
            if mem.pfn_valid(pfn) and mem.flags[pfn] & PG_exec:
                self.cpu.drop_code()

    def _bytes(self, window: _Window, span: _Span) -> int:
        start = (window.pfn << PAGE_SHIFT) + span.offset
        return int.from_bytes(self.kernel.ram.view[start : start + span.size], "little")

    def looked_ahead(self, task: Task, address: int) -> bool:
        """The fetch that failed at `address` is of a later page than the instruction at RIP: the engine translates
        straight code as a whole, so what lies between has not been executed.  True: one instruction of it will be.

        One that reaches into that page itself faults again, while its step goes on: False.
        """
        rip = self.cpu.regs[RIP]
        if task in self.steps or not 0 < address - rip <= PAGE_SIZE or not (address ^ rip) & PAGE_MASK:
            return False
        self._begin(task, rip)
        return True

    def holds_off(self, task: Task) -> bool:
        """Whether a signal has to wait for the end of the task's step.  A deadly one has not, nor one that the
        instruction itself waits for: it faults again and again, since something else in it can't be had."""
        step = self.steps.get(task)
        if step is None:
            return False
        step.returns += task.sigpending
        if step.returns > _FAULTS or fatal_signal_pending(task):
            self.cancel(task)
            return False
        return True

    def cancel(self, task: Task) -> None:
        """The instruction will not run (it caused a signal): the pages are absent again, TF is the guest's."""
        step = self.steps.get(task)
        if step is not None:
            self._close(task, step)

    def _close(self, task: Task, step: _Step) -> None:
        del self.steps[task]
        words = self.kernel.ram.words
        for window in step.windows:
            if words[window.index] & _PTE_ADDRESS == window.pfn << PAGE_SHIFT:
                words[window.index] = window.entry
            self._scratch.append(window.pfn)
        if not step.guest_tf:
            self.cpu.set_register(EFLAGS, self.cpu.get_register(EFLAGS) & ~TF)
        self.cpu.flush_tlb()


def hide_trap_flag(kernel: Kernel, task: Task, rip: int) -> None:
    """The instruction at `rip` was executed with TF, which is not the guest's: take it out of what `pushf` stored."""
    code = kernel.peek_user(task.mm, rip, 4)
    if code.lstrip(_PREFIXES if task.abi.bits == 64 else b"\x66")[:1] == _PUSHF:
        where = kernel.cpu.regs[RSP] + 1
        stored = task.mm.read_some(where, 1)
        if stored:
            task.mm.write_some(where, bytes((stored[0] & ~(TF >> 8),)))


def attach_block(kernel: Kernel, block: RegisterBlock, physical: int) -> None:
    """Put `block` at `physical`, claim the range in /proc/iomem and keep a record of its accesses.

    ValueError unless the address is page-aligned, outside RAM and free.
    """
    kernel.bus.attach(block, physical, recorded=True)
    kernel.bus.on_dma = kernel.mmio.dma_written
    if request_region(kernel.iomem, physical, block.size, block.name) is None:
        kernel.bus.detach(block)
        owner = kernel.iomem.find(physical)
        from machine.testing import messages

        who = owner.name if owner else "something"
        raise BusConflict(messages.in_somebodys_range(block.name, physical, who))
