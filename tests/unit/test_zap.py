"""Entries dropped in runs leave what entries dropped one by one leave (MECHANISMS B9)."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest

from machine.hardware.paging import RW, US, A, D, P
from machine.hardware.ram import MiB, Ram
from machine.kernel.mm import zap
from machine.kernel.mm.page import GFP_KERNEL, POISON, Memory, PG_dirty, PG_exec, PG_reserved
from machine.kernel.mm.pte import DEVICE, PROTNONE, SPECIAL

SIZE = 48 * MiB


def space() -> Any:
    mem = Memory(Ram(SIZE), [].append)
    mem.release_range(1, 0xA0)
    mem.release_range(0x100, SIZE >> 12)
    dirtied: list[int] = []
    return SimpleNamespace(
        mem=mem, rss_anon=0, rss_file=0, dirtied=dirtied, kernel=SimpleNamespace(set_page_dirty=dirtied.append)
    )


def entries_of(mm: Any, chance: random.Random) -> list[int]:
    """The entries of one table: runs of frames, some of which differ from their neighbours in something."""
    mem, made = mm.mem, []
    while len(made) < 480:
        owner = chance.choice(("anonymous", "anonymous", "page cache"))
        order, count = chance.randrange(9), chance.choice((1, 1, 1, 2, 3))
        pfn = mem.alloc_run(order, 0, owner, mapped=chance.choice((count, 1)))
        bits = P | US | A | chance.choice((0, RW, RW | D))
        for each in range(pfn, pfn + (1 << order)):
            mem.count[each] = max(count, mem.mapcount[each] + (owner != "anonymous"))
            made.append(each << 12 | bits)
        for _ in range(chance.choice((0, 0, 0, 1, 3))):
            odd(mm, made, len(made) - 1 - chance.randrange(1 << order), chance)
    for _ in range(chance.choice((0, 5))):
        del made[chance.randrange(len(made))]
    return made[:512]


def odd(mm: Any, made: list[int], i: int, chance: random.Random) -> None:
    mem, pfn = mm.mem, made[i] >> 12 & 0xFFFFF
    kind = chance.randrange(9) if made[i] & P else 5
    if kind < 3:
        mem.flags[pfn] |= (PG_reserved, PG_exec, PG_dirty)[kind]
    elif kind == 3:
        mem.count[pfn] += 1
    elif kind == 4:
        mem.mapcount[pfn] += 1
        mem.count[pfn] += 1
    elif kind == 5:
        made[i] |= SPECIAL
    elif kind == 6:
        made[i] = made[i] & ~(P | US) | PROTNONE
    elif kind == 7:
        made[i] = 0xFE00_0000 | DEVICE
    else:
        mem.set_owner(pfn, "scullp")


def state(mm: Any) -> Any:
    mem = mm.mem
    arrays = tuple(bytes(each.cast("B")) for each in (mem.count, mem.mapcount, mem.flags, mem._owner))
    free = [[set(row) for row in zone.free] for zone in mem.zones]
    assert mem.check_free_lists() == []
    return arrays, free, mm.rss_anon, mm.rss_file, mm.dirtied


@pytest.mark.parametrize("seed", range(60))
def test_runs_leave_what_single_entries_leave(seed: int) -> None:  # B9
    ways = []
    for drop in (zap.drop, zap._drop_each):
        mm = space()
        entries = entries_of(mm, random.Random(seed))
        drop(mm, entries)
        ways.append((mm, entries))
    (one, entries), (other, same) = ways
    assert entries == same
    assert state(one) == state(other)
    assert one.mem.ram.view == other.mem.ram.view


def test_a_run_is_freed_at_once_and_poisoned(monkeypatch: pytest.MonkeyPatch) -> None:  # B9, D1
    mm = space()
    before = mm.mem.free_frames()
    pfn = mm.mem.alloc_run(8, 0, "anonymous")
    mm.mem.ram.view[pfn << 12 : pfn + 256 << 12] = bytes(256 << 12)
    monkeypatch.setattr(zap, "_drop_each", lambda *_: pytest.fail("one by one"))
    zap.drop(mm, [each << 12 | P | A | D | RW | US for each in range(pfn, pfn + 250)])
    assert mm.rss_anon == -250
    assert mm.mem.free_frames() == before - 6
    assert mm.mem.check_free_lists() == []
    assert set(mm.mem.ram.view[pfn << 12 : pfn + 250 << 12]) == {POISON}
    assert not any(mm.mem.ram.view[pfn + 250 << 12 : pfn + 256 << 12])
    zeroed = mm.mem.alloc_run(6, 0, "anonymous")
    assert pfn <= zeroed < pfn + 250
    assert not any(mm.mem.ram.view[zeroed << 12 : zeroed + 64 << 12])


def test_nothing_goes_in_runs_while_changes_are_noted() -> None:  # B9
    mm = space()
    pfn = mm.mem.alloc_run(4, 0, "anonymous")
    journal: dict[int, int] = {}
    mm.mem.journals.append(journal)
    zap.drop(mm, [each << 12 | P | A for each in range(pfn, pfn + 16)])
    assert journal == dict.fromkeys(range(pfn, pfn + 16), 1)
    assert mm.mem.alloc_pages(GFP_KERNEL, 4, "t") == pfn
