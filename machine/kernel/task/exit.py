"""The end of a thread and of a process (kernel/exit.c; kernel/signal.c: do_notify_parent)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, Optional

from machine.events import TaskEvent
from machine.kernel.abi.errno import EAGAIN, Errno
from machine.kernel.abi.signal import (
    CLD_DUMPED,
    CLD_EXITED,
    CLD_KILLED,
    FULL_SET,
    SA_NOCLDWAIT,
    SIG_IGN,
    SIGCHLD,
    SIGCONT,
    SIGHUP,
)
from machine.kernel.fs.fsnotify import fsnotify_inoderemove
from machine.kernel.task.futex import exit_robust_list, futex_wake_address
from machine.kernel.task.sighand import SIGNAL_FATAL_SEEN, SIGNAL_GROUP_EXIT, SIGNAL_STOP_STOPPED
from machine.kernel.task.siginfo import siginfo
from machine.kernel.task.signal import (
    fatal_signal_pending,
    kill_pgrp,
    kill_threads,
    process_leaders,
    retarget_shared_pending,
    send_signal,
)
from machine.kernel.task.task import EXIT_DEAD, EXIT_ZOMBIE, TaskExit, task_struct

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

NS_PER_CLOCK = 10_000_000
INIT_PID = 1


# -- what a task lets go of -----------------------------------------------------------------------------


def mm_release(kernel: Kernel, task: task_struct) -> None:
    """The task stops using its address space, in exit and in exec: robust futexes, clear_child_tid, vfork.

    (kernel/fork.c: mm_release.)  The parent that sleeps in vfork goes on.
    """
    mm = task.mm
    if task.robust_list[0]:
        exit_robust_list(kernel, task)
        task.robust_list = (0, 0)
    if kernel.pi_states:
        from machine.kernel.task.futex_pi import exit_pi_state_list

        exit_pi_state_list(kernel, task)
    address, task.clear_child_tid = task.clear_child_tid, 0
    if address and mm.users > 1:
        try:
            mm.put_u32(address, 0)
            futex_wake_address(kernel, mm, address, 1)
        except Errno:
            pass  # its user's mistake, and nobody is left to tell
    vfork_done, task.vfork_done = task.vfork_done, None
    if vfork_done is not None:
        vfork_done.wake()


def _exit_files(task: task_struct) -> None:
    task.files.put()
    task.fs.put()
    if task.fs.cwd.d_inode.i_fsnotify_marks is not None:
        fsnotify_inoderemove(task.fs.cwd.d_inode)


def _account(task: task_struct) -> None:
    """A thread's counters go to its process (__exit_signal)."""
    signal = task.signal
    signal.utime += task.utime
    signal.stime += task.stime
    signal.min_flt += task.min_flt
    signal.maj_flt += task.maj_flt
    signal.nvcsw += task.nvcsw
    signal.nivcsw += task.nivcsw
    task.utime = task.stime = task.min_flt = task.maj_flt = task.nvcsw = task.nivcsw = 0


def release_task(kernel: Kernel, task: task_struct) -> None:
    """Forget a dead task: nobody will wait for it any more."""
    task.state = EXIT_DEAD
    if task.ptrace is not None:
        from machine.kernel.task.ptrace import unlink

        unlink(kernel, task)
    if task.parent is not None and task in task.parent.children:
        task.parent.children.remove(task)
    if kernel.tasks.get(task.pid) is task:
        del kernel.tasks[task.pid]
    signal = task.signal
    if task in signal.threads:
        signal.threads.remove(task)
    if task is not signal.leader:
        _account(task)


# -- telling the others ------------------------------------------------------------------------------------


def thread_group_empty(task: task_struct) -> bool:
    """Whether no other thread of the process is left."""
    return all(thread is task for thread in task.signal.threads)


def exit_info(task: task_struct) -> siginfo:
    """The SIGCHLD record of a dead process."""
    code = task.exit_code
    if code & 0x80:
        info = siginfo(SIGCHLD, CLD_DUMPED, status=code & 0x7F)
    elif code & 0x7F:
        info = siginfo(SIGCHLD, CLD_KILLED, status=code & 0x7F)
    else:
        info = siginfo(SIGCHLD, CLD_EXITED, status=code >> 8)
    info.pid, info.uid = task.pid, task.uid
    info.utime = (task.utime + task.signal.utime) // NS_PER_CLOCK
    info.stime = (task.stime + task.signal.stime) // NS_PER_CLOCK
    return info


def do_notify_parent(kernel: Kernel, task: task_struct) -> bool:
    """Send the exit signal to the parent and wake it; True if nobody will wait for the process."""
    parent = task.parent
    if parent is None:
        return True
    signo = task.exit_signal
    autoreap = False
    if signo == SIGCHLD:
        action = parent.sighand.action[SIGCHLD]
        if action.handler == SIG_IGN or action.flags & SA_NOCLDWAIT:
            autoreap = True
            if action.handler == SIG_IGN:
                signo = 0
    if 0 < signo <= 64:
        info = exit_info(task)
        info.signo = signo
        send_signal(kernel, parent, signo, info)
    parent.signal.wait_chldexit.wake()
    return autoreap


def _orphaned_pgrp(kernel: Kernel, pgrp: int, ignored: Optional[task_struct]) -> bool:
    """Whether no member of the group has a parent in another group of the session (POSIX 3.264)."""
    for task in process_leaders(kernel):
        if task.signal.pgrp != pgrp or task is ignored or task.state in (EXIT_ZOMBIE, EXIT_DEAD):
            continue
        parent = task.parent
        if parent is None or parent.pid == INIT_PID:
            continue
        if parent.signal.pgrp != pgrp and parent.signal.session == task.signal.session:
            return False
    return True


def is_current_pgrp_orphaned(kernel: Kernel, task: task_struct) -> bool:
    """Whether stop signals from the keyboard must be ignored: nobody could continue the group."""
    return _orphaned_pgrp(kernel, task.signal.pgrp, None)


def _kill_orphaned_pgrp(kernel: Kernel, task: task_struct, parent: Optional[task_struct]) -> None:
    """If the group has just become orphaned and somebody in it is stopped: SIGHUP, SIGCONT."""
    signal = task.signal
    if parent is None or parent.signal.pgrp == signal.pgrp or parent.signal.session != signal.session:
        return
    stopped = any(
        leader.signal.pgrp == signal.pgrp and leader.signal.flags & SIGNAL_STOP_STOPPED
        for leader in process_leaders(kernel)
    )
    if stopped and _orphaned_pgrp(kernel, signal.pgrp, task):
        kill_pgrp(kernel, signal.pgrp, SIGHUP)
        kill_pgrp(kernel, signal.pgrp, SIGCONT)


def _new_reaper(kernel: Kernel, task: task_struct) -> Optional[task_struct]:
    """Who adopts the children: the nearest ancestor that asked to (PR_SET_CHILD_SUBREAPER), else pid 1."""
    parent = task.parent
    while parent is not None and parent.pid != INIT_PID:
        if parent.signal.is_child_subreaper and parent.state not in (EXIT_ZOMBIE, EXIT_DEAD):
            return parent
        parent = parent.parent
    return kernel.tasks.get(INIT_PID)


def _forget_original_parent(kernel: Kernel, task: task_struct) -> None:
    if not task.children:
        return
    reaper = _new_reaper(kernel, task)
    children, task.children = task.children, []
    for child in children:
        child.parent = reaper
        if reaper is not None:
            reaper.children.append(child)
        if child.pdeath_signal:
            send_signal(kernel, child, child.pdeath_signal)
        child.exit_signal = SIGCHLD
        if child.state == EXIT_ZOMBIE and thread_group_empty(child) and do_notify_parent(kernel, child):
            release_task(kernel, child)
        else:
            _kill_orphaned_pgrp(kernel, child, task)


def _exit_notify(kernel: Kernel, task: task_struct) -> None:
    signal = task.signal
    leader = signal.leader
    task.state = EXIT_ZOMBIE
    if signal.ptraced:
        from machine.kernel.task.ptrace import exit_ptrace

        exit_ptrace(kernel, signal, None if all(thread.exiting for thread in signal.threads) else task)
    if task.ptrace is not None and (task is not leader or not thread_group_empty(task)):
        _tell_tracer(kernel, task)  # a thread that is traced stays until its tracer has waited for it
    elif task is not leader:
        release_task(kernel, task)
        if leader.state == EXIT_ZOMBIE and thread_group_empty(leader):
            _process_gone(kernel, leader)
    elif thread_group_empty(task):
        _process_gone(kernel, task)
    signal.notify.wake()


def _process_gone(kernel: Kernel, leader: task_struct) -> None:
    """The last thread is dead: children are adopted, the parent learns of it."""
    _forget_original_parent(kernel, leader)
    _kill_orphaned_pgrp(kernel, leader, leader.parent)
    if leader.signal.group_exit:
        leader.exit_code = leader.signal.group_exit_code
    kernel.task_ended(leader, leader.exit_code)
    if leader.ptrace is not None:
        from machine.kernel.task.ptrace import reparented

        if reparented(leader):  # its parent hears of it when the tracer has (EXIT_TRACE)
            _tell_tracer(kernel, leader)
            return
    if do_notify_parent(kernel, leader):
        release_task(kernel, leader)


def _tell_tracer(kernel: Kernel, task: task_struct) -> None:
    """SIGCHLD to the tracer of a task that is gone; it is forgotten at once where the tracer ignores that."""
    tracer = task.ptrace.tracer
    action = tracer.sighand.action[SIGCHLD]
    if action.handler != SIG_IGN:
        send_signal(kernel, tracer, SIGCHLD, exit_info(task))
    tracer.signal.wait_chldexit.wake()
    if action.handler == SIG_IGN or action.flags & SA_NOCLDWAIT:
        release_traced(kernel, task)


def release_traced(kernel: Kernel, task: task_struct) -> None:
    """The tracer has seen the end of a task: a thread is forgotten, a process is for its parent now."""
    from machine.kernel.task.ptrace import unlink

    unlink(kernel, task)
    untraced_zombie(kernel, task)


def untraced_zombie(kernel: Kernel, task: task_struct) -> None:
    """A zombie that nobody traces any more goes its usual way."""
    leader = task.signal.leader
    if task is not leader:
        release_task(kernel, task)
        if leader.state == EXIT_ZOMBIE and thread_group_empty(leader) and leader.ptrace is None:
            _process_gone(kernel, leader)
        task.signal.notify.wake()
    elif thread_group_empty(task) and do_notify_parent(kernel, task):
        release_task(kernel, task)


# -- the entries ------------------------------------------------------------------------------------------------


def do_exit(kernel: Kernel, task: task_struct, code: int) -> NoReturn:
    """End the current thread with the status word `code`.  Unwinds its kernel stack (TaskExit)."""
    signal = task.signal
    if task.ptrace is not None:
        from machine.kernel.task.ptrace import PTRACE_EVENT_EXIT, event_enabled, ptrace_event

        if event_enabled(task, PTRACE_EVENT_EXIT):
            ptrace_event(kernel, task, PTRACE_EVENT_EXIT, code)
    task.exiting = True
    task.exit_code = code
    task.stop_pending = False
    if len(signal.threads) > 1:
        retarget_shared_pending(task, FULL_SET & ~task.blocked)
    group_dead = all(thread.exiting for thread in signal.threads)
    if group_dead:
        for timer in (*signal.itimers.values(), *signal.posix_timers.values()):
            timer.cancel()
        signal.maxrss = max(signal.maxrss, max(task.mm.hiwater_rss, task.mm.rss()) * 4)
        if signal.session_leader and signal.tty is not None:
            from machine.kernel.tty.tty_jobctrl import disassociate_ctty

            disassociate_ctty(kernel, task, True)
    mm_release(kernel, task)
    task.mm.put()
    if task.sysvsem is not None:
        from machine.kernel.ipc.sem import exit_sem

        exit_sem(kernel, task)
    _exit_files(task)
    task.sighand.count -= 1
    if kernel.events.task is not None:
        detail = "process" if group_dead else "thread"
        kernel.events.task(TaskEvent(task.pid, task.comm, "exit", detail, code, kernel.clock.monotonic_ns()))
    _exit_notify(kernel, task)
    raise TaskExit


def do_group_exit(kernel: Kernel, task: task_struct, code: int) -> NoReturn:
    """End the whole process of the current thread with the status word `code` (exit_group, fatal signals)."""
    signal = task.signal
    if signal.flags & SIGNAL_GROUP_EXIT:
        code = signal.group_exit_code
    elif signal.group_exec_task is not None:
        code = 0
    else:
        signal.flags = signal.flags & SIGNAL_FATAL_SEEN | SIGNAL_GROUP_EXIT
        signal.group_exit_code = code
        kill_threads(kernel, signal, task)
    do_exit(kernel, task, code)


def de_thread(kernel: Kernel, task: task_struct) -> None:
    """execve in a process with threads: end the others; the caller becomes the leader (fs/exec.c: de_thread).

    EAGAIN when the process is being killed meanwhile.  Handlers get a private table.
    """
    signal = task.signal
    if signal.group_exit or signal.group_exec_task is not None:
        raise Errno(EAGAIN)
    if len(signal.threads) > 1:
        signal.group_exec_task = task
        kill_threads(kernel, signal, task)
        task.killable = True
        try:
            while any(t is not task and t.state not in (EXIT_ZOMBIE, EXIT_DEAD) for t in signal.threads):
                kernel.sched.wait(signal.notify, interruptible=False)
                if fatal_signal_pending(task):
                    raise Errno(EAGAIN)
        finally:
            task.killable = False
            signal.group_exec_task = None
    if signal.leader is not task:
        _take_over_leader(kernel, task)
    if task.sighand.count > 1:
        task.sighand.count -= 1
        task.sighand = task.sighand.copy()


def _take_over_leader(kernel: Kernel, task: task_struct) -> None:
    signal, leader = task.signal, task.signal.leader
    if leader.ptrace is not None:
        from machine.kernel.task.ptrace import unlink

        unlink(kernel, leader)
    del kernel.tasks[task.pid]
    task.pid = leader.pid
    kernel.tasks[task.pid] = task
    task.parent, task.exit_signal = leader.parent, SIGCHLD
    if task.parent is not None:
        siblings = task.parent.children
        siblings[siblings.index(leader)] = task
    task.children, leader.children = leader.children, []
    for child in task.children:
        child.parent = task
    task.start_time = leader.start_time
    signal.leader = task
    signal.threads.remove(leader)
    leader.state = EXIT_DEAD
    _account(leader)
