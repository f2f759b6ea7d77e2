"""The stream of events is complete: what it tells, replayed, is what the kernel has (MECHANISMS F1, F2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from machine.events import KINDS, RECORDS, Event
from machine.hardware.paging import A, D
from machine.kernel.mm.watched import WatchedCounts, WatchedWords

Run = Callable[..., Any]

BODY = """
    int fd = must_open("/dev/scullp0", O_RDWR), status;
    fill(fd, 0, 'a', 3 * PAGE);
    char *p = map(fd, 0, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
    EQUAL("first byte", p[0], 'a');
    p[PAGE] = 'b';
    char *q = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(q, 1, 8 * PAGE);
    EQUAL("split", mprotect(q + 2 * PAGE, 2 * PAGE, PROT_READ), 0);
    getppid();
    EQUAL("merge", mprotect(q + 2 * PAGE, 2 * PAGE, PROT_READ | PROT_WRITE), 0);
    EQUAL("hole", munmap(q + 4 * PAGE, PAGE), 0);
    char *r = mremap(q, 4 * PAGE, 16 * PAGE, MREMAP_MAYMOVE);
    CHECK("moved", r != MAP_FAILED);
    r[15 * PAGE] = 1;
    r = mremap(r, 16 * PAGE, 6 * PAGE, 0);
    getppid();
    if (!fork()) {
        r[0] = 2;
        p[2 * PAGE] = 'c';
        getppid();
        _exit(3);
    }
    wait(&status);
    EQUAL("child", status, 3 << 8);
    EQUAL("own copy", r[0], 1);
    r[0] = 4;
    EQUAL("released", munmap(p + PAGE, PAGE), 0);
    getppid();
"""


class Replay:
    """What the events say of address spaces, tables and counts, compared with the kernel at each `getppid`."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.events: list[tuple[str, Event]] = []
        self.areas: dict[int, dict[int, tuple[int, int, int]]] = {}
        self.entries: dict[int, dict[int, int]] = {}
        self.counts: dict[int, int] = {}
        self.compared = 0
        for kind in KINDS:
            machine.events.listen(kind, lambda event, kind=kind: self.hear(kind, event))

    def hear(self, kind: str, event: Any) -> None:
        self.events.append((kind, event))
        handler = getattr(self, "on_" + kind, None)
        if handler is not None:
            handler(event)

    def on_vma(self, e: Any) -> None:
        areas = self.areas.setdefault(e.mm, {})
        this = e.vm_end, e.vm_flags, e.pgoff
        if e.what == "close":
            assert areas.pop(e.vm_start)[0] == e.vm_end
        elif e.what == "open":
            areas[e.vm_start] = this
        elif e.what == "split":
            end, flags, pgoff = areas.pop(e.old_start)
            assert end == e.old_end and flags == e.vm_flags
            areas[e.vm_start] = this
            if e.vm_start == e.old_start:
                areas[e.vm_end] = end, flags, e.pgoff + (e.vm_end - e.vm_start) // 4096
            else:
                areas[e.old_start] = e.vm_start, flags, pgoff
        elif e.what == "merge":
            assert areas[e.old_start][0] == e.old_end
            for start in [start for start in areas if e.vm_start <= start < e.vm_end]:
                del areas[start]
            areas[e.vm_start] = this
        else:
            assert e.what == "change" and areas.pop(e.old_start)[0] == e.old_end
            areas[e.vm_start] = this

    def on_entry(self, e: Any) -> None:
        table = self.entries.setdefault(e.mm, {})
        assert table.get(e.address, 0) & ~(A | D) == e.old & ~(A | D) or e.mm == 0
        table[e.address] = e.new

    def on_count(self, e: Any) -> None:
        assert self.counts.get(e.pfn, e.old) == e.old
        self.counts[e.pfn] = e.new

    def on_syscall_enter(self, e: Any) -> None:
        if e.name == "getppid":
            self.compare(e.task.mm)

    def compare(self, mm: Any) -> None:
        self.compared += 1
        areas = {v.vm_start: (v.vm_end, v.vm_flags, v.vm_pgoff) for v in mm.areas}
        assert self.areas[mm.number] == areas
        told = {address: entry & ~(A | D) for address, entry in self.entries[mm.number].items() if entry}
        there = {address: entry & ~(A | D) for address, entry in mm.walk_present(0, mm.task_size)}
        assert told == there
        assert all(self.machine.kernel.mem.count[pfn] == count for pfn, count in self.counts.items())

    def of(self, kind: str) -> list[Any]:
        return [event for which, event in self.events if which == kind]


@pytest.fixture
def replay(m: Machine) -> Replay:
    m.load("scullp")
    return Replay(m)


def test_what_is_told_is_what_is_there(m: Machine, replay: Replay, run_c: Run) -> None:
    """# F1 F2"""
    run_c(m, BODY)
    assert replay.compared == 4
    assert [event.seq for _, event in replay.events] == list(range(1, len(replay.events) + 1))
    assert all(one[1].host_ns <= two[1].host_ns for one, two in zip(replay.events, replay.events[1:], strict=False))
    silent = {"register", "interrupt", "printk", "report", "oops", "signal"}
    assert {kind for kind, _ in replay.events} >= set(KINDS) - silent
    assert all(type(event) is RECORDS[kind] for kind, event in replay.events)
    assert {e.what for e in replay.of("vma")} == {"open", "close", "split", "merge", "change"}
    pids = {e.pid for e in replay.of("task")}
    assert len(pids) == 2 and {e.pid for e in replay.of("switch")} >= pids
    assert all(e.comm and e.rip for kind, e in replay.events if kind in ("vma", "driver_enter") and e.pid in pids)
    balance: dict[int, int] = {}
    for e in replay.of("page"):
        balance[e.pfn] = balance.get(e.pfn, 0) + (1 if e.what == "alloc" else -1)
        assert balance[e.pfn] in (-1, 0, 1)
    assert not any(areas for areas in replay.areas.values()), "every area that was opened is closed"


def test_a_fault_from_its_coming_to_its_entry(m: Machine, replay: Replay, run_c: Run) -> None:
    """fault_enter, the driver's nopage with its count, the entry, the fault: in this order.  # F1 B9"""
    run_c(m, BODY)
    fault = next(f for f in replay.of("fault") if f.answer == "scullp.nopage")
    begin = next(i for i, (_, e) in enumerate(replay.events) if getattr(e, "number", 0) == fault.number)
    end = next(i for i, (_, e) in enumerate(replay.events) if e is fault)
    inside = replay.events[begin : end + 1]
    kinds = [kind for kind, _ in inside if kind not in ("page", "tlb", "switch")]
    assert kinds == ["fault_enter", "driver_enter", "count", "driver_call", "entry", "fault"]
    first, entered, count, called, entry = (e for kind, e in inside if kind in kinds[:5])
    assert (first.address, first.rip, first.pid) == (fault.address, fault.rip, fault.pid)
    assert (entered.driver, entered.operation) == (called.driver, called.operation) == ("scullp", "nopage")
    assert called.enter == entered.seq and "scullp.py:" in entered.where and fault.driver == "scullp"
    assert (count.pfn, count.old, count.new) == (fault.pfn, fault.count_before, fault.count_after)
    where, written = fault.walk_after[-1]
    assert (entry.where, entry.new & ~(A | D), entry.address) == (where, written & ~(A | D), fault.address & -4096)
    assert first.time_ns == fault.time_ns <= entered.time_ns <= called.time_ns <= fault.end_ns


def test_with_the_last_listener_gone_nothing_is_in_the_way(m: Machine) -> None:
    listeners = {kind: (lambda _event: None) for kind in KINDS}
    for kind, listener in listeners.items():
        m.events.listen(kind, listener)
    kernel: Any = m.kernel
    assert type(kernel.ram.words) is WatchedWords and type(kernel.mem.count) is WatchedCounts
    for kind, listener in listeners.items():
        m.events.unlisten(kind, listener)
    assert type(kernel.ram.words) is type(kernel.mem.count) is memoryview
    assert not {"alloc_pages", "alloc_zeroed", "_free"} & set(vars(kernel.mem))
    assert "_flush_now" not in vars(kernel.cpu)
    assert all(getattr(m.events, kind) is None for kind in KINDS)
