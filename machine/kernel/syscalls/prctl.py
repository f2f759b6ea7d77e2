"""prctl(2) (kernel/sys.c: prctl, security/commoncap.c: cap_task_prctl)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from machine.kernel.abi.capability import (
    CAP_LAST_CAP,
    CAP_SETPCAP,
    SECBIT_EXEC_DENY_INTERACTIVE,
    SECBIT_EXEC_RESTRICT_FILE,
    SECBIT_KEEP_CAPS,
    SECBIT_NO_CAP_AMBIENT_RAISE,
    SECURE_ALL_BITS,
    SECURE_ALL_LOCKS,
)
from machine.kernel.abi.errno import EFAULT, EINVAL, ENODEV, EPERM, Errno
from machine.kernel.abi.signal import NSIG
from machine.kernel.capability import capabilities, capable
from machine.kernel.syscalls.table import syscall

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

# include/uapi/linux/prctl.h
PR_SET_PDEATHSIG, PR_GET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_DUMPABLE = 1, 2, 3, 4
PR_GET_KEEPCAPS, PR_SET_KEEPCAPS, PR_GET_TIMING, PR_SET_TIMING = 7, 8, 13, 14
PR_SET_NAME, PR_GET_NAME, PR_CAPBSET_READ, PR_CAPBSET_DROP = 15, 16, 23, 24
PR_GET_SECCOMP, PR_SET_SECCOMP = 21, 22
PR_GET_TSC, PR_SET_TSC, PR_GET_SECUREBITS, PR_SET_SECUREBITS = 25, 26, 27, 28
PR_TASK_PERF_EVENTS_DISABLE, PR_TASK_PERF_EVENTS_ENABLE, PR_GET_SPECULATION_CTRL = 31, 32, 52
PR_SET_TIMERSLACK, PR_GET_TIMERSLACK = 29, 30
PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER = 36, 37
PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS, PR_GET_TID_ADDRESS = 38, 39, 40
PR_SET_THP_DISABLE, PR_GET_THP_DISABLE, PR_CAP_AMBIENT = 41, 42, 47
PR_CAP_AMBIENT_IS_SET, PR_CAP_AMBIENT_RAISE, PR_CAP_AMBIENT_LOWER, PR_CAP_AMBIENT_CLEAR_ALL = 1, 2, 3, 4
PR_MCE_KILL, PR_MCE_KILL_GET = 33, 34
PR_MCE_KILL_CLEAR, PR_MCE_KILL_SET = 0, 1
PR_MCE_KILL_LATE, PR_MCE_KILL_EARLY, PR_MCE_KILL_DEFAULT = 0, 1, 2
PR_SET_VMA, PR_SET_VMA_ANON_NAME = 0x53564D41, 0
PR_TSC_ENABLE = 1
DEFAULT_SLACK = 50_000
TASK_COMM_LEN = 16
ANON_VMA_NAME_MAX_LEN = 80


@syscall("prctl", "int ulong ulong ulong ulong", support="no system call user dispatch: EINVAL")
def sys_prctl(task: Task, option: int, arg2: int, arg3: int, arg4: int, arg5: int) -> int:
    """EINVAL for an option that is unknown, or whose unused arguments are not zero where Linux asks for it."""
    method = _OPTIONS.get(option)
    if method is None:
        raise Errno(EINVAL)
    return method(task, arg2, arg3, arg4, arg5)


def _no_more(*unused: int) -> None:
    if any(unused):
        raise Errno(EINVAL)


def _set_pdeathsig(task: Task, signo: int, *_: int) -> int:
    if signo > NSIG:
        raise Errno(EINVAL)
    task.pdeath_signal = signo
    return 0


def _get_pdeathsig(task: Task, address: int, *_: int) -> int:
    task.mm.put_u32(address, task.pdeath_signal)
    return 0


def _set_dumpable(task: Task, value: int, *_: int) -> int:
    if value > 1:
        raise Errno(EINVAL)
    task.mm.dumpable = value
    return 0


def _set_keepcaps(task: Task, value: int, *_: int) -> int:
    if value > 1:
        raise Errno(EINVAL)
    if task.securebits & SECBIT_KEEP_CAPS << 1:
        raise Errno(EPERM)
    task.securebits = task.securebits & ~SECBIT_KEEP_CAPS | (SECBIT_KEEP_CAPS if value else 0)
    return 0


def _set_timing(task: Task, value: int, *_: int) -> int:
    _no_more(value)  # PR_TIMING_STATISTICAL is all there is
    return 0


def _set_name(task: Task, address: int, *_: int) -> int:
    data = b""
    while len(data) < TASK_COMM_LEN - 1:
        byte = task.mm.copy_from_user(address + len(data), 1)
        if byte == b"\0":
            break
        data += byte
    task.comm = os.fsdecode(data)
    return 0


def _get_name(task: Task, address: int, *_: int) -> int:
    task.mm.copy_to_user(address, os.fsencode(task.comm)[: TASK_COMM_LEN - 1].ljust(TASK_COMM_LEN, b"\0"))
    return 0


def _capbset_read(task: Task, number: int, *_: int) -> int:
    if number > CAP_LAST_CAP:
        raise Errno(EINVAL)
    return task.cap_bset >> number & 1


def _capbset_drop(task: Task, number: int, *_: int) -> int:
    """EPERM without CAP_SETPCAP; EINVAL: no such capability.  What the process has it keeps until the next exec."""
    sets = capabilities(task)
    if not sets[0] >> CAP_SETPCAP & 1:
        raise Errno(EPERM)
    if number > CAP_LAST_CAP:
        raise Errno(EINVAL)
    task.caps = sets
    task.cap_bset &= ~(1 << number)
    return 0


def _get_tsc(task: Task, address: int, *_: int) -> int:
    task.mm.put_u32(address, PR_TSC_ENABLE)
    return 0


def _set_tsc(task: Task, mode: int, *_: int) -> int:
    return 0 if mode == PR_TSC_ENABLE else _invalid()


def _set_timerslack(task: Task, value: int, *_: int) -> int:
    task.timer_slack = task.abi.signed(value) if task.abi.signed(value) > 0 else DEFAULT_SLACK
    return 0


def _set_subreaper(task: Task, value: int, *_: int) -> int:
    task.signal.is_child_subreaper = bool(value)
    return 0


def _get_subreaper(task: Task, address: int, *_: int) -> int:
    task.mm.put_u32(address, int(task.signal.is_child_subreaper))
    return 0


def _set_no_new_privs(task: Task, value: int, *unused: int) -> int:
    if value != 1:
        raise Errno(EINVAL)
    _no_more(*unused)
    task.no_new_privs = True
    return 0


def _get_no_new_privs(task: Task, *unused: int) -> int:
    _no_more(*unused)
    return int(task.no_new_privs)


def _get_tid_address(task: Task, address: int, *_: int) -> int:
    task.abi.put_word(task.mm, address, task.clear_child_tid)
    return 0


def _get_thp_disable(task: Task, *unused: int) -> int:
    _no_more(*unused)
    return int(task.mm.thp_disable)


def _set_thp_disable(task: Task, value: int, *unused: int) -> int:
    _no_more(*unused)
    task.mm.thp_disable = bool(value)
    return 0


def _mce_kill(task: Task, what: int, policy: int, *unused: int) -> int:
    _no_more(*unused)
    if what == PR_MCE_KILL_CLEAR:
        _no_more(policy)
        task.mce_kill = PR_MCE_KILL_DEFAULT
    elif what == PR_MCE_KILL_SET and policy in (PR_MCE_KILL_LATE, PR_MCE_KILL_EARLY, PR_MCE_KILL_DEFAULT):
        task.mce_kill = policy
    else:
        raise Errno(EINVAL)
    return 0


def _mce_kill_get(task: Task, *unused: int) -> int:
    _no_more(*unused)
    return task.mce_kill


def _cap_ambient(task: Task, what: int, capability: int, *unused: int) -> int:
    """EPERM: to raise what is not both permitted and inheritable; EINVAL: no such capability or question."""
    _no_more(*unused)
    if what == PR_CAP_AMBIENT_CLEAR_ALL:
        _no_more(capability)
        task.cap_ambient = 0
        return 0
    if not PR_CAP_AMBIENT_IS_SET <= what <= PR_CAP_AMBIENT_LOWER or capability > CAP_LAST_CAP:
        raise Errno(EINVAL)
    bit = 1 << capability
    if what == PR_CAP_AMBIENT_IS_SET:
        return int(bool(task.cap_ambient & bit))
    if what == PR_CAP_AMBIENT_LOWER:
        task.cap_ambient &= ~bit
        return 0
    _, permitted, inheritable = capabilities(task)
    if not permitted & inheritable & bit or task.securebits & SECBIT_NO_CAP_AMBIENT_RAISE:
        raise Errno(EPERM)
    task.cap_ambient |= bit
    return 0


def _set_seccomp(task: Task, mode: int, address: int, *_: int) -> int:
    from machine.kernel.task.seccomp import (
        SECCOMP_MODE_FILTER,
        SECCOMP_MODE_STRICT,
        set_mode_filter,
        set_mode_strict,
    )

    if mode == SECCOMP_MODE_STRICT:
        return set_mode_strict(task)
    return set_mode_filter(task, 0, address) if mode == SECCOMP_MODE_FILTER else _invalid()


def _invalid() -> int:
    raise Errno(EINVAL)


def _set_vma(task: Task, what: int, start: int, length: int, name: int) -> int:
    """PR_SET_VMA_ANON_NAME: checked as by CONFIG_ANON_VMA_NAME, which this kernel has not: EINVAL."""
    if what == PR_SET_VMA_ANON_NAME and name:
        try:
            text = task.mm.read_string(name, ANON_VMA_NAME_MAX_LEN)
        except Errno as error:
            raise Errno(EFAULT if error.errno == EFAULT else EINVAL) from None
        if any(not 0x20 <= c <= 0x7E or c in b"\\`$[]" for c in text):
            raise Errno(EINVAL)
    raise Errno(EINVAL)


def _set_securebits(task: Task, bits: int, *_: int) -> int:
    """EPERM: an unknown bit, one that is locked, a lock that is to be opened; without CAP_SETPCAP all but a change of
    two bits that only tell interpreters something (security/commoncap.c: cap_task_prctl)."""
    old = task.securebits
    locks = old & SECURE_ALL_LOCKS
    if locks >> 1 & (old ^ bits) or locks & ~bits or bits & ~(SECURE_ALL_LOCKS | SECURE_ALL_BITS):
        raise Errno(EPERM)
    told = SECBIT_EXEC_RESTRICT_FILE | SECBIT_EXEC_DENY_INTERACTIVE
    changed = old ^ bits
    if (not changed or changed & ~(told | told << 1)) and not capable(task, CAP_SETPCAP):
        raise Errno(EPERM)
    task.securebits = bits
    return 0


def _get_speculation_ctrl(task: Task, which: int, *unused: int) -> int:
    """PR_SPEC_NOT_AFFECTED: the processor does nothing ahead.  ENODEV: an unknown one."""
    if any(unused):
        raise Errno(EINVAL)
    if which > 2:
        raise Errno(ENODEV)
    return 0


_OPTIONS: dict[int, Callable[..., int]] = {
    PR_SET_PDEATHSIG: _set_pdeathsig,
    PR_GET_PDEATHSIG: _get_pdeathsig,
    PR_GET_DUMPABLE: lambda task, *_: task.mm.dumpable,
    PR_SET_DUMPABLE: _set_dumpable,
    PR_GET_KEEPCAPS: lambda task, *_: int(bool(task.securebits & SECBIT_KEEP_CAPS)),
    PR_SET_KEEPCAPS: _set_keepcaps,
    PR_GET_TIMING: lambda task, *_: 0,
    PR_SET_TIMING: _set_timing,
    PR_SET_NAME: _set_name,
    PR_GET_NAME: _get_name,
    PR_GET_SECCOMP: lambda task, *_: 0 if task.seccomp is None else task.seccomp.mode,
    PR_SET_SECCOMP: _set_seccomp,
    PR_CAPBSET_READ: _capbset_read,
    PR_CAPBSET_DROP: _capbset_drop,
    PR_GET_TSC: _get_tsc,
    PR_SET_TSC: _set_tsc,
    PR_GET_SECUREBITS: lambda task, *_: int(task.securebits),
    PR_SET_SECUREBITS: _set_securebits,
    PR_TASK_PERF_EVENTS_DISABLE: lambda task, *_: 0,
    PR_TASK_PERF_EVENTS_ENABLE: lambda task, *_: 0,
    PR_GET_SPECULATION_CTRL: _get_speculation_ctrl,
    PR_SET_TIMERSLACK: _set_timerslack,
    PR_GET_TIMERSLACK: lambda task, *_: task.timer_slack,
    PR_SET_CHILD_SUBREAPER: _set_subreaper,
    PR_GET_CHILD_SUBREAPER: _get_subreaper,
    PR_SET_NO_NEW_PRIVS: _set_no_new_privs,
    PR_GET_NO_NEW_PRIVS: _get_no_new_privs,
    PR_GET_TID_ADDRESS: _get_tid_address,
    PR_SET_THP_DISABLE: _set_thp_disable,
    PR_MCE_KILL: _mce_kill,
    PR_MCE_KILL_GET: _mce_kill_get,
    PR_GET_THP_DISABLE: _get_thp_disable,
    PR_CAP_AMBIENT: _cap_ambient,
    PR_SET_VMA: _set_vma,
}
