"""Delivering signals on the way back to user mode (kernel/signal.c: get_signal; arch/x86/kernel/signal.c).

`do_signal` edits the register image of the current task: either a signal frame is built and the
handler runs next, or an interrupted system call is set up to run again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from machine.events import Signal
from machine.hardware.cpu import RAX, RIP
from machine.kernel.abi.errno import (
    EINTR,
    ERESTART_RESTARTBLOCK,
    ERESTARTNOHAND,
    ERESTARTNOINTR,
    ERESTARTSYS,
)
from machine.kernel.abi.signal import (
    CLD_CONTINUED,
    CLD_STOPPED,
    DEFAULT_CORE,
    DEFAULT_IGNORE,
    DEFAULT_STOP,
    FULL_SET,
    SA_IMMUTABLE,
    SA_NOCLDSTOP,
    SA_NODEFER,
    SA_RESETHAND,
    SA_RESTART,
    SI_USER,
    SIG_DFL,
    SIG_IGN,
    SIGCHLD,
    SIGCONT,
    SIGKILL,
    SIGSTOP,
    SS_AUTODISARM,
    SS_DISABLE,
    SYNCHRONOUS,
)
from machine.kernel.task.exit import do_group_exit, is_current_pgrp_orphaned
from machine.kernel.task.rseq import rseq_abort
from machine.kernel.task.sigframe32 import setup_frame32
from machine.kernel.task.sigframe64 import initial_fpstate, setup_rt_frame
from machine.kernel.task.sighand import (
    SIGNAL_CLD_CONTINUED,
    SIGNAL_CLD_MASK,
    SIGNAL_FATAL_SEEN,
    SIGNAL_STOP_CONTINUED,
    SIGNAL_STOP_STOPPED,
    SIGNAL_UNKILLABLE,
    k_sigaction,
)
from machine.kernel.task.siginfo import siginfo, sigpending
from machine.kernel.task.signal import (
    KILL_BIT,
    force_sigsegv,
    recalc_sigpending,
    send_signal,
    set_current_blocked,
    signal_wake_up,
)
from machine.kernel.task.task import TASK_RUNNING, TASK_STOPPED, task_struct

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

NR_RESTART_SYSCALL = {64: 219, 32: 0}
STOP_BIT = 1 << (SIGSTOP - 1)


# -- taking signals out of the queues ------------------------------------------------------------


def _next_signal(pending: sigpending, blocked: int) -> int:
    """The lowest pending signal that is not blocked, synchronous ones first; 0 if none."""
    waiting = pending.signal & ~blocked
    if not waiting:
        return 0
    first = waiting & SYNCHRONOUS or waiting
    return (first & -first).bit_length()


def dequeue_signal(task: task_struct, blocked: int) -> Optional[siginfo]:
    """Take the next signal outside `blocked`: the thread's own first, then the process's."""
    info: Optional[siginfo] = None
    for pending in (task.pending, task.signal.shared_pending):
        signo = _next_signal(pending, blocked)
        if signo:
            info = pending.collect(signo)
            break
    recalc_sigpending(task)
    if info is not None:
        if DEFAULT_STOP >> (info.signo - 1) & 1:
            task.signal.flags &= ~SIGNAL_STOP_CONTINUED
        if info.timer is not None:
            info.timer.requeue(info)
    return info


def _dequeue_synchronous(task: task_struct) -> Optional[siginfo]:
    """A fault's own signal before anything else, so that its frame names the faulting instruction."""
    waiting = task.pending.signal & ~task.blocked & SYNCHRONOUS
    if not waiting:
        return None
    for info in task.pending.list:
        if info.code > SI_USER and waiting >> (info.signo - 1) & 1:
            found = task.pending.collect(info.signo)
            recalc_sigpending(task)
            return found
    return None


# -- job control -----------------------------------------------------------------------------------


def notify_parent_cldstop(kernel: Kernel, task: task_struct, why: int) -> None:
    """SIGCHLD for a stop or a continue (do_notify_parent_cldstop), and wake who waits."""
    leader = task.signal.leader
    parent = leader.parent
    if parent is None:
        return
    signo = task.signal.group_exit_code & 0x7F if why == CLD_STOPPED else SIGCONT
    info = siginfo(SIGCHLD, why, pid=leader.pid, uid=leader.uid, status=signo)
    info.utime, info.stime = task.utime // 10_000_000, task.stime // 10_000_000
    action = parent.sighand.action[SIGCHLD]
    if action.handler != SIG_IGN and not action.flags & SA_NOCLDSTOP:
        send_signal(kernel, parent, SIGCHLD, info)
    parent.signal.wait_chldexit.wake()


def _start_group_stop(kernel: Kernel, task: task_struct, signo: int) -> None:
    """Every thread of the process has to stop; the current one does next (do_signal_stop)."""
    signal = task.signal
    if not signal.flags & SIGNAL_STOP_STOPPED:
        signal.group_exit_code = signo
    signal.stop_signo = signo
    signal.group_stop_count = 0
    for thread in signal.live_threads():
        if not thread.exiting and thread.state != TASK_STOPPED:
            thread.stop_pending = True
            signal.group_stop_count += 1
            if thread is not task:
                _tell_to_stop(kernel, thread)


def _tell_to_stop(kernel: Kernel, thread: task_struct) -> None:
    if thread.ptrace is not None and thread.ptrace.seized:
        from machine.kernel.task.ptrace import trap_notify

        trap_notify(kernel, thread)
    else:
        signal_wake_up(kernel, thread, False)


def _participate_in_stop(kernel: Kernel, task: task_struct) -> None:
    """Stop here until SIGCONT or SIGKILL; the last thread to stop tells the parent."""
    signal = task.signal
    task.stop_pending = False
    if signal.group_stop_count:
        signal.group_stop_count -= 1
    last = signal.group_stop_count == 0 and not signal.flags & SIGNAL_STOP_STOPPED
    if last:
        signal.flags = signal.flags & ~SIGNAL_STOP_CONTINUED | SIGNAL_STOP_STOPPED
        notify_parent_cldstop(kernel, task, CLD_STOPPED)
    if task.pending.signal & KILL_BIT or not (signal.flags & SIGNAL_STOP_STOPPED or signal.group_stop_count):
        return
    task.state = TASK_STOPPED
    kernel.sched.hub.switch()
    task.state = TASK_RUNNING
    recalc_sigpending(task)


# -- choosing what to do ------------------------------------------------------------------------------


def _event(kernel: Kernel, task: task_struct, info: siginfo, action: str) -> Signal:
    return Signal(
        task.pid, task.comm, info.signo, info.code, info.address, action, kernel.cpu.regs[RIP],
        kernel.clock.monotonic_ns(), info.fields(),
    )  # fmt: skip


def _emit(kernel: Kernel, task: task_struct, info: siginfo, action: str) -> None:
    if kernel.events.signal is not None:
        kernel.events.signal(_event(kernel, task, info, action))


def get_signal(kernel: Kernel, task: task_struct) -> Optional[tuple[siginfo, k_sigaction]]:
    """The next signal with a handler, or None when none is left.  Default actions happen here:
    a fatal one does not return."""
    signal = task.signal
    while True:
        if signal.flags & SIGNAL_CLD_MASK:
            why = CLD_CONTINUED if signal.flags & SIGNAL_CLD_CONTINUED else CLD_STOPPED
            signal.flags &= ~SIGNAL_CLD_MASK
            notify_parent_cldstop(kernel, task, why)
        if task.pending.signal & KILL_BIT and (signal.group_exit or signal.group_exec_task is not None):
            task.pending.signal &= ~KILL_BIT
            _die_with_the_others(kernel, task)
        if task.ptrace is not None and (task.stop_pending or task.ptrace.trap_stop):
            _trap(kernel, task)
            continue
        if task.stop_pending:
            _participate_in_stop(kernel, task)
            continue
        info = _dequeue_synchronous(task) or dequeue_signal(task, task.blocked)
        if info is None:
            return None
        avoidable = not task.sighand.action[info.signo].flags & SA_IMMUTABLE
        if task.ptrace is not None and info.signo != SIGKILL and avoidable:
            info = _ask_tracer(kernel, task, info)
            if info is None:
                continue
        if kernel.debugger is not None:
            info = kernel.debugger.signal(task, info)
            if info is None:
                continue
        bit = 1 << (info.signo - 1)
        action = task.sighand.action[info.signo]
        if action.handler == SIG_IGN:
            _emit(kernel, task, info, "ignored")
            continue
        if action.handler != SIG_DFL:
            chosen = action.copy()
            if action.flags & SA_RESETHAND:
                action.handler = SIG_DFL
            _emit(kernel, task, info, "handler")
            return info, chosen
        if bit & DEFAULT_IGNORE:
            _emit(kernel, task, info, "ignored")
            continue
        if signal.flags & SIGNAL_UNKILLABLE and info.signo not in (SIGKILL, SIGSTOP):
            continue
        if bit & DEFAULT_STOP:
            if bit != STOP_BIT and is_current_pgrp_orphaned(kernel, task):
                continue
            _emit(kernel, task, info, "stop")
            _start_group_stop(kernel, task, info.signo)
            continue
        _fatal(kernel, task, info)


def _trap(kernel: Kernel, task: task_struct) -> None:
    from machine.kernel.task.ptrace import jobctl_trap

    jobctl_trap(kernel, task)
    if task.ptrace is not None:
        task.stop_pending = False
    recalc_sigpending(task)


def _ask_tracer(kernel: Kernel, task: task_struct, info: siginfo) -> Optional[siginfo]:
    from machine.kernel.task.ptrace import ptrace_signal

    return ptrace_signal(kernel, task, info)


def _die_with_the_others(kernel: Kernel, task: task_struct) -> None:
    """The process ends: of a fatal signal that was sent to it, or by exit_group or execve of another thread."""
    signal = task.signal
    signo = signal.group_exit_code & 0x7F
    if signo and signal.group_exit and not signal.flags & SIGNAL_FATAL_SEEN:
        _report_fatal(kernel, task, siginfo(signo, SI_USER))
    do_group_exit(kernel, task, signo or SIGKILL)


def _report_fatal(kernel: Kernel, task: task_struct, info: siginfo) -> None:
    """The event of the signal that ends the process, once."""
    task.signal.flags |= SIGNAL_FATAL_SEEN
    action = "core" if DEFAULT_CORE >> (info.signo - 1) & 1 else "terminate"
    _emit(kernel, task, info, action)
    if task.tgid in kernel.spawned:
        kernel.last_fatal[task.tgid] = _event(kernel, task, info, action)


def _fatal(kernel: Kernel, task: task_struct, info: siginfo) -> None:
    """The default action that ends the process; a core dump first where the signal wants one."""
    status = info.signo
    if not task.signal.group_exit:
        _report_fatal(kernel, task, info)
        core = DEFAULT_CORE >> (info.signo - 1) & 1
        if core and kernel.coredump is not None and kernel.coredump(task, info):
            status |= 0x80
    do_group_exit(kernel, task, status)


# -- restarting system calls and entering handlers ----------------------------------------------------


def _restart_code(kernel: Kernel, task: task_struct) -> int:
    """The ERESTART... number with which the current system call ended, 0 otherwise."""
    if task.orig_ax < 0:
        return 0
    value = -kernel.cpu.regs[RAX] & (0xFFFFFFFF if task.abi.bits == 32 else 0xFFFF_FFFF_FFFF_FFFF)
    return value if value in (ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND, ERESTART_RESTARTBLOCK) else 0


def _again(kernel: Kernel, task: task_struct, number: int) -> None:
    """Make the task execute its two-byte system call instruction once more."""
    regs = kernel.cpu.regs
    regs[RAX] = number
    regs[RIP] = (regs[RIP] - 2) & 0xFFFF_FFFF_FFFF_FFFF
    task.orig_ax = -1


def restore_saved_sigmask(task: task_struct) -> None:
    """End of sigsuspend, ppoll, ... without a handler: the mask from before the call returns."""
    if task.saved_sigmask is not None:
        mask, task.saved_sigmask = task.saved_sigmask, None
        set_current_blocked(task, mask)


def do_signal(kernel: Kernel, task: task_struct) -> None:
    """Deliver what is pending to the current task; call it while `task.sigpending` is set, and after a
    system call that ended with one of the ERESTART codes.  May not return (do_exit)."""
    chosen = get_signal(kernel, task)
    code = _restart_code(kernel, task)
    if chosen is not None:
        _handle_signal(kernel, task, chosen[0], chosen[1], code)
        return
    if code == ERESTART_RESTARTBLOCK:
        _again(kernel, task, NR_RESTART_SYSCALL[task.abi.bits])
    elif code:
        _again(kernel, task, task.orig_ax)
    restore_saved_sigmask(task)


def _handle_signal(kernel: Kernel, task: task_struct, info: siginfo, action: k_sigaction, code: int) -> None:
    if code == ERESTARTNOINTR or (code == ERESTARTSYS and action.flags & SA_RESTART):
        _again(kernel, task, task.orig_ax)
    elif code:
        kernel.cpu.regs[RAX] = -EINTR & (0xFFFFFFFF if task.abi.bits == 32 else 0xFFFF_FFFF_FFFF_FFFF)
    task.orig_ax = -1
    if task.rseq[0] and not rseq_abort(task):
        force_sigsegv(kernel, task, info.signo)
        return
    oldset = task.blocked if task.saved_sigmask is None else task.saved_sigmask
    setup = setup_rt_frame if task.abi.bits == 64 else setup_frame32
    if (task.rseq[0] and not rseq_abort(task)) or not setup(kernel, task, info, action, oldset):
        force_sigsegv(kernel, task, info.signo)
        return
    kernel.cpu.fxrstor(initial_fpstate())  # fpu__clear_user_states
    task.saved_sigmask = None
    mask = task.blocked | action.mask
    if not action.flags & SA_NODEFER:
        mask |= 1 << (info.signo - 1)
    set_current_blocked(task, mask & FULL_SET)
    if task.ptrace is not None and task.ptrace.step:
        from machine.kernel.task.ptrace import stepped

        stepped(kernel, task)
    if task.sas_ss_flags & SS_AUTODISARM:
        task.sas_ss_sp = task.sas_ss_size = 0
        task.sas_ss_flags = SS_DISABLE
