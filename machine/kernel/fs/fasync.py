"""Signals for input and output: who gets SIGIO for an open file, and sending it (fs/fcntl.c; LDD3 §6.4)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.abi.errno import EINVAL, ENOTTY, ESRCH, Errno
from machine.kernel.abi.signal import NSIG, POLL_IN, SIGIO, SIGURG
from machine.kernel.current import current_kernel
from machine.kernel.fs.file import FASYNC
from machine.kernel.task.siginfo import siginfo
from machine.kernel.task.signal import send_signal
from machine.records import NamedTuple

if TYPE_CHECKING:
    from machine.kernel.fs.file import file
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import Task

F_OWNER_TID, F_OWNER_PID, F_OWNER_PGRP = 0, 1, 2
_OWNER_EX = struct.Struct("<ii")
_BANDS = (0x41, 0x304, 0x441, 0x8, 0x82, 0x18)
"""`si_band` of POLL_IN, POLL_OUT, POLL_MSG, POLL_ERR, POLL_PRI, POLL_HUP (band_table)."""


class fown_struct:
    """Whom the signals of an open file are for."""

    __slots__ = ("euid", "pid", "serial", "signum", "type", "uid")

    def __init__(self) -> None:
        self.pid = 0
        """Number of a thread, process or process group; 0: nobody."""
        self.serial: Optional[int] = None
        """Which of those that have had this number (`Kernel.pid_serial`): not one that comes later."""
        self.type = F_OWNER_PID
        """F_OWNER_*: of which."""
        self.signum = 0
        """The signal of F_SETSIG; 0: SIGIO, which says nothing about the file."""
        self.uid = self.euid = 0
        """Of who set it."""


class fasync_struct(NamedTuple):
    """One open file that wants signals, in the list of its driver."""

    fd: int
    filp: file


def owner_of(filp: file) -> fown_struct:
    """The owner of an open file, made when it is first asked for."""
    if filp.f_owner is None:
        filp.f_owner = fown_struct()
    owner: fown_struct = filp.f_owner
    return owner


def f_setown(task: Task, filp: file, arg: int) -> int:
    """F_SETOWN: a process, or the negative of a group.  ESRCH where there is none such."""
    pid = _signed(arg)
    if pid == -(1 << 31):
        raise Errno(EINVAL)
    return _set(task, filp, F_OWNER_PGRP if pid < 0 else F_OWNER_PID, abs(pid))


def f_getown(filp: file) -> int:
    """F_GETOWN: as F_SETOWN takes it; 0 when nobody is left."""
    owner = owner_of(filp)
    if not _owners(current_kernel(), owner):
        return 0
    return -owner.pid if owner.type == F_OWNER_PGRP else owner.pid


def f_setown_ex(task: Task, filp: file, address: int) -> int:
    """F_SETOWN_EX: `struct f_owner_ex`, which can name a thread too."""
    kind, pid = _OWNER_EX.unpack(task.mm.copy_from_user(address, _OWNER_EX.size))
    if kind not in (F_OWNER_TID, F_OWNER_PID, F_OWNER_PGRP):
        raise Errno(EINVAL)
    return _set(task, filp, kind, pid)


def f_getown_ex(task: Task, filp: file, address: int) -> int:
    """F_GETOWN_EX."""
    owner = owner_of(filp)
    pid = owner.pid if _owners(task.kernel, owner) else 0
    task.mm.copy_to_user(address, _OWNER_EX.pack(owner.type, pid))
    return 0


def _set(task: Task, filp: file, kind: int, pid: int) -> int:
    if pid and not _tasks(task.kernel, kind, pid):
        raise Errno(ESRCH)
    owner = owner_of(filp)
    owner.type, owner.pid, owner.uid, owner.euid = kind, pid, task.uid, task.euid
    owner.serial = task.kernel.pid_serial.get(pid)
    return 0


def _signed(arg: int) -> int:
    arg &= 0xFFFF_FFFF
    return arg - (arg >> 31 << 32)


def f_setsig(filp: file, arg: int) -> int:
    """F_SETSIG: EINVAL for what is no signal."""
    arg = _signed(arg)
    if not 0 <= arg <= NSIG:
        raise Errno(EINVAL)
    owner_of(filp).signum = arg
    return 0


def _tasks(kernel: Kernel, kind: int, pid: int) -> list[Task]:
    if kind == F_OWNER_PGRP:
        return [task for task in kernel.tasks.values() if task.tgid == task.pid and task.signal.pgrp == pid]
    task = kernel.tasks.get(pid)
    return [] if task is None else [task]


def _owners(kernel: Kernel, owner: fown_struct) -> list[Task]:
    if not owner.pid or kernel.pid_serial.get(owner.pid) != owner.serial:
        return []
    return _tasks(kernel, owner.type, owner.pid)


def set_fasync(filp: file, fd: int, on: bool) -> int:
    """O_ASYNC was switched: tell the driver, if it wants to know.  0 or a negative errno."""
    from machine.kernel.fs.read_write import driver_result
    from machine.kernel.module import call_driver

    method = filp.f_op.fasync
    if method is None:
        return 0
    result = call_driver(current_kernel(), filp.f_op.owner, "fasync", method, fd, filp, int(on))
    return min(0, driver_result(filp, "fasync", result))


def ioctl_fioasync(filp: file, fd: int, on: bool) -> int:
    """FIOASYNC: O_ASYNC on or off; ENOTTY for a file that has no signals to send (fs/ioctl.c: ioctl_fioasync)."""
    if bool(filp.f_flags & FASYNC) == on:
        return 0
    if filp.f_op.fasync is None:
        return -ENOTTY
    refused = set_fasync(filp, fd, on)
    if not refused:
        filp.f_flags ^= FASYNC
    return refused


def fasync_helper(fd: int, filp: file, on: int, entries: list[Any]) -> int:
    """Enter an open file into a list, or (`on` 0) take it out: 1 when the list changed, 0 when not."""
    mine = [entry for entry in entries if entry.filp is filp]
    for entry in mine:
        entries.remove(entry)
    if on:
        entries.append(fasync_struct(fd, filp))
    return int(bool(mine) != bool(on))


def kill_fasync(kernel: Kernel, queue: list[Any], sig: int, band: int) -> None:
    """Send the signal for `band` (POLL_IN...) to the owners of all files in the list."""
    for entry in queue:
        owner = entry.filp.f_owner
        if owner is None or (sig == SIGURG and not owner.signum):
            continue
        for task in _owners(kernel, owner):
            if owner.euid == 0 or {owner.uid, owner.euid} & {task.uid, task.suid}:
                _send(kernel, task, owner, entry.fd, band)


def _send(kernel: Kernel, task: Task, owner: fown_struct, fd: int, band: int) -> None:
    """send_sigio_to_task: a real-time signal that can't be queued becomes SIGIO."""
    group = owner.type != F_OWNER_TID
    if owner.signum:
        info = siginfo(owner.signum, band)
        info.fd, info.band = fd, _BANDS[band - POLL_IN]
        if send_signal(kernel, task, owner.signum, info, group=group) == 0:
            return
    send_signal(kernel, task, SIGIO, group=group)
