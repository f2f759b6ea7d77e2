"""AF_UNIX: names, connections, ends (net/unix/af_unix.c).  How bytes go is in `unix_stream` and `unix_dgram`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Optional

from machine.kernel.abi.errno import (
    EADDRINUSE,
    ECONNREFUSED,
    ECONNRESET,
    EEXIST,
    EINVAL,
    ENOTCONN,
    EOPNOTSUPP,
    EPROTOTYPE,
    Errno,
)
from machine.kernel.abi.signal import POLL_HUP, POLL_IN
from machine.kernel.fs.file import S_IFMT, S_IFSOCK, file, inode
from machine.kernel.fs.fsnotify import IN_CREATE, fsnotify_dirent
from machine.kernel.fs.namei import AT_FDCWD, MAY_WRITE, inode_permission, lookup, new_name
from machine.kernel.fs.poll import (
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLRDHUP,
    POLLRDNORM,
    POLLWRBAND,
    POLLWRNORM,
    poll_table,
)
from machine.kernel.net.garbage import unix_gc
from machine.kernel.net.scm import scm_cookie, scm_destroy
from machine.kernel.net.sock import (
    AF_UNIX,
    RCV_SHUTDOWN,
    SEND_SHUTDOWN,
    SHUTDOWN_MASK,
    SOCK_DGRAM,
    SOCK_SEQPACKET,
    SOCK_STREAM,
    TCP_CLOSE,
    TCP_ESTABLISHED,
    TCP_LISTEN,
    Ucred,
    current_ucred,
    sk_buff,
    sock,
)

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import Task

SOCKADDR_UN = 110
"""Size of `struct sockaddr_un`: a path has at most 108 bytes."""
UNIX_MAX_DGRAM_QLEN = 10
SOMAXCONN = 4096
_READABLE, _WRITABLE = POLLIN | POLLRDNORM, POLLOUT | POLLWRNORM | POLLWRBAND


def check_address(data: bytes) -> None:
    """EINVAL unless it is a `sockaddr_un` with a name (unix_validate_addr)."""
    if not 2 < len(data) <= SOCKADDR_UN or int.from_bytes(data[:2], "little") != AF_UNIX:
        raise Errno(EINVAL)


def _path_of(name: bytes) -> str:
    return os.fsdecode(name.split(b"\0")[0])


class unix_sock(sock):
    """`struct unix_sock`.  `peer` is the other end; the name is a path with its NUL, or begins with a NUL."""

    family = AF_UNIX

    def __init__(self, kernel: Kernel, kind: int, protocol: int) -> None:
        super().__init__(kernel, kind, protocol)
        self.peer: Optional[unix_sock] = None
        self.name: Optional[bytes] = None
        self.bound: Optional[inode] = None
        """The inode of its name in a file system."""
        self.listener: Optional[unix_sock] = None
        """The socket in whose queue it waits for accept."""
        self.peer_wait = kernel.sched.queue()
        """Senders and connectors that wait for room in the queue."""
        self.sk_max_ack_backlog = UNIX_MAX_DGRAM_QLEN
        kernel.unix.sockets[self] = None

    # -- names ----------------------------------------------------------------------------------------

    def getname(self, peer: bool) -> bytes:
        """The `sockaddr_un` of this end or the other; ENOTCONN without one (unix_getname)."""
        sk: Optional[unix_sock] = self.peer if peer else self
        if sk is None:
            raise Errno(ENOTCONN)
        return sk.address() or AF_UNIX.to_bytes(2, "little")

    def address(self) -> Optional[bytes]:
        """The `sockaddr_un`, None when it has no name."""
        return None if self.name is None else AF_UNIX.to_bytes(2, "little") + self.name

    def bind(self, task: Task, data: bytes) -> None:
        """EINVAL: a bad address, or it has one; EADDRINUSE; the errors of a path (unix_bind)."""
        if len(data) == 2 and int.from_bytes(data, "little") == AF_UNIX:
            self.autobind()
            return
        check_address(data)
        name = data[2:]
        if name[0]:
            self._bind_path(task, name)
            return
        if self.name is not None:
            raise Errno(EINVAL)
        if (self.sk_type, name) in self.kernel.unix.by_name:
            raise Errno(EADDRINUSE)
        self._take_name(name)

    def autobind(self) -> None:
        """An abstract name of the kernel's choice, unless it has a name."""
        if self.name is None:
            self._take_name(self.kernel.unix.auto_name(self.sk_type))

    def _take_name(self, name: bytes) -> None:
        self.name = name
        self.kernel.unix.by_name[self.sk_type, name] = self

    def _bind_path(self, task: Task, name: bytes) -> None:
        path = _path_of(name)
        try:
            directory, last = new_name(self.kernel, task, path, AT_FDCWD)
        except Errno as error:
            raise Errno(EADDRINUSE if error.errno == EEXIST else error.errno) from None
        if self.name is not None:
            raise Errno(EINVAL)
        mode = 0o777 if self.node is None else self.node.i_mode & 0o777
        node = directory.d_inode.create(last, S_IFSOCK | mode & ~task.fs.umask)
        if self.kernel.fsnotify_watches:
            fsnotify_dirent(directory.d_inode, last, node, IN_CREATE)
        self.name = os.fsencode(path) + b"\0"
        self.bound = node
        self.kernel.unix.by_inode[node] = self

    def find_other(self, task: Task, data: bytes) -> unix_sock:
        """The socket of that name: ECONNREFUSED, EPROTOTYPE for one of another type (unix_find_other)."""
        name = data[2:]
        if name[0]:
            node = lookup(self.kernel, task, _path_of(name)).d_inode
            inode_permission(task, node, MAY_WRITE)
            if node.i_mode & S_IFMT != S_IFSOCK:
                raise Errno(ECONNREFUSED)
            found = self.kernel.unix.by_inode.get(node)
        else:
            found = self.kernel.unix.by_name.get((self.sk_type, name))
        if found is None:
            raise Errno(ECONNREFUSED)
        if found.sk_type != self.sk_type:
            raise Errno(EPROTOTYPE)
        return found

    # -- connections ------------------------------------------------------------------------------------

    def is_connected_kind(self) -> bool:
        """Whether its two ends belong together: stream and seqpacket."""
        return self.sk_type in (SOCK_STREAM, SOCK_SEQPACKET)

    def connect(self, task: Task, data: bytes, nonblock: int) -> None:
        raise NotImplementedError

    def listen(self, task: Task, backlog: int) -> None:
        """EOPNOTSUPP, EINVAL without a name or connected (unix_listen)."""
        if not self.is_connected_kind():
            raise Errno(EOPNOTSUPP)
        if self.name is None or self.sk_state not in (TCP_CLOSE, TCP_LISTEN):
            raise Errno(EINVAL)
        backlog = min(backlog & 0xFFFFFFFF, SOMAXCONN)
        if backlog > self.sk_max_ack_backlog:
            self.peer_wait.wake()
        self.sk_max_ack_backlog = backlog
        self.sk_state = TCP_LISTEN
        self.sk_peercred = current_ucred(task)

    def pair_with(self, task: Task, other: unix_sock) -> None:
        """Connect two new sockets with each other (unix_socketpair)."""
        self.peer, other.peer = other, self
        self.sk_peercred = other.sk_peercred = current_ucred(task)
        self.sk_state = other.sk_state = TCP_ESTABLISHED

    def accept(self, task: Task, nonblock: int) -> unix_sock:
        """The next connection: EOPNOTSUPP; EINVAL unless it listens (unix_accept)."""
        if not self.is_connected_kind():
            raise Errno(EOPNOTSUPP)
        if self.sk_state != TCP_LISTEN:
            raise Errno(EINVAL)
        deadline = self.deadline(self.sk_rcvtimeo, nonblock)
        while not self.queue:
            if self.sk_shutdown & RCV_SHUTDOWN:
                raise Errno(EINVAL)
            self.sleep(self.rd_wait, deadline)
        new = self.queue.popleft().sk
        assert isinstance(new, unix_sock)
        new.listener = None
        new.passcred = self.passcred
        self.peer_wait.wake()
        return new

    def shutdown(self, how: int) -> None:
        """SHUT_RD 0, SHUT_WR 1, SHUT_RDWR 2, for both ends; EINVAL (unix_shutdown)."""
        if not 0 <= how <= 2:
            raise Errno(EINVAL)
        mode = how + 1
        self.sk_shutdown |= mode
        other = self.peer
        self.state_change()
        if other is not None and self.is_connected_kind():
            if mode & RCV_SHUTDOWN:
                other.sk_shutdown |= SEND_SHUTDOWN
            if mode & SEND_SHUTDOWN:
                other.sk_shutdown |= RCV_SHUTDOWN
            other.state_change()
            if other.sk_shutdown & RCV_SHUTDOWN and mode & SEND_SHUTDOWN:
                other.wake_async(POLL_HUP if mode == SHUTDOWN_MASK else POLL_IN)
            other.peer_wait.wake()
        self.peer_wait.wake()

    # -- messages ------------------------------------------------------------------------------------------

    def recvq_full(self) -> bool:
        """Whether senders have to wait (unix_recvq_full)."""
        return len(self.queue) > self.sk_max_ack_backlog

    def make_skb(self, task: Task, data: bytes, size: int, scm: Optional[scm_cookie], other: unix_sock) -> sk_buff:
        """A message of this socket for `other`; the files of `scm` go into it (unix_scm_to_skb, maybe_add_creds)."""
        creds: Optional[Ucred] = None if scm is None else scm.creds
        if creds is None and (self.passcred or other.passcred or other.node is None):
            creds = Ucred(task.tgid, task.uid, task.gid)
        skb = sk_buff(self, data, size, creds, [])
        if scm is not None and scm.files:
            skb.files, scm.files = scm.files, []
            skb.user = task.uid
            self.kernel.unix.in_flight(skb, other)
        return skb

    def free_skb(self, skb: sk_buff) -> None:
        """The message has left the queue: its sender may send more (sock_wfree)."""
        owner = skb.sk
        owner.sk_wmem -= skb.truesize
        if owner.sk_wmem << 2 <= owner.sk_sndbuf:
            owner.write_space()

    def take_files(self, skb: sk_buff, peek: bool) -> tuple[file, ...]:
        """The files of a message for its receiver, who gets references of its own when it only peeks."""
        if peek:
            return tuple(filp.get() for filp in skb.files)
        self.kernel.unix.not_in_flight(skb)
        files, skb.files = tuple(skb.files), []
        return files

    def purge(self) -> None:
        """Drop what is in the queue."""
        while self.queue:
            skb = self.queue.popleft()
            if self.sk_state == TCP_LISTEN:
                skb.sk.release()
                continue
            self.free_skb(skb)
            scm_destroy(self.kernel, self.take_files(skb, False))

    # -- the end ---------------------------------------------------------------------------------------------

    def release(self) -> None:
        """The file is closed: the other end hears of it, unread data are ECONNRESET there (unix_release_sock)."""
        unix = self.kernel.unix
        self._drop_name()
        self.dead = True
        self.sk_shutdown = SHUTDOWN_MASK
        state, other = self.sk_state, self.peer
        self.peer = None
        if other is not None:
            if self.is_connected_kind():
                other.sk_shutdown = SHUTDOWN_MASK
                unread = len(self.queue) > 1 or (self.queue and len(self.queue[0]))  # one empty packet is none
                if unread or self.listener is not None:
                    other.sk_err = ECONNRESET
            other.state_change()
            if self.is_connected_kind():
                other.wake_async(POLL_HUP)
        self.state_change()
        self.peer_wait.wake()
        self.sk_state = state
        self.purge()
        self.sk_state = TCP_CLOSE
        unix.sockets.pop(self, None)
        if unix.inflight:
            unix.closes += 1
            if unix.closes >= unix.tot_inflight:
                unix_gc(unix)

    def _drop_name(self) -> None:
        unix = self.kernel.unix
        if self.bound is not None:
            if unix.by_inode.get(self.bound) is self:
                del unix.by_inode[self.bound]
            self.bound = None
        elif self.name is not None and unix.by_name.get((self.sk_type, self.name)) is self:
            del unix.by_name[self.sk_type, self.name]

    # -- poll and the like -------------------------------------------------------------------------------------

    def writable(self) -> bool:
        """Whether a send finds room: a quarter of SO_SNDBUF at most is in use (unix_writable)."""
        return self.sk_state != TCP_LISTEN and self.sk_wmem << 2 <= self.sk_sndbuf

    def poll(self, filp: file, table: Optional[poll_table]) -> int:
        """unix_poll and unix_dgram_poll."""
        if table is not None:
            table.wait(self.rd_wait)
            if table.key & _WRITABLE:
                table.wait(self.wr_wait)
        shutdown = self.sk_shutdown
        mask = POLLERR if self.sk_err else 0
        if shutdown == SHUTDOWN_MASK or (self.sk_state == TCP_CLOSE and self.is_connected_kind()):
            mask |= POLLHUP
        if shutdown & RCV_SHUTDOWN:
            mask |= POLLRDHUP | _READABLE
        if self.queue:
            mask |= _READABLE
        if self.writable() and not self._peer_is_full(table):
            mask |= _WRITABLE
        else:
            self.async_nospace = True
        return mask

    def _peer_is_full(self, table: Optional[poll_table]) -> bool:
        """A datagram socket whose peer, connected to somebody else, has a full queue."""
        other = self.peer
        if self.is_connected_kind() or other is None or other.peer is self or not other.recvq_full():
            return False
        if table is not None:
            table.wait(other.peer_wait)
        return True

    def inq(self) -> int:
        """The bytes of a stream or all packets, or the next datagram; EINVAL for a listener (unix_inq_len)."""
        if self.sk_state == TCP_LISTEN:
            raise Errno(EINVAL)
        if self.is_connected_kind():
            return sum(len(skb) for skb in self.queue)
        return len(self.queue[0]) if self.queue else 0


def unix_create(kernel: Kernel, kind: int, protocol: int) -> unix_sock:
    """A new socket of that type; SOCK_RAW is SOCK_DGRAM (unix_create)."""
    from machine.kernel.net.unix_dgram import unix_dgram_sock, unix_seqpacket_sock
    from machine.kernel.net.unix_stream import unix_stream_sock

    if kind == SOCK_STREAM:
        return unix_stream_sock(kernel, kind, protocol)
    if kind == SOCK_SEQPACKET:
        return unix_seqpacket_sock(kernel, kind, protocol)
    return unix_dgram_sock(kernel, SOCK_DGRAM, protocol)
