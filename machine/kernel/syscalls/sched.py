"""Scheduling parameters and priorities (kernel/sched/core.c, kernel/sys.c).

There is one processor and one kind of scheduling, round robin.  What a program asks for is kept and
shown, with Linux's checks, but changes nothing.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from machine.kernel.abi.capability import CAP_SYS_NICE
from machine.kernel.abi.errno import E2BIG, EACCES, EINVAL, EPERM, ESRCH, Errno
from machine.kernel.abi.layout import TIMESPEC64
from machine.kernel.abi.resource import (
    PRIO_PGRP,
    PRIO_PROCESS,
    PRIO_USER,
    RLIMIT_NICE,
    SCHED_BATCH,
    SCHED_DEADLINE,
    SCHED_FIFO,
    SCHED_IDLE,
    SCHED_NORMAL,
    SCHED_RESET_ON_FORK,
    SCHED_RR,
)  # fmt: skip
from machine.kernel.capability import capable
from machine.kernel.syscalls.table import syscall

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

CPU_MASK_BYTES = 8
"""Size of the kernel's own CPU mask: what sched_getaffinity returns and copies at most."""
_ATTR = struct.Struct("<IIQiIQQQII")
SCHED_ATTR_SIZE_VER0 = 48
SCHED_FLAG_ALL = 0x7F
_FAIR = (SCHED_NORMAL, SCHED_BATCH, SCHED_IDLE)
_REALTIME = (SCHED_FIFO, SCHED_RR)
RR_INTERVAL_NS = 10_000_000
"""The scheduler's time slice."""
_KEPT = "kept and shown; scheduling is round robin"


def _find(task: Task, pid: int) -> Task:
    """The task that a pid argument names, 0 for the caller.  EINVAL: negative; ESRCH."""
    if pid < 0:
        raise Errno(EINVAL)
    found = task if pid == 0 else task.kernel.tasks.get(pid)
    if found is None:
        raise Errno(ESRCH)
    return found


def _same_owner(task: Task, other: Task) -> bool:
    return task.euid in (other.euid, other.uid) or capable(task, CAP_SYS_NICE)


@syscall("sched_yield")
def sys_sched_yield(task: Task) -> int:
    task.kernel.sched.yield_cpu()
    return 0


# -- affinity: there is CPU 0 ---------------------------------------------------------------------------


def _find_any(task: Task, pid: int) -> Task:
    """As `_find`, but nobody has a negative number: ESRCH (find_process_by_pid)."""
    if pid < 0:
        raise Errno(ESRCH)
    return _find(task, pid)


@syscall("sched_getaffinity", "pid uint ptr")
def sys_sched_getaffinity(task: Task, pid: int, length: int, address: int) -> int:
    """Returns the number of bytes copied.  EINVAL: a buffer too small or not a number of longs; ESRCH."""
    if length * 8 < 1 or length & (task.abi.word - 1):
        raise Errno(EINVAL)
    _find_any(task, pid)
    size = min(length, CPU_MASK_BYTES)
    task.mm.copy_to_user(address, (1).to_bytes(size, "little"))
    return size


@syscall("sched_setaffinity", "pid uint ptr", support="there is one CPU")
def sys_sched_setaffinity(task: Task, pid: int, length: int, address: int) -> int:
    """EFAULT; EINVAL: a mask without CPU 0; ESRCH; EPERM."""
    mask = int.from_bytes(task.mm.copy_from_user(address, min(length, CPU_MASK_BYTES)), "little")
    target = _find_any(task, pid)
    if not _same_owner(task, target):
        raise Errno(EPERM)
    if not mask & 1:
        raise Errno(EINVAL)
    return 0


@syscall("getcpu", "ptr ptr ptr")
def sys_getcpu(task: Task, cpu: int, node: int, _cache: int) -> int:
    for address in (cpu, node):
        if address:
            task.mm.put_u32(address, 0)
    return 0


# -- policies -----------------------------------------------------------------------------------------------


def _priority_range(policy: int) -> tuple[int, int]:
    if policy in _REALTIME:
        return 1, 99
    if policy in _FAIR or policy == SCHED_DEADLINE:
        return 0, 0
    raise Errno(EINVAL)


@syscall("sched_get_priority_max", "int", sleeps=False)
def sys_sched_get_priority_max(task: Task, policy: int) -> int:
    return _priority_range(policy)[1]


@syscall("sched_get_priority_min", "int", sleeps=False)
def sys_sched_get_priority_min(task: Task, policy: int) -> int:
    return _priority_range(policy)[0]


def _set_policy(task: Task, pid: int, policy: int, priority: int) -> int:
    """__sched_setscheduler: EINVAL, EPERM, ESRCH.  Without CAP_SYS_NICE only the fair policies."""
    reset = bool(policy & SCHED_RESET_ON_FORK)
    policy &= ~SCHED_RESET_ON_FORK
    target = _find(task, pid)
    if policy not in (*_FAIR, *_REALTIME):
        raise Errno(EINVAL)
    lowest, highest = _priority_range(policy)
    if not lowest <= priority <= highest:
        raise Errno(EINVAL)
    if not capable(task, CAP_SYS_NICE) and not _may_set_policy(task, target, policy, reset):
        raise Errno(EPERM)
    target.policy = policy | priority << 8
    target.reset_on_fork = reset
    return 0


def _may_set_policy(task: Task, target: Task, policy: int, reset: bool) -> bool:
    """Without CAP_SYS_NICE: no real time, nothing of SCHED_IDLE (nice 20) that RLIMIT_NICE does not allow, and the flag
    stays (kernel/sched/core.c: user_check_sched_setscheduler)."""
    if policy in _REALTIME or not _same_owner(task, target) or (target.reset_on_fork and not reset):
        return False
    leaves_idle = target.policy & 0xFF == SCHED_IDLE and policy != SCHED_IDLE
    return not leaves_idle or 20 - target.nice <= target.signal.rlimits[RLIMIT_NICE][0]


@syscall("sched_setscheduler", "pid int:SCHED_ ptr", support=_KEPT)
def sys_sched_setscheduler(task: Task, pid: int, policy: int, param: int) -> int:
    if policy < 0 or not param or pid < 0:
        raise Errno(EINVAL)
    (priority,) = struct.unpack("<i", task.mm.copy_from_user(param, 4))
    return _set_policy(task, pid, policy, priority)


@syscall("sched_setparam", "pid ptr", support=_KEPT)
def sys_sched_setparam(task: Task, pid: int, param: int) -> int:
    if not param or pid < 0:
        raise Errno(EINVAL)
    (priority,) = struct.unpack("<i", task.mm.copy_from_user(param, 4))
    target = _find(task, pid)
    reset = SCHED_RESET_ON_FORK if target.reset_on_fork else 0
    return _set_policy(task, pid, target.policy & 0xFF | reset, priority)


@syscall("sched_getscheduler", "pid", sleeps=False)
def sys_sched_getscheduler(task: Task, pid: int) -> int:
    target = _find(task, pid)
    return target.policy & 0xFF | (SCHED_RESET_ON_FORK if target.reset_on_fork else 0)


@syscall("sched_getparam", "pid ptr")
def sys_sched_getparam(task: Task, pid: int, param: int) -> int:
    if not param:
        raise Errno(EINVAL)
    target = _find(task, pid)
    task.mm.copy_to_user(param, struct.pack("<i", target.policy >> 8))
    return 0


@syscall("sched_rr_get_interval", "pid ptr")
def sys_sched_rr_get_interval(task: Task, pid: int, address: int) -> int:
    task.mm.copy_to_user(address, task.abi.pack_timespec(_interval(_find(task, pid))))
    return 0


@syscall("sched_rr_get_interval_time64", "pid ptr", abi="i386")
def sys_sched_rr_get_interval_time64(task: Task, pid: int, address: int) -> int:
    task.mm.copy_to_user(address, TIMESPEC64.pack(0, _interval(_find(task, pid))))
    return 0


def _interval(target: Task) -> int:
    return 0 if target.policy & 0xFF == SCHED_FIFO else RR_INTERVAL_NS


@syscall("sched_getattr", "pid ptr uint uint")
def sys_sched_getattr(task: Task, pid: int, address: int, size: int, flags: int) -> int:
    if not address or pid < 0 or not SCHED_ATTR_SIZE_VER0 <= size <= 4096 or flags:
        raise Errno(EINVAL)
    target = _find(task, pid)
    policy, priority = target.policy & 0xFF, target.policy >> 8
    length = min(size, _ATTR.size)
    nice = target.nice if policy in _FAIR else 0
    data = _ATTR.pack(length, policy, int(target.reset_on_fork), nice, priority, 0, 0, 0, 0, 1024)
    task.mm.copy_to_user(address, data[:length])
    return 0


@syscall("sched_setattr", "pid ptr uint", support=_KEPT)
def sys_sched_setattr(task: Task, pid: int, address: int, flags: int) -> int:
    """EINVAL, E2BIG (with our size written back), EPERM, ESRCH; SCHED_DEADLINE is EPERM."""
    if not address or pid < 0 or flags:
        raise Errno(EINVAL)
    size = task.mm.get_u32(address) or SCHED_ATTR_SIZE_VER0
    if not SCHED_ATTR_SIZE_VER0 <= size <= 4096:
        task.mm.put_u32(address, _ATTR.size)
        raise Errno(E2BIG)
    data = task.mm.copy_from_user(address, size)
    if any(data[_ATTR.size :]):
        raise Errno(E2BIG)
    _, policy, wanted, nice, priority, *_ = _ATTR.unpack(data[: _ATTR.size].ljust(_ATTR.size, b"\0"))
    if wanted & ~SCHED_FLAG_ALL:
        raise Errno(EINVAL)
    if policy == SCHED_DEADLINE:
        raise Errno(EPERM)
    reset = SCHED_RESET_ON_FORK if wanted & 1 else 0
    _set_policy(task, pid, policy | reset, priority)
    if policy in _FAIR:
        _set_nice(task, _find(task, pid), nice)
    return 0


# -- nice ------------------------------------------------------------------------------------------------


def _who(task: Task, which: int, who: int) -> list[Task]:
    """The tasks that getpriority and setpriority mean.  EINVAL; ESRCH: none."""
    tasks = list(task.kernel.tasks.values())
    if which == PRIO_PROCESS:
        found = [t for t in tasks if t.pid == (who or task.pid)]
    elif which == PRIO_PGRP:
        group = who or task.signal.pgrp
        found = [t for t in tasks if t.signal.pgrp == group]
    elif which == PRIO_USER:
        uid = who or task.uid
        found = [t for t in tasks if t.uid == uid]
    else:
        raise Errno(EINVAL)
    if not found:
        raise Errno(ESRCH)
    return found


@syscall("getpriority", "int:PRIO_ int", sleeps=False)
def sys_getpriority(task: Task, which: int, who: int) -> int:
    """20 - nice of the most favoured task: 1 to 40."""
    return 20 - min(t.nice for t in _who(task, which, who))


def _set_nice(task: Task, target: Task, nice: int) -> None:
    """EPERM: somebody else's task; EACCES: more favour than RLIMIT_NICE allows."""
    if not _same_owner(task, target):
        raise Errno(EPERM)
    nice = max(-20, min(19, nice))
    if nice < target.nice and 20 - nice > target.signal.rlimits[RLIMIT_NICE][0] and not capable(task, CAP_SYS_NICE):
        raise Errno(EACCES)
    target.nice = nice


@syscall("setpriority", "int:PRIO_ int int", sleeps=False, support=_KEPT)
def sys_setpriority(task: Task, which: int, who: int, nice: int) -> int:
    failure = None
    for target in _who(task, which, who):
        try:
            _set_nice(task, target, nice)
        except Errno as error:
            failure = error
    if failure is not None:
        raise failure
    return 0


@syscall("nice", "int", abi="i386", sleeps=False, support=_KEPT)
def sys_nice(task: Task, increment: int) -> int:
    nice = max(-20, min(19, task.nice + max(-40, min(40, increment))))
    try:
        _set_nice(task, task, nice)
    except Errno:
        raise Errno(EPERM) from None
    return 0


# -- I/O priorities ---------------------------------------------------------------------------------------


@syscall("ioprio_get", "int int", sleeps=False)
def sys_ioprio_get(task: Task, which: int, who: int) -> int:
    """What ioprio_set said, 0 for nothing; the best one of a group or a user, by `nice` where nothing was said."""
    if which not in (1, 2, 3):
        raise Errno(EINVAL)
    found = _who(task, which - 1, who)
    if which == 1:
        return found[0].ioprio
    return min(t.ioprio or IOPRIO_CLASS_BE << IOPRIO_CLASS_SHIFT | (t.nice + 20) // 5 for t in found)


@syscall("ioprio_set", "int int int", sleeps=False, support="kept and shown; nothing waits for a disk")
def sys_ioprio_set(task: Task, which: int, who: int, ioprio: int) -> int:
    """EINVAL: no such class, a level without one; EPERM: another user's task, real time without being root; ESRCH."""
    kind, data = ioprio >> IOPRIO_CLASS_SHIFT, ioprio & (1 << IOPRIO_CLASS_SHIFT) - 1
    if not 0 <= kind <= IOPRIO_CLASS_IDLE or (kind == 0 and data) or which not in (1, 2, 3):
        raise Errno(EINVAL)
    if kind == IOPRIO_CLASS_RT and not capable(task, CAP_SYS_NICE):
        raise Errno(EPERM)
    for target in _who(task, which - 1, who):
        if not _same_owner(task, target):
            raise Errno(EPERM)
        target.ioprio = ioprio
    return 0


IOPRIO_CLASS_RT, IOPRIO_CLASS_BE, IOPRIO_CLASS_IDLE, IOPRIO_CLASS_SHIFT = 1, 2, 3, 13
_MEMBARRIER_ALL = (1 << 9) - 1
_MEMBARRIER_PRIVATE_RSEQ, _MEMBARRIER_FLAG_CPU = 1 << 7, 1
_MEMBARRIER_PRIVATE = 1 << 3 | 1 << 5 | _MEMBARRIER_PRIVATE_RSEQ
"""Commands that are there for processes that have made the next one, their REGISTER."""
_MEMBARRIER_REGISTER = 1 << 2 | _MEMBARRIER_PRIVATE << 1


@syscall("membarrier", "int uint int", sleeps=False)
def sys_membarrier(task: Task, command: int, flags: int, _cpu: int) -> int:
    """With one processor every order that could be asked for holds, and who was preempted has left its rseq.

    EINVAL: unknown command or flags; EPERM: an expedited command of a process that has not registered for it.
    """
    if flags and not (command == _MEMBARRIER_PRIVATE_RSEQ and flags == _MEMBARRIER_FLAG_CPU):
        raise Errno(EINVAL)
    if command == 0:
        return _MEMBARRIER_ALL
    if not command & _MEMBARRIER_ALL or command & (command - 1):
        raise Errno(EINVAL)
    if command & _MEMBARRIER_PRIVATE and not task.mm.membarrier & command << 1:
        raise Errno(EPERM)
    if command & _MEMBARRIER_REGISTER:
        task.mm.membarrier |= command
    return 0
