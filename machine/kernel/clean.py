"""Whether a machine is clean again after its programs ended: what tests assert after every guest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from machine.kernel.task.task import EXIT_DEAD, EXIT_ZOMBIE

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

_PROCESS_OWNED = ("anonymous", "page table")


def check_clean(kernel: Kernel, baseline: dict[Any, int]) -> list[str]:
    """Complaints, a sentence each: live tasks, lost frames, counts, free lists, oopses, reports."""
    complaints = [
        f"{task!r} is still there"
        for task in kernel.tasks.values()
        if task.pid != 1 and task.state not in (EXIT_ZOMBIE, EXIT_DEAD)
    ]
    complaints += [f"an address space with {mm.map_count} areas is still there" for mm in kernel.mms]
    complaints += [f"oops: {oops.traceback}" for oops in kernel.oopses]
    complaints += kernel.reports
    if kernel.unix.sockets:
        complaints.append(f"{len(kernel.unix.sockets)} sockets are still there")
    used = kernel.mem.used_frames()
    for owner in _PROCESS_OWNED:
        if used.get(owner, 0) != baseline.get(owner, 0):
            complaints.append(f"{used.get(owner, 0)} frames of {owner} memory are still in use")
    return complaints + _check_counts(kernel) + kernel.mem.check_free_lists()


def _check_counts(kernel: Kernel) -> list[str]:
    """No entry maps anything now, so every mapcount is 0; a cached page has the cache's reference only."""
    from machine.kernel.mm.census import frames_in_use, mapped_frames

    mem = kernel.mem
    complaints = [
        f"frame {pfn:#x} of {mem.owner_of(pfn)} has mapcount {mem.mapcount[pfn]}" for pfn in mapped_frames(mem)
    ]
    complaints += [
        f"frame {pfn:#x} of the page cache has count {mem.count[pfn]}"
        for pfn in frames_in_use(mem)
        if mem.owner_of(pfn) == "page cache" and mem.count[pfn] != 1
    ]
    return complaints
