"""The file of a socket: sockfs, and read, write, poll, ioctl and close of a socket (net/socket.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from machine.kernel.abi.errno import ENOTSOCK, ENOTTY, Errno
from machine.kernel.fs.anon import anon_inode, no_open
from machine.kernel.fs.fasync import f_getown, f_setown, fasync_helper
from machine.kernel.fs.file import O_NONBLOCK, O_RDWR, S_IFSOCK, file, file_operations, inode
from machine.kernel.fs.namei import Dentry
from machine.kernel.net.garbage import unix_gc_of
from machine.kernel.net.scm import scm_cookie, scm_destroy
from machine.kernel.net.sock import MSG_DONTWAIT, MSG_EOR, SOCK_SEQPACKET, Source, sock

if TYPE_CHECKING:
    from machine.kernel.fs.poll import poll_table
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import Task

FIOSETOWN, SIOCSPGRP, FIOGETOWN, SIOCGPGRP = 0x8901, 0x8902, 0x8903, 0x8904
SIOCINQ, SIOCOUTQ = 0x541B, 0x5411
"""Bytes that wait to be read (FIONREAD), and that the others have not read yet, with their overhead (TIOCOUTQ)."""


def socket_of(filp: file) -> sock:
    """The socket behind an open file; ENOTSOCK (sock_from_file)."""
    found: Any = filp.private_data
    if filp.f_op is not socket_operations:
        raise Errno(ENOTSOCK)
    assert isinstance(found, sock)
    return found


def sockfd_lookup(task: Task, fd: int) -> tuple[file, sock]:
    """(open file, socket) of a descriptor: EBADF, ENOTSOCK."""
    filp = task.files.fget(fd)
    return filp, socket_of(filp)


class SocketOperations(file_operations):
    """socket_file_ops: read is recv, write is send; positions and a second open do not exist."""

    def read_iter(self, filp: file, count: int, position: int) -> bytes:
        """One recvmsg without flags; nothing at all happens for 0 bytes (sock_read_iter)."""
        sk = socket_of(filp)
        task = sk.kernel.current
        if not count or task is None:
            return b""
        parts: list[bytes] = []

        def sink(data: bytes) -> int:
            parts.append(data)
            return len(data)

        received = sk.recvmsg(task, count, sink, MSG_DONTWAIT if filp.f_flags & O_NONBLOCK else 0)
        scm_destroy(sk.kernel, received.files)
        return b"".join(parts)

    def write_iter(self, filp: file, data: bytes, position: int) -> int:
        sk = socket_of(filp)
        task = sk.kernel.current
        assert task is not None
        flags = MSG_DONTWAIT if filp.f_flags & O_NONBLOCK else 0
        if sk.sk_type == SOCK_SEQPACKET:
            flags |= MSG_EOR
        source = Source(len(data), lambda offset, count: data[offset : offset + count])
        return sk.sendmsg(task, source, flags, None, scm_cookie())

    def unread(self, filp: file, data: bytes) -> None:
        """The reader's memory did not take all of it."""
        socket_of(filp).unread(data)

    def poll(self, filp: file, table: poll_table | None) -> int:
        return socket_of(filp).poll(filp, table)

    def ioctl(self, node: inode, filp: file, cmd: int, arg: int) -> int:
        """Bytes that wait, and the owner of its signals; ENOTTY for others: there are no interfaces to ask about."""
        sk = socket_of(filp)
        task = sk.kernel.current
        assert task is not None
        try:
            if cmd in (FIOSETOWN, SIOCSPGRP):
                return f_setown(task, filp, task.mm.get_u32(arg))
            if cmd in (FIOGETOWN, SIOCGPGRP):
                task.mm.put_u32(arg, f_getown(filp) & 0xFFFF_FFFF)
            elif cmd in (SIOCINQ, SIOCOUTQ):
                task.mm.put_u32(arg, sk.inq() if cmd == SIOCINQ else sk.sk_wmem)
            else:
                return -ENOTTY
        except Errno as error:
            return -error.errno
        return 0

    def fasync(self, fd: int, filp: file, on: int) -> int:
        """O_ASYNC was switched (sock_fasync)."""
        return fasync_helper(fd, filp, on, socket_of(filp).fasync_list)

    def flush(self, filp: file) -> int:
        """A descriptor is being closed: perhaps only messages will hold the socket."""
        unix = socket_of(filp).kernel.unix
        if filp in unix.inflight:
            unix_gc_of(unix, filp, filp)
        return 0

    def release(self, node: inode, filp: file) -> int:
        sk = socket_of(filp)
        sk.file = None
        sk.fasync_list.clear()
        sk.release()
        return 0


socket_operations = SocketOperations(open=no_open)


def sock_file(kernel: Kernel, sk: sock, flags: int) -> file:
    """A file for `sk`; `flags` is O_NONBLOCK or 0 (sock_alloc_file)."""
    node = anon_inode(kernel, S_IFSOCK | 0o777, socket_operations, "sockfs")
    task = kernel.current
    if task is not None:
        node.i_uid, node.i_gid = task.fsuid, task.fsgid
    sk.node = node
    name = f"socket:[{node.i_ino}]"
    filp = file(Dentry(node, name, None, name), O_RDWR | flags & O_NONBLOCK, socket_operations, name)
    filp.private_data = sk
    sk.file = filp
    return filp
