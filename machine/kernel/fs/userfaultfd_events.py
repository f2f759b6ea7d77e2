"""What becomes of the areas of a userfaultfd is a message where it was asked for (fs/userfaultfd.c).

Who moves, unmaps or forks waits until the message was read: at the end of the call, when nothing is half done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.kernel.abi.errno import ENOMEM, Errno
from machine.kernel.fs.userfaultfd import (
    EVENT_REMAP,
    EVENT_REMOVE,
    EVENT_UNMAP,
    FEATURE_EVENT_REMAP,
    FEATURE_EVENT_REMOVE,
    FEATURE_EVENT_UNMAP,
    context_of,
    drop_context,
    event_message,
)

if TYPE_CHECKING:
    from machine.kernel.mm.space import mm_struct
    from machine.kernel.mm.vma import vm_area_struct


def remapped(mm: mm_struct, new: vm_area_struct, source: int, target: int, length: int) -> None:
    """An area was moved: it stays registered where somebody wants to hear of it (mremap_userfaultfd_prep)."""
    ctx = context_of(new)
    if ctx is None or not ctx.has(FEATURE_EVENT_REMAP):
        drop_context(new)
    else:
        mm.userfault_events = [*mm.userfault_events, (ctx, ctx.event(EVENT_REMAP, source, target, length))]


def unmapped(mm: mm_struct, vma: vm_area_struct, start: int, end: int) -> None:
    """An area goes, with all of [start, end): one message a range (userfaultfd_unmap_prep)."""
    ctx = context_of(vma)
    if ctx is None or not ctx.has(FEATURE_EVENT_UNMAP):
        return
    message = event_message(EVENT_UNMAP, start, end)
    if not any(known is ctx and entry.message == message for known, entry in mm.userfault_events):
        mm.userfault_events = [*mm.userfault_events, (ctx, ctx.event(EVENT_UNMAP, start, end))]


def removed(mm: mm_struct, vma: vm_area_struct, start: int, end: int) -> tuple[vm_area_struct, int]:
    """Pages are about to go (madvise): the area and the end of the range after whoever wanted to hear of it has.
    ENOMEM: it was unmapped meanwhile (userfaultfd_remove)."""
    ctx = context_of(vma)
    if ctx is None or not ctx.has(FEATURE_EVENT_REMOVE):
        return vma, end
    ctx.complete(ctx.event(EVENT_REMOVE, start, end))
    now = mm.vma_at(start)
    if now is None:
        raise Errno(ENOMEM)
    return now, min(end, now.vm_end)


def complete_events(mm: mm_struct) -> None:
    """Wait until what a call has moved and unmapped was read."""
    waits, mm.userfault_events = mm.userfault_events, ()
    for ctx, entry in waits:
        ctx.complete(entry)


def complete_forks(mm: mm_struct) -> None:
    """Wait until those who watch the parent have the child's descriptors (dup_userfaultfd_complete)."""
    waits, mm.userfault_forks = mm.userfault_forks, ()
    for ctx, entry in waits:
        ctx.complete(entry)


def forget_forks(mm: mm_struct) -> None:
    """There will be no child (dup_userfaultfd_fail)."""
    waits, mm.userfault_forks = mm.userfault_forks, ()
    for ctx, entry in waits:
        if entry in ctx.events:
            ctx.events.remove(entry)
