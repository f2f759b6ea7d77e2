"""All sockets of a machine: by inode, by abstract name, in flight, and as /proc/net/unix shows them."""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING

from machine.kernel.abi.capability import CAP_SYS_ADMIN, CAP_SYS_RESOURCE
from machine.kernel.abi.errno import ENOSPC, ETOOMANYREFS, Errno
from machine.kernel.abi.resource import RLIMIT_NOFILE
from machine.kernel.capability import capable

if TYPE_CHECKING:
    from machine.kernel.fs.file import file, inode
    from machine.kernel.kernel import Kernel
    from machine.kernel.net.scm import scm_cookie
    from machine.kernel.net.sock import sk_buff
    from machine.kernel.net.unix import unix_sock
    from machine.kernel.task.task import Task

SS_UNCONNECTED, SS_CONNECTING, SS_CONNECTED = 1, 2, 3
_SO_ACCEPTCON = 0x10000


class Flight:
    """Of one file in flight: the messages that hold it."""

    __slots__ = ("count", "receivers")

    def __init__(self) -> None:
        self.count = 0
        self.receivers: dict[unix_sock, int] = {}
        """Socket in whose queue they are -> how many."""


class UnixTable:
    """All sockets of the machine, by inode and abstract name, and what is in flight between them."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.sockets: dict[unix_sock, None] = {}
        """Every socket that is not released, in the order of /proc/net/unix."""
        self.by_inode: dict[inode, unix_sock] = {}
        self.by_name: dict[tuple[int, bytes], unix_sock] = {}
        """(type, abstract name with its leading NUL): each type has names of its own (unix_abstract_hash)."""
        self.inflight: dict[file, Flight] = {}
        """Files of sockets that are in messages."""
        self.tot_inflight = 0
        """How often, all messages together."""
        self.closes = 0
        """Sockets released since all in flight were looked at (garbage.py)."""
        self.gc_steps = 0
        """How many files and messages the collector has ever looked at: its work, for tests."""
        self.files_in_flight: dict[int, int] = {}
        """User ID -> the files of any kind that it has in messages (`user_struct.unix_inflight`)."""
        self.delayed_fput: deque[file] = deque()
        self.closing = False
        self._next_auto = 0

    def check_attach(self, task: Task, scm: scm_cookie) -> None:
        """ETOOMANYREFS: a user who is not root has more than RLIMIT_NOFILE files in flight already, and `scm` has more
        (unix_attach_fds, too_many_unix_fds)."""
        most = task.signal.rlimits[RLIMIT_NOFILE][0]
        if (
            scm.files
            and self.files_in_flight.get(task.uid, 0) > most
            and not capable(task, CAP_SYS_RESOURCE)
            and not capable(task, CAP_SYS_ADMIN)
        ):
            raise Errno(ETOOMANYREFS)

    def in_flight(self, skb: sk_buff, receiver: unix_sock) -> None:
        """The files of this message travel now (unix_inflight)."""
        from machine.kernel.net.socket import socket_operations

        self.files_in_flight[skb.user] = self.files_in_flight.get(skb.user, 0) + len(skb.files)
        for filp in skb.files:
            if filp.f_op is socket_operations:
                skb.receiver = receiver
                flight = self.inflight.get(filp)
                if flight is None:
                    flight = self.inflight[filp] = Flight()
                flight.count += 1
                self.tot_inflight += 1
                flight.receivers[receiver] = flight.receivers.get(receiver, 0) + 1

    def not_in_flight(self, skb: sk_buff) -> None:
        """They have arrived, or the message is dropped."""
        if not skb.files:
            return
        self.files_in_flight[skb.user] -= len(skb.files)
        if not self.files_in_flight[skb.user]:
            del self.files_in_flight[skb.user]
        for filp in skb.files:
            flight = self.inflight.get(filp)
            if flight is None:
                continue
            flight.count -= 1
            self.tot_inflight -= 1
            if not flight.count:
                del self.inflight[filp]
            elif flight.receivers[skb.receiver] > 1:
                flight.receivers[skb.receiver] -= 1
            else:
                del flight.receivers[skb.receiver]

    def auto_name(self, kind: int) -> bytes:
        """A free abstract name of five hexadecimal digits; ENOSPC when all are taken (unix_autobind)."""
        for _ in range(1 << 20):
            self._next_auto = self._next_auto + 1 & 0xFFFFF
            name = b"\0%05x" % self._next_auto
            if (kind, name) not in self.by_name:
                return name
        raise Errno(ENOSPC)


def proc_net_unix(kernel: Kernel) -> str:
    """/proc/net/unix, a line a socket: no address of the kernel is shown (unix_seq_show)."""
    from machine.kernel.net.sock import TCP_ESTABLISHED, TCP_LISTEN

    lines = ["Num       RefCount Protocol Flags    Type St Inode Path\n"]
    for sk in kernel.unix.sockets:
        if sk.node is not None:
            state = SS_CONNECTED if sk.sk_state == TCP_ESTABLISHED else SS_UNCONNECTED
        else:
            state = SS_CONNECTING  # it waits for accept
        flags = _SO_ACCEPTCON if sk.sk_state == TCP_LISTEN else 0
        inode_number = 0 if sk.node is None else sk.node.i_ino
        line = f"{0:016x}: {2 + (sk.peer is not None):08X} {0:08X} {flags:08X} {sk.sk_type:04X} {state:02X}"
        line += f" {inode_number:5d}"
        if sk.name is not None:
            shown = sk.name[:-1] if sk.name[0] else b"@" + sk.name[1:].replace(b"\0", b"@")
            line += " " + os.fsdecode(shown)
        lines.append(line + "\n")
    return "".join(lines)
