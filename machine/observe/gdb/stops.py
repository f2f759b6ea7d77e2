"""Why a thread stopped."""

from __future__ import annotations

from typing import NamedTuple

from machine.kernel.abi.signal import SI_USER, SIGINT, SIGTRAP

TRAP_BRKPT, TRAP_TRACE, TRAP_HWBKPT = 1, 2, 4
"""si_code of a SIGTRAP."""


class Stop(NamedTuple):
    """Why a thread stopped: a signal's number, and what gdb is told besides (``swbreak:;``)."""

    signo: int
    detail: bytes = b""
    code: int = TRAP_TRACE
    address: int = 0
    said: str = ""
    """For people: what `--break-on` has found."""


INTERRUPTED, STEPPED, ATTACHED = Stop(SIGINT), Stop(SIGTRAP), Stop(SIGTRAP, code=SI_USER)
