"""The page behind the vDSO follows the host's clock and never goes back, whatever clock and counter do."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest

from firmware.build_vdso import source_hash
from machine.kernel.task.vdso_code import SOURCE
from machine.kernel.task.vvar import Vvar

NSEC = 1_000_000_000


class World:
    """A host: `at` is true time, the counter runs at `hertz`, the clock may be slewed and set."""

    def __init__(self, hertz: int = 2_600_000_000) -> None:
        self.at = 0
        self.reading_ns = 150
        self.hertz = hertz
        self.slew = 0.0
        self.clock_ns = 5 * NSEC
        self.real_ns = 1_700_000_000 * NSEC
        self.virtual = False
        self.words = [0] * 6
        kernel: Any = SimpleNamespace(clock=self, ram=SimpleNamespace(words=self.words))
        self.vvar = Vvar(kernel, 0)
        self.vvar._read = self.counter
        self.vvar._started = True
        self.vvar._from = (self.counter(), self.monotonic_ns())

    def move(self, ns: int) -> None:
        self.at += ns
        moved = round(ns * (1 + self.slew))
        self.clock_ns += moved
        self.real_ns += moved

    def counter(self) -> int:
        return self.at * self.hertz // NSEC

    def monotonic_ns(self) -> int:
        self.move(self.reading_ns)  # reading takes time
        return self.clock_ns

    def realtime_ns(self) -> int:
        self.move(self.reading_ns)
        return self.real_ns

    def page(self, first: int = 2) -> int:
        """What a program reckons from the page: monotonic time, real time with `first` 4."""
        assert not self.words[0] & 1
        mult = self.words[0] >> 32
        return self.words[first] * NSEC + self.words[first + 1] + ((self.counter() - self.words[1]) * mult >> 32)


def run(world: World, ticks: int, seed: int = 1) -> int:
    """Ticks at uneven times; the largest difference from the clock, ns, after the first second."""
    chance, last, worst = random.Random(seed), 0, 0
    for number in range(ticks):
        world.vvar.tick()
        for _ in range(3):
            world.move(chance.choice((10_000, 3_000_000, 9_000_000)))
            if not world.words[0]:
                continue
            now = world.page()
            assert now >= last
            assert abs(world.vvar.monotonic_ns() - now) < 500  # the system call's answer
            last = now
            if number > 100:
                worst = max(worst, abs(now - world.clock_ns))
    return worst


@pytest.mark.parametrize("reading_ns", [150, 3000, 40_000, 2_000_000])
def test_real_time_from_the_first_page_on(reading_ns: int) -> None:
    """However slow the host is: about right at once, and right as soon as it is quicker.  Never 1970."""
    world = World()
    world.reading_ns = reading_ns
    while not world.words[0]:
        world.vvar.tick()
        world.move(10_000_000)
    assert abs(world.page(4) - world.real_ns) < 10_000_000 + 20 * reading_ns
    world.reading_ns = 150
    world.vvar.tick()
    assert abs(world.page(4) - world.page() - (world.real_ns - world.clock_ns)) <= 5_000


def test_it_follows() -> None:
    assert run(World(), 2000) < 3000


@pytest.mark.parametrize("slew", [500e-6, -500e-6])
def test_it_follows_a_clock_that_is_slewed(slew: float) -> None:
    world = World()
    run(world, 500)
    world.slew = slew
    run(world, 1000)
    assert run(world, 300) < 25_000


def test_a_host_that_slept() -> None:
    """The counter went on for an hour, the clock did not: time goes on from the clock's."""
    world = World()
    run(world, 300)
    world.at += 3600 * NSEC
    world.vvar.tick()
    assert abs(world.page() - world.clock_ns) < 5_000


def test_real_time_is_set() -> None:
    world = World()
    run(world, 300)
    world.real_ns += 86400 * NSEC
    world.vvar.tick()
    assert abs(world.page(4) - world.real_ns) < 5_000


def test_a_slow_counter_is_not_used() -> None:
    world = World(hertz=400_000_000)
    for _ in range(100):
        world.vvar.tick()
        world.move(10_000_000)
    assert world.words[0] >> 32 == 0


def test_the_code_is_that_of_the_source() -> None:
    assert source_hash() == SOURCE, "run python -m firmware.build_vdso"
