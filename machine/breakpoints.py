"""What ``breakpoint()`` in a driver does while a program runs, and the terminal's settings (machine/debugger.py)."""

from __future__ import annotations

import os
import sys
import termios
from typing import Any


class Breakpoints:
    """``breakpoint()`` is debugger.py's while a session runs; that file is imported when a driver has one."""

    def __init__(self) -> None:
        self._before = sys.breakpointhook
        self._ours: Any = None
        self._fd = next((fd for fd in (0, 1, 2) if os.isatty(fd)), -1)
        self.terminal = termios.tcgetattr(self._fd) if self._fd >= 0 else None
        """The user's settings, before the guest changes them."""
        # A hook that somebody else has set, and PYTHONBREAKPOINT, stay.
        if self._before is sys.__breakpointhook__ and "PYTHONBREAKPOINT" not in os.environ:
            sys.breakpointhook = self._hook

    def _hook(self, *_arguments: Any, **_named: Any) -> None:
        from machine.debugger import make_debugger

        if self._ours is None:
            self._ours = make_debugger(self.terminal)
        self._ours.set_trace(sys._getframe(1))

    def restore_terminal(self) -> None:
        """The user's settings, where the guest has left others: it will not change them back."""
        try:
            if self.terminal is None or termios.tcgetattr(self._fd) == self.terminal:
                return
            if os.tcgetpgrp(self._fd) == os.getpgrp():  # in the background it would stop us
                termios.tcsetattr(self._fd, termios.TCSADRAIN, self.terminal)
        except (OSError, termios.error):  # the terminal has gone
            return

    def remove(self) -> None:
        """The hook of before."""
        sys.breakpointhook = self._before
        if self._ours is not None:
            self._ours.close()
