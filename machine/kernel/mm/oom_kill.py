"""Memory is full: which process ends, so that the others go on (mm/oom_kill.c).

The frames of the page cache have been given back before anybody comes here (`Memory.shrinkers`), and there is no swap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from greenlet import getcurrent

from machine.hardware.ram import PAGE_SHIFT
from machine.kernel.abi.signal import SIGKILL
from machine.kernel.task.signal import fatal_signal_pending, send_signal
from machine.kernel.task.task import EXIT_DEAD, EXIT_ZOMBIE

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import Task

OOM_SCORE_ADJ_MIN = -1000
PATIENCE = 2000
"""How often a victim that does not end is waited for before another one is chosen (MMF_OOM_SKIP)."""
ENOUGH = 64
"""Frames beyond the reserve with which memory is not full."""
_K = PAGE_SHIFT - 10


class oom_state:
    """Who was chosen last, and for how long he is waited for."""

    __slots__ = ("patience", "skipped", "victim")

    def __init__(self) -> None:
        self.victim: Optional[Task] = None
        self.patience = 0
        self.skipped: set[int] = set()
        """Processes that did not end when they were told to."""


def _state(kernel: Kernel) -> oom_state:
    if kernel.oom is None:
        kernel.oom = oom_state()
    state: oom_state = kernel.oom
    return state


def _has_memory(task: Task) -> bool:
    return any(thread.state not in (EXIT_ZOMBIE, EXIT_DEAD) for thread in task.signal.threads)


def oom_badness(kernel: Kernel, leader: Task) -> Optional[int]:
    """Pages that its end would give back, shifted by oom_score_adj; None: it is not to be killed."""
    adjust = leader.signal.oom_score_adj
    if leader.pid == 1 or not _has_memory(leader) or adjust == OOM_SCORE_ADJ_MIN or leader.vfork_done is not None:
        return None
    mm = leader.mm
    return int(mm.rss() + mm.tables.table_frames() + adjust * kernel.mem.total_frames() // 1000)


def _select(kernel: Kernel) -> Optional[Task]:
    """The process with the most points, the first of several (select_bad_process)."""
    chosen, most, skipped = None, 0, _state(kernel).skipped
    for task in kernel.tasks.values():
        if task.signal.leader is not task or task.pid in skipped:
            continue
        points = oom_badness(kernel, task)
        if points is not None and (chosen is None or points > most):
            chosen, most = task, points
    return chosen


def _dying(kernel: Kernel) -> Optional[Task]:
    """A victim that has not ended yet: its memory comes back soon, nobody else has to die."""
    state = _state(kernel)
    victim = state.victim
    if victim is None or not _has_memory(victim):
        return None
    state.patience -= 1
    if state.patience <= 0:
        state.skipped.add(victim.pid)
        return None
    return victim


def out_of_memory(kernel: Kernel, task: Task) -> bool:
    """`task` wants a frame and there is none.  True: another process ends, or has begun to: try again after a turn.

    False: `task` is the one that ends, or there is nobody to end.
    """
    if fatal_signal_pending(task) or task.signal.group_exit:
        return False
    if _dying(kernel) is not None:
        kernel.sched.need_resched = True
        return True
    victim = _select(kernel)
    _log_state(kernel, task)
    if victim is None:
        kernel.printk("Out of memory and no killable processes...", 0)
        return False
    _kill(kernel, victim)
    kernel.sched.need_resched = True
    return victim.signal is not task.signal


def _log_state(kernel: Kernel, task: Task) -> None:
    mem = kernel.mem
    kernel.printk(
        f"{task.comm} invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), order=0, "
        f"oom_score_adj={task.signal.oom_score_adj}",
    )
    kernel.printk(f"Mem-Info: free:{mem.free_frames()} of {mem.total_frames()} pages", 6)
    kernel.printk("[  pid  ]   uid  tgid total_vm      rss pgtables_bytes oom_score_adj name", 6)
    for each in kernel.tasks.values():
        if each.signal.leader is each and each.pid != 1 and _has_memory(each):
            mm = each.mm
            kernel.printk(
                f"[{each.pid:7d}] {each.uid:5d} {each.tgid:5d} {mm.total_vm:8d} {mm.rss():8d} "
                f"{mm.tables.table_frames() << PAGE_SHIFT:8d} {each.signal.oom_score_adj:13d} {each.comm}",
                6,
            )


def _kill(kernel: Kernel, victim: Task) -> None:
    """SIGKILL for the process, and for others in the same memory (__oom_kill_process)."""
    from machine.kernel.fs.proc_vm import rss_shmem

    mm = victim.mm
    shmem = rss_shmem(mm)
    kernel.printk(
        "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/,"
        f"task={victim.comm},pid={victim.pid},uid={victim.uid}",
        6,
    )
    kernel.printk(
        f"Out of memory: Killed process {victim.pid} ({victim.comm}) total-vm:{mm.total_vm << _K}kB, "
        f"anon-rss:{mm.rss_anon << _K}kB, file-rss:{mm.rss_file - shmem << _K}kB, "
        f"shmem-rss:{shmem << _K}kB, UID:{victim.uid} "
        f"pgtables:{mm.tables.table_frames() << _K}kB oom_score_adj:{victim.signal.oom_score_adj}",
        3,
    )
    used = (mm.rss() << PAGE_SHIFT) / (1 << 20)
    kernel.limit_met(f"out of memory: {victim.comm} (pid {victim.pid}) with {used:.0f} MiB was killed; see --ram")
    state = _state(kernel)
    state.victim, state.patience = victim, PATIENCE
    for task in list(kernel.tasks.values()):
        if task.signal.leader is task and task.pid != 1 and getattr(task, "mm", None) is mm:
            send_signal(kernel, task, SIGKILL)


def wait_for_memory(kernel: Kernel, task: Task) -> bool:
    """On a kernel stack: let others run until there may be memory again.  False: `task` has to do without."""
    if kernel.mem.free_frames() > 2 * kernel.mem.min_free + ENOUGH:
        return False  # there are frames: it failed for another reason
    if getcurrent() is kernel.sched.hub or kernel.irq.preempt_count or not out_of_memory(kernel, task):
        return False
    kernel.sched.yield_cpu()
    return True
