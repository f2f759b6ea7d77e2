"""The report of what a driver's method raised: its own frames of the traceback, and what is to be done about it."""

from __future__ import annotations

import os
import traceback
from traceback import FrameSummary, StackSummary
from typing import TYPE_CHECKING, Any

from machine.events import Oops
from machine.hardware.blame import said
from machine.hardware.cpu import RIP
from machine.kernel.context import interrupt_context

if TYPE_CHECKING:
    from collections.abc import Callable

    from machine.kernel.kernel import Kernel
    from machine.kernel.module import module

ARGUMENTS = {
    "init": "", "exit": "", "open": "inode, filp", "release": "inode, filp", "read": "filp, buf, count, f_pos",
    "write": "filp, buf, count, f_pos", "llseek": "filp, offset, whence", "poll": "filp, wait",
    "ioctl": "inode, filp, cmd, arg", "unlocked_ioctl": "filp, cmd, arg", "compat_ioctl": "filp, cmd, arg",
    "mmap": "filp, vma", "fasync": "fd, filp, on", "flush": "filp", "fsync": "filp, dentry, datasync",
    "nopage": "vma, address, type", "fault": "vmf", "page_mkwrite": "vmf", "pfn_mkwrite": "vmf",
    "read_proc": "data", "show": "m, v", "devnode": "dev, mode",
}  # fmt: skip
"""What the kernel calls a method with, in the names of the books."""


def driver_oops(
    kernel: Kernel,
    owner: module,
    operation: str,
    failure: BaseException,
    function: Callable[..., Any],
    args: tuple[Any, ...],
) -> None:
    """Report it: the event with the driver's own frames, and lines in the log once a place."""
    frames = traceback.extract_tb(failure.__traceback__)
    own = [frame for frame in frames if frame.filename == str(owner.path)]
    if not own and isinstance(failure, TypeError):
        own, failure = _wrong_call(operation, failure, function, args)
    where = own[-1] if own else frames[-1]
    if isinstance(failure, NameError):
        from machine.kernel.include.missing import hint_for
    hint = hint_for(failure) if isinstance(failure, NameError) else None
    text = _traceback(failure, own, str(owner.path)) + (f"({hint})\n" if hint else "")
    task = kernel.current
    context = interrupt_context(kernel.irq)
    if not context and task is not None and task.mm is None:
        context = f"in the kernel thread {task.comm}"
    record = Oops(
        0 if task is None else task.pid, "" if task is None else task.comm, f"{owner.name}.{operation}", text,
        kernel.cpu.regs[RIP], True, kernel.clock.monotonic_ns(), context or ("" if task else "in no process"),
    )  # fmt: skip
    kernel.oopses.append(record)
    key = (where.filename, where.lineno or 0)
    if key not in owner.oopsed:
        owner.oopsed.add(key)
        line = f"{os.path.basename(where.filename)}:{where.lineno} in {where.name}"
        hint = f" ({hint})" if hint else ""
        kernel.printk(f"BUG: {owner.name}: {type(failure).__name__}: {said(failure)}{hint} at {line} ({operation})", 1)
        if context:
            ran = f", while {task.comm} (pid: {task.pid}) ran" if task is not None and task.mm is not None else ""
            kernel.printk(f"{context[0].upper()}{context[1:]}{ran}", 1)
        elif task is not None:
            kernel.printk(f"Process {task.comm} (pid: {task.pid})", 1)
    if kernel.events.oops is not None:
        kernel.events.oops(record)


def _traceback(failure: BaseException, own: list[FrameSummary], path: str) -> str:
    """Python's text with the driver's frames only, of its causes and of a group's members, too."""
    told = traceback.TracebackException(type(failure), failure, failure.__traceback__)
    _only_own(told, path)
    told.stack = _stack(own)
    return "".join(told.format())


def _only_own(told: traceback.TracebackException, path: str) -> bool:
    """Leave the frames of a driver's file; whether there are any.  What somebody else was handling is no context."""
    own = [frame for frame in told.stack if frame.filename == path]
    told.stack = _stack(own)
    for each in (told.__cause__, *(getattr(told, "exceptions", None) or ())):
        if each is not None:
            _only_own(each, path)
    if told.__context__ is not None and not _only_own(told.__context__, path):
        told.__context__ = None
    return bool(own)


def _stack(frames: list[FrameSummary]) -> Any:
    """None where there is none: then no "Traceback" stands before the exception."""
    return StackSummary.from_list(frames) if frames else None


def _wrong_call(
    operation: str, failure: TypeError, function: Callable[..., Any], args: tuple[Any, ...]
) -> tuple[list[FrameSummary], BaseException]:
    """(a frame for the driver's function, what to say): Python names no place when a call does not fit."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    if code is None or _fits(function, args):
        return [], failure
    names = ARGUMENTS.get(operation)
    called = f"{len(args)} argument{'s' if len(args) != 1 else ''}" + (f": ({names})" if names else "")
    taken = ", ".join(code.co_varnames[: code.co_argcount])
    text = f"{code.co_name}({taken}) is called with {called}"
    frame = FrameSummary(code.co_filename, code.co_firstlineno, code.co_name)
    return [frame], TypeError(text)


def _fits(function: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    import inspect

    try:
        inspect.signature(function).bind(*args)
    except TypeError:
        return False
    return True
