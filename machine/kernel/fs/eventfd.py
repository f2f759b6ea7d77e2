"""eventfd(2): a counter that can be waited for (fs/eventfd.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.abi.errno import EAGAIN, EINVAL, Errno
from machine.kernel.fs.anon import StreamOperations, anon_file, no_open
from machine.kernel.fs.file import O_NONBLOCK, O_RDWR, file
from machine.kernel.fs.poll import POLLERR, POLLIN, POLLOUT, poll_table

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.mm.space import mm_struct
    from machine.kernel.task.wait import WaitQueue

ULLONG_MAX = (1 << 64) - 1


class eventfd_ctx:
    """The counter, and who waits for it to change."""

    __slots__ = ("count", "kernel", "semaphore", "wqh")

    def __init__(self, kernel: Kernel, count: int, semaphore: bool) -> None:
        self.kernel = kernel
        self.count = count
        self.semaphore = semaphore
        """EFD_SEMAPHORE: a read takes one."""
        self.wqh: WaitQueue = kernel.sched.queue()


def _context(filp: file) -> eventfd_ctx:
    found: Any = filp.private_data
    assert isinstance(found, eventfd_ctx)
    return found


class EventfdOperations(StreamOperations):
    """Reads and writes are of 8 bytes: EINVAL for fewer, and to write more (since Linux 6.8)."""

    writes_by_segment = True

    def read_iter(self, filp: file, count: int, position: int) -> bytes:
        """The number is gone even when the reader's memory can't take it, as on Linux."""
        ctx = _context(filp)
        if count < 8:
            raise Errno(EINVAL)
        while not ctx.count:
            if filp.f_flags & O_NONBLOCK:
                raise Errno(EAGAIN)
            ctx.kernel.sched.wait(ctx.wqh)
        taken = 1 if ctx.semaphore else ctx.count
        ctx.count -= taken
        ctx.wqh.wake()
        return taken.to_bytes(8, "little")

    def read_at_once(self, filp: file, mm: mm_struct, address: int, count: int) -> Optional[int]:
        """It is not zero."""
        ctx: eventfd_ctx = filp.private_data
        if count < 8 or not ctx.count:
            return None
        where = mm.room_at_once(address, 8)
        return None if where == -1 else mm.put_at_once(where, address, self.read_iter(filp, 8, 0))

    def write_at_once(self, filp: file, mm: mm_struct, address: int, count: int) -> Optional[int]:
        """There is room for the number."""
        ctx: eventfd_ctx = filp.private_data
        data = mm.take_at_once(address, 8) if count == 8 else None
        if data is None or ULLONG_MAX - ctx.count <= int.from_bytes(data, "little"):
            return None
        return self.write_iter(filp, data, 0)

    def write_iter(self, filp: file, data: bytes, position: int) -> int:
        ctx = _context(filp)
        value = int.from_bytes(data[:8], "little")
        if len(data) != 8 or value == ULLONG_MAX:
            raise Errno(EINVAL)
        while ULLONG_MAX - ctx.count <= value:
            if filp.f_flags & O_NONBLOCK:
                raise Errno(EAGAIN)
            ctx.kernel.sched.wait(ctx.wqh)
        ctx.count += value
        ctx.wqh.wake()
        return 8

    def show_fdinfo(self, filp: file) -> str:
        """The counter and its kind (eventfd_show_fdinfo)."""
        ctx = _context(filp)
        kind = f"eventfd-id: {filp.f_inode.i_ino}\neventfd-semaphore: {int(ctx.semaphore)}\n"
        return f"eventfd-count: {ctx.count:16x}\n{kind}"

    def poll(self, filp: file, table: Optional[poll_table]) -> int:
        ctx = _context(filp)
        if table is not None:
            table.wait(ctx.wqh)
        mask = POLLIN if ctx.count else 0
        if ctx.count == ULLONG_MAX:
            mask |= POLLERR
        return mask | (POLLOUT if ctx.count < ULLONG_MAX - 1 else 0)


eventfd_operations = EventfdOperations(open=no_open)


def eventfd_file(kernel: Kernel, count: int, semaphore: bool, nonblock: bool) -> file:
    """A new eventfd, opened."""
    filp = anon_file(kernel, "[eventfd]", eventfd_operations, O_RDWR | (O_NONBLOCK if nonblock else 0))
    filp.private_data = eventfd_ctx(kernel, count, semaphore)
    return filp
