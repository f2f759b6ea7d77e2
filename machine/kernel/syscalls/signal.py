"""System calls about signals (kernel/signal.c, arch/x86/kernel/signal*.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Optional

from machine.hardware.cpu import RSP
from machine.kernel.abi.errno import (
    EAGAIN,
    EINTR,
    EINVAL,
    ERESTARTNOHAND,
    ERESTARTSYS,
    Errno,
)
from machine.kernel.abi.layout import sigaction, timespec_ns
from machine.kernel.abi.signal import (
    DEFAULT_IGNORE,
    FULL_SET,
    NSIG,
    SA_IMMUTABLE,
    SA_NODEFER,
    SA_RESETHAND,
    SA_UAPI_FLAGS,
    SIG_BLOCK,
    SIG_DFL,
    SIG_IGN,
    SIG_SETMASK,
    SIG_UNBLOCK,
    SIGKILL,
    SIGSTOP,
    SS_AUTODISARM,
    UNBLOCKABLE,
)
from machine.kernel.syscalls.table import syscall
from machine.kernel.task.altstack import do_sigaltstack, sas_ss_flags
from machine.kernel.task.deliver import dequeue_signal
from machine.kernel.task.sigframe32 import rt_sigreturn32, sigreturn32
from machine.kernel.task.sigframe64 import frame_is_there, rt_sigreturn64
from machine.kernel.task.sighand import k_sigaction
from machine.kernel.task.siginfo import siginfo
from machine.kernel.task.signal import recalc_sigpending, set_current_blocked

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

SIGSET_SIZE = 8


def _check_size(size: int) -> None:
    if size != SIGSET_SIZE:
        raise Errno(EINVAL)


# -- actions -----------------------------------------------------------------------------------------


def do_sigaction(task: Task, signo: int, new: Optional[sigaction]) -> sigaction:
    """Set the action of `signo` (None: leave it) and return the one before.  EINVAL for SIGKILL and SIGSTOP."""
    if not 1 <= signo <= NSIG or (new is not None and signo in (SIGKILL, SIGSTOP)):
        raise Errno(EINVAL)
    action = task.sighand.action[signo]
    old = sigaction(action.handler, action.flags, action.restorer, action.mask)
    if action.flags & SA_IMMUTABLE:
        raise Errno(EINVAL)
    if new is None:
        return old
    mask = new.mask & ~UNBLOCKABLE & FULL_SET
    task.sighand.action[signo] = k_sigaction(new.handler, new.flags & SA_UAPI_FLAGS, new.restorer, mask)
    bit = 1 << (signo - 1)
    if new.handler == SIG_IGN or (new.handler == SIG_DFL and bit & DEFAULT_IGNORE):
        # POSIX: pending signals that are ignored now are discarded, blocked or not.
        task.signal.shared_pending.discard(bit)
        for thread in task.signal.threads:
            thread.pending.discard(bit)
            recalc_sigpending(thread)
    return old


@syscall("rt_sigaction", "int:signal ptr:sigaction ptr:sigaction> size")
def sys_rt_sigaction(task: Task, signo: int, act: int, oact: int, size: int) -> int:
    """Examine and change a signal's action."""
    _check_size(size)
    layout = task.abi.sigaction
    new = task.abi.unpack_sigaction(task.mm.copy_from_user(act, layout.size)) if act else None
    old = do_sigaction(task, signo, new)
    if oact:
        task.mm.copy_to_user(oact, task.abi.pack_sigaction(old))
    return 0


@syscall("sigaction", "int:signal ptr ptr", abi="i386")
def sys_sigaction(task: Task, signo: int, act: int, oact: int) -> int:
    """The i386 call before real-time signals: 32 bits of mask."""
    layout = task.abi.old_sigaction
    new = None
    if act:
        handler, mask, flags, restorer = layout.unpack(task.mm.copy_from_user(act, layout.size))
        new = sigaction(handler, flags, restorer, mask)
    old = do_sigaction(task, signo, new)
    if oact:
        task.mm.copy_to_user(oact, layout.pack(old.handler, old.mask & 0xFFFFFFFF, old.flags, old.restorer))
    return 0


@syscall("signal", "int:signal ptr", abi="i386", result="hex")
def sys_signal(task: Task, signo: int, handler: int) -> int:
    """System V signal(): one shot, not masked; returns the old handler."""
    return do_sigaction(task, signo, sigaction(handler, SA_RESETHAND | SA_NODEFER, 0, 0)).handler


# -- the mask ------------------------------------------------------------------------------------------


def _change_mask(task: Task, how: int, bits: int) -> None:
    if how == SIG_BLOCK:
        mask = task.blocked | bits
    elif how == SIG_UNBLOCK:
        mask = task.blocked & ~bits
    elif how == SIG_SETMASK:
        mask = bits
    else:
        raise Errno(EINVAL)
    set_current_blocked(task, mask)


def _rt_sigprocmask_at_once(task: Task, how: int, nset: int, oset: int, size: int) -> int | None:
    """The masks are in memory that can be reached without a page fault."""
    mm = task.mm
    if (nset and mm.take_at_once(nset, SIGSET_SIZE) is None) or (oset and mm.room_at_once(oset, SIGSET_SIZE) == -1):
        return None
    return sys_rt_sigprocmask(task, how, nset, oset, size)


@syscall("rt_sigprocmask", "int:SIG_ ptr:sigset ptr:sigset> size", at_once=_rt_sigprocmask_at_once)
def sys_rt_sigprocmask(task: Task, how: int, nset: int, oset: int, size: int) -> int:
    """Examine and change the blocked signals."""
    _check_size(size)
    old = task.blocked
    if nset:
        _change_mask(task, how, task.mm.get_u64(nset) & ~UNBLOCKABLE)
    if oset:
        task.mm.put_u64(oset, old)
    return 0


@syscall("sigprocmask", "int:SIG_ ptr:oldset ptr:oldset>", abi="i386")
def sys_sigprocmask(task: Task, how: int, nset: int, oset: int) -> int:
    """The same for signals 1 to 32."""
    old = task.blocked
    if nset:
        bits = task.mm.get_u32(nset)
        if how == SIG_SETMASK:
            bits |= old & ~0xFFFFFFFF
        _change_mask(task, how, bits & ~UNBLOCKABLE)
    if oset:
        task.mm.put_u32(oset, old)
    return 0


@syscall("sgetmask", "", abi="i386", sleeps=False, result="hex")
def sys_sgetmask(task: Task) -> int:
    """The blocked signals 1 to 32 as the result."""
    return task.blocked & 0xFFFFFFFF


@syscall("ssetmask", "int", abi="i386", result="hex")
def sys_ssetmask(task: Task, mask: int) -> int:
    """Set the whole mask, return the old one."""
    old = task.blocked & 0xFFFFFFFF
    set_current_blocked(task, mask & 0xFFFFFFFF)
    return old


def _pending(task: Task) -> int:
    return (task.pending.signal | task.signal.shared_pending.signal) & task.blocked


@syscall("rt_sigpending", "ptr:sigset> size")
def sys_rt_sigpending(task: Task, uset: int, size: int) -> int:
    """Signals that are pending and blocked."""
    if size > SIGSET_SIZE:
        raise Errno(EINVAL)
    task.mm.copy_to_user(uset, struct.pack("<Q", _pending(task))[:size])
    return 0


@syscall("sigpending", "ptr:oldset>", abi="i386")
def sys_sigpending(task: Task, uset: int) -> int:
    """The same for signals 1 to 32."""
    task.mm.put_u32(uset, _pending(task))
    return 0


# -- waiting -----------------------------------------------------------------------------------------------


def _sleep_until_signal(task: Task) -> int:
    queue = task.kernel.sched.queue()
    try:
        while True:
            task.kernel.sched.wait(queue)
    except Errno as error:
        if error.errno != ERESTARTSYS:
            raise
    raise Errno(ERESTARTNOHAND)


@syscall("pause", "")
def sys_pause(task: Task) -> int:
    """Sleep until a handler has run: EINTR."""
    return _sleep_until_signal(task)


def sigsuspend(task: Task, mask: int) -> int:
    """Sleep with another mask; it is put back when the handler returns."""
    task.saved_sigmask = task.blocked
    set_current_blocked(task, mask)
    return _sleep_until_signal(task)


@syscall("rt_sigsuspend", "ptr:sigset size")
def sys_rt_sigsuspend(task: Task, unewset: int, size: int) -> int:
    """Wait for a signal with the mask at `unewset`."""
    _check_size(size)
    return sigsuspend(task, task.mm.get_u64(unewset))


@syscall("sigsuspend", "int int uint", abi="i386")
def sys_sigsuspend(task: Task, _unused1: int, _unused2: int, mask: int) -> int:
    """The same; the 32 bits are the third argument."""
    return sigsuspend(task, mask)


def do_sigtimedwait(task: Task, these: int, timeout_ns: Optional[int]) -> siginfo:
    """Take a signal of the set `these` out of the queues, waiting if need be.  EAGAIN: time is up; EINTR."""
    these &= ~UNBLOCKABLE
    info = dequeue_signal(task, ~these & FULL_SET)
    if info is not None:
        return info
    interrupted = False
    if timeout_ns is None or timeout_ns > 0:
        interrupted = _wait_unblocked(task, these, timeout_ns)
        info = dequeue_signal(task, ~these & FULL_SET)
        if info is not None:
            return info
    raise Errno(EINTR if interrupted else EAGAIN)


def _wait_unblocked(task: Task, these: int, timeout_ns: Optional[int]) -> bool:
    """Sleep with `these` unblocked; the mask from before counts as blocked for who sends (real_blocked)."""
    before = task.blocked
    task.sigwait = before
    task.blocked &= ~these
    recalc_sigpending(task)
    try:
        while task.kernel.sched.wait(task.kernel.sched.queue(), timeout_ns):
            pass
        return False
    except Errno:
        return True
    finally:
        task.sigwait = 0
        task.blocked = before
        recalc_sigpending(task)


def _sigtimedwait(task: Task, uthese: int, uinfo: int, timeout: Optional[tuple[int, int]], size: int) -> int:
    _check_size(size)
    these = task.mm.get_u64(uthese)
    info = do_sigtimedwait(task, these, None if timeout is None else timespec_ns(*timeout))
    if uinfo:
        task.mm.copy_to_user(uinfo, info.pack(task.abi.bits))
    return info.signo


@syscall("rt_sigtimedwait", "ptr:sigset ptr:siginfo> ptr:ts size")
def sys_rt_sigtimedwait(task: Task, uthese: int, uinfo: int, uts: int, size: int) -> int:
    """Wait for one of a set of blocked signals."""
    return _sigtimedwait(task, uthese, uinfo, task.abi.get_timespec(task.mm, uts) if uts else None, size)


@syscall("rt_sigtimedwait_time64", "ptr:sigset ptr:siginfo> ptr:ts64 size", abi="i386")
def sys_rt_sigtimedwait_time64(task: Task, uthese: int, uinfo: int, uts: int, size: int) -> int:
    """The same with a 64-bit timespec."""
    return _sigtimedwait(task, uthese, uinfo, task.abi.get_timespec64(task.mm, uts) if uts else None, size)


# -- the alternate stack, and back from a handler ---------------------------------------------------------------


@syscall("sigaltstack", "ptr:stack ptr:stack>")
def sys_sigaltstack(task: Task, uss: int, uoss: int) -> int:
    """Examine and change the stack for SA_ONSTACK handlers."""
    layout = task.abi.stack_t
    sp = task.kernel.cpu.regs[RSP]
    new = layout.unpack(task.mm.copy_from_user(uss, layout.size)) if uss else None
    flags = sas_ss_flags(task, sp) | task.sas_ss_flags & SS_AUTODISARM
    signed = flags - (1 << 32) if flags >> 31 else flags
    old = layout.pack(task.sas_ss_sp, signed, task.sas_ss_size)
    if new is not None:
        do_sigaltstack(task, sp, new[0], new[1] & 0xFFFFFFFF, new[2])
    if uoss:
        task.mm.copy_to_user(uoss, old)
    return 0


def _sigreturn_at_once(task: Task) -> int | None:
    """A frame that can be read without a page fault, of a 64-bit program."""
    saved = frame_is_there(task) if task.abi.bits == 64 else None
    return None if saved is None else rt_sigreturn64(task.kernel, task, saved)


@syscall("rt_sigreturn", "", result="hex", at_once=_sigreturn_at_once)
def sys_rt_sigreturn(task: Task) -> int:
    """Return from a handler: everything as the frame says."""
    back = rt_sigreturn64 if task.abi.bits == 64 else rt_sigreturn32
    return back(task.kernel, task)


@syscall("sigreturn", "", abi="i386", result="hex")
def sys_sigreturn(task: Task) -> int:
    """Return from a handler without siginfo."""
    return sigreturn32(task.kernel, task)


@syscall("restart_syscall", "")
def sys_restart_syscall(task: Task) -> int:
    """Go on with a call that a stop or an ignored signal interrupted; EINTR where there is none."""
    restart, task.restart = task.restart, None
    return -EINTR if restart is None else restart()
