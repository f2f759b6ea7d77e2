"""POSIX message queues (ipc/mqueue.c): a file system of queues that is mounted nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.abi.capability import CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_SYS_RESOURCE
from machine.kernel.abi.errno import (
    EACCES,
    EAGAIN,
    EBADF,
    EBUSY,
    EEXIST,
    EINVAL,
    EMFILE,
    EMSGSIZE,
    ENAMETOOLONG,
    ENOENT,
    ENOSPC,
    EPERM,
    ETIMEDOUT,
    Errno,
)
from machine.kernel.abi.resource import RLIMIT_MSGQUEUE
from machine.kernel.abi.signal import SI_MESGQ
from machine.kernel.capability import capable
from machine.kernel.fs.anon import anon_inode
from machine.kernel.fs.file import (
    FMODE_READ,
    FMODE_WRITE,
    O_CREAT,
    O_EXCL,
    O_NONBLOCK,
    S_IFREG,
    file,
    file_operations,
    inode,
)
from machine.kernel.fs.namei import Dentry
from machine.kernel.fs.poll import POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM, poll_table
from machine.kernel.task.siginfo import siginfo
from machine.kernel.task.signal import send_signal

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import Task

MQ_PRIO_MAX = 32768
HARD_MSGMAX, HARD_MSGSIZEMAX, NAME_MAX = 65536, 16 << 20, 255
_MESSAGE_HEAD = 48
"""Bytes of the kernel's own for a message, and for a priority, in the account of RLIMIT_MSGQUEUE."""
SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD = 0, 1, 2


class notification:
    """Who is told when a message comes to an empty queue (mq_notify)."""

    __slots__ = ("owner", "signo", "value")

    def __init__(self, owner: Task, signo: int, value: int) -> None:
        self.owner = owner
        self.signo = signo
        """0: nobody is told, the place is taken (SIGEV_NONE)."""
        self.value = value


class mqueue_inode(anon_inode):
    """`struct mqueue_inode_info`: one queue."""

    def __init__(self, task: Task, mode: int, maxmsg: int, msgsize: int) -> None:
        super().__init__(task.kernel, S_IFREG | mode, mqueue_operations, "mqueue")
        self.kernel = task.kernel
        self.maxmsg, self.msgsize = maxmsg, msgsize
        self.messages: list[tuple[int, bytes]] = []
        """(priority, text), the next one to be received first."""
        self.size = 0
        self.notify: Optional[notification] = None
        self.i_uid, self.i_gid = task.fsuid, task.fsgid
        self.i_size = 80
        self.payer, self.paid = task.uid, account(maxmsg, msgsize)
        self.links = 1
        self.users = 0
        self.senders, self.receivers = task.kernel.sched.queue(), task.kernel.sched.queue()

    def permits(self, task: Task, wanted: int) -> bool:
        """Whether the task may open it; `wanted`: 4 to read, 2 to write."""
        mode = self.i_mode
        if task.fsuid == self.i_uid:
            mode >>= 6
        elif self.i_gid in (task.fsgid, *task.groups):
            mode >>= 3
        return not wanted & ~mode or capable(task, CAP_DAC_OVERRIDE)

    def insert(self, sender: Task, priority: int, text: bytes) -> None:
        """Behind those of its priority; who waits is woken, else who wants to know is told, once."""
        place = sum(1 for known, _ in self.messages if known >= priority)
        first = not self.messages
        self.messages.insert(place, (priority, text))
        self.size += len(text)
        waits = bool(self.receivers.sleepers)
        self.receivers.wake()
        if first and not waits and self.notify is not None:
            told, self.notify = self.notify, None
            if told.signo:
                info = siginfo(told.signo, SI_MESGQ, pid=sender.tgid, uid=sender.uid, value=told.value)
                send_signal(self.kernel, told.owner, told.signo, info, group=True)

    def remove(self) -> tuple[int, bytes]:
        """The oldest message of the highest priority."""
        priority, text = self.messages.pop(0)
        self.size -= len(text)
        self.senders.wake()
        return priority, text

    def drop(self) -> None:
        """Nobody has it open and its name is gone: its bytes are the user's again."""
        if not self.links and not self.users and self.paid:
            namespace = queues_of(self.kernel)
            namespace.paid[self.payer] -= self.paid
            namespace.count -= 1
            self.paid = 0


def account(maxmsg: int, msgsize: int) -> int:
    """Bytes that a queue counts for, full or empty (mqueue_get_inode)."""
    return maxmsg * (msgsize + _MESSAGE_HEAD) + min(maxmsg, MQ_PRIO_MAX) * _MESSAGE_HEAD


class mqueue_namespace:
    """All queues by name, and how many bytes each user has in them."""

    def __init__(self) -> None:
        self.names: dict[str, mqueue_inode] = {}
        self.paid: dict[int, int] = {}
        self.count = 0


def queues_of(kernel: Kernel) -> mqueue_namespace:
    """The machine's queues, made at the first use."""
    if kernel.mqueues is None:
        kernel.mqueues = mqueue_namespace()
    found: mqueue_namespace = kernel.mqueues
    return found


class MqueueOperations(file_operations):
    """A queue's descriptor: read gives its figures as text, poll says whether there is a message, or room for one."""

    def read_iter(self, filp: file, count: int, position: int) -> bytes:
        queue = queue_of(filp)
        told = queue.notify
        kind, signo, pid = (0, 0, 0) if told is None else (0 if told.signo else SIGEV_NONE, told.signo, told.owner.tgid)
        text = f"QSIZE:{queue.size:<10} NOTIFY:{kind:<5} SIGNO:{signo:<5} NOTIFY_PID:{pid:<6}\n"
        return text.encode()[position : position + count]

    def poll(self, filp: file, table: Optional[poll_table]) -> int:
        queue = queue_of(filp)
        if table is not None:
            table.wait(queue.receivers)
            table.wait(queue.senders)
        mask = POLLIN | POLLRDNORM if queue.messages else 0
        return mask | (POLLOUT | POLLWRNORM if len(queue.messages) < queue.maxmsg else 0)

    def flush(self, filp: file) -> int:
        """A process that closes the queue is not told any more (mqueue_flush_file)."""
        queue, task = queue_of(filp), queue_of(filp).kernel.current
        if task is not None and queue.notify is not None and queue.notify.owner is task.signal.leader:
            queue.notify = None
        return 0

    def release(self, node: inode, filp: file) -> int:
        queue = queue_of(filp)
        queue.users -= 1
        queue.drop()
        return 0


mqueue_operations = MqueueOperations()


def queue_of(filp: file) -> mqueue_inode:
    """The queue of an open file; EBADF for another kind of file."""
    node: Any = filp.f_inode
    if not isinstance(node, mqueue_inode):
        raise Errno(EBADF)
    return node


def check_name(name: str) -> None:
    """A name without a slash.  ENOENT, EACCES, ENAMETOOLONG (lookup_one_len)."""
    if not name:
        raise Errno(ENOENT)
    if name in (".", "..") or "/" in name:
        raise Errno(EACCES)
    if len(name) > NAME_MAX:
        raise Errno(ENAMETOOLONG)


def create(task: Task, name: str, mode: int, attributes: Optional[tuple[int, int]]) -> mqueue_inode:
    """A new queue.  EINVAL: sizes; EMFILE: RLIMIT_MSGQUEUE; ENOSPC: too many queues."""
    kernel = task.kernel
    settings, namespace = kernel.sysctl, queues_of(kernel)
    most, longest = settings["fs/mqueue/msg_max"], settings["fs/mqueue/msgsize_max"]
    if attributes is None:
        maxmsg = min(most, settings["fs/mqueue/msg_default"])
        msgsize = min(longest, settings["fs/mqueue/msgsize_default"])
    else:
        maxmsg, msgsize = attributes
        if capable(task, CAP_SYS_RESOURCE):
            most, longest = HARD_MSGMAX, HARD_MSGSIZEMAX
        if not 0 < maxmsg <= most or not 0 < msgsize <= longest:
            raise Errno(EINVAL)
    if namespace.count >= settings["fs/mqueue/queues_max"] and not capable(task, CAP_SYS_RESOURCE):
        raise Errno(ENOSPC)
    cost, paid = account(maxmsg, msgsize), namespace.paid.get(task.uid, 0)
    if paid + cost > task.signal.rlimits[RLIMIT_MSGQUEUE][0]:
        raise Errno(EMFILE)
    queue = mqueue_inode(task, mode & 0o7777 & ~task.fs.umask, maxmsg, msgsize)
    namespace.paid[task.uid] = paid + cost
    namespace.count += 1
    namespace.names[name] = queue
    return queue


def open_queue(queue: mqueue_inode, name: str, flags: int) -> file:
    """An open file of it."""
    queue.users += 1
    return file(Dentry(queue, name, None, f"/{name}"), flags, mqueue_operations, f"/{name}")


def unlink(task: Task, name: str) -> None:
    """The name is gone, the queue when nobody has it open.  ENOENT; EPERM: another user's."""
    namespace = queues_of(task.kernel)
    queue = namespace.names.get(name)
    if queue is None:
        raise Errno(ENOENT)
    if task.fsuid != queue.i_uid and not capable(task, CAP_FOWNER):
        raise Errno(EPERM)
    del namespace.names[name]
    queue.links = queue.i_nlink = 0
    queue.drop()


def _wait(queue: mqueue_inode, filp: file, where: Any, deadline: Optional[int]) -> None:
    """Until somebody takes or brings a message; `deadline` in nanoseconds of CLOCK_REALTIME.  EAGAIN, ETIMEDOUT."""
    if filp.f_flags & O_NONBLOCK:
        raise Errno(EAGAIN)
    left = None if deadline is None else max(0, deadline - queue.kernel.clock.realtime_ns())
    if left == 0 or not queue.kernel.sched.wait(where, left):
        raise Errno(ETIMEDOUT)


def check_send(filp: file, size: int) -> None:
    """EBADF: no queue, or not open for writing; EMSGSIZE."""
    queue = queue_of(filp)
    if not filp.f_mode & FMODE_WRITE:
        raise Errno(EBADF)
    if size > queue.msgsize:
        raise Errno(EMSGSIZE)


def send(task: Task, filp: file, text: bytes, priority: int, deadline: Optional[int]) -> None:
    """mq_timedsend, after `check_send`: EAGAIN, ETIMEDOUT."""
    queue = queue_of(filp)
    while len(queue.messages) >= queue.maxmsg:
        _wait(queue, filp, queue.senders, deadline)
    queue.insert(task, priority, text)


def receive(filp: file, size: int, deadline: Optional[int]) -> tuple[int, bytes]:
    """mq_timedreceive: (priority, text).  EBADF; EMSGSIZE: room for less than a whole message; EAGAIN, ETIMEDOUT."""
    queue = queue_of(filp)
    if not filp.f_mode & FMODE_READ:
        raise Errno(EBADF)
    if size < queue.msgsize:
        raise Errno(EMSGSIZE)
    while not queue.messages:
        _wait(queue, filp, queue.receivers, deadline)
    return queue.remove()


def notify(task: Task, queue: mqueue_inode, wanted: Optional[notification]) -> None:
    """mq_notify: EBUSY while somebody else is to be told; None: not any more."""
    if wanted is None:
        if queue.notify is not None and queue.notify.owner is task.signal.leader:
            queue.notify = None
    elif queue.notify is not None:
        raise Errno(EBUSY)
    else:
        queue.notify = wanted


def find(task: Task, name: str, flags: int, wanted: int) -> Optional[mqueue_inode]:
    """The queue of a name, None for none.  EEXIST: O_EXCL; EACCES."""
    queue = queues_of(task.kernel).names.get(name)
    if queue is None:
        return None
    if flags & O_CREAT and flags & O_EXCL:
        raise Errno(EEXIST)
    if not queue.permits(task, wanted):
        raise Errno(EACCES)
    return queue
