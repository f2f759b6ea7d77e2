"""The expressions of ``-e``, in strace's own syntax: what is shown, and what is done to system calls.

``trace=SET`` (or only SET), ``signal=SET``, ``inject=SET:error=ERRNO|retval=N[:signal=SIG][:delay_enter=TIME]
[:delay_exit=TIME][:when=F[..L][+[S]]]``, ``fault=SET[:error=ERRNO][:when=...]``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from machine.events import Events
from machine.kernel.abi import errno
from machine.kernel.abi.signal import NUMBERS, SIGIOT, SIGPOLL
from machine.observe.strace_sets import all_names, parse_set

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.syscalls.table import Syscall
    from machine.kernel.task.task import Task

_KINDS = ("trace", "signal", "inject", "fault")
_SHORT = {"t": "trace", "traces": "trace", "s": "signal", "signals": "signal"}
_UNITS = {"": 1_000, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "ns": 1}
_WHEN = re.compile(r"(\d+)(?:\.\.(\d+))?(\+(\d*))?")
_LAST = 65535
"""The largest number in ``when=``, as in strace."""


class Injection(NamedTuple):
    """What is done to a system call."""

    result: Optional[int] = None
    """What the program gets; the call is not made then."""
    signo: int = 0
    delay_enter: int = 0
    """Nanoseconds."""
    delay_exit: int = 0
    first: int = 1
    last: int = _LAST
    step: int = 1

    def hits(self, count: int) -> bool:
        """Whether it is done to the `count`-th call."""
        return self.first <= count <= self.last and (count - self.first) % self.step == 0


class Expressions:
    """What all ``-e`` of a command line say together; a later one of a kind takes the place of an earlier."""

    def __init__(self, texts: Sequence[str] = ()) -> None:
        self.trace = all_names()
        """System calls that are shown."""
        self.shows_unknown = True
        """Also numbers that no system call has."""
        self.signals: Optional[frozenset[int]] = None
        """Signals that are shown; None: all."""
        self.injections: dict[str, Injection] = {}
        for text in texts:
            self._add(text)

    def _add(self, text: str) -> None:
        kind, equals, rest = text.partition("=")
        kind = _SHORT.get(kind, kind)
        if not equals:
            kind, rest = "trace", text
        if kind not in _KINDS:
            raise ValueError(f"'{kind}=' is not among what -e takes here: {', '.join(f'{each}=' for each in _KINDS)}")
        if kind == "trace":
            self.trace = parse_set(rest)
            self.shows_unknown = rest == "all" or rest.startswith("!")
        elif kind == "signal":
            self.signals = _signals(rest)
        else:
            names, injection = _injection(rest, kind)
            self.injections |= dict.fromkeys(names, injection)

    def shows(self, name: str) -> bool:
        """Whether calls of this name are shown."""
        return name in self.trace or (self.shows_unknown and name not in all_names())

    def shows_signal(self, signo: int) -> bool:
        """Whether signals of this number are shown."""
        return self.signals is None or signo in self.signals


def _signals(text: str) -> frozenset[int]:
    inverted = text.startswith("!")
    chosen: set[int] = set()
    for word in text[inverted:].split(","):
        if word == "all":
            chosen |= set(NUMBERS.values())
        elif word != "none":
            chosen.add(_signal(word))
    return frozenset(set(NUMBERS.values()) - chosen if inverted else chosen)


def _signal(word: str) -> int:
    name = word.upper() if word.upper().startswith("SIG") else "SIG" + word.upper()
    also = {"SIGIOT": SIGIOT, "SIGPOLL": SIGPOLL, "SIGCLD": NUMBERS["SIGCHLD"]}
    number = int(word) if word.isdigit() else NUMBERS.get(name, also.get(name, 0))
    if not 1 <= number <= 64:
        raise ValueError(f"invalid signal '{word}'")
    return number


def _injection(text: str, kind: str) -> tuple[frozenset[str], Injection]:
    words = text.split(":")
    told: dict[str, int] = {}
    for word in words[1:]:
        key, _, value = word.partition("=")
        if key in ("poke_enter", "poke_exit", "syscall"):
            raise ValueError(f"{kind}={text}: {key}= is not supported")
        new = _argument(key, value, kind)
        if new is None or set(new) & set(told):
            raise ValueError(f"invalid {kind} argument '{text}'" + (f": {word}" if new is None else f": {key} twice"))
        told |= new
    if kind == "fault":
        told.setdefault("result", -errno.ENOSYS)
    if not set(told) & {"result", "signo", "delay_enter", "delay_exit"}:
        raise ValueError(f"invalid {kind} argument '{text}': it says nothing to do (error=, retval=, signal=, delay_)")
    return parse_set(words[0]), Injection(**told)


def _argument(key: str, value: str, kind: str) -> Optional[dict[str, int]]:
    if key == "error":
        number = int(value) if value.isdigit() else getattr(errno, value, 0) if value.startswith("E") else 0
        return {"result": -number} if isinstance(number, int) and 0 < number < 4096 else None
    if key == "when":
        return _when(value)
    if kind == "fault":
        return None
    if key == "retval":
        try:
            result = int(value, 0)
        except ValueError:
            return None
        return {"result": result} if 0 <= result < 1 << 64 else None
    if key == "signal":
        return {"signo": _signal(value)}
    if key in ("delay_enter", "delay_exit"):
        found = re.fullmatch(r"(\d+)(us|ms|s|ns|)", value)
        return None if found is None else {key: int(found[1]) * _UNITS[found[2]]}
    return None


def _when(value: str) -> Optional[dict[str, int]]:
    found = _WHEN.fullmatch(value)
    if found is None:
        return None
    first, step = int(found[1]), int(found[4]) if found[4] else 1
    last = int(found[2]) if found[2] else _LAST if found[3] else first
    if not (1 <= first <= last <= _LAST and 1 <= step <= _LAST):
        return None
    return {"first": first, "last": last, "step": step}


class Injector:
    """Does to the system calls of a machine what `expressions` say; each task's calls of a name are counted.

    As in strace, what is not traced is left alone.  `close` ends it.
    """

    def __init__(self, kernel: Kernel, expressions: Expressions) -> None:
        self._kernel = kernel
        self._events: Events = kernel.events
        self._injections = {n: each for n, each in expressions.injections.items() if expressions.shows(n)}
        self._counts: dict[tuple[int, str], int] = {}
        kernel.events.listen("syscall_exit", self._ignore)  # so that every call comes by the way where it is looked at
        kernel.entry.tamper = self.tamper

    def tamper(self, task: Task, name: str, row: Optional[Syscall]) -> tuple[int, str]:
        """Make the call, or don't: (its result, what strace adds to the line)."""
        injection = self._injections.get(name)
        make = self._kernel.entry.make_call
        if injection is None:
            return make(task, name, row), ""
        key = task.pid, name
        count = self._counts[key] = self._counts.get(key, 0) + 1
        if not injection.hits(count):
            return make(task, name, row), ""
        self._delay(injection.delay_enter)
        result = make(task, name, row) if injection.result is None else injection.result
        self._delay(injection.delay_exit)
        if injection.signo:
            self._send(task, injection.signo)
        how = "" if injection.result is None else " (INJECTED)"
        return result, how + (" (DELAYED)" if injection.delay_enter or injection.delay_exit else "")

    def _delay(self, ns: int) -> None:
        if ns:
            sched = self._kernel.sched
            sched.wait(sched.queue(), ns, interruptible=False)

    def _send(self, task: Task, signo: int) -> None:
        from machine.kernel.task.signal import send_signal

        send_signal(self._kernel, task, signo, group=False)

    def _ignore(self, _event: Any) -> None:
        pass

    def close(self) -> None:
        """System calls are what they were."""
        self._kernel.entry.tamper = None
        self._events.unlisten("syscall_exit", self._ignore)


def parse_expression(text: str) -> str:
    """`text` when it is an expression; ValueError says what is wrong."""
    Expressions([text])
    return text
