"""Drivers as modules: load, parameters, use count, unload with its leak list (kernel/module.c), and the
one way into a driver's code, `call_driver`.

Every machine executes its own instance of a driver's Python file, so a driver's module globals are
its state on that machine, as a C module's statics are.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import re
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn, Optional

from machine.events import DriverCall, Oops
from machine.hardware.cpu import RIP
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import EBUSY, ENOENT, EWOULDBLOCK, NAMES, Errno
from machine.kernel.current import set_current_kernel
from machine.kernel.fs.file import file_operations, vm_operations_struct
from machine.kernel.modparam import ParameterError, kernel_param

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

MODULES_VADDR = 0xFFFF_FFFF_A000_0000
"""Where /proc/modules says the first module lives (arch/x86: MODULES_VADDR)."""
SLOT = "__kernel_module__"
"""Name in a driver's globals that holds its `module`."""

_exec_lock = threading.Lock()


class _Failed:
    __slots__ = ()

    def __repr__(self) -> str:
        return "DRIVER_FAILED"


DRIVER_FAILED: Any = _Failed()
"""What `call_driver` returns when the driver raised: SIGBUS on the fault path, EIO in a system call."""


class module:
    """`struct module`: one loaded driver of one machine."""

    is_module = True

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self.params: dict[str, kernel_param] = {}
        self.descriptions: dict[str, str] = {}
        self.info: dict[str, str] = {}
        """MODULE_LICENSE, MODULE_AUTHOR, MODULE_DESCRIPTION as given."""
        self.init: Optional[Callable[[], int]] = None
        self.exit: Optional[Callable[[], None]] = None
        self.namespace: dict[str, Any] = {}
        self.refcount = 0
        """Open files of this driver; it can't be unloaded while there are any."""
        self.address = 0
        self.pages: dict[int, tuple[int, str]] = {}
        """First frame of each block that it got with get_free_pages -> (order, where in its source)."""
        self.oopsed: set[tuple[str, int]] = set()

    def __repr__(self) -> str:
        return f"<module {self.name}>"

    def get(self) -> None:
        """One more user (`try_module_get`)."""
        self.refcount += 1

    def put(self) -> None:
        """One user less (`module_put`)."""
        self.refcount -= 1

    def size(self) -> int:
        """Bytes that the module takes, in whole pages: those of its source."""
        try:
            length = self.path.stat().st_size
        except OSError:
            length = 0
        return (length + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1)

    def proc_line(self) -> str:
        """Its line of /proc/modules: name, size, uses, dependants, state, address."""
        return f"{self.name} {self.size()} {self.refcount} - Live 0x{self.address:016x}"


def calling_module(depth: int = 1) -> Optional[module]:
    """The driver on whose behalf the running function was called: the innermost frame that is a driver's."""
    frame = sys._getframe(depth)
    while frame is not None:
        owner: Optional[module] = frame.f_globals.get(SLOT)
        if owner is not None:
            return owner
        frame = frame.f_back  # type: ignore[assignment]
    return None


def calling_line(depth: int = 1) -> str:
    """``scullp.py:123 in scullp_write``: the driver's line that runs, "" outside drivers."""
    frame = sys._getframe(depth)
    while frame is not None:
        if SLOT in frame.f_globals:
            return f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno} in {frame.f_code.co_name}"
        frame = frame.f_back  # type: ignore[assignment]
    return ""


# -- entering a driver ---------------------------------------------------------------------------------


def call_driver(
    kernel: Kernel, owner: Optional[module], operation: str, function: Callable[..., Any], *args: Any
) -> Any:
    """Call a method of a driver.  Its result, or DRIVER_FAILED when it raised (reported as an oops).

    With `owner` None the method is the kernel's own: it is called directly and may raise Errno.
    """
    if owner is None:
        return function(*args)
    try:
        result = function(*args)
    except Exception as failure:
        result = DRIVER_FAILED
        _driver_oops(kernel, owner, operation, failure)
    if operation == "mmap":
        _adopt_area(owner, args)
    if kernel.events.driver_call is not None:
        pid = 0 if kernel.current is None else kernel.current.pid
        kernel.events.driver_call(DriverCall(pid, owner.name, operation, args, result, kernel.clock.monotonic_ns()))
    return result


def _adopt_area(owner: module, args: tuple[Any, ...]) -> None:
    """Operations that a driver made inside its `mmap` method are the driver's too."""
    ops = args[1].vm_ops
    if ops is not None and ops.owner is None and args[1].vm_file is args[0]:
        ops.owner = owner


def _driver_oops(kernel: Kernel, owner: module, operation: str, failure: Exception) -> None:
    """Report what a driver raised: the event with the driver's own frames, and lines in the log once a place."""
    frames = traceback.extract_tb(failure.__traceback__)
    own = [frame for frame in frames if frame.filename == str(owner.path)]
    where = own[-1] if own else frames[-1]
    head = "Traceback (most recent call last):\n" if own else ""
    text = head + "".join(traceback.format_list(own)) + "".join(traceback.format_exception_only(type(failure), failure))
    task = kernel.current
    place = f"{owner.name}.{operation}"
    record = Oops(
        0 if task is None else task.pid, "" if task is None else task.comm, place, text, kernel.cpu.regs[RIP], True,
        kernel.clock.monotonic_ns(),
    )  # fmt: skip
    kernel.oopses.append(record)
    key = (where.filename, where.lineno or 0)
    if key not in owner.oopsed:
        owner.oopsed.add(key)
        line = f"{os.path.basename(where.filename)}:{where.lineno} in {where.name}"
        kernel.printk(f"BUG: {owner.name}: {type(failure).__name__}: {failure} at {line} ({operation})", 1)
        if task is not None:
            kernel.printk(f"Process {task.comm} (pid: {task.pid})", 1)
    if kernel.events.oops is not None:
        kernel.events.oops(record)


# -- finding and executing a driver's file ---------------------------------------------------------------------


def drivers_directory() -> Path:
    """Where the drivers are that a name alone finds."""
    spec = importlib.util.find_spec("drivers")
    places = [] if spec is None else list(spec.submodule_search_locations or [])
    if not places:
        _refuse("the package of drivers is not installed")
    return Path(places[0])


class ModuleError(Exception):
    """A driver can't be loaded; the message is for the user."""


def _refuse(why: str) -> NoReturn:
    raise ModuleError(why)


def _names() -> list[str]:
    return sorted(path.stem for path in drivers_directory().glob("*.py") if not path.stem.startswith("_"))


def _find(what: str) -> tuple[str, Path]:
    """(module name, file) of a driver by name or path."""
    if "/" in what or what.endswith(".py"):
        path = Path(what).expanduser().absolute()
        if not path.is_file():
            _refuse(f"no such driver: {what}")
        return re.sub(r"\W", "_", path.stem), path
    path = drivers_directory() / f"{what}.py"
    if not re.fullmatch(r"[A-Za-z]\w*", what) or not path.is_file():
        _refuse(f"no driver '{what}'; there are: {', '.join(_names())} (or give the path of a .py file)")
    return what, path


def _execute(new: module) -> ModuleType:
    """Execute the driver's file in a namespace of its own.  Any exception of the file comes through."""
    name = f"drivers.{new.name}"
    loader = importlib.machinery.SourceFileLoader(name, str(new.path))
    spec = importlib.util.spec_from_file_location(name, new.path, loader=loader)
    assert spec is not None
    instance = importlib.util.module_from_spec(spec)
    new.namespace = instance.__dict__
    new.namespace[SLOT] = new
    with _exec_lock:
        # dataclasses looks its own module up by name while the file runs.
        before = sys.modules.get(name)
        sys.modules[name] = instance
        try:
            loader.exec_module(instance)
        finally:
            if before is None:
                del sys.modules[name]
            else:
                sys.modules[name] = before
    for value in new.namespace.values():
        # Tables that the driver made; not one of the kernel's that it imported (kmsg_fops), which all machines share.
        made_here = type(value) in (file_operations, vm_operations_struct) or type(value).__module__ == name
        if made_here and isinstance(value, (file_operations, vm_operations_struct)) and value.owner is None:
            value.owner = new
    return instance


def _load_file(new: module) -> None:
    try:
        _execute(new)
    except Exception as failure:
        frames = [f for f in traceback.extract_tb(failure.__traceback__) if f.filename == str(new.path)]
        line = f" (line {frames[-1].lineno})" if frames else ""
        _refuse(f"{new.path}{line}: {type(failure).__name__}: {failure}")


def _split(device: str) -> tuple[str, list[tuple[str, str]]]:
    what, *settings = device.split(",")
    pairs = []
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name:
            _refuse(f"{what}: '{setting}' is not parameter=value")
        pairs.append((name, value))
    return what, pairs


def _set_parameters(new: module, pairs: list[tuple[str, str]]) -> None:
    for name, text in pairs:
        parameter = new.params.get(name)
        if parameter is None:
            known = ", ".join(f"{each.name} ({each.type_name})" for each in new.params.values())
            _refuse(f"{new.name} has no parameter '{name}'; " + (f"it has: {known}" if known else "it has none"))
        try:
            new.namespace[name] = parameter.parse(text)
        except ParameterError as error:
            _refuse(f"{new.name}: {error}")


# -- insmod, rmmod -------------------------------------------------------------------------------------------------


def load_module(kernel: Kernel, device: str) -> module:
    """Load ``NAME[,param=value]...`` or ``PATH.py[,param=value]...`` and run its init function.

    ModuleError: no such driver, it can't be executed, an unknown parameter or bad value, loaded already, or an init
    function that failed (the message names the errno).
    """
    what, pairs = _split(device)
    name, path = _find(what)
    if name in kernel.modules:
        _refuse(f"{name} is loaded already")
    new = module(name, path)
    before = set_current_kernel(kernel)
    try:
        _load_file(new)
        _set_parameters(new, pairs)
        new.address = MODULES_VADDR + sum(each.size() + PAGE_SIZE for each in kernel.modules.values())
        kernel.modules[name] = new
        result = 0 if new.init is None else call_driver(kernel, new, "init", new.init)
        if result is DRIVER_FAILED:
            text = kernel.oopses[-1].traceback
            _forget(kernel, new)
            _refuse(f"{name}: its init function raised\n{text}")
        if result is not None and result != 0:
            _forget(kernel, new)
            _refuse(f"{name}: its init function failed: {NAMES.get(-result, result)}")
    finally:
        set_current_kernel(before)
    return new


def unload_module(kernel: Kernel, name: str) -> list[str]:
    """rmmod.  Returns what the module left behind, a line each (also in the log); the kernel does not collect memory.

    ENOENT: not loaded; EWOULDBLOCK: in use; EBUSY: it has no exit function (kernel/module.c: sys_delete_module).
    """
    old = kernel.modules.get(name)
    if old is None:
        raise Errno(ENOENT)
    if old.refcount:
        raise Errno(EWOULDBLOCK)
    if old.exit is None and old.init is not None:
        raise Errno(EBUSY)
    before = set_current_kernel(kernel)
    try:
        if old.exit is not None:
            call_driver(kernel, old, "exit", old.exit)
    finally:
        set_current_kernel(before)
    return _forget(kernel, old)


def _forget(kernel: Kernel, old: module) -> list[str]:
    """Take the module off the list and say what it did not give back."""
    del kernel.modules[old.name]
    left = leaks(kernel, old) + kernel.chrdevs.left_by(old)
    for line in left:
        kernel.printk(f"{old.name}: not released at unload: {line}", 4)
    return left


def leaks(kernel: Kernel, owner: module) -> list[str]:
    """Memory that belongs to the module: pages, then kmalloc objects, with the line that allocated each."""
    mem = kernel.mem
    found = []
    for pfn, (order, where) in owner.pages.items():
        if mem.owner_of(pfn) is owner and mem.count[pfn] > 0:
            what = "1 page" if order == 0 else f"{1 << order} pages (order {order})"
            reserved = ", still reserved" if mem.is_reserved(pfn) else ""
            found.append(f"{what} at physical {pfn << PAGE_SHIFT:#x}, count {mem.count[pfn]}{reserved}, got at {where}")
    return found + kernel.slab.held_by(owner)


def available_drivers() -> list[tuple[str, str, list[tuple[str, str, Any, str]]]]:
    """(name, first line of its description, [(parameter, type, default, description)]) of every driver.

    The files are executed, their init functions are not.
    """
    found = []
    before = set_current_kernel(None)
    try:
        for name in _names():
            each = module(name, drivers_directory() / f"{name}.py")
            _load_file(each)
            lines = (each.namespace.get("__doc__") or "").strip().splitlines()
            rows = [
                (p.name, p.type_name, each.namespace.get(p.name), each.descriptions.get(p.name, ""))
                for p in each.params.values()
            ]
            found.append((name, each.info.get("description") or (lines[0] if lines else ""), rows))
    finally:
        set_current_kernel(before)
    return found
