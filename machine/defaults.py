"""What a machine is like unless it is told otherwise: its memory, its environment, the demo programs that it shows."""

from __future__ import annotations

import importlib.util
import os
import signal
from pathlib import Path

from machine.hardware.ram import MiB

DEFAULT_RAM = 512 * MiB
WITH_HARDWARE = ("edu", "uio")
"""Drivers whose hardware comes with them when the board has none (cards.py)."""
PASSED_ON = ("TERM", "LANG", "TZ", "COLUMNS", "LINES")
"""Variables of the host's environment that the guest gets, besides LC_*."""
GUEST_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def demo_programs() -> list[tuple[str, str]]:
    """Directories of the demonstration programs, and the suffix of their names in the guest: i386 ones end in 32."""
    found = importlib.util.find_spec("guest")
    if found is None or found.origin is None:
        return []
    binaries = Path(found.origin).parent / "bin"
    both = ((str(binaries / "x86_64"), ""), (str(binaries / "i386"), "32"))
    return [(directory, suffix) for directory, suffix in both if os.path.isdir(directory)]


def default_environment() -> dict[str, str]:
    """The guest's environment: a PATH and HOME of its own, the terminal and the locale of the host."""
    host = {k: v for k, v in os.environ.items() if k in PASSED_ON or k.startswith("LC_")}
    return {"PATH": GUEST_PATH, "HOME": "/root", "USER": "root", "LOGNAME": "root", "SHELL": "/bin/sh", **host}


def ignored_signals() -> tuple[int, ...]:
    """Signals that we were started with ignored, as `nohup` and a script's ``&`` do: exec keeps that for a program.

    Not those that Python ignores for itself.
    """
    terminal = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
    each = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, *terminal)
    return tuple(int(number) for number in each if signal.getsignal(number) is signal.SIG_IGN)
