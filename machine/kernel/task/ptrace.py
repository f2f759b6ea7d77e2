"""Tracing one task by another: who traces whom, and the stops (kernel/ptrace.c, kernel/signal.c: ptrace_stop).

A traced task has a `tracee` in `task.ptrace`; for all others that is None, and nothing here is imported.  What a tracer
asks of a task that has stopped is in ptrace_request.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.abi.capability import CAP_SYS_ADMIN, CAP_SYS_PTRACE
from machine.kernel.abi.errno import EINVAL, EIO, EPERM, Errno
from machine.kernel.abi.signal import (
    CLD_STOPPED,
    CLD_TRAPPED,
    SA_NOCLDSTOP,
    SI_USER,
    SIG_IGN,
    SIGCHLD,
    SIGKILL,
    SIGSTOP,
    SIGTRAP,
)
from machine.kernel.capability import capable
from machine.kernel.task.sighand import SIGNAL_STOP_CONTINUED, SIGNAL_STOP_STOPPED
from machine.kernel.task.siginfo import siginfo
from machine.kernel.task.signal import KILL_BIT, recalc_sigpending, send_signal, signal_wake_up
from machine.kernel.task.task import EXIT_ZOMBIE, TASK_RUNNING, TASK_STOPPED, TASK_TRACED, task_struct

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

# include/uapi/linux/ptrace.h
PTRACE_EVENT_FORK, PTRACE_EVENT_VFORK, PTRACE_EVENT_CLONE, PTRACE_EVENT_EXEC = 1, 2, 3, 4
PTRACE_EVENT_VFORK_DONE, PTRACE_EVENT_EXIT, PTRACE_EVENT_SECCOMP, PTRACE_EVENT_STOP = 5, 6, 7, 128
PTRACE_O_TRACESYSGOOD, PTRACE_O_EXITKILL = 1, 1 << 20
PTRACE_O_SUSPEND_SECCOMP = 1 << 21
PTRACE_O_MASK = 0xFF | PTRACE_O_EXITKILL | PTRACE_O_SUSPEND_SECCOMP
PTRACE_EVENTMSG_SYSCALL_ENTRY, PTRACE_EVENTMSG_SYSCALL_EXIT = 1, 2
STOP_BIT = 1 << (SIGSTOP - 1)


class tracee:
    """How one task is traced, and where it has stopped."""

    __slots__ = (
        "code", "debugreg", "emulate", "forced_tf", "info", "listening", "message", "options", "seized", "step",
        "syscalls", "tracer", "trap_stop",
    )  # fmt: skip

    def __init__(self, tracer: task_struct, seized: bool, options: int) -> None:
        self.tracer = tracer
        """The thread that traces: it alone may ask for anything."""
        self.seized = seized
        self.options = options
        """PTRACE_O_*."""
        self.code = 0
        """What wait4 reports of the stop, until it did; then the signal with which the task goes on."""
        self.message = 0
        """PTRACE_GETEVENTMSG."""
        self.info: Optional[siginfo] = None
        """The record of the stop; None in a group stop."""
        self.listening = False
        """PTRACE_LISTEN: stopped, but only its group's news count."""
        self.syscalls = False
        """It stops at its next system call (SYSCALL_WORK_SYSCALL_TRACE)."""
        self.emulate = False
        """PTRACE_SYSEMU: that call is not made."""
        self.step = False
        """It stops after one instruction (TIF_SINGLESTEP)."""
        self.forced_tf = False
        """TF in its flags is ours, and not for it to be seen (TIF_FORCED_TF)."""
        self.trap_stop = False
        """It has to stop for a group stop, or because its tracer said so (JOBCTL_TRAP_STOP)."""
        self.debugreg = [0] * 8


def event_enabled(task: task_struct, event: int) -> bool:
    """Whether the tracer wants PTRACE_EVENT_`event`."""
    return task.ptrace is not None and bool(task.ptrace.options >> event & 1)


# -- who traces whom ------------------------------------------------------------------------------------


def link(task: task_struct, tracer: task_struct, seized: bool, options: int) -> tracee:
    """`tracer` traces `task` from now on (__ptrace_link)."""
    found = task.ptrace = tracee(tracer, seized, options)
    tracer.signal.ptraced.append(task)
    return found


def unlink(kernel: Kernel, task: task_struct) -> None:
    """Nobody traces the task any more: it runs, or stops if its process has (__ptrace_unlink)."""
    found: tracee = task.ptrace
    found.tracer.signal.ptraced.remove(task)
    task.ptrace = None
    found.listening = found.syscalls = found.trap_stop = False
    if found.forced_tf:
        from machine.kernel.task.ptrace_request import single_step

        single_step(kernel, task, found, False)
    signal = task.signal
    if not task.exiting and (signal.flags & SIGNAL_STOP_STOPPED or signal.group_stop_count):
        task.stop_pending = True
        task.sigpending = True
    wake_traced(kernel, task)


def wake_traced(kernel: Kernel, task: task_struct) -> None:
    """End a ptrace stop."""
    if task.state == TASK_TRACED:
        task.state = TASK_RUNNING
        kernel.sched.add(task)


def may_access(task: task_struct, target: task_struct) -> bool:
    """__ptrace_may_access: one's own threads; root; else the same ids, and a program that may be looked at."""
    if target.signal is task.signal or capable(task, CAP_SYS_PTRACE):
        return True
    ids = {target.uid, target.euid, target.suid}
    groups = {target.gid, target.egid, target.sgid}
    return ids == {task.uid} and groups == {task.gid} and target.mm.dumpable == 1


def check_options(task: task_struct, options: int) -> None:
    """EINVAL for what is none; EPERM: PTRACE_O_SUSPEND_SECCOMP is root's (check_ptrace_options)."""
    if options & ~PTRACE_O_MASK:
        raise Errno(EINVAL)
    if options & PTRACE_O_SUSPEND_SECCOMP and not capable(task, CAP_SYS_ADMIN):
        raise Errno(EPERM)


def traceme(task: task_struct) -> None:
    """PTRACE_TRACEME: its parent traces it.  EPERM when somebody does already."""
    if task.ptrace is not None:
        raise Errno(EPERM)
    parent = task.signal.leader.parent
    if parent is None or parent.exiting or not may_access(parent, task):
        raise Errno(EPERM)
    link(task, parent, False, 0)


def attach(kernel: Kernel, task: task_struct, target: task_struct, seize: bool, address: int, options: int) -> None:
    """PTRACE_ATTACH, PTRACE_SEIZE.  EIO: unknown options; EPERM: itself, traced already, gone, or not allowed."""
    if seize and (address or options & ~PTRACE_O_MASK):
        raise Errno(EIO)
    if seize:
        check_options(task, options)
    if target.signal is task.signal or target.pid == 1 or not may_access(task, target):
        raise Errno(EPERM)
    if target.exiting or target.ptrace is not None:
        raise Errno(EPERM)
    found = link(target, task, seize, options if seize else 0)
    if not seize:
        send_signal(kernel, target, SIGSTOP, None, group=False)
    if target.state == TASK_STOPPED:  # its stop becomes one that the tracer sees
        found.trap_stop = True
        signal_wake_up(kernel, target, True)


def exit_ptrace(kernel: Kernel, signal: Any, tracer: Optional[task_struct]) -> None:
    """A tracing thread ends (None: its whole process): what it traced is let go, or killed with PTRACE_O_EXITKILL."""
    for task in list(signal.ptraced):
        if tracer is not None and task.ptrace.tracer is not tracer:
            continue
        if task.ptrace.options & PTRACE_O_EXITKILL:
            send_signal(kernel, task, SIGKILL)
        detach(kernel, task)


def detach(kernel: Kernel, task: task_struct) -> None:
    """Let go; a zombie that only waited for its tracer is its parent's now (__ptrace_detach)."""
    unlink(kernel, task)
    if task.state == EXIT_ZOMBIE:
        from machine.kernel.task.exit import untraced_zombie

        untraced_zombie(kernel, task)


# -- stops ------------------------------------------------------------------------------------------------


def _tell(kernel: Kernel, task: task_struct, to: Optional[task_struct], why: int, status: int) -> None:
    """SIGCHLD about a stop to the tracer or the parent, and whoever waits there is woken (do_notify_parent_cldstop)."""
    if to is None:
        return
    info = siginfo(SIGCHLD, why, pid=task.pid, uid=task.uid, status=status)
    info.utime, info.stime = task.utime // 10_000_000, task.stime // 10_000_000
    action = to.sighand.action[SIGCHLD]
    if action.handler != SIG_IGN and not action.flags & SA_NOCLDSTOP:
        send_signal(kernel, to, SIGCHLD, info)
    to.signal.wait_chldexit.wake()


def ptrace_stop(
    kernel: Kernel, task: task_struct, code: int, why: int, message: int = 0, info: Optional[siginfo] = None
) -> int:
    """Stop the current task until its tracer lets it go on: the signal with which it does, 0 for none.

    `code` is what wait4 gives, `why` CLD_TRAPPED or CLD_STOPPED.  A task that nobody traces, or that has to die, does
    not stop: `code` comes back.
    """
    found: Optional[tracee] = task.ptrace
    if found is None or task.pending.signal & KILL_BIT:
        return code
    found.code, found.message, found.info = code, message, info
    group_done = _participate(task) if why == CLD_STOPPED and task.stop_pending else False
    found.trap_stop = False
    status = code & 0x7F
    if why == CLD_STOPPED:
        status = task.signal.group_exit_code & 0x7F or status
    _tell(kernel, task, found.tracer, why, status)
    parent = task.signal.leader.parent
    if group_done and parent is not None and parent.signal is not found.tracer.signal:
        _tell(kernel, task.signal.leader, parent, why, status)
    kernel.sched.schedule(TASK_TRACED)
    task.state = TASK_RUNNING
    code, found.code, found.info, found.listening = found.code, 0, None, False
    recalc_sigpending(task)
    return code


def _participate(task: task_struct) -> bool:
    """The task's share of a group stop; True for the last one (task_participate_group_stop)."""
    signal = task.signal
    task.stop_pending = False
    if signal.group_stop_count:
        signal.group_stop_count -= 1
    if signal.group_stop_count == 0 and not signal.flags & SIGNAL_STOP_STOPPED:
        signal.flags = signal.flags & ~SIGNAL_STOP_CONTINUED | SIGNAL_STOP_STOPPED
        return True
    return False


def notify(kernel: Kernel, task: task_struct, code: int, message: int = 0, why: int = CLD_TRAPPED) -> int:
    """Stop with a record of its own (ptrace_do_notify): the signal with which it goes on."""
    info = siginfo(code & 0x7F, code, pid=task.pid, uid=task.uid)
    return ptrace_stop(kernel, task, code, why, message, info)


def ptrace_event(kernel: Kernel, task: task_struct, event: int, message: int) -> None:
    """PTRACE_EVENT_`event`, if it was asked for; without, execve gives a task that was not seized a SIGTRAP."""
    if event_enabled(task, event):
        notify(kernel, task, SIGTRAP | event << 8, message)
    elif event == PTRACE_EVENT_EXEC and not task.ptrace.seized:
        send_signal(kernel, task, SIGTRAP, siginfo(SIGTRAP, SI_USER, pid=task.tgid, uid=task.uid), group=False)


def jobctl_trap(kernel: Kernel, task: task_struct) -> None:
    """The stop of a traced task in a group stop, or that its tracer asked for (do_jobctl_trap)."""
    signal = task.signal
    signo = signal.stop_signo or SIGSTOP
    if not task.ptrace.seized:
        ptrace_stop(kernel, task, signo, CLD_STOPPED)
        return
    if not signal.group_stop_count and not signal.flags & SIGNAL_STOP_STOPPED:
        signo = SIGTRAP
    notify(kernel, task, signo | PTRACE_EVENT_STOP << 8, 0, CLD_STOPPED)


def trap_notify(kernel: Kernel, task: task_struct) -> None:
    """A seized task's group was stopped or continued: it tells its tracer with another stop (ptrace_trap_notify)."""
    task.ptrace.trap_stop = True
    task.sigpending = True
    if task.state == TASK_TRACED and task.ptrace.listening:
        wake_traced(kernel, task)
    else:
        kernel.sched.wake_signal(task)


def ptrace_signal(kernel: Kernel, task: task_struct, info: siginfo) -> Optional[siginfo]:
    """A signal is about to be delivered: the tracer sees it first and says which one it shall be, if any."""
    found: tracee = task.ptrace
    stopped = info.copy()
    signo = ptrace_stop(kernel, task, info.signo, CLD_TRAPPED, 0, stopped)
    if not 0 < signo <= 64:
        return None
    if signo != stopped.signo:  # what PTRACE_SETSIGINFO has left there
        stopped = siginfo(signo, SI_USER, pid=found.tracer.tgid, uid=found.tracer.uid)
    if task.blocked >> (signo - 1) & 1 or task.pending.signal & KILL_BIT:
        send_signal(kernel, task, signo, stopped, group=False)
        return None
    return stopped


def report_syscall(kernel: Kernel, task: task_struct, message: int) -> None:
    """The stop before (PTRACE_EVENTMSG_SYSCALL_ENTRY) or after a system call (ptrace_report_syscall)."""
    good = 0x80 if task.ptrace.options & PTRACE_O_TRACESYSGOOD else 0
    signo = notify(kernel, task, SIGTRAP | good, message)
    if 0 < signo <= 64 and not task.pending.signal & KILL_BIT:
        send_signal(kernel, task, signo, siginfo(signo, SI_USER), group=False)


def stepped(kernel: Kernel, task: task_struct) -> None:
    """After a handler's frame was built, or after a system call: one step of PTRACE_SINGLESTEP is over."""
    notify(kernel, task, SIGTRAP)


# -- a new task ---------------------------------------------------------------------------------------------


def event_of_clone(task: task_struct, vfork: bool, exit_signal: int) -> int:
    """The event that this clone is, 0 when the tracer does not want it."""
    if vfork:
        event = PTRACE_EVENT_VFORK
    else:
        event = PTRACE_EVENT_FORK if exit_signal == SIGCHLD else PTRACE_EVENT_CLONE
    return event if event_enabled(task, event) else 0


def trace_child(task: task_struct, child: task_struct) -> None:
    """The new task is traced as its maker is, and stops before it runs (ptrace_init_task)."""
    made_by: tracee = task.ptrace
    found = link(child, made_by.tracer, made_by.seized, made_by.options)
    if found.seized:
        found.trap_stop = True
    else:
        child.pending.signal |= STOP_BIT
    child.sigpending = True


# -- waiting ---------------------------------------------------------------------------------------------


def reparented(task: task_struct) -> bool:
    """Whether the tracer is another process than the parent."""
    parent = task.signal.leader.parent
    return parent is None or task.ptrace.tracer.signal is not parent.signal


def stop_code(task: task_struct) -> int:
    """What a wait reports of a traced task's stop, 0 when there is none or it was reported."""
    found: tracee = task.ptrace
    return found.code if task.state == TASK_TRACED and not found.listening else 0


def continued(kernel: Kernel, task: task_struct) -> None:
    """SIGCONT was sent to the process of a traced thread."""
    if task.ptrace.seized:
        trap_notify(kernel, task)
