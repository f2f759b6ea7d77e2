"""A driver's file: where it is, and how it is executed (for kernel/module.c it is an object file to be linked).

Every machine executes its own instance of a driver's Python file, so a driver's module globals are
its state on that machine, as a C module's statics are.
"""

from __future__ import annotations

import importlib.util
import linecache
import re
import sys
import threading
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, NoReturn, Optional

from machine.hardware.blame import passes, said
from machine.hardware.bus import Lockup
from machine.kernel.abi.errno import EINVAL, EIO, ENOENT, ENOEXEC
from machine.kernel.current import set_current_kernel
from machine.kernel.dialect import declared
from machine.kernel.fs.file import file_operations, vm_operations_struct
from machine.kernel.modparam import ParameterError
from machine.kernel.module import SLOT, module

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

_exec_lock = threading.RLock()
"""Machines of several threads share `sys.modules`; tasks of one machine are one thread."""


class ModuleError(Exception):
    """A driver can't be loaded; the message is for the user, `errno` for a guest that asked."""

    def __init__(self, message: str, errno: int) -> None:
        super().__init__(message)
        self.errno = errno


def refuse(why: str, errno: int = ENOENT) -> NoReturn:
    """Raise ModuleError."""
    raise ModuleError(why, errno)


# -- finding -------------------------------------------------------------------------------------------------------


def drivers_directory() -> Path:
    """Where the drivers are that a name alone finds."""
    spec = importlib.util.find_spec("drivers")
    places = [] if spec is None else list(spec.submodule_search_locations or [])
    if not places:
        refuse("the package of drivers is not installed")
    return Path(places[0])


def shipped_drivers() -> dict[str, Path]:
    """Name -> file of the drivers that come with nopage, sorted."""
    return {path.stem: path for path in sorted(drivers_directory().glob("*.py")) if not path.stem.startswith("_")}


def module_files(kernel: Kernel) -> dict[str, Path]:
    """Name -> file of every driver that the host's user has made available to this machine."""
    return {**shipped_drivers(), **kernel.module_files}


def make_available(kernel: Kernel, what: str) -> str:
    """A driver, by name or path, that the guest may load: its name.  ModuleError when it is not there."""
    name, path = find_driver(kernel, what)
    kernel.module_files[name] = path
    return name


def find_driver(kernel: Kernel, what: str) -> tuple[str, Path]:
    """(module name, file) of a driver by name or path.  ModuleError."""
    if "/" in what or what.endswith(".py"):
        path = Path(what).expanduser().absolute()
        if not path.is_file():
            refuse(f"no such driver: {what}" + (" (it is a directory)" if path.is_dir() else ""))
        return re.sub(r"\W", "_", path.stem), path
    known = module_files(kernel)
    if what not in known:
        refuse(f"no driver '{what}'; there are: {', '.join(sorted(known))} (or give the path of a .py file)")
    return what, known[what]


# -- executing -----------------------------------------------------------------------------------------------------


def file_stamp(path: Path) -> tuple[int, int]:
    """(time of the last change in ns, size in bytes); zeros when it is gone."""
    try:
        info = path.stat()
    except OSError:
        return 0, 0
    return info.st_mtime_ns, info.st_size


def execute(new: module) -> None:
    """Read and execute the module's file in a namespace of its own.  ModuleError says what is wrong, and where."""
    new.stamp = file_stamp(new.path)
    try:
        new.source = new.path.read_bytes()
    except OSError as error:
        refuse(f"{new.path}: {error.strerror}", ENOEXEC)
    _execute(new, _compile_shipped if new.path.parent == drivers_directory() else _compile)


def execute_source(new: module) -> None:
    """Execute `new.source`, which may be older than the file."""
    _execute(new, _compile)


def _compile(new: module) -> CodeType:
    code: CodeType = compile(new.source, str(new.path), "exec", dont_inherit=True)
    return code


def _compile_shipped(new: module) -> CodeType:
    """Through Python's cache of compiled modules, which saves 2 ms at every start; a file that its author edits twice
    within a second may not be taken from there."""
    name = f"drivers.{new.name}"
    return SourceFileLoader(name, str(new.path)).get_code(name) or _compile(new)


def _execute(new: module, to_code: Callable[[module], CodeType]) -> None:
    kernel = _kernel_of(new)
    try:
        run_file(new, to_code(new), kernel)
    except SyntaxError as failure:
        line = f" (line {failure.lineno})" if failure.lineno else ""
        where = "" if failure.filename in (None, str(new.path)) else f" in {failure.filename}"
        refuse(f"{new.path}{line}: {type(failure).__name__}: {failure.msg}{where}", ENOEXEC)
    except Lockup as failure:
        refuse(failure.text, EIO)
    except BaseException as failure:
        if passes(failure):
            raise
        import traceback

        _refuse_missing(new, failure)
        frames = [f for f in traceback.extract_tb(failure.__traceback__) if f.filename == str(new.path)]
        line = f" (line {frames[-1].lineno})" if frames else ""
        refuse(f"{new.path}{line}: {type(failure).__name__}: {said(failure)}", ENOEXEC)


def _refuse_missing(new: module, failure: BaseException) -> None:
    """Say it in words of the kernel when what the file lacks is one of its names."""
    if isinstance(failure, ImportError) and failure.name == "machine.kernel.linux":
        from machine.kernel.include.missing import missing_imports

        lines = missing_imports(new.path, importlib.util.decode_source(new.source))
        if lines:
            refuse("\n".join(lines), ENOEXEC)
    if isinstance(failure, NameError):
        from machine.kernel.include.missing import hint_for

        hint = hint_for(failure)
        failure.args = (f"{failure} ({hint})",) if hint else failure.args


def _kernel_of(new: module) -> dict[str, tuple[int, ...]]:
    """The driver's KERNEL for its namespace, before it runs: what it imports depends on it (dialect.py)."""
    try:
        kernel = declared(importlib.util.decode_source(new.source))
    except (SyntaxError, UnicodeDecodeError):
        return {}  # compile() says what is wrong, and where
    except ValueError as wrong:
        refuse(f"{new.path}: {wrong}", ENOEXEC)
    return {} if kernel is None else {"KERNEL": kernel}


def remember_lines(owner: module) -> None:
    """Tracebacks and the debugger show the lines that run, not those of a file that was edited since."""
    text = importlib.util.decode_source(owner.source)
    linecache.cache[str(owner.path)] = len(text), None, text.splitlines(keepends=True), str(owner.path)


def run_file(new: module, code: Any, preset: dict[str, Any]) -> None:
    """Execute the file's code; Lockup when it does not come back (task/watchdog.py)."""
    name = f"drivers.{new.name}"
    instance = ModuleType(name)
    new.namespace = instance.__dict__
    new.namespace.update({"__file__": str(new.path), SLOT: new, **preset})
    remember_lines(new)
    with _exec_lock:
        # dataclasses looks its own module up by name while the file runs.
        before = sys.modules.get(name)
        sys.modules[name] = instance
        try:
            exec(code, new.namespace)
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


# -- parameters ----------------------------------------------------------------------------------------------------


def split_device(device: str) -> tuple[str, list[tuple[str, str]]]:
    """("NAME", [(parameter, value)]) of ``NAME,parameter=value,...``.  ModuleError."""
    what, *settings = device.split(",")
    pairs = []
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name:
            refuse(f"{what}: '{setting}' is not parameter=value", EINVAL)
        pairs.append((name, value))
    return what, pairs


def set_parameters(new: module, pairs: list[tuple[str, str]], separator: str = ":") -> None:
    """Give the driver's globals their values.  ModuleError: ENOENT for an unknown one, EINVAL for a bad value."""
    new.settings = pairs
    new.separator = separator
    for name, text in pairs:
        parameter = new.params.get(name)
        if parameter is None:
            known = ", ".join(f"{each.name} ({each.type_name})" for each in new.params.values())
            refuse(f"{new.name} has no parameter '{name}'; " + (f"it has: {known}" if known else "it has none"), ENOENT)
        try:
            new.namespace[name] = parameter.parse(text, separator)
        except ParameterError as error:
            refuse(f"{new.name}: {error}", EINVAL)


# -- describing ----------------------------------------------------------------------------------------------------


class Description:
    """A driver as its file describes it: `describe` executes the file, but not its init function."""

    def __init__(self, each: module) -> None:
        self.name = each.name
        self.path = each.path
        self.documentation = (each.namespace.get("__doc__") or "").strip()
        lines = self.documentation.splitlines()
        self.about: str = each.info.get("description") or (lines[0] if lines else "")
        """One line."""
        self.info = each.info
        self.parameters: list[tuple[str, str, Any, str]] = [
            (p.name, p.type_name, each.namespace.get(p.name), each.descriptions.get(p.name, ""))
            for p in each.params.values()
        ]
        """(name, type, default, description)."""


def describe(what: str, kernel: Optional[Kernel] = None) -> Description:
    """A driver by name or path.  ModuleError.

    Its file is executed, on behalf of `kernel` where it makes a semaphore or a wait queue while it is loaded.
    """
    if "/" in what or what.endswith(".py"):
        path = Path(what).expanduser().absolute()
        if not path.is_file():
            refuse(f"no such driver: {what}")
    else:
        path = drivers_directory() / f"{what}.py"
    each = module(re.sub(r"\W", "_", path.stem), path)
    before = set_current_kernel(kernel)
    try:
        execute(each)
    finally:
        set_current_kernel(before)
    return Description(each)


def available_drivers() -> list[tuple[str, str, list[tuple[str, str, Any, str]]]]:
    """(name, one line about it, [(parameter, type, default, description)]) of every driver that comes with nopage."""
    found = [describe(name) for name in shipped_drivers()]
    return [(each.name, each.about, each.parameters) for each in found]
