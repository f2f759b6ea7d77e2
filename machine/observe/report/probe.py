"""What a driver's method did: its lines that ran, what it returned, and, where it refused, its variables.

The kernel calls methods through `DriverProbe` while it is set as `Kernel.driver_probe`.  Lines are seen by
`sys.settrace` up to Python 3.11; from 3.12 on, where setting that makes the interpreter look through all code anew, by
`sys.monitoring`, for the driver's own functions alone.  Tracing makes everything below the method slow, so up to 3.11
the lines of `read`, `write` and `poll`, which are called most, are not seen.  A debugger or a coverage tool that is
there first keeps its place: the call is then shown without its lines.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any, NamedTuple, Optional

from machine.kernel.mm.page import NOPAGE_OOM, NOPAGE_SIGBUS, Page
from machine.kernel.module import macro_return

FAULT_METHODS = ("nopage", "fault", "page_mkwrite", "pfn_mkwrite")
TODAYS_METHODS = FAULT_METHODS[1:]
_FAULT_ERRORS = 0x1 | 0x2 | 0x40
"""VM_FAULT_OOM, _SIGBUS, _SIGSEGV."""
UNTRACED = ("read", "write", "poll")
_SHOWN = 60
"""Characters of a variable's value."""
_VARIABLES = 16


class Call(NamedTuple):
    """One call of a driver's method, as the report shows it."""

    driver: str
    path: str
    """The driver's file."""
    operation: str
    """``nopage``, ``mmap``, ``read``: the member of its operations."""
    function: str
    line: int
    """Where the function begins in the file."""
    ran: tuple[int, ...]
    """Lines of the file that ran, its helpers' included, in ascending order."""
    result: str
    failed: bool
    variables: tuple[tuple[str, str], ...]
    """The function's variables when it returned; only of a call that failed."""


def describe(value: Any) -> str:
    """A value as a reader of the driver wants it: numbers of an address's size in hexadecimal."""
    if type(value) is int:
        return f"{value:#x}" if abs(value) >= 4096 else str(value)
    if value is None:
        return "None"
    if type(value) is Page:
        return "a page"  # which one, the fault says: calls that did the same are kept once
    try:
        text = repr(value)
    except Exception as failure:  # a driver's own __repr__
        text = f"<{type(value).__name__}: {type(failure).__name__} in its repr>"
    if text.endswith(">") and " at 0x" in text:
        text = text[: text.rindex(" at 0x")] + ">"  # an address of the host says nothing
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def refuses(operation: str, result: Any) -> bool:
    """Whether this answer is a failure: what ends in a signal or an errno."""
    if operation == "nopage":
        return result is NOPAGE_SIGBUS or result is NOPAGE_OOM or result is None or type(result) is int
    if type(result) is not int:
        return False
    return bool(result & _FAULT_ERRORS) if operation in TODAYS_METHODS else result < 0


class DriverProbe:
    """`__call__` gives what the kernel calls in a method's stead; `done` gets each finished `Call`."""

    def __init__(self, done: Callable[[Call], None]) -> None:
        self.done = done
        self._watch: Any = _Monitor() if sys.version_info >= (3, 12) else _Trace()

    def __call__(self, owner: Any, operation: str, function: Callable[..., Any]) -> Callable[..., Any]:
        code = _code_of(function)
        path = str(owner.path) if code is None else code.co_filename

        def watched(*args: Any) -> Any:
            seen = _Seen(code)
            failed, result = True, "an exception"
            token = self._watch.start(owner, operation, path, seen)
            try:
                value = function(*args)
                failed, result = refuses(operation, value), describe(value)
                return value
            except macro_return as way_out:
                failed, result = refuses(operation, way_out.value), describe(way_out.value)
                raise
            except Exception as failure:
                result = f"{type(failure).__name__}: {failure}"
                raise
            finally:
                self._watch.stop(token)
                frame, seen.frame = seen.frame, None
                self.done(
                    Call(
                        owner.name, path, operation, getattr(function, "__name__", operation),
                        0 if code is None else code.co_firstlineno, tuple(sorted(seen.lines)), result, failed,
                        tuple(_variables(frame)) if failed and frame is not None else (),
                    )
                )  # fmt: skip

        watched.__dict__["__func__"] = getattr(function, "__func__", function)  # whose place reports name
        return watched

    def close(self) -> None:
        """Give back what the interpreter was asked for."""
        self._watch.close()


class _Seen:
    """What one call left: lines, and the method's own frame."""

    __slots__ = ("code", "frame", "lines")

    def __init__(self, code: Optional[CodeType]) -> None:
        self.code = code
        self.frame: Optional[FrameType] = None
        self.lines: set[int] = set()


def _code_of(function: Callable[..., Any]) -> Optional[CodeType]:
    return getattr(getattr(function, "__func__", function), "__code__", None)


def _variables(frame: FrameType) -> Iterator[tuple[str, str]]:
    """The function's variables; of the driver's own objects the members that are numbers: ``dev.size``."""
    for name, value in list(frame.f_locals.items())[:_VARIABLES]:
        members = getattr(value, "__dict__", None)
        if members is None or not type(value).__module__.startswith("drivers."):
            yield name, describe(value)
            continue
        for member, number in list(members.items())[:_VARIABLES]:
            if type(number) in (int, bool):
                yield f"{name}.{member}", describe(number)


class _Trace:
    """By `sys.settrace`, for the time of the call."""

    def start(self, owner: Any, operation: str, path: str, seen: _Seen) -> Any:
        if operation in UNTRACED or sys.gettrace() is not None:
            return None
        lines, code = seen.lines, seen.code

        def in_driver(frame: FrameType, event: str, _argument: Any) -> Any:
            if event == "line":
                lines.add(frame.f_lineno)
            return in_driver

        def entered(frame: FrameType, _event: str, _argument: Any) -> Any:
            its_code = frame.f_code
            if its_code is code:
                seen.frame = frame
            elif its_code.co_filename != path:
                return None
            return in_driver

        sys.settrace(entered)
        return entered

    def stop(self, token: Any) -> None:
        if token is not None and sys.gettrace() is token:
            sys.settrace(None)

    def close(self) -> None:
        pass


class _Monitor:
    """By `sys.monitoring`: the events of a driver's functions are switched on at its first call, and stay."""

    def __init__(self) -> None:
        self._tool: Optional[int] = None
        self._known: set[CodeType] = set()
        self._calls: list[_Seen] = []

    def start(self, owner: Any, operation: str, path: str, seen: _Seen) -> Any:
        if self._tool is None:
            self._tool = self._register()
        if self._tool < 0:
            return None
        if seen.code is not None and seen.code not in self._known:
            self._switch_on(owner, path, seen.code)
        self._calls.append(seen)
        return seen

    def _register(self) -> int:
        monitoring: Any = sys.monitoring  # type: ignore[attr-defined]
        for tool in (4, 3):  # the numbers that are nobody's by convention
            if monitoring.get_tool(tool) is None:
                monitoring.use_tool_id(tool, "nopage report")
                monitoring.register_callback(tool, monitoring.events.LINE, self._on_line)
                return tool
        return -1

    def _switch_on(self, owner: Any, path: str, code: CodeType) -> None:
        monitoring: Any = sys.monitoring  # type: ignore[attr-defined]
        for each in {code, *_codes(owner.namespace, path)} - self._known:
            self._known.add(each)
            monitoring.set_local_events(self._tool, each, monitoring.events.LINE)

    def _on_line(self, code: CodeType, line: int) -> None:
        if not self._calls:
            return
        seen = self._calls[-1]
        seen.lines.add(line)
        if code is seen.code and seen.frame is None:
            seen.frame = sys._getframe(1)

    def stop(self, token: Any) -> None:
        if token is not None:
            self._calls.remove(token)

    def close(self) -> None:
        if self._tool is None or self._tool < 0:
            return
        monitoring: Any = sys.monitoring  # type: ignore[attr-defined]
        for code in self._known:
            monitoring.set_local_events(self._tool, code, 0)
        monitoring.register_callback(self._tool, monitoring.events.LINE, None)
        monitoring.free_tool_id(self._tool)
        self._tool = -1


def _codes(namespace: dict[str, Any], path: str) -> Iterator[CodeType]:
    """The code of every function and method of a driver's file, nested ones included."""
    waiting = []
    for value in list(namespace.values()):
        members = list(vars(value).values()) if isinstance(value, type) else [value]
        waiting += [code for member in members if (code := _code_of(member)) is not None]
    while waiting:
        code = waiting.pop()
        if code.co_filename == path:
            yield code
            waiting += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
