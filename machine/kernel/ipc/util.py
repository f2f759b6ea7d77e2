"""What the three kinds of System V objects share: keys, identifiers, permissions, figures (ipc/util.c)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Optional, TypeVar

from machine.kernel.abi.capability import CAP_IPC_OWNER, CAP_SYS_ADMIN
from machine.kernel.abi.errno import EACCES, EEXIST, EINVAL, ENOENT, ENOSPC, EPERM, Errno
from machine.kernel.capability import capable

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import Task

IPC_CREAT, IPC_EXCL, IPC_NOWAIT = 0o1000, 0o2000, 0o4000
IPC_RMID, IPC_SET, IPC_STAT, IPC_INFO = 0, 1, 2, 3
IPC_PRIVATE = 0
IPC_64 = 0x100
"""In a command of i386's ipc(2): the structures of today."""
S_IRUGO, S_IWUGO = 0o444, 0o222
SEQ_SHIFT, SEQ_MAX = 15, 0xFFFF
"""An identifier is a slot and, above 15 bits, how often slots were used again."""

_PERM64, _PERM32 = struct.Struct("<iIIIIIH2x4x16x"), struct.Struct("<iIIIIH2xH2x8x")


class kern_ipc_perm:
    """`struct kern_ipc_perm`: the head of every object."""

    def __init__(self, task: Task, key: int, mode: int) -> None:
        self.key = key
        self.id = 0
        self.mode = mode & 0o777
        self.uid = self.cuid = task.euid
        self.gid = self.cgid = task.egid
        self.deleted = False

    def permits(self, task: Task, flag: int) -> bool:
        """Whether the task may do what the mode bits of `flag` say (ipcperms)."""
        wanted = flag >> 6 | flag >> 3 | flag
        granted = self.mode
        if task.euid in (self.cuid, self.uid):
            granted >>= 6
        elif {self.cgid, self.gid} & {task.egid, *task.groups}:
            granted >>= 3
        return not wanted & ~granted & 7 or capable(task, CAP_IPC_OWNER)

    def check(self, task: Task, flag: int) -> None:
        """EACCES unless the task may."""
        if not self.permits(task, flag):
            raise Errno(EACCES)

    def check_owner(self, task: Task) -> None:
        """IPC_SET and IPC_RMID are the owner's, the creator's and root's: EPERM (ipcctl_obtain_check)."""
        if task.euid not in (self.uid, self.cuid) and not capable(task, CAP_SYS_ADMIN):
            raise Errno(EPERM)

    def pack_stat(self, task: Task) -> bytes:
        """The structure of IPC_STAT."""
        raise NotImplementedError

    def pack(self, task: Task) -> bytes:
        """`struct ipc64_perm`."""
        layout = _PERM64 if task.abi.bits == 64 else _PERM32
        return layout.pack(self.key, self.uid, self.gid, self.cuid, self.cgid, self.mode, self.id >> SEQ_SHIFT)

    def update_owner(self, task: Task, data: bytes) -> None:
        """IPC_SET: owner, group and mode from the front of a structure (ipc_update_perm)."""
        layout = _PERM64 if task.abi.bits == 64 else _PERM32
        _, self.uid, self.gid, _, _, mode, _ = layout.unpack_from(data)
        self.mode = self.mode & ~0o777 | mode & 0o777


P = TypeVar("P", bound=kern_ipc_perm)


class ipc_ids(Generic[P]):
    """All objects of one kind (`struct ipc_ids`)."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.slots: dict[int, P] = {}
        self.by_key: dict[int, P] = {}
        self._seq = 0
        self._last = -1

    def get(self, key: int, flags: int, task: Task, new: Callable[[], P], check: Callable[[P], None]) -> int:
        """The identifier of `key` (ipcget): ENOENT, EEXIST, EACCES; a new object for IPC_PRIVATE and IPC_CREAT."""
        if key == IPC_PRIVATE:
            return self.add(new())
        found = self.by_key.get(key)
        if found is None:
            if not flags & IPC_CREAT:
                raise Errno(ENOENT)
            return self.add(new())
        if flags & IPC_CREAT and flags & IPC_EXCL:
            raise Errno(EEXIST)
        check(found)
        found.check(task, flags)
        return found.id

    def add(self, item: P) -> int:
        """Give it the lowest free slot: its identifier (ipc_addid)."""
        index = 0
        while index in self.slots:
            index += 1
        if index <= self._last:
            self._seq = self._seq + 1 & SEQ_MAX
        self._last = index
        item.id = self._seq << SEQ_SHIFT | index
        self.slots[index] = item
        if item.key != IPC_PRIVATE:
            self.by_key[item.key] = item
        return item.id

    def check_room(self) -> None:
        """ENOSPC when every slot is taken."""
        if len(self.slots) >= self.limit:
            raise Errno(ENOSPC)

    def find(self, number: int) -> P:
        """The object of an identifier: EINVAL, also when the slot has another one (ipc_obtain_object_check)."""
        item = self.slots.get(number & (1 << SEQ_SHIFT) - 1) if number >= 0 else None
        if item is None or item.id != number:
            raise Errno(EINVAL)
        return item

    def at(self, index: int) -> P:
        """By slot, for SHM_STAT and its relatives; EINVAL."""
        item = self.slots.get(index)
        if item is None:
            raise Errno(EINVAL)
        return item

    def highest(self) -> int:
        """The highest slot in use, 0 when there is none."""
        return max(self.slots, default=0)

    def remove(self, item: P) -> None:
        """The identifier is gone."""
        self.slots.pop(item.id & (1 << SEQ_SHIFT) - 1, None)
        self.forget_key(item)
        item.deleted = True

    def forget_key(self, item: P) -> None:
        """Nobody finds it by its key any more."""
        if self.by_key.get(item.key) is item:
            del self.by_key[item.key]


def now(kernel: Kernel) -> int:
    """Seconds since the epoch."""
    return kernel.clock.realtime_ns() // 1_000_000_000


def times(task: Task, *seconds: int) -> bytes:
    """Time stamps of a structure: a long each, or two halves on i386."""
    return b"".join(value.to_bytes(8, "little", signed=True) for value in seconds)


class IpcNamespace:
    """The machine's System V objects."""

    def __init__(self) -> None:
        self.shm: ipc_ids[Any] = ipc_ids(4096)
        self.sem: ipc_ids[Any] = ipc_ids(32000)
        self.msg: ipc_ids[Any] = ipc_ids(32000)


def with_deadline(kernel: Kernel, timeout_ns: Optional[int]) -> Optional[int]:
    """Monotonic nanoseconds at which a wait ends."""
    return None if timeout_ns is None else kernel.clock.monotonic_ns() + timeout_ns
