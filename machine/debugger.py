"""``breakpoint()`` inside a driver, in ``nopage run``: pdb on the user's terminal, whatever the guest made of it.

The guest has the same terminal, and may have put it into raw mode.  So each time that pdb waits for a command, the
terminal gets back the settings that it had at the start, Ctrl-C is Python's again, and both are undone afterwards.
"""

from __future__ import annotations

import pdb
from typing import Any, Optional

from machine.terminal import Lent, find_terminal, usual_terminal


class Debugger(pdb.Pdb):
    """pdb whose prompt is on a terminal in its usual mode."""

    def __init__(self, lent: Lent) -> None:
        streams: dict[str, Any] = {} if lent.streams is None else {"stdin": lent.streams[0], "stdout": lent.streams[1]}
        super().__init__(nosigint=True, **streams)
        self._lent = lent

    def close(self) -> None:
        """Close what `find_terminal` opened."""
        if self._lent.descriptor > 2:
            for each in self._lent.streams or ():
                each.close()

    def interaction(self, *arguments: Any, **named: Any) -> None:
        """One stop: commands until one that runs the program (its arguments differ between Pythons)."""
        with usual_terminal(self._lent.descriptor, self._lent.settings):
            super().interaction(*arguments, **named)


def make_debugger(settings: Optional[list[Any]]) -> Debugger:
    """On the terminal that `machine.terminal.find_terminal` finds."""
    return Debugger(find_terminal(settings))
