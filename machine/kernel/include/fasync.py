"""Asynchronous notification: SIGIO from a driver (linux/fs.h; LDD3 §6.4)."""

from __future__ import annotations

from typing import Any

from machine.kernel.abi.signal import POLL_ERR, POLL_HUP, POLL_IN, POLL_MSG, POLL_OUT, POLL_PRI, SIGIO, SIGURG
from machine.kernel.current import current_kernel
from machine.kernel.fs import fasync
from machine.kernel.fs.fasync import fasync_struct
from machine.kernel.fs.file import FASYNC, file
from machine.kernel.include.pages import BUG_report


def fasync_helper(fd: int, filp: file, on: int, fapp: list[Any]) -> int:
    """What a driver's `fasync` method returns: enters `filp` into the list `fapp`, or (`on` 0) takes it out.

    In C `fapp` is a pointer to a pointer; here it is a list, empty at first.  1 when it changed, 0 when not.
    `release` calls the method with -1 and 0.
    """
    return fasync.fasync_helper(fd, filp, on, fapp)


def kill_fasync(fp: list[Any], sig: int, band: int) -> None:
    """Send SIGIO (`sig`), or what F_SETSIG chose, to the owners of the files in the list.

    `band` says why: POLL_IN, POLL_OUT and so on.  Allowed in a handler.
    """
    if not POLL_IN <= band <= POLL_HUP:
        BUG_report(f"kill_fasync: band {band} is none of POLL_IN to POLL_HUP")
        return
    for entry in [entry for entry in fp if entry.filp.f_count <= 0]:
        BUG_report("kill_fasync: a closed file is in the list: its release method did not call fasync(-1, filp, 0)")
        fp.remove(entry)
    fasync.kill_fasync(current_kernel(), fp, sig, band)


__all__ = [
    "FASYNC", "POLL_ERR", "POLL_HUP", "POLL_IN", "POLL_MSG", "POLL_OUT", "POLL_PRI", "SIGIO", "SIGURG",
    "fasync_helper", "fasync_struct", "kill_fasync",
]  # fmt: skip
