"""Signals: what a process keeps about them, and how one is sent (kernel/signal.c, include/linux/sched/signal.h).

A signal is *sent* here: it is queued, a thread is chosen and woken.  It is *delivered* in
`deliver.py`, when that thread returns to user mode.  `task.sigpending` is TIF_SIGPENDING: the one
attribute that the way back to user mode tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from machine.hardware.cpu import PAGE_FAULT
from machine.kernel.abi.errno import EAGAIN
from machine.kernel.abi.resource import RLIMIT_SIGPENDING
from machine.kernel.abi.signal import (
    DEFAULT_CORE,
    DEFAULT_IGNORE,
    DEFAULT_STOP,
    NSIG,
    SA_IMMUTABLE,
    SI_KERNEL,
    SI_USER,
    SIG_DFL,
    SIG_IGN,
    SIGCONT,
    SIGKILL,
    SIGRTMIN,
    SIGSEGV,
    SIGSTOP,
)
from machine.kernel.task.sighand import (
    SIGNAL_CLD_CONTINUED,
    SIGNAL_CLD_MASK,
    SIGNAL_CLD_STOPPED,
    SIGNAL_GROUP_EXIT,
    SIGNAL_STOP_CONTINUED,
    SIGNAL_STOP_STOPPED,
    SIGNAL_UNKILLABLE,
    signal_struct,
)
from machine.kernel.task.siginfo import siginfo
from machine.kernel.task.task import TASK_STOPPED, TASK_TRACED, task_struct

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

KILL_BIT = 1 << (SIGKILL - 1)
CONT_BIT = 1 << (SIGCONT - 1)


# -- what is pending ---------------------------------------------------------------------------


def signal_pending(task: task_struct) -> bool:
    """Whether the task should look at its signals before it returns to user mode, or stop sleeping."""
    return task.sigpending


def fatal_signal_pending(task: task_struct) -> bool:
    """Whether the task has been told to die (a killable sleep ends)."""
    return bool(task.pending.signal & KILL_BIT)


def recalc_sigpending(task: task_struct) -> bool:
    """Compute `task.sigpending` anew from the two queues, the mask and a pending group stop."""
    waiting = (task.pending.signal | task.signal.shared_pending.signal) & ~task.blocked
    task.sigpending = bool(waiting) or task.stop_pending or bool(task.signal.flags & SIGNAL_CLD_MASK)
    if task.ptrace is not None and task.ptrace.trap_stop:
        task.sigpending = True
    return task.sigpending


def set_current_blocked(task: task_struct, mask: int) -> None:
    """Give the task a new mask; SIGKILL and SIGSTOP can't be blocked."""
    mask &= ~(KILL_BIT | 1 << (SIGSTOP - 1)) & ((1 << NSIG) - 1)
    if mask == task.blocked:
        return
    newly = mask & ~task.blocked
    if task.sigpending and len(task.signal.threads) > 1:
        retarget_shared_pending(task, newly)
    task.blocked = mask
    recalc_sigpending(task)


def retarget_shared_pending(task: task_struct, newly_blocked: int) -> None:
    """What `task` blocks now is for another thread to take (retarget_shared_pending)."""
    retarget = task.signal.shared_pending.signal & newly_blocked
    for thread in task.signal.threads:
        if not retarget:
            return
        if thread is task or thread.exiting or not retarget & ~thread.blocked:
            continue
        retarget &= thread.blocked
        if not thread.sigpending:
            signal_wake_up(thread.kernel, thread, False)


def signal_wake_up(kernel: Kernel, task: task_struct, fatal: bool) -> None:
    """Make the task look at its signals: end an interruptible sleep, or for a fatal one a stop too."""
    task.sigpending = True
    if fatal and task.killable:
        kernel.sched.wake_task(task, None)
    else:
        kernel.sched.wake_signal(task, fatal)


# -- sending -----------------------------------------------------------------------------------


def sig_ignored(task: task_struct, signo: int, force: bool = False) -> bool:
    """Whether sending `signo` to the task does nothing.  Blocked signals are never ignored: the
    handler may change before they are unblocked."""
    if task.blocked >> (signo - 1) & 1 or task.sigwait >> (signo - 1) & 1:
        return False
    if task.ptrace is not None and signo != SIGKILL:
        return False  # the tracer may want to know even of those
    handler = task.sighand.action[signo].handler
    if task.signal.flags & SIGNAL_UNKILLABLE and handler == SIG_DFL and not (force and signo in (SIGKILL, SIGSTOP)):
        return True
    return handler == SIG_IGN or (handler == SIG_DFL and bool(DEFAULT_IGNORE >> (signo - 1) & 1))


def sig_fatal(task: task_struct, signo: int) -> bool:
    """Whether the default action of `signo` applies and ends the process."""
    harmless = (DEFAULT_IGNORE | DEFAULT_STOP) >> (signo - 1) & 1
    return not harmless and task.sighand.action[signo].handler == SIG_DFL


def _prepare_signal(kernel: Kernel, task: task_struct, signo: int, force: bool) -> bool:
    """Side effects of a stop signal or SIGCONT, which happen even if it is blocked; False: do not send."""
    signal = task.signal
    if signal.flags & SIGNAL_GROUP_EXIT:
        return False  # it is on its way out
    if DEFAULT_STOP >> (signo - 1) & 1:
        signal.shared_pending.discard(CONT_BIT)
        for thread in signal.threads:
            thread.pending.discard(CONT_BIT)
    elif signo == SIGCONT:
        _continue(kernel, task)
    return not sig_ignored(task, signo, force)


def _continue(kernel: Kernel, task: task_struct) -> None:
    signal = task.signal
    signal.shared_pending.discard(DEFAULT_STOP)
    for thread in signal.threads:
        thread.pending.discard(DEFAULT_STOP)
        thread.stop_pending = False
    was_stopped = signal.flags & SIGNAL_STOP_STOPPED
    if was_stopped or signal.group_stop_count:
        # The first thread that wakes up tells the parent (get_signal).
        why = SIGNAL_CLD_CONTINUED if was_stopped else SIGNAL_CLD_STOPPED
        signal.flags = signal.flags & ~SIGNAL_STOP_STOPPED | why | SIGNAL_STOP_CONTINUED
        signal.group_stop_count = 0
        signal.group_exit_code = 0
        for thread in signal.live_threads():
            thread.sigpending = True
    for thread in signal.threads:
        if thread.state == TASK_STOPPED:
            thread.sigpending = True
            kernel.sched.wake_signal(thread, True)
        elif thread.ptrace is not None and thread.ptrace.seized:
            from machine.kernel.task.ptrace import trap_notify

            trap_notify(kernel, thread)


def _queued_by_user(kernel: Kernel, uid: int) -> int:
    total = 0
    for task in kernel.tasks.values():
        if task.uid == uid:
            total += len(task.pending.list)
            if task.signal.leader is task:
                total += len(task.signal.shared_pending.list) + len(task.signal.posix_timers)
    return total


def may_queue_timer(kernel: Kernel, task: task_struct) -> bool:
    """Whether RLIMIT_SIGPENDING leaves room for one more timer: its record is there from the beginning."""
    return _queued_by_user(kernel, task.uid) < task.signal.rlimits[RLIMIT_SIGPENDING][0]


def _may_queue(kernel: Kernel, task: task_struct, info: siginfo) -> bool:
    """Whether there is room for a record (__sigqueue_alloc); a standard signal from the kernel or from kill
    always has some.  Others arrive without their record, as SI_USER from nobody."""
    if info.timer is not None or (info.signo < SIGRTMIN and info.code >= 0):
        return True
    return _queued_by_user(kernel, task.uid) < task.signal.rlimits[RLIMIT_SIGPENDING][0]


def send_signal(
    kernel: Kernel, task: task_struct, signo: int, info: Optional[siginfo] = None, *, group: bool = True
) -> int:
    """Send `signo` to the process of `task` (`group`) or to that thread alone.

    `info` None means "from the kernel" (SEND_SIG_PRIV).  Standard signals are queued once, real-time
    ones each.  Returns 0, or -EAGAIN where RLIMIT_SIGPENDING leaves no room for a real-time signal
    that was sent by sigqueue.
    """
    if info is None:
        info = siginfo(signo, SI_KERNEL)
    force = info.code > 0
    if not _prepare_signal(kernel, task, signo, force):
        if info.timer is not None:
            info.timer.requeue(info)
        return 0
    pending = task.signal.shared_pending if group else task.pending
    bit = 1 << (signo - 1)
    if signo < SIGRTMIN and pending.signal & bit and info.timer is None:
        return 0
    if signo != SIGKILL:
        if _may_queue(kernel, task, info):
            pending.list.append(info)
        elif signo >= SIGRTMIN and info.code != SI_USER:
            return -EAGAIN
    pending.signal |= bit
    _complete_signal(kernel, task, signo, group)
    if task.sighand.signalfd_wqh is not None:
        task.sighand.signalfd_wqh.wake()
    return 0


def send_sig(kernel: Kernel, task: task_struct, signo: int) -> None:
    """What the current task's own call earns it (SIGPIPE, SIGXFSZ): SI_USER, from itself (SEND_SIG_NOINFO)."""
    send_signal(kernel, task, signo, siginfo(signo, SI_USER, pid=task.tgid, uid=task.uid), group=False)


def _wants_signal(task: task_struct, signo: int) -> bool:
    if task.blocked >> (signo - 1) & 1 or task.exiting:
        return False
    if signo == SIGKILL:
        return True
    return task.state not in (TASK_STOPPED, TASK_TRACED) and not task.sigpending


def _complete_signal(kernel: Kernel, task: task_struct, signo: int, group: bool) -> None:
    """Choose the thread that takes the signal and wake it."""
    if _wants_signal(task, signo):
        target = task
    elif not group or len(task.signal.threads) == 1:
        target = None
    else:
        target = next((thread for thread in task.signal.threads if _wants_signal(thread, signo)), None)
    if target is None:
        # Nobody is free: a thread that does not block it takes it when it looks at its queue.
        for thread in task.signal.threads if group else [task]:
            if not thread.blocked >> (signo - 1) & 1 and not thread.exiting:
                thread.sigpending = True
        return
    signal = task.signal
    core = DEFAULT_CORE >> (signo - 1) & 1
    if (
        sig_fatal(task, signo)
        and not signal.flags & (SIGNAL_GROUP_EXIT | SIGNAL_UNKILLABLE)
        and not target.sigwait >> (signo - 1) & 1
        and not core
        and (signo == SIGKILL or (task.ptrace is None and kernel.debugger is None))
    ):
        signal.flags = SIGNAL_GROUP_EXIT
        signal.group_exit_code = signo
        signal.group_stop_count = 0
        kill_threads(kernel, signal, None)
        return
    signal_wake_up(kernel, target, signo == SIGKILL)


def kill_threads(kernel: Kernel, signal: signal_struct, spared: Optional[task_struct]) -> int:
    """Give every thread but `spared` a SIGKILL of its own (zap_other_threads); how many."""
    count = 0
    for thread in list(signal.threads):
        thread.stop_pending = False
        if thread is spared or thread.exiting:
            continue
        count += 1
        thread.pending.signal |= KILL_BIT
        signal_wake_up(kernel, thread, True)
    return count


def force_sig_info(
    kernel: Kernel,
    task: task_struct,
    signo: int,
    code: int = SI_KERNEL,
    address: int = 0,
    trapno: Optional[int] = None,
    error_code: int = 0,
    *,
    default: bool = False,
) -> None:
    """The signal of an exception: the task can't avoid it.  If it is blocked or ignored (or
    `default` is set) it is unblocked and takes its default action; with `default` a tracer can't prevent it either.

    `trapno` and `error_code` are what the CPU reported; with CR2 (the address of a page fault) they
    stay in `task.thread` and appear in every later frame's ucontext, as on Linux.
    """
    if trapno is not None:
        task.thread = (trapno, error_code, address if trapno == PAGE_FAULT else task.thread[2])
    force_siginfo(kernel, task, siginfo(signo, code, address=address), default)


def force_siginfo(kernel: Kernel, task: task_struct, info: siginfo, default: bool = False) -> None:
    """`force_sig_info` with a record of the caller's."""
    action = task.sighand.action[info.signo]
    bit = 1 << (info.signo - 1)
    if default or action.handler == SIG_IGN or task.blocked & bit:
        action.handler = SIG_DFL
        task.blocked &= ~bit
    if default:
        action.flags |= SA_IMMUTABLE
    send_signal(kernel, task, info.signo, info, group=False)
    recalc_sigpending(task)


def force_sig(kernel: Kernel, task: task_struct, signo: int) -> None:
    """`force_sig_info` with si_code SI_KERNEL and nothing else."""
    force_sig_info(kernel, task, signo)


def force_sigsegv(kernel: Kernel, task: task_struct, signo: int) -> None:
    """The frame of `signo` could not be written: SIGSEGV, at once fatal when it was one."""
    force_sig_info(kernel, task, SIGSEGV, default=signo == SIGSEGV)


def kill_pgrp(kernel: Kernel, pgrp: int, signo: int, info: Optional[siginfo] = None) -> int:
    """Send to every process of the group: how many there are (what a terminal does)."""
    count = 0
    for task in process_leaders(kernel):
        if task.signal.pgrp == pgrp:
            count += 1
            send_signal(kernel, task, signo, info)
    return count


def process_leaders(kernel: Kernel) -> list[task_struct]:
    """The leader of every process, zombies and pid 1 included."""
    return [task for task in list(kernel.tasks.values()) if task.pid == task.tgid]
