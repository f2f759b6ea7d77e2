"""A pseudo terminal whose master is the machine's user: programs run on it, somebody types, somebody reads.

Everything here is for the thread that runs the machine; another thread types through `Scheduler.interrupt`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.kernel.fs.file import O_NOCTTY, O_RDWR
from machine.kernel.fs.namei import open_file
from machine.kernel.tty.tty_io import tty_of
from machine.kernel.tty.tty_jobctrl import proc_set_tty

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import Task


class Console:
    """The terminal, `columns` by `rows`; `name` is its path in the guest, /dev/pts/0 for the first."""

    def __init__(self, kernel: Kernel, columns: int = 80, rows: int = 24) -> None:
        self._kernel = kernel
        self._file = open_file(kernel, kernel.init_task, "/dev/ptmx", O_RDWR | O_NOCTTY)
        self._master = tty_of(self._file)
        self._slave = self._master.link
        self._slave.locked = False
        self._slave.winsize = self._master.winsize = b"".join(n.to_bytes(2, "little") for n in (rows, columns, 0, 0))
        self.name = f"/dev/pts/{self._slave.name}"

    def give(self, task: Task) -> None:
        """A new process, leader of its session, gets it as descriptors 0 to 2 and as its controlling terminal."""
        filp = open_file(self._kernel, self._kernel.init_task, self.name, O_RDWR | O_NOCTTY)
        for fd in range(3):
            task.files.install(filp.get(), fd)
        filp.put()
        proc_set_tty(task, self._slave)

    def type(self, data: bytes) -> None:
        """Keys: what Enter sends is a carriage return, what Ctrl-C sends 0x03."""
        self._slave.ldisc.receive(data)

    def read(self) -> bytes:
        """What programs have written since the last call, and the echo of keys; writers that waited go on."""
        ldisc, data = self._master.ldisc, b""
        while ldisc.more():
            data += ldisc.take(1 << 20)
            ldisc.pump()
        if data:
            self._slave.write_wait.wake()
        return data

    def close(self) -> None:
        """The line is gone: its programs get SIGHUP."""
        self._file.put()
