"""Random steps on windows to physical memory against a plain model of frames and counts (B3, B7, B9, C4).

`simplen` shows frames by `nopage`, `simpler` and /dev/mem by `remap_pfn_range`, `iomap` the memory of a card.  Of the
window's eight pages the first four are reserved, as a driver's own are, the others ordinary RAM.  What the model knows:

* by `nopage` each shows its bytes; `get_page` counts each first touch, unmapping gives back all but a reserved page's;
* by `remap_pfn_range` a reserved page shows its bytes and is not counted, an ordinary one reads as zeros, a page of
  memory for each mapping of it;
* a card's memory has no `struct page`, and shows its bytes; only shared, for a store to a private mapping of it kills
  the process (mm/memory.c of 2.6.10: do_wp_page, "bogus page").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from machine import Machine
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.mm.page import PG_reserved
from tests.conftest import build
from tests.drivers.test_model import ARENA, FORK, MAP, PREAD, READ, SIGSEGV, STORE, UNMAP, WRITE, Area, Model, Step
from tests.steps import Steps

SOURCE = Path(__file__).parent / "model.c"
WINDOW, RESERVED = 8, 4
FRAME_BUFFER = 0xE8000000


@dataclass
class Window(Model):
    """The window and the process."""

    kind: str = "simplen"
    got: dict[int, int] = field(default_factory=dict)
    """Reserved page -> the references that its faults took, which nobody gives back."""

    def shows_zeros(self, page: int) -> bool:
        return self.kind in ("simpler", "mem") and page >= RESERVED

    def touch(self, place: int, store: int | None) -> int:
        found = self.at(place)
        if found is None:
            return SIGSEGV
        area, page = found
        own = area.touched.get(place)
        if self.shows_zeros(page):  # anonymous memory: 1 + its byte
            if store is not None:
                area.touched[place] = 1 + store
            else:
                area.touched.setdefault(place, 1)
            return 0 if store is not None else 999 + area.touched[place]
        if own is None and self.kind == "simplen" and page < RESERVED:
            self.got[page] = self.got.get(page, 0) + 1
        if store is None:
            area.touched.setdefault(place, 0)
            return 1000 + (own - 1 if own else self.device[page])
        area.touched[place] = 1 + store if area.private else 0
        if not area.private:
            self.device[page] = store
        return 0

    def step(self, what: int, one: int, two: int, three: int) -> int:
        if what == FORK:
            child = Window(
                dict(self.device), [Area(a.first, a.count, a.page, a.private, dict(a.touched)) for a in self.areas],
                self.kind, self.got,
            )  # fmt: skip
            signal = child.touch(one, None)
            return 0 if signal >= 1000 else signal
        return super().step(what, one, two, three)

    def counts(self) -> dict[int, int]:
        found = {page: 1 + self.got.get(page, 0) for page in range(WINDOW)}
        if self.kind == "simplen":
            for area in self.areas:
                for place, own in area.touched.items():
                    page = area.page + place - area.first
                    if not own and page >= RESERVED:
                        found[page] += 1
        return found


place, page, byte = st.integers(0, ARENA - 1), st.integers(0, WINDOW - 1), st.integers(1, 255)
extent = st.tuples(place, st.integers(1, 5)).map(lambda each: (each[0], min(each[1], ARENA - each[0])))
common = (
    extent.map(lambda each: (UNMAP, *each, 0)),
    st.tuples(st.just(READ), place, st.just(0), st.just(0)),
    st.tuples(st.just(STORE), place, byte, st.just(0)),
    st.tuples(st.just(FORK), place, st.just(0), st.just(0)),
)
files = (
    st.tuples(st.just(WRITE), page, byte, st.just(0)),
    st.tuples(st.just(PREAD), page, st.just(0), st.just(0)),
)
DEVICES = {"simplen": "/dev/simplen", "simpler": "/dev/simpler", "mem": "/dev/mem", "iomap": "/dev/iomap0"}


class Bench:
    """A machine with a window, whose counts are read at every line that the program writes."""

    def __init__(self, machine: Machine, kind: str, target: str) -> None:
        self.machine, self.kind = machine, kind
        self.program = str(build(SOURCE, target=target))
        self.mem = machine.kernel.mem
        self.first = self.mem.alloc_pages(order=3, owner="kernel")
        for number in range(WINDOW):  # each a page of its own (split_page)
            self.mem.order[self.first + number] = 0
            self.mem.flags[self.first + number] |= PG_reserved if number < RESERVED else 0
        self.base = 0 if kind == "iomap" else self.first << PAGE_SHIFT
        self.seen: list[tuple[dict[int, int], int]] = []
        machine.events.listen("syscall_enter", self._on_call)

    def close(self) -> None:
        self._fresh()
        for each in range(self.first, self.first + WINDOW):
            self.mem.flags[each] &= ~PG_reserved
            self.mem.put_page(each)

    def _on_call(self, call: Any) -> None:
        if call.name == "write" and call.args[0] == 1:
            self.seen.append(self.state())

    def state(self) -> tuple[dict[int, int], int]:
        """(page of the window -> its count, areas)."""
        mm = self.machine.kernel.current.mm  # type: ignore[union-attr]
        assert mm is not None
        areas = sum(vma.name() == DEVICES[self.kind] for vma in mm.each_vma())
        return {number: self.mem.count[self.first + number] for number in range(WINDOW)}, areas

    def _fresh(self) -> dict[int, int]:
        """Count 1 and another byte for each page; the bytes."""
        device = {number: 10 + number for number in range(WINDOW)}
        for number, first in device.items():
            self.mem.count[self.first + number] = 1
            start = self.first + number << PAGE_SHIFT
            self.machine.kernel.ram.view[start : start + PAGE_SIZE] = bytes((first,)) * PAGE_SIZE
            if self.kind == "iomap":
                self.machine.kernel.bus.write(FRAME_BUFFER + number * PAGE_SIZE, 1, first)
        return device

    def check(self, given_steps: list[Step]) -> None:
        """Run the steps in both, and compare after each."""
        model = Window(self._fresh(), kind=self.kind)
        self.seen.clear()
        result = self.machine.run(
            [self.program, DEVICES[self.kind], str(self.base)], stdin=b"".join(map(bytes, given_steps)), timeout=600
        )
        assert result.exit == 0, result
        said = [int(line) for line in result.stdout.split()]
        for number, each in enumerate(given_steps):
            wanted = model.step(*each)
            assert (said[number], *self.seen[number]) == (wanted, model.counts(), len(model.areas)), (number, each)
        assert len(said) == len(given_steps)


@pytest.fixture(scope="module", params=[(kind, "x86_64") for kind in DEVICES] + [("simplen", "i386")], ids="-".join)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    kind, target = request.param
    iomap = f"iomap,iomap_base={FRAME_BUFFER:#x},iomap_size={WINDOW * PAGE_SIZE:#x}"
    with Machine(ram=32 << 20, devices=["simple", iomap], check_invariants=True, deterministic=True) as machine:
        bench = Bench(machine, kind, target)
        steps = Steps(machine)
        yield bench
        assert steps.looks > 500 and not steps.problems
        bench.close()
        assert not machine.check_clean()


def test_steps_as_the_model_says(bench: Bench) -> None:
    kinds = st.sampled_from((0,) if bench.kind == "iomap" else (0, 0, 128))
    mapping = st.builds(lambda e, p, k: (MAP, e[0], min(e[1], WINDOW - p), p | k), extent, page, kinds)
    given_steps = st.lists(
        st.one_of(mapping, *common, *(files if bench.kind in ("mem", "iomap") else ())), min_size=4, max_size=40
    )

    @settings(
        max_examples=20, deadline=None, derandomize=True, database=None, phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(given_steps)
    def run(steps: list[Step]) -> None:
        bench.check(steps)

    check: Callable[[], None] = run
    check()
