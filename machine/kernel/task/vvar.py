"""The page of data behind the vDSO: what the processor's counter means in time (arch/x86/entry/vdso/vma.c).

Every tick the kernel notes counter and clock; programs extrapolate from there (firmware/vdso.c has the layout).  The
rate that they use is a little low, and what is in the page never goes back: no program sees time run backwards.  The
system calls that say what time it is reckon in the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Optional

from machine.hardware.ram import PAGE_SHIFT

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

NSEC_PER_SEC = 1_000_000_000
_CALIBRATION_NS = 50_000_000
"""The counter is watched so long before it is trusted; from then on the rate is that of a second or more."""
_MARGINS = ((1_000_000_000, 10), (300_000_000, 25), (0, 100))
"""(nanoseconds watched, how many millionths the rate is taken too low)."""
_STEP_NS = 5_000
"""A difference between the host's two clocks that is a step, no error of reading them."""
_TRIES = 6
_NEAR_CYCLES = 2_500
"""Two readings of the counter that are closer had nobody between them: a microsecond or less."""
_LOST_NS = 1_000_000_000
"""So far ahead the vDSO can only be after the host slept: it goes back."""


class Vvar:
    """Keeps the page of one machine; its fields stay 0 on a virtual clock and where the counter is no clock."""

    def __init__(self, kernel: Kernel, pfn: int) -> None:
        self.kernel = kernel
        self.pfn = pfn
        """Its frame: reserved, so never counted."""
        self._first = pfn << PAGE_SHIFT >> 3
        self._read: Optional[Callable[[], int]] = None
        self._started = False
        self._from: tuple[int, int] = (0, 0)
        """(counter, nanoseconds) from which the rate is measured."""
        self._last: tuple[int, int] = (0, 0)
        """(counter, nanoseconds) of what is in the page."""
        self._new = True
        """The first measurement goes on: each one is better than the one before."""
        self._mult = 0
        self._offset = 0
        """Real time less monotonic time, nanoseconds."""
        self._width = 1 << 62
        """Nanoseconds that the reading took which `_offset` is of."""
        self._seq = 0
        self._page: tuple[int, int, int, int] = (0, 0, 0, 0)
        """What the page says: counter, nanoseconds then, rate, and what is added for real time."""

    def monotonic_ns(self) -> int:
        """CLOCK_MONOTONIC for a system call: what the vDSO would say now."""
        counter, ns, mult, _ = self._page
        if not mult or self._read is None:
            return self.kernel.clock.monotonic_ns()
        return ns + (max(0, self._read() - counter) * mult >> 32)

    def realtime_ns(self) -> int:
        """CLOCK_REALTIME for a system call."""
        return self.monotonic_ns() + self._page[3] if self._page[2] else self.kernel.clock.realtime_ns()

    def refresh(self) -> None:
        """A run begins: what the page says may be old."""
        if self._mult:
            self.tick()

    def tick(self) -> None:
        """Note the time.  Called from one thread at a time."""
        if not self._started:
            self._start()
        if self._read is None:
            return
        now, counter = self._sample()
        watched = now - self._from[1]
        if not self._mult:
            if watched < _CALIBRATION_NS:
                return
            self._last = (counter, now)
        else:
            ahead = self._last[1] + ((counter - self._last[0]) * self._mult >> 32)
            self._last = (counter, ahead if now < ahead < now + _LOST_NS else now)
        self._measure(now, counter, watched)
        self._compare_clocks()
        self._write()

    def _sample(self) -> tuple[int, int]:
        """(nanoseconds, counter) of one moment; of several tries that in which least time went by."""
        read, clock = self._read, self.kernel.clock
        assert read is not None
        nearest, now, counter = 1 << 62, 0, 0
        for _ in range(_TRIES):
            before, moment, after = read(), clock.monotonic_ns(), read()
            if after - before < nearest:
                nearest, now, counter = after - before, moment, (before + after) >> 1
            if nearest < _NEAR_CYCLES:
                break
        return now, counter

    def _compare_clocks(self) -> None:
        """The host's real time may be set.  A reading in which we were interrupted is taken only where there is none
        that is better, as at first on a slow host: without an offset it would be 1970."""
        width, offset = self._read_clocks()
        if width < _STEP_NS <= abs(offset - self._offset) or (width < self._width and self._width >= _STEP_NS):
            self._width, self._offset = width, offset

    def _read_clocks(self) -> tuple[int, int]:
        """(nanoseconds that it took, real time less monotonic time), of several tries the shortest."""
        clock, best = self.kernel.clock, (1 << 62, 0)
        for _ in range(_TRIES):
            before, real, after = clock.monotonic_ns(), clock.realtime_ns(), clock.monotonic_ns()
            best = min(best, (after - before, real - before))
            if best[0] < _STEP_NS:
                break
        return best

    def _start(self) -> None:
        from machine.hardware.tsc import tsc_reader

        self._started = True
        if not self.kernel.clock.virtual:
            self._read = tsc_reader()
        if self._read is not None:
            now, counter = self._sample()
            self._from = (counter, now)

    def _measure(self, now: int, counter: int, watched: int) -> None:
        """Nanoseconds a cycle since `_from`; below 1 GHz the number would not fit."""
        cycles = counter - self._from[0]
        if cycles <= 0 or watched <= 0:
            self._from = (counter, now)
            return
        if watched > 2 * NSEC_PER_SEC or self._new:
            margin = next(parts for least, parts in _MARGINS if watched >= least)
            if self._last[1] > now:  # ahead: the host's clock runs slower by now
                margin += 1000
            mult = watched * (1_000_000 - margin) * (1 << 32) // (cycles * 1_000_000)
            if mult >= 1 << 32:
                self._read = None
                mult = 0
            self._mult = mult
        if watched > 4 * NSEC_PER_SEC:
            self._from, self._new = (counter, now), False

    def _write(self) -> None:
        """The sequence number is odd while the rest is not to be used."""
        words, first = self.kernel.ram.words, self._first
        counter, mono = self._last
        self._seq = self._seq + 2 & 0xFFFF_FFFE
        words[first] = self._mult << 32 | self._seq | 1
        self._page = (counter, mono, self._mult, self._offset)
        words[first + 1] = counter
        words[first + 2], words[first + 3] = divmod(mono, NSEC_PER_SEC)
        words[first + 4], words[first + 5] = divmod(mono + self._offset, NSEC_PER_SEC)
        words[first] = self._mult << 32 | self._seq
