"""System V message queues (ipc/msg.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Optional

from machine.kernel.abi.capability import CAP_SYS_RESOURCE
from machine.kernel.abi.errno import (
    E2BIG,
    EAGAIN,
    EFAULT,
    EIDRM,
    EINTR,
    EINVAL,
    ENOMSG,
    EPERM,
    ERESTARTNOHAND,
    ERESTARTSYS,
    Errno,
)
from machine.kernel.capability import capable
from machine.kernel.ipc.util import IPC_NOWAIT, S_IRUGO, S_IWUGO, ipc_ids, kern_ipc_perm, now, times
from machine.records import NamedTuple

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import Task
    from machine.kernel.task.wait import WaitQueue

MSG_NOERROR, MSG_EXCEPT, MSG_COPY = 0o10000, 0o20000, 0o40000
MSGMAX, MSGMNB, MSGMNI = 8192, 16384, 32000
"""Bytes of a message, bytes of a queue, queues."""


class msg_msg(NamedTuple):
    """One message."""

    type: int
    text: bytes


class msg_queue(kern_ipc_perm):
    """A queue: messages in the order in which they came."""

    def __init__(self, task: Task, key: int, mode: int) -> None:
        super().__init__(task, key, mode)
        self.messages: list[msg_msg] = []
        self.cbytes = 0
        self.qbytes = MSGMNB
        self.stime = self.rtime = 0
        self.ctime = now(task.kernel)
        self.lspid = self.lrpid = 0
        self.senders: WaitQueue = task.kernel.sched.queue()
        self.receivers: WaitQueue = task.kernel.sched.queue()

    def has_room(self, size: int) -> bool:
        """Whether a message of `size` bytes fits (msg_fits_inqueue)."""
        return self.cbytes + size <= self.qbytes and len(self.messages) + 1 <= self.qbytes

    def pick(self, kind: int, flags: int) -> Optional[int]:
        """The index of the message that a receiver of `kind` gets: 0 any, negative the lowest type up to it."""
        if flags & MSG_COPY:
            return kind if 0 <= kind < len(self.messages) else None
        if kind == 0:
            return 0 if self.messages else None
        if kind < 0:
            best = min((m.type for m in self.messages if m.type <= -kind), default=None)
            return next((i for i, m in enumerate(self.messages) if m.type == best), None)
        wanted = not flags & MSG_EXCEPT
        return next((i for i, m in enumerate(self.messages) if (m.type == kind) is wanted), None)

    def pack_stat(self, task: Task) -> bytes:
        """`struct msqid64_ds`."""
        layout = "<QQQii16x" if task.abi.bits == 64 else "<IIIii8x"
        rest = struct.pack(layout, self.cbytes, len(self.messages), self.qbytes, self.lspid, self.lrpid)
        return self.pack(task) + times(task, self.stime, self.rtime, self.ctime) + rest


def ids(kernel: Kernel) -> ipc_ids[msg_queue]:
    """The machine's queues."""
    return kernel.ipc.msg


def msgget(task: Task, key: int, flags: int) -> int:
    """ENOSPC, and `ipc_ids.get`."""

    def new() -> msg_queue:
        ids(task.kernel).check_room()
        return msg_queue(task, key, flags)

    return ids(task.kernel).get(key, flags, task, new, lambda found: None)


def _sleep(task: Task, queue: msg_queue, where: WaitQueue) -> None:
    """EIDRM when the queue went meanwhile; a signal is EINTR without SA_RESTART or not."""
    try:
        task.kernel.sched.wait(where)
    except Errno as error:
        if queue.deleted:
            raise Errno(EIDRM) from None
        raise Errno(ERESTARTNOHAND if error.errno == ERESTARTSYS else EINTR) from None
    if queue.deleted:
        raise Errno(EIDRM)


def msgsnd(task: Task, number: int, address: int, size: int, flags: int) -> int:
    """EINVAL: size or type; EFAULT; EACCES; EAGAIN with IPC_NOWAIT; EIDRM, EINTR (do_msgsnd)."""
    word = task.abi.word
    kind = task.abi.signed(task.abi.get_word(task.mm, address))
    if size > MSGMAX or number < 0 or kind < 1:
        raise Errno(EINVAL)
    text = task.mm.copy_from_user(address + word, size)
    queue = ids(task.kernel).find(number)
    while True:
        queue.check(task, S_IWUGO)
        if queue.has_room(size):
            break
        if flags & IPC_NOWAIT:
            raise Errno(EAGAIN)
        _sleep(task, queue, queue.senders)
    queue.lspid = task.tgid
    queue.stime = now(task.kernel)
    queue.messages.append(msg_msg(kind, text))
    queue.cbytes += size
    queue.receivers.wake()
    return 0


def msgrcv(task: Task, number: int, address: int, size: int, kind: int, flags: int) -> int:
    """Bytes of the message: E2BIG unless MSG_NOERROR cuts it, ENOMSG with IPC_NOWAIT, EIDRM, EINTR (do_msgrcv)."""
    if number < 0 or size >> (task.abi.bits - 1):
        raise Errno(EINVAL)
    if flags & MSG_COPY and (flags & MSG_EXCEPT or not flags & IPC_NOWAIT):
        raise Errno(EINVAL)
    queue = ids(task.kernel).find(number)
    while True:
        queue.check(task, S_IRUGO)
        at = queue.pick(kind, flags)
        if at is not None:
            break
        if flags & IPC_NOWAIT:
            raise Errno(ENOMSG)
        _sleep(task, queue, queue.receivers)
    message = queue.messages[at]
    if len(message.text) > size and not flags & MSG_NOERROR:
        raise Errno(E2BIG)
    if not flags & MSG_COPY:
        del queue.messages[at]
        queue.cbytes -= len(message.text)
        queue.lrpid = task.tgid
        queue.rtime = now(task.kernel)
        queue.senders.wake()
    text = message.text[:size]
    task.abi.put_word(task.mm, address, message.type)
    if task.mm.write_some(address + task.abi.word, text) < len(text):
        raise Errno(EFAULT)
    return len(text)


def msg_rmid(task: Task, queue: msg_queue) -> None:
    """IPC_RMID: everybody who waits gets EIDRM (freeque)."""
    queue.check_owner(task)
    ids(task.kernel).remove(queue)
    queue.messages.clear()
    queue.senders.wake()
    queue.receivers.wake()


def msg_set(task: Task, queue: msg_queue, data: bytes) -> None:
    """IPC_SET: owner, mode and msg_qbytes, which only root may raise above its default."""
    queue.check_owner(task)
    at = (48 + 24 + 16, "<Q") if task.abi.bits == 64 else (36 + 24 + 8, "<I")
    (qbytes,) = struct.unpack_from(at[1], data, at[0])
    if qbytes > MSGMNB and not capable(task, CAP_SYS_RESOURCE):
        raise Errno(EPERM)
    queue.update_owner(task, data)
    queue.qbytes = qbytes
    queue.ctime = now(task.kernel)
    queue.receivers.wake()
    queue.senders.wake()


def proc_sysvipc_msg(kernel: Kernel) -> str:
    """/proc/sysvipc/msg (sysvipc_msg_proc_show)."""
    head = "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid"
    lines = [head + "      stime      rtime      ctime\n"]
    lines += [
        f"{q.key:10d} {q.id:10d}  {q.mode:4o}  {q.cbytes:10d} {len(q.messages):10d} {q.lspid:5d} {q.lrpid:5d}"
        f" {q.uid:5d} {q.gid:5d} {q.cuid:5d} {q.cgid:5d} {q.stime:10d} {q.rtime:10d} {q.ctime:10d}\n"
        for q in ids(kernel).slots.values()
    ]
    return "".join(lines)
