"""epoll: a set of files whose events are waited for (fs/eventpoll.c).

Level-triggered entries are asked at every wait.  An edge-triggered entry is reported again only after
one of its wait queues was woken; that is found out by sleeping on the queues between the waits, through
a small listener that takes a sleeper's place.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.abi.capability import CAP_NET_ADMIN
from machine.kernel.abi.errno import EEXIST, EFAULT, EINVAL, ELOOP, ENOENT, ENOSPC, EPERM, Errno
from machine.kernel.capability import capable
from machine.kernel.fs.anon import StreamOperations, anon_file, no_open
from machine.kernel.fs.file import O_RDWR, file, inode
from machine.kernel.fs.poll import POLLERR, POLLHUP, POLLIN, POLLRDNORM, poll_table, vfs_poll
from machine.kernel.ucount import EPOLL_WATCHES, dec_ucount, epoll_max_user_watches, inc_ucount

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.wait import WaitQueue

EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD = 1, 2, 3
EPOLLEXCLUSIVE, EPOLLWAKEUP, EPOLLONESHOT, EPOLLET = 1 << 28, 1 << 29, 1 << 30, 1 << 31
_PRIVATE_BITS = EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE
EP_MAX_NESTS = 4
EPIOCSPARAMS, EPIOCGPARAMS = 0x40088A01, 0x80088A02
NAPI_POLL_WEIGHT = 64
PATH_LIMITS = (1000, 500, 100, 50, 10)
"""How many ways there may be from a file up to sets that are in no other, by how many sets are between; those without
any are not counted (path_limits)."""
Known = dict["eventpoll", tuple[int, tuple["WaitQueue", ...]]]
"""What inner sets have answered in one poll, and where to sleep."""


class epitem:
    """One watched descriptor: bits of `events`, and `data`, which is the program's own."""

    __slots__ = ("data", "events", "fd", "filp", "last", "uid", "wakeups")

    def __init__(self, fd: int, filp: file, events: int, data: int, uid: int) -> None:
        self.uid = uid
        """The user whom it is counted for."""
        self.fd = fd
        self.filp = filp
        self.events = events | POLLERR | POLLHUP
        self.data = data
        self.last = 0
        """What an edge-triggered item reported last."""
        self.wakeups = -1
        """Sum of the wake-ups of its queues at that time."""

    def has_news(self, bits: int, table: poll_table) -> bool:
        """Whether an edge-triggered item has something new: a bit that was not there, or a wake-up since."""
        if not self.events & EPOLLET:
            return True
        return bool(bits & ~self.last) or sum(queue.wakeups for queue in table.queues) != self.wakeups

    def reported(self, bits: int, table: poll_table) -> None:
        """What is new from now on is new to this."""
        if self.events & EPOLLET:
            self.last, self.wakeups = bits, sum(queue.wakeups for queue in table.queues)


class eventpoll:
    """The set: items by descriptor and file, in the order in which they were added or last reported."""

    __slots__ = ("items", "kernel", "outer", "params", "wait")

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.items: dict[tuple[int, file], epitem] = {}
        self.outer: dict[eventpoll, int] = {}
        """Sets that this one is in, and by how many items."""
        self.wait: WaitQueue = kernel.sched.queue()
        """Woken when the set itself changes."""
        self.params = bytes(8)
        """`struct epoll_params`, as EPIOCSPARAMS set it."""

    def control(self, operation: int, fd: int, filp: file, events: int, data: int) -> None:
        """epoll_ctl: EEXIST, ENOENT, EINVAL, too many ways to a file; ENOSPC when the user has
        /proc/sys/fs/epoll/max_user_watches."""
        self.forget_closed()
        key = fd, filp
        item = self.items.get(key)
        if operation == EPOLL_CTL_ADD:
            if item is not None:
                raise Errno(EEXIST)
            uid = inc_ucount(self.kernel, EPOLL_WATCHES, epoll_max_user_watches(self.kernel), ENOSPC)
            self.items[key] = epitem(fd, filp, events, data, uid)
            holders = _holders(self.kernel, filp)
            holders[self] = holders.get(self, 0) + 1
            if (self.outer or filp.f_op is epoll_operations) and _too_many_paths(self.kernel, filp):
                self._drop(key)
                raise Errno(EINVAL)
        elif operation == EPOLL_CTL_DEL:
            if item is None:
                raise Errno(ENOENT)
            self._drop(key)
        elif operation == EPOLL_CTL_MOD:
            if item is None:
                raise Errno(ENOENT)
            if item.events & EPOLLEXCLUSIVE:
                raise Errno(EINVAL)
            self.items[key] = epitem(fd, filp, events, data, item.uid)
        else:
            raise Errno(EINVAL)
        self.wait.wake()

    def forget_closed(self) -> None:
        """A file whose last descriptor is closed leaves every set by itself."""
        for key in [key for key, item in self.items.items() if item.filp.f_count <= 0]:
            self._drop(key)

    def inner(self) -> list[epitem]:
        """The items that are sets themselves."""
        self.forget_closed()
        return [item for item in self.items.values() if item.filp.f_op is epoll_operations]

    def clear(self) -> None:
        """The set is closed."""
        for key in list(self.items):
            self._drop(key)

    def _drop(self, key: tuple[int, file]) -> None:
        dec_ucount(self.kernel, EPOLL_WATCHES, self.items.pop(key).uid)
        filp = key[1]
        holders = _holders(self.kernel, filp)
        holders[self] -= 1
        if not holders[self]:
            del holders[self]
            if not holders:
                self.kernel.epoll_holders.pop(filp, None)

    def ready(
        self,
        limit: int,
        queues: Optional[dict[WaitQueue, None]],
        put: Optional[Callable[[int, int], bool]] = None,
        known: Optional[Known] = None,
    ) -> int:
        """How many items, up to `limit`, have events now; `queues` collects what to sleep on.  `put(events, data)`
        takes them one by one: EFAULT when not even the first finds memory, and what was not taken is there the next
        time.  None: they are only looked for.  `known`: of sets that were asked already on the way here."""
        self.forget_closed()
        if known is None:
            known = {}
        reported: list[tuple[int, file]] = []
        for key, item in list(self.items.items()):
            if len(reported) >= limit:
                break
            if not item.events & ~_PRIVATE_BITS:
                continue  # it has fired and was not armed again
            table = poll_table(item.events & 0xFFFF, known)
            bits = vfs_poll(item.filp, table) & item.events & ~_PRIVATE_BITS
            if queues is not None:
                queues.update(table.queues)
            if bits and item.has_news(bits, table):
                if put is not None and not put(bits, item.data):
                    if not reported:
                        raise Errno(EFAULT)
                    break
                reported.append(key)
                if put is not None and item.events & EPOLLONESHOT:
                    item.events &= _PRIVATE_BITS
            if bits and put is not None:
                item.reported(bits, table)
        if put is not None:
            for key in reported:  # round robin: what was reported goes to the end
                self.items[key] = self.items.pop(key)
        return len(reported)


class EpollOperations(StreamOperations):
    """An epoll descriptor can itself be polled: it is readable while it has events."""

    def show_fdinfo(self, filp: file) -> str:
        """A line a watched descriptor (ep_show_fdinfo)."""
        return "".join(
            f"tfd: {item.fd:8} events: {item.events:8x} data: {item.data:16x}  pos:{item.filp.f_pos} "
            f"ino:{item.filp.f_inode.i_ino:x} sdev:{item.filp.f_inode.i_sb.s_dev:x}\n"
            for item in set_of(filp).items.values()
        )

    def poll(self, filp: file, table: Optional[poll_table]) -> int:
        ep = filp.private_data
        known: Known = {} if table is None or table.known is None else table.known
        if ep not in known:
            queues: dict[WaitQueue, None] = {}
            found = ep.ready(1, queues, None, known)
            known[ep] = (POLLIN | POLLRDNORM if found else 0, (*queues, ep.wait))
        bits, where = known[ep]
        if table is not None:
            for queue in where:
                table.wait(queue)
        return bits

    def ioctl(self, node: inode, filp: file, cmd: int, arg: int) -> int:
        """How to poll the network busily: kept and given back, there is none that it would change.  EINVAL: values out
        of range, any other number; EPERM: more than 64 packets (ep_eventpoll_ioctl)."""
        ep = set_of(filp)
        task = ep.kernel.current
        if cmd not in (EPIOCSPARAMS, EPIOCGPARAMS) or task is None:
            return -EINVAL
        if cmd == EPIOCGPARAMS:
            task.mm.copy_to_user(arg, ep.params)
            return 0
        params = task.mm.copy_from_user(arg, 8)
        usecs, budget, prefer, padding = struct.unpack("<IHBB", params)
        if usecs >> 31 or prefer > 1 or padding:
            return -EINVAL
        if budget > NAPI_POLL_WEIGHT and not capable(task, CAP_NET_ADMIN):
            return -EPERM
        ep.params = params
        return 0

    def release(self, node: inode, filp: file) -> int:
        filp.private_data.clear()
        return 0


epoll_operations = EpollOperations(open=no_open)


def epoll_file(kernel: Kernel) -> file:
    """A new epoll set, opened."""
    filp = anon_file(kernel, "[eventpoll]", epoll_operations, O_RDWR)
    filp.private_data = eventpoll(kernel)
    return filp


def set_of(filp: file) -> eventpoll:
    """The set behind an epoll descriptor; EINVAL for any other file."""
    found: Any = filp.private_data
    if filp.f_op is not epoll_operations or not isinstance(found, eventpoll):
        raise Errno(EINVAL)
    return found


def check_loop(outer: eventpoll, filp: file) -> None:
    """ELOOP when a set would contain itself, or more than five would be one in another (ep_loop_check)."""
    if filp.f_op is not epoll_operations:
        return
    below = _depth(set_of(filp), lambda ep: [set_of(item.filp) for item in ep.inner()], outer)
    above = _depth(outer, lambda ep: list(ep.outer))
    if below + 1 + above > EP_MAX_NESTS:
        raise Errno(ELOOP)


def _depth(
    start: eventpoll, following: Callable[[eventpoll], list[eventpoll]], never: Optional[eventpoll] = None
) -> int:
    """How many steps the longest way from `start` has; ELOOP where one comes to `never`."""
    known: dict[int, int] = {}

    def walk(ep: eventpoll) -> int:
        if ep is never:
            raise Errno(ELOOP)
        if id(ep) not in known:
            known[id(ep)] = 0
            known[id(ep)] = max((walk(other) + 1 for other in following(ep)), default=0)
        return known[id(ep)]

    return walk(start)


def _holders(kernel: Kernel, filp: file) -> dict[eventpoll, int]:
    """The sets that `filp` is in, and by how many items (`file->f_ep`)."""
    if filp.f_op is epoll_operations:
        return set_of(filp).outer
    return kernel.epoll_holders.setdefault(filp, {})


def _too_many_paths(kernel: Kernel, filp: file) -> bool:
    """Whether a file that was added now, or one in the set that was, is to be reached in more ways than `PATH_LIMITS`
    has (reverse_path_check)."""
    known: dict[eventpoll, list[int]] = {}
    for target in _files_below(filp):
        ways = _sum(_holders(kernel, target), known)
        if len(ways) > len(PATH_LIMITS):
            return True
        if any(number > most for number, most in zip(ways[1:], PATH_LIMITS[1:], strict=False)):
            return True
    return False


def _files_below(filp: file) -> list[file]:
    """The file itself, or all that are in the set and its inner sets, but no sets (tfile_check_list)."""
    found: dict[file, None] = {}
    waiting = [filp]
    while waiting:
        each = waiting.pop()
        if each not in found:
            found[each] = None
            if each.f_op is epoll_operations:
                waiting += [item.filp for item in set_of(each).items.values() if item.filp.f_count > 0]
    return [each for each in found if each.f_op is not epoll_operations]


def _sum(holders: dict[eventpoll, int], known: dict[eventpoll, list[int]]) -> list[int]:
    """Of something that is in these sets: how many ways lead up to a set that is in none, by the sets between."""
    total: list[int] = []
    for ep, times in holders.items():
        if ep not in known:
            known[ep] = [0, *_sum(ep.outer, known)] if ep.outer else [1]
        ways = known[ep]
        total += [0] * (len(ways) - len(total))
        for depth, number in enumerate(ways):
            total[depth] += number * times
    return total
