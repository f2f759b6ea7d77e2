"""Frames, counts and the buddy lists (MECHANISMS B9, D1, D2)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from machine.hardware.ram import MiB, Ram
from machine.kernel.abi.errno import ENOMEM, Errno
from machine.kernel.mm.page import GFP_DMA, GFP_KERNEL, GFP_ZERO, POISON, Memory


def memory(size: int = 32 * MiB) -> tuple[Memory, list[str]]:
    reports: list[str] = []
    mem = Memory(Ram(size), reports.append)
    mem.release_range(1, 0xA0)
    mem.release_range(0x100, size >> 12)
    return mem, reports


def test_free_list_is_whole_after_everything_came_back() -> None:  # B9
    mem, reports = memory()
    before = [dict(zone.free[10]) for zone in mem.zones]
    total = mem.free_frames()
    taken = [(mem.alloc_pages(GFP_KERNEL, order, "t"), order) for order in (0, 3, 0, 5, 10, 1, 0)]
    assert mem.free_frames() == total - sum(1 << order for _, order in taken)
    for pfn, order in taken:
        assert pfn % (1 << order) == 0
        mem.free_pages(pfn, order)
    assert mem.free_frames() == total
    assert [dict(zone.free[10]) for zone in mem.zones] == before
    assert mem.check_free_lists() == []
    assert reports == []


def test_freed_frames_hold_poison_and_zeroed_ones_zeros() -> None:  # D1
    mem, _ = memory()
    pfn = mem.alloc_pages(GFP_KERNEL, 0, "t")
    mem.ram.frame(pfn)[:5] = b"hello"
    mem.free_pages(pfn)
    assert bytes(mem.ram.frame(pfn)) == bytes([POISON]) * 4096
    assert mem.alloc_pages(GFP_KERNEL, 0, "t") == pfn
    assert mem.ram.frame(pfn)[0] == POISON
    mem.free_pages(pfn)
    assert mem.alloc_pages(GFP_KERNEL | GFP_ZERO, 0, "t") == pfn
    assert bytes(mem.ram.frame(pfn)) == bytes(4096)


def test_dma_memory_is_below_16_mib() -> None:  # D2
    mem, _ = memory(64 * MiB)
    assert mem.alloc_pages(GFP_KERNEL, 4, "t") >= 4096
    assert mem.alloc_pages(GFP_KERNEL | GFP_DMA, 4, "t") < 4096


def test_misuse_is_reported_and_harmless() -> None:  # B9
    mem, reports = memory()
    pfn = mem.alloc_pages(GFP_KERNEL, 2, "scullp")
    mem.free_pages(pfn, 1)
    assert "order 2" in reports[0]
    assert "order 1" in reports[0]
    mem.free_pages(pfn, 2)
    assert "Bad page state" in reports[1]
    mem.put_page(pfn)
    assert "put_page of a free page" in reports[2]
    assert mem.check_free_lists() == []


def test_reserved_pages_count_up_only() -> None:  # B9
    mem, reports = memory()
    count = mem.count[0xA0]
    mem.get_page(0xA0)
    mem.put_page(0xA0)
    mem.free_pages(0xA0)
    assert mem.count[0xA0] == count + 1
    assert reports == []


def test_memory_runs_out_with_enomem() -> None:  # D1
    mem, _ = memory(16 * MiB)
    taken = []
    with pytest.raises(Errno) as refused:
        while True:
            taken.append(mem.alloc_pages(GFP_KERNEL, 0, "t"))
    assert refused.value.errno == ENOMEM
    assert len(set(taken)) == len(taken)
    for pfn in taken:
        mem.free_pages(pfn)
    assert mem.check_free_lists() == []


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1000)), max_size=200))
def test_random_allocations(operations: list[tuple[int, int]]) -> None:  # D1
    mem, reports = memory(16 * MiB)
    total = mem.free_frames()
    live: list[tuple[int, int]] = []
    for order, pick in operations:
        if live and pick % 2:
            mem.free_pages(*live.pop(pick % len(live)))
        else:
            live.append((mem.alloc_pages(GFP_KERNEL, order, "t"), order))
    assert mem.check_free_lists() == []
    assert mem.free_frames() == total - sum(1 << order for _, order in live)
    for pfn, order in live:
        mem.free_pages(pfn, order)
    assert mem.free_frames() == total
    assert reports == []
