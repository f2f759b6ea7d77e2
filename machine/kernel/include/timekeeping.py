"""What time it is (linux/time.h, linux/ktime.h; LDD3 §7.1, §7.2).

`ktime_t` is what it is in Linux since 4.10: a number of nanoseconds.
"""

from __future__ import annotations

from machine.kernel.current import current_kernel
from machine.kernel.include.structs import s64, struct


class timeval(struct):
    """``struct timeval`` as an x86-64 program has it: 16 bytes."""

    tv_sec = s64()
    tv_usec = s64()


class timespec(struct):
    """``struct timespec`` as an x86-64 program has it: 16 bytes.  Also timespec64."""

    tv_sec = s64()
    tv_nsec = s64()


def _now() -> int:
    clock = current_kernel().clock
    clock.advance()  # a loop that waits for a time comes to its end on the virtual clock too
    return clock.monotonic_ns()


def do_gettimeofday(tv: timeval) -> None:
    """Store the time of day: seconds since 1970 and microseconds (up to Linux 4.20)."""
    tv.tv_sec, nanoseconds = divmod(ktime_get_real_ns(), 1_000_000_000)
    tv.tv_usec = nanoseconds // 1000


def getnstimeofday(ts: timespec) -> None:
    """Store the time of day: seconds since 1970 and nanoseconds (today: ktime_get_real_ts64)."""
    ts.tv_sec, ts.tv_nsec = divmod(ktime_get_real_ns(), 1_000_000_000)


ktime_get_real_ts64 = getnstimeofday


def ktime_get() -> int:
    """Nanoseconds since boot, CLOCK_MONOTONIC."""
    return _now()


def ktime_get_ns() -> int:
    """Nanoseconds since boot, CLOCK_MONOTONIC."""
    return _now()


def ktime_get_real() -> int:
    """Nanoseconds since 1970, CLOCK_REALTIME."""
    return ktime_get_real_ns()


def ktime_get_real_ns() -> int:
    """Nanoseconds since 1970, CLOCK_REALTIME."""
    _now()
    return current_kernel().clock.realtime_ns()


def ktime_get_real_seconds() -> int:
    """Seconds since 1970 (get_seconds of older kernels)."""
    return ktime_get_real_ns() // 1_000_000_000


get_seconds = ktime_get_real_seconds


def ktime_to_ns(kt: int) -> int:
    """Nanoseconds of a ktime_t: itself."""
    return kt


def ktime_to_us(kt: int) -> int:
    """Whole microseconds of a ktime_t."""
    return kt // 1000


def ktime_to_ms(kt: int) -> int:
    """Whole milliseconds of a ktime_t."""
    return kt // 1_000_000


def ktime_sub(later: int, earlier: int) -> int:
    """`later` - `earlier`, nanoseconds."""
    return later - earlier


def ktime_us_delta(later: int, earlier: int) -> int:
    """Whole microseconds from `earlier` to `later`."""
    return (later - earlier) // 1000


__all__ = [
    "do_gettimeofday", "get_seconds", "getnstimeofday", "ktime_get", "ktime_get_ns", "ktime_get_real",
    "ktime_get_real_ns", "ktime_get_real_seconds", "ktime_get_real_ts64", "ktime_sub", "ktime_to_ms", "ktime_to_ns",
    "ktime_to_us", "ktime_us_delta", "timespec", "timeval",
]  # fmt: skip
