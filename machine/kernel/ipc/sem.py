"""System V semaphores (ipc/sem.c): sets of counters, operations that happen all together or not at all."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Optional

from machine.kernel.abi.errno import (
    E2BIG,
    EAGAIN,
    EFBIG,
    EIDRM,
    EINTR,
    EINVAL,
    ENOSPC,
    ERANGE,
    Errno,
)
from machine.kernel.ipc.util import IPC_NOWAIT, S_IRUGO, S_IWUGO, ipc_ids, kern_ipc_perm, now, times, with_deadline
from machine.records import NamedTuple

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import Task
    from machine.kernel.task.wait import WaitQueue

SEM_UNDO = 0x1000
SEMMSL, SEMMNS, SEMOPM, SEMMNI, SEMVMX = 32000, 1024000000, 500, 32000, 32767
"""Semaphores of a set, of all sets, operations of a call, sets, the highest value."""
_SEMBUF = struct.Struct("<Hhh")


class sembuf(NamedTuple):
    """One operation: add `op` to semaphore `num`, or (0) wait until it is zero."""

    num: int
    op: int
    flags: int


class sem_queue:
    """A task that waits to do its operations."""

    __slots__ = ("blocking", "pid", "sops", "status", "undo", "wait")

    def __init__(self, kernel: Kernel, pid: int, sops: list[sembuf], undo: Optional[dict[int, int]]) -> None:
        self.pid = pid
        self.sops = sops
        self.undo = undo
        self.blocking = sops[0]
        """The operation that could not be done."""
        self.status: Optional[int] = None
        """0 or an errno once somebody decided."""
        self.wait: WaitQueue = kernel.sched.queue()


class sem_undo_list:
    """What a process (or all that share it: CLONE_SYSVSEM) takes back when it ends: set -> semaphore -> number."""

    __slots__ = ("adjustments", "users")

    def __init__(self) -> None:
        self.users = 1
        self.adjustments: dict[sem_array, dict[int, int]] = {}


class sem_array(kern_ipc_perm):
    """A set of semaphores."""

    def __init__(self, task: Task, key: int, mode: int, count: int) -> None:
        super().__init__(task, key, mode)
        self.values = [0] * count
        self.pids = [0] * count
        self.otime = 0
        self.ctime = now(task.kernel)
        self.pending: list[sem_queue] = []
        self.undos: list[sem_undo_list] = []
        """Who has something to take back here."""

    # -- operations -----------------------------------------------------------------------------------

    def perform(self, queue: sem_queue) -> Optional[int]:
        """Try all operations: 0, an errno, or None when it has to wait (perform_atomic_semop)."""
        before = list(self.values)
        undo = queue.undo
        undo_before = None if undo is None else dict(undo)
        result: Optional[int] = 0
        for each in queue.sops:
            result = self._one(each, undo)
            if result != 0:
                queue.blocking = each
                break
        if result == 0:
            for each in queue.sops:
                self.pids[each.num] = queue.pid
            return 0
        self.values = before
        if undo is not None and undo_before is not None:
            undo.clear()
            undo.update(undo_before)
        return EAGAIN if result is None and queue.blocking.flags & IPC_NOWAIT else result

    def _one(self, each: sembuf, undo: Optional[dict[int, int]]) -> Optional[int]:
        value = self.values[each.num]
        if each.op == 0:
            return 0 if value == 0 else None
        value += each.op
        if value < 0:
            return None
        if value > SEMVMX:
            return ERANGE
        if each.flags & SEM_UNDO and undo is not None:
            adjusted = undo.get(each.num, 0) - each.op
            if not -SEMVMX - 1 <= adjusted <= SEMVMX:
                return ERANGE
            undo[each.num] = adjusted
        self.values[each.num] = value
        return 0

    def update(self, kernel: Kernel) -> None:
        """Values have changed: whoever can do its operations now does, in the order they came (do_smart_update)."""
        changed = True
        while changed:
            changed = False
            for queue in list(self.pending):
                result = self.perform(queue)
                if result is None:
                    continue
                self.pending.remove(queue)
                queue.status = result
                queue.wait.wake()
                if result == 0:
                    self.otime = now(kernel)
                    changed = True

    def waiting(self, number: int, zero: bool) -> int:
        """How many wait for the semaphore to become zero, or to grow (count_semcnt)."""
        return sum(1 for q in self.pending if q.blocking.num == number and (q.blocking.op == 0) is zero)

    def pack_stat(self, task: Task) -> bytes:
        """`struct semid64_ds`; x86-64 has a word of padding behind each time."""
        if task.abi.bits == 64:
            return self.pack(task) + struct.pack("<qQqQQ16x", self.otime, 0, self.ctime, 0, len(self.values))
        return self.pack(task) + times(task, self.otime, self.ctime) + struct.pack("<I8x", len(self.values))


def ids(kernel: Kernel) -> ipc_ids[sem_array]:
    """The machine's sets."""
    return kernel.ipc.sem


def semget(task: Task, key: int, count: int, flags: int) -> int:
    """EINVAL: fewer than no semaphores, more than 32000, or than the set has; ENOSPC; and `ipc_ids.get`."""
    kernel = task.kernel
    if not 0 <= count <= SEMMSL:
        raise Errno(EINVAL)

    def new() -> sem_array:
        if not count:
            raise Errno(EINVAL)
        ids(kernel).check_room()
        if sum(len(each.values) for each in ids(kernel).slots.values()) + count > SEMMNS:
            raise Errno(ENOSPC)
        return sem_array(task, key, flags, count)

    def check(found: sem_array) -> None:
        if count > len(found.values):
            raise Errno(EINVAL)

    return ids(kernel).get(key, flags, task, new, check)


def semtimedop(task: Task, number: int, address: int, count: int, timeout_ns: Optional[int]) -> int:
    """All operations or none.  E2BIG, EINVAL, EFBIG: no such semaphore; EACCES, ERANGE; EAGAIN at once or at the end
    of the time; EIDRM, EINTR (__do_semtimedop)."""
    if count > SEMOPM:
        raise Errno(E2BIG)
    if count < 1 or number < 0:
        raise Errno(EINVAL)
    sops = [sembuf(*each) for each in _SEMBUF.iter_unpack(task.mm.copy_from_user(address, count * _SEMBUF.size))]
    array = ids(task.kernel).find(number)
    if max(each.num for each in sops) >= len(array.values):
        raise Errno(EFBIG)
    array.check(task, S_IWUGO if any(each.op for each in sops) else S_IRUGO)
    undo = _undo_of(task, array) if any(each.flags & SEM_UNDO for each in sops) else None
    queue = sem_queue(task.kernel, task.tgid, sops, undo)
    result = array.perform(queue)
    if result == 0:
        array.otime = now(task.kernel)
        if any(each.op for each in sops):
            array.update(task.kernel)
        return 0
    if result is not None:
        raise Errno(result)
    return _wait(task, array, queue, with_deadline(task.kernel, timeout_ns))


def _wait(task: Task, array: sem_array, queue: sem_queue, deadline: Optional[int]) -> int:
    kernel = task.kernel
    array.pending.append(queue)
    while queue.status is None:
        left = None if deadline is None else deadline - kernel.clock.monotonic_ns()
        why = EAGAIN
        try:
            woken = kernel.sched.wait(queue.wait, left)
        except Errno:
            woken, why = False, EINTR
        if not woken and queue.status is None and (why == EINTR or (left is not None and _passed(kernel, deadline))):
            array.pending.remove(queue)
            raise Errno(why)
    if queue.status:
        raise Errno(queue.status)
    return 0


def _passed(kernel: Kernel, deadline: Optional[int]) -> bool:
    return deadline is not None and kernel.clock.monotonic_ns() >= deadline


# -- undo ----------------------------------------------------------------------------------------------


def _undo_of(task: Task, array: sem_array) -> dict[int, int]:
    """The task's adjustments of a set (find_alloc_undo)."""
    if task.sysvsem is None:
        task.sysvsem = sem_undo_list()
    undo: sem_undo_list = task.sysvsem
    if array not in undo.adjustments:
        undo.adjustments[array] = {}
        array.undos.append(undo)
    return undo.adjustments[array]


def share_semundo(task: Task) -> sem_undo_list:
    """What a new task gets with CLONE_SYSVSEM: the same list (copy_semundo)."""
    if task.sysvsem is None:
        task.sysvsem = sem_undo_list()
    undo: sem_undo_list = task.sysvsem
    undo.users += 1
    return undo


def exit_sem(kernel: Kernel, task: Task) -> None:
    """The task ends: the last that shares the list takes back what it did with SEM_UNDO."""
    undo, task.sysvsem = task.sysvsem, None
    if undo is None:
        return
    undo.users -= 1
    if undo.users:
        return
    for array, adjustments in undo.adjustments.items():
        array.undos.remove(undo)
        if array.deleted:
            continue
        for number, adjustment in adjustments.items():
            if adjustment:
                array.values[number] = min(SEMVMX, max(0, array.values[number] + adjustment))
                array.pids[number] = task.tgid
        array.update(kernel)


def set_values(task: Task, array: sem_array, first: int, values: list[int]) -> None:
    """SETVAL, SETALL: nobody takes anything back of these semaphores any more."""
    array.check(task, S_IWUGO)
    if any(not 0 <= value <= SEMVMX for value in values):
        raise Errno(ERANGE)
    for number, value in enumerate(values, first):
        array.values[number] = value
        array.pids[number] = task.tgid
        for undo in array.undos:
            undo.adjustments[array].pop(number, None)
    array.ctime = now(task.kernel)
    array.update(task.kernel)


def sem_rmid(task: Task, array: sem_array) -> None:
    """IPC_RMID: everybody who waits gets EIDRM (freeary)."""
    array.check_owner(task)
    ids(task.kernel).remove(array)
    pending, array.pending = array.pending, []
    for queue in pending:
        queue.status = EIDRM
        queue.wait.wake()


def proc_sysvipc_sem(kernel: Kernel) -> str:
    """/proc/sysvipc/sem (sysvipc_sem_proc_show)."""
    lines = ["       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n"]
    lines += [
        f"{s.key:10d} {s.id:10d}  {s.mode:4o} {len(s.values):10d} {s.uid:5d} {s.gid:5d} {s.cuid:5d} {s.cgid:5d}"
        f" {s.otime:10d} {s.ctime:10d}\n"
        for s in ids(kernel).slots.values()
    ]
    return "".join(lines)
