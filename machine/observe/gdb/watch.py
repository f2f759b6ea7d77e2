"""Watchpoints by page protection: Z2 (write), Z3 (read) and Z4 (either) with the exact address.

While user code runs, the pages of watched ranges are closed: without RW for writes alone, else not present.  The kernel
never sees them so: each way into it opens them, each way out closes them.  An access of user code to a closed page
faults; where its entry would allow it, the page is opened for that one instruction (TF), which is decoded before to
know what it reads and writes.  What a system call stores there is found by comparing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Optional

from machine.hardware.cpu import EFLAGS, RIP
from machine.hardware.paging import NX, PF_FETCH, PF_WRITE, RW, P
from machine.kernel.abi.signal import SIGTRAP
from machine.kernel.mm.decode import Decoder
from machine.kernel.mm.vma import VM_IO, VM_PFNMAP
from machine.kernel.task.regset import image_of
from machine.observe.gdb.stops import TRAP_HWBKPT, Stop

if TYPE_CHECKING:
    from machine.kernel.mm.space import mm_struct
    from machine.kernel.task.task import Task
    from machine.observe.gdb.control import Control

TF = 0x100
PAGE = 0x1000
MAX_LENGTH = 1 << 20
"""The longest range that can be watched, bytes."""
WRITE, READ, ACCESS = 2, 3, 4
_NAMES = {WRITE: b"watch", READ: b"rwatch", ACCESS: b"awatch"}
_MAX_INSTRUCTION = 15


class Watch(NamedTuple):
    """One watchpoint of one process."""

    tgid: int
    kind: int
    address: int
    length: int

    def hit(self, start: int, size: int) -> Optional[int]:
        """The first byte of [start, start + size) that is watched, or None."""
        first = max(start, self.address)
        return first if first < min(start + size, self.address + self.length) else None


class _Span(NamedTuple):
    start: int
    size: int
    reads: bool
    writes: bool


class _Window:
    """One instruction that runs with watched pages open."""

    __slots__ = ("guest_tf", "rip", "spans")

    def __init__(self, rip: int, guest_tf: bool) -> None:
        self.rip = rip
        self.guest_tf = guest_tf
        self.spans: list[_Span] = []


class Watches:
    """All watchpoints.  While there are none, nothing of this is in the kernel's way."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.kernel = control.kernel
        self.cpu = control.kernel.cpu
        self.active: list[Watch] = []
        self._windows: dict[Task, _Window] = {}
        self._closed: list[tuple[int, int]] = []
        """(index of the entry in `ram.words`, the bits that were taken away)."""
        self._known: dict[Watch, bytes] = {}
        """What the ranges held when that was last accounted for."""
        self._last: Optional[Task] = None
        self._decoder = Decoder()

    # -- setting them ------------------------------------------------------------------------------

    def insert(self, tgid: int, kind: int, address: int, length: int) -> bool:
        """Watch a range; False where that can't be: too long, or the registers of a device."""
        mm = self._mm(tgid)
        if mm is None or not 0 < length <= MAX_LENGTH or address + length > mm.task_size:
            return False
        for page in range(address & -PAGE, address + length, PAGE):
            vma = mm.vma_at(page)
            if vma is not None and vma.vm_flags & (VM_IO | VM_PFNMAP):
                return False
        watch = Watch(tgid, kind, address, length)
        if watch not in self.active:
            self.active.append(watch)
        self.control.hooks.update()
        return True

    def remove(self, tgid: int, kind: int, address: int, length: int) -> None:
        """Undo `insert`."""
        watch = Watch(tgid, kind, address, length)
        if watch in self.active:
            self.active.remove(watch)
        self._changed_active()

    def forget(self, tgid: int) -> None:
        """The process is gone, or has another program."""
        self.active = [watch for watch in self.active if watch.tgid != tgid]
        self._changed_active()

    def _changed_active(self) -> None:
        self.open()
        self.cpu.flush_tlb()
        if not self.active:
            for task in list(self._windows):
                self.cancel(task)
        self.control.hooks.update()

    def resume(self) -> None:
        """User code will run: it begins with closed pages, so the engine must leave and come back."""
        self._known = {watch: self._bytes(watch) for watch in self.active if watch.kind != READ}
        if self.active:
            self.cpu.flush_tlb()
            if self.control.travel is not None:
                self.control.travel.timeline.reenter = True
            if self.cpu.running:
                self.cpu.stop()

    def _mm(self, tgid: int) -> Optional[mm_struct]:
        task = next(iter(self.control.threads(tgid)), None)
        return None if task is None else task.mm

    # -- the ways into the kernel and out ------------------------------------------------------------

    def run(self) -> None:
        """`Cpu.run` with the pages closed."""
        self.close()
        try:
            type(self.cpu).run(self.cpu)
        finally:
            self.open()

    def leave(self) -> None:
        """The engine goes on: has the kernel written what is watched?"""
        task = self.kernel.sched.current
        if task is None or not self.active:
            return
        hit = self._changed(task)
        if hit is not None:
            self._report(task, *hit)
            task = self.kernel.sched.current
            if task is None:
                return
        window = self._windows.get(task)
        if window is not None and self.cpu.regs[RIP] != window.rip:  # a signal came instead
            self.cancel(task)
        self.close()

    def _changed(self, task: Task) -> Optional[tuple[Watch, int]]:
        """A watchpoint of the task's process whose bytes are not what is known of them, and where."""
        for watch, data in self._known.items():
            if watch.tgid == task.tgid:
                now = self._bytes(watch)
                if data != now:
                    self._known[watch] = now
                    for i, (old, new) in enumerate(zip(data, now, strict=False)):
                        if old != new:
                            return watch, watch.address + i
        return None

    def _report(self, task: Task, watch: Watch, address: int) -> None:
        self.control.siginfo.pop(task, None)
        self.control.window = 0, 0
        stop = Stop(SIGTRAP, b"%s:%x;" % (_NAMES[watch.kind], address), TRAP_HWBKPT, address)
        self.kernel.sched.enter(self.control.stop, task, stop)

    def _bytes(self, watch: Watch) -> bytes:
        mm = self._mm(watch.tgid)
        return b"" if mm is None else self.kernel.peek_user(mm, watch.address, watch.length)

    # -- pages ---------------------------------------------------------------------------------------------

    def close(self) -> None:
        """User code goes on: take the pages of watched ranges away."""
        task = self.kernel.sched.loaded
        if task is None or not self.active:
            return
        if task is not self._last:  # perhaps of the same address space, with other pages closed
            self._last = task
            self.cpu.flush_tlb()
        opened = task in self._windows
        words, leaves = self.kernel.ram.words, task.mm.tables.leaves
        for watch in self.active:
            if watch.tgid != task.tgid:
                continue
            bit = RW if watch.kind == WRITE else P
            for page in range(watch.address & -PAGE, watch.address + watch.length, PAGE):
                base = leaves.get(page >> 21)
                if base is None or (opened and self._in_window(task, page)):
                    continue
                index = base + (page >> 12 & 511)
                if words[index] & (P | bit) == P | bit:
                    words[index] &= ~bit
                    self._closed.append((index, bit))

    def open(self) -> None:
        """The kernel is entered: its entries are what it has made them."""
        words = self.kernel.ram.words
        for index, bit in reversed(self._closed):
            words[index] |= bit
        self._closed.clear()

    def _in_window(self, task: Task, page: int) -> bool:
        return any(span.start < page + PAGE and page < span.start + span.size for span in self._windows[task].spans)

    # -- one access ----------------------------------------------------------------------------------------

    def page_fault(self, address: int, error_code: int) -> None:
        """Exception 14: of a page that is closed, or as always."""
        self.open()
        task = self.kernel.sched.current
        if task is not None and self._watched(task, address) and self._allowed(task, address, error_code):
            self._begin(task, address, bool(error_code & PF_WRITE))
            self.close()
            self.cpu.flush_tlb()
            return
        self.kernel.entry.page_fault(address, error_code)
        self.leave()

    def _watched(self, task: Task, address: int) -> bool:
        page = address & -PAGE
        return any(
            watch.tgid == task.tgid and watch.address & -PAGE <= page < watch.address + watch.length
            for watch in self.active
        )

    def _allowed(self, task: Task, address: int, error_code: int) -> bool:
        entry = task.mm.tables.get(address)
        if not entry & P or (error_code & PF_WRITE and not entry & RW):
            return False
        return not (error_code & PF_FETCH and entry & NX)

    def _begin(self, task: Task, address: int, write: bool) -> None:
        """Let the instruction at RIP run with the page open."""
        rip = self.cpu.regs[RIP]
        if self.control.travel is not None:
            self.control.window = rip, self.control.travel.timeline.count.position
        window = self._windows.get(task)
        if window is None or window.rip != rip:
            flags = self.cpu.eflags()
            window = self._windows[task] = _Window(rip, bool(flags & TF))
            self.cpu.set_register(EFLAGS, flags | TF)
            window.spans += self._operands(task, rip)
        if not any(span.start <= address < span.start + span.size for span in window.spans):
            # No operand is there: the stack of a push, a pop, a call or a return.
            window.spans.append(_Span(address, task.abi.word, not write, write))

    def _operands(self, task: Task, rip: int) -> list[_Span]:
        insn = self._decoder.decode(self.kernel.peek_user(task.mm, rip, _MAX_INSTRUCTION), task.abi.bits)
        if insn is None:
            return []
        return [
            _Span(each.address(self.cpu, insn.length), each.size, each.reads, each.writes) for each in insn.operands
        ]

    def finish(self, task: Task) -> Optional[bytes]:
        """Exception 1: None when it ends no window; else what gdb is told, nothing when nothing watched was touched."""
        window = self._windows.pop(task, None)
        if window is None:
            return None
        if not window.guest_tf:
            self.cpu.set_register(EFLAGS, self.cpu.eflags() & ~TF)
        self.cpu.flush_tlb()
        changed = self._changed(task)
        for watch in self.active:
            if watch.tgid != task.tgid:
                continue
            for span in window.spans:
                address = watch.hit(span.start, span.size)
                wanted = (span.writes and watch.kind != READ) or (span.reads and watch.kind != WRITE)
                if address is not None and wanted:
                    return b"%s:%x;" % (_NAMES[watch.kind], address)
        return b"" if changed is None else b"%s:%x;" % (_NAMES[changed[0].kind], changed[1])

    def cancel(self, task: Task) -> None:
        """The instruction will not run now (a signal is taken before it, or nothing is watched any more): TF is not in
        the frame, nor in the flags of a thread that has lost the processor meanwhile."""
        window = self._windows.pop(task, None)
        if window is not None:
            self.cpu.flush_tlb()
            if not window.guest_tf:
                with image_of(self.kernel, task) as cpu:
                    cpu.set_register(EFLAGS, cpu.eflags() & ~TF)
