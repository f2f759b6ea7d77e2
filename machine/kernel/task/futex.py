"""Fast user-space mutexes (kernel/futex/{core,waitwake,requeue}.c) and the robust list of a dying thread.

A futex is found by its *key*: (frame, offset) for those in shared mappings, so that two processes meet
whatever their addresses are; else (address space, address, whether FUTEX_PRIVATE_FLAG was given).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Optional

from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import (
    EAGAIN,
    EFAULT,
    EINVAL,
    ENOSYS,
    ERESTART_RESTARTBLOCK,
    ERESTARTSYS,
    ETIMEDOUT,
    Errno,
)
from machine.kernel.mm.page import PG_reserved
from machine.kernel.mm.pte import PTE_PFN
from machine.kernel.mm.vma import VM_SHARED, VM_WRITE

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.mm.space import mm_struct
    from machine.kernel.task.task import task_struct

# include/uapi/linux/futex.h
FUTEX_WAIT, FUTEX_WAKE, FUTEX_FD, FUTEX_REQUEUE, FUTEX_CMP_REQUEUE, FUTEX_WAKE_OP = range(6)
FUTEX_LOCK_PI, FUTEX_UNLOCK_PI, FUTEX_TRYLOCK_PI = 6, 7, 8
FUTEX_WAIT_BITSET, FUTEX_WAKE_BITSET, FUTEX_WAIT_REQUEUE_PI, FUTEX_CMP_REQUEUE_PI = 9, 10, 11, 12
FUTEX_LOCK_PI2 = 13
FUTEX_PRIVATE_FLAG, FUTEX_CLOCK_REALTIME = 128, 256
FUTEX_BITSET_MATCH_ANY = 0xFFFFFFFF
FUTEX_WAITERS, FUTEX_OWNER_DIED, FUTEX_TID_MASK = 0x80000000, 0x40000000, 0x3FFFFFFF
ROBUST_LIST_LIMIT = 2048


class futex_q:
    """`struct futex_q`: one waiter."""

    __slots__ = ("bitset", "key", "queue", "woken")

    def __init__(self, key: Any, bitset: int, queue: Any) -> None:
        self.key = key
        self.bitset = bitset
        self.queue = queue
        self.woken = False


def get_futex_key(kernel: Kernel, mm: mm_struct, address: int, private: bool) -> Any:
    """What tells this futex from all others.  EINVAL unless aligned, EFAULT where there is no memory, and, without
    FUTEX_PRIVATE_FLAG, on a private page that is no file's in an area that can't be written: such a word never changes
    (kernel/futex/core.c: get_futex_key, where the page was got for reading only)."""
    if address & 3:
        raise Errno(EINVAL)
    if address + 4 > mm.task_size:
        raise Errno(EFAULT)
    if private:
        return mm, address, True
    mm.get_u32(address)
    vma = mm.vma_at(address)
    if vma is None:
        raise Errno(EFAULT)
    pfn = (mm.tables.get(address) & PTE_PFN) >> PAGE_SHIFT
    if not vma.vm_flags & VM_SHARED:
        if vma.vm_flags & VM_WRITE:
            return mm, address, False
        mem = kernel.mem
        if not mem.pfn_valid(pfn) or mem.flags[pfn] & PG_reserved or mem.owner_of(pfn) == "anonymous":
            raise Errno(EFAULT)
    return pfn, address & (PAGE_SIZE - 1)


def futex_wait(
    kernel: Kernel,
    task: task_struct,
    address: int,
    private: bool,
    value: int,
    deadline: Optional[tuple[bool, int]],
    bitset: int,
) -> int:
    """Sleep while the word at `address` is `value`, until woken: 0.

    `deadline` is (on CLOCK_REALTIME, nanoseconds).  EAGAIN: another value; ETIMEDOUT; EINVAL: no bits;
    a signal: ERESTARTSYS, or with a deadline a restart with the same one.
    """
    if not bitset:
        raise Errno(EINVAL)
    key = get_futex_key(kernel, task.mm, address, private)
    if task.mm.get_u32(address) != value:
        raise Errno(EAGAIN)
    waiter = futex_q(key, bitset, kernel.sched.queue())
    kernel.futexes.setdefault(key, []).append(waiter)
    try:
        while not waiter.woken:
            if not kernel.sched.wait(waiter.queue, remaining(kernel, deadline)) and not waiter.woken:
                raise Errno(ETIMEDOUT)
        return 0
    except Errno as error:
        if waiter.woken:
            return 0
        if error.errno == ERESTARTSYS and deadline is not None:
            task.restart = lambda: futex_wait(kernel, task, address, private, value, deadline, bitset)
            raise Errno(ERESTART_RESTARTBLOCK) from None
        raise
    finally:
        if not waiter.woken:
            unqueue(kernel, waiter)


def futex_wait_multiple(
    kernel: Kernel, task: task_struct, words: list[tuple[int, bool, int]], deadline: Optional[tuple[bool, int]]
) -> int:
    """Sleep while each word (address, private, value) has its value, until one is woken: its number.

    EAGAIN: another value; ETIMEDOUT; ERESTARTSYS.
    """
    queue = kernel.sched.queue()
    waiters: list[futex_q] = []
    for address, private, value in words:
        waiters.append(futex_q(get_futex_key(kernel, task.mm, address, private), FUTEX_BITSET_MATCH_ANY, queue))
        if task.mm.get_u32(address) != value:
            raise Errno(EAGAIN)
    for waiter in waiters:
        kernel.futexes.setdefault(waiter.key, []).append(waiter)
    try:
        while not any(waiter.woken for waiter in waiters):
            if not kernel.sched.wait(queue, remaining(kernel, deadline)) and not any(w.woken for w in waiters):
                raise Errno(ETIMEDOUT)
    except Errno:
        if not any(waiter.woken for waiter in waiters):
            raise
    finally:
        for waiter in waiters:
            if not waiter.woken:
                unqueue(kernel, waiter)
    return max(number for number, waiter in enumerate(waiters) if waiter.woken)


def remaining(kernel: Kernel, deadline: Optional[tuple[bool, int]]) -> Optional[int]:
    """Nanoseconds until a deadline, None without one."""
    if deadline is None:
        return None
    realtime, when = deadline
    now = kernel.clock.realtime_ns() if realtime else kernel.clock.monotonic_ns()
    return max(0, when - now)


def unqueue(kernel: Kernel, waiter: futex_q) -> None:
    """Nobody wakes this one any more."""
    waiters = kernel.futexes.get(waiter.key)
    if waiters is not None and waiter in waiters:
        waiters.remove(waiter)
        if not waiters:
            del kernel.futexes[waiter.key]


def _wake_key(kernel: Kernel, key: Any, number: int, bitset: int = FUTEX_BITSET_MATCH_ANY) -> int:
    woken = 0
    for waiter in list(kernel.futexes.get(key, ())):
        if waiter.bitset & bitset:
            waiter.woken = True
            unqueue(kernel, waiter)
            waiter.queue.wake()
            woken += 1
            if woken >= number:
                break
    return woken


def futex_wake(
    kernel: Kernel, mm: mm_struct, address: int, private: bool, number: int, bitset: int = FUTEX_BITSET_MATCH_ANY
) -> int:
    """Wake up to `number` waiters that have a bit of `bitset`: how many."""
    if not bitset:
        raise Errno(EINVAL)
    return _wake_key(kernel, get_futex_key(kernel, mm, address, private), number, bitset)


def futex_wake_address(kernel: Kernel, mm: mm_struct, address: int, number: int) -> int:
    """What the kernel does for clear_child_tid and robust mutexes: a wake without FUTEX_PRIVATE_FLAG."""
    return futex_wake(kernel, mm, address, False, number)


def futex_requeue(
    kernel: Kernel,
    mm: mm_struct,
    address: int,
    private: bool,
    address2: int,
    wake: int,
    requeue: int,
    expected: Optional[int],
) -> int:
    """Wake `wake` waiters, let up to `requeue` more wait at `address2` instead: how many of both.

    EAGAIN when the word is not `expected` (CMP_REQUEUE); EINVAL for negative counts.
    """
    if wake < 0 or requeue < 0:
        raise Errno(EINVAL)
    key = get_futex_key(kernel, mm, address, private)
    key2 = get_futex_key(kernel, mm, address2, private)
    if expected is not None and mm.get_u32(address) != expected:
        raise Errno(EAGAIN)
    count = _wake_key(kernel, key, wake) if wake else 0
    for waiter in list(kernel.futexes.get(key, ()))[:requeue]:
        unqueue(kernel, waiter)
        waiter.key = key2
        kernel.futexes.setdefault(key2, []).append(waiter)
        count += 1
    return count


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) & 1 else value


def futex_wake_op(
    kernel: Kernel, mm: mm_struct, address: int, private: bool, address2: int, wake: int, wake2: int, code: int
) -> int:
    """Change the word at `address2` as `code` says, wake at `address`, and at `address2` if its old value
    passes the comparison.  ENOSYS for an unknown operation."""
    key = get_futex_key(kernel, mm, address, private)
    key2 = get_futex_key(kernel, mm, address2, private)
    operation, comparison = code >> 28 & 7, code >> 24 & 15
    argument, limit = _signed(code >> 12 & 0xFFF, 12), _signed(code & 0xFFF, 12)
    if code >> 31 & 1:
        argument = 1 << (argument & 31)
    old = mm.get_u32(address2)
    changes = (argument, old + argument, old | argument, old & ~argument, old ^ argument)
    if operation >= len(changes):
        raise Errno(ENOSYS)
    mm.put_u32(address2, changes[operation] & 0xFFFFFFFF)
    value = _signed(old, 32)
    results = (value == limit, value != limit, value < limit, value >= limit, value <= limit, value > limit)
    if comparison >= len(results):
        raise Errno(ENOSYS)
    count = _wake_key(kernel, key, wake)
    if results[comparison]:
        count += _wake_key(kernel, key2, wake2)
    return count


# -- robust list -----------------------------------------------------------------------------------------


def exit_robust_list(kernel: Kernel, task: task_struct) -> None:
    """Mark the mutexes that the dying thread still holds as FUTEX_OWNER_DIED and wake a waiter each."""
    mm, word = task.mm, task.abi.word
    signed = struct.Struct("<q" if word == 8 else "<i")
    head = task.robust_list[0]
    try:
        entry = task.abi.get_word(mm, head)
        offset: int = signed.unpack(mm.copy_from_user(head + word, word))[0]
        pending = task.abi.get_word(mm, head + 2 * word)
        for _ in range(ROBUST_LIST_LIMIT):
            if entry & ~1 == head:
                break
            following = task.abi.get_word(mm, entry & ~1)
            if entry & ~1 != pending & ~1:
                _handle_futex_death(kernel, task, (entry & ~1) + offset, bool(entry & 1), False)
            entry = following
        if pending & ~1:
            _handle_futex_death(kernel, task, (pending & ~1) + offset, bool(pending & 1), True)
    except Errno:
        return  # a damaged list: as Linux, what could be reached is done


def _handle_futex_death(kernel: Kernel, task: task_struct, address: int, pi: bool, pending: bool) -> None:
    if address & 3:
        raise Errno(EINVAL)
    mm = task.mm
    value = mm.get_u32(address)
    owner = value & FUTEX_TID_MASK
    if pending and not pi and not owner:
        futex_wake_address(kernel, mm, address, 1)
    elif owner == task.pid:
        mm.put_u32(address, value & FUTEX_WAITERS | FUTEX_OWNER_DIED)
        if not pi and value & FUTEX_WAITERS:
            futex_wake_address(kernel, mm, address, 1)
