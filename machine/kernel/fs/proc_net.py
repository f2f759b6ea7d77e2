"""/proc/PID/net: what a machine without a network has of it, the sockets of AF_UNIX (fs/proc/proc_net.c)."""

from __future__ import annotations

from typing import Optional

from machine.kernel.fs.file import inode
from machine.kernel.fs.proc import DT_REG, ProcDirectory, ProcFile
from machine.kernel.net.table import proc_net_unix


class NetDirectory(ProcDirectory):
    """The directory with its one file."""

    def names(self) -> list[tuple[str, int]]:
        return [("unix", DT_REG)]

    def child(self, name: str) -> Optional[inode]:
        if name != "unix":
            return None
        return ProcFile(self.kernel, self.i_sb, self.below(name), 0o444, lambda: proc_net_unix(self.kernel))
