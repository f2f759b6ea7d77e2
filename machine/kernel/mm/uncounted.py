"""A driver that forgot to count its first mapping (LDD3 §15.2.3).

The kernel calls an area's `open` when a second one comes into being, by fork or a split, and `close` for every area
that goes.  A driver that counts must therefore call its `open` itself in the `mmap` method; one that doesn't is told
so, once, when the first `close` comes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

from machine.kernel.answers import place

if TYPE_CHECKING:
    from machine.kernel.mm.vma import vm_area_struct

KERN_NOTICE = 5


def call_mmap(owner: Any, method: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Call a driver's `mmap` method and note whether it called the `open` of the operations that it gave its area.

    Whatever the method raises comes through.  While a profiler runs (cProfile) nothing is noted: it can't be replaced.
    """
    before = sys.getprofile()
    if before is not None:
        return method(*args)
    called: set[CodeType] = set()

    def profile(frame: FrameType, event: str, _arg: Any) -> None:
        if event == "call":
            called.add(frame.f_code)

    sys.setprofile(profile)
    try:
        result = method(*args)
    finally:
        sys.setprofile(None)
    ops = args[1].vm_ops
    opened = getattr(getattr(ops, "open", None), "__code__", None)
    if opened is not None and opened not in called and getattr(ops, "close", None) is not None:
        owner.uncounted.setdefault(id(ops), place(method))
    return result


def told_at_close(vma: vm_area_struct) -> None:
    """The driver's `close` is about to be called: if its first `open` never was, say so, once."""
    ops = vma.vm_ops
    assert ops is not None and ops.owner is not None
    where = ops.owner.uncounted.get(id(ops))
    if not where:
        return
    ops.owner.uncounted[id(ops)] = ""
    opened = getattr(ops.open, "__name__", "open")
    area = " ".join(vma.maps_line().split())
    vma.vm_mm.kernel.warn(
        f"{ops.owner.name}: close{place(ops.close)} of area {area} without a matching open: "
        f"the mmap method{where} did not call {opened}, and the kernel does so only for further areas of a mapping",
        KERN_NOTICE,
    )
