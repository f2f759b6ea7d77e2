"""`struct task_struct`: one thread of a guest program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from machine.hardware.blame import Passing
from machine.kernel.abi.capability import CAP_FULL_SET
from machine.kernel.task.siginfo import sigpending

if TYPE_CHECKING:
    from machine.kernel.abi.layout import Abi
    from machine.kernel.fs.fdtable import files_struct, fs_struct
    from machine.kernel.kernel import Kernel
    from machine.kernel.mm.space import mm_struct
    from machine.kernel.task.sighand import sighand_struct, signal_struct

TASK_RUNNING, TASK_INTERRUPTIBLE, TASK_UNINTERRUPTIBLE, TASK_STOPPED, TASK_TRACED = 0, 1, 2, 4, 8
EXIT_ZOMBIE, EXIT_DEAD = 16, 32


class TaskExit(Passing):
    """Unwinds the kernel stack of a task that is gone (do_exit never returns)."""


class Overrun(Passing):
    """Something of ours was broken off in the middle: it takes far longer than it may (task/watchdog.py)."""

    place = ""
    """``, in FILE:LINE (FUNCTION)``."""


class task_struct:
    """A thread; threads of one process share `mm`, `files`, `fs`, `sighand` and `signal`.

    `image` holds the register image while the task does not run.
    """

    __slots__ = (
        "abi", "blocked", "cap_ambient", "cap_bset", "caps", "children", "clear_child_tid", "comm", "egid", "euid",
        "exe", "exit_code", "exit_signal", "exiting", "files", "fs", "fsgid", "fsuid", "gid", "groups", "image",
        "in_syscall", "io", "ioprio", "kernel", "killable", "kstack", "maj_flt", "mce_kill", "min_flt", "mm", "nice",
        "nivcsw", "no_new_privs", "nvcsw", "on_rq", "orig_ax", "parent", "pdeath_signal", "pending", "personality",
        "pid", "policy", "ptrace", "reset_on_fork", "restart", "rip_at_entry", "robust_list", "rseq", "sas_ss_flags",
        "sas_ss_size", "sas_ss_sp", "saved_sigmask", "seccomp", "securebits", "set_child_tid", "sgid", "sighand",
        "signal", "sigpending", "sigwait", "start", "start_time", "state", "stime", "stop_pending", "suid", "syscall",
        "sysvsem", "tgid", "thread", "timer_slack", "tls_array", "uid", "utime", "vfork_done", "wait_key", "wakeup",
        "work",
    )  # fmt: skip

    def __init__(self, kernel: Kernel, pid: int, tgid: int) -> None:
        self.kernel = kernel
        self.pid = pid
        """The thread's number, what gettid() returns."""
        self.tgid = tgid
        """The process's number, what getpid() returns."""
        self.comm = ""
        self.state = TASK_RUNNING
        self.abi: Abi
        """Layouts and numbers of the program: `ABI64` or `ABI32`."""
        self.mm: mm_struct
        self.files: files_struct
        self.fs: fs_struct
        self.sighand: sighand_struct
        self.signal: signal_struct
        """What the threads of a process share: pgrp, session, rlimits, shared pending, exit code."""
        self.parent: Optional[task_struct] = None
        self.children: list[task_struct] = []
        self.ptrace: Any = None
        """How it is traced (task/ptrace.py: tracee); None while nobody does."""
        self.image = bytearray()
        self.kstack: Any = None
        """The greenlet on which this task's system calls run: its kernel stack."""
        self.work: Any = None
        """Not None while its kernel stack has something to finish."""
        self.on_rq = False
        self.start: Any = None
        """(function, arguments) that its kernel stack runs first, for a task that has no user side yet."""
        self.wakeup: Any = None
        self.wait_key: Any = None
        self.syscall = ""
        """Name of the system call it is in, "" in user mode."""
        self.in_syscall = False
        self.orig_ax = -1
        """Number of the call, for restarting it; -1 outside one."""
        self.restart: Any = None
        self.rip_at_entry = 0
        self.exe: Any = None
        """The `file` of the program (/proc/PID/exe)."""
        self.tls_array = [0, 0, 0]
        """GDT entries 12 to 14 as raw descriptors."""
        self.set_child_tid = self.clear_child_tid = 0
        self.robust_list = (0, 0)
        self.rseq = (0, 0, 0)
        self.vfork_done: Any = None
        self.exit_signal = 17
        self.pdeath_signal = 0
        self.personality = 0
        self.blocked = 0
        """Blocked signals: bit n-1 for signal n."""
        self.saved_sigmask: Optional[int] = None
        self.pending = sigpending()
        """Signals for this thread alone; those for the process are in `signal.shared_pending`."""
        self.sigpending = False
        """TIF_SIGPENDING: look at the signals before returning to user mode."""
        self.sigwait = 0
        """The mask from before rt_sigtimedwait unblocked what it waits for (real_blocked); 0 outside it."""
        self.stop_pending = False
        """The thread has still to take part in a group stop (JOBCTL_STOP_PENDING)."""
        self.thread = (0, 0, 0)
        """Trap number, error code and CR2 of the last exception, as every signal frame shows them."""
        self.killable = False
        """Its uninterruptible sleep ends for a fatal signal (TASK_KILLABLE)."""
        self.sysvsem: Any = None
        """What it takes back of System V semaphores when it ends (ipc/sem.py: sem_undo_list), or None."""
        self.exit_code = 0
        """The status word that wait4 gives."""
        self.exiting = False
        """PF_EXITING."""
        self.sas_ss_sp = self.sas_ss_size = 0
        self.sas_ss_flags = 0
        """As sigaltstack gave them; a size of 0 is what disables the stack."""
        self.uid = self.euid = self.gid = self.egid = 0
        self.suid = self.sgid = 0
        self.fsuid = self.fsgid = 0
        self.groups: list[int] = []
        self.caps: Optional[tuple[int, int, int]] = None
        """(effective, permitted, inheritable) as capset left them; None: all for euid 0, none for the others."""
        self.cap_bset = CAP_FULL_SET
        """The bounding set: what a program of root gets at exec."""
        self.cap_ambient = 0
        """What a program of others keeps at exec; all of it permitted and inheritable."""
        self.securebits = 0
        """SECBIT_* of PR_SET_SECUREBITS and PR_SET_KEEPCAPS."""
        self.no_new_privs = False
        self.seccomp: Any = None
        """Which system calls it may make (task/seccomp.py); None: all."""
        self.mce_kill = 2
        """PR_MCE_KILL_*: kept and shown, the machine's memory never fails."""
        self.io: Any = None
        """Which ports it may use (task/ioport.py: IoPermissions); None: none."""
        self.nice = 0
        self.ioprio = 0
        self.policy = 0
        """SCHED_*."""
        self.reset_on_fork = False
        self.timer_slack = 50_000
        """Nanoseconds."""
        self.min_flt = self.maj_flt = 0
        self.utime = self.stime = self.nvcsw = self.nivcsw = 0
        self.start_time = 0

    def __repr__(self) -> str:
        return f"<task {self.pid} {self.comm}>"


Task = task_struct
