"""SOCK_DGRAM and SOCK_SEQPACKET of AF_UNIX: messages with their boundaries (net/unix/af_unix.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from machine.kernel.abi.errno import (
    ECONNREFUSED,
    ECONNRESET,
    EFAULT,
    EINVAL,
    EMSGSIZE,
    ENOBUFS,
    ENOTCONN,
    EOPNOTSUPP,
    EPERM,
    EPIPE,
    Errno,
)
from machine.kernel.net.scm import scm_cookie
from machine.kernel.net.sock import (
    AF_UNSPEC,
    MSG_DONTWAIT,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    NO_CREDS,
    NOWAIT,
    RCV_SHUTDOWN,
    SEND_SHUTDOWN,
    SKB_MAX_ALLOC,
    SOCK_SEQPACKET,
    TCP_CLOSE,
    TCP_ESTABLISHED,
    Received,
    Sink,
    Source,
    truesize,
)
from machine.kernel.net.unix import check_address, unix_sock
from machine.kernel.net.unix_stream import unix_connected_sock

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

MAX_SKB_FRAGS = 17
MAX_HEAD = (4 << 20) - 320
"""What kmalloc can give for the rest of a message, less the kernel's own part (net/core/skbuff.c: __alloc_skb)."""


class _Messages(unix_sock):
    """What datagrams and packets have in common."""

    def sendmsg(self, task: Task, source: Source, flags: int, name: Optional[bytes], scm: scm_cookie) -> int:
        """All of it or nothing: EMSGSIZE, ENOTCONN, ECONNREFUSED, EPERM, EPIPE, EAGAIN (unix_dgram_sendmsg)."""
        if flags & MSG_OOB:
            raise Errno(EOPNOTSUPP)
        if name is not None:
            check_address(name)
        if self.passcred:
            self.autobind()
        size = source.length
        if size > self.sk_sndbuf - 32:
            raise Errno(EMSGSIZE)
        deadline = self.deadline(self.sk_sndtimeo, flags & MSG_DONTWAIT)
        self._wait_for_space(deadline)
        self.kernel.unix.check_attach(task, scm)
        paged = min(size - SKB_MAX_ALLOC, MAX_SKB_FRAGS * 4096) + 4095 & -4096 if size > SKB_MAX_ALLOC else 0
        paged = min(paged, size)
        if size - paged > MAX_HEAD:
            raise Errno(ENOBUFS)
        data = source.read(0, size)
        other = self._receiver(task, name, deadline)
        skb = self.make_skb(task, data, truesize(size - paged, paged), scm, other)
        self.sk_wmem += skb.truesize
        other.queue.append(skb)
        other.data_ready()
        return size

    def _wait_for_space(self, deadline: Optional[int]) -> None:
        while True:
            if self.sk_err:
                raise Errno(self.take_error())
            if self.sk_shutdown & SEND_SHUTDOWN:
                raise Errno(EPIPE)
            if self.sk_wmem < self.sk_sndbuf:
                return
            self.sleep_for_space(deadline)

    def _receiver(self, task: Task, name: Optional[bytes], deadline: Optional[int]) -> unix_sock:
        """Who gets the message, once its queue has room."""
        while True:
            other = self.peer if name is None else self.find_other(task, name)
            if other is None:
                raise Errno(ENOTCONN)
            if other.peer is not None and other.peer is not self:
                raise Errno(EPERM)
            if other.dead:
                self.peer = None
                self.sk_state = TCP_CLOSE
                self._disconnected(other)
                raise Errno(ECONNREFUSED)
            if other.sk_shutdown & RCV_SHUTDOWN:
                raise Errno(EPIPE)
            if other is self or other.peer is self or not other.recvq_full():
                return other
            self.sleep(other.peer_wait, deadline)

    def _disconnected(self, before: unix_sock) -> None:
        """Messages of the old peer are lost, and it is told (unix_dgram_disconnected)."""
        if not self.queue:
            return
        self.purge()
        self.peer_wait.wake()
        if not before.dead and before.peer is self:
            before.sk_err = ECONNRESET
            before.state_change()

    def recvmsg(self, task: Task, size: int, sink: Sink, flags: int) -> Received:
        """One message, cut to `size`; 0 bytes after a shutdown; EAGAIN, a pending error (__unix_dgram_recvmsg)."""
        if flags & MSG_OOB:
            raise Errno(EOPNOTSUPP)
        deadline = self.deadline(self.sk_rcvtimeo, flags & MSG_DONTWAIT)
        while True:
            if self.sk_err:  # before what has come (__skb_try_recv_datagram)
                raise Errno(self.take_error())
            if self.queue:
                break
            if self.sk_shutdown & RCV_SHUTDOWN and (deadline != NOWAIT or self.sk_type == SOCK_SEQPACKET):
                return Received(0)
            self.sleep(self.rd_wait, deadline)
        peek = bool(flags & MSG_PEEK)
        skb = self.queue[0] if peek else self.queue.popleft()
        if not peek:
            self.peer_wait.wake()
        sender = skb.sk
        assert isinstance(sender, unix_sock)
        piece = skb.data[:size]
        files = self.take_files(skb, peek)
        if not peek:
            self.free_skb(skb)
        if sink(piece) < len(piece):
            from machine.kernel.net.scm import scm_destroy

            scm_destroy(self.kernel, files)
            raise Errno(EFAULT)
        cut = MSG_TRUNC if len(skb.data) > size else 0
        count = len(skb.data) if flags & MSG_TRUNC else len(piece)
        return Received(count, cut, sender.address(), skb.creds or NO_CREDS, files)

    def unread(self, data: bytes) -> None:
        """A datagram that could not be taken is gone."""


class unix_dgram_sock(_Messages):
    """Datagrams: no connection, but a default receiver."""

    def connect(self, task: Task, data: bytes, nonblock: int) -> None:
        """Choose whom messages go to; AF_UNSPEC: nobody.  EPERM when that one talks to somebody else only
        (unix_dgram_connect)."""
        if len(data) < 2:
            raise Errno(EINVAL)
        other: Optional[unix_sock] = None
        if int.from_bytes(data[:2], "little") != AF_UNSPEC:
            check_address(data)
            if self.passcred:
                self.autobind()
            other = self.find_other(task, data)
            if other.peer is not None and other.peer is not self:
                raise Errno(EPERM)
        before, self.peer = self.peer, other
        self.sk_state = TCP_CLOSE if other is None else TCP_ESTABLISHED
        if before is not None and before is not other:
            self._disconnected(before)
        self.state_change()


class unix_seqpacket_sock(_Messages, unix_connected_sock):
    """Packets over a connection."""

    def sendmsg(self, task: Task, source: Source, flags: int, name: Optional[bytes], scm: scm_cookie) -> int:
        """An address is not looked at; ENOTCONN (unix_seqpacket_sendmsg)."""
        if self.sk_err:
            raise Errno(self.take_error())
        if self.sk_state != TCP_ESTABLISHED:
            raise Errno(ENOTCONN)
        if self.peer is None:
            raise Errno(EPIPE if self.sk_shutdown & SEND_SHUTDOWN else ENOTCONN)
        return super().sendmsg(task, source, flags, None, scm)

    def recvmsg(self, task: Task, size: int, sink: Sink, flags: int) -> Received:
        if self.sk_state != TCP_ESTABLISHED:
            raise Errno(ENOTCONN)
        return super().recvmsg(task, size, sink, flags)
