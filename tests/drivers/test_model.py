"""Random steps on scullp and scullv against a plain model of frames and counts (B7, B9, C4, C5).

The model is a dozen lines: the device's pages, and for each page of the process what is mapped there and whether it was
touched.  After every step it says what the program sees, the count of each page, and how many areas there are.
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
from tests.conftest import build
from tests.steps import Steps

SOURCE = Path(__file__).parent / "model.c"
ARENA, DEVICE = 12, 6
SIGSEGV, SIGBUS = 11, 7
WRITE, MAP, UNMAP, READ, STORE, FORK, PREAD = range(7)
Step = tuple[int, int, int, int]


@dataclass
class Area:
    """What one mmap made, or a split left."""

    first: int
    count: int
    page: int
    private: bool
    touched: dict[int, int] = field(default_factory=dict)
    """Arena page -> 0 while it shows the device's page, else 1 + the byte of the private copy."""


@dataclass
class Model:
    """Device and process."""

    device: dict[int, int] = field(default_factory=dict)
    """Page -> its first byte."""
    areas: list[Area] = field(default_factory=list)

    def at(self, place: int) -> tuple[Area, int] | None:
        for area in self.areas:
            if area.first <= place < area.first + area.count:
                return area, area.page + place - area.first
        return None

    def unmap(self, first: int, count: int) -> None:
        left = []
        for area in self.areas:
            for start, end in (
                (area.first, min(area.first + area.count, first)),
                (max(area.first, first + count), area.first + area.count),
            ):
                if start < end:
                    kept = {place: byte for place, byte in area.touched.items() if start <= place < end}
                    left.append(Area(start, end - start, area.page + start - area.first, area.private, kept))
        self.areas = left

    def touch(self, place: int, store: int | None) -> int:
        """The signal, or 0 for a store, or 1000 + the byte that is read."""
        found = self.at(place)
        if found is None:
            return SIGSEGV
        area, page = found
        copied = area.touched.get(place, 0)
        if not copied and page not in self.device:
            return SIGBUS
        if store is None:
            area.touched.setdefault(place, 0)
            return 1000 + (copied - 1 if copied else self.device[page])
        area.touched[place] = 1 + store if area.private else 0
        if not area.private:
            self.device[page] = store
        return 0

    def step(self, what: int, one: int, two: int, three: int) -> int:
        if what == WRITE:
            self.device[one] = two
            return 1
        if what == MAP:
            self.unmap(one, two)
            self.areas.append(Area(one, two, three & 127, bool(three & 128)))
        if what == UNMAP:
            self.unmap(one, two)
        if what in (READ, STORE):
            return self.touch(one, None if what == READ else two)
        if what == FORK:
            answer = Model(
                dict(self.device), [Area(a.first, a.count, a.page, a.private, dict(a.touched)) for a in self.areas]
            )
            signal = answer.touch(one, None)
            return 0 if signal >= 1000 else signal
        if what == PREAD:
            return self.device.get(one, -1)
        return 0

    def counts(self) -> dict[int, int]:
        """References of each page of the device: its own, and one for each entry that shows it."""
        found = dict.fromkeys(self.device, 1)
        for area in self.areas:
            for place, copied in area.touched.items():
                if not copied:
                    found[area.page + place - area.first] += 1
        return found


place, page, byte = st.integers(0, ARENA - 1), st.integers(0, DEVICE - 1), st.integers(1, 255)
extent = st.tuples(place, st.integers(1, 5)).map(lambda each: (each[0], min(each[1], ARENA - each[0])))
steps = st.lists(
    st.one_of(
        st.tuples(st.just(WRITE), page, byte, st.just(0)),
        st.builds(lambda e, p, k: (MAP, *e, p | k), extent, page, st.sampled_from((0, 0, 128))),
        extent.map(lambda each: (UNMAP, *each, 0)),
        st.tuples(st.just(READ), place, st.just(0), st.just(0)),
        st.tuples(st.just(STORE), place, byte, st.just(0)),
        st.tuples(st.sampled_from((FORK, PREAD)), page, st.just(0), st.just(0)),
    ),
    min_size=4,
    max_size=40,
)


class Bench:
    """A machine with a driver, whose state is read at every line that the program writes."""

    def __init__(self, machine: Machine, driver: str) -> None:
        self.machine, self.driver = machine, driver
        self.program = str(build(SOURCE))
        self.seen: list[tuple[dict[int, int], int]] = []
        machine.events.listen("syscall_enter", self._on_call)

    def _on_call(self, call: Any) -> None:
        if call.name == "write" and call.args[0] == 1:
            self.seen.append(self.state())

    def _module(self) -> Any:
        return self.machine.kernel.modules[self.driver].namespace

    def state(self) -> tuple[dict[int, int], int]:
        """(page of the device -> its count, areas)."""
        module, kernel = self._module(), self.machine.kernel
        device = module[f"{self.driver}_devices"][0]
        counts = {}
        for number in range(DEVICE + ARENA):
            address = module[f"{self.driver}_find"](device, number)
            if address:
                counts[number] = kernel.mem.count[
                    module["virt_to_page" if self.driver == "scullp" else "vmalloc_to_page"](address).pfn
                ]
        return counts, device.vmas

    def check(self, given_steps: list[Step]) -> None:
        """Run the steps in both, and compare after each."""
        assert not self.machine.unload(self.driver)
        self.machine.load(f"{self.driver},{self.driver}_order=0")
        self.seen.clear()
        result = self.machine.run(
            [self.program, f"/dev/{self.driver}0"], stdin=b"".join(map(bytes, given_steps)), timeout=60
        )
        assert result.exit == 0, result
        said = [int(line) for line in result.stdout.split()]
        model = Model()
        for number, each in enumerate(given_steps):
            wanted = model.step(*each)
            assert (said[number], *self.seen[number]) == (wanted, model.counts(), len(model.areas)), (number, each)
        assert len(said) == len(given_steps)


@pytest.fixture(scope="module", params=["scullp", "scullv"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with Machine(ram=32 << 20, devices=[request.param], check_invariants=True, deterministic=True) as machine:
        looked = Steps(machine)
        yield Bench(machine, request.param)
        assert looked.looks > 500 and not looked.problems
        assert not machine.check_clean()


def test_steps_as_the_model_says(bench: Bench) -> None:
    @settings(
        max_examples=30,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(steps)
    def run(given_steps: list[Step]) -> None:
        bench.check(given_steps)

    check: Callable[[], None] = run
    check()
