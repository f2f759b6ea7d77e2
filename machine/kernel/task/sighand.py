"""What a process keeps about signals: `sighand_struct` (the actions) and `signal_struct` (all that its threads
share).  Source: include/linux/sched/signal.h."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.abi.resource import DEFAULT_RLIMITS
from machine.kernel.abi.signal import NSIG, SIG_DFL, SIG_IGN
from machine.kernel.task.siginfo import sigpending
from machine.kernel.task.task import EXIT_DEAD, EXIT_ZOMBIE, task_struct

if TYPE_CHECKING:
    from machine.kernel.task.wait import WaitQueue

# signal_struct.flags (include/linux/sched/signal.h)
SIGNAL_STOP_STOPPED = 0x1
SIGNAL_STOP_CONTINUED = 0x2
SIGNAL_GROUP_EXIT = 0x4
SIGNAL_CLD_STOPPED = 0x10
SIGNAL_CLD_CONTINUED = 0x20
SIGNAL_CLD_MASK = SIGNAL_CLD_STOPPED | SIGNAL_CLD_CONTINUED
SIGNAL_UNKILLABLE = 0x40
SIGNAL_FATAL_SEEN = 0x80
"""The event of the deadly signal was emitted (no flag of Linux)."""


class k_sigaction:
    """`struct k_sigaction`: what the program wants for one signal."""

    __slots__ = ("flags", "handler", "mask", "restorer")

    def __init__(self, handler: int = SIG_DFL, flags: int = 0, restorer: int = 0, mask: int = 0) -> None:
        self.handler = handler
        """SIG_DFL, SIG_IGN or the handler's address."""
        self.flags = flags
        self.restorer = restorer
        self.mask = mask

    def copy(self) -> k_sigaction:
        """Another record with the same content."""
        return k_sigaction(self.handler, self.flags, self.restorer, self.mask)


class sighand_struct:
    """`struct sighand_struct`: the 64 actions, ``action[1]`` to ``action[64]``; shared with CLONE_SIGHAND."""

    __slots__ = ("action", "count", "signalfd_wqh")

    def __init__(self) -> None:
        self.action = [k_sigaction() for _ in range(NSIG + 1)]
        self.count = 1
        self.signalfd_wqh: Optional[WaitQueue] = None
        """Where readers of a signalfd sleep; None while there were none."""

    def copy(self) -> sighand_struct:
        """A private copy, as fork makes."""
        other = sighand_struct()
        other.action = [action.copy() for action in self.action]
        return other

    def reset_on_exec(self) -> None:
        """Handlers become SIG_DFL, SIG_IGN stays (flush_signal_handlers(force_default=0))."""
        for action in self.action:
            if action.handler != SIG_IGN:
                action.handler = SIG_DFL
            action.flags = action.mask = action.restorer = 0

    def clear_handlers(self) -> None:
        """CLONE_CLEAR_SIGHAND: every handler becomes SIG_DFL, ignored signals stay ignored."""
        self.reset_on_exec()


class signal_struct:
    """`struct signal_struct`: what the threads of one process share."""

    __slots__ = (
        "cmaj_flt", "cmaxrss", "cmin_flt", "cnivcsw", "cnvcsw", "cstime", "cutime", "did_exec", "flags",
        "group_exec_task", "group_exit_code", "group_stop_count", "has_child_subreaper", "is_child_subreaper",
        "itimers", "leader", "maj_flt", "maxrss", "min_flt", "nivcsw", "notify", "nvcsw", "oom_score_adj", "pgrp",
        "posix_timers", "ptraced", "rlimits", "session", "session_leader", "shared_pending", "stime", "stop_signo",
        "threads", "tty", "utime", "wait_chldexit",
    )  # fmt: skip

    def __init__(self, leader: task_struct) -> None:
        self.leader = leader
        """The thread whose pid is the process's."""
        self.threads: list[task_struct] = [leader]
        """Every thread that has not been reaped; a dead leader stays until its process is waited for."""
        self.shared_pending = sigpending()
        self.flags = 0
        self.group_exit_code = 0
        """Status word of a group exit, or the signal of a group stop."""
        self.group_stop_count = 0
        """Threads that have still to stop."""
        self.stop_signo = 0
        """The signal of the last group stop."""
        self.ptraced: list[task_struct] = []
        """Whom its threads trace."""
        self.group_exec_task: Optional[task_struct] = None
        """The thread whose execve waits until the others are gone."""
        sched = leader.kernel.sched
        self.notify = sched.queue()
        """Woken when a thread of the process exits: `de_thread` waits here."""
        self.did_exec = False
        """Whether it called execve since fork: its parent can't move it to another group any more."""
        self.wait_chldexit = sched.queue()
        """Woken when a child changes its state: wait4 sleeps here."""
        self.pgrp = leader.pid
        self.session = leader.pid
        self.session_leader = False
        self.tty: Any = None
        """The controlling terminal: a `tty_struct`, `HostTerminal` (fs/tty.py), or None."""
        self.rlimits: list[tuple[int, int]] = list(DEFAULT_RLIMITS)
        """(soft, hard) by RLIMIT_* number."""
        self.oom_score_adj = 0
        """-1000 to 1000, inherited by fork (/proc/PID/oom_score_adj)."""
        self.itimers: dict[int, Any] = {}
        """ITIMER_* number -> timer with ``cancel()``; not inherited by fork."""
        self.posix_timers: dict[int, Any] = {}
        self.is_child_subreaper = self.has_child_subreaper = False
        self.utime = self.stime = 0
        """Of threads that are gone, nanoseconds; `c...` of children that were waited for."""
        self.cutime = self.cstime = 0
        self.min_flt = self.maj_flt = self.nvcsw = self.nivcsw = 0
        self.cmin_flt = self.cmaj_flt = self.cnvcsw = self.cnivcsw = 0
        self.maxrss = self.cmaxrss = 0
        """Highest resident size, KiB."""
        self.oom_score_adj = 0

    @property
    def group_exit(self) -> bool:
        """Whether the whole process is on its way out."""
        return bool(self.flags & SIGNAL_GROUP_EXIT)

    def live_threads(self) -> list[task_struct]:
        """The threads that have not exited."""
        return [thread for thread in self.threads if thread.state not in (EXIT_ZOMBIE, EXIT_DEAD)]
