"""What a report keeps of the stream while the machine runs: packed rows, in pieces, the oldest of which are dropped.

A page fault is one `FAULT` of 66 bytes, so that a fault-heavy program pays little; everything else is a tuple whose
first member says what it is.  Names, instructions and upper levels of walks are kept once a piece and referred to by
number.  A piece begins with a snapshot of all address spaces: what came before it isn't needed to draw it.

Bound: `PIECES` pieces of `PIECE` rows: the last 100,000 to 120,000 rows, and with them at most about 60 MB.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Optional, Union

from machine.events import Events, Oops, PageFault, Printk, RegisterAccess, Signal, TaskEvent, VmaChange
from machine.hardware.cpu import RIP
from machine.hardware.paging import A, D
from machine.hardware.ram import PAGE_SHIFT
from machine.observe.report.probe import FAULT_METHODS, Call, DriverProbe
from machine.observe.report.spaces import ENTRY, EVERYWHERE, Snapshot, Space, area_of

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.mm.space import mm_struct

FAULT = struct.Struct("<IIIIIBiiiBQQQQ")
"""number, scene (see `_on_fault`), upper levels before, after, call + 1, levels, frame, count before, count after, what
the entry leads to, address, entry before, entry after, time in ns."""
PIECE, PIECES = 20_000, 6
NO_FRAME = -1
MAPPING_METHODS = ("mmap", "ioctl", "unlocked_ioctl", "compat_ioctl")
CODE_BYTES = 16
REGISTERS = 16
_UNSEEN = ~(A | D)
_ENTRIES_A_ROW = 8
"""So many changed entries take about the memory of a row."""

Row = Union[bytes, tuple[Any, ...]]


class Piece:
    """Rows, what they refer to, and the address spaces as they were before the first."""

    def __init__(self, spaces: list[Snapshot]) -> None:
        self.spaces = spaces
        self.rows: list[Row] = []
        self.names: dict[Any, int] = {}
        self._named: list[Any] = []
        self.room = PIECE
        self.upper: list[tuple[int, int]] = []
        """The upper levels of the last fault's walk, and their number."""
        self.upper_number = self.ref(())

    def ref(self, thing: Any) -> int:
        """The number of something hashable in this piece."""
        number = self.names.get(thing)
        if number is None:
            number = self.names[thing] = len(self.names)
        return number

    def named(self) -> list[Any]:
        """What the numbers stand for, in order."""
        if len(self._named) != len(self.names):
            self._named = list(self.names)
        return self._named


class Recorder:
    """Listens until `close`; `pieces` is what it has."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.pieces = [Piece([])]
        self.faults = 0
        """All that were seen; those in dropped pieces too."""
        self.dropped = 0
        """Faults in pieces that were dropped."""
        self._spaces: dict[mm_struct, Space] = {}
        self._dirty: list[Space] = []
        self._numbers = 0
        self._calls: dict[int, tuple[Any, ...]] = {}
        """pid -> the driver call that its page fault is about to tell of."""
        self._listeners: dict[str, Any] = {
            "fault": self._on_fault, "vma": self._on_vma, "task": self._on_task, "signal": self._on_signal,
            "printk": self._on_printk, "register": self._on_register, "oops": self._on_oops,
        }  # fmt: skip
        events: Events = kernel.events
        for kind, listener in self._listeners.items():
            events.listen(kind, listener)
        self._probe = DriverProbe(self._on_call)
        kernel.driver_probe = self._probe

    def close(self) -> None:
        """No more is recorded."""
        self._flush()
        for space in list(self._spaces.values()):
            if not space.mm.closed:
                self._sync(space, [EVERYWHERE])
        for kind, listener in self._listeners.items():
            self.kernel.events.unlisten(kind, listener)
        if self.kernel.driver_probe is self._probe:
            self.kernel.driver_probe = None
        self._probe.close()

    # -- rows ---------------------------------------------------------------------------------------------------

    def _add(self, row: Row, weight: int = 1) -> None:
        piece = self.pieces[-1]
        piece.rows.append(row)
        piece.room -= weight
        if piece.room <= 0:
            self._next_piece()

    def _next_piece(self) -> None:
        self.pieces.append(Piece([space.snapshot() for space in self._spaces.values()]))
        if len(self.pieces) > PIECES:
            self.dropped += sum(1 for row in self.pieces.pop(0).rows if type(row) is bytes)

    def _who(self) -> int:
        """Number of (pid, name, address space) of the current task; of (0, "", 0) for the kernel itself."""
        task = self.kernel.current
        if task is None or task.pid == 1:
            return self.pieces[-1].ref((0, "", 0))
        space = self._space_of(task.mm)
        return self.pieces[-1].ref((task.pid, task.comm, space.number))

    # -- address spaces -------------------------------------------------------------------------------------------

    def _space_of(self, mm: mm_struct) -> Space:
        return self._spaces.get(mm) or self._adopt(mm, None)

    def _adopt(self, mm: mm_struct, parent: Optional[Space]) -> Space:
        self._numbers += 1
        space = self._spaces[mm] = Space(self._numbers, mm)
        self._add(("born", space.number, space.bits, 0 if parent is None else parent.number))
        if parent is not None:
            space.copy_from(parent)
        self._sync(space, [EVERYWHERE])
        return space

    def _sync(self, space: Space, ranges: list[tuple[int, int]], but: Optional[tuple[int, int]] = None) -> None:
        """Rows that bring what is known of a space up to date."""
        for start, end in ranges:
            gone, changed = space.area_changes(start, end)
            if gone or changed:
                self._add(("areas", space.number, tuple(gone), tuple(changed)))
        entries = space.entry_changes(ranges, but)
        if entries:
            self._add(("entries", space.number, entries), 1 + len(entries) // ENTRY.size // _ENTRIES_A_ROW)

    def _flush(self, fault: Optional[PageFault] = None, mm: Optional[mm_struct] = None) -> None:
        """Look at what areas changed, before the next row; a fault's own entry is still the one before it."""
        waiting, self._dirty = self._dirty, []
        for space in waiting:
            ranges, space.dirty = space.dirty, []
            if not space.mm.closed:
                but = None
                if fault is not None and space.mm is mm:
                    but = (fault.address, fault.walk_before[3][1] if len(fault.walk_before) == 4 else 0)
                self._sync(space, ranges, but)

    def _bury(self) -> None:
        for mm in [mm for mm in self._spaces if mm.closed]:
            self._add(("gone", self._spaces.pop(mm).number))

    # -- listeners ----------------------------------------------------------------------------------------------------

    def _on_fault(self, fault: PageFault) -> None:
        task = self.kernel.current
        assert task is not None
        mm = task.mm
        space = self._spaces.get(mm) or self._adopt(mm, None)
        if self._dirty:
            self._flush(fault, mm)
        before, after = fault.walk_before, fault.walk_after
        address = fault.address
        levels = len(before) << 4 | len(after)
        pte_before = before[3][1] if levels & 0x40 else 0
        pte_after = after[3][1] if levels & 4 else 0
        if (space.get(address) ^ pte_before) & _UNSEEN:
            self._sync(space, [EVERYWHERE], (address, pte_before))  # changed without a word: madvise, a file cut off
        kind = space.kind(pte_after)
        space.set(address, pte_after, kind)
        call = self._calls.pop(fault.pid, None) if self._calls else None
        piece = self.pieces[-1]
        ref = piece.ref
        self.faults += 1
        # What neighbours have in common is one thing: a loop that touches a thousand pages has one scene.
        scene = (
            fault.pid, fault.comm, space.number, fault.rip, fault.instruction, fault.bits, fault.mapping, fault.origin,
            fault.vma, fault.answer, fault.outcome, fault.error_code,
        )  # fmt: skip
        upper, upper_after = before[:3], after[:3]
        if upper != piece.upper:
            piece.upper, piece.upper_number = upper, ref(tuple(upper))
        number = piece.upper_number
        pfn = fault.pfn
        self._add(
            FAULT.pack(
                fault.number, ref(scene), number, number if upper_after == upper else ref(tuple(upper_after)),
                0 if call is None else ref(call) + 1, levels, NO_FRAME if pfn is None else pfn, fault.count_before,
                fault.count_after, kind, address & 0xFFFF_FFFF_FFFF_FFFF, pte_before, pte_after, fault.time_ns,
            )
        )  # fmt: skip
        if fault.outcome not in ("minor", "major") and fault.origin == "user":
            below, above = mm.areas.before(address + 1), mm.areas.find(address)
            near = (None if below is None else area_of(below), None if above is None else area_of(above))
            self._add(("refused", tuple(self.kernel.cpu.regs[RIP - REGISTERS : RIP]), *near))

    def _on_call(self, call: Call) -> None:
        kernel = self.kernel
        if call.operation in FAULT_METHODS and kernel.mem.journals and kernel.current is not None:
            self._calls[kernel.current.pid] = call
            return
        if self._dirty:
            self._flush()
        who = self._who()
        self._add(("call", kernel.clock.monotonic_ns(), who, self.pieces[-1].ref(call)))
        if call.operation in MAPPING_METHODS:
            self._look_again()

    def _look_again(self) -> None:
        """The driver may have mapped or unmapped anything in the caller's space."""
        task = self.kernel.current
        if task is not None and (space := self._spaces.get(task.mm)) is not None and not space.mm.closed:
            self._mark(space, *EVERYWHERE)

    def _mark(self, space: Space, start: int, end: int) -> None:
        if space not in self._dirty:
            self._dirty.append(space)
        if EVERYWHERE in space.dirty:
            return
        if (start, end) == EVERYWHERE or len(space.dirty) > 16:
            space.dirty = [EVERYWHERE]
        else:
            space.dirty.append((start, end))

    def _on_vma(self, event: VmaChange) -> None:
        if self._dirty:
            self._flush()
        task = self.kernel.current
        if task is None:
            return
        space = self._space_of(task.mm)
        row = (event.time_ns, self._who(), event.what, event.vm_start, event.vm_end, event.vm_flags, event.name)
        self._add(("vma", *row, task.syscall))
        self._mark(space, event.vm_start, event.vm_end)

    def _on_task(self, event: TaskEvent) -> None:
        if self._dirty:
            self._flush()
        task = self.kernel.tasks.get(event.pid)
        who = self.pieces[-1].ref((event.pid, event.comm, 0))
        if task is not None and not task.mm.closed:
            space = self._space_of(task.mm)
            who = self.pieces[-1].ref((event.pid, event.comm, space.number))
        self._add(("task", event.time_ns, who, event.what, event.detail, event.status))
        if event.what in ("fork", "thread") and task is not None:
            child = self.kernel.tasks.get(int(event.detail))
            if child is not None and child.mm not in self._spaces:
                self._sync(self._space_of(task.mm), [EVERYWHERE])
                self._adopt(child.mm, self._spaces[task.mm])
        self._bury()

    def _on_signal(self, event: Signal) -> None:
        if self._dirty:
            self._flush()
        kernel = self.kernel
        task = kernel.tasks.get(event.pid)
        who, site = self._who(), -1
        if task is not None and not task.mm.closed and kernel.current is task:
            site = self.pieces[-1].ref(self._site(task.mm, event.rip))
        sender = tuple(sorted((name, value) for name, value in event.fields.items() if type(value) is int))
        self._add(
            ("signal", event.time_ns, who, event.signo, event.si_code, event.address, event.action, event.rip, site,
             sender)
        )  # fmt: skip

    def _site(self, mm: mm_struct, rip: int) -> tuple[Any, ...]:
        vma = mm.vma_at(rip)
        mapping = None
        if vma is not None and vma.vm_file is not None:
            mapping = (vma.vm_file.f_path, vma.vm_start, vma.vm_pgoff << PAGE_SHIFT)
        return (rip, self.kernel.peek_user(mm, rip, CODE_BYTES), mm.bits, mapping)

    def _on_printk(self, event: Printk) -> None:
        if self._dirty:
            self._flush()
        self._add(("printk", event.time_ns, self._who(), event.level, event.text))

    def _on_register(self, event: RegisterAccess) -> None:
        if self._dirty:
            self._flush()
        what = (event.device, event.register, event.offset, event.width, event.write, event.value)
        self._add(("register", event.time_ns, self._who(), *what))

    def _on_oops(self, event: Oops) -> None:
        if self._dirty:
            self._flush()
        self._add(("oops", event.time_ns, self._who(), event.where, event.traceback, event.in_driver))
