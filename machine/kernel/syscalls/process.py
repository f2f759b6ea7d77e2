"""System calls about processes: making them, waiting for them, groups and sessions.

Sources: kernel/fork.c, kernel/exit.c, kernel/sys.c.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Optional

from machine.kernel.abi.capability import CAP_CHECKPOINT_RESTORE, CAP_SYS_ADMIN
from machine.kernel.abi.errno import (
    E2BIG,
    EACCES,
    EAGAIN,
    ECHILD,
    EEXIST,
    EINVAL,
    EPERM,
    ESRCH,
    Errno,
)
from machine.kernel.abi.layout import CLONE_ARGS, CLONE_ARGS_SIZE_VER0, clone_args
from machine.kernel.abi.signal import NSIG, SIGCHLD
from machine.kernel.capability import capable
from machine.kernel.fs.file import O_NONBLOCK
from machine.kernel.syscalls.table import syscall
from machine.kernel.task import fork as f
from machine.kernel.task import wait4 as w
from machine.kernel.task.signal import process_leaders
from machine.kernel.task.task import EXIT_DEAD

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

PAGE_SIZE = 4096
INT_MIN = -(1 << 31)


# -- making ------------------------------------------------------------------------------------------------


@syscall("fork", "")
def sys_fork(task: Task) -> int:
    """A copy of the process, with copy-on-write memory."""
    return f.do_fork(task.kernel, task)


@syscall("vfork", "")
def sys_vfork(task: Task) -> int:
    """A child in the same memory; the caller sleeps until it calls exec or exits."""
    return f.do_vfork(task.kernel, task)


def _clone(task: Task, flags: int, stack: int, parent_tid: int, child_tid: int, tls: int) -> int:
    if flags & f.CLONE_PIDFD and flags & f.CLONE_PARENT_SETTID:
        raise Errno(EINVAL)  # they share the argument
    args = f.kernel_clone_args(
        flags & ~f.CSIGNAL & 0xFFFFFFFF, flags & f.CSIGNAL, stack, tls, parent_tid, child_tid, pidfd=parent_tid
    )  # fmt: skip
    return f.kernel_clone(task.kernel, task, args)


@syscall("clone", "flags:CLONE ptr ptr ptr ulong", abi="x86_64", support="no namespaces")
def sys_clone64(task: Task, flags: int, stack: int, parent_tid: int, child_tid: int, tls: int) -> int:
    """A new process or thread."""
    return _clone(task, flags, stack, parent_tid, child_tid, tls)


@syscall("clone", "flags:CLONE ptr ptr ptr ptr", abi="i386", support="no namespaces")
def sys_clone32(task: Task, flags: int, stack: int, parent_tid: int, tls: int, child_tid: int) -> int:
    """The same; i386 has the last two arguments the other way round (CONFIG_CLONE_BACKWARDS)."""
    return _clone(task, flags, stack, parent_tid, child_tid, tls)


def _read_clone_args(task: Task, uargs: int, size: int) -> clone_args:
    """copy_struct_from_user: a longer structure is fine while the rest of it is zero, else E2BIG."""
    if size > PAGE_SIZE:
        raise Errno(E2BIG)
    if size < CLONE_ARGS_SIZE_VER0:
        raise Errno(EINVAL)
    raw = task.mm.copy_from_user(uargs, size)
    if any(raw[CLONE_ARGS.size :]):
        raise Errno(E2BIG)
    return clone_args(*CLONE_ARGS.unpack(raw[: CLONE_ARGS.size].ljust(CLONE_ARGS.size, b"\0")))


def _check_clone_args(task: Task, args: clone_args) -> None:
    """clone3_args_valid and copy_clone_args_from_user."""
    flags = args.flags
    bad = (
        flags & ~(0xFFFFFFFF | f.CLONE_CLEAR_SIGHAND | f.CLONE_INTO_CGROUP)
        or flags & (f.CLONE_DETACHED | f.CSIGNAL & ~f.CLONE_NEWTIME)
        or args.exit_signal > NSIG
        or (flags & (f.CLONE_THREAD | f.CLONE_PARENT) and args.exit_signal)
        or bool(args.stack) != bool(args.stack_size)
        or args.set_tid_size > 32
        or bool(args.set_tid) != bool(args.set_tid_size)
        or (flags & f.CLONE_PIDFD and flags & f.CLONE_PARENT_SETTID and args.pidfd == args.parent_tid)
    )
    if bad:
        raise Errno(EINVAL)
    if args.stack and args.stack + args.stack_size > task.mm.task_size:
        raise Errno(EINVAL)


def _wanted_pid(task: Task, args: clone_args) -> int:
    """clone3's set_tid: 0 where it is not used.  One pid namespace, so one element (EINVAL otherwise)."""
    if not args.set_tid:
        return 0
    if args.set_tid_size != 1:
        raise Errno(EINVAL)
    (pid,) = struct.unpack("<i", task.mm.copy_from_user(args.set_tid, 4))
    if not 1 <= pid < 32768:
        raise Errno(EINVAL)
    if not capable(task, CAP_SYS_ADMIN) and not capable(task, CAP_CHECKPOINT_RESTORE):
        raise Errno(EPERM)
    if pid in task.kernel.tasks or task.kernel.is_group(pid):
        raise Errno(EEXIST)
    return int(pid)


@syscall("clone3", "ptr size", support="no namespaces, no cgroup")
def sys_clone3(task: Task, uargs: int, size: int) -> int:
    """A new process or thread as a structure describes."""
    args = _read_clone_args(task, uargs, size)
    _check_clone_args(task, args)
    wanted = f.kernel_clone_args(
        args.flags, args.exit_signal, args.stack + args.stack_size, args.tls, args.parent_tid, args.child_tid,
        _wanted_pid(task, args), args.pidfd,
    )  # fmt: skip
    return f.kernel_clone(task.kernel, task, wanted)


# -- waiting ------------------------------------------------------------------------------------------------------


@syscall("wait4", "pid ptr:wstatus> int:W ptr:rusage>")
def sys_wait4(task: Task, pid: int, stat_addr: int, options: int, ru: int) -> int:
    """Wait for a child: -1 any, 0 one of the own group, -N one of group N, N that one."""
    options &= 0xFFFFFFFF
    if options & ~(w.WNOHANG | w.WUNTRACED | w.WCONTINUED | w.WNOTHREAD | w.WCLONE | w.WALL):
        raise Errno(EINVAL)
    if pid == INT_MIN:
        raise Errno(ESRCH)
    kind, number = w.P_PID, pid
    if pid == -1:
        kind = w.P_ALL
    elif pid <= 0:
        kind, number = w.P_PGID, -pid or task.signal.pgrp
    news = w.do_wait(task.kernel, task, kind, number, options | w.WEXITED)
    if news is None:
        return 0
    if stat_addr:
        task.mm.put_u32(stat_addr, news.word)
    if ru:
        task.mm.copy_to_user(ru, task.abi.pack_rusage(news.usage))
    return news.pid


@syscall("waitpid", "pid ptr:wstatus> int:W", abi="i386")
def sys_waitpid(task: Task, pid: int, stat_addr: int, options: int) -> int:
    """wait4 without rusage."""
    return sys_wait4(task, pid, stat_addr, options, 0)


@syscall("waitid", "int:P_ pid ptr:siginfo> int:W ptr:rusage>")
def sys_waitid(task: Task, which: int, upid: int, infop: int, options: int, ru: int) -> int:
    """Wait for a child and describe it as the siginfo of its SIGCHLD; with WNOWAIT it stays a zombie.

    `infop` is written whatever comes, zeros without a child: EFAULT there hides every other error.
    """
    try:
        news = _waitid(task, which, upid, options & 0xFFFFFFFF)
    except Errno:
        if infop:
            _put_wait_info(task, infop, None)
        raise
    if news is not None and ru:
        task.mm.copy_to_user(ru, task.abi.pack_rusage(news.usage))
    if infop:
        _put_wait_info(task, infop, news)
    return 0


def _waitid(task: Task, which: int, upid: int, options: int) -> Optional[w.Waited]:
    states = w.WEXITED | w.WSTOPPED | w.WCONTINUED
    if options & ~(w.WNOHANG | w.WNOWAIT | states | w.WNOTHREAD | w.WCLONE | w.WALL) or not options & states:
        raise Errno(EINVAL)
    if which == w.P_PIDFD:
        return _wait_pidfd(task, upid, options)
    if which not in (w.P_ALL, w.P_PID, w.P_PGID):
        raise Errno(EINVAL)
    if (which == w.P_PID and upid <= 0) or (which == w.P_PGID and upid < 0):
        raise Errno(EINVAL)
    if which == w.P_PGID and upid == 0:
        upid = task.signal.pgrp
    return w.do_wait(task.kernel, task, which, upid, options)


def _wait_pidfd(task: Task, fd: int, options: int) -> Optional[w.Waited]:
    """The child of a descriptor; EAGAIN where that does not block and there is no news."""
    from machine.kernel.fs.pidfd import pidfd_leader

    if fd < 0:
        raise Errno(EINVAL)
    filp = task.files.fget(fd)
    leader = pidfd_leader(filp)
    if leader.state == EXIT_DEAD:
        raise Errno(ECHILD)
    if not filp.f_flags & O_NONBLOCK or options & w.WNOHANG:
        return w.do_wait(task.kernel, task, w.P_PID, leader.pid, options)
    news = w.do_wait(task.kernel, task, w.P_PID, leader.pid, options | w.WNOHANG)
    if news is None:
        raise Errno(EAGAIN)
    return news


def _put_wait_info(task: Task, infop: int, news: Optional[w.Waited]) -> None:
    """signo, errno, code, pid, uid, status; the other bytes are left alone."""
    union = 16 if task.abi.bits == 64 else 12
    if news is None:
        head, tail = (0, 0, 0), (0, 0, 0)
    else:
        head, tail = (SIGCHLD, 0, news.code), (news.pid, news.uid, news.status)
    task.mm.copy_to_user(infop, struct.pack("<iii", *head))
    task.mm.copy_to_user(infop + union, struct.pack("<iIi", *tail))


# -- groups and sessions ----------------------------------------------------------------------------------------------


def _find(task: Task, pid: int) -> Task:
    if pid == 0:
        return task.signal.leader
    found = task.kernel.tasks.get(pid)
    if found is None:
        raise Errno(ESRCH)
    return found


@syscall("setpgid", "pid pid")
def sys_setpgid(task: Task, pid: int, pgid: int) -> int:
    """Move a process to a group of its session.  EACCES after the child's execve; EPERM for session leaders."""
    leader = task.signal.leader
    pid = pid or leader.pid
    pgid = pgid or pid
    if pgid < 0:
        raise Errno(EINVAL)
    target = _find(task, pid)
    if target is not target.signal.leader:
        raise Errno(EINVAL)
    if target.parent is leader:
        if target.signal.session != leader.signal.session:
            raise Errno(EPERM)
        if target.signal.did_exec:
            raise Errno(EACCES)
    elif target is not leader:
        raise Errno(ESRCH)
    if target.signal.session_leader:
        raise Errno(EPERM)
    if pgid != pid:
        session = leader.signal.session
        if not any(t.signal.pgrp == pgid and t.signal.session == session for t in process_leaders(task.kernel)):
            raise Errno(EPERM)
    target.signal.pgrp = pgid
    return 0


@syscall("getpgid", "pid")
def sys_getpgid(task: Task, pid: int) -> int:
    """The group of a process."""
    return _find(task, pid).signal.pgrp


@syscall("getpgrp", "", sleeps=False)
def sys_getpgrp(task: Task) -> int:
    """The group of the caller."""
    return task.signal.pgrp


@syscall("getsid", "pid")
def sys_getsid(task: Task, pid: int) -> int:
    """The session of a process."""
    return _find(task, pid).signal.session


@syscall("setsid", "")
def sys_setsid(task: Task) -> int:
    """A new session and group, without a terminal.  EPERM for the leader of a group."""
    signal, pid = task.signal, task.tgid
    if signal.session_leader or any(t.signal.pgrp == pid for t in process_leaders(task.kernel)):
        raise Errno(EPERM)
    signal.session = signal.pgrp = pid
    signal.session_leader = True
    signal.tty = None
    return pid
