"""Making tasks: fork, vfork, clone, clone3 (kernel/fork.c: copy_process, kernel_clone)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.events import TaskEvent
from machine.hardware.cpu import FS, FS_BASE, GS, GS_BASE, RAX, RSP, Cpu
from machine.hardware.gdt import GDT_ENTRY_TLS_MAX, GDT_ENTRY_TLS_MIN
from machine.kernel.abi.errno import EAGAIN, EINVAL, ENOMEM, Errno
from machine.kernel.abi.layout import USER_DESC
from machine.kernel.abi.resource import RLIMIT_NPROC
from machine.kernel.abi.signal import SIGCHLD, SS_DISABLE
from machine.kernel.task.sighand import signal_struct
from machine.kernel.task.siginfo import sigpending
from machine.kernel.task.signal import fatal_signal_pending, recalc_sigpending
from machine.kernel.task.task import task_struct
from machine.kernel.task.timers import arm_cpu_limit
from machine.kernel.task.tls import get_tls_entry, set_tls_entry
from machine.records import NamedTuple

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

# include/uapi/linux/sched.h
CSIGNAL = 0xFF
CLONE_NEWTIME = 0x80
CLONE_VM, CLONE_FS, CLONE_FILES, CLONE_SIGHAND = 0x100, 0x200, 0x400, 0x800
CLONE_PIDFD, CLONE_PTRACE, CLONE_VFORK, CLONE_PARENT = 0x1000, 0x2000, 0x4000, 0x8000
CLONE_THREAD, CLONE_NEWNS, CLONE_SYSVSEM, CLONE_SETTLS = 0x10000, 0x20000, 0x40000, 0x80000
CLONE_PARENT_SETTID, CLONE_CHILD_CLEARTID, CLONE_DETACHED = 0x100000, 0x200000, 0x400000
CLONE_UNTRACED, CLONE_CHILD_SETTID = 0x800000, 0x1000000
CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x2000000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET, CLONE_IO = 0x10000000, 0x20000000, 0x40000000, 0x80000000
CLONE_CLEAR_SIGHAND, CLONE_INTO_CGROUP = 1 << 32, 1 << 33

PTRACE_EVENT_VFORK_DONE = 5

NAMESPACES = (
    CLONE_NEWTIME | CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID
    | CLONE_NEWNET
)  # fmt: skip


class kernel_clone_args(NamedTuple):
    """`struct kernel_clone_args`."""

    flags: int
    exit_signal: int = 0
    stack: int = 0
    """The child's stack pointer, 0: the parent's."""
    tls: int = 0
    parent_tid: int = 0
    child_tid: int = 0
    set_tid: int = 0
    """The wanted pid (clone3), 0: the next one."""
    pidfd: int = 0
    """Where CLONE_PIDFD puts the descriptor."""


def _check_flags(args: kernel_clone_args) -> None:
    """The combinations that copy_process refuses, and what this kernel has not: namespaces, cgroups."""
    flags = args.flags
    if flags & (NAMESPACES | CLONE_INTO_CGROUP):
        raise Errno(EINVAL)
    if flags & CLONE_PIDFD and flags & (CLONE_THREAD | CLONE_DETACHED):
        raise Errno(EINVAL)
    if flags & CLONE_THREAD and not flags & CLONE_SIGHAND:
        raise Errno(EINVAL)
    if flags & CLONE_SIGHAND and not flags & CLONE_VM:
        raise Errno(EINVAL)
    if flags & CLONE_SIGHAND and flags & CLONE_CLEAR_SIGHAND:
        raise Errno(EINVAL)


def _check_limits(kernel: Kernel, parent: task_struct) -> None:
    limit = parent.signal.rlimits[RLIMIT_NPROC][0]
    if parent.uid != 0 and sum(1 for task in kernel.tasks.values() if task.uid == parent.uid) >= limit:
        kernel.limit_met(f"fork was refused (EAGAIN): RLIMIT_NPROC of user {parent.uid} is {limit}")
        raise Errno(EAGAIN)
    if len(kernel.tasks) >= kernel.max_threads:
        kernel.limit_met(f"fork was refused (EAGAIN): {kernel.max_threads - 1} tasks are the most; see --max-tasks")
        raise Errno(EAGAIN)


def copy_process(kernel: Kernel, parent: task_struct, args: kernel_clone_args) -> task_struct:
    """A child of the current task `parent`, not yet runnable.  EINVAL, EAGAIN, ENOMEM, EFAULT."""
    flags = args.flags
    _check_flags(args)
    if not flags & CLONE_VM:
        parent.mm.wait_for_faults()  # dup_mmap: mmap_sem held for writing
    _check_limits(kernel, parent)
    if flags & CLONE_PIDFD:
        pidfd = parent.files.free_fd()
        parent.mm.put_u32(args.pidfd, pidfd)
    tls_array = list(parent.tls_array)
    if flags & CLONE_SETTLS and parent.abi.bits == 32:
        description = USER_DESC.unpack(parent.mm.copy_from_user(args.tls, USER_DESC.size))
        set_tls_entry(tls_array, description)
    pid = kernel.take_pid(args.set_tid)
    thread = bool(flags & CLONE_THREAD)
    child = task_struct(kernel, pid, parent.tgid if thread else pid)
    _copy_plain(kernel, parent, child)
    child.tls_array = tls_array
    if flags & CLONE_VM:
        child.mm = parent.mm.get()
        child.rseq = (0, 0, 0)
    else:
        child.mm = parent.mm.dup()
    child.files = parent.files.get() if flags & CLONE_FILES else parent.files.copy()
    child.fs = parent.fs.get() if flags & CLONE_FS else parent.fs.copy()
    child.sysvsem = None
    if flags & CLONE_SYSVSEM:
        from machine.kernel.ipc.sem import share_semundo

        child.sysvsem = share_semundo(parent)
    _copy_signals(parent, child, flags)
    if flags & (CLONE_VM | CLONE_VFORK) == CLONE_VM:
        child.sas_ss_sp = child.sas_ss_size = 0
        child.sas_ss_flags = SS_DISABLE
    _copy_thread(kernel, child, args)
    child.clear_child_tid = args.child_tid if flags & CLONE_CHILD_CLEARTID else 0
    _link(kernel, parent, child, args)
    if flags & CLONE_PIDFD:
        from machine.kernel.fs.pidfd import pidfd_file

        parent.files.install(pidfd_file(child, False), pidfd, True)
    return child


_FRESH = frozenset((
    "children", "clear_child_tid", "exit_code", "exit_signal", "exiting", "files", "fs", "groups", "image",
    "in_syscall", "kernel", "killable", "kstack", "maj_flt", "min_flt", "mm", "nivcsw", "nvcsw", "on_rq", "orig_ax",
    "parent", "pdeath_signal", "pending", "pid", "ptrace", "restart", "rip_at_entry", "robust_list", "saved_sigmask",
    "set_child_tid", "sighand", "signal", "sigpending", "sigwait", "start", "start_time", "state",
    "stime", "stop_pending", "syscall", "sysvsem", "tgid", "tls_array", "utime", "vfork_done", "wait_key", "wakeup",
    "work",
))  # fmt: skip
_INHERITED = tuple(name for name in task_struct.__slots__ if name not in _FRESH)
"""A child is a copy of its parent but for what `copy_process` sets (dup_task_struct)."""


def _copy_plain(kernel: Kernel, parent: task_struct, child: task_struct) -> None:
    for name in _INHERITED:
        setattr(child, name, getattr(parent, name))
    child.groups = list(parent.groups)
    child.start_time = kernel.clock.monotonic_ns()


def _copy_signals(parent: task_struct, child: task_struct, flags: int) -> None:
    if flags & CLONE_SIGHAND:
        child.sighand = parent.sighand
        child.sighand.count += 1
    else:
        child.sighand = parent.sighand.copy()
        if flags & CLONE_CLEAR_SIGHAND:
            child.sighand.clear_handlers()
    child.pending = sigpending()
    if flags & CLONE_THREAD:
        child.signal = parent.signal
        child.signal.threads.append(child)
        return
    old = parent.signal
    new = child.signal = signal_struct(child)
    new.pgrp, new.session, new.tty = old.pgrp, old.session, old.tty
    new.rlimits = list(old.rlimits)
    arm_cpu_limit(child)
    new.oom_score_adj = old.oom_score_adj
    new.has_child_subreaper = old.has_child_subreaper or old.is_child_subreaper


def _copy_thread(kernel: Kernel, child: task_struct, args: kernel_clone_args) -> None:
    """The child's registers: the parent's, with 0 as the result of the call (copy_thread)."""
    cpu = kernel.cpu
    saved = bytes(cpu.image)
    cpu.regs[RAX] = 0
    if args.stack:
        cpu.regs[RSP] = args.stack
    if args.flags & CLONE_SETTLS:
        if child.abi.bits == 64:
            cpu.set_register(FS_BASE, args.tls)
        else:
            _reload_tls_segments(cpu, child)
    child.image = bytearray(cpu.image)
    cpu.image[:] = saved


def _reload_tls_segments(cpu: Cpu, child: task_struct) -> None:
    """GS and FS of an i386 child hold its parent's descriptor, in the hidden part of the register; give
    them the new one's base, as loading the same selector again would."""
    for segment, base_register in ((GS, GS_BASE), (FS, FS_BASE)):
        index = (cpu.get_register(segment) & 0xFFFF) >> 3
        if GDT_ENTRY_TLS_MIN <= index <= GDT_ENTRY_TLS_MAX:
            cpu.set_register(base_register, get_tls_entry(child.tls_array, index)[1])


def _link(kernel: Kernel, parent: task_struct, child: task_struct, args: kernel_clone_args) -> None:
    """Family: a thread has its process's parent; a process has the caller's process, or with
    CLONE_PARENT the caller's parent.  (`parent` is a process's leader here, whichever thread forked.)"""
    flags = args.flags
    leader = parent.signal.leader
    if flags & CLONE_THREAD:
        child.parent = leader.parent
        child.exit_signal = -1
    else:
        child.parent = leader.parent if flags & CLONE_PARENT else leader
        child.exit_signal = leader.exit_signal if flags & CLONE_PARENT else args.exit_signal
        if child.parent is not None:
            child.parent.children.append(child)
    kernel.tasks[child.pid] = child
    recalc_sigpending(child)
    if parent.ptrace is not None:
        from machine.kernel.task import ptrace

        if flags & CLONE_PTRACE or _ptrace_event(parent, args):
            ptrace.trace_child(parent, child)


def _ptrace_event(parent: task_struct, args: kernel_clone_args) -> int:
    """The PTRACE_EVENT_* that this clone is to its tracer, 0 for none."""
    if parent.ptrace is None or args.flags & CLONE_UNTRACED:
        return 0
    from machine.kernel.task.ptrace import event_of_clone

    return event_of_clone(parent, bool(args.flags & CLONE_VFORK), args.exit_signal)


def kernel_clone(kernel: Kernel, parent: task_struct, args: kernel_clone_args) -> int:
    """Make the child, let it run; with CLONE_VFORK sleep until it calls exec or exits.  Returns its pid."""
    if parent.sigpending and not args.flags & CLONE_THREAD and parent.signal.group_exit:
        raise Errno(EAGAIN)
    event = 0 if parent.ptrace is None else _ptrace_event(parent, args)
    child = _copy_with_patience(kernel, parent, args)
    pid = child.pid
    if child.mm.userfault_forks:
        from machine.kernel.fs.userfaultfd_events import complete_forks

        complete_forks(child.mm)
    if args.flags & CLONE_PARENT_SETTID:
        parent.mm.write_some(args.parent_tid, pid.to_bytes(4, "little"))
    if args.flags & CLONE_CHILD_SETTID:
        child.set_child_tid = args.child_tid
        child.mm.write_some(args.child_tid, pid.to_bytes(4, "little"))
    if kernel.events.task is not None:
        what = "thread" if args.flags & CLONE_THREAD else "fork"
        kernel.events.task(TaskEvent(parent.pid, parent.comm, what, str(pid), 0, kernel.clock.monotonic_ns()))
    done = kernel.sched.queue() if args.flags & CLONE_VFORK else None
    child.vfork_done = done
    kernel.sched.add(child)
    if kernel.debugger is not None:  # now the child can run, whether the parent may or not
        kernel.debugger.forked(parent, child, bool(args.flags & CLONE_VFORK))
    if event:
        _tell_tracer(kernel, parent, event, pid)
    if done is not None:
        _wait_for_vfork_done(kernel, parent, child)
        if parent.ptrace is not None:
            _tell_tracer(kernel, parent, PTRACE_EVENT_VFORK_DONE, pid)
        if kernel.debugger is not None:
            kernel.debugger.vfork_done(parent)
    return pid


def _copy_with_patience(kernel: Kernel, parent: task_struct, args: kernel_clone_args) -> task_struct:
    """`copy_process`; when there is no memory for the tables somebody else has to end first."""
    while True:
        try:
            return copy_process(kernel, parent, args)
        except Errno as error:
            if error.errno != ENOMEM or not kernel.wait_for_memory():
                raise


def _tell_tracer(kernel: Kernel, parent: task_struct, event: int, pid: int) -> None:
    from machine.kernel.task.ptrace import event_enabled, ptrace_event

    if event_enabled(parent, event):
        ptrace_event(kernel, parent, event, pid)


def _wait_for_vfork_done(kernel: Kernel, parent: task_struct, child: task_struct) -> None:
    """Only a fatal signal ends this sleep early."""
    parent.killable = True
    try:
        while child.vfork_done is not None:
            kernel.sched.wait(child.vfork_done, interruptible=False)
            if fatal_signal_pending(parent):
                child.vfork_done = None
    finally:
        parent.killable = False


def do_fork(kernel: Kernel, parent: task_struct) -> int:
    """fork(2)."""
    return kernel_clone(kernel, parent, kernel_clone_args(0, exit_signal=SIGCHLD))


def do_vfork(kernel: Kernel, parent: task_struct) -> int:
    """vfork(2)."""
    return kernel_clone(kernel, parent, kernel_clone_args(CLONE_VFORK | CLONE_VM, exit_signal=SIGCHLD))
