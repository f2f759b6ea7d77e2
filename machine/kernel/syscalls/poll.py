"""poll, select and their relatives (fs/select.c)."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Optional

from machine.kernel.abi.errno import (
    EBADF,
    EFAULT,
    EINTR,
    EINVAL,
    ERESTART_RESTARTBLOCK,
    ERESTARTNOHAND,
    ERESTARTSYS,
    Errno,
)
from machine.kernel.abi.layout import NSEC_PER_SEC, TIMESPEC64, timespec_ns
from machine.kernel.abi.resource import RLIMIT_NOFILE
from machine.kernel.fs.file import O_PATH
from machine.kernel.fs.poll import (
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLNVAL,
    POLLOUT,
    POLLPRI,
    POLLRDBAND,
    POLLRDNORM,
    POLLWRBAND,
    POLLWRNORM,
    poll_table,
    vfs_poll,
)
from machine.kernel.mm.space import TASK_SIZE
from machine.kernel.syscalls.table import syscall
from machine.kernel.task.signal import set_current_blocked, signal_pending

if TYPE_CHECKING:
    from machine.kernel.task.task import Task
    from machine.kernel.task.wait import WaitQueue

_POLLFD = struct.Struct("<ihh")
POLLIN_SET = POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR
POLLOUT_SET = POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR
POLLEX_SET = POLLPRI
_KINDS = POLLIN_SET, POLLOUT_SET, POLLEX_SET
_SOMETIMES = 0x3F
"""After so many descriptors a long call looks whether its task was killed."""
_NOT_EMPTY = re.compile(rb"[^\0]")
Timespec = Callable[["Task", int], tuple[int, int]]


def poll_fds(task: Task, wanted: list[tuple[int, int]], timeout_ns: Optional[int]) -> list[int]:
    """The bits that are set for each (descriptor, events), after sleeping until there are some or time is up.

    `events` has POLLERR and POLLHUP added; a negative descriptor gives 0, one that is not open POLLNVAL.
    ERESTARTSYS for a signal, which counts more than the time and less than a descriptor (do_poll, do_select).
    """
    kernel = task.kernel
    deadline = None if timeout_ns is None else kernel.clock.monotonic_ns() + timeout_ns
    timed_out = timeout_ns == 0
    while True:
        queues: dict[WaitQueue, None] = {}
        results = []
        ready = False
        for number, (fd, events) in enumerate(wanted, 1):
            if not number & _SOMETIMES and kernel.sched.break_off():
                raise Errno(EINTR)
            if fd < 0:
                results.append(0)
                continue
            filp = task.files.fds.get(fd)
            if filp is None or filp.f_flags & O_PATH:
                results.append(POLLNVAL)
                ready = True
                continue
            events |= POLLERR | POLLHUP
            table = None if ready or timed_out else poll_table(events)
            bits = vfs_poll(filp, table) & events
            results.append(bits)
            if bits:
                ready = True
            elif table is not None:
                queues.update(table.queues)
        if ready:
            return results
        if signal_pending(task):
            raise Errno(ERESTARTSYS)
        if timed_out:
            return results
        left = None if deadline is None else deadline - kernel.clock.monotonic_ns()
        timed_out = not kernel.sched.wait_any(queues, left)


# -- poll ------------------------------------------------------------------------------------------


def _do_poll(task: Task, fds: int, count: int, timeout_ns: Optional[int]) -> int:
    """Number of descriptors with something to say.  EINVAL beyond RLIMIT_NOFILE."""
    if count > task.signal.rlimits[RLIMIT_NOFILE][0]:
        raise Errno(EINVAL)
    if fds + count * _POLLFD.size > TASK_SIZE:
        raise Errno(EFAULT)  # even for no descriptors at all; access_ok knows no smaller limit for i386
    raw = task.mm.copy_from_user(fds, count * _POLLFD.size)
    entries = list(_POLLFD.iter_unpack(raw))
    results = poll_fds(task, [(fd, events & 0xFFFF) for fd, events, _ in entries], timeout_ns)
    for index, bits in enumerate(results):
        if index & _SOMETIMES == _SOMETIMES and task.kernel.sched.break_off():
            raise Errno(EINTR)
        if task.mm.write_some(fds + index * _POLLFD.size + 6, (bits & 0xFFFF).to_bytes(2, "little")) != 2:
            raise Errno(EFAULT)
    return sum(1 for bits in results if bits)


@syscall("poll", "ptr:poll uint int")
def sys_poll(task: Task, fds: int, count: int, timeout_ms: int) -> int:
    timeout = None if timeout_ms < 0 else timeout_ms * 1_000_000
    return _restartable_poll(task, fds, count, timeout)


def _restartable_poll(task: Task, fds: int, count: int, timeout_ns: Optional[int]) -> int:
    """After a signal without a handler the call goes on with the time that is left."""
    start = task.kernel.clock.monotonic_ns()
    try:
        return _do_poll(task, fds, count, timeout_ns)
    except Errno as error:
        if error.errno != ERESTARTSYS:
            raise
    deadline = None if timeout_ns is None else start + timeout_ns

    def again() -> int:
        left = None if deadline is None else max(0, deadline - task.kernel.clock.monotonic_ns())
        return _restartable_poll(task, fds, count, left)

    task.restart = again
    raise Errno(ERESTART_RESTARTBLOCK)


def _native_timespec(task: Task, address: int) -> tuple[int, int]:
    return task.abi.get_timespec(task.mm, address)


def _timespec64(task: Task, address: int) -> tuple[int, int]:
    return task.abi.get_timespec64(task.mm, address)


def with_sigmask(task: Task, mask: Optional[int], call: Callable[[], int]) -> int:
    """Run `call` with another signal mask, which stays until the handler has run if a signal ends it."""
    if mask is None:
        return call()
    task.saved_sigmask = task.blocked
    set_current_blocked(task, mask)
    try:
        result = call()
    except Errno as error:
        if error.errno not in (ERESTARTNOHAND, 4):
            _restore(task)
        raise
    _restore(task)
    return result


def _restore(task: Task) -> None:
    if task.saved_sigmask is not None:
        set_current_blocked(task, task.saved_sigmask)
        task.saved_sigmask = None


def user_sigmask(task: Task, address: int, size: int) -> Optional[int]:
    """The 64-bit mask at `address`, None for NULL; EINVAL when `size` is not 8."""
    if not address:
        return None
    if size != 8:
        raise Errno(EINVAL)
    return task.mm.get_u64(address)


def _no_hand(call: Callable[[], int]) -> int:
    try:
        return call()
    except Errno as error:
        if error.errno == ERESTARTSYS:
            raise Errno(ERESTARTNOHAND) from None
        raise


def _put_left(task: Task, address: int, end: Optional[int], layout: struct.Struct, unit: int) -> None:
    """Linux writes back the time that is left; where that can't be written nobody hears of it."""
    if address and end is not None:
        seconds, rest = divmod(max(0, end - task.kernel.clock.monotonic_ns()), NSEC_PER_SEC)
        task.mm.write_some(address, layout.pack(seconds, rest // unit))


def _end(task: Task, timeout_ns: Optional[int]) -> Optional[int]:
    return None if timeout_ns is None else task.kernel.clock.monotonic_ns() + timeout_ns


def _ppoll(task: Task, fds: int, count: int, tmo: int, sigmask: int, size: int, time64: bool) -> int:
    layout = TIMESPEC64 if time64 else task.abi.timespec
    read = _timespec64 if time64 else _native_timespec
    timeout = timespec_ns(*read(task, tmo)) if tmo else None
    end = _end(task, timeout)
    mask = user_sigmask(task, sigmask, size)
    try:
        return with_sigmask(task, mask, lambda: _no_hand(lambda: _do_poll(task, fds, count, timeout)))
    finally:
        _put_left(task, tmo, end, layout, 1)


@syscall("ppoll", "ptr:poll uint ptr:ts ptr:sigset size")
def sys_ppoll(task: Task, fds: int, count: int, tmo: int, sigmask: int, size: int) -> int:
    return _ppoll(task, fds, count, tmo, sigmask, size, False)


@syscall("ppoll_time64", "ptr:poll uint ptr:ts64 ptr:sigset size", abi="i386")
def sys_ppoll_time64(task: Task, fds: int, count: int, tmo: int, sigmask: int, size: int) -> int:
    return _ppoll(task, fds, count, tmo, sigmask, size, True)


# -- select ----------------------------------------------------------------------------------------


def _get_set(task: Task, address: int, count: int) -> bytearray:
    """An fd_set; whole words of the ABI are read, and the bits from `count` on are 0."""
    size = (count + task.abi.bits - 1) // task.abi.bits * task.abi.word
    if not address:
        return bytearray(size)
    found = bytearray(task.mm.copy_from_user(address, size))
    found[(count + 7) // 8 :] = bytes(size - (count + 7) // 8)
    if count & 7:
        found[count // 8] &= (1 << (count & 7)) - 1
    return found


def _max_fds(task: Task) -> int:
    """Size of the descriptor table: bits beyond it are not looked at (fs/file.c: alloc_fdtable).

    256 is what a shell's child has: the shell keeps its terminal at 255.
    """
    highest = max(task.files.fds, default=0)
    return max(256, 128 << (highest // 128).bit_length())


def _core_select(task: Task, count: int, sets: tuple[int, int, int], timeout_ns: Optional[int]) -> int:
    """core_sys_select: EBADF for a descriptor that is not open, EINVAL for a negative count."""
    if count < 0:
        raise Errno(EINVAL)
    count = min(count, _max_fds(task))
    masks = [_get_set(task, address, count) for address in sets]
    wanted = _wanted(task, masks)
    results = poll_fds(task, wanted, timeout_ns)
    answers, total = [bytearray(len(masks[0])) for _ in sets], 0
    for (fd, _events), bits in zip(wanted, results, strict=True):
        place, bit = fd >> 3, 1 << (fd & 7)
        for mask, answer, kind in zip(masks, answers, _KINDS, strict=True):
            if mask[place] & bit and bits & kind:
                answer[place] |= bit
                total += 1
    for address, answer in zip(sets, answers, strict=True):
        if address:
            task.mm.copy_to_user(address, answer)
    return total


def _wanted(task: Task, masks: list[bytearray]) -> list[tuple[int, int]]:
    """(descriptor, events) for each bit that is set in one of the three sets, lowest first; EBADF."""
    places = sorted({found.start() for mask in masks for found in _NOT_EMPTY.finditer(mask)})
    wanted = []
    for fd in [fd for place in places for fd in range(place * 8, place * 8 + 8)]:
        events = 0
        for mask, kind in zip(masks, _KINDS, strict=True):
            if mask[fd >> 3] >> (fd & 7) & 1:
                events |= kind
        if events:
            if fd not in task.files.fds:
                raise Errno(EBADF)
            wanted.append((fd, events))
    return wanted


def _select(task: Task, count: int, sets: tuple[int, int, int], tvp: int) -> int:
    """Microseconds may exceed a second here (kern_select)."""
    timeout = None
    if tvp:
        seconds, us = task.abi.get_timeval(task.mm, tvp)
        timeout = timespec_ns(seconds + us // 1_000_000, us % 1_000_000 * 1000)
    end = _end(task, timeout)
    try:
        return _no_hand(lambda: _core_select(task, count, sets, timeout))
    finally:
        _put_left(task, tvp, end, task.abi.timeval, 1000)


@syscall("select", "int ptr:fdset ptr:fdset ptr:fdset ptr:tv", abi="x86_64")
def sys_select(task: Task, count: int, readfds: int, writefds: int, exceptfds: int, tvp: int) -> int:
    return _select(task, count, (readfds, writefds, exceptfds), tvp)


@syscall("_newselect", "int ptr:fdset ptr:fdset ptr:fdset ptr:tv", abi="i386")
def sys_newselect(task: Task, count: int, readfds: int, writefds: int, exceptfds: int, tvp: int) -> int:
    return _select(task, count, (readfds, writefds, exceptfds), tvp)


@syscall("select", "ptr", abi="i386")
def sys_old_select(task: Task, block: int) -> int:
    """The i386 call with its five arguments in memory (fs/select.c: sys_old_select)."""
    count, *sets, tvp = struct.unpack("<iIIII", task.mm.copy_from_user(block, 20))
    return _select(task, count, (sets[0], sets[1], sets[2]), tvp)


def _pselect(task: Task, count: int, sets: tuple[int, int, int], tsp: int, sig: int, time64: bool) -> int:
    """The sixth argument points to (mask, its size): a call has no seventh."""
    layout = TIMESPEC64 if time64 else task.abi.timespec
    mask = None
    if sig:
        abi = task.abi
        mask = user_sigmask(task, abi.get_word(task.mm, sig), abi.get_word(task.mm, sig + abi.word))
    timeout = timespec_ns(*(_timespec64 if time64 else _native_timespec)(task, tsp)) if tsp else None
    end = _end(task, timeout)
    try:
        return with_sigmask(task, mask, lambda: _no_hand(lambda: _core_select(task, count, sets, timeout)))
    finally:
        _put_left(task, tsp, end, layout, 1)


@syscall("pselect6", "int ptr:fdset ptr:fdset ptr:fdset ptr:ts ptr")
def sys_pselect6(task: Task, count: int, readfds: int, writefds: int, exceptfds: int, tsp: int, sig: int) -> int:
    return _pselect(task, count, (readfds, writefds, exceptfds), tsp, sig, False)


@syscall("pselect6_time64", "int ptr:fdset ptr:fdset ptr:fdset ptr:ts64 ptr", abi="i386")
def sys_pselect6_time64(task: Task, count: int, readfds: int, writefds: int, exceptfds: int, tsp: int, sig: int) -> int:
    return _pselect(task, count, (readfds, writefds, exceptfds), tsp, sig, True)
