"""``python -m machine``: the command `nopage`."""

from __future__ import annotations

import signal
import sys

# Nothing is to be put in order yet: Ctrl-C ends the process, where Python would show which import it has met.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from machine.cli import shell

if __name__ == "__main__":
    sys.exit(shell())
