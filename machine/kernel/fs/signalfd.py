"""signalfd(2): pending signals that are read instead of delivered (fs/signalfd.c).

The descriptor shows the signals of whoever reads it: only its mask belongs to it.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Optional

from machine.kernel.abi.errno import EAGAIN, EINVAL, Errno
from machine.kernel.abi.signal import FULL_SET, UNBLOCKABLE, layout_of
from machine.kernel.fs.anon import StreamOperations, anon_file, no_open
from machine.kernel.fs.file import O_NONBLOCK, O_RDWR, file
from machine.kernel.fs.poll import POLLIN, poll_table
from machine.kernel.task.deliver import dequeue_signal
from machine.kernel.task.siginfo import siginfo

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import task_struct
    from machine.kernel.task.wait import WaitQueue

_RECORD = struct.Struct("<IiiIIiIIIIii QQQQ H2x iQI 28x")
"""`struct signalfd_siginfo`: signo errno code pid uid fd tid band overrun trapno status int ptr utime stime addr
addr_lsb syscall call_addr arch."""
RECORD_SIZE = 128


class signalfd_ctx:
    """What the descriptor looks for."""

    __slots__ = ("kernel", "sigmask")

    def __init__(self, kernel: Kernel, sigmask: int) -> None:
        self.kernel = kernel
        self.sigmask = sigmask & ~UNBLOCKABLE & FULL_SET


def context_of(filp: file) -> Optional[signalfd_ctx]:
    """The signalfd behind an open file, None for another kind of file."""
    found = filp.private_data
    return found if isinstance(found, signalfd_ctx) else None


def _context(filp: file) -> signalfd_ctx:
    found = context_of(filp)
    assert found is not None
    return found


def signalfd_queue(task: task_struct) -> WaitQueue:
    """Where readers of a signalfd sleep: woken by every signal that is sent to the task's process."""
    queue = task.sighand.signalfd_wqh
    if queue is None:
        queue = task.sighand.signalfd_wqh = task.kernel.sched.queue()
    return queue


def _pack(info: siginfo) -> bytes:
    layout = layout_of(info.signo, info.code)
    values = dict.fromkeys(("pid", "uid", "fd", "tid", "band", "overrun", "status", "value", "utime", "stime"), 0)
    if layout in ("kill", "rt", "chld"):
        values["pid"], values["uid"] = info.pid, info.uid
    if layout == "timer":
        values["tid"], values["overrun"] = info.timer_id, info.overrun
    if layout in ("rt", "timer"):
        values["value"] = info.value
    if layout == "chld":
        values["status"], values["utime"], values["stime"] = info.status, info.utime, info.stime
    if layout == "poll":
        values["band"], values["fd"] = info.band, info.fd
    address = info.address if layout == "fault" else 0
    call = (info.syscall, info.address, info.arch) if layout == "sys" else (0, 0, 0)
    number = values["value"] & 0xFFFFFFFF
    return _RECORD.pack(
        info.signo, info.errno, info.code, values["pid"] & 0xFFFFFFFF, values["uid"], values["fd"], values["tid"],
        values["band"] & 0xFFFFFFFF, values["overrun"], 0, values["status"], (number ^ 1 << 31) - (1 << 31),
        values["value"], values["utime"], values["stime"], address, 0, *call,
    )  # fmt: skip


class SignalfdOperations(StreamOperations):
    """Each read gives whole records of 128 bytes: EINVAL for a smaller buffer."""

    def read_iter(self, filp: file, count: int, position: int) -> bytes:
        ctx = _context(filp)
        task = ctx.kernel.current
        if count < RECORD_SIZE or task is None:
            raise Errno(EINVAL)
        records: list[bytes] = []
        while len(records) < count // RECORD_SIZE:
            info = dequeue_signal(task, ~ctx.sigmask & FULL_SET)
            if info is not None:
                records.append(_pack(info))
            elif records:
                break
            elif filp.f_flags & O_NONBLOCK:
                raise Errno(EAGAIN)
            else:
                ctx.kernel.sched.wait(signalfd_queue(task))
        return b"".join(records)

    def show_fdinfo(self, filp: file) -> str:
        """The mask (signalfd_show_fdinfo)."""
        return f"sigmask:\t{_context(filp).sigmask:016x}\n"

    def poll(self, filp: file, table: Optional[poll_table]) -> int:
        ctx = _context(filp)
        task = ctx.kernel.current
        if task is None:
            return 0
        if table is not None:
            table.wait(signalfd_queue(task))
        waiting = (task.pending.signal | task.signal.shared_pending.signal) & ctx.sigmask
        return POLLIN if waiting else 0


signalfd_operations = SignalfdOperations(open=no_open)


def signalfd_file(kernel: Kernel, sigmask: int, nonblock: bool) -> file:
    """A new signalfd, opened."""
    filp = anon_file(kernel, "[signalfd]", signalfd_operations, O_RDWR | (O_NONBLOCK if nonblock else 0))
    filp.private_data = signalfd_ctx(kernel, sigmask)
    return filp
