"""splice, tee and vmsplice: bytes between pipes and files without a detour through a process (fs/splice.c).

Bytes are copied where Linux moves pages, so a process that changes its memory after vmsplice does not change what is in
the pipe.  Drivers have no `splice_read` and `splice_write` here: EINVAL, as without them on Linux since 5.10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.kernel.abi.errno import EAGAIN, EBADF, EFAULT, EINVAL, EPIPE, ESPIPE, Errno
from machine.kernel.abi.layout import MAX_RW_COUNT
from machine.kernel.abi.signal import SIGPIPE
from machine.kernel.fs.file import FMODE_READ, FMODE_WRITE, O_APPEND, O_NONBLOCK, S_IFMT, S_IFREG, file
from machine.kernel.fs.pipe import PIPE_BUF, pipe_inode_info, pipe_of, pipe_operations
from machine.kernel.fs.read_write import CHUNK, gather, is_stream, limit_write, scatter, signal_limit, write_bytes
from machine.kernel.fs.regular import MAX_LFS_FILESIZE
from machine.kernel.syscalls.table import syscall

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

SPLICE_F_NONBLOCK, SPLICE_F_ALL = 2, 0xF


def _wait_for_data(pipe: pipe_inode_info, nonblock: bool) -> bool:
    """Whether there is something to take: False when the writers are gone.  EAGAIN."""
    while not pipe.chunks:
        if not pipe.writers:
            return False
        if nonblock:
            raise Errno(EAGAIN)
        pipe.kernel.sched.wait(pipe.rd_wait)
    return True


def _wait_for_space(task: Task, pipe: pipe_inode_info, nonblock: bool) -> int:
    """How many bytes go in.  EAGAIN; EPIPE and SIGPIPE without readers (fs/splice.c: wait_for_space)."""
    while True:
        if not pipe.readers:
            from machine.kernel.task.signal import send_sig

            send_sig(task.kernel, task, SIGPIPE)
            raise Errno(EPIPE)
        if pipe.room > 0:
            return pipe.room
        if nonblock:
            raise Errno(EAGAIN)
        pipe.kernel.sched.wait(pipe.wr_wait)


def _put(pipe: pipe_inode_info, data: bytes) -> int:
    if data:
        pipe.push(data, False, PIPE_BUF)
        pipe.rd_wait.wake()
    return len(data)


def _pipe_to_pipe(task: Task, source: pipe_inode_info, target: pipe_inode_info, count: int, nonblock: bool) -> int:
    while True:
        if not _wait_for_data(source, nonblock):
            return 0
        room = _wait_for_space(task, target, nonblock)
        if source.chunks:  # somebody else may have read it while this one waited
            break
    done = _put(target, source.pull(min(count, room)))
    source.wr_wait.wake()
    return done


def _pipe_to_file(task: Task, source: file, target: file, position: int, count: int, nonblock: bool) -> int:
    pipe = pipe_of(source)
    assert pipe is not None
    if target.f_op.write_iter is None or target.f_flags & O_APPEND:
        raise Errno(EINVAL)
    done, room = 0, count
    while done < room and (pipe.chunks or not done) and _wait_for_data(pipe, nonblock):
        if not done:
            room = limit_write(task, target, position, count)
        data = pipe.pull(room - done)
        try:
            wrote = write_bytes(target, data, position + done)
        except Errno:
            pipe_operations.unread(source, data)
            if done:
                break
            raise
        done += wrote
        if wrote < len(data):
            pipe_operations.unread(source, data[wrote:])
            break
        pipe.wr_wait.wake()
    if done == room < count and pipe.chunks:
        signal_limit(task, target, position + done)
    return done


def file_to_pipe(
    task: Task, source: file, position: int, pipe: pipe_inode_info, count: int, nonblock: bool, seekable: bool = False
) -> int:
    """As much as the free slots of the pipe hold, a page of the file or a part of one in each: both calls that do this
    return then (fs/splice.c: splice_file_to_pipe).  EAGAIN, EPIPE; EINVAL: a source that can't."""
    room = _wait_for_space(task, pipe, nonblock)
    if not count:
        return 0
    if source.f_op.read_iter is None or (seekable and is_stream(source)):
        raise Errno(EINVAL)
    first = -position % PIPE_BUF if source.f_inode.i_mode & S_IFMT == S_IFREG else 0
    if first:
        room += first - PIPE_BUF
    data = source.f_op.read_iter(source, min(count, room), position)
    return _put(pipe, data[:first]) + _put(pipe, data[first:])


def _offset(task: Task, filp: file, address: int, count: int) -> int:
    """The position at `address`, or `f_pos` for NULL.  EINVAL: negative, with `count` bytes beyond every position, or a
    file without positions."""
    position = task.mm.get_u64(address) if address else filp.f_pos
    if position + count > MAX_LFS_FILESIZE or (address and is_stream(filp)):
        raise Errno(EINVAL)
    return position


@syscall("splice", "fd ptr fd ptr size flags", support="copies; drivers are EINVAL")
def sys_splice(task: Task, fd_in: int, off_in: int, fd_out: int, off_out: int, count: int, flags: int) -> int:
    """EBADF: not open for that direction; ESPIPE: an offset for a pipe; EINVAL: flags, no pipe at either end, the same
    pipe at both, O_APPEND (fs/splice.c: do_splice)."""
    if not count:
        return 0
    if flags & ~SPLICE_F_ALL:
        raise Errno(EINVAL)
    source, target = task.files.fget(fd_in), task.files.fget(fd_out)
    pipe_in, pipe_out = pipe_of(source), pipe_of(target)
    if (pipe_in and off_in) or (pipe_out and off_out):
        raise Errno(ESPIPE)
    for address in (off_out, off_in):
        if address:
            task.mm.copy_from_user(address, 8)  # EFAULT comes before what the files are
    if not source.f_mode & FMODE_READ or not target.f_mode & FMODE_WRITE:
        raise Errno(EBADF)
    if pipe_in and not pipe_out and count >> 63:
        raise Errno(EINVAL)  # rw_verify_area
    nonblock = bool(flags & SPLICE_F_NONBLOCK or (source.f_flags | target.f_flags) & O_NONBLOCK)
    count = min(count, MAX_RW_COUNT)
    if pipe_in and pipe_out:
        if pipe_in is pipe_out:
            raise Errno(EINVAL)
        return _pipe_to_pipe(task, pipe_in, pipe_out, count, nonblock)
    if pipe_in:
        where, moved, address = _offset(task, target, off_out, count), target, off_out
        done = _pipe_to_file(task, source, target, where, count, nonblock)
    elif pipe_out:
        where, moved, address = _offset(task, source, off_in, count), source, off_in
        done = file_to_pipe(task, source, where, pipe_out, count, nonblock)
    else:
        raise Errno(EINVAL)
    if address:
        task.mm.put_u64(address, where + done)
    else:
        moved.f_pos = where + done
    return done


@syscall("tee", "fd fd size flags")
def sys_tee(task: Task, fd_in: int, fd_out: int, count: int, flags: int) -> int:
    """What is in one pipe goes into another as well.  EINVAL: flags, other than two pipes; EBADF; EAGAIN; EPIPE."""
    if flags & ~SPLICE_F_ALL:
        raise Errno(EINVAL)
    if not count:
        return 0
    source, target = task.files.fget(fd_in), task.files.fget(fd_out)
    if not source.f_mode & FMODE_READ or not target.f_mode & FMODE_WRITE:
        raise Errno(EBADF)
    pipe_in, pipe_out = pipe_of(source), pipe_of(target)
    if pipe_in is None or pipe_out is None or pipe_in is pipe_out:
        raise Errno(EINVAL)
    nonblock = bool(flags & SPLICE_F_NONBLOCK or (source.f_flags | target.f_flags) & O_NONBLOCK)
    if not _wait_for_data(pipe_in, nonblock):
        return 0
    room = _wait_for_space(task, pipe_out, nonblock)
    return _put(pipe_out, b"".join(pipe_in.chunks)[: min(count, room)])


@syscall("vmsplice", "fd ptr:iov ulong flags", support="copies: SPLICE_F_GIFT gives nothing away")
def sys_vmsplice(task: Task, fd: int, iov: int, segments: int, flags: int) -> int:
    """Into the writing end of a pipe, or out of its reading end.  EINVAL: flags; EBADF: no pipe; EFAULT; EAGAIN."""
    if flags & ~SPLICE_F_ALL:
        raise Errno(EINVAL)
    filp = task.files.fget(fd)
    if not filp.f_mode & (FMODE_READ | FMODE_WRITE):
        raise Errno(EBADF)
    vectors = task.abi.read_iovec(task.mm, iov, segments)
    total = sum(length for _, length in vectors)
    if not total:
        return 0
    pipe = pipe_of(filp)
    if pipe is None:
        raise Errno(EBADF)
    nonblock = bool(flags & SPLICE_F_NONBLOCK)
    if filp.f_mode & FMODE_WRITE:
        return _from_user(task, pipe, vectors, total, nonblock)
    if not _wait_for_data(pipe, nonblock):
        return 0
    data = pipe.pull(total)
    taken = scatter(task, vectors, 0, data)
    if taken < len(data):
        pipe_operations.unread(filp, data[taken:])
    pipe.wr_wait.wake()
    if not taken:
        raise Errno(EFAULT)
    return taken


def _from_user(task: Task, pipe: pipe_inode_info, vectors: list[tuple[int, int]], total: int, nonblock: bool) -> int:
    """All of it, waiting for readers where it must (vmsplice_to_pipe)."""
    done = 0
    while done < total:
        try:
            room = _wait_for_space(task, pipe, nonblock)
        except Errno:
            if done:
                break
            raise
        wanted = min(total - done, room, CHUNK)
        data = gather(task, vectors, done, wanted)
        if not data and not done:
            raise Errno(EFAULT)
        done += _put(pipe, data)
        if len(data) < wanted:
            break
    return done
