"""The checker of whole machines sees each kind of damage, and nothing where there is none (E2, E3)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from machine import Machine
from machine.hardware.ram import PAGE_SHIFT
from machine.kernel.kernel import Kernel
from machine.kernel.mm.invariants import check_machine
from machine.kernel.mm.space import PTE_PFN
from machine.kernel.mm.vma import VM_WRITE
from tests.steps import Steps


def _anonymous(kernel: Kernel) -> tuple[int, int, int]:
    """(address, entry, frame) of an anonymous page of the program that runs."""
    assert kernel.current is not None and kernel.current.mm is not None
    mm = kernel.current.mm
    for va, pte in mm.walk_present(0, mm.task_size):
        pfn = (pte & PTE_PFN) >> PAGE_SHIFT
        if kernel.mem.owner_of(pfn) == "anonymous":
            return va, pte, pfn
    raise AssertionError("no anonymous page")


def _mapcount(kernel: Kernel) -> Callable[[], None]:
    pfn = _anonymous(kernel)[2]
    kernel.mem.mapcount[pfn] += 1
    kernel.mem.count[pfn] += 1

    def back() -> None:
        kernel.mem.mapcount[pfn] -= 1
        kernel.mem.count[pfn] -= 1

    return back


def _count(kernel: Kernel) -> Callable[[], None]:
    pfn = _anonymous(kernel)[2]
    kernel.mem.count[pfn] += 1
    return lambda: kernel.mem.count.__setitem__(pfn, 1)


def _lost(kernel: Kernel) -> Callable[[], None]:
    zone = kernel.mem.zones[1]
    pfn = zone.take(0)
    assert pfn is not None
    return lambda: zone.put(pfn, 0)


def _unlisted(kernel: Kernel) -> Callable[[], None]:
    free = kernel.mem.zones[1].free
    order = max(n for n in range(11) if free[n])
    pfn, _ = free[order].popitem()
    return lambda: free[order].__setitem__(pfn, None)


def _beyond(kernel: Kernel) -> Callable[[], None]:
    assert kernel.current is not None and kernel.current.mm is not None
    mm = kernel.current.mm
    vma = mm.vma_at(_anonymous(kernel)[0])
    assert vma is not None
    mm.areas.remove(vma)
    mm.mmap_cache = None
    return lambda: mm.areas.insert(vma)


def _read_only(kernel: Kernel) -> Callable[[], None]:
    assert kernel.current is not None and kernel.current.mm is not None
    vma = kernel.current.mm.vma_at(_anonymous(kernel)[0])
    assert vma is not None
    vma.vm_flags &= ~VM_WRITE
    return lambda: setattr(vma, "vm_flags", vma.vm_flags | VM_WRITE)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_mapcount, "mapcount 2, 1 entries map it"),
        (_count, "count 2, 1 can be explained"),
        (_lost, "frames have an owner"),
        (_unlisted, "free frames and lists"),
        (_beyond, "lies in no area"),
        (_read_only, "is writable, "),
    ],
)
def test_damage_is_seen(
    machine_clean: Callable[..., Machine], damage: Callable[[Kernel], Callable[[], None]], said: str
) -> None:
    """While a program runs, in the middle of its calls; put right again, the machine is clean."""
    machine = machine_clean(deterministic=True)
    kernel = machine.kernel
    seen: list[str] = []

    def on_call(call: object) -> None:
        if not seen:
            assert check_machine(kernel) == []
            back = damage(kernel)
            seen.extend(check_machine(kernel))
            back()
            assert check_machine(kernel) == []

    machine.events.listen("syscall_enter", on_call)
    assert machine.run(["hello"]).exit == 0
    assert any(said in text for text in seen), seen


def test_steps_look_while_programs_run(machine_clean: Callable[..., Machine]) -> None:
    machine = machine_clean(deterministic=True, devices=["scullp"])
    steps = Steps(machine, every=5, memory=1)
    assert machine.run(["sh", "-c", "ls / > /dev/scullp0; cat /dev/scullp0 | wc -l; (exit 3)"]).exit == 3
    assert steps.looks > 60 and not steps.problems
    pfn = machine.kernel.mem.alloc_pages()
    machine.kernel.mem.count[pfn] = 7
    assert machine.run(["hello"]).exit == 0
    assert steps.problems and "count 7, 1 can be explained" in steps.problems[0] and "of process" in steps.problems[0]
    machine.kernel.mem.count[pfn] = 1
    machine.kernel.mem.put_page(pfn)
