"""``--break-on``: events at which the program stops, in gdb or at the prompt.

``fault:driver=scullp,nr=3``, ``fault:addr=0x7ffff7fc6000``, ``signal:SIGBUS``, ``syscall:mmap,%file``, ``oops``.  A
fault stops the program when it has been answered and before its instruction runs again (or its signal is delivered);
a signal before it is delivered, a system call before it is made, an oops where it happened, an access to a device's
register (``register:timer.ctrl,nr=2``) behind its instruction.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from greenlet import getcurrent

from machine.events import Oops, PageFault, RegisterAccess, Signal, SyscallEnter
from machine.kernel.abi.signal import NUMBERS, SIGTRAP, describe
from machine.kernel.abi.signal import name as signal_name
from machine.observe.faults import FaultText
from machine.observe.filter import Filters
from machine.observe.gdb.stops import Stop
from machine.observe.strace_sets import parse_set

if TYPE_CHECKING:
    from machine.kernel.task.siginfo import siginfo
    from machine.kernel.task.task import Task
    from machine.observe.gdb.control import Control
    from machine.observe.symbols import ReadFile

EXAMPLES = "fault:driver=scullp,nr=3  fault:addr=0x7ffff7fc6000  signal:SIGBUS  syscall:mmap  oops  register:timer.ctrl"
KEYS = {
    "fault": ("driver", "addr", "pid", "comm", "nr"), "signal": ("pid", "comm", "nr"),
    "syscall": ("pid", "comm", "nr"), "oops": ("pid", "comm", "nr"),
    "register": ("driver", "pid", "comm", "nr"),
}  # fmt: skip


class Break(NamedTuple):
    """One ``--break-on``."""

    text: str
    kind: str
    names: Optional[frozenset[str]]
    """Of signals or system calls; None: all."""
    filters: Filters
    nr: Optional[int]
    """Only the nr-th event that fits, from 1; None: each."""


def parse_break(text: str) -> Break:
    """One expression.  ValueError says what is accepted."""
    kind, colon, rest = text.partition(":")
    if kind not in KEYS:
        raise ValueError(f"'{text}' does not begin with {', '.join(KEYS)}; like {EXAMPLES}")
    if colon and not rest:
        raise ValueError(f"'{text}': nothing after the colon; like {EXAMPLES}")
    names, pairs, number = [], [], None
    for part in rest.split(",") if rest else ():
        key, equals, value = part.partition("=")
        if not equals and kind in ("signal", "syscall", "register"):
            names.append(part)
        elif not equals or not value or key not in KEYS[kind]:
            what = "a name, or " if kind in ("signal", "syscall", "register") else ""
            raise ValueError(f"'{text}': '{part}' is not {what}KEY=VALUE with one of the keys {', '.join(KEYS[kind])}")
        elif key != "nr":
            pairs.append(part)
        elif not re.fullmatch("[1-9][0-9]*", value):
            raise ValueError(f"'{text}': nr={value}: not a number from 1")
        else:
            number = int(value)
    try:
        chosen = _names(kind, names) if names else None
        return Break(text, kind, chosen, Filters([",".join(pairs)] if pairs else ()), number)
    except ValueError as error:
        raise ValueError(f"'{text}': {error}") from None


def _names(kind: str, names: list[str]) -> frozenset[str]:
    if kind == "syscall":
        return parse_set(",".join(names))
    if kind == "register":
        return frozenset(names)
    found = {each if each.startswith("SIG") else f"SIG{each}" for each in map(str.upper, names)}
    for each in sorted(found - set(NUMBERS)):
        raise ValueError(f"there is no signal {each}; like SIGBUS, SEGV, SIGRT_1")
    return frozenset(found)


class BreakOn:
    """Stops tasks through `control` at what `breaks` say; processes that nobody debugged until then are debugged."""

    def __init__(self, control: Control, breaks: list[Break], read_file: ReadFile) -> None:
        self.control = control
        self.kernel = control.kernel
        self.last_fault: Optional[PageFault] = None
        self._text = FaultText(read_file)
        self._breaks = breaks
        self._counts = dict.fromkeys(breaks, 0)
        self._silent = dict.fromkeys(breaks)
        for each in breaks:
            self._check_registers(each)
        self._listeners: dict[str, Callable[[Any], None]] = {
            "fault": self._on_fault,
            "syscall_enter": self._on_call,
            "oops": self._on_oops,
            "register": self._on_register,
        }
        wanted = {each.kind for each in breaks}
        self._heard = [each for each in self._listeners if each.removesuffix("_enter") in wanted]
        for kind in self._heard:
            self.kernel.events.listen(kind, self._listeners[kind])
        if "signal" in wanted:
            control.at_signal = self._at_signal

    def _check_registers(self, wanted: Break) -> None:
        """ValueError for a register that no attached device has."""
        if wanted.kind != "register" or wanted.names is None:
            return
        known = {}
        for each in self.kernel.bus.blocks:
            block = type(each.block)
            known[each.block.name] = [*block.registers, *block.arrays, *block.memories]
        for name in sorted(wanted.names):
            device, dot, register = name.rpartition(".")
            plain = re.split(r"[\[+]", register)[0]
            if not any(plain in names for block, names in known.items() if not dot or block == device):
                there = ", ".join(
                    f"{block}.{each}" for block in ([device] if device in known else known) for each in known[block]
                )
                raise ValueError(f"'{wanted.text}': no device has a register '{name}'; there are: {there or 'none'}")

    def never(self) -> list[str]:
        """A line for each that has never stopped a program; none when the user wanted to be asked no more."""
        return [
            f"--break-on {each.text} has never stopped the program: there were {self._counts[each] or 'none'}"
            for each in self._silent
        ]

    def _hit(self, kind: str, event_kind: str, event: object, name: str = "") -> Optional[Break]:
        """The first expression that fits and whose turn it is; all that fit have counted it."""
        found = None
        for each in self._breaks:
            if each.kind != kind or (each.names is not None and name not in each.names):
                continue
            if not each.filters.match(event_kind, event):
                continue
            self._counts[each] += 1
            if found is None and each.nr in (None, self._counts[each]):
                found = each
                self._silent.pop(each, None)
        return found

    def _stop(self, why: Break, text: str, at_once: bool) -> None:
        task = self.kernel.current
        if task is None or task.tgid == 1:
            return
        if task.tgid not in self.control.inferiors:
            self.control.attach(task.tgid)
        stop = Stop(SIGTRAP, said=f"{text}\n(--break-on {why.text})\n")
        if at_once:
            self.control.trapped(task, stop)
        else:
            self.control.later(task, stop)

    def _on_fault(self, fault: PageFault) -> None:
        why = self._hit("fault", "fault", fault)
        if why is not None:
            self.last_fault = fault
            self._stop(why, self._text.paragraph(fault), False)

    def _on_call(self, call: SyscallEnter) -> None:
        why = self._hit("syscall", "syscall_enter", call, call.name)
        if why is not None:
            arguments = ", ".join(f"{value:#x}" for value in call.args)
            self._stop(
                why, f"system call {call.name}({arguments}) of {call.comm}[{call.pid}] is about to be made", True
            )

    def _on_register(self, access: RegisterAccess) -> None:
        whole = f"{access.device}.{access.register}"
        name = whole if any(whole in (each.names or ()) for each in self._breaks) else access.register
        why = self._hit("register", "register", access, name)
        if why is not None:
            kind = "write" if access.write else "read"
            who = f"{access.comm or 'process'}[{access.pid}] at {access.rip:#x}" if access.rip else "the kernel"
            self._stop(why, f"{kind} of {whole} = {access.value:#x}, {access.width} bytes, by {who}", False)

    def _on_oops(self, oops: Oops) -> None:
        why = self._hit("oops", "oops", oops)
        task = self.kernel.current
        if why is not None and task is not None:
            text = f"{oops.where or 'the kernel'} raised, for {oops.comm}[{oops.pid}]\n{oops.traceback.rstrip()}"
            self._stop(why, text, getcurrent() is task.kstack)

    def _at_signal(self, task: Task, info: siginfo) -> Optional[str]:
        """Whether to stop for a signal that is about to be delivered: what to say, or None."""
        event = Signal(task.pid, task.comm, info.signo, info.code, info.address, "", 0)
        why = self._hit("signal", "signal", event, signal_name(info.signo))
        if why is None:
            return None
        if task.tgid not in self.control.inferiors:
            self.control.attach(task.tgid)
        where = f" at {info.address:#x}" if info.address else ""
        text = describe(info.signo, info.code)
        return f"{text}{where} is about to be delivered to {task.comm}[{task.pid}]\n(--break-on {why.text})\n"

    def close(self) -> None:
        """Stop nowhere any more."""
        for kind in self._heard:
            self.kernel.events.unlisten(kind, self._listeners[kind])
        self._heard.clear()
        self._silent.clear()
        self.control.at_signal = None
