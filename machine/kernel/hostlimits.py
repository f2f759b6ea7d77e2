"""What a machine may take of the computer that it runs on: memory, and bytes of output.

RAM bounds page frames.  What the kernel itself keeps (areas, open files, bytes in pipes, names in tmpfs) are Python
objects, and no frame is charged for them; so the size of the whole process is looked at while programs run.  When it is
over its limit, the process whose objects take most is killed, as when RAM is full; when that does not help the machine
is stopped.
"""

from __future__ import annotations

import ctypes
import gc
import os
import time
from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.abi.signal import SIGKILL
from machine.kernel.task.signal import send_signal
from machine.kernel.task.task import EXIT_DEAD, EXIT_ZOMBIE

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import Task

MiB = 1 << 20
QUIET_SECONDS = 2.0
"""How long a victim has to end before another one is chosen."""
HUB_SECONDS = 1.0
"""How long the hub has to come when the size is too large."""
HEADROOM = 512 * MiB
"""What objects may take at least, however small RAM is."""
_AREA, _FILE, _SIGNAL, _LOCK = 1500, 1200, 500, 120
"""Bytes that an object of each kind takes, roughly: only the order of processes depends on it."""


class HostLimit(Exception):
    """The machine was stopped: a limit of what it may take of this computer.  `option` is the one to change."""

    def __init__(self, text: str, option: str) -> None:
        super().__init__(f"{text}; see {option}")
        self.option = option


def resident_bytes() -> int:
    """What this process has in the host's memory; 0 where nobody can say (no /proc): the tick's thread must go on."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def look_at_memory(kernel: Kernel) -> None:
    """Any thread: do something where the machine takes more than `kernel.max_memory`."""
    if kernel.host_memory is None:
        kernel.host_memory = HostMemory(kernel, kernel.max_memory)
    kernel.host_memory.look()


def output_is_over(kernel: Kernel) -> None:
    """The programs have written more than they may: the machine stops."""
    kernel.halt(HostLimit("the programs have written more than they may", "--max-output"))


class HostMemory:
    """`kernel.host_memory`.  `look` is for a thread; everything else happens in the hub."""

    def __init__(self, kernel: Kernel, limit: int) -> None:
        self.kernel = kernel
        self.limit = limit
        self.killed: set[int] = set()
        self._quiet_until = 0.0
        self._told = False
        self._told_at = 0.0

    def look(self) -> None:
        """Any thread: ask the hub to do something where the process is too large."""
        now = time.monotonic()
        if now < self._quiet_until or resident_bytes() + self._journal() <= self.limit:
            return
        if self._told:
            if now - self._told_at > HUB_SECONDS:
                self._break_off()
            return
        self._told, self._told_at = True, now
        self.kernel.sched.interrupt(self._full)

    def _break_off(self) -> None:
        """The hub does not come: the one system call that goes on takes it all, and ends with the machine."""
        from machine.kernel.task.watchdog import break_off

        self.kernel.halted = self._needs_more()
        break_off(self.kernel.sched)

    def _needs_more(self) -> HostLimit:
        return HostLimit(f"the machine needs more than {self.limit // MiB} MiB of this computer", "--max-memory")

    def _journal(self) -> int:
        size = self.kernel.journal_size
        return 0 if size is None else size()

    def _full(self) -> None:
        """In the hub: one process ends, or all."""
        self._told = False
        began = time.monotonic()
        gc.collect()
        _trim()
        size, journal = resident_bytes(), self._journal()
        now = time.monotonic()
        if size + journal <= self.limit:
            self._quiet_until = now + (now - began)  # it may soon be over it again, but not all time goes into this
            return
        self._quiet_until = now + QUIET_SECONDS
        victim = self._largest()
        kernel, megabytes = self.kernel, self.limit // MiB
        if size <= self.limit:  # the end of a process would not help
            text = f"with {journal // MiB} MiB of input that was recorded the machine needs more than {megabytes} MiB"
            kernel.halt(HostLimit(f"{text} of this computer", "--max-memory"))
            return
        if victim is None or size > self.limit + HEADROOM + self.limit // 4:
            kernel.halt(self._needs_more())
            return
        kernel.printk(f"Out of memory of the host: Killed process {victim.pid} ({victim.comm})", 3)
        kernel.limit_met(
            f"out of memory: {victim.comm} (pid {victim.pid}) was killed: the machine needed more than {megabytes} MiB "
            "of this computer; see --max-memory"
        )
        self.killed.add(victim.pid)
        send_signal(kernel, victim, SIGKILL)

    def _largest(self) -> Optional[Task]:
        chosen, most = None, 0
        for task in self.kernel.tasks.values():
            if task.signal.leader is not task or task.pid == 1 or task.pid in self.killed or _is_gone(task):
                continue
            size = host_bytes(task)
            if size > most:
                chosen, most = task, size
        return chosen


def _is_gone(task: Task) -> bool:
    return all(thread.state in (EXIT_ZOMBIE, EXIT_DEAD) for thread in task.signal.threads)


def host_bytes(task: Task) -> int:
    """About how many bytes of the host a process takes: its frames, and the objects that end with it."""
    mm: Any = task.mm
    size = 0 if mm is None else (mm.rss() << 12) + mm.map_count * _AREA
    for filp in () if task.files is None else task.files.fds.values():
        node: Any = filp.f_inode
        pipe, sock = getattr(node, "i_pipe", None), filp.private_data
        size += _FILE + getattr(pipe, "used", 0)
        for each in getattr(sock, "queue", ()):
            size += len(getattr(each, "data", b"") or b"") + _FILE * (1 + len(getattr(each, "files", ())))
        locks = getattr(node, "i_flock", None)
        if locks:
            size += _LOCK * len(locks.posix.get(task.files, ()))
        mapping = getattr(node, "i_mapping", None)
        size += (len(getattr(mapping, "pages", ())) + len(getattr(mapping, "fallocated", ()))) * 100
    return size + _SIGNAL * len(getattr(task.signal.shared_pending, "list", ()))


def _trim() -> None:
    """Give freed memory back to the host, where the C library can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
