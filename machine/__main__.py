"""``python -m machine``: the command `nopage`."""

from __future__ import annotations

import sys

from machine.cli import shell

if __name__ == "__main__":
    sys.exit(shell())
