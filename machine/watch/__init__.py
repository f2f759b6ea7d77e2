"""``nopage watch``: the machine on a page of the browser of this computer.

The thread that runs the machine makes copies of what there is to see (`look`), between two instructions of the
guest; the server's threads hand these out (`server`) and never touch the machine.  Keys go the other way through
`Scheduler.interrupt`.  While nobody looks, nothing is copied.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Optional

from machine.errors import ConfigError
from machine.kernel.tty.console import Console
from machine.watch.look import Looker
from machine.watch.server import Server, View

if TYPE_CHECKING:
    from machine.kernel.task.spawn import Spawned
    from machine.kernel.task.timerqueue import Timer
    from machine.machine import Machine

PERIOD_NS = 40_000_000
"""How often the machine is looked at, by its clock."""
LINGER_SECONDS = 1.5
"""A page that was closed may be one that is loaded again."""


class Watch:
    """The page of one session.  ConfigError: the port can't be had."""

    def __init__(self, machine: Machine, port: int) -> None:
        self._kernel = machine.kernel
        with machine.entered():
            self.console = Console(machine.kernel)
            self._looker = Looker(machine.kernel)
        self._view = View()
        self._timer: Optional[Timer] = None
        self._running = False
        self._command = ""
        try:
            self._server = Server(self._view, self._key, port)
        except OSError as error:
            raise ConfigError(f"watch --port {port}: {error.strerror}") from None
        self.url = self._server.url

    def wait_for_page(self) -> None:
        """Until the page is open; KeyboardInterrupt ends it."""
        self._look(state="the page is open; the program starts")
        while not self._view.viewers:
            self._view.wait_for_viewers(0.5)

    def spawn(self, machine: Machine, command: Sequence[str]) -> Spawned:
        """Start a program on the page's terminal."""
        self._running = True
        self._command = " ".join(command)
        process = machine.spawn(command, terminal=self.console)
        self._look(state=f"{self._command}: running")
        if self._timer is None:
            self._tick()
        return process

    def ended(self, status: int) -> None:
        """The last program has ended; the drivers are still there."""
        self._running = False
        self._view.add_output(self.console.read())
        self._look(state=f"{self._command}: ended with status {status}", whole=True)

    def linger(self) -> None:
        """Leave the last state on the page until it is closed, or Ctrl-C."""
        left = time.monotonic() - LINGER_SECONDS
        try:
            while self._view.viewers or time.monotonic() - left < LINGER_SECONDS:
                if self._view.viewers:
                    left = time.monotonic()
                time.sleep(0.1)
        except KeyboardInterrupt:
            pass

    def close(self) -> None:
        """The server ends; the programs that are left lose their terminal."""
        if self._timer is not None:
            self._timer.cancel()
        self._server.close()
        self._looker.close()
        self.console.close()

    # -- in the machine's thread -----------------------------------------------------------------

    def _tick(self) -> None:
        self._timer = None
        self._view.add_output(self.console.read())
        if self._view.viewers:
            self._look()
        if self._running:
            now = self._kernel.clock.monotonic_ns()
            self._timer = self._kernel.sched.call_at(now + PERIOD_NS, self._tick)

    def _look(self, state: str = "", whole: bool = False) -> None:
        if state:
            self._looker.state = state
        for name, content in self._looker.look(whole).items():
            self._view.put(name, content)

    # -- from a thread of the server ---------------------------------------------------------------

    def _key(self, data: bytes) -> None:
        if self._running:
            self._kernel.sched.interrupt(lambda: self.console.type(data))
