"""The one stream of events: the bottom layer.  Hardware and kernel emit into it, views listen.

Each kind of event is an attribute of `Events`: ``None`` while nobody listens, else a callable.
The emitter tests the attribute and builds the record only when somebody wants it::

    if events.printk is not None:
        events.printk(Printk(...))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Optional

from machine.records import field, record

Listener = Callable[[Any], None]


@record(slots=True)
class PageFault:
    """One page fault, from the exception to its outcome (MECHANISMS F1)."""

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


@record(slots=True)
class SyscallEnter:
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
class SyscallExit:
    """The same call returns; `result` is signed, a negative errno on failure."""

    pid: int
    enter: SyscallEnter
    result: int
    time_ns: int = 0


@record(slots=True)
class DriverCall:
    """A driver's method was called and has returned."""

    pid: int
    driver: str
    operation: str
    args: tuple[Any, ...]
    result: Any
    time_ns: int = 0


@record(slots=True)
class VmaChange:
    """An area was made, split, merged, changed or removed (`what` says which)."""

    pid: int
    what: str
    vm_start: int
    vm_end: int
    vm_flags: int
    name: str
    time_ns: int = 0


@record(slots=True)
class Signal:
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
class TaskEvent:
    """A task started (`what` = "fork", "exec") or ended ("exit")."""

    pid: int
    comm: str
    what: str
    detail: str = ""
    status: int = 0
    time_ns: int = 0


@record(slots=True)
class Printk:
    """One line of the kernel's log; `level` 0 (KERN_EMERG) to 7 (KERN_DEBUG)."""

    level: int
    text: str
    time_ns: int = 0


@record(slots=True)
class Report:
    """A mistake of a driver's that the kernel noticed: a line that is in its log too."""

    text: str
    misuse: bool
    """What would corrupt a real kernel, or a leak; else advice."""
    time_ns: int = 0


@record(slots=True)
class RegisterAccess:
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


@record(slots=True)
class Oops:
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


KINDS = (
    "fault", "syscall_enter", "syscall_exit", "driver_call", "vma", "signal", "task", "printk", "register", "oops",
    "report",
)  # fmt: skip


class Events:
    """The stream.  `listen(kind, f)` adds a listener, `unlisten` removes it; an unheard kind is None."""

    __slots__ = (*KINDS, "_listeners")

    fault: Optional[Callable[[PageFault], None]]
    syscall_enter: Optional[Callable[[SyscallEnter], None]]
    syscall_exit: Optional[Callable[[SyscallExit], None]]
    driver_call: Optional[Callable[[DriverCall], None]]
    vma: Optional[Callable[[VmaChange], None]]
    signal: Optional[Callable[[Signal], None]]
    task: Optional[Callable[[TaskEvent], None]]
    printk: Optional[Callable[[Printk], None]]
    register: Optional[Callable[[RegisterAccess], None]]
    oops: Optional[Callable[[Oops], None]]
    report: Optional[Callable[[Report], None]]

    def __init__(self) -> None:
        self._listeners: dict[str, list[Listener]] = {kind: [] for kind in KINDS}
        for kind in KINDS:
            setattr(self, kind, None)

    def listen(self, kind: str, listener: Listener) -> None:
        """Call `listener` with every event of `kind` (one of `KINDS`)."""
        self._listeners[kind].append(listener)
        self._rewire(kind)

    def unlisten(self, kind: str, listener: Listener) -> None:
        """Undo `listen`."""
        self._listeners[kind].remove(listener)
        self._rewire(kind)

    def _rewire(self, kind: str) -> None:
        heard = tuple(self._listeners[kind])

        def everyone(event: Any) -> None:
            for each in heard:
                each(event)

        setattr(self, kind, None if not heard else heard[0] if len(heard) == 1 else everyone)
