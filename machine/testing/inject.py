"""Faults on purpose: what a program does when the machine, the kernel or the device fails it.

The fixture `inject`::

    inject("sigbus", at="timer.status")            # each access to that register is a bus error
    inject("sigbus", at="/dev/uio0+0x8", nth=3)    # the third to that offset of the device
    inject("mmap", errno="EAGAIN", nth=2)          # the second mmap gives EAGAIN
    inject("read", short=1)                        # each read gets one byte
    inject("oom", nth=5)                           # the machine has no memory for the fifth page frame
    inject.stuck("/dev/uio0", "status", 0x1, 0)    # a bit that never comes
    inject.delayed("/dev/uio0", "status", us=500)  # a change that shows later
    inject.lost_irq("/dev/uio0", nth=1)            # an interrupt that nobody hears

`nth` counts from 1, from the call of `inject` on, over all programs of the machine; with it the one is hit, or `times`
of them; without it all are.  Each gives an `Injection`: `hits` says what was done, `off()` ends it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional

from machine.errors import ConfigError, is_the_users
from machine.hardware.cpu import RIP
from machine.kernel.abi import errno as errno_names
from machine.kernel.mm.fail_page_alloc import fail_page_alloc
from machine.observe.sources import Sources
from machine.observe.strace_sets import all_names
from machine.options import did_you_mean
from machine.testing import messages
from machine.testing.places import Place, can_be_a_bus_error, touch_of
from machine.testing.short import ALIASES, SHORTENED, Shortened, name_of

if TYPE_CHECKING:
    from machine.kernel.syscalls.table import Syscall
    from machine.kernel.task.task import Task
    from machine.testing.harness import Harness

__tracebackhide__ = is_the_users


class Injection:
    """One kind of failure that was asked for."""

    def __init__(self, text: str, nth: Optional[int], times: Optional[int]) -> None:
        self.text = text
        if nth is not None and nth < 0:
            raise ConfigError(messages.bad_nth(nth))
        self.first = 1 if nth is None else nth
        self.last: float = float("inf") if nth is None and times is None else self.first + (times or 1) - 1
        if nth == 0:
            self.last = 0
        self.seen = 0
        """How many there were that it could have been done to."""
        self.hits: list[str] = []
        """What was done, a line each."""
        self.on = True
        self._undo: Callable[[], None] = lambda: None

    def due(self) -> bool:
        """Count one more; whether it is to be hit."""
        if not self.on:
            return False
        self.seen += 1
        return self.first <= self.seen <= self.last

    def off(self) -> None:
        """No more of it.  Twice is fine."""
        if self.on:
            self.on = False
            self._undo()

    def undo_by(self, undo: Callable[[], None]) -> Injection:
        """What `off` has to do."""
        self._undo = undo
        return self

    def __repr__(self) -> str:
        return f"<{self.text}: {len(self.hits)} hits of {self.seen}>"


class Inject:
    """The fixture.  `close` ends all; `never_hit` are those that nothing came of."""

    def __init__(self, harness: Harness) -> None:
        self._harness = harness
        self._machine = harness.machine
        self._sources = Sources(harness.machine.kernel, harness.machine.read_file)
        self.all: list[Injection] = []
        self._faults: list[tuple[Injection, Optional[Place]]] = []
        self._calls: list[tuple[Injection, frozenset[str], Optional[int], Optional[int]]] = []
        entry = self._machine.kernel.entry
        entry.tamper, entry.tamper_fault = self._tamper, self._tamper_fault
        harness.closers.append(self)

    def __call__(
        self,
        what: str,
        *,
        at: Any = None,
        errno: Optional[str] = None,
        short: Optional[int] = None,
        nth: Optional[int] = None,
        times: Optional[int] = None,
    ) -> Injection:
        """``"sigbus"``, ``"oom"``, or a system call by its name.  ConfigError for what is none of them."""
        told = {"at": at, "errno": errno, "short": short, "nth": nth, "times": times}
        words = ", ".join(f"{name}={value!r}" for name, value in told.items() if value is not None)
        made = Injection(f"inject({what!r}{', ' if words else ''}{words})", nth, times)
        if what == "sigbus":
            if at is None and nth is None:
                raise ConfigError(messages.sigbus_where())
            self._faults.append((made, None if at is None else Place(self._machine, at, self._sources)))
        elif what == "oom":
            self._out_of_memory(made)
        else:
            self.calls(made, frozenset((what,)), errno, short)
        self.all.append(made)
        return made

    # -- system calls -------------------------------------------------------------------------------------

    def calls(
        self, made: Injection, names: frozenset[str], errno: Optional[str], short: Optional[int] = None
    ) -> Injection:
        """Have any of these calls fail, or do less than it is asked for."""
        known = all_names()
        names = frozenset(ALIASES.get(name, name) for name in names)
        for name in names:
            if name not in known:
                raise ConfigError(messages.no_such_call(name, did_you_mean(name, ["sigbus", "oom", *sorted(known)])))
        if (errno is None) == (short is None):
            raise ConfigError(messages.errno_or_short(next(iter(names))))
        number = None
        if errno is not None:
            found = getattr(errno_names, errno, None) if errno.isupper() and errno.startswith("E") else None
            if not isinstance(found, int):
                errors = [each for each in dir(errno_names) if each.startswith("E")]
                raise ConfigError(messages.no_such_errno(errno, did_you_mean(errno, errors)))
            number = -found
        elif not names <= SHORTENED:
            raise ConfigError(messages.not_shortened(next(iter(names)), sorted(SHORTENED)))
        self._calls.append((made, names, number, short))
        return made

    def _tamper(self, task: Task, name: str, row: Optional[Syscall]) -> tuple[int, str]:
        entry = self._machine.kernel.entry
        called = name_of(task, name, entry.cpu.regs)
        for made, names, number, short in self._calls:
            if called not in names and name not in names:
                continue
            smaller = None if short is None else Shortened(task, called, row, entry, short)
            if smaller is not None and not smaller.possible():
                continue
            if made.due():
                made.hits.append(f"{called} of {task.comm}[{task.pid}] in {self._sources.here(task)}")
                if smaller is not None:
                    return smaller.make(), " (SHORT)"
                if name == "brk":  # says that it failed by not moving
                    return task.mm.brk, " (INJECTED)"
                assert number is not None
                return number, " (INJECTED)"
        return entry.make_call(task, name, row), ""

    # -- memory ---------------------------------------------------------------------------------------------

    def _tamper_fault(self, task: Task, address: int, error_code: int) -> bool:
        if not self._faults:
            return False
        touch = touch_of(task, address)
        for made, place in self._faults:
            fits = can_be_a_bus_error(touch) if place is None else place.holds(task, touch)
            if fits and made.due():
                what = "" if touch.area is None or touch.area.vm_file is None else f" ({touch.area.vm_file.f_path})"
                rip = self._machine.kernel.cpu.regs[RIP]
                where = str(self._sources.at(task, rip)) or f"{rip:#x}"
                made.hits.append(f"{address:#x}{what} by {task.comm}[{task.pid}] in {where}")
                return True
        return False

    def _out_of_memory(self, made: Injection) -> None:
        """Page frames that nobody gets: ENOMEM of a call, or the end of the process that the kernel chooses."""
        kernel = self._machine.kernel

        inside = False
        """Looking up names reads files, which takes frames."""

        def fails(owner: Any) -> bool:
            nonlocal inside
            if not inside and made.due():
                inside = True
                task = kernel.current
                where = "" if task is None else f" by {task.comm}[{task.pid}]"
                place = "" if task is None or task.exe is None else f" in {self._sources.here(task)}"
                made.hits.append(f"a frame for {owner}{where}{place}")
                inside = False
                return True
            return False

        # `only` decides; of what it lets through every one fails
        made.undo_by(fail_page_alloc(kernel.mem, 1, -1, only=fails).off)

    # -- devices ------------------------------------------------------------------------------------------------

    def block(self, where: Any) -> Any:
        """A device model of the test: by its place, its name, or itself.  ConfigError."""
        if not isinstance(where, str):
            return where
        devices = self._harness.devices
        attached = self._machine.kernel.bus.blocks
        found = dict(devices) | {each.block.name: each.block for each in attached}
        if where not in found:
            known = [*devices, *(each.block.name for each in attached if each.recorded)]
            raise ConfigError(messages.unknown_place(where, known))
        return found[where]

    def stuck(self, where: Any, register: str, mask: int, value: int) -> Injection:
        """Whoever reads the register finds the bits of `mask` as they are in `value`."""
        from machine.testing.broken import stick

        return self._kept(stick(self.block(where), register, mask, value))

    def delayed(
        self, where: Any, register: str, *, us: Optional[float] = None, reads: Optional[int] = None
    ) -> Injection:
        """A change of the register shows only after so many microseconds, or so many reads that still see the old."""
        from machine.testing.broken import delay

        return self._kept(delay(self.block(where), register, us, reads))

    def lost_irq(
        self,
        where: Any,
        *,
        nth: Optional[int] = None,
        times: Optional[int] = None,
        probability: Optional[float] = None,
        seed: int = 0,
    ) -> Injection:
        """Interrupts of a device that nobody hears: the `nth`, all, or each with a probability from a seeded row."""
        from machine.testing.broken import lose

        return self._kept(lose(self.block(where), nth, times, probability, seed))

    def _kept(self, made: Injection) -> Injection:
        self.all.append(made)
        return made

    # -- the end ------------------------------------------------------------------------------------------------

    def never_hit(self) -> list[str]:
        """Those that were to do something and did not."""
        return [made.text for made in self.all if not made.hits and made.last]

    def close(self) -> None:
        """No more failures."""
        for made in self.all:
            made.off()
        entry = self._machine.kernel.entry
        entry.tamper = entry.tamper_fault = None
