"""What this host is, where it is to be compared with."""

from __future__ import annotations

import os
from pathlib import Path

NEEDED = sum(1 << number for number in (0, 1, 2, 3, 4, 5, 6, 7, 14, 18, 21, 23, 25, 27))
"""CAP_CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID, KILL, SETGID, SETUID, IPC_LOCK, SYS_CHROOT, SYS_ADMIN,
SYS_NICE, SYS_TIME, MKNOD."""


def is_full_root() -> bool:
    """Whether this process may do what root of a machine may (in a container root often may not)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    effective = int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff")), 16)
    return os.geteuid() == 0 and effective & NEEDED == NEEDED
