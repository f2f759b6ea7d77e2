"""Resource limits and usage (kernel/sys.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.kernel.abi.capability import CAP_SYS_RESOURCE
from machine.kernel.abi.errno import EINVAL, EPERM, ESRCH, Errno
from machine.kernel.abi.layout import RLIMIT64, USER_HZ, rusage
from machine.kernel.abi.resource import (
    RLIM_NLIMITS,
    RLIMIT_CPU,
    RLIMIT_NOFILE,
    RUSAGE_CHILDREN,
    RUSAGE_SELF,
    RUSAGE_THREAD,
)  # fmt: skip
from machine.kernel.capability import capable
from machine.kernel.syscalls.table import syscall
from machine.kernel.task.timers import arm_cpu_limit, cpu_time

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

_TICK = 1_000_000_000 // USER_HZ


def do_prlimit(task: Task, target: Task, resource: int, new: tuple[int, int] | None) -> tuple[int, int]:
    """Set a limit if `new` is given; returns the old (soft, hard) (kernel/sys.c: do_prlimit).

    EINVAL: no such resource, soft above hard; EPERM: hard raised without being root, or RLIMIT_NOFILE above
    fs.nr_open.
    """
    if not 0 <= resource < RLIM_NLIMITS:
        raise Errno(EINVAL)
    limits = target.signal.rlimits
    old = limits[resource]
    if new is not None:
        soft, hard = new
        if soft > hard:
            raise Errno(EINVAL)
        if resource == RLIMIT_NOFILE and hard > task.kernel.sysctl["fs/nr_open"]:
            raise Errno(EPERM)
        if hard > old[1] and not capable(task, CAP_SYS_RESOURCE):
            raise Errno(EPERM)
        limits[resource] = (soft, hard)
        if resource == RLIMIT_CPU:
            arm_cpu_limit(target)
    return old


@syscall("prlimit64", "pid uint:RLIMIT_ ptr:rlimit64 ptr:rlimit64>")
def sys_prlimit64(task: Task, pid: int, resource: int, new: int, old: int) -> int:
    """EFAULT, ESRCH, EPERM for a process of somebody else, and as `do_prlimit`."""
    wanted = RLIMIT64.unpack(task.mm.copy_from_user(new, RLIMIT64.size)) if new else None
    target = task if pid == 0 else task.kernel.tasks.get(pid)
    if target is None:
        raise Errno(ESRCH)
    if target.tgid != task.tgid and not capable(task, CAP_SYS_RESOURCE):
        ids = {target.uid, target.euid, target.suid}
        groups = {target.gid, target.egid, target.sgid}
        if ids != {task.uid} or groups != {task.gid}:
            raise Errno(EPERM)
    before = do_prlimit(task, target, resource, wanted)
    if old:
        task.mm.copy_to_user(old, RLIMIT64.pack(*before))
    return 0


@syscall("getrlimit", "uint:RLIMIT_ ptr:rlimit>", abi="x86_64")
@syscall("ugetrlimit", "uint:RLIMIT_ ptr:rlimit>", abi="i386")
def sys_getrlimit(task: Task, resource: int, address: int) -> int:
    task.mm.copy_to_user(address, task.abi.pack_rlimit(*do_prlimit(task, task, resource, None)))
    return 0


@syscall("getrlimit", "uint:RLIMIT_ ptr:rlimit>", abi="i386")
def sys_old_getrlimit(task: Task, resource: int, address: int) -> int:
    """The first one: nothing is above 0x7fffffff."""
    soft, hard = do_prlimit(task, task, resource, None)
    task.mm.copy_to_user(address, task.abi.pack_rlimit(min(soft, 0x7FFF_FFFF), min(hard, 0x7FFF_FFFF)))
    return 0


@syscall("setrlimit", "uint:RLIMIT_ ptr:rlimit")
def sys_setrlimit(task: Task, resource: int, address: int) -> int:
    new = task.abi.unpack_rlimit(task.mm.copy_from_user(address, task.abi.rlimit.size))
    do_prlimit(task, task, resource, new)
    return 0


# -- usage ---------------------------------------------------------------------------------------------


def _maxrss(task: Task) -> int:
    mm = task.mm
    return max(task.signal.maxrss, max(mm.hiwater_rss, mm.rss()) * 4)


def get_rusage(task: Task, who: int) -> rusage:
    """What getrusage(2) reports.  EINVAL: no such `who`."""
    signal = task.signal
    if who == RUSAGE_CHILDREN:
        return rusage(
            signal.cutime, signal.cstime, signal.cmaxrss, signal.cmin_flt, signal.cmaj_flt, 0, 0,
            signal.cnvcsw, signal.cnivcsw,
        )  # fmt: skip
    if who == RUSAGE_THREAD:
        task.kernel.sched.account()
        return rusage(task.utime, task.stime, _maxrss(task), task.min_flt, task.maj_flt, 0, 0, task.nvcsw, task.nivcsw)
    if who != RUSAGE_SELF:
        raise Errno(EINVAL)
    user, system = cpu_time(task)
    threads = signal.threads
    return rusage(
        user, system, _maxrss(task), signal.min_flt + sum(t.min_flt for t in threads),
        signal.maj_flt + sum(t.maj_flt for t in threads), 0, 0, signal.nvcsw + sum(t.nvcsw for t in threads),
        signal.nivcsw + sum(t.nivcsw for t in threads),
    )  # fmt: skip


@syscall("getrusage", "int:RUSAGE_ ptr:rusage>")
def sys_getrusage(task: Task, who: int, address: int) -> int:
    task.mm.copy_to_user(address, task.abi.pack_rusage(get_rusage(task, who)))
    return 0


@syscall("times", "ptr:tms>")
def sys_times(task: Task, address: int) -> int:
    """Ticks since boot; NULL is allowed."""
    if address:
        user, system = cpu_time(task)
        signal = task.signal
        ticks = (user // _TICK, system // _TICK, signal.cutime // _TICK, signal.cstime // _TICK)
        task.mm.copy_to_user(address, task.abi.tms.pack(*map(task.abi.signed, ticks)))
    return task.kernel.clock.monotonic_ns() // _TICK
