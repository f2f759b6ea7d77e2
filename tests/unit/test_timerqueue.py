"""Pending callbacks fire once, in the order of their times, and not when they were cancelled."""

from __future__ import annotations

from functools import partial

from machine.kernel.clock import VirtualClock
from machine.kernel.task.timerqueue import TimerQueue


def test_order_and_cancelling() -> None:
    clock = VirtualClock()
    queue, fired = TimerQueue(clock), list[str]()
    now = clock.monotonic_ns()
    for name, delay in (("late", 30), ("first", 10), ("second", 10), ("cancelled", 5)):
        timer = queue.add(now + delay, partial(fired.append, name))
    assert not queue.due()
    timer.cancel()
    assert queue.next_event() == now + 10
    clock.jump(now + 10)
    assert queue.due()
    queue.run()
    assert fired == ["first", "second"]
    assert queue.next_event() == now + 30
    clock.jump(now + 30)
    queue.run()
    assert fired == ["first", "second", "late"]
    assert queue.next_event() is None and not queue.due()


def test_a_callback_may_add_a_timer() -> None:
    clock = VirtualClock()
    queue, fired = TimerQueue(clock), list[int]()
    now = clock.monotonic_ns()

    def again() -> None:
        fired.append(1)
        queue.add(now, lambda: fired.append(2))

    queue.add(now, again)
    queue.run()
    assert fired == [1, 2]


class Passing:
    """A clock on which each look takes a microsecond."""

    def __init__(self) -> None:
        self.now = 0

    def monotonic_ns(self) -> int:
        self.now += 1000
        return self.now


def test_a_period_that_is_too_short() -> None:
    """What is due again before its callback has ended leaves the machine something."""
    clock = Passing()
    queue, fired = TimerQueue(clock), list[int]()  # type: ignore[arg-type]

    def again() -> None:
        now = clock.monotonic_ns()
        fired.append(now)
        assert len(fired) < 100
        queue.add(now + 10, again)

    queue.add(0, again)
    queue.run()
    assert len(fired) == 1 and queue.due()
    queue.run()
    assert len(fired) == 2
