"""The table of system calls: number, name, handler and argument types in one row.

A handler is declared once, beside its code::

    @syscall("read", "fd ptr size", sleeps=True)
    def sys_read(task: Task, fd: int, buf: int, count: int) -> int: ...

The types convert the raw registers and also drive the strace text:

=========  ====================================================================
int        32-bit signed; ``fd``, ``pid``, ``atfd`` likewise
uint       32-bit unsigned; ``flags:NAME``, ``mode``, ``uid`` likewise
long       the word of the program's ABI, signed; ``off`` likewise
ulong      the word, unsigned; ``ptr``, ``size``, ``addr`` likewise
str        the address of a NUL-terminated string (the handler reads it)
buf        the address of data whose length is the next argument
off64      64-bit signed (on i386 it takes two registers)
=========  ====================================================================

A type may go on after a colon: how strace shows the argument.  ``flags:PROT_`` and ``uint:SEEK_`` name a table of
`machine/observe/strace_flags.py`; ``ptr:stat>`` and ``ptr:ts`` a decoder (listed in `machine/observe/strace.py`), with
``>`` for what the kernel fills in.  The kernel itself never looks behind the colon.

`result` is how strace prints the return value: int, hex, oct, fd.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Optional

from machine.hardware.cpu import R8, R9, R10, RBP, RBX, RCX, RDI, RDX, RSI

if TYPE_CHECKING:
    pass

Handler = Callable[..., int]
Attempt = Callable[..., Optional[int]]

ARGUMENTS = {"x86_64": (RDI, RSI, RDX, R10, R8, R9), "i386": (RBX, RCX, RDX, RSI, RDI, RBP)}

_SIGNED32 = {"int", "fd", "pid", "atfd"}
_UNSIGNED32 = {"uint", "mode", "uid", "flags"}
_SIGNED_WORD = {"long", "off"}


class Syscall:
    """One row.  `invoke(task, regs)` decodes the registers and calls `handler`."""

    __slots__ = ("abi", "at_once", "family", "handler", "invoke", "name", "result", "sleeps", "support", "types")

    def __init__(
        self,
        name: str,
        types: tuple[str, ...],
        handler: Handler,
        abi: str,
        sleeps: bool,
        result: str,
        support: str,
        at_once: Optional[Attempt],
    ) -> None:
        self.name = name
        self.types = types
        self.handler = handler
        self.family = handler.__module__.rpartition(".")[2]
        """The module of this package that declares it."""
        self.abi = abi
        self.invoke: Callable[[Any, Any], int] = self._first
        self.sleeps = sleeps
        """Whether it needs a kernel stack: it may wait, or touch memory whose driver may."""
        self.at_once: Optional[Callable[[Any, Any], Optional[int]]] = None
        """What is tried without a kernel stack first: `invoke` of what can't sleep, an attempt, or None."""
        if not sleeps:
            self.at_once = self._first
        elif at_once is not None:
            self.at_once = _invoker(at_once, types, abi)
        self.result = result
        self.support = support
        """For the README's table: ``full``, or what is missing."""

    def _first(self, task: Any, regs: Any) -> int:
        """The first call makes the decoder: most programs use few of the calls, and all must start quickly."""
        self.invoke = _invoker(self.handler, self.types, self.abi)
        if not self.sleeps:
            self.at_once = self.invoke
        result: int = self.invoke(task, regs)
        return result


ROWS: dict[str, dict[str, Syscall]] = {"x86_64": {}, "i386": {}}
"""ABI -> name -> row."""


def _converter(kind: str, abi: str, registers: list[int]) -> str:
    kind = kind.partition(":")[0]
    raw = f"r[{registers.pop(0)}]"
    if kind in _SIGNED32:
        return f"(({raw} & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000"
    if kind in _UNSIGNED32:
        return f"{raw} & 0xFFFFFFFF"
    if kind == "off64" and abi == "i386":
        high = f"r[{registers.pop(0)}]"
        return f"((({raw} & 0xFFFFFFFF | ({high} & 0xFFFFFFFF) << 32) ^ (1 << 63)) - (1 << 63))"
    if kind in _SIGNED_WORD or kind == "off64":
        bits = 32 if abi == "i386" else 64
        mask = f" & {(1 << bits) - 1:#x}" if abi == "i386" else ""
        return f"(({raw}{mask}) ^ {1 << (bits - 1):#x}) - {1 << (bits - 1):#x}"
    return f"{raw} & 0xFFFFFFFF" if abi == "i386" else raw


def _invoker(handler: Callable[..., Any], types: tuple[str, ...], abi: str) -> Callable[[Any, Any], Any]:
    """A function that converts exactly these arguments: no loop over types on the hot path."""
    registers = list(ARGUMENTS[abi])
    arguments = "".join(", " + _converter(kind, abi, registers) for kind in types)
    invoke: Callable[[Any, Any], Any] = eval(f"lambda task, r: h(task{arguments})", {"h": handler})
    return invoke


def _after_faults(handler: Handler) -> Handler:
    @wraps(handler)
    def call(task: Any, *arguments: Any) -> int:
        if task.mm.faulting:
            task.mm.wait_for_faults()
        return handler(task, *arguments)

    return call


def syscall(
    name: str,
    types: str = "",
    *,
    abi: str = "both",
    sleeps: bool = True,
    result: str = "int",
    support: str = "full",
    at_once: Optional[Attempt] = None,
    areas: bool = False,
) -> Callable[[Handler], Handler]:
    """Declare a handler for `name` in ``x86_64``, ``i386`` or ``both``.  ``sleeps=False`` only for
    calls that neither wait nor touch user memory.

    `at_once` has the handler's arguments and is tried before it, without a kernel stack: it does all of the call where
    that needs no sleep and no page fault, or returns None and has changed nothing.  `areas`: it changes areas, and so
    waits for the faults that a driver is answering (mm_struct.faulting); its `at_once` gives up then.
    """
    kinds = tuple(types.split())

    def declare(handler: Handler) -> Handler:
        called = _after_faults(handler) if areas else handler
        for each in ("x86_64", "i386") if abi == "both" else (abi,):
            if name in ROWS[each]:
                raise AssertionError(f"system call {name} ({each}) is declared twice")
            ROWS[each][name] = Syscall(name, kinds, called, each, sleeps, result, support, at_once)
        return handler

    return declare
