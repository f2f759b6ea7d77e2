"""Calls that do less than they were asked for, as POSIX lets them: what ``inject("read", short=1)`` does to a call.

The call is made in earnest, with a smaller count.  That is done only where Linux itself may do less: the messages of
datagram sockets, eventfds and their like go whole or not at all, so calls on those are left alone.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.abi.errno import Errno
from machine.kernel.net.sock import SOCK_STREAM, sock
from machine.kernel.syscalls.table import ARGUMENTS

if TYPE_CHECKING:
    from machine.kernel.entry import Entry
    from machine.kernel.syscalls.table import Syscall
    from machine.kernel.task.task import Task

_COUNTS = {
    "read": 2, "write": 2, "pread64": 2, "pwrite64": 2, "recvfrom": 2, "sendto": 2, "getrandom": 1, "getdents64": 2,
    "sendfile": 3, "sendfile64": 3, "splice": 4, "tee": 2, "copy_file_range": 4,
}  # fmt: skip
"""Call -> which of its arguments says how many bytes."""
_VECTORS = {"readv": 1, "writev": 1, "preadv": 1, "pwritev": 1, "preadv2": 1, "pwritev2": 1, "vmsplice": 1}
"""Call -> which of its arguments is the array of vectors; their number follows."""
_MESSAGES = ("sendmsg", "recvmsg")
SHORTENED = frozenset((*_COUNTS, *_VECTORS, *_MESSAGES))
ALIASES = {"send": "sendto", "recv": "recvfrom"}
"""Functions of the C library that are no calls of their own: what they call."""
_BY_SOCKETCALL = {
    1: "socket", 2: "bind", 3: "connect", 4: "listen", 5: "accept", 6: "getsockname", 7: "getpeername", 8: "socketpair",
    9: "sendto", 10: "recvfrom", 11: "sendto", 12: "recvfrom", 13: "shutdown", 14: "setsockopt", 15: "getsockopt",
    16: "sendmsg", 17: "recvmsg", 18: "accept4", 19: "recvmmsg", 20: "sendmmsg",
}  # fmt: skip
_NO_FILE = ("getrandom",)
_SIZE = 2
"""Which word of the block of i386's send, recv, sendto and recvfrom is the size."""


def name_of(task: Task, name: str, regs: Any) -> str:
    """The call that is made: glibc's i386 programs make those of sockets through `socketcall`."""
    if name != "socketcall":
        return name
    return _BY_SOCKETCALL.get(regs[ARGUMENTS["i386"][0]] & 0xFFFFFFFF, name)


class Shortened:
    """One system call that is about to be made by `task`, with at most `count` bytes."""

    def __init__(self, task: Task, name: str, row: Optional[Syscall], entry: Entry, count: int) -> None:
        self._task, self._row, self._entry, self._count = task, row, entry, count
        self._name, self._plain = name, "" if row is None else row.name
        self._regs = entry.cpu.regs
        bits = 0xFFFFFFFF if task.abi.bits == 32 else 0xFFFF_FFFF_FFFF_FFFF
        self._places = ARGUMENTS["x86_64" if task.abi.bits == 64 else "i386"]
        self._args = [self._regs[place] & bits for place in self._places]
        if self._plain == "socketcall":
            self._args = self._block()

    def _block(self) -> list[int]:
        """The arguments of a `socketcall`, which are in memory."""
        from machine.kernel.syscalls.socketcall import SOCKETCALLS

        size = 4 * len(SOCKETCALLS[self._args[0] - 1][0])
        try:
            return [each for (each,) in struct.iter_unpack("<I", self._task.mm.copy_from_user(self._args[1], size))]
        except Errno:
            return [0xFFFFFFFF] * 6  # no descriptor: it will fail by itself

    def possible(self) -> bool:
        """Whether Linux could do less here, and `count` is less."""
        if self._name not in _NO_FILE and not self._divisible():
            return False
        try:
            return self._asked() > self._count
        except Errno:
            return False  # it will fail by itself

    def _divisible(self) -> bool:
        try:
            filp = self._task.files.fget(self._args[0])
        except Errno:
            return False
        if filp.f_path.startswith("anon_inode:"):
            return False
        end = filp.private_data
        return not isinstance(end, sock) or end.sk_type == SOCK_STREAM

    def _asked(self) -> int:
        task, args = self._task, self._args
        if self._name in _COUNTS:
            return args[_COUNTS[self._name]]
        if self._name in _VECTORS:
            at = _VECTORS[self._name]
            return sum(length for _, length in task.abi.read_iovec(task.mm, args[at], args[at + 1]))
        from machine.kernel.syscalls.socket_msg import _get_msghdr

        return sum(length for _, length in _get_msghdr(task, args[1])[1])

    def make(self) -> int:
        """Its result, a negative errno on failure."""
        if self._name in _COUNTS:
            if self._plain == "socketcall":
                return self._make_from_block()
            return self._make_with_register(self._places[_COUNTS[self._name]])
        task, abi = self._task, self._task.abi
        shorter: Any = _ShortVectors(abi, self._count)
        task.abi = shorter
        try:
            return self._entry.make_call(task, self._plain, self._row)
        finally:
            task.abi = abi

    def _make_with_register(self, place: int) -> int:
        regs = self._regs
        asked = regs[place]
        regs[place] = self._count
        try:
            return self._entry.make_call(self._task, self._plain, self._row)
        finally:
            self._entry.cpu.regs[place] = asked

    def _make_from_block(self) -> int:
        from machine.kernel.syscalls.socketcall import SOCKETCALLS

        types, handler = SOCKETCALLS[(self._regs[self._places[0]] & 0xFFFFFFFF) - 1]
        words = [*self._args[:_SIZE], self._count, *self._args[_SIZE + 1 :]]
        try:
            return handler(self._task, *struct.unpack(f"<{types}", struct.pack(f"<{len(words)}I", *words)))
        except Errno as error:
            return -error.errno


class _ShortVectors:
    """An `Abi` whose vectors end after so many bytes."""

    def __init__(self, abi: Any, count: int) -> None:
        self._abi, self._count = abi, count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._abi, name)

    def read_iovec(self, mm: Any, addr: int, count: int) -> list[tuple[int, int]]:
        """What the program gave, cut."""
        left, cut = self._count, []
        for base, length in self._abi.read_iovec(mm, addr, count):
            cut.append((base, min(length, left)))
            left -= min(length, left)
        return cut
