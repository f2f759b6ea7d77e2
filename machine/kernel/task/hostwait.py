"""Where the machine waits while every task sleeps: the host's descriptors, and a pipe that ends the wait."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from typing import TYPE_CHECKING, Optional

from machine.kernel.abi.errno import EAGAIN, EBADF
from machine.kernel.task.wait import WaitQueue

if TYPE_CHECKING:
    from machine.kernel.task.sched import Scheduler

_PAUSE = 0.01
NO_SIGNAL = b"\0"
"""In the pipe, where `signal.set_wakeup_fd` writes the number of each signal."""


class HostWait:
    """Wait queues of the host's descriptors, woken while these are ready."""

    def __init__(self, sched: Scheduler) -> None:
        self._sched = sched
        self._queues: dict[int, tuple[WaitQueue, WaitQueue]] = {}
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.due = False
        """A descriptor is ready that somebody waits for, or may be: `look` while others run."""
        self._before: list[int] = []
        """What `signal.set_wakeup_fd` had before each run: first that of a program which embeds us (an event loop)."""

    def queue(self, fd: int, write: bool = False) -> WaitQueue:
        """The queue that is woken while `fd` is ready to be read (or written)."""
        queues = self._queues.get(fd)
        if queues is None:
            queues = self._queues[fd] = (WaitQueue(self._sched), WaitQueue(self._sched))
        return queues[write]

    def waited_for(self) -> tuple[list[int], list[int]]:
        """Descriptors that somebody wants to read, and to write."""
        queues = list(self._queues.items())  # at once: the ticker's thread asks, too
        reading = [fd for fd, (r, _) in queues if r.sleepers]
        writing = [fd for fd, (_, w) in queues if w.sleepers]
        return reading, writing

    def is_due(self) -> bool:
        """Whether one of them is ready, and so `due`.  From any thread."""
        reading, writing = self.waited_for()
        if reading or writing:
            try:
                self.due = any(select.select(reading, writing, [], 0))
            except (OSError, ValueError):
                self.due = True
        return self.due

    def look(self) -> None:
        """Wake who waits for a descriptor that is ready."""
        self.due = False
        reading, writing = self.waited_for()
        if reading or writing:
            self.wait(reading, writing, 0)

    def hold(self, fd: int, pause: bool) -> None:
        """Wait until `fd` can be written (`pause`: 10 ms), or `interrupt`; nobody runs meanwhile."""
        self.queue(fd, True)
        self.wait([], [] if pause else [fd], _PAUSE if pause else None)

    def expects(self) -> bool:
        """Whether a timer, a descriptor or an interrupt can come."""
        sched = self._sched
        return sched.timers.next_event() is not None or any(self.waited_for()) or sched.kernel.expects_interrupts()

    def idle(self) -> bool:
        """No task can run: wait for a timer, a descriptor or an interrupt; False if none can come."""
        if not self.expects():
            return False
        sched = self._sched
        clock = sched.kernel.clock
        when = sched.timers.next_event()
        reading, writing = self.waited_for()
        if sched.has_actions() or sched.until():
            return True
        if when is not None and not reading and not writing and clock.jump(when):
            return True
        self.wait(reading, writing, None if when is None else max(0, when - clock.monotonic_ns()) / 1e9)
        return True

    def interrupt(self) -> None:
        """End a `wait`, or the next one.  From any thread, or a signal handler."""
        try:
            os.write(self._wake_write, NO_SIGNAL)
        except OSError as error:  # full (many interrupts, one end), or closed: a timer's thread was late
            if error.errno not in (EAGAIN, EBADF):
                raise

    def wait(self, reading: list[int], writing: list[int], timeout: Optional[float]) -> None:
        """Wait until one of them is ready, `timeout` seconds are over, or `interrupt`; wake who waits for it."""
        try:
            ready, writable = self._sched.kernel.host(self._select, reading, writing, timeout)
        except (OSError, ValueError):  # a descriptor was closed under us: its readers find out
            ready, writable = reading, writing
        for fd in ready:
            self._queues[fd][0].wake()
        for fd in writable:
            self._queues[fd][1].wake()

    def _select(self, reading: list[int], writing: list[int], timeout: Optional[float]) -> tuple[list[int], list[int]]:
        ready, writable, _ = select.select([*reading, self._wake_read], writing, [], timeout)
        if self._wake_read in ready:
            self._drain()
            ready.remove(self._wake_read)
        return ready, writable

    def catch_signals(self) -> None:
        """A signal ends a `wait` from now on, even one that comes after Python has last looked for signals and before
        it sleeps: its handler could only run once something else had ended that sleep."""
        if threading.current_thread() is threading.main_thread():
            self._before.append(signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False))

    def release_signals(self) -> None:
        """Give signals back to who had them, those that have come among them."""
        if threading.current_thread() is threading.main_thread():
            signal.set_wakeup_fd(self._before[-1], warn_on_full_buffer=False)
            if self._before[-1] != -1:
                self._drain()
            self._before.pop()

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            came = os.read(self._wake_read, 4096).replace(NO_SIGNAL, b"")
            if came and self._before and self._before[0] != -1:
                os.write(self._before[0], came)

    def close(self) -> None:
        """Close the pipe."""
        fds = self._wake_read, self._wake_write
        self._wake_read = self._wake_write = -1  # what has the numbers next gets nothing of ours
        for fd in fds:
            os.close(fd)
