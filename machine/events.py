"""The one stream of events: the bottom layer.  Hardware and kernel emit into it, views listen.

Each kind of event is an attribute of `Events`: ``None`` while nobody listens, else a callable.
The emitter tests the attribute and builds the record only when somebody wants it::

    if events.printk is not None:
        events.printk(Printk(...))

The hub numbers the events and adds what their emitters leave open.  docs/events.md is made of these classes:
``python docs/gen_events.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns
from typing import Any, Optional

from machine.records import field, record

Listener = Callable[[Any], None]


@record(slots=True, kw_only=True)
class Event:
    """What every event has besides `pid`, `comm`, `rip` and `time_ns`."""

    seq: int = field(default=0, compare=False)
    """Its place in the stream: each event that somebody hears has the next number."""
    host_ns: int = field(default=0, compare=False)
    """The host's monotonic clock."""


@record(slots=True, kw_only=True)
class Told(Event):
    """An event whose emitter leaves it to the hub to say for whom the machine worked, and when."""

    pid: int = 0
    comm: str = ""
    rip: int = 0
    time_ns: int = 0


@record(slots=True)
class FaultEnter(Told):
    """A page fault has come, and nothing has been done about it yet."""

    number: int
    """That of the `fault` that follows when it has been answered."""
    address: int
    error_code: int
    origin: str


@record(slots=True)
class PageFault(Event):
    """One page fault, from the exception to its outcome."""

    number: int
    """1 for the first fault of the machine."""
    pid: int
    comm: str
    rip: int
    """Address of the faulting instruction; 0 when the kernel touched user memory itself (`origin`)."""
    address: int
    error_code: int
    """As the CPU pushes it: bit 0 present, 1 write, 2 user, 3 reserved bit, 4 fetch."""
    origin: str
    """``"user"``, or the name of the system call inside which the kernel's copy faulted."""
    instruction: bytes
    bits: int
    """64 or 32: the mode in which to decode `instruction`."""
    vma: str
    """The area's line of /proc/PID/maps, or ``""`` where no area covers the address."""
    vm_start: int
    vm_flags: int
    mapping: tuple[str, int, int] | None
    """Where the code came from: (path of the mapped object, vm_start of the code's area, its file offset)."""
    answer: str = ""
    """Who answered: ``scullp.nopage``, ``zero page``, ``copy-on-write``, ``file``, ``stack``, ..."""
    pfn: int | None = None
    count_before: int = 0
    count_after: int = 0
    walk_before: list[tuple[int, int]] = field(default_factory=list)
    """The four levels as the MMU walks them: (physical address of the entry, entry)."""
    walk_after: list[tuple[int, int]] = field(default_factory=list)
    outcome: str = ""
    """``minor``, ``major``, ``SIGSEGV (SEGV_MAPERR)``, ``SIGBUS (BUS_ADRERR)``, ``OOM``, ``EFAULT``, ..."""
    time_ns: int = 0
    """When it came."""
    end_ns: int = 0
    """When it had been answered."""
    driver: str = ""
    """The driver whose operations the area has."""
    reason: str = ""
    """What the driver, or the kernel, said when there was no page: ``scullp.nopage returned NOPAGE_SIGBUS
    (scullp.py:203)``, ``beyond the end of the file (0 bytes)``."""
    offset: str = ""
    """Which byte of a mapped object it is: ``offset 0x1000 of /dev/scullp0``."""


@record(slots=True)
class SyscallEnter(Event):
    """A task enters a system call; `args` are the raw registers."""

    pid: int
    comm: str
    abi: str
    """``"x86_64"`` or ``"i386"``."""
    number: int
    name: str
    args: tuple[int, ...]
    rip: int
    task: Any
    """The kernel's task: views may read the guest's memory through `task.mm`."""
    time_ns: int = 0


@record(slots=True)
class SyscallExit(Event):
    """The same call returns; `result` is signed, a negative errno on failure."""

    pid: int
    enter: SyscallEnter
    result: int
    time_ns: int = 0
    comm: str = ""
    rip: int = 0
    tampered: str = ""
    """`` (INJECTED)``: `-e inject=` made the result and not the call; `` (DELAYED)``; or both."""


@record(slots=True)
class DriverEnter(Told):
    """A driver's method is about to be called."""

    driver: str
    operation: str
    args: tuple[Any, ...]
    where: str = ""
    """Where the method begins: ``/path/scullp.py:123``."""


@record(slots=True)
class DriverCall(Event):
    """A driver's method was called and has returned."""

    pid: int
    driver: str
    operation: str
    args: tuple[Any, ...]
    result: Any
    time_ns: int = 0
    enter: int = 0
    """`seq` of its `driver_enter`; 0 when nobody heard that."""
    comm: str = ""
    rip: int = 0


@record(slots=True)
class VmaChange(Event):
    """An area is new (``open``), gone (``close``), was cut (``split``: it is the piece that was cut off from what was
    [old_start, old_end)), took in its neighbour (``merge``) or got other bounds or flags (``change``)."""

    pid: int
    what: str
    vm_start: int
    vm_end: int
    vm_flags: int
    name: str
    time_ns: int = 0
    mm: int = 0
    """Number of the address space: exec makes a new one, threads share one."""
    pgoff: int = 0
    """Offset of `vm_start` in what is mapped, in pages."""
    old_start: int = 0
    """The bounds before."""
    old_end: int = 0
    comm: str = ""
    rip: int = 0


@record(slots=True)
class PageEvent(Told):
    """A block of 2**order page frames was allocated or given back."""

    what: str
    """``alloc`` or ``free``."""
    pfn: int
    order: int
    owner: str
    """Whose it is now, or was: ``anonymous``, ``page cache``, ``page table``, a driver's name, ..."""


@record(slots=True)
class CountChange(Told):
    """The number of references to a page frame changed."""

    pfn: int
    old: int
    new: int


@record(slots=True)
class EntryChange(Told):
    """The kernel wrote a page-table entry of the lowest level.  (Bits that the MMU sets by itself are no event.)"""

    mm: int
    """Number of the address space, as in `VmaChange`; 0 for the kernel's own tables."""
    address: int
    """The virtual address that the entry translates."""
    where: int
    """The entry's physical address."""
    old: int
    new: int


@record(slots=True)
class TlbFlush(Told):
    """The processor forgot its cached translations, all of them (there is no other way)."""


@record(slots=True)
class Signal(Event):
    """A signal was delivered: to a handler, by its default action, or ignored (`action`)."""

    pid: int
    comm: str
    signo: int
    si_code: int
    address: int
    action: str
    rip: int
    time_ns: int = 0
    fields: dict[str, int] = field(default_factory=dict)
    """The other members of its siginfo that are in use: pid, uid, status, value, ..."""


@record(slots=True)
class TaskEvent(Event):
    """A task began, ended, or runs another program."""

    pid: int
    comm: str
    what: str
    """``spawn`` (from outside), ``fork`` and ``thread`` (it made another), ``exec``, ``exit``."""
    detail: str = ""
    """The new task's pid; the command line of spawn and exec; of exit ``process`` or ``thread``."""
    status: int = 0
    """Of exit: the status word of wait(2)."""
    time_ns: int = 0
    rip: int = 0


@record(slots=True)
class TaskSwitch(Told):
    """The processor goes over to the task `pid`."""

    previous: int
    """The task that had it; 0 for none."""


@record(slots=True)
class Interrupt(Told):
    """An interrupt is taken: its handlers run next."""

    irq: int
    handlers: str
    """Their names, as in /proc/interrupts."""


@record(slots=True)
class Printk(Told):
    """One line of the kernel's log; `level` 0 (KERN_EMERG) to 7 (KERN_DEBUG)."""

    level: int
    text: str


@record(slots=True)
class Report(Told):
    """A mistake of a driver's that the kernel noticed: a line that is in its log too."""

    text: str
    misuse: bool
    """What would corrupt a real kernel, or a leak; else advice."""


@record(slots=True)
class RegisterAccess(Event):
    """One access to a device register, as the instruction made it."""

    device: str
    register: str
    offset: int
    width: int
    write: bool
    value: int
    rip: int
    pid: int
    time_ns: int = 0
    comm: str = ""


@record(slots=True)
class Oops(Event):
    """A driver or the kernel itself raised; `traceback` is Python's text."""

    pid: int
    comm: str
    where: str
    traceback: str
    rip: int
    in_driver: bool
    time_ns: int = 0
    context: str = ""
    """``in a timer function (tick, bad.py:12)`` where it was in no process: `comm` only ran just then, and `rip` has
    nothing to do with it."""


RECORDS: dict[str, type[Event]] = {
    "fault_enter": FaultEnter, "fault": PageFault, "syscall_enter": SyscallEnter, "syscall_exit": SyscallExit,
    "driver_enter": DriverEnter, "driver_call": DriverCall, "vma": VmaChange, "page": PageEvent,
    "count": CountChange, "entry": EntryChange, "tlb": TlbFlush, "signal": Signal, "task": TaskEvent,
    "switch": TaskSwitch, "interrupt": Interrupt, "register": RegisterAccess, "printk": Printk, "report": Report,
    "oops": Oops,
}  # fmt: skip
"""Kind -> the record that its listeners get."""
KINDS = tuple(RECORDS)

_COMPLETE = {"fault", "syscall_enter", "syscall_exit", "signal", "oops"}
"""Kinds whose emitters say all about the task themselves."""
_ONE_BY_ONE = {"fault_enter", "page", "count", "entry"}
"""Who hears these wants faults to be looked at one by one, as for ``fault``: no page is mapped ahead."""


def _ignore(_event: Event) -> None:
    pass


class Events:
    """The stream.  `listen(kind, f)` adds a listener, `unlisten` removes it; an unheard kind is None."""

    __slots__ = (*KINDS, "_listeners", "_switches", "clock", "seq", "whose")

    fault_enter: Optional[Callable[[FaultEnter], None]]
    fault: Optional[Callable[[PageFault], None]]
    syscall_enter: Optional[Callable[[SyscallEnter], None]]
    syscall_exit: Optional[Callable[[SyscallExit], None]]
    driver_enter: Optional[Callable[[DriverEnter], None]]
    driver_call: Optional[Callable[[DriverCall], None]]
    vma: Optional[Callable[[VmaChange], None]]
    page: Optional[Callable[[PageEvent], None]]
    count: Optional[Callable[[CountChange], None]]
    entry: Optional[Callable[[EntryChange], None]]
    tlb: Optional[Callable[[TlbFlush], None]]
    signal: Optional[Callable[[Signal], None]]
    task: Optional[Callable[[TaskEvent], None]]
    switch: Optional[Callable[[TaskSwitch], None]]
    interrupt: Optional[Callable[[Interrupt], None]]
    register: Optional[Callable[[RegisterAccess], None]]
    printk: Optional[Callable[[Printk], None]]
    report: Optional[Callable[[Report], None]]
    oops: Optional[Callable[[Oops], None]]

    def __init__(self) -> None:
        self._listeners: dict[str, list[Listener]] = {kind: [] for kind in KINDS}
        self._switches: dict[str, Callable[[bool], None]] = {}
        self.seq = 0
        """Number of the last event."""
        self.clock: Callable[[], int] = lambda: 0
        """The machine's time in nanoseconds."""
        self.whose: Callable[[], tuple[int, str, int]] = lambda: (0, "", 0)
        """(pid, name, instruction address) of the task that the machine works for; zeros for none."""
        for kind in KINDS:
            setattr(self, kind, None)

    def listen(self, kind: str, listener: Listener) -> None:
        """Call `listener` with every event of `kind` (one of `KINDS`)."""
        if kind in _ONE_BY_ONE:
            self.listen("fault", _ignore)
        self._listeners[kind].append(listener)
        self._rewire(kind)

    def unlisten(self, kind: str, listener: Listener) -> None:
        """Undo `listen`."""
        if kind in _ONE_BY_ONE:
            self.unlisten("fault", _ignore)
        self._listeners[kind].remove(listener)
        self._rewire(kind)

    def on_demand(self, kind: str, switch: Callable[[bool], None]) -> None:
        """For what is too frequent to be tested for: `switch` is called with True when the first listener of `kind`
        comes (now, when there is one), with False when the last one goes."""
        self._switches[kind] = switch
        if self._listeners[kind]:
            switch(True)

    def _rewire(self, kind: str) -> None:
        heard = tuple(self._listeners[kind])
        was_heard = getattr(self, kind) is not None
        setattr(self, kind, self._numbered(kind, heard) if heard else None)
        if kind in self._switches and was_heard is not bool(heard):
            self._switches[kind](bool(heard))

    def _numbered(self, kind: str, heard: tuple[Listener, ...]) -> Listener:
        """What an emitter of `kind` calls: it completes the record and tells everybody."""
        complete = kind in _COMPLETE

        def emit(event: Any) -> None:
            event.seq = self.seq = self.seq + 1
            event.host_ns = monotonic_ns()
            if not complete:
                pid, comm, rip = self.whose()
                event.pid = event.pid or pid
                event.comm = event.comm or comm
                event.rip = event.rip or rip
            event.time_ns = event.time_ns or self.clock()
            for each in heard:
                each(event)

        return emit
