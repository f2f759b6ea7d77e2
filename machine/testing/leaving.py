"""How a test leaves its machine: the drivers go as `rmmod` would have them, and what is not clean then is told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from machine.errors import NopageError
from machine.kernel.insmod import NOT_RELEASED
from machine.kernel.task.spawn import settle
from machine.machine import SETTLE_SECONDS
from machine.testing import messages

if TYPE_CHECKING:
    from machine.events import Report
    from machine.kernel.module import module
    from machine.machine import Machine


class Leaving:
    """Of one machine.  It listens from now on for what drivers leave behind: at a guest's rmmod, too."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.leaks: list[str] = []
        """``leak: not released at unload: 1 page at physical 0x...``."""
        machine.events.listen("report", self._reported)

    def _reported(self, report: Report) -> None:
        if NOT_RELEASED in report.text:
            self.leaks.append(report.text)

    def unload_drivers(self) -> list[str]:
        """Unload every driver that could be, last first; why one could not, a line each.  What its exit function raises
        is an oops, and what it leaves behind is in `leaks`."""
        machine, refused = self.machine, []
        if machine.kernel.halted is not None:  # a debugger was left inside of a driver
            return []
        for each in self._drivers():
            try:
                machine.unload(each.name)
            except NopageError as error:
                refused.append(str(error))
        return refused

    def _drivers(self) -> list[module]:
        """Those that have an exit function and that nobody uses."""
        machine = self.machine
        found = [each for each in reversed(machine.kernel.modules.values()) if each.exit is not None]
        if any(each.refcount for each in found):  # a program that the test held was killed, and has not run since
            with machine.entered():
                settle(machine.kernel, SETTLE_SECONDS)
        return [each for each in found if not each.refcount]

    def complaints(self, unload: bool) -> list[str]:
        """What is not clean, a line each; with `unload` after the drivers have gone."""
        if self.machine.closed:
            return [messages.closed_by_the_test(), *self.leaks]
        refused = self.unload_drivers() if unload else []
        return [*refused, *self.machine.check_clean(), *self.leaks]


def unexpected(complaints: Sequence[str], expected: Sequence[str]) -> list[str]:
    """Those that no regular expression of the marker ``misbehaves`` is found in."""
    return [each for each in complaints if not any(re.search(pattern, each) for pattern in expected)]


def seen(complaints: Sequence[str], expected: Sequence[str]) -> list[str]:
    """Regular expressions that are found in any."""
    return [pattern for pattern in expected if any(re.search(pattern, each) for each in complaints)]
