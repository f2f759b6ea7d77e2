"""The n-th allocation of page frames fails, as if memory were full (mm/fail_page_alloc.c).

Nothing of this is in the way, or loaded, until somebody asks for it: the allocator's class is exchanged then.  Which
allocation is the n-th is the same in every run of a deterministic machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Optional

from machine.kernel.abi.errno import ENOMEM, Errno
from machine.kernel.mm.page import GFP_HIGHUSER, GFP_KERNEL, GFP_ZERO, SCRATCH, Memory


class Failed(NamedTuple):
    """An allocation that was refused."""

    number: int
    """The how-many-th it was, from 1."""
    owner: Any
    """For whom: ``"anonymous"``, ``"page cache"``, ``"page table"``, ``"slab"``, a driver's module."""
    order: int


class fail_page_alloc:
    """From now on allocation number `nth` of `mem` fails, and the `times` - 1 that follow it.

    `nth` counts from 1; 0: none fails, they are only counted.  `times` below 0: all of them.  `only` says by its owner
    whether an allocation counts at all.  The caller sees Errno(ENOMEM), and whatever it makes of that:
    NULL for a driver, ENOMEM, the end of the process whose page fault it was.  Frames that only the emulator needs
    (`SCRATCH`) do not count.  `off` ends it; so does the end of a ``with`` block.
    """

    def __init__(self, mem: Memory, nth: int = 0, times: int = 1, only: Optional[Callable[[Any], bool]] = None) -> None:
        self.mem = mem
        self.nth, self.times, self.only = nth, times, only
        self.calls = 0
        """Allocations since."""
        self.failed: list[Failed] = []
        exchanged: Any = mem
        exchanged.fault_attr = self
        exchanged.__class__ = _FailingMemory

    def should_fail(self, owner: Any, order: int) -> bool:
        """Count an allocation; True when it is one of those that fail."""
        if owner is SCRATCH or (self.only is not None and not self.only(owner)):
            return False
        self.calls += 1
        if not self.nth or self.calls < self.nth or 0 <= self.times <= self.calls - self.nth:
            return False
        self.failed.append(Failed(self.calls, owner, order))
        return True

    def off(self) -> None:
        """No more failures.  Twice is fine."""
        mem: Any = self.mem
        if getattr(mem, "fault_attr", None) is self:
            mem.__class__ = Memory
            del mem.fault_attr

    def __enter__(self) -> fail_page_alloc:
        return self

    def __exit__(self, *_: object) -> None:
        self.off()


class _FailingMemory(Memory):
    """`Memory` whose every frame goes through one door."""

    fault_attr: fail_page_alloc

    def alloc_pages(self, gfp: int = GFP_KERNEL, order: int = 0, owner: Any = "kernel") -> int:
        if self.fault_attr.should_fail(owner, order):
            raise Errno(ENOMEM)
        return super().alloc_pages(gfp, order, owner)

    def alloc_zeroed(self, owner: Any) -> int:
        return self.alloc_pages(GFP_HIGHUSER | GFP_ZERO, 0, owner)

    def alloc_run(
        self, order: int, spare: int, owner: Any, mapped: int = 1, populate: bool = False, zero: bool = True
    ) -> Optional[int]:
        """None: one by one, so that each can fail."""
        return None


__all__ = ["Failed", "fail_page_alloc"]
