"""Pending callbacks in the order of their times (lib/timerqueue.c)."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from machine.kernel.clock import Clock


class Timer:
    """One pending callback; None once it was called or cancelled."""

    __slots__ = ("callback", "when")

    def __init__(self, when: int, callback: Optional[Callable[[], None]]) -> None:
        self.when = when
        self.callback = callback

    def cancel(self) -> None:
        """Forget it; one that has fired already is left alone."""
        self.callback = None


class TimerQueue:
    """Timers on the monotonic clock, in nanoseconds; those of one instant fire in the order they were added."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[int, int, Timer]] = []
        self._sequence = 0

    def add(self, when: int, callback: Callable[[], None]) -> Timer:
        """Have `callback` called at `when` or soon after."""
        timer = Timer(when, callback)
        self._sequence += 1
        heapq.heappush(self._heap, (when, self._sequence, timer))
        return timer

    def next_event(self) -> Optional[int]:
        """When the first timer that was not cancelled is due; None when there is none."""
        heap = self._heap
        while heap and heap[0][2].callback is None:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def due(self) -> bool:
        """Whether `run` has something to do.  From any thread."""
        first = self._heap[:1]  # in one step: the hub may take the last one meanwhile
        return bool(first) and first[0][0] <= self._clock.monotonic_ns()

    def run(self) -> None:
        """Call what is due now.  What becomes due meanwhile waits for the next run: a period that is shorter than its
        callback takes must leave something to everybody else."""
        now = self._clock.monotonic_ns()
        while self._heap and self._heap[0][0] <= now:
            timer = heapq.heappop(self._heap)[2]
            callback, timer.callback = timer.callback, None
            if callback is not None:
                callback()
