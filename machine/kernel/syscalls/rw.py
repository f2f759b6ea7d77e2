"""System calls that move bytes: read, write and their vector and positioned forms, lseek, sendfile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.kernel.abi.errno import EBADF, EINVAL, EISDIR, EOPNOTSUPP, EOVERFLOW, ESPIPE, EXDEV, Errno
from machine.kernel.abi.layout import MAX_RW_COUNT
from machine.kernel.fs.file import FMODE_READ, FMODE_WRITE, O_APPEND, O_NONBLOCK, S_IFDIR, S_IFMT, S_IFREG, file
from machine.kernel.fs.fsnotify import IN_ACCESS, IN_MODIFY, fsnotify
from machine.kernel.fs.pipe import pipe_of
from machine.kernel.fs.read_write import (
    CHUNK,
    Vectors,
    check_position,
    do_read,
    do_readv,
    do_write,
    do_writev,
    driver_result,
    is_stream,
    limit_write,
    one_vector,
    operations_seek,
    signal_limit,
    write_bytes,
)
from machine.kernel.fs.regular import (
    MAX_LFS_FILESIZE,
    SEEK_CUR,
    SEEK_DATA,
    SEEK_END,
    SEEK_HOLE,
    SEEK_SET,
    regular_operations,
)
from machine.kernel.fs.sync import vfs_fsync
from machine.kernel.module import call_driver
from machine.kernel.syscalls.splice import file_to_pipe
from machine.kernel.syscalls.table import syscall

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

RWF_HIPRI, RWF_DSYNC, RWF_SYNC, RWF_NOWAIT, RWF_APPEND = 1, 2, 4, 8, 16


def _read_at_once(task: Task, fd: int, buf: int, count: int) -> int | None:
    """read(2) of the kernel's own files that have something, into memory that is there."""
    filp = task.files.fds.get(fd)
    if filp is None or not filp.f_mode & FMODE_READ or task.kernel.fsnotify_watches:
        return None
    read = filp.f_op.read_at_once
    return None if read is None else read(filp, task.mm, buf, count)


def _write_at_once(task: Task, fd: int, buf: int, count: int) -> int | None:
    """write(2) to the kernel's own files that have room, from memory that is there."""
    filp = task.files.fds.get(fd)
    if filp is None or not filp.f_mode & FMODE_WRITE or task.kernel.fsnotify_watches:
        return None
    write = filp.f_op.write_at_once
    return None if write is None else write(filp, task.mm, buf, count)


def _pread_at_once(task: Task, fd: int, buf: int, count: int, position: int) -> int | None:
    """pread64(2) of a regular file of the kernel's own, into memory that is there."""
    filp = task.files.fds.get(fd)
    if filp is None or filp.f_op is not regular_operations or not filp.f_mode & FMODE_READ:
        return None
    if position < 0 or task.kernel.fsnotify_watches:
        return None
    return regular_operations.pread_at_once(filp, task.mm, buf, count, position)


def _pwrite_at_once(task: Task, fd: int, buf: int, count: int, position: int) -> int | None:
    """pwrite64(2) to one."""
    filp = task.files.fds.get(fd)
    if filp is None or filp.f_op is not regular_operations or not filp.f_mode & FMODE_WRITE:
        return None
    if position < 0 or task.kernel.fsnotify_watches or filp.f_flags & O_APPEND:
        return None
    return regular_operations.pwrite_at_once(filp, task.mm, buf, count, position)


@syscall("read", "fd ptr:data> size", at_once=_read_at_once)
def sys_read(task: Task, fd: int, buf: int, count: int) -> int:
    return do_read(task, task.files.fget(fd), one_vector(task, buf, count), None)


@syscall("write", "fd buf size", at_once=_write_at_once)
def sys_write(task: Task, fd: int, buf: int, count: int) -> int:
    return do_write(task, task.files.fget(fd), one_vector(task, buf, count), None)


@syscall("pread64", "fd ptr:data> size off64", at_once=_pread_at_once)
def sys_pread64(task: Task, fd: int, buf: int, count: int, position: int) -> int:
    if position < 0:
        raise Errno(EINVAL)
    filp = task.files.fget(fd)
    check_position(filp, position)
    return do_read(task, filp, one_vector(task, buf, count), position)


@syscall("pwrite64", "fd buf size off64", at_once=_pwrite_at_once)
def sys_pwrite64(task: Task, fd: int, buf: int, count: int, position: int) -> int:
    """With O_APPEND the data go to the end, as pwrite(2) says under BUGS."""
    if position < 0:
        raise Errno(EINVAL)
    filp = task.files.fget(fd)
    check_position(filp, position)
    return do_write(task, filp, one_vector(task, buf, count), position)


def _vectors(task: Task, filp: file, mode: int, iov: int, count: int) -> Vectors:
    """What `iov` names; that the file is not open for it is said before what is wrong with that (vfs_readv)."""
    if not filp.f_mode & mode:
        raise Errno(EBADF)
    return task.abi.read_iovec(task.mm, iov, count)


@syscall("readv", "fd ptr:iov> ulong")
def sys_readv(task: Task, fd: int, iov: int, count: int) -> int:
    filp = task.files.fget(fd)
    return do_readv(task, filp, _vectors(task, filp, FMODE_READ, iov, count), None)


@syscall("writev", "fd ptr:iov ulong")
def sys_writev(task: Task, fd: int, iov: int, count: int) -> int:
    filp = task.files.fget(fd)
    return do_writev(task, filp, _vectors(task, filp, FMODE_WRITE, iov, count), None)


@syscall("preadv", "fd ptr:iov> ulong off64")
def sys_preadv(task: Task, fd: int, iov: int, count: int, position: int) -> int:
    filp = task.files.fget(fd)
    check_position(filp, position)
    return do_readv(task, filp, _vectors(task, filp, FMODE_READ, iov, count), position)


@syscall("pwritev", "fd ptr:iov ulong off64")
def sys_pwritev(task: Task, fd: int, iov: int, count: int, position: int) -> int:
    filp = task.files.fget(fd)
    check_position(filp, position)
    return do_writev(task, filp, _vectors(task, filp, FMODE_WRITE, iov, count), position)


def _check_rwf(flags: int, method: object) -> None:
    """RWF_NOWAIT is refused as by files without it, unknown flags too, and all but RWF_HIPRI by files without
    `read_iter` or `write_iter`, which are a driver's (do_loop_readv_writev): EOPNOTSUPP."""
    if flags & ~(RWF_HIPRI if method is None else RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_APPEND):
        raise Errno(EOPNOTSUPP)


def _preadv2(task: Task, fd: int, iov: int, count: int, position: int, flags: int) -> int:
    filp = task.files.fget(fd)
    if position != -1:
        check_position(filp, position)
    vectors = _vectors(task, filp, FMODE_READ, iov, count)
    if any(length for _, length in vectors):
        _check_rwf(flags, filp.f_op.read_iter)
    return do_readv(task, filp, vectors, None if position == -1 else position)


def _pwritev2(task: Task, fd: int, iov: int, count: int, position: int, flags: int) -> int:
    filp = task.files.fget(fd)
    if position != -1:
        check_position(filp, position)
    vectors = _vectors(task, filp, FMODE_WRITE, iov, count)
    if not any(length for _, length in vectors):
        return do_writev(task, filp, vectors, None)
    _check_rwf(flags, filp.f_op.write_iter)
    before = filp.f_flags
    if flags & RWF_APPEND:
        filp.f_flags |= O_APPEND
    try:
        done = do_writev(task, filp, vectors, None if position == -1 else position)
    finally:
        filp.f_flags = before
    if flags & (RWF_DSYNC | RWF_SYNC) and filp.f_op.fsync is not None:
        vfs_fsync(task, filp, int(not flags & RWF_SYNC))
    return done


@syscall("preadv2", "fd ptr ulong off64 ulong flags:RWF_", abi="x86_64")
def sys_preadv2(task: Task, fd: int, iov: int, count: int, position: int, _high: int, flags: int) -> int:
    return _preadv2(task, fd, iov, count, position, flags)


@syscall("preadv2", "fd ptr ulong off64 flags:RWF_", abi="i386")
def compat_sys_preadv2(task: Task, fd: int, iov: int, count: int, position: int, flags: int) -> int:
    return _preadv2(task, fd, iov, count, position, flags)


@syscall("pwritev2", "fd ptr ulong off64 ulong flags:RWF_", abi="x86_64")
def sys_pwritev2(task: Task, fd: int, iov: int, count: int, position: int, _high: int, flags: int) -> int:
    return _pwritev2(task, fd, iov, count, position, flags)


@syscall("pwritev2", "fd ptr ulong off64 flags:RWF_", abi="i386")
def compat_sys_pwritev2(task: Task, fd: int, iov: int, count: int, position: int, flags: int) -> int:
    return _pwritev2(task, fd, iov, count, position, flags)


# -- lseek -----------------------------------------------------------------------------------------


def vfs_llseek(task: Task, filp: file, offset: int, whence: int) -> int:
    """Move `f_pos`; errors raised (fs/read_write.c: vfs_llseek)."""
    if whence not in (SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE):
        raise Errno(EINVAL)
    operations = filp.f_op
    of_host = getattr(filp.f_inode, "fd", None) is not None  # the host knows: /dev/null has positions, a pipe has none
    if is_stream(filp) and not of_host and not operations_seek(filp):
        raise Errno(ESPIPE)
    if operations.llseek is not None:
        answer = call_driver(task.kernel, operations.owner, "llseek", operations.llseek, filp, offset, whence)
        result = driver_result(filp, "llseek", answer)
        if result < 0:
            raise Errno(-result)
        return result
    return _default_llseek(filp, offset, whence)


def _default_llseek(filp: file, offset: int, whence: int) -> int:
    """For files without a method, drivers above all; a directory's positions count its entries."""
    node = filp.f_inode
    if whence == SEEK_CUR:
        offset += filp.f_pos
    elif whence == SEEK_END:
        node.getattr()
        offset += node.i_size
    elif whence != SEEK_SET:
        raise Errno(EINVAL)
    if not 0 <= offset <= MAX_LFS_FILESIZE:
        raise Errno(EINVAL)
    filp.f_pos = offset
    if node.i_mode & S_IFMT == S_IFDIR and offset == 0:
        filp.private_data = None  # rewinddir: read the directory afresh
    return offset


@syscall("lseek", "fd off uint:SEEK_")
def sys_lseek(task: Task, fd: int, offset: int, whence: int) -> int:
    result = vfs_llseek(task, task.files.fget(fd), offset, whence)
    if task.abi.bits == 32 and result > 0x7FFF_FFFF:
        raise Errno(EOVERFLOW)
    return result


@syscall("_llseek", "fd ulong ulong ptr:off64> uint:SEEK_", abi="i386")
def sys_llseek(task: Task, fd: int, high: int, low: int, result: int, whence: int) -> int:
    offset = ((high << 32 | low) ^ 1 << 63) - (1 << 63)
    position = vfs_llseek(task, task.files.fget(fd), offset, whence)
    task.mm.put_u64(result, position)
    return 0


# -- from file to file -----------------------------------------------------------------------------


def _splice(task: Task, source: file, target: file, position: int, count: int, to: int | None) -> int:
    """Move up to `count` bytes; `to` None: at the target's `f_pos`.  The first error counts if nothing moved."""
    if source.f_op.read_iter is None or target.f_op.write_iter is None:
        raise Errno(EINVAL)
    count = min(count, MAX_RW_COUNT)
    if to is not None:
        count = limit_write(task, target, to, count)
    done = 0
    while done < count:
        try:
            data = source.f_op.read_iter(source, min(count - done, CHUNK), position + done)
            if data and not done and to is None:  # what has an end here never comes to a limit there
                count, here = limit_write(task, target, target.f_pos, count), target.f_pos
                if count < len(data):
                    data = data[:count]
                    signal_limit(task, target, here + count)
            wrote = write_bytes(target, data, (target.f_pos if to is None else to + done)) if data else 0
        except Errno:
            if done:
                break
            raise
        done += wrote
        if to is None:
            target.f_pos += wrote
        if not data or wrote < len(data) or is_stream(source) or task.kernel.sched.break_off():
            break
    if task.kernel.fsnotify_watches and done:
        fsnotify(source.f_dentry, IN_ACCESS)
        fsnotify(target.f_dentry, IN_MODIFY)
    return done


def _sendfile_to_pipe(task: Task, source: file, position: int, target: file, count: int) -> int:
    """What splice(2) does (fs/read_write.c: do_sendfile)."""
    pipe = pipe_of(target)
    assert pipe is not None
    nonblock = bool(target.f_flags & O_NONBLOCK)
    done = file_to_pipe(task, source, position, pipe, min(count, MAX_RW_COUNT), nonblock, seekable=True)
    if task.kernel.fsnotify_watches and done:
        fsnotify(source.f_dentry, IN_ACCESS)
        fsnotify(target.f_dentry, IN_MODIFY)
    return done


def _sendfile(task: Task, out_fd: int, in_fd: int, position: int | None, count: int) -> tuple[int, int]:
    """(bytes moved, new position)."""
    source = task.files.fget(in_fd)
    if not source.f_mode & FMODE_READ:
        raise Errno(EBADF)
    if position is not None:
        check_position(source, max(position, 0))
    start = source.f_pos if position is None else position
    if count >> 63 or not 0 <= start <= MAX_LFS_FILESIZE - count:
        raise Errno(EINVAL)
    target = task.files.fget(out_fd)
    if not target.f_mode & FMODE_WRITE:
        raise Errno(EBADF)
    pipe = pipe_of(target)
    if pipe is None:
        if target.f_flags & O_APPEND or is_stream(source) or (count and source.f_inode.i_mode & S_IFMT == S_IFDIR):
            raise Errno(EINVAL)
        done = _splice(task, source, target, start, count, None)
    else:
        done = _sendfile_to_pipe(task, source, start, target, count)
    if position is None:
        source.f_pos = start + done
    return done, start + done


@syscall("sendfile", "fd fd ptr:long size")
def sys_sendfile(task: Task, out_fd: int, in_fd: int, offset: int, count: int) -> int:
    abi = task.abi
    position = abi.signed(abi.get_word(task.mm, offset)) if offset else None
    done, where = _sendfile(task, out_fd, in_fd, position, count)
    if offset:
        abi.put_word(task.mm, offset, where)
    return done


@syscall("sendfile64", "fd fd ptr:off64 size", abi="i386")
def sys_sendfile64(task: Task, out_fd: int, in_fd: int, offset: int, count: int) -> int:
    position = (task.mm.get_u64(offset) ^ 1 << 63) - (1 << 63) if offset else None
    done, where = _sendfile(task, out_fd, in_fd, position, count)
    if offset:
        task.mm.put_u64(offset, where)
    return done


@syscall("copy_file_range", "fd ptr fd ptr size flags:COPY_")
def sys_copy_file_range(task: Task, fd_in: int, off_in: int, fd_out: int, off_out: int, count: int, flags: int) -> int:
    """EISDIR, EINVAL for other than regular files; EOVERFLOW: positions that wrap; EXDEV between file systems,
    as before Linux 5.19's whole-copy fallback was taken back (fs/read_write.c: generic_copy_file_checks)."""
    source, target = task.files.fget(fd_in), task.files.fget(fd_out)
    if flags:
        raise Errno(EINVAL)
    kinds = {source.f_inode.i_mode & S_IFMT, target.f_inode.i_mode & S_IFMT}
    if S_IFDIR in kinds:
        raise Errno(EISDIR)
    if kinds != {S_IFREG}:
        raise Errno(EINVAL)
    if not source.f_mode & FMODE_READ or not target.f_mode & FMODE_WRITE or target.f_flags & O_APPEND:
        raise Errno(EBADF)
    if source.f_inode.i_sb is not target.f_inode.i_sb:
        raise Errno(EXDEV)
    start = task.mm.get_u64(off_in) if off_in else source.f_pos
    to = task.mm.get_u64(off_out) if off_out else target.f_pos
    if start + count >= 1 << 64 or to + count >= 1 << 64:
        raise Errno(EOVERFLOW)
    if not to >> 63:
        limit_write(task, target, to, 1)  # even where nothing is to be copied
    if (start | to) >> 63:  # rw_verify_area
        raise Errno(EINVAL)
    count = max(0, min(count, source.f_inode.i_size - start))
    if source.f_inode is target.f_inode and start < to + count and to < start + count:
        raise Errno(EINVAL)
    done = _splice(task, source, target, start, count, to)
    if off_in:
        task.mm.put_u64(off_in, start + done)
    else:
        source.f_pos = start + done
    if off_out:
        task.mm.put_u64(off_out, to + done)
    else:
        target.f_pos = to + done
    return done
