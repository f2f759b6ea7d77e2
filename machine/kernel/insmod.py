"""insmod and rmmod: run a driver's init; unload it, with the list of what it did not give back (kernel/module.c).

Finding a driver's file and executing it is in modfile.py.
"""

from __future__ import annotations

import os
import reprlib
from types import CodeType
from typing import TYPE_CHECKING, Any

from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import EBUSY, EEXIST, EINTR, EIO, ENOENT, EWOULDBLOCK, NAMES, Errno
from machine.kernel.current import set_current_kernel
from machine.kernel.fs.lib_modules import publish_module
from machine.kernel.modfile import ModuleError, execute, find_driver, refuse, set_parameters, split_device
from machine.kernel.module import COMING, DRIVER_FAILED, GIVEN_UP, GOING, LIVE, call_driver, module

if TYPE_CHECKING:
    from pathlib import Path

    from machine.kernel.kernel import Kernel
    from machine.kernel.mm.page import Memory

MODULES_VADDR = 0xFFFF_FFFF_A000_0000
"""Where /proc/modules says the first module lives (arch/x86: MODULES_VADDR)."""
NOT_RELEASED = "not released at unload: "
"""What stands in the log before each thing that an unloaded driver did not give back."""

__all__ = ["ModuleError", "insert", "leaks", "load_module", "try_unload", "unload_module"]


def load_module(kernel: Kernel, device: str) -> module:
    """Load ``NAME[,param=value]...`` or ``PATH.py[,param=value]...`` and run its init function.

    ModuleError: no such driver, it can't be executed, an unknown parameter or bad value, loaded already, or an init
    function that failed (the message names the errno).
    """
    what, pairs = split_device(device)
    name, path = find_driver(kernel, what)
    try:
        return insert(kernel, name, path, pairs)
    except ModuleError:
        if kernel.halted is not None:
            raise kernel.halted from None
        raise


def insert(kernel: Kernel, name: str, path: Path, pairs: list[tuple[str, str]], separator: str = ":") -> module:
    """Execute the file, set the parameters, run init.  Errors as `load_module`; `separator` parts an array's elements.

    ModuleError.errno: ENOEXEC (the file can't be read or executed), ENOENT (unknown parameter), EINVAL (bad value),
    EEXIST (loaded already), EIO (init raised, or returned no number), else what init returned.
    """
    if name in kernel.modules:
        refuse(f"{name} is loaded already", EEXIST)
    new = module(name, path)
    before = set_current_kernel(kernel)
    try:
        prepare(kernel, new, pairs, separator)
        if name in kernel.modules:  # the file slept meanwhile
            refuse(f"{name} is loaded already", EEXIST)
        start(kernel, new)
    finally:
        set_current_kernel(before)
    return new


def prepare(kernel: Kernel, new: module, pairs: list[tuple[str, str]], separator: str) -> None:
    """Execute the file and set the parameters; what the file took before it failed is listed.  ModuleError."""
    try:
        execute(new)
        set_parameters(new, pairs, separator)
    except ModuleError:
        _list_leaks(kernel, new)
        raise


def start(kernel: Kernel, new: module) -> None:
    """Enter an executed module into the list and run its init function.  ModuleError: it is not in the list."""
    end = max((each.address + each.size() + PAGE_SIZE for each in kernel.modules.values()), default=MODULES_VADDR)
    new.address = end
    kernel.modules[new.name] = new
    new.state = COMING
    try:
        _check_init(kernel, new, 0 if new.init is None else call_driver(kernel, new, "init", new.init))
    except BaseException:
        new.state = GOING
        _forget(kernel, new)
        raise
    new.state = LIVE
    kernel.module_files[new.name] = new.path
    publish_module(kernel, new.name)


def _check_init(kernel: Kernel, new: module, result: Any) -> None:
    if result is DRIVER_FAILED:
        if kernel.halted is not None:
            refuse(f"{new.name}: the debugger was left in its init function", EIO)
        refuse(f"{new.name}: its init function raised\n{kernel.oopses[-1].traceback.rstrip()}", EIO)
    if result is None:
        return
    if not isinstance(result, int):
        kernel.driver_bug(new, f"the init function returned {reprlib.repr(result)}, not a number")
        refuse(f"{new.name}: its init function returned {reprlib.repr(result)}, not a number", EIO)
    if result < 0:
        refuse(f"{new.name}: its init function failed: {NAMES.get(-result, result)}", -result)
    if result > 0:
        # It counts as success, with a warning (kernel/module.c: do_init_module).
        kernel.warn(f"{new.name}: init suspiciously returned {result}; it should be 0 or a negative errno")


# -- unloading ---------------------------------------------------------------------------------------------------


def unload_module(kernel: Kernel, name: str) -> list[str]:
    """rmmod.  Returns what the module left behind, a line each (also in the log); the kernel does not collect memory.

    ENOENT: not loaded; EBUSY: it has no exit function, or is being loaded or unloaded just now; EWOULDBLOCK: in use
    (kernel/module.c: sys_delete_module).
    """
    old = try_unload(kernel, name)
    if old.refcount:
        raise Errno(EWOULDBLOCK)
    return finish_unload(kernel, old)


def wait_and_unload(kernel: Kernel, name: str) -> list[str]:
    """As `unload_module`, but wait until the last user is gone.  Nobody can open its devices meanwhile.

    EINTR: a signal came first; the module goes on as before (2.6.10 can't be interrupted there).
    """
    old = try_unload(kernel, name)
    old.state = GOING
    old.waiter = kernel.sched.queue()
    try:
        while old.refcount:
            kernel.sched.wait(old.waiter)
    except Errno:
        old.state = LIVE
        raise Errno(EINTR) from None
    finally:
        old.waiter = None
    return finish_unload(kernel, old)


def try_unload(kernel: Kernel, name: str) -> module:
    """The loaded module `name`, if it could be unloaded as soon as nobody uses it.  ENOENT, EBUSY."""
    old: module | None = kernel.modules.get(name)
    if old is None:
        raise Errno(ENOENT)
    if old.state != LIVE or (old.exit is None and old.init is not None):
        raise Errno(EBUSY)
    return old


def finish_unload(kernel: Kernel, old: module) -> list[str]:
    """Run the exit function of a module that nobody uses, and take it off the list.

    An exit function that raises is reported as an oops, and the module goes all the same: it has undone some of its
    work and can't be used, and a second exit would undo that again.  What it did not get to is in the list of leaks.
    """
    old.state = GOING
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
    return _list_leaks(kernel, old)


def _list_leaks(kernel: Kernel, old: module) -> list[str]:
    left = leaks(kernel, old)
    kernel.mem.check_poison(old)
    for line in left:
        kernel.warn(f"{old.name}: {NOT_RELEASED}{line}")
    return left


def _line(code: CodeType, place: int) -> int:
    """The source line of a place in a function's code (-1: of the function)."""
    if place < 0:
        return code.co_firstlineno
    return next((line or 0 for start, end, line in code.co_lines() if start <= place < end), 0)


def _references(mem: Memory, pfn: int, count: int) -> str:
    """What a list of leaks says of references to a frame that no page-table entry has."""
    if count <= 0:
        return ""
    code, place = mem.got_at.get(pfn, (None, 0))
    at = (
        ""
        if code is None
        else f", the last at {os.path.basename(code.co_filename)}:{_line(code, place)} in {code.co_name}"
    )
    return f": {count} reference{'s' if count != 1 else ''} from get_page without put_page{at}"


def leaks(kernel: Kernel, owner: module) -> list[str]:
    """What an unloaded module did not give back, a line each, with the driver's line that got it where that is known:
    pages, kmalloc objects, /proc files, numbers, devices and nodes, then what each of `kernel.leak_checks` says.

    Memory stays lost.  What would call into the module is taken away: nobody could answer any more.
    """
    mem = kernel.mem
    found = []
    for pfn, (order, where) in owner.pages.items():
        if mem.owner_of(pfn) is owner and mem.count[pfn] > 0:
            what = "1 page" if order == 0 else f"{1 << order} pages (order {order})"
            reserved = ", still reserved" if mem.is_reserved(pfn) else ""
            found.append(
                f"{what} at physical {pfn << PAGE_SHIFT:#x}, count {mem.count[pfn]}{reserved}, got at {where}"
                + _references(mem, pfn, mem.count[pfn] - 1 - mem.mapcount[pfn])
            )
    for pfn, (_order, where) in owner.given_up.items():
        left = mem.count[pfn] - mem.mapcount[pfn]
        if mem.owner_of(pfn) == GIVEN_UP and left > 0:
            text = f"1 page at physical {pfn << PAGE_SHIFT:#x}, freed at {where}, can't be free"
            found.append(text + _references(mem, pfn, left))
    found += kernel.slab.held_by(owner) + kernel.chrdevs.left_by(owner)
    for path in [path for path, show in kernel.proc_entries.items() if getattr(show, "owner", None) is owner]:
        del kernel.proc_entries[path]
        found.append(f"/proc/{path}")
    for check in kernel.leak_checks:
        found += check(owner)
    return found
