"""SOCK_STREAM of AF_UNIX, and how streams and packets connect (net/unix/af_unix.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from machine.kernel.abi.errno import (
    ECONNREFUSED,
    EFAULT,
    EINVAL,
    EISCONN,
    ENOTCONN,
    EOPNOTSUPP,
    EPIPE,
    Errno,
)
from machine.kernel.abi.signal import SIGPIPE
from machine.kernel.net.scm import scm_cookie
from machine.kernel.net.sock import (
    MSG_DONTWAIT,
    MSG_NOSIGNAL,
    MSG_OOB,
    MSG_PEEK,
    MSG_WAITALL,
    NO_CREDS,
    RCV_SHUTDOWN,
    SEND_SHUTDOWN,
    SKB_MAX_HEAD,
    TCP_CLOSE,
    TCP_ESTABLISHED,
    TCP_LISTEN,
    Received,
    Sink,
    Source,
    current_ucred,
    sk_buff,
    truesize,
)
from machine.kernel.net.unix import check_address, unix_sock

if TYPE_CHECKING:
    from machine.kernel.fs.file import file
    from machine.kernel.task.task import Task

UNIX_SKB_FRAGS_SZ = 32768
"""The most that one buffer of a stream has besides its linear part, bytes."""


class unix_connected_sock(unix_sock):
    """Stream and seqpacket: two ends that belong together."""

    def connect(self, task: Task, data: bytes, nonblock: int) -> None:
        """ECONNREFUSED; EAGAIN when the listener's queue is full and it must not wait; EISCONN, EINVAL
        (unix_stream_connect)."""
        check_address(data)
        if self.passcred:
            self.autobind()
        deadline = self.deadline(self.sk_sndtimeo, nonblock)
        while True:
            other = self.find_other(task, data)
            if other.sk_state != TCP_LISTEN or other.sk_shutdown & RCV_SHUTDOWN:
                raise Errno(ECONNREFUSED)
            if not other.recvq_full():
                break
            self.sleep(other.peer_wait, deadline)
        if self.sk_state != TCP_CLOSE:
            raise Errno(EISCONN if self.sk_state == TCP_ESTABLISHED else EINVAL)
        new = type(self)(self.kernel, self.sk_type, self.sk_protocol)
        new.peer, self.peer = self, new
        new.sk_state = self.sk_state = TCP_ESTABLISHED
        new.sk_peercred = current_ucred(task)
        self.sk_peercred = other.sk_peercred
        new.name = other.name
        new.listener = other
        other.queue.append(sk_buff(new, b"", 0, None, []))
        other.data_ready()

    def broken_pipe(self, task: Task, flags: int) -> Errno:
        """EPIPE, with SIGPIPE unless MSG_NOSIGNAL."""
        from machine.kernel.task.signal import send_sig

        if not flags & MSG_NOSIGNAL:
            send_sig(self.kernel, task, SIGPIPE)
        return Errno(EPIPE)


class unix_stream_sock(unix_connected_sock):
    """Bytes without boundaries; files in flight are one: a receive ends behind the buffer that brought some."""

    # -- send -------------------------------------------------------------------------------------------

    def sendmsg(self, task: Task, source: Source, flags: int, name: Optional[bytes], scm: scm_cookie) -> int:
        """ENOTCONN, EISCONN or EOPNOTSUPP with an address; EPIPE and SIGPIPE; EAGAIN; a count when something went
        (unix_stream_sendmsg)."""
        if flags & MSG_OOB:
            raise Errno(EOPNOTSUPP)
        if name is not None:
            raise Errno(EISCONN if self.sk_state == TCP_ESTABLISHED else EOPNOTSUPP)
        other = self.peer
        if other is None:
            # the other end of a connection that was closed is gone, not missing
            raise self.broken_pipe(task, flags) if self.sk_shutdown & SEND_SHUTDOWN else Errno(ENOTCONN)
        if self.sk_shutdown & SEND_SHUTDOWN:
            raise self.broken_pipe(task, flags)
        deadline = self.deadline(self.sk_sndtimeo, flags & MSG_DONTWAIT)
        sent = 0
        while sent < source.length:
            try:
                self._send_piece(task, source, sent, other, scm, deadline)
            except Errno as error:
                if sent:
                    return sent
                raise self.broken_pipe(task, flags) if error.errno == EPIPE else error from None
            sent = min(source.length, sent + self._piece(source.length - sent))
            if self.kernel.sched.break_off():
                break
        return sent

    def _piece(self, left: int) -> int:
        """Bytes of the next buffer: two of them fit into SO_SNDBUF."""
        return min(left, (self.sk_sndbuf >> 1) - 64, SKB_MAX_HEAD + UNIX_SKB_FRAGS_SZ)

    def _send_piece(
        self, task: Task, source: Source, sent: int, other: unix_sock, scm: scm_cookie, deadline: Optional[int]
    ) -> None:
        while True:
            if self.sk_shutdown & SEND_SHUTDOWN:
                raise Errno(EPIPE)
            if self.sk_err:
                raise Errno(self.take_error())
            if self.sk_wmem < self.sk_sndbuf:
                break
            self.sleep_for_space(deadline)
        size = self._piece(source.length - sent)
        if not sent:
            self.kernel.unix.check_attach(task, scm)
        data = source.read(sent, size)
        if other.dead or other.sk_shutdown & RCV_SHUTDOWN:
            raise Errno(EPIPE)
        paged = min(size, max(0, size - SKB_MAX_HEAD) + 4095 & -4096)
        skb = self.make_skb(task, data, truesize(size - paged, paged), scm if not sent else None, other)
        self.sk_wmem += skb.truesize
        other.queue.append(skb)
        other.data_ready()

    # -- receive --------------------------------------------------------------------------------------------

    def recvmsg(self, task: Task, size: int, sink: Sink, flags: int) -> Received:
        """EINVAL unless connected; 0 bytes at the end; EAGAIN; a pending error (unix_stream_read_generic)."""
        if self.sk_state != TCP_ESTABLISHED:
            raise Errno(EINVAL)
        if flags & MSG_OOB:
            raise Errno(EOPNOTSUPP)
        state = _Reading(size if flags & MSG_WAITALL else min(self.sk_rcvlowat, size), flags, sink)
        deadline = self.deadline(self.sk_rcvtimeo, flags & MSG_DONTWAIT)
        while True:
            if self._take_what_is_there(state, size) or state.copied >= max(state.target, 1):
                break
            if self.sk_err:
                error = self.take_error()  # lost where some bytes came (MSG_WAITALL)
                if state.copied:
                    break
                raise Errno(error)
            if self.sk_shutdown & RCV_SHUTDOWN:
                break
            self.async_waitdata += 1
            try:
                self.sleep(self.rd_wait, deadline)
            except Errno:
                if state.copied:
                    break
                raise
            finally:
                self.async_waitdata -= 1
            if flags & MSG_PEEK:
                state.at = 0
                state.skip = state.copied
        if state.failed and not state.copied:
            raise Errno(EFAULT)
        return Received(state.copied, 0, state.name, state.creds or NO_CREDS, state.files)

    def _take_what_is_there(self, state: _Reading, size: int) -> bool:
        """Copy from the buffers in the queue; True when the receive ends here, whatever its target.

        A buffer is looked at even for no byte, which takes its files; a peek goes on to the first files that wait."""
        peek, looked = state.flags & MSG_PEEK, False
        while state.at < len(self.queue) and (state.copied < size or peek or not looked):
            skb = self.queue[state.at]
            if len(skb) <= state.skip:
                state.skip -= len(skb)
                state.at += 1
                continue
            looked = True
            if not state.same_sender(skb, self.passcred):
                return True
            start = skb.consumed + state.skip
            piece = skb.data[start : start + size - state.copied]
            if state.sink(piece) < len(piece):
                state.failed = True
                return True
            state.copied += len(piece)
            if state.name is None:
                state.name = skb.sk.address()  # type: ignore[attr-defined]
            had_files = bool(skb.files)
            if had_files:
                state.files += self.take_files(skb, bool(peek))
            if peek:
                state.skip = 0
                state.at += 1
            else:
                skb.consumed += len(piece)
                if not len(skb):
                    self.queue.popleft()
                    self.free_skb(skb)
            if had_files:
                return True
        return looked and state.copied >= size

    def unread(self, data: bytes) -> None:
        self.queue.appendleft(sk_buff(self, data, 0, None, []))


class _Reading:
    """One receive on its way."""

    __slots__ = ("at", "copied", "creds", "failed", "files", "flags", "name", "seen", "sink", "skip", "target")

    def __init__(self, target: int, flags: int, sink: Sink) -> None:
        self.target = target
        self.flags = flags
        self.sink = sink
        self.copied = 0
        self.at = 0
        """Which buffer of the queue is next: 0 unless it peeks."""
        self.skip = 0
        self.failed = False
        self.seen = False
        self.creds = NO_CREDS
        self.name: Optional[bytes] = None
        self.files: tuple[file, ...] = ()

    def same_sender(self, skb: sk_buff, passcred: bool) -> bool:
        """With SO_PASSCRED bytes of two senders are not given in one receive."""
        creds = skb.creds or NO_CREDS
        if self.seen:
            return creds == self.creds or not passcred
        self.seen, self.creds = True, creds
        return True
