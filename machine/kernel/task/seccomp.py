"""Programs that limit their own system calls (kernel/seccomp.c): strict mode, and filters.

`task.seccomp` is None for all others, and nothing here is imported.  Children have their parent's filters, and execve
keeps them.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from machine.hardware.cpu import RAX, RIP
from machine.kernel.abi.capability import CAP_SYS_ADMIN
from machine.kernel.abi.errno import EACCES, EINVAL, ENOMEM, ENOSYS, ESRCH, Errno
from machine.kernel.abi.signal import SIGKILL, SIGSYS
from machine.kernel.syscalls.table import ARGUMENTS
from machine.kernel.task.seccomp_filter import BPF_MAXINSNS, Instruction, check, run
from machine.kernel.task.siginfo import siginfo
from machine.kernel.task.signal import fatal_signal_pending, force_siginfo

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import Task

# include/uapi/linux/seccomp.h
SECCOMP_MODE_STRICT, SECCOMP_MODE_FILTER = 1, 2
FILTER_TSYNC, FILTER_LOG, FILTER_SPEC_ALLOW, FILTER_TSYNC_ESRCH = 0x1, 0x2, 0x4, 0x10
RET_KILL_PROCESS, RET_KILL_THREAD, RET_TRAP, RET_ERRNO = 0x8000_0000, 0, 0x0003_0000, 0x0005_0000
RET_USER_NOTIF, RET_TRACE, RET_LOG, RET_ALLOW = 0x7FC0_0000, 0x7FF0_0000, 0x7FFC_0000, 0x7FFF_0000
RET_ACTION_FULL, RET_DATA = 0xFFFF_0000, 0x0000_FFFF
ACTIONS = (RET_KILL_PROCESS, RET_KILL_THREAD, RET_TRAP, RET_ERRNO, RET_TRACE, RET_LOG, RET_ALLOW)
"""Those that a filter may use here (SECCOMP_GET_ACTION_AVAIL)."""
SYS_SECCOMP = 1
PTRACE_EVENT_SECCOMP = 7
MAX_ERRNO = 4095
MAX_INSNS_PER_PATH = 32768
"""Instructions of all filters of a task, with 4 more for each (1 << 18 bytes)."""
AUDIT_ARCH = {"x86_64": 0xC000_003E, "i386": 0x4000_0003}
_STRICT = {"x86_64": (0, 1, 60, 15), "i386": (3, 4, 1, 119)}
"""read, write, exit, sigreturn: what strict mode leaves."""
_MASK32 = 0xFFFF_FFFF


class seccomp_filter:
    """One filter, and those that were there before it (`prev`): all are asked, the strictest answer counts."""

    __slots__ = ("known", "length", "log", "prev", "program")

    def __init__(self, program: list[Instruction], prev: Optional[seccomp_filter], log: bool) -> None:
        self.program = program
        self.prev = prev
        self.log = log
        """Refusals go into the log (SECCOMP_FILTER_FLAG_LOG)."""
        self.length: int = len(program) + (prev.length + 4 if prev is not None else 0)
        self.known: dict[tuple[int, int], int] = {}
        """(architecture, number) -> the answer, where it depends on nothing else."""

    def answer(self, data: tuple[int, ...]) -> int:
        """What this filter alone says."""
        found = self.known.get((data[1], data[0]))
        if found is None:
            found, by_number = run(self.program, data)
            if by_number:
                self.known[data[1], data[0]] = found
        return found


class seccomp(NamedTuple):
    """The state of a task; never changed, so threads and children share it."""

    mode: int
    filter: Optional[seccomp_filter] = None

    def filters(self) -> list[seccomp_filter]:
        """All of them, the newest first."""
        found, each = [], self.filter
        while each is not None:
            found.append(each)
            each = each.prev
        return found


# -- asking for it ------------------------------------------------------------------------------------------


def _assign(task: Task, state: seccomp) -> None:
    task.seccomp = state
    task.kernel.entry.filter_system_calls()


def set_mode_strict(task: Task) -> int:
    """Only read, write, exit and sigreturn from now on.  EINVAL: the task has filters."""
    if task.seccomp is not None and task.seccomp.mode != SECCOMP_MODE_STRICT:
        raise Errno(EINVAL)
    _assign(task, seccomp(SECCOMP_MODE_STRICT))
    return 0


def set_mode_filter(task: Task, flags: int, address: int) -> int:
    """Add the filter of a `struct sock_fprog`.  EFAULT, EACCES (no_new_privs is not set), EINVAL, ENOMEM: too long with
    those that are there.  With FILTER_TSYNC all threads get it, or the result is the number of one that can't."""
    from machine.kernel.capability import capable

    if flags & ~(FILTER_TSYNC | FILTER_LOG | FILTER_SPEC_ALLOW | FILTER_TSYNC_ESRCH):
        raise Errno(EINVAL)
    head = struct.Struct("<H6xQ" if task.abi.bits == 64 else "<H2xI")
    count, pointer = head.unpack(task.mm.copy_from_user(address, head.size))
    if not 0 < count <= BPF_MAXINSNS:
        raise Errno(EINVAL)
    if not task.no_new_privs and not capable(task, CAP_SYS_ADMIN):
        raise Errno(EACCES)
    if not pointer:
        raise Errno(EINVAL)
    program = list(struct.iter_unpack("<HBBI", task.mm.copy_from_user(pointer, count * 8)))
    check(program)
    old: Any = task.seccomp
    if old is not None and old.mode != SECCOMP_MODE_FILTER:
        raise Errno(EINVAL)
    new = seccomp_filter(program, None if old is None else old.filter, bool(flags & FILTER_LOG))
    if new.length > MAX_INSNS_PER_PATH:
        raise Errno(ENOMEM)
    others = [thread for thread in task.signal.threads if thread is not task] if flags & FILTER_TSYNC else []
    for thread in others:
        if thread.seccomp is not None and (old is None or thread.seccomp.filter not in old.filters()):
            if flags & FILTER_TSYNC_ESRCH:
                raise Errno(ESRCH)
            return int(thread.pid)
    state = seccomp(SECCOMP_MODE_FILTER, new)
    _assign(task, state)
    for thread in others:
        thread.seccomp = state
        thread.no_new_privs = thread.no_new_privs or task.no_new_privs
    return 0


# -- a system call ----------------------------------------------------------------------------------------------


def secure_computing(kernel: Kernel, task: Task, abi: str) -> Optional[int]:
    """Whether the task may make the call in its registers (__secure_computing): None, or what it gets instead.

    The number is in `task.orig_ax`; a tracer may have changed it when this returns.
    """
    state: seccomp = task.seccomp
    if state.mode == SECCOMP_MODE_STRICT:
        if task.orig_ax & _MASK32 not in _STRICT[abi]:
            from machine.kernel.task.exit import do_exit

            _log(kernel, task, abi, RET_KILL_THREAD, SIGKILL)
            do_exit(kernel, task, SIGKILL)
        return None
    return _ask_filters(kernel, task, abi, False)


def _data(kernel: Kernel, task: Task, abi: str) -> tuple[int, ...]:
    """`struct seccomp_data` in words: number, architecture, instruction pointer, arguments."""
    regs = kernel.cpu.regs
    wide = [regs[RIP], *(regs[index] for index in ARGUMENTS[abi])]
    if abi == "i386":
        wide = [value & _MASK32 for value in wide]
    words = [half for value in wide for half in (value & _MASK32, value >> 32 & _MASK32)]
    return (task.orig_ax & _MASK32, AUDIT_ARCH[abi], *words)


def _signed_action(answer: int) -> int:
    """Answers are compared as signed numbers: killing the process comes first."""
    action = answer & RET_ACTION_FULL
    return action - (1 << 32) if action >> 31 else action


def _ask_filters(kernel: Kernel, task: Task, abi: str, again: bool) -> Optional[int]:
    data = _data(kernel, task, abi)
    chosen = RET_ALLOW
    log = False
    for each in task.seccomp.filters():
        answer = each.answer(data)
        if _signed_action(answer) < _signed_action(chosen):
            chosen, log = answer, each.log
    action, value = chosen & RET_ACTION_FULL, chosen & RET_DATA
    if action == RET_ALLOW:
        return None
    if action == RET_LOG:
        _log(kernel, task, abi, action, 0)
        return None
    if action == RET_TRACE and again:
        return None
    if log or action not in (RET_TRAP, RET_ERRNO, RET_TRACE):
        _log(kernel, task, abi, action, 0 if action in (RET_ERRNO, RET_TRACE) else SIGSYS)
    if action == RET_ERRNO:
        return -min(value, MAX_ERRNO)
    if action == RET_TRACE:
        return _trace(kernel, task, abi, value)
    if action == RET_USER_NOTIF:  # nobody listens: filters that want it are refused their listener
        return -ENOSYS
    if action == RET_KILL_THREAD and len(task.signal.threads) > 1:
        from machine.kernel.task.exit import do_exit

        do_exit(kernel, task, SIGSYS)
    _send(kernel, task, abi, value, kill=action != RET_TRAP)
    return task.orig_ax & _MASK32  # syscall_rollback: the registers are as before the call


def _send(kernel: Kernel, task: Task, abi: str, value: int, kill: bool) -> None:
    """SIGSYS that says which call it was (force_sig_seccomp)."""
    info = siginfo(SIGSYS, SYS_SECCOMP, address=kernel.cpu.regs[RIP])
    info.errno, info.syscall, info.arch = value, task.orig_ax & _MASK32, AUDIT_ARCH[abi]
    force_siginfo(kernel, task, info, default=kill)


def _trace(kernel: Kernel, task: Task, abi: str, value: int) -> Optional[int]:
    """PTRACE_EVENT_SECCOMP: the tracer may change the call, or make it -1; ENOSYS without a tracer that wants it."""
    from machine.kernel.task.ptrace import event_enabled, ptrace_event

    if not event_enabled(task, PTRACE_EVENT_SECCOMP):
        return -ENOSYS
    regs, mask = kernel.cpu.regs, (1 << task.abi.bits) - 1
    regs[RAX] = -ENOSYS & mask
    ptrace_event(kernel, task, PTRACE_EVENT_SECCOMP, value)
    number = task.orig_ax & _MASK32
    if fatal_signal_pending(task) or number >> 31:
        return task.abi.signed(regs[RAX] & mask)
    return _ask_filters(kernel, task, abi, True)


def _log(kernel: Kernel, task: Task, abi: str, action: int, signo: int) -> None:
    """The record that the audit system writes for type 1326 (kernel/auditsc.c: audit_seccomp)."""
    kernel.printk(
        f'audit: type=1326 uid={task.uid} gid={task.gid} pid={task.pid} comm="{task.comm}" sig={signo} '
        f"arch={AUDIT_ARCH[abi]:x} syscall={task.orig_ax & _MASK32} compat={int(abi == 'i386')} "
        f"ip={kernel.cpu.regs[RIP]:#x} code={action:#x}",
        5,
    )
