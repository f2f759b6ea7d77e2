"""Pipes and FIFOs (fs/pipe.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.abi.errno import EAGAIN, EBUSY, EINVAL, ENOMEM, ENXIO, EPERM, EPIPE, Errno
from machine.kernel.abi.signal import POLL_IN, POLL_OUT, SIGIO, SIGPIPE
from machine.kernel.fs.anon import anon_inode
from machine.kernel.fs.fasync import fasync_helper, kill_fasync
from machine.kernel.fs.file import (
    FASYNC,
    FMODE_READ,
    FMODE_WRITE,
    O_DIRECT,
    O_NONBLOCK,
    O_RDONLY,
    O_WRONLY,
    S_IFIFO,
    file,
    file_operations,
    inode,
)
from machine.kernel.fs.namei import Dentry
from machine.kernel.fs.poll import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM, poll_table

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.mm.space import mm_struct
    from machine.kernel.task.wait import WaitQueue

PIPE_BUF = 4096
"""Writes up to this many bytes are never split."""
PIPE_SIZE = 65536
"""What F_SETPIPE_SZ gives to users other than root at most."""


PIPE_RING_MAX = 256 << 20
"""The kernel has no memory for a ring of more pages: KMALLOC_MAX_SIZE, 4 MiB, at 40 bytes a page."""


class pipe_inode_info:
    """The bytes in flight and who is at the ends."""

    __slots__ = (
        "anonymous",
        "chunks",
        "ends",
        "fasync_readers",
        "fasync_writers",
        "kernel",
        "packets",
        "r_counter",
        "rd_wait",
        "readers",
        "size",
        "used",
        "w_counter",
        "wr_wait",
        "writers",
    )  # fmt: skip

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.anonymous = False
        """Made by pipe(2): reopening it through /proc/PID/fd waits for nobody."""
        self.size = PIPE_SIZE
        self.used = 0
        self.chunks: list[bytes] = []
        self.packets: list[bool] = []
        """For each chunk whether it is a packet of its own (O_DIRECT)."""
        self.ends: list[int] = []
        """For each chunk where it ends in its page: a short write may go on there."""
        self.readers = self.writers = 0
        self.r_counter = self.w_counter = 0
        """How often an end was opened: a FIFO's open waits for a change of the other's."""
        self.rd_wait: WaitQueue = kernel.sched.queue()
        """Readers sleep here; woken by writes, and when an end is opened or closed."""
        self.wr_wait: WaitQueue = kernel.sched.queue()
        """Writers sleep here, and the openers of a FIFO."""
        self.fasync_readers: list[Any] = []
        """Open files with O_ASYNC: SIGIO at each write, at each read, and when an end is closed."""
        self.fasync_writers: list[Any] = []

    def wake(self) -> None:
        """An end was opened or closed."""
        self.rd_wait.wake()
        self.wr_wait.wake()

    def signal(self) -> None:
        """SIGIO for both ends: one of them is gone."""
        kill_fasync(self.kernel, self.fasync_readers, SIGIO, POLL_IN)
        kill_fasync(self.kernel, self.fasync_writers, SIGIO, POLL_OUT)

    @property
    def room(self) -> int:
        """How many bytes go into the slots that are free: each holds a page, or a part of one."""
        return self.size - len(self.chunks) * PIPE_BUF

    def push(self, data: bytes, packet: bool, end: int = 0) -> None:
        """Append bytes, a page to a slot; `end`: where in its page the last one ends, if nothing may follow."""
        for start in range(0, len(data), PIPE_BUF):
            piece = data[start : start + PIPE_BUF]
            self.chunks.append(piece)
            self.packets.append(packet)
            self.ends.append(end or len(piece))
        self.used += len(data)

    def merge(self, data: bytes) -> int:
        """Put what a write has beyond whole pages behind the last bytes, if its page has room: how many bytes."""
        count = len(data) & PIPE_BUF - 1
        if not count or not self.chunks or self.packets[-1] or self.ends[-1] + count > PIPE_BUF:
            return 0
        self.chunks[-1] += data[:count]
        self.ends[-1] += count
        self.used += count
        return count

    def _drop_first(self) -> bytes:
        self.packets.pop(0)
        self.ends.pop(0)
        return self.chunks.pop(0)

    def pull(self, count: int) -> bytes:
        """Take up to `count` bytes; one packet at most, whose rest is lost."""
        if self.packets[0] or len(self.chunks[0]) == count:
            chunk = self._drop_first()
            self.used -= len(chunk)
            return chunk if len(chunk) <= count else chunk[:count]
        taken: list[bytes] = []
        left = count
        while left and self.chunks and not self.packets[0]:
            chunk = self.chunks[0]
            if len(chunk) <= left:
                taken.append(self._drop_first())
            else:
                taken.append(chunk[:left])
                self.chunks[0] = chunk[left:]
            left -= len(taken[-1])
        data = b"".join(taken)
        self.used -= len(data)
        return data


def pipe_of(filp: file) -> Optional[pipe_inode_info]:
    """The pipe behind an open file, None if it is no pipe."""
    found = getattr(filp.f_inode, "i_pipe", None)
    return found if isinstance(found, pipe_inode_info) and filp.f_op is pipe_operations else None


def _pipe(node: Any) -> pipe_inode_info:
    found: pipe_inode_info = node.i_pipe
    return found


class PipeOperations(file_operations):
    """Both ends of a pipe, and FIFOs once they are open."""

    def open(self, node: inode, filp: file) -> int:
        return fifo_open(_pipe(node).kernel, node, filp)

    def read_iter(self, filp: file, count: int, position: int) -> bytes:
        pipe = _pipe(filp.f_inode)
        if not count:
            return b""
        while not pipe.chunks:
            if not pipe.writers:
                return b""
            if filp.f_flags & O_NONBLOCK:
                raise Errno(EAGAIN)
            pipe.kernel.sched.wait(pipe.rd_wait)
        data = pipe.pull(count)
        pipe.wr_wait.wake()
        if pipe.fasync_writers:
            kill_fasync(pipe.kernel, pipe.fasync_writers, SIGIO, POLL_OUT)
        return data

    def write_iter(self, filp: file, data: bytes, position: int) -> int:
        pipe = _pipe(filp.f_inode)
        packet = bool(filp.f_flags & O_DIRECT)
        done, told, count = 0, 0, len(data)
        if not count:
            return 0
        if pipe.readers:
            done = pipe.merge(data)
        while True:
            if not pipe.readers:
                return self._broken(pipe, done)
            room = pipe.room
            if room > 0 and done < count:
                piece = data[done : done + room]
                pipe.push(piece, packet)
                done += len(piece)
            if done > told:
                pipe.rd_wait.wake()
                told = done
            if done == count:
                if pipe.fasync_readers:
                    kill_fasync(pipe.kernel, pipe.fasync_readers, SIGIO, POLL_IN)
                return done
            if filp.f_flags & O_NONBLOCK:
                if done:
                    return done
                raise Errno(EAGAIN)
            try:
                pipe.kernel.sched.wait(pipe.wr_wait)
            except Errno:
                if done:
                    return done
                raise

    def wait_for_room(self, filp: file) -> None:
        """What a write does before it copies: EPIPE, EAGAIN, or sleep."""
        pipe = _pipe(filp.f_inode)
        while pipe.readers and pipe.room <= 0:
            if filp.f_flags & O_NONBLOCK:
                raise Errno(EAGAIN)
            pipe.kernel.sched.wait(pipe.wr_wait)
        if not pipe.readers:
            self._broken(pipe, 0)

    def read_at_once(self, filp: file, mm: mm_struct, address: int, count: int) -> Optional[int]:
        """There is something to read, and nobody to be told by SIGIO."""
        pipe: pipe_inode_info = filp.f_dentry.d_inode.i_pipe  # type: ignore[attr-defined]
        if not count or not pipe.chunks or pipe.fasync_writers:
            return None
        if count > pipe.used:
            count = pipe.used
        where = mm.room_at_once(address, count)
        if where == -1:
            return None
        data = pipe.pull(count)
        pipe.wr_wait.wake()
        return mm.put_at_once(where, address, data)

    def write_at_once(self, filp: file, mm: mm_struct, address: int, count: int) -> Optional[int]:
        """A free slot takes all of it."""
        pipe: pipe_inode_info = filp.f_dentry.d_inode.i_pipe  # type: ignore[attr-defined]
        if not 0 < count <= PIPE_BUF or not pipe.readers or pipe.fasync_readers or filp.f_flags & O_DIRECT:
            return None
        chunks = pipe.chunks
        if len(chunks) << 12 >= pipe.size:
            return None
        data = mm.take_at_once(address, count)
        if data is None:
            return None
        if not chunks or not pipe.merge(data):
            chunks.append(data)
            pipe.packets.append(False)
            pipe.ends.append(count)
            pipe.used += count
        pipe.rd_wait.wake()
        return count

    def unread(self, filp: file, data: bytes) -> None:
        """Put back what the reader's memory could not take."""
        pipe = _pipe(filp.f_inode)
        pipe.chunks.insert(0, data)
        pipe.packets.insert(0, False)
        pipe.ends.insert(0, PIPE_BUF)
        pipe.used += len(data)

    @staticmethod
    def _broken(pipe: pipe_inode_info, done: int) -> int:
        from machine.kernel.task.signal import send_sig

        task = pipe.kernel.current
        if task is not None:
            send_sig(pipe.kernel, task, SIGPIPE)
        if done:
            return done
        raise Errno(EPIPE)

    def poll(self, filp: file, table: Optional[poll_table]) -> int:
        pipe = _pipe(filp.f_inode)
        if table is not None:
            if filp.f_mode & FMODE_READ:
                table.wait(pipe.rd_wait)
            if filp.f_mode & FMODE_WRITE:
                table.wait(pipe.wr_wait)
        mask = 0
        if filp.f_mode & FMODE_READ:
            if pipe.chunks:
                mask |= POLLIN | POLLRDNORM
            if not pipe.writers and filp.private_data != pipe.w_counter:
                mask |= POLLHUP
        if filp.f_mode & FMODE_WRITE:
            if pipe.room > 0:
                mask |= POLLOUT | POLLWRNORM
            if not pipe.readers:
                mask |= POLLERR
        return mask

    def fasync(self, fd: int, filp: file, on: int) -> int:
        """O_ASYNC was switched (fs/pipe.c: pipe_fasync)."""
        pipe = _pipe(filp.f_inode)
        for mode, entries in ((FMODE_READ, pipe.fasync_readers), (FMODE_WRITE, pipe.fasync_writers)):
            if filp.f_mode & mode:
                fasync_helper(fd, filp, on, entries)
        return 0

    def release(self, node: inode, filp: file) -> int:
        pipe = _pipe(node)
        if filp.f_flags & FASYNC:
            self.fasync(-1, filp, 0)
        if filp.f_mode & FMODE_READ:
            pipe.readers -= 1
        if filp.f_mode & FMODE_WRITE:
            pipe.writers -= 1
        pipe.wake()
        pipe.signal()
        if not pipe.readers and not pipe.writers:
            pipe.chunks.clear()
            pipe.packets.clear()
            pipe.ends.clear()
            pipe.used = 0
        return 0


pipe_operations = PipeOperations()


def available(pipe: pipe_inode_info) -> int:
    """Bytes that a read would find (FIONREAD)."""
    return pipe.used


def set_pipe_size(pipe: pipe_inode_info, size: int, privileged: bool) -> int:
    """F_SETPIPE_SZ: rounded up to a power of two of pages; EPERM above the limit, ENOMEM, EBUSY when it holds more."""
    if size < 0 or size > 1 << 31:
        raise Errno(EINVAL)
    size = max(PIPE_BUF, 1 << (size - 1).bit_length()) if size else PIPE_BUF
    if size > pipe.kernel.sysctl["fs/pipe-max-size"] and not privileged and size > pipe.size:
        raise Errno(EPERM)
    if size > PIPE_RING_MAX:
        raise Errno(ENOMEM)
    if size < len(pipe.chunks) * PIPE_BUF:
        raise Errno(EBUSY)
    pipe.size = size
    pipe.wr_wait.wake()
    return size


def create_pipe(kernel: Kernel, flags: int = 0) -> tuple[file, file]:
    """(reading end, writing end) of a new pipe; `flags` are O_NONBLOCK and O_DIRECT (create_pipe_files)."""
    node: Any = anon_inode(kernel, S_IFIFO | 0o600, pipe_operations, "pipefs")
    task = kernel.current
    if task is not None:
        node.i_uid, node.i_gid = task.fsuid, task.fsgid
    pipe = node.i_pipe = pipe_inode_info(kernel)
    pipe.anonymous = True
    pipe.readers = pipe.writers = pipe.r_counter = pipe.w_counter = 1
    name = f"pipe:[{node.i_ino}]"
    where = Dentry(node, name, None, name)
    reading = file(where, O_RDONLY | flags & O_NONBLOCK, pipe_operations, name)
    writing = file(where, O_WRONLY | flags & (O_NONBLOCK | O_DIRECT), pipe_operations, name)
    return reading, writing


def fifo_open(kernel: Kernel, node: Any, filp: file) -> int:
    """Open an end of a FIFO: waits for the other end, unless O_NONBLOCK (then writing is -ENXIO)."""
    pipe = getattr(node, "i_pipe", None)
    if pipe is None:
        pipe = node.i_pipe = pipe_inode_info(kernel)
    filp.f_op = pipe_operations
    nonblock = filp.f_flags & O_NONBLOCK
    mode = filp.f_mode & (FMODE_READ | FMODE_WRITE)
    if mode == FMODE_WRITE and nonblock and not pipe.readers:
        filp.f_op = file_operations()
        return -ENXIO
    if mode & FMODE_READ:
        pipe.readers += 1
        pipe.r_counter += 1
    if mode & FMODE_WRITE:
        pipe.writers += 1
        pipe.w_counter += 1
    pipe.wake()
    if pipe.anonymous:
        return 0
    if mode == FMODE_READ and not pipe.writers:
        if nonblock:
            filp.private_data = pipe.w_counter  # no POLLHUP before a writer has come
        else:
            return _wait_for_partner(pipe, node, filp, "w_counter")
    elif mode == FMODE_WRITE and not pipe.readers:
        return _wait_for_partner(pipe, node, filp, "r_counter")
    return 0


def _wait_for_partner(pipe: pipe_inode_info, node: inode, filp: file, counter: str) -> int:
    before = getattr(pipe, counter)
    try:
        while getattr(pipe, counter) == before:
            pipe.kernel.sched.wait(pipe.wr_wait)
    except Errno as error:
        pipe_operations.release(node, filp)
        filp.f_op = file_operations()
        return -error.errno
    return 0
