"""`struct sock` and `struct sk_buff`: what every socket has, and one message on its way (net/core/sock.c, skbuff.c)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.abi.errno import EAGAIN, EINTR, ERESTARTSYS, Errno
from machine.kernel.abi.signal import POLL_IN, POLL_OUT, SIGIO
from machine.kernel.fs.fasync import kill_fasync
from machine.records import NamedTuple

if TYPE_CHECKING:
    from machine.kernel.fs.file import file, inode
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import Task
    from machine.kernel.task.wait import WaitQueue

AF_UNSPEC, AF_UNIX = 0, 1
SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET = 1, 2, 3, 5
TCP_ESTABLISHED, TCP_CLOSE, TCP_LISTEN = 1, 7, 10
RCV_SHUTDOWN, SEND_SHUTDOWN, SHUTDOWN_MASK = 1, 2, 3
MSG_OOB, MSG_PEEK, MSG_CTRUNC, MSG_TRUNC, MSG_DONTWAIT, MSG_EOR = 0x1, 0x2, 0x8, 0x20, 0x40, 0x80
MSG_WAITALL, MSG_ERRQUEUE, MSG_NOSIGNAL, MSG_WAITFORONE = 0x100, 0x2000, 0x4000, 0x10000
MSG_CMSG_CLOEXEC = 0x40000000

SK_WMEM_MAX = SK_RMEM_MAX = 212992
"""net.core.wmem_default, wmem_max and their twins for reading, bytes."""
NOWAIT = -1
"""The deadline of a call that must not sleep."""

_PAGE, _SHINFO, _SKB, SK_BUFF_STRUCT = 4096, 320, 256, 232
SKB_MAX_HEAD = _PAGE - _SHINFO
SKB_MAX_ALLOC = 4 * _PAGE - _SHINFO


class Ucred(NamedTuple):
    """`struct ucred`: who a process is."""

    pid: int
    uid: int
    gid: int


NO_CREDS = Ucred(0, 65534, 65534)
"""Of a message that was sent while neither side had asked for credentials."""


def current_ucred(task: Task) -> Ucred:
    """The process and its effective user and group (cred_to_ucred)."""
    return Ucred(task.tgid, task.euid, task.egid)


def truesize(header: int, paged: int) -> int:
    """What a buffer of `header` linear and `paged` further bytes counts against SO_SNDBUF (SKB_TRUESIZE)."""
    head = (header + 63 & ~63) + _SHINFO
    return (1 << max(head - 1, 511).bit_length()) + _SKB + (paged + _PAGE - 1 & -_PAGE)


class sk_buff:
    """One message, or a piece of a stream; or (in a listener's queue) one connection that waits for accept."""

    __slots__ = ("consumed", "creds", "data", "files", "receiver", "sk", "truesize", "user")

    def __init__(self, sk: sock, data: bytes, size: int, creds: Optional[Ucred], files: list[file]) -> None:
        self.sk = sk
        """The sender, whose SO_SNDBUF pays for it; in a listener's queue the new socket."""
        self.data = data
        self.consumed = 0
        """Bytes of `data` that were read already (streams only)."""
        self.truesize = size
        self.creds = creds
        self.files = files
        """Open files that travel with it (SCM_RIGHTS); each holds a reference."""
        self.receiver: Any = None
        """The socket that it was sent to, when sockets are among the files."""
        self.user = 0
        """The real user ID of who sent them, which they count for."""

    def __len__(self) -> int:
        return len(self.data) - self.consumed


class Source:
    """What a send takes its bytes from: `read(offset, count)` gives all of them, or raises EFAULT."""

    __slots__ = ("length", "read")

    def __init__(self, length: int, read: Callable[[int, int], bytes]) -> None:
        self.length = length
        self.read = read


Sink = Callable[[bytes], int]
"""Where a receive puts its bytes, piece after piece: how many of them could be put."""


class Received(NamedTuple):
    """What a receive has found besides its bytes."""

    length: int
    flags: int = 0
    """MSG_TRUNC."""
    name: Optional[bytes] = None
    """The sender's address, None when it has none."""
    creds: Ucred = NO_CREDS
    files: tuple[file, ...] = ()
    """A reference of each is the receiver's."""


class sock:
    """What the protocol families share: state, limits, queues."""

    family = 0

    def __init__(self, kernel: Kernel, kind: int, protocol: int) -> None:
        self.kernel = kernel
        self.sk_type = kind
        self.sk_protocol = protocol
        self.sk_state = TCP_CLOSE
        self.sk_shutdown = 0
        self.sk_err = 0
        self.sk_sndbuf = self.sk_rcvbuf = SK_WMEM_MAX
        """Bytes of `truesize`."""
        self.sk_wmem = 0
        """`truesize` of what this socket has sent and nobody has read."""
        self.sk_rcvlowat = 1
        self.sk_rcvtimeo: Optional[int] = None
        """Nanoseconds; None: for ever."""
        self.sk_sndtimeo: Optional[int] = None
        self.sk_max_ack_backlog = 0
        self.sk_peercred: Optional[Ucred] = None
        self.passcred = False
        """SO_PASSCRED."""
        self.options: dict[int, int] = {}
        """Options of SOL_SOCKET that a socket on one machine only keeps."""
        self.linger = (0, 0)
        self.dead = False
        """Its file is closed (SOCK_DEAD)."""
        self.queue: deque[sk_buff] = deque()
        """What can be received (sk_receive_queue)."""
        self.rd_wait: WaitQueue = kernel.sched.queue()
        """Woken by data and changes of state."""
        self.wr_wait: WaitQueue = kernel.sched.queue()
        """Woken by space and changes of state."""
        self.node: Optional[inode] = None
        """Its inode in sockfs; None before accept."""
        self.file: Optional[file] = None
        """The open file; None before accept and when it is closed."""
        self.fasync_list: list[Any] = []
        """Who wants SIGIO (O_ASYNC)."""
        self.async_waitdata = 0
        """How many sleep in a receive: they need no signal (SOCKWQ_ASYNC_WAITDATA)."""
        self.async_nospace = False
        """Somebody found no space: POLL_OUT is for them (SOCKWQ_ASYNC_NOSPACE)."""

    # -- waiting ------------------------------------------------------------------------------------

    def deadline(self, timeo: Optional[int], nonblock: int) -> Optional[int]:
        """When a call gives up: NOWAIT, None for never, or monotonic nanoseconds."""
        if nonblock:
            return NOWAIT
        return None if timeo is None else self.kernel.clock.monotonic_ns() + timeo

    def sleep(self, queue: WaitQueue, deadline: Optional[int]) -> None:
        """Sleep until woken.  EAGAIN at the deadline; a signal is ERESTARTSYS, or EINTR when there is a deadline
        (sock_intr_errno)."""
        if deadline == NOWAIT:
            raise Errno(EAGAIN)
        left = None if deadline is None else deadline - self.kernel.clock.monotonic_ns()
        if left is not None and left <= 0:
            raise Errno(EAGAIN)
        try:
            self.kernel.sched.wait(queue, left)
        except Errno as error:
            if deadline is not None and error.errno == ERESTARTSYS:
                raise Errno(EINTR) from None
            raise

    def state_change(self) -> None:
        """Wake everybody who waits for anything here."""
        self.rd_wait.wake()
        self.wr_wait.wake()

    def data_ready(self) -> None:
        """There is something to receive or to accept (sock_def_readable)."""
        self.rd_wait.wake()
        self.wake_async(POLL_IN)

    def write_space(self) -> None:
        """A send finds room again (unix_write_space)."""
        self.wr_wait.wake()
        if self.async_nospace:
            self.async_nospace = False
            kill_fasync(self.kernel, self.fasync_list, SIGIO, POLL_OUT)

    def sleep_for_space(self, deadline: Optional[int]) -> None:
        """EAGAIN at the deadline, as `sleep`."""
        self.async_nospace = True
        self.sleep(self.wr_wait, deadline)

    def wake_async(self, band: int) -> None:
        """SIGIO for data and the end, unless somebody sleeps for them (sk_wake_async, SOCK_WAKE_WAITD)."""
        if self.fasync_list and not self.async_waitdata:
            kill_fasync(self.kernel, self.fasync_list, SIGIO, band)

    def take_error(self) -> int:
        """The pending error, which is gone then (sock_error)."""
        error, self.sk_err = self.sk_err, 0
        return error

    # -- what a family has ----------------------------------------------------------------------------

    def poll(self, filp: file, table: Any) -> int:
        raise NotImplementedError

    def sendmsg(self, task: Task, source: Source, flags: int, name: Optional[bytes], scm: Any) -> int:
        """Bytes sent; raises Errno.  `name` None: to the peer."""
        raise NotImplementedError

    def recvmsg(self, task: Task, size: int, sink: Sink, flags: int) -> Received:
        raise NotImplementedError

    def unread(self, data: bytes) -> None:
        """What a read() took and the process's memory did not: back into the queue, if it is a stream."""
        raise NotImplementedError

    def release(self) -> None:
        """The file is closed."""
        raise NotImplementedError

    def inq(self) -> int:
        """SIOCINQ, bytes."""
        raise NotImplementedError
