"""One run of a deterministic machine that can be repeated: where it is, and how it comes to a place of the past.

A place is (number of the last event, position in user code: hardware/bytecount.py).  What comes from outside goes
through the journal; a process that repeats the past is `silent`: its debugger stops nowhere, its views write nothing.
"""

from __future__ import annotations

import mmap
import os
import select
import struct
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from machine.hardware.blame import Passing
from machine.hardware.bytecount import FAR
from machine.hardware.cpu import RIP
from machine.kernel.abi.errno import ESPIPE
from machine.kernel.abi.signal import SIGHUP, SIGINT, SIGTERM, SIGTRAP
from machine.kernel.fs.hostregular import HERE
from machine.kernel.task.spawn import signal_foreground
from machine.observe.gdb.stops import Stop
from machine.observe.travel.journal import Failed, Journal

if TYPE_CHECKING:
    from machine.events import Event
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import Task
    from machine.observe.gdb.control import Control

TICK = 1_000_000
"""Bytes of code between two ticks: what 50,000 blocks have, about."""
KINDS = (
    "fault", "syscall_enter", "syscall_exit", "driver_call", "vma", "signal", "task", "switch", "interrupt",
    "register", "printk", "oops",
)  # fmt: skip
"""The events that are counted; they are always heard, so that numbers don't depend on who listens besides."""
_REGULAR = "_write"
"""A write to a standard descriptor that is a regular file (fs/hostregular.py): its position may be HERE."""
_WRITES = ("write", "pwrite", _REGULAR)
WAIT = "_select"
"""What `HostWait` has the host do while every task sleeps."""
NEAR = 64
"""Bytes of code before a place that are stepped through to find the instruction before it."""
_REMEMBERED = 4096
_TRIES = 100
"""How often one instruction may be tried before it is said that it goes past the place: more than it can fault."""
_SHARED = struct.Struct("<qq")


class Differs(Passing):
    """The run is not the recorded one: why.  No `Exception`: neither the kernel nor a driver is at fault."""


class Place(NamedTuple):
    """An instruction of the run: after how many events, at which position."""

    number: int
    position: int


class Timeline:
    """`control` may be set later; `mute(on)` silences the views."""

    def __init__(self, kernel: Kernel, journal: Journal, mute: Callable[[bool], None]) -> None:
        self.kernel = kernel
        self.journal = journal
        kernel.journal_size = journal.size
        self.control: Optional[Control] = None
        self.count = kernel.cpu.count_bytes()
        self.number = 0
        self.seq = 0
        """`seq` of the last event: what the user sees in --events."""
        self.silent = False
        self.on_event: Optional[Callable[[str, Event], None]] = None
        """Called after each event: by who goes to a place, and who takes snapshots."""
        self.after: Optional[Callable[[], None]] = None
        """What to do at the position `goal`."""
        self.goal = FAR
        self.hit: Optional[tuple[Task, int]] = None
        """A breakpoint at which the engine has just stopped."""
        self.decisions: dict[Place, int] = {}
        """Signals that the debugger's user did not let through as they were: 0 for none."""
        self.reenter = False
        """The engine was only stopped so that watched pages can be closed."""
        self.moments: deque[Place] = deque(maxlen=_REMEMBERED)
        """The last events before which user code had run."""
        self._mute = mute
        self._frontier = mmap.mmap(-1, _SHARED.size)
        """Number and `seq` of the newest event that any process of the session has seen."""
        self._last_tick = 0
        self._near, self._tried, self._tries = False, -1, 0
        self._keys: deque[int] = deque()
        """Signals from the terminal that have not been delivered."""
        kernel.host, kernel.key = self._host, self._key
        self.count.on_stop = self._stopped
        for kind in KINDS:
            kernel.events.listen(kind, lambda event, kind=kind: self._heard(kind, event))  # type: ignore[misc]
        self._plan()

    @property
    def here(self) -> Place:
        """Where the machine is, while the kernel or nobody runs."""
        return Place(self.number, self.count.position)

    # -- from outside ------------------------------------------------------------------------------

    def _host(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """`Kernel.host`: from the journal, or the host's answer, which goes there."""
        known = self.journal.next_call()
        if known is not None:
            return self._repeat(known, function, arguments)
        self._lives()
        try:
            result = function(*arguments)
        except OSError as failure:
            self.journal.add_call(function.__name__, Failed(failure.errno or 5))
            raise
        self.journal.add_call(function.__name__, result)
        if function.__name__ == WAIT:
            self._deliver_keys()
        return result

    def _repeat(self, known: tuple[str, Any], function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        name, result = known
        if name != function.__name__:
            asked = function.__name__.strip("_")
            raise Differs(f"the recorded run asked the host for {name.strip('_')} where this one asks for {asked}")
        if isinstance(result, Failed):
            raise OSError(int(result), name)
        if not _possible(name, result, arguments):
            raise Differs(f"what the host answers to {name.strip('_')} there is no answer to what this one asks")
        if name in _WRITES and self.number >= self.frontier:  # recorded by another session: nobody has seen it yet
            descriptor, data, *position = arguments
            if name == _REGULAR:
                position = [] if position[0] == HERE else position[:1]
            _write(descriptor, data[:result], *position)
        if name == WAIT:
            self._deliver_keys()
        return result

    def _lives(self) -> None:
        """Something new comes from outside."""
        if self.journal.ended:
            raise Differs("the run goes on where the recorded one had ended")

    def _key(self, signo: int) -> None:
        """`Kernel.key`: in a signal handler.  It is delivered at the next tick, or when the machine has waited; one
        that is not in the recording ends its replay."""
        if self.journal.ended and signo in (SIGINT, SIGTERM, SIGHUP):
            raise KeyboardInterrupt
        self._keys.append(signo)
        self.kernel.sched.end_wait()

    def _deliver_keys(self) -> None:
        """At a tick, or after a wait: what the journal has here, or what has come."""
        while (signo := self.journal.next_signal()) is not None:
            self._deliver(signo)
        while self._keys and self.journal.live:
            signo = self._keys.popleft()
            self.journal.add_signal(signo)
            self._deliver(signo)

    def _deliver(self, signo: int) -> None:
        self.kernel.sched.interrupt(lambda: signal_foreground(self.kernel, signo))

    # -- events ------------------------------------------------------------------------------------------

    @property
    def frontier(self) -> int:
        """Number of the newest event that was ever shown."""
        return int(_SHARED.unpack_from(self._frontier)[0])

    @property
    def last_seq(self) -> int:
        """Its `seq`."""
        return int(_SHARED.unpack_from(self._frontier)[1])

    def forget_future(self) -> None:
        """The user changes something: what was recorded after this will not come again."""
        self.journal.cut()
        _SHARED.pack_into(self._frontier, 0, self.number, self.seq)

    def _heard(self, kind: str, event: Event) -> None:
        self.number += 1
        self.seq = event.seq
        position = self.count.position
        if not self.moments or self.moments[-1].position != position:
            self.moments.append(Place(self.number, position))
        if self.number > self.frontier:
            _SHARED.pack_into(self._frontier, 0, self.number, self.seq)
        elif self.number == self.frontier:
            self._mute(False)
        if self.on_event is not None:
            self.on_event(kind, event)

    def replaying(self) -> None:
        """This process has been started from a snapshot: until the frontier nothing is shown."""
        self._mute(self.number < self.frontier)

    # -- user code ---------------------------------------------------------------------------------------

    def _plan(self) -> None:
        known = self.journal.next_tick()
        tick = self._last_tick + TICK if known is None else known
        self.count.stop_at(min(tick, self.goal))

    def go_to(self, position: int, then: Callable[[], None], near: bool = False) -> None:
        """Call `then`, in the hub, when user code has come to `position` (`near`: to the block that passes it); nothing
        else runs before it returns."""
        self.goal, self.after, self._near, self._tried = position, then, near, -1
        self._plan()

    def _stopped(self) -> bool:
        """The engine has stopped, in the hub."""
        sched, count = self.kernel.sched, self.count
        task = sched.current
        if task is None:
            return False
        if self.hit is not None:
            (task, address), self.hit = self.hit, None
            if self.control is not None and sched.loaded is task:
                self.control.hit(task, address)
            return self._goes_on(task)
        if not count.reached:
            if self.reenter and self.control is not None:
                self.reenter = False
                self.control.watches.close()
                return self._goes_on(task)
            return False
        stuck = count.limit == self.goal and (self._near or self._tried == count.position)
        if count.position >= self.goal or stuck:
            then, self.goal, self.after = self.after, FAR, None
            self._plan()
            if then is not None:
                then()
            return self._goes_on(task)
        known = self.journal.next_tick()
        if count.position < count.limit and count.limit in (self.goal, known):
            self._tries = self._tries + 1 if self._tried == count.position else 0
            if self._tries == _TRIES:
                raise Differs("user code does not come to a place where it was interrupted then")
            self._tried = count.position
            count.approach()
            return True
        if known is None:
            self._lives()
        self._last_tick = count.position
        self.journal.tick(count.position)
        self._deliver_keys()
        self._plan()
        if count.each is not None:
            count.approach()
        count.tick = True
        return False

    def _goes_on(self, task: Task) -> bool:
        sched = self.kernel.sched
        busy = sched.need_resched or sched.has_actions() or task.sigpending or task.work or sched.until()
        return not busy and sched.current is task

    def instructions(self, until: int, each: Callable[[int], None], then: Callable[[], None]) -> None:
        """From here one by one to `until`; `each` gets the positions."""
        self.count.each = each

        def reached() -> None:
            self.count.each = None
            then()

        self.go_to(until, reached)
        self.count.approach()

    def no_instructions(self) -> None:
        """End `instructions`; the code after this runs at full speed."""
        self.count.each, self.goal, self.after = None, FAR, None
        self.count.leave_off()
        self._plan()

    def stop_now(self, text: str, detail: bytes) -> None:
        """In the hub, the current task in user mode: the debugger has the word."""
        task = self.kernel.sched.current
        assert task is not None
        self.silent = False
        if self.control is not None:
            if task.tgid not in self.control.inferiors:
                self.control.attach(task.tgid)
            self.control.siginfo.pop(task, None)
            stop = Stop(SIGTRAP, detail, said=text, address=self.kernel.cpu.regs[RIP])
            self.kernel.sched._run_kernel(task, (self.control.stop, (task, stop)))


def _possible(name: str, result: Any, arguments: tuple[Any, ...]) -> bool:
    """Whether the host could have said that: what waits is woken by it, and what was written is not written again."""
    if name == WAIT:
        return all(set(ready) <= set(asked) for ready, asked in zip(result, arguments[:2], strict=True))
    return name not in _WRITES or bool(result <= len(arguments[1]))


def _write(descriptor: int, data: bytes, *position: int) -> None:
    """What was written to a file then may go to a pipe or a terminal now."""
    if position:
        try:
            os.pwrite(descriptor, data, *position)
            return
        except OSError as failure:
            if failure.errno != ESPIPE:
                raise
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
