"""Waiting for children (kernel/exit.c: do_wait and its wait_task_* helpers)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from machine.kernel.abi.errno import ECHILD, Errno
from machine.kernel.abi.layout import rusage
from machine.kernel.abi.signal import (
    CLD_CONTINUED,
    CLD_DUMPED,
    CLD_EXITED,
    CLD_KILLED,
    CLD_STOPPED,
    CLD_TRAPPED,
    SIGCHLD,
    SIGCONT,
)
from machine.kernel.task.exit import release_task, thread_group_empty
from machine.kernel.task.sighand import SIGNAL_STOP_CONTINUED, SIGNAL_STOP_STOPPED
from machine.kernel.task.task import EXIT_DEAD, EXIT_ZOMBIE, task_struct
from machine.records import NamedTuple

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

# include/uapi/linux/wait.h
WNOHANG, WUNTRACED, WEXITED, WCONTINUED = 1, 2, 4, 8
WSTOPPED = WUNTRACED
WNOWAIT = 0x01000000
WNOTHREAD, WALL, WCLONE = 0x20000000, 0x40000000, 0x80000000
P_ALL, P_PID, P_PGID, P_PIDFD = 0, 1, 2, 3


class Waited(NamedTuple):
    """A child that has changed its state."""

    pid: int
    uid: int
    code: int
    """CLD_EXITED, ..."""
    status: int
    """si_status: the exit code or the signal."""
    word: int
    """The status word of wait4."""
    usage: rusage


def _usage(task: task_struct) -> rusage:
    """The child's own figures and those of the children that it waited for (RUSAGE_BOTH)."""
    signal = task.signal
    threads = signal.threads
    return rusage(
        utime=signal.utime + signal.cutime + sum(t.utime for t in threads),
        stime=signal.stime + signal.cstime + sum(t.stime for t in threads),
        maxrss=max(signal.maxrss, signal.cmaxrss),
        minflt=signal.min_flt + signal.cmin_flt + sum(t.min_flt for t in threads),
        majflt=signal.maj_flt + signal.cmaj_flt + sum(t.maj_flt for t in threads),
        nvcsw=signal.nvcsw + signal.cnvcsw + sum(t.nvcsw for t in threads),
        nivcsw=signal.nivcsw + signal.cnivcsw + sum(t.nivcsw for t in threads),
    )


def _eligible(kind: int, number: int, options: int, child: task_struct, traced: bool) -> bool:
    if kind == P_PID and child.pid != number:
        return False
    if kind == P_PGID and child.signal.pgrp != number:
        return False
    return traced or bool(options & WALL) or (child.exit_signal != SIGCHLD) == bool(options & WCLONE)


def _reap(kernel: Kernel, parent: task_struct, child: task_struct, usage: rusage) -> None:
    signal = parent.signal
    signal.cutime += usage.utime
    signal.cstime += usage.stime
    signal.cmin_flt += usage.minflt
    signal.cmaj_flt += usage.majflt
    signal.cnvcsw += usage.nvcsw
    signal.cnivcsw += usage.nivcsw
    signal.cmaxrss = max(signal.cmaxrss, usage.maxrss)
    release_task(kernel, child)


def _wait_zombie(kernel: Kernel, parent: task_struct, child: task_struct, options: int) -> Optional[Waited]:
    if child.state != EXIT_ZOMBIE or not options & WEXITED:
        return None
    if child is child.signal.leader and not thread_group_empty(child):
        return None
    word = child.exit_code
    usage = _usage(child)
    if not options & WNOWAIT:
        if child.ptrace is not None and (child is not child.signal.leader or child.parent is not parent):
            from machine.kernel.task.exit import release_traced

            release_traced(kernel, child)
        else:
            _reap(kernel, parent, child, usage)
    signo = word & 0x7F
    code = (CLD_DUMPED if word & 0x80 else CLD_KILLED) if signo else CLD_EXITED
    return Waited(child.pid, child.uid, code, signo or word >> 8 & 0xFF, word & 0xFFFF, usage)


def _wait_stopped(child: task_struct, options: int) -> Optional[Waited]:
    signal = child.signal
    signo = signal.group_exit_code
    if not options & WUNTRACED or not signal.flags & SIGNAL_STOP_STOPPED or not signo:
        return None
    if not options & WNOWAIT:
        signal.group_exit_code = 0
    return Waited(child.pid, child.uid, CLD_STOPPED, signo, signo << 8 | 0x7F, _usage(child))


def _wait_traced(child: task_struct, options: int) -> Optional[Waited]:
    """The stop of a traced task, whether WUNTRACED is given or not."""
    from machine.kernel.task.ptrace import stop_code

    code = stop_code(child)
    if not code:
        return None
    if not options & WNOWAIT:
        child.ptrace.code = 0
    return Waited(child.pid, child.uid, CLD_TRAPPED, code, code << 8 | 0x7F, _usage(child))


def _wait_continued(child: task_struct, options: int) -> Optional[Waited]:
    signal = child.signal
    if not options & WCONTINUED or not signal.flags & SIGNAL_STOP_CONTINUED:
        return None
    if not options & WNOWAIT:
        signal.flags &= ~SIGNAL_STOP_CONTINUED
    return Waited(child.pid, child.uid, CLD_CONTINUED, SIGCONT, 0xFFFF, _usage(child))


def do_wait(kernel: Kernel, task: task_struct, kind: int, number: int, options: int) -> Optional[Waited]:
    """The first child (P_ALL, P_PID, P_PGID `number`) with news that `options` asks for.

    None: WNOHANG and no news.  ECHILD: no such child.  Interrupted: ERESTARTSYS, unless the signal came with news, as
    SIGCHLD does.
    """
    while True:
        leader = task.signal.leader
        found = False
        for child in (*leader.children, *task.signal.ptraced):
            traced = child.ptrace is not None and child.ptrace.tracer.signal is task.signal
            if child.state == EXIT_DEAD or not _eligible(kind, number, options, child, traced):
                continue
            found |= not _is_reapable(child, traced) or bool(options & WEXITED)
            news = _news_of(kernel, leader, child, options, traced)
            if news is not None:
                return news
        if not found:
            raise Errno(ECHILD)
        if options & WNOHANG:
            return None
        kernel.sched.wait(task.signal.wait_chldexit)


def _is_reapable(child: task_struct, traced: bool) -> bool:
    """Whether nothing but its end is left to tell: to who does not ask for that it is no child (wait_consider_task)."""
    if child.state != EXIT_ZOMBIE or (child.ptrace is not None and not traced):
        return False
    return child is not child.signal.leader or thread_group_empty(child)


def _news_of(kernel: Kernel, leader: task_struct, child: task_struct, options: int, traced: bool) -> Optional[Waited]:
    """What has become of one child (wait_consider_task)."""
    if child.ptrace is not None:
        if traced:
            news = _wait_zombie(kernel, leader, child, options) or _wait_traced(child, options)
            return news or _wait_continued(child, options)
        if child.state == EXIT_ZOMBIE:
            return None  # its tracer comes first
    return (
        _wait_zombie(kernel, leader, child, options) or _wait_stopped(child, options) or _wait_continued(child, options)
    )
