"""`struct module`: one loaded driver, with its use count; and the one way into a driver's code, `call_driver`.

Loading and unloading are in insmod.py.

Every machine executes its own instance of a driver's Python file, so a driver's module globals are
its state on that machine, as a C module's statics are.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from machine.events import DriverCall, DriverEnter
from machine.hardware.blame import passes
from machine.hardware.ram import PAGE_SIZE
from machine.kernel.mm.page import NONE_YET, Page

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.mm.page import Memory
    from machine.kernel.mm.space import mm_struct
    from machine.kernel.modparam import kernel_param
    from machine.kernel.task.wait import WaitQueue

HANDED_OVER = "handed over by a driver's nopage or fault"
GIVEN_UP = "given up by a driver, still mapped"
"""Owner of a frame that its driver has freed and a process still maps."""
SLOT = "__kernel_module__"
"""Name in a driver's globals that holds its `module`."""
LIVE, COMING, GOING = "live", "coming", "going"
"""States of a module, as /sys/module/NAME/initstate has them."""
_STATES = {LIVE: "Live", COMING: "Loading", GOING: "Unloading"}
"""The same in /proc/modules."""


class _Failed:
    __slots__ = ()

    def __repr__(self) -> str:
        return "DRIVER_FAILED"


DRIVER_FAILED: Any = _Failed()
"""What `call_driver` returns when the driver raised: SIGBUS on the fault path, EIO in a system call."""


class macro_return(BaseException):
    """How `get_user_ret` and its relatives leave the driver's method that uses them: `value` is what it returns
    (include/uaccess_ret.py)."""

    def __init__(self, value: Any) -> None:
        super().__init__(value)
        self.value = value


class module:
    """`struct module`: one loaded driver of one machine."""

    is_module = True

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.nopage_name = f"{name}.nopage"
        """How a report names the method that answered a fault."""
        self.path = path
        self.params: dict[str, kernel_param] = {}
        self.descriptions: dict[str, str] = {}
        self.info: dict[str, str] = {}
        """MODULE_LICENSE, MODULE_AUTHOR, MODULE_DESCRIPTION as given."""
        self.init: Optional[Callable[[], int]] = None
        self.exit: Optional[Callable[[], None]] = None
        self.namespace: dict[str, Any] = {}
        self.refcount = 0
        """Open files of this driver, those that only a mapping still holds included; while there are any, it stays."""
        self.state = COMING
        self.waiter: Optional[WaitQueue] = None
        """Where a `delete_module` without O_NONBLOCK sleeps until the last user is gone."""
        self.settings: list[tuple[str, str]] = []
        """The parameters that it was loaded with, as texts."""
        self.separator = ":"
        """What parts the elements of an array in them."""
        self.source = b""
        """The file as it was when it was read."""
        self.stamp = (0, 0)
        """Time of change (ns) and size of its file when that was read."""
        self.address = 0
        self.pages: dict[int, tuple[int, str]] = {}
        """First frame of each block that it got with get_free_pages -> (order, where in its source)."""
        self.given_up: dict[int, tuple[int, str]] = {}
        """Frames that it freed while others had references to them -> (order, where it freed and got them)."""
        self.uncounted: dict[int, str] = {}
        """Of operations whose `open` the mmap method did not call: id -> the method's place (mm/uncounted.py)."""
        self.oopsed: set[tuple[str, int]] = set()

    def __repr__(self) -> str:
        return f"<module {self.name}>"

    def try_get(self) -> bool:
        """One more user (`try_module_get`); False when it is being unloaded."""
        if self.state == GOING:
            return False
        self.refcount += 1
        return True

    def get(self) -> None:
        """One more user, where there is one already (`__module_get`)."""
        self.refcount += 1

    def put(self) -> None:
        """One user less (`module_put`)."""
        self.refcount -= 1
        if self.waiter is not None and not self.refcount:
            self.waiter.wake()

    def size(self) -> int:
        """Bytes that the module takes, in whole pages: those of its source."""
        return (len(self.source) + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1)

    def proc_line(self) -> str:
        """Its line of /proc/modules: name, size, uses, dependants, state, address."""
        return f"{self.name} {self.size()} {self.refcount} - {_STATES[self.state]} 0x{self.address:016x}"


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
    irq, events, entered = kernel.irq, kernel.events, 0
    if events.driver_enter is not None:
        entered = _entering(kernel, owner, operation, function, args)
    count, disabled = irq.preempt_count, irq.disabled
    try:
        called = function if kernel.driver_probe is None else kernel.driver_probe(owner, operation, function)
        result = called(*args) if operation != "mmap" else _call_mmap(owner, called, args)
    except BaseException as failure:
        if passes(failure):
            raise
        result = driver_raised(kernel, owner, operation, failure, function, args)
    task = kernel.current
    if irq.preempt_count != count or irq.disabled != disabled or (task is not None and task.state and not count):
        _left_in_state(kernel, owner, operation, count, disabled)
    if operation == "mmap" and not _adopt_area(owner, function, args):
        result = DRIVER_FAILED
    if events.driver_call is not None:
        events.driver_call(DriverCall(0, owner.name, operation, args, result, enter=entered))
    return result


def call_for_page(
    mm: mm_struct, owner: module, operation: str, method: Callable[..., Any], args: tuple[Any, ...]
) -> tuple[Any, Sequence[int]]:
    """`call_driver` for `nopage` and `fault`, in one piece: every page fault of a driver's comes here.

    The answer, and the frames that were allocated meanwhile, by others too if it slept.

    A frame among them that it answers with was made for this fault: the method hands its own reference over.
    """
    kernel, mem = mm.kernel, mm.mem
    irq, events, entered = kernel.irq, kernel.events, 0
    if events.driver_enter is not None:
        entered = _entering(kernel, owner, operation, method, args)
    count, disabled = irq.preempt_count, irq.disabled
    recent, got = mem.recent, mem.got
    before = len(recent)
    mem.asking += 1
    mm.faulting += 1
    mem.got = NONE_YET
    called = method if kernel.driver_probe is None else kernel.driver_probe(owner, operation, method)
    try:
        if len(args) == 3:
            vma, address, kind = args
            answer = called(vma, address, kind)
        else:
            answer = called(*args)
    except BaseException as failure:
        if passes(failure):
            raise
        answer = driver_raised(kernel, owner, operation, failure, method, args)
    finally:
        mem.asking -= 1
        mm.faulting -= 1
        first, mem.got = mem.got, got
        if mm.faulted is not None:
            mm.fault_is_over()
        fresh: Sequence[int] = ()
        if recent:
            fresh = recent[before:]
            if not mem.asking:
                recent.clear()
    if first >= 0 and (type(answer) is not Page or answer.pfn != first):
        _got_in_vain(mem, first, method, args)
    task = kernel.current
    if irq.preempt_count != count or irq.disabled != disabled or (task is not None and task.state and not count):
        _left_in_state(kernel, owner, operation, count, disabled)
    if events.driver_call is not None:
        events.driver_call(DriverCall(0, owner.name, operation, args, answer, enter=entered))
    return answer, fresh


def _got_in_vain(mem: Memory, pfn: int, method: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """The first frame whose reference a `nopage` or `fault` took is not its answer: keep where that was, for the list
    of leaks, as `get_page` does for all others."""
    page = getattr(args[0], "page", None)  # of a struct vm_fault
    code = getattr(method, "__code__", None)
    if code is not None and not (isinstance(page, Page) and page.pfn == pfn):
        mem.got_at.setdefault(pfn, (code, -1))


def _entering(
    kernel: Kernel, owner: module, operation: str, function: Callable[..., Any], args: tuple[Any, ...]
) -> int:
    """Tell that a method is about to be called; the event's number."""
    event = DriverEnter(owner.name, operation, args)
    code = getattr(function, "__code__", None)
    if code is not None:
        event.where = f"{code.co_filename}:{code.co_firstlineno}"
    if kernel.events.driver_enter is not None:
        kernel.events.driver_enter(event)
    return event.seq


def driver_raised(kernel: Kernel, owner: module, operation: str, failure: BaseException, *call: Any) -> Any:
    """A method of a driver, `call`, ended with an exception: what counts as its result."""
    if isinstance(failure, macro_return):
        return failure.value
    if is_from_debugger(failure):
        kernel.halt(failure)
    else:
        _driver_oops(kernel, owner, operation, failure, *call)
    return DRIVER_FAILED


def _call_mmap(owner: module, method: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    from machine.kernel.lent import lend_to_mmap

    return lend_to_mmap(owner, method, args)


def _left_in_state(kernel: Kernel, owner: module, operation: str, count: int, disabled: bool) -> None:
    from machine.kernel.context import left_in_state

    left_in_state(kernel, owner, operation, count, disabled)


def _driver_oops(kernel: Kernel, owner: module, operation: str, failure: BaseException, *call: Any) -> None:
    from machine.kernel.driver_oops import driver_oops

    driver_oops(kernel, owner, operation, failure, *call)


def _adopt_area(owner: module, method: Any, args: tuple[Any, ...]) -> bool:
    """Operations that a driver gave its area in its `mmap` method are the driver's too; False when they are none."""
    from machine.kernel.mm.adopt import adopt_area

    return args[1].vm_file is not args[0] or adopt_area(owner, method, args[1])


class DebuggerLeft(Exception):
    """The user has left the prompt of `--break-on`: the machine stops for good."""


def is_from_debugger(failure: BaseException) -> bool:
    """Whether `failure` is the `quit` of a debugger that `breakpoint()` started, and no mistake of the driver's."""
    if isinstance(failure, DebuggerLeft):
        return True
    trace = failure.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__") in ("bdb", "pdb", "_pytest.debugging"):
            return True
        trace = trace.tb_next
    return False
