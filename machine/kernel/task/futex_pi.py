"""Futexes that have an owner: FUTEX_LOCK_PI and its family (kernel/futex/{pi,requeue}.c).

The word holds the owner's thread number, and FUTEX_WAITERS while the kernel knows of somebody who waits.  Priorities
are not lent: threads take turns here whatever their priorities are.  What the programs see of it holds: the lock is
handed to whoever waits longest, and to the next one when its owner dies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.abi.errno import (
    EAGAIN,
    EDEADLK,
    EINVAL,
    EPERM,
    ERESTARTNOINTR,
    ERESTARTSYS,
    ESRCH,
    ETIMEDOUT,
    Errno,
)
from machine.kernel.task.futex import (
    FUTEX_BITSET_MATCH_ANY,
    FUTEX_OWNER_DIED,
    FUTEX_TID_MASK,
    FUTEX_WAITERS,
    futex_q,
    get_futex_key,
    remaining,
    unqueue,
)

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.mm.space import mm_struct
    from machine.kernel.task.task import task_struct


_MAX_LOCK_DEPTH = 1024


class pi_waiter(futex_q):
    """Somebody who waits to own the futex at `address`, or at first (FUTEX_WAIT_REQUEUE_PI) to be moved there."""

    __slots__ = ("address", "mm", "target", "task")

    def __init__(self, task: task_struct, key: Any, address: int, target: Any = None) -> None:
        super().__init__(key, FUTEX_BITSET_MATCH_ANY, task.kernel.sched.queue())
        self.task = task
        self.mm = task.mm
        self.address = address
        self.target = target
        """The key where it may be moved to; None once it is there."""


class futex_pi_state:
    """`struct futex_pi_state`: an owned futex with waiters."""

    __slots__ = ("owner", "waiters")

    def __init__(self, owner: task_struct) -> None:
        self.owner = owner
        self.waiters: list[pi_waiter] = []


def _claim(kernel: Kernel, task: task_struct, mm: mm_struct, address: int, key: Any) -> bool:
    """Make `task` the owner if there is none.  EDEADLK: it is already; ESRCH: there is no such owner."""
    value = mm.get_u32(address)
    owner = value & FUTEX_TID_MASK
    if owner == task.pid:
        raise Errno(EDEADLK)
    if key in kernel.pi_states:
        return False
    if not owner:
        mm.put_u32(address, value & FUTEX_OWNER_DIED | task.pid)
        return True
    mm.put_u32(address, value | FUTEX_WAITERS)
    found = kernel.tasks.get(owner)
    if found is None or found.exiting:
        raise Errno(ESRCH)
    return False


def _owner(kernel: Kernel, mm: mm_struct, address: int) -> task_struct:
    return kernel.tasks[mm.get_u32(address) & FUTEX_TID_MASK]


def _waits_for(kernel: Kernel, owner: task_struct, task: task_struct) -> bool:
    """Whether `owner`, for what it waits to own, waits for `task`, or at the end of a chain that is too long
    (kernel/locking/rtmutex.c: rt_mutex_adjust_prio_chain)."""
    waits = {waiter.task: state for state in kernel.pi_states.values() for waiter in state.waiters}
    for _ in range(_MAX_LOCK_DEPTH):
        state = waits.get(owner)
        if state is None:
            return False
        owner = state.owner
        if owner is task:
            return True
    return True


def futex_lock_pi(
    kernel: Kernel, task: task_struct, address: int, private: bool, deadline: Optional[tuple[bool, int]], try_it: bool
) -> int:
    """Own the futex: 0.  EAGAIN: `try_it`, and it has an owner; EDEADLK, ESRCH, ETIMEDOUT."""
    key = get_futex_key(kernel, task.mm, address, private)
    if _claim(kernel, task, task.mm, address, key):
        return 0
    if try_it:
        raise Errno(EAGAIN)
    state = kernel.pi_states.get(key)
    if _waits_for(kernel, state.owner if state is not None else _owner(kernel, task.mm, address), task):
        raise Errno(EDEADLK)
    waiter = pi_waiter(task, key, address)
    _enqueue(kernel, waiter, None)
    try:
        _sleep(kernel, waiter, deadline)
    except Errno as error:
        if error.errno == ERESTARTSYS:
            raise Errno(ERESTARTNOINTR) from None
        raise
    return 0


def _enqueue(kernel: Kernel, waiter: pi_waiter, owner: Optional[task_struct]) -> None:
    state = kernel.pi_states.get(waiter.key)
    if state is None:
        state = futex_pi_state(owner or _owner(kernel, waiter.mm, waiter.address))
        kernel.pi_states[waiter.key] = state
    state.waiters.append(waiter)


def _sleep(kernel: Kernel, waiter: pi_waiter, deadline: Optional[tuple[bool, int]]) -> None:
    """Until `waiter` owns the futex.  ETIMEDOUT; ERESTARTSYS."""
    try:
        while not waiter.woken:
            if not kernel.sched.wait(waiter.queue, remaining(kernel, deadline)) and not waiter.woken:
                raise Errno(ETIMEDOUT)
    except Errno:
        if not waiter.woken:
            raise
    finally:
        if not waiter.woken:
            _leave(kernel, waiter)


def _leave(kernel: Kernel, waiter: pi_waiter) -> None:
    state = kernel.pi_states.get(waiter.key)
    if state is None or waiter not in state.waiters:
        unqueue(kernel, waiter)
        return
    state.waiters.remove(waiter)
    if not state.waiters:
        del kernel.pi_states[waiter.key]


def _hand_over(kernel: Kernel, key: Any, died: int) -> None:
    """The next waiter owns it (wake_futex_pi, fixup_pi_state_owner)."""
    state = kernel.pi_states[key]
    waiter = state.waiters.pop(0)
    if not state.waiters:
        del kernel.pi_states[key]
    state.owner = waiter.task
    try:
        waiter.mm.put_u32(waiter.address, waiter.task.pid | FUTEX_WAITERS | died)
    except Errno:
        pass  # it has unmapped the word that it waits for; it finds out itself
    waiter.woken = True
    waiter.queue.wake()


def futex_unlock_pi(kernel: Kernel, task: task_struct, address: int, private: bool) -> int:
    """Let the next one own it.  EPERM: the caller is not the owner."""
    value = task.mm.get_u32(address)
    if value & FUTEX_TID_MASK != task.pid:
        raise Errno(EPERM)
    key = get_futex_key(kernel, task.mm, address, private)
    if key in kernel.pi_states:
        _hand_over(kernel, key, 0)
    else:
        task.mm.put_u32(address, 0)
    return 0


def exit_pi_state_list(kernel: Kernel, task: task_struct) -> None:
    """The task ends or calls exec: others wait for what it owns."""
    for key in [key for key, state in kernel.pi_states.items() if state.owner is task]:
        _hand_over(kernel, key, FUTEX_OWNER_DIED)


# -- requeue ------------------------------------------------------------------------------------------------


def futex_wait_requeue_pi(
    kernel: Kernel, task: task_struct, address: int, private: bool, value: int,
    deadline: Optional[tuple[bool, int]], bitset: int, target: int,
) -> int:  # fmt: skip
    """Wait at `address` while the word is `value`; woken as the owner of `target`, where FUTEX_CMP_REQUEUE_PI moved it.

    EAGAIN: another value, or a signal before it was moved (the caller tries again); EINVAL; ETIMEDOUT.
    """
    if address == target or not bitset:
        raise Errno(EINVAL)
    key2 = get_futex_key(kernel, task.mm, target, private)
    key = get_futex_key(kernel, task.mm, address, private)
    if task.mm.get_u32(address) != value:
        raise Errno(EAGAIN)
    waiter = pi_waiter(task, key, target, key2)
    kernel.futexes.setdefault(key, []).append(waiter)
    try:
        _sleep(kernel, waiter, deadline)
    except Errno as error:
        if error.errno == ERESTARTSYS:
            raise Errno(EAGAIN if waiter.target is None else ERESTARTNOINTR) from None
        raise
    return 0


def futex_cmp_requeue_pi(
    kernel: Kernel, mm: mm_struct, address: int, private: bool, target: int, wake: int, move: int, expected: int
) -> int:
    """Make one waiter the owner of `target`, or let it wait there, and up to `move` others: how many of both.

    EINVAL: `wake` is not 1, a waiter of another kind or for another futex; EAGAIN: the word is not `expected`.
    """
    if wake != 1 or move < 0 or address == target:
        raise Errno(EINVAL)
    key, key2 = get_futex_key(kernel, mm, address, private), get_futex_key(kernel, mm, target, private)
    if mm.get_u32(address) != expected:
        raise Errno(EAGAIN)
    count = 0
    for waiter in list(kernel.futexes.get(key, ()))[: 1 + move]:
        if not isinstance(waiter, pi_waiter) or waiter.target != key2:
            raise Errno(EINVAL)
        owned = not count and _claim(kernel, waiter.task, mm, target, key2)
        unqueue(kernel, waiter)
        waiter.key, waiter.target = key2, None
        count += 1
        if owned:
            waiter.woken = True
            waiter.queue.wake()
        else:
            mm.put_u32(target, mm.get_u32(target) | FUTEX_WAITERS)
            _enqueue(kernel, waiter, None)
    return count
