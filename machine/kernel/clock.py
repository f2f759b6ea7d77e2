"""The machine's two clocks: the host's, or a virtual one that repeats exactly."""

from __future__ import annotations

import time

ENTRY_NS = 1_000
"""What one kernel entry costs on the virtual clock."""
TICK_NS = 1_000_000
"""What `BLOCK_BUDGET` blocks (hardware/stop.py) of user code cost on it."""
DETERMINISTIC_EPOCH = 1_100_000_000_000_000_000
"""Virtual time zero: 2004-11-09, the autumn of Linux 2.6.10 (nanoseconds since 1970)."""


class Clock:
    """Real time, from the start of the machine."""

    virtual = False
    ticks = 0
    """Budgets of blocks that a repeatable processor has run."""

    def __init__(self) -> None:
        self._start = time.monotonic_ns()
        self.boot_realtime_ns = time.time_ns()

    def monotonic_ns(self) -> int:
        """Nanoseconds since the machine started (CLOCK_MONOTONIC, CLOCK_BOOTTIME)."""
        return time.monotonic_ns() - self._start

    def realtime_ns(self) -> int:
        """Nanoseconds since 1970 (CLOCK_REALTIME)."""
        return time.time_ns()

    def advance(self) -> None:
        """A kernel entry: nothing to do in real time."""

    def tick(self) -> None:
        """A repeatable processor has run its budget of blocks: nothing to do in real time."""

    def delay(self, ns: int) -> None:
        """The kernel waits `ns` nanoseconds without giving the processor away."""
        time.sleep(ns / 1e9)

    def jump(self, when: int) -> bool:
        """Everybody sleeps until `when`: False, real time can't jump."""
        return False


class VirtualClock(Clock):
    """Moves at kernel entries and jumps when every task sleeps."""

    virtual = True

    def __init__(self) -> None:
        self._now = self.ticks = 0
        self.boot_realtime_ns = DETERMINISTIC_EPOCH

    def monotonic_ns(self) -> int:
        return self._now

    def realtime_ns(self) -> int:
        return DETERMINISTIC_EPOCH + self._now

    def advance(self) -> None:
        self._now += ENTRY_NS

    def tick(self) -> None:
        self._now += TICK_NS
        self.ticks += 1

    def delay(self, ns: int) -> None:
        self._now += ns

    def jump(self, when: int) -> bool:
        self._now = max(self._now, when)
        return True
