"""System calls that send signals (kernel/signal.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from machine.kernel.abi.capability import CAP_KILL
from machine.kernel.abi.errno import EINVAL, EPERM, ESRCH, Errno
from machine.kernel.abi.signal import NSIG, SI_TKILL, SI_USER, SIGCONT
from machine.kernel.capability import capable
from machine.kernel.syscalls.table import syscall
from machine.kernel.task.siginfo import SIZE as SIGINFO_SIZE
from machine.kernel.task.siginfo import siginfo, unpack
from machine.kernel.task.signal import process_leaders, send_signal

if TYPE_CHECKING:
    from machine.kernel.task.task import Task


def _may_signal(task: Task, target: Task, signo: int) -> bool:
    """kill_ok_by_cred, and SIGCONT within the session (check_kill_permission)."""
    if target.signal is task.signal or capable(task, CAP_KILL):
        return True
    if task.euid in (target.suid, target.uid) or task.uid in (target.suid, target.uid):
        return True
    return signo == SIGCONT and task.signal.session == target.signal.session


def send_checked(task: Task, target: Task, signo: int, info: siginfo, group: bool) -> int:
    if not 0 <= signo <= NSIG:
        return -EINVAL
    if not _may_signal(task, target, signo):
        return -EPERM
    if signo == 0:
        return 0
    return send_signal(task.kernel, target, signo, info, group=group)


def _send_to_all(task: Task, targets: list[Task], signo: int) -> int:
    """0 if one could be signalled, else the last error; ESRCH where there is nobody."""
    result = -ESRCH
    for target in targets:
        error = send_checked(task, target, signo, user_info(task, signo, SI_USER), True)
        result = 0 if error == 0 or result == 0 else error
    return result


def _send_to_everybody(task: Task, targets: list[Task], signo: int) -> int:
    """0 where all refuse with EPERM, too (kill_something_info); ESRCH where there is nobody."""
    result = 0 if targets else -ESRCH
    for target in targets:
        error = send_checked(task, target, signo, user_info(task, signo, SI_USER), True)
        if error != -EPERM:
            result = error
    return result


def user_info(task: Task, signo: int, code: int) -> siginfo:
    return siginfo(signo, code, pid=task.tgid, uid=task.uid)


@syscall("kill", "pid int:signal")
def sys_kill(task: Task, pid: int, signo: int) -> int:
    """Signal a process, a group (0, -PGID) or everybody (-1)."""
    if not 0 <= signo <= NSIG:
        return -EINVAL
    if pid > 0:
        target = task.kernel.tasks.get(pid)
        if target is None:
            return -ESRCH
        return send_checked(task, target, signo, user_info(task, signo, SI_USER), True)
    leaders = process_leaders(task.kernel)
    if pid == -1:
        return _send_to_everybody(task, [t for t in leaders if t.pid > 1 and t.signal is not task.signal], signo)
    pgrp = -pid or task.signal.pgrp
    return _send_to_all(task, [t for t in leaders if t.signal.pgrp == pgrp], signo)


def _send_thread(task: Task, tgid: int, tid: int, signo: int, info: siginfo) -> int:
    target = task.kernel.tasks.get(tid)
    if target is None or (tgid > 0 and target.tgid != tgid):
        return -ESRCH
    return send_checked(task, target, signo, info, False)


@syscall("tkill", "pid int:signal")
def sys_tkill(task: Task, tid: int, signo: int) -> int:
    """Signal one thread."""
    if tid <= 0:
        return -EINVAL
    return _send_thread(task, 0, tid, signo, user_info(task, signo, SI_TKILL))


@syscall("tgkill", "pid pid int:signal")
def sys_tgkill(task: Task, tgid: int, tid: int, signo: int) -> int:
    """Signal one thread of one process."""
    if tid <= 0 or tgid <= 0:
        return -EINVAL
    return _send_thread(task, tgid, tid, signo, user_info(task, signo, SI_TKILL))


def _checked_info(task: Task, pid: int, signo: int, raw: bytes) -> siginfo:
    """The record that the caller made.  EPERM when it pretends to come from the kernel or from kill, but for a thread
    that sends it to itself."""
    info = unpack(struct.pack("<i", signo) + raw[4:], task.abi.bits)
    if (info.code >= 0 or info.code == SI_TKILL) and pid != task.pid:
        raise Errno(EPERM)
    return info


@syscall("rt_sigqueueinfo", "pid int:signal ptr:siginfo")
def sys_rt_sigqueueinfo(task: Task, pid: int, signo: int, uinfo: int) -> int:
    """Signal a process with a record of the caller's (sigqueue)."""
    info = _checked_info(task, pid, signo, task.mm.copy_from_user(uinfo, SIGINFO_SIZE))
    target = task.kernel.tasks.get(pid)
    return -ESRCH if target is None else send_checked(task, target, signo, info, True)


@syscall("rt_tgsigqueueinfo", "pid pid int:signal ptr:siginfo")
def sys_rt_tgsigqueueinfo(task: Task, tgid: int, tid: int, signo: int, uinfo: int) -> int:
    """The same for one thread (pthread_sigqueue)."""
    raw = task.mm.copy_from_user(uinfo, SIGINFO_SIZE)
    if tid <= 0 or tgid <= 0:
        return -EINVAL
    return _send_thread(task, tgid, tid, signo, _checked_info(task, tid, signo, raw))
