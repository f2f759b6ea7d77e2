"""read and write between an open file and a process's memory (fs/read_write.c).

A driver's `read` and `write` get the user address and copy themselves.  The kernel's own files give
and take bytes; here they are copied in pieces, and a fault in the middle gives a short count, never
lost bytes: what a stream has handed out and the process could not take is put back.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from machine.hardware.ram import PAGE_SIZE
from machine.kernel.abi.errno import EBADF, EFAULT, EFBIG, EINVAL, EIO, EISDIR, ESPIPE, Errno
from machine.kernel.abi.layout import MAX_RW_COUNT
from machine.kernel.abi.resource import RLIM_INFINITY, RLIMIT_FSIZE
from machine.kernel.abi.signal import SIGXFSZ
from machine.kernel.abi.stat import MAX_NON_LFS
from machine.kernel.answers import is_number, nonsense, wrong_count
from machine.kernel.fs.file import (
    FMODE_READ,
    FMODE_STREAM,
    FMODE_UNSIGNED_OFFSET,
    FMODE_WRITE,
    O_APPEND,
    O_LARGEFILE,
    S_IFDIR,
    S_IFIFO,
    S_IFMT,
    S_IFREG,
    S_IFSOCK,
    file,
)
from machine.kernel.fs.fsnotify import IN_ACCESS, IN_MODIFY, fsnotify
from machine.kernel.fs.hostregular import HostFile
from machine.kernel.fs.regular import MAX_LFS_FILESIZE
from machine.kernel.module import DRIVER_FAILED, call_driver

if TYPE_CHECKING:
    from machine.kernel.task.task import task_struct

CHUNK = 1 << 20
"""Bytes that are moved at a time."""
Vectors = list[tuple[int, int]]

KERNEL_READ_MAX, KERNEL_READ_HOLES = 1 << 30, 64 << 20
"""Bytes that the kernel reads for itself, and how many of them may be in holes."""


def is_stream(filp: file) -> bool:
    """Whether it has no positions: a pipe, socket, terminal, eventfd."""
    node = filp.f_inode
    if node.i_mode & S_IFMT in (S_IFIFO, S_IFSOCK) or getattr(filp.f_op, "stream", False) or filp.f_mode & FMODE_STREAM:
        return True
    return getattr(node, "fd", None) is not None and node.i_mode & S_IFMT != S_IFREG


def operations_seek(filp: file) -> bool:
    """Whether positions are accepted although they mean nothing (`noop_llseek`)."""
    return bool(getattr(filp.f_op, "noop_seek", False))


def driver_result(filp: file, operation: str, result: Any, most: int | None = None) -> int:
    """What a driver's method returned, as a system call's result: EIO when it raised, and, reported, when it gave no
    number, a negative one that is no errno, or more than `most`."""
    if result is DRIVER_FAILED:
        return -EIO
    why = wrong_count(result, most)
    if not why:
        return int(result)
    operations = filp.f_op
    nonsense(operations.owner, operation, getattr(operations, operation), result, why)
    return -EIO


# -- read ------------------------------------------------------------------------------------------


def do_read(task: task_struct, filp: file, vectors: Vectors, position: int | None) -> int:
    """Read into `vectors`: from `position`, or (None) from `f_pos`, which moves."""
    if not filp.f_mode & FMODE_READ:
        raise Errno(EBADF)
    operations = filp.f_op
    _verify_area(filp, vectors, position)
    if operations.read is not None:
        return _driver_vectors(task, filp, "read", vectors, position)
    if operations.read_iter is None:
        raise Errno(EISDIR if _is_directory(filp) else EINVAL)
    if position is None and isinstance(filp, HostFile):
        done = _read_bytes(task, filp, vectors, 0, filp.read_next)
    else:
        done = _read_bytes(task, filp, vectors, filp.f_pos if position is None else position, operations.read_iter)
        if position is None and not is_stream(filp):
            filp.f_pos += done
    if task.kernel.fsnotify_watches and done > 0:
        fsnotify(filp.f_dentry, IN_ACCESS)
    return done


def do_readv(task: task_struct, filp: file, vectors: Vectors, position: int | None) -> int:
    """The same for readv(2) and its kin.  Vectors without a byte never reach the file, and whoever watches it hears of
    nothing read, too (fs/read_write.c: vfs_readv)."""
    operations = filp.f_op
    readable = operations.read is not None or operations.read_iter is not None or _is_directory(filp)
    done = 0
    if not filp.f_mode & FMODE_READ or not readable or any(length for _, length in vectors):
        if getattr(operations, "reads_by_segment", False):
            done = _by_segment(vectors, lambda segment: do_read(task, filp, [segment], position))
        else:
            done = do_read(task, filp, vectors, position)
    if task.kernel.fsnotify_watches and not done:
        fsnotify(filp.f_dentry, IN_ACCESS)
    return done


def _is_directory(filp: file) -> bool:
    return filp.f_inode.i_mode & S_IFMT == S_IFDIR


def _read_bytes(
    task: task_struct, filp: file, vectors: Vectors, position: int, read_iter: Callable[[file, int, int], bytes]
) -> int:
    left = sum(length for _, length in vectors)
    stream = is_stream(filp)
    done = 0
    while True:
        wanted = min(left, CHUNK)
        try:
            data = read_iter(filp, wanted, position + done)
        except Errno:
            if done:
                return done
            raise
        taken = scatter(task, vectors, done, data)
        if taken < len(data):
            unread = getattr(filp.f_op, "unread", None)
            if isinstance(filp, HostFile) and read_iter == filp.read_next:
                filp.f_pos -= len(data) - taken
            elif unread is not None and stream:  # a pipe gives all of a buffer, or keeps it (fs/pipe.c: pipe_read)
                unread(filp, data)
                taken = 0
        done += taken
        left -= taken
        if taken < len(data):
            if not done:
                raise Errno(EFAULT)
            return done
        if stream or len(data) < wanted or not left or task.kernel.sched.break_off():
            return done


def scatter(task: task_struct, vectors: Vectors, skip: int, data: bytes) -> int:
    """Copy `data` to the vectors, `skip` bytes into them; how much could be copied."""
    mm = task.mm
    if len(vectors) == 1:
        return mm.write_some(vectors[0][0] + skip, data)
    done = 0
    for base, length in vectors:
        if skip >= length:
            skip -= length
            continue
        piece = data[done : done + length - skip]
        wrote = mm.write_some(base + skip, piece)
        done += wrote
        if wrote < len(piece) or done == len(data):
            break
        skip = 0
    return done


# -- write -----------------------------------------------------------------------------------------


def do_write(task: task_struct, filp: file, vectors: Vectors, position: int | None) -> int:
    """Write from `vectors`: at `position`, or (None) at `f_pos`, which moves; at the end with O_APPEND."""
    if not filp.f_mode & FMODE_WRITE:
        raise Errno(EBADF)
    operations = filp.f_op
    _verify_area(filp, vectors, position)
    if operations.write is not None:
        return _driver_vectors(task, filp, "write", vectors, position)
    if operations.write_iter is None:
        raise Errno(EINVAL)
    where = filp.f_pos if position is None else position
    if filp.f_flags & O_APPEND and filp.f_inode.i_mode & S_IFMT == S_IFREG:
        filp.f_inode.getattr()
        where = filp.f_inode.i_size
    here = filp if position is None and isinstance(filp, HostFile) else None
    done = _write_bytes(task, filp, vectors, where, operations.write_iter if here is None else here.write_next)
    if task.kernel.fsnotify_watches and done > 0:
        fsnotify(filp.f_dentry, IN_MODIFY)
    if done and position is None and here is None and not is_stream(filp):
        filp.f_pos = where + done
    return done


def do_writev(task: task_struct, filp: file, vectors: Vectors, position: int | None) -> int:
    """The same for writev(2) and its kin: vectors without a byte never reach the file, not even a socket."""
    operations = filp.f_op
    writable = operations.write is not None or operations.write_iter is not None
    if filp.f_mode & FMODE_WRITE and writable and not any(length for _, length in vectors):
        return 0
    if getattr(operations, "writes_by_segment", False):
        return _by_segment(vectors, lambda segment: do_write(task, filp, [segment], position))
    return do_write(task, filp, vectors, position)


def _by_segment(vectors: Vectors, call: Callable[[tuple[int, int]], int]) -> int:
    """Once a vector until one is short, for files whose method on Linux is no `_iter`: empty ones behind the first are
    passed over (fs/read_write.c: do_loop_readv_writev)."""
    done = 0
    for segment in vectors[:1] + [later for later in vectors[1:] if later[1]]:
        try:
            got = call(segment)
        except Errno:
            if done:
                break
            raise
        done += got
        if got < segment[1]:
            break
    return done


def _write_bytes(
    task: task_struct, filp: file, vectors: Vectors, position: int, write_iter: Callable[[file, bytes, int], int]
) -> int:
    left = sum(length for _, length in vectors)
    left = limit_write(task, filp, position, left)
    write_most = filp.f_op.write_most
    if write_most is not None and left:
        return _write_start(task, filp, vectors, left, write_most(filp, left))
    done = 0
    while True:
        wanted = min(left, CHUNK)
        data = gather(task, vectors, done, wanted)
        if len(data) < wanted and filp.f_inode.i_mode & S_IFMT == S_IFIFO:
            data = data[: len(data) & ~(PAGE_SIZE - 1)]  # pipe_write takes a page whole or not at all
        if wanted and not data:
            if done:
                return done
            wait = getattr(filp.f_op, "wait_for_room", None)
            if wait is not None:
                wait(filp)
            raise Errno(EFAULT)
        try:
            wrote = write_iter(filp, data, position + done)
        except Errno:
            if done:
                return done
            raise
        done += wrote
        left -= wrote
        if wrote < wanted or not left or task.kernel.sched.break_off():
            return done


def _write_start(task: task_struct, filp: file, vectors: Vectors, count: int, most: int) -> int:
    """A write of which only the first `most` bytes matter."""
    data = gather(task, vectors, 0, min(count, most))
    if not data:
        raise Errno(EFAULT)
    wrote = write_bytes(filp, data, filp.f_pos)
    return wrote if wrote < len(data) else count


def write_bytes(filp: file, data: bytes, position: int) -> int:
    """One call of the file's `write_iter`."""
    write_iter = filp.f_op.write_iter
    assert write_iter is not None
    return write_iter(filp, data, position)


def gather(task: task_struct, vectors: Vectors, skip: int, count: int) -> bytes:
    """Up to `count` bytes from the vectors, `skip` bytes into them: fewer where memory can't be read."""
    mm = task.mm
    if len(vectors) == 1:
        return mm.read_some(vectors[0][0] + skip, count)
    parts = []
    for base, length in vectors:
        if skip >= length:
            skip -= length
            continue
        piece = min(length - skip, count)
        data = mm.read_some(base + skip, piece)
        parts.append(data)
        count -= len(data)
        if len(data) < piece or not count:
            break
        skip = 0
    return b"".join(parts)


def limit_size(task: task_struct, position: int, count: int) -> int:
    """RLIMIT_FSIZE: how much of a write fits; SIGXFSZ and EFBIG when nothing does (generic_write_check_limits)."""
    limit = task.signal.rlimits[RLIMIT_FSIZE][0]
    if limit == RLIM_INFINITY or not count:
        return count
    if position >= limit:
        from machine.kernel.task.signal import send_sig

        send_sig(task.kernel, task, SIGXFSZ)
        raise Errno(EFBIG)
    return min(count, limit - position)


def limit_write(task: task_struct, filp: file, position: int, count: int) -> int:
    """How much of a write to a regular file fits below RLIMIT_FSIZE and, where it was opened without O_LARGEFILE, below
    2 GiB - 1: EFBIG (generic_write_checks)."""
    if filp.f_inode.i_mode & S_IFMT != S_IFREG:
        return count
    count = limit_size(task, position, count)
    if filp.f_flags & O_LARGEFILE or not count:
        return count
    if position >= MAX_NON_LFS:
        raise Errno(EFBIG)
    return min(count, MAX_NON_LFS - position)


def signal_limit(task: task_struct, filp: file, position: int) -> None:
    """What sendfile and splice have left over at the limit meets it once more: SIGXFSZ although some was written
    (iter_file_splice_write)."""
    with suppress(Errno):
        limit_write(task, filp, position, 1)


# -- drivers ---------------------------------------------------------------------------------------


def _driver_vectors(task: task_struct, filp: file, operation: str, vectors: Vectors, position: int | None) -> int:
    """A driver's `read` or `write`, once a vector until one is short (do_loop_readv_writev)."""
    operations: Any = filp.f_op
    method = getattr(operations, operation)
    pointer = [filp.f_pos if position is None else position]
    done = 0
    for base, length in vectors:
        answer = call_driver(task.kernel, operations.owner, operation, method, filp, base, length, pointer)
        result = driver_result(filp, operation, answer, length)
        if len(pointer) != 1 or not is_number(pointer[0]):
            wrong = f"with {reprlib.repr(pointer[0])} in f_pos[0]" if pointer else "with nothing in f_pos"
            nonsense(operations.owner, operation, method, answer, wrong + ", which is no position")
            return -EIO
        if result < 0:
            if not done:
                done = result
            break
        done += result
        if result < length:
            break
    if position is None:
        filp.f_pos = pointer[0]
    return done


def one_vector(task: task_struct, address: int, count: int) -> Vectors:
    """[(address, count)] after access_ok: EFAULT beyond user space; at most MAX_RW_COUNT bytes."""
    if address + count > task.abi.task_size:
        raise Errno(EFAULT)
    return [(address, min(count, MAX_RW_COUNT))]


def _verify_area(filp: file, vectors: Vectors, position: int | None) -> None:
    """EINVAL where the end is beyond every position, unless a driver takes addresses for positions
    (fs/read_write.c: rw_verify_area)."""
    if filp.f_mode & FMODE_UNSIGNED_OFFSET:
        return
    if position is None:
        position = 0 if isinstance(filp, HostFile) else filp.f_pos
    if position >= 1 << 62 and position + sum(length for _, length in vectors) > MAX_LFS_FILESIZE:
        raise Errno(EINVAL)


def check_position(filp: file, position: int) -> None:
    """For pread and pwrite: EINVAL for a negative position, ESPIPE for a stream.  That lseek(2) succeeds on it changes
    nothing: an anonymous inode's file never gets FMODE_PREAD (fs/file_table.c: alloc_file)."""
    if position < 0:
        raise Errno(EINVAL)
    if is_stream(filp):
        raise Errno(ESPIPE)


def kernel_read_file(filp: file) -> bytes:
    """The whole contents of an open file, at most `KERNEL_READ_MAX` bytes: else EFBIG; so is one that is mostly hole,
    for whose zeros nobody has paid."""
    read = filp.f_op.read_iter
    if read is None:
        raise Errno(EINVAL)
    inode = filp.f_inode
    inode.getattr()
    if inode.i_size - 512 * getattr(inode, "i_blocks", inode.i_size) > KERNEL_READ_HOLES:
        raise Errno(EFBIG)
    whole = bytearray()
    while data := read(filp, 1 << 20, len(whole)):
        whole += data
        if len(whole) > KERNEL_READ_MAX:
            raise Errno(EFBIG)
    return bytes(whole)
