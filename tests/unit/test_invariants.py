"""The checker of whole machines sees each kind of damage, and nothing where there is none (E2, E3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from guest.toolchain import compile
from machine import Machine
from machine.events import SyscallExit
from machine.hardware.paging import RW, walk
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.kernel import Kernel
from machine.kernel.mm.invariants import check_machine
from machine.kernel.mm.look import look
from machine.kernel.mm.page import ANONYMOUS
from machine.kernel.mm.pte import PTE_PFN
from machine.kernel.mm.space import mm_struct
from machine.kernel.mm.vma import VM_WRITE, vm_area_struct
from tests.steps import Steps

Back = Callable[[], None]
"""Puts right what was damaged."""


def _mm(kernel: Kernel) -> mm_struct:
    assert kernel.current is not None and kernel.current.mm is not None
    return kernel.current.mm


def _anonymous(kernel: Kernel) -> tuple[int, int, int]:
    """(address, entry, frame) of an anonymous page of the program that runs."""
    mm = _mm(kernel)
    for va, pte in mm.walk_present(0, mm.task_size):
        pfn = (pte & PTE_PFN) >> PAGE_SHIFT
        if kernel.mem.owner_of(pfn) == "anonymous":
            return va, pte, pfn
    raise AssertionError("no anonymous page")


def _area(kernel: Kernel) -> vm_area_struct:
    vma = _mm(kernel).vma_at(_anonymous(kernel)[0])
    assert vma is not None
    return vma


def _directory_entry(kernel: Kernel) -> tuple[int, int]:
    """(index of the word, its value) of the entry that leads to the leaf table of an anonymous page."""
    physical, entry = walk(kernel.ram, _mm(kernel).tables.cr3, _anonymous(kernel)[0])[2]
    return physical >> 3, entry


def _free(kernel: Kernel) -> tuple[dict[int, None], dict[int, None], int, int]:
    """(its row, the row of its halves, first frame, half its size) of a large free block."""
    free = kernel.mem.zones[1].free
    order = max(n for n in range(11) if free[n])
    return free[order], free[order - 1], next(iter(free[order])), 1 << order - 1


def _set(where: Any, name: Any, value: Any) -> Back:
    """An item of something, or an attribute, has this value now."""
    if isinstance(name, str):
        old = getattr(where, name)
        setattr(where, name, value)
        return lambda: setattr(where, name, old)
    old = where[name]
    where[name] = value
    return lambda: where.__setitem__(name, old)


def _all(*backs: Back) -> Back:
    def back() -> None:
        for each in reversed(backs):
            each()

    return back


def _odd(kernel: Kernel) -> Back:
    return _set(_area(kernel), "vm_end", _area(kernel).vm_end - 1)


def _empty(kernel: Kernel) -> Back:
    return _set(_area(kernel), "vm_end", _area(kernel).vm_start)


def _high(kernel: Kernel) -> Back:
    return _set(_mm(kernel), "task_size", list(_mm(kernel).areas)[-1].vm_start)


def _overlap(kernel: Kernel) -> Back:
    one, other = list(_mm(kernel).areas)[:2]
    return _set(one, "vm_end", other.vm_start + PAGE_SIZE)


def _not_found(kernel: Kernel) -> Back:
    starts = _mm(kernel).areas._blocks[0].starts
    return _set(starts, 1, starts[0])


def _elsewhere(kernel: Kernel) -> Back:
    return _set(_mm(kernel).areas._firsts, 0, list(_mm(kernel).areas)[1].vm_start)


def _stale(kernel: Kernel) -> Back:
    mm, vma = _mm(kernel), _area(kernel)
    return _set(mm, "mmap_cache", vm_area_struct(mm, vma.vm_start, vma.vm_end, vma.vm_flags, vma.vm_page_prot))


def _map_count(kernel: Kernel) -> Back:
    return _set(_mm(kernel).areas, "count", _mm(kernel).map_count + 1)


def _total(kernel: Kernel) -> Back:
    return _set(_mm(kernel), "total_vm", _mm(kernel).total_vm + 1)


def _beyond(kernel: Kernel) -> Back:
    mm, vma = _mm(kernel), _area(kernel)
    mm.areas.remove(vma)
    mm.mmap_cache = None

    def back() -> None:
        mm.areas.insert(vma)

    return back


def _read_only(kernel: Kernel) -> Back:
    return _set(_area(kernel), "vm_flags", _area(kernel).vm_flags & ~VM_WRITE)


def _zero(kernel: Kernel) -> Back:
    va, pte, _pfn = _anonymous(kernel)
    return _set(kernel.ram.words, _mm(kernel).tables.leaf(va), pte & ~PTE_PFN | kernel.zero_pfn << PAGE_SHIFT | RW)


def _rss(kernel: Kernel) -> Back:
    return _set(_mm(kernel), "rss_anon", _mm(kernel).rss_anon + 1)


def _file_rss(kernel: Kernel) -> Back:
    return _set(_mm(kernel), "rss_file", _mm(kernel).rss_file + 1)


def _ahead(kernel: Kernel) -> Back:
    return _set(_mm(kernel), "ahead", 1)


def _no_leaf(kernel: Kernel) -> Back:
    return _set(kernel.ram.words, _directory_entry(kernel)[0], 0)


def _out(kernel: Kernel) -> Back:
    where, entry = _directory_entry(kernel)
    return _set(kernel.ram.words, where, entry | 1 << 46)


def _table(kernel: Kernel) -> Back:
    pfn = kernel.mem.alloc_pages(owner="page table")
    return lambda: kernel.mem.put_page(pfn)


def _mapcount(kernel: Kernel) -> Back:
    pfn = _anonymous(kernel)[2]
    return _all(_set(kernel.mem.mapcount, pfn, 2), _set(kernel.mem.count, pfn, 2))


def _stray(kernel: Kernel) -> Back:
    return _set(kernel.mem.mapcount, _free(kernel)[2], 1)


def _few(kernel: Kernel) -> Back:
    return _set(kernel.mem.count, _anonymous(kernel)[2], 0)


def _count(kernel: Kernel) -> Back:
    return _set(kernel.mem.count, _anonymous(kernel)[2], 2)


def _block(kernel: Kernel) -> Back:
    pfn = kernel.mem.alloc_pages(order=2, owner="kernel")
    return _all(lambda: kernel.mem.free_pages(pfn, 2), _set(kernel.mem.count, pfn, 2))


def _lost(kernel: Kernel) -> Back:
    zone = kernel.mem.zones[1]
    pfn = zone.take(0)
    assert pfn is not None
    return lambda: zone.put(pfn, 0)


def _unlisted(kernel: Kernel) -> Back:
    row, _halves, first, _half = _free(kernel)
    del row[first]
    return lambda: row.__setitem__(first, None)


def _remaining(kernel: Kernel) -> Back:
    zone = kernel.mem.zones[0]
    return _set(zone, "remaining", zone.remaining + 1)


def _misaligned(kernel: Kernel) -> Back:
    row, _halves, first, half = _free(kernel)
    del row[first]
    row[first + half] = None

    def back() -> None:
        del row[first + half]
        row[first] = None

    return back


def _twice_free(kernel: Kernel) -> Back:
    _row, halves, first, half = _free(kernel)
    halves[first + half] = None
    return lambda: halves.__delitem__(first + half)


def _unmerged(kernel: Kernel) -> Back:
    row, halves, first, half = _free(kernel)
    del row[first]
    halves[first] = halves[first + half] = None

    def back() -> None:
        del halves[first], halves[first + half]
        row[first] = None

    return back


def _free_count(kernel: Kernel) -> Back:
    return _set(kernel.mem.count, _free(kernel)[2], 1)


def _inner_count(kernel: Kernel) -> Back:
    return _set(kernel.mem.count, _free(kernel)[2] + 1, 1)


def _free_owner(kernel: Kernel) -> Back:
    return _set(kernel.mem._owner, _free(kernel)[2] + 1, ANONYMOUS)


@pytest.mark.parametrize(
    ("damage", "full", "quick"),
    [
        (_odd, "is empty or not page aligned", "is empty or not aligned"),
        (_empty, "is empty or not page aligned", "is empty or not aligned"),
        (_high, "reaches beyond user space", "is beyond user space"),
        (_overlap, " overlaps <vma ", " overlaps the next"),
        (_not_found, "find_vma does not find", "the starts of areas"),
        (_elsewhere, None, "the blocks of areas"),
        (_stale, "which is gone", "which is gone"),
        (_map_count, "map_count is ", "map_count is "),
        (_total, "total_vm is ", "total_vm is "),
        (_beyond, "lies in no area", "lies in no area"),
        (_read_only, "is writable, <vma ", "is writable, its area is not"),
        (_zero, "the zero page is writable", "the zero page is writable"),
        (_mapcount, "is writable and mapped 2 times", "is writable and mapped more than once"),
        (_mapcount, "mapcount 2, 1 entries map it", "mapcount 2, 1 entries map it"),
        (_stray, "mapcount 1, 0 entries map it", "mapcount 1, 0 entries map it"),
        (_few, "count 0 < mapcount 1", "count 0, 1 can be explained"),
        (_count, "count 2, 1 can be explained", "count 2, 1 can be explained"),
        (_block, "count 2, 1 can be explained", "count 2, 1 can be explained"),
        (_rss, "rss is ", "rss is "),
        (_file_rss, "rss is ", "rss is "),
        (_ahead, None, "1 entries were mapped ahead, there are 0"),
        (_no_leaf, None, "the MMU finds other leaf tables"),
        (_out, None, "leads out of RAM"),
        (_table, None, "frames are page tables"),
        (_lost, "frames have an owner", "frames have an owner"),
        (_unlisted, "free frames and lists", "free frames and lists"),
        (_remaining, "free frames and lists", "free frames and lists"),
        (_misaligned, "is not aligned", "is not aligned"),
        (_twice_free, "overlaps another", "overlaps the next"),
        (_unmerged, "are not merged", "are not merged"),
        (_free_count, "has count 1", "has count 1"),
        (_inner_count, None, "has count 1"),
        (_free_owner, None, "and owner 1"),
    ],
)
def test_damage_is_seen(
    machine_clean: Callable[..., Machine], damage: Callable[[Kernel], Back], full: str | None, quick: str
) -> None:
    """While a program runs, in the middle of its calls, by both ways of looking; put right again, the machine is clean.
    None: only the quick look sees it."""
    machine = machine_clean(deterministic=True)
    kernel = machine.kernel
    seen: list[list[str]] = []

    def on_call(call: object) -> None:
        if not seen:
            assert look(kernel) == check_machine(kernel) == []
            back = damage(kernel)
            seen.extend((look(kernel), check_machine(kernel)))
            back()
            assert look(kernel) == check_machine(kernel) == []

    machine.events.listen("syscall_enter", on_call)
    assert machine.run(["hello"]).exit == 0
    quickly, fully = seen
    assert any(quick in text for text in quickly), quickly
    assert any(full in text for text in fully) if full else not fully, fully


TOUCHES = """\
#include <sys/mman.h>
#include <unistd.h>
int main(void)
{
	char *area = mmap(0, 4 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < 64; i++) {
		area[i << 16] = 1;
		getppid();
	}
	return area[1 << 16] - 1;
}
"""


def test_a_look_changes_nothing(machine_clean: Callable[..., Machine]) -> None:
    """Entries that were mapped ahead of their first touch stay, and are counted as what they are."""
    machine = machine_clean(batch_faults=True, check_invariants=False)
    most = 0

    def on_call(call: SyscallExit) -> None:
        nonlocal most
        mm = machine.kernel.current.mm if machine.kernel.current is not None else None
        before = 0 if mm is None else mm.ahead
        assert look(machine.kernel) == []
        if mm is not None:
            assert mm.ahead == before
            most = max(most, before)

    machine.events.listen("syscall_exit", on_call)
    assert machine.run([str(compile(TOUCHES))]).exit == 0
    assert most > 100


def test_steps_look_while_programs_run(machine_clean: Callable[..., Machine]) -> None:
    machine = machine_clean(deterministic=True, devices=["scullp"])
    steps = Steps(machine)
    assert machine.run(["sh", "-c", "ls / > /dev/scullp0; cat /dev/scullp0 | wc -l; (exit 3)"]).exit == 3
    assert steps.looks > 200 and not steps.problems
    pfn = machine.kernel.mem.alloc_pages()
    machine.kernel.mem.count[pfn] = 7
    assert machine.run(["hello"]).exit == 0
    assert steps.problems and "count 7, 1 can be explained" in steps.problems[0] and "of process" in steps.problems[0]
    machine.kernel.mem.count[pfn] = 1
    machine.kernel.mem.put_page(pfn)
