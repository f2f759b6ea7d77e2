"""System calls on descriptors: open, close, dup, fcntl, locks, fsync, ioctl."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from machine.hardware.ram import PAGE_SIZE
from machine.kernel.abi.errno import (
    E2BIG,
    EAGAIN,
    EBADF,
    EFBIG,
    EINVAL,
    EIO,
    EISDIR,
    ENODEV,
    ENOTTY,
    EOPNOTSUPP,
    ESPIPE,
    EXDEV,
    Errno,
)
from machine.kernel.abi.falloc import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE
from machine.kernel.abi.stat import MAX_NON_LFS
from machine.kernel.fs.file import (
    FMODE_WRITE,
    O_ACCMODE,
    O_CLOEXEC,
    O_CREAT,
    O_DIRECTORY,
    O_LARGEFILE,
    O_NOFOLLOW,
    O_PATH,
    O_TMPFILE,
    O_TRUNC,
    O_WRONLY,
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFIFO,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    S_IFSOCK,
    file,
)
from machine.kernel.fs.fsnotify import IN_MODIFY, fsnotify, fsnotify_change
from machine.kernel.fs.locks import F_RDLCK, F_UNLCK, F_WRLCK, locks_of
from machine.kernel.fs.namei import AT_FDCWD, RESOLVE_BENEATH, RESOLVE_CACHED, RESOLVE_IN_ROOT, open_file
from machine.kernel.fs.read_write import driver_result, limit_size
from machine.kernel.fs.regular import MAX_LFS_FILESIZE
from machine.kernel.fs.sync import vfs_fsync
from machine.kernel.module import call_driver
from machine.kernel.syscalls.table import syscall

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

VALID_OPEN_FLAGS = 0o3 | 0o100 | 0o200 | 0o400 | 0o1000 | 0o2000 | 0o4000 | 0o10000 | 0o20000 | 0o40000 | (
    O_LARGEFILE | O_DIRECTORY | O_NOFOLLOW | 0o1000000 | O_CLOEXEC | 0o4000000 | O_PATH | O_TMPFILE
)  # fmt: skip
FICLONE = 0x40049409
FIOCLEX, FIONCLEX, FIONBIO, FIOASYNC, FIOQSIZE, FIONREAD = 0x5451, 0x5450, 0x5421, 0x5452, 0x5460, 0x541B
FIGETBSZ = 2
LOCK_SH, LOCK_EX, LOCK_NB, LOCK_UN = 1, 2, 4, 8
LOCK_MAND = 32
"""Mandatory locks are gone from Linux: since 5.15 such a request succeeds and does nothing."""
CLOSE_RANGE_UNSHARE, CLOSE_RANGE_CLOEXEC = 2, 4
_OPEN_HOW = struct.Struct("<QQQ")


def user_path(task: Task, address: int) -> str:
    """The path at a user address: EFAULT, ENAMETOOLONG beyond 4095 bytes (getname)."""
    return os.fsdecode(task.mm.read_string(address))


def _wide(task: Task, flags: int) -> int:
    """A 64-bit program's files are always large (force_o_largefile)."""
    return flags | O_LARGEFILE if task.abi.bits == 64 else flags


# -- open, close -----------------------------------------------------------------------------------


def do_sys_open(task: Task, dirfd: int, address: int, flags: int, mode: int) -> int:
    """Open and install: the lowest free descriptor (fs/open.c: do_sys_openat2)."""
    flags &= VALID_OPEN_FLAGS
    _check_open_flags(flags)
    return _open_and_install(task, dirfd, user_path(task, address), flags, mode)


def _check_open_flags(flags: int) -> None:
    """EINVAL: O_TMPFILE without O_DIRECTORY, which belongs to it, or only to be read; a directory, or O_TMPFILE, to be
    created."""
    tmpfile = flags & O_TMPFILE & ~O_DIRECTORY and not flags & O_PATH
    if tmpfile and (flags & (O_TMPFILE | O_CREAT) != O_TMPFILE or not flags & O_ACCMODE):
        raise Errno(EINVAL)
    if flags & (O_DIRECTORY | O_CREAT) == O_DIRECTORY | O_CREAT and not flags & O_PATH:
        raise Errno(EINVAL)


def _open_and_install(task: Task, dirfd: int, path: str, flags: int, mode: int, resolve: int = 0) -> int:
    fd = task.files.free_fd()
    mode &= 0o7777 & ~task.fs.umask
    filp = open_file(task.kernel, task, path, _wide(task, flags & ~O_CLOEXEC), mode, dirfd, resolve)
    if fd in task.files.fds:  # a thread took it while the open slept
        fd = task.files.free_fd()
    return task.files.install(filp, fd, bool(flags & O_CLOEXEC))


@syscall("open", "str flags:O_ mode:creat", result="fd")
def sys_open(task: Task, path: int, flags: int, mode: int) -> int:
    return do_sys_open(task, AT_FDCWD, path, flags, mode)


@syscall("openat", "atfd str flags:O_ mode:creat", result="fd")
def sys_openat(task: Task, dirfd: int, path: int, flags: int, mode: int) -> int:
    return do_sys_open(task, dirfd, path, flags, mode)


@syscall("creat", "str mode", result="fd")
def sys_creat(task: Task, path: int, mode: int) -> int:
    return do_sys_open(task, AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode)


@syscall("openat2", "atfd str ptr size", result="fd")
def sys_openat2(task: Task, dirfd: int, path: int, how: int, size: int) -> int:
    """E2BIG for a longer structure whose rest is not zero; ELOOP and EXDEV where a RESOLVE flag forbids a step."""
    if size < _OPEN_HOW.size:
        raise Errno(EINVAL)
    if size > 4096:
        raise Errno(E2BIG)
    data = task.mm.copy_from_user(how, size)
    if any(data[_OPEN_HOW.size :]):
        raise Errno(E2BIG)
    flags, mode, resolve = _OPEN_HOW.unpack_from(data)
    creating = flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))
    if flags & ~VALID_OPEN_FLAGS or resolve & ~0x3F or mode & ~0o7777 or (mode and not creating):
        raise Errno(EINVAL)
    if resolve & RESOLVE_CACHED and flags & (O_TRUNC | O_CREAT | (O_TMPFILE & ~O_DIRECTORY)):
        raise Errno(EAGAIN)  # all names are at hand here; what changes a directory is refused
    if resolve & RESOLVE_BENEATH and resolve & RESOLVE_IN_ROOT:
        raise Errno(EINVAL)
    if flags & O_PATH and flags & ~(O_DIRECTORY | O_NOFOLLOW | O_PATH | O_CLOEXEC):
        raise Errno(EINVAL)
    _check_open_flags(flags)
    return _open_and_install(task, dirfd, user_path(task, path), flags, mode, resolve)


@syscall("close", "fd")
def sys_close(task: Task, fd: int) -> int:
    return task.files.close(fd)


@syscall("close_range", "uint uint flags:CLOSE_RANGE_")
def sys_close_range(task: Task, first: int, last: int, flags: int) -> int:
    if flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) or first > last:
        raise Errno(EINVAL)
    if flags & CLOSE_RANGE_UNSHARE and task.files.users > 1:
        shared = task.files
        task.files = shared.copy()
        shared.put()
    if flags & CLOSE_RANGE_CLOEXEC:
        task.files.cloexec.update(fd for fd in task.files.fds if first <= fd <= last)
    else:
        task.files.close_range(first, last)
    return 0


# -- dup -------------------------------------------------------------------------------------------


@syscall("dup", "fd", result="fd")
def sys_dup(task: Task, fd: int) -> int:
    return task.files.dup(fd)


@syscall("dup2", "fd fd", result="fd")
def sys_dup2(task: Task, old: int, new: int) -> int:
    return task.files.dup2(old, new)


@syscall("dup3", "fd fd flags:OBITS_", result="fd")
def sys_dup3(task: Task, old: int, new: int, flags: int) -> int:
    if flags & ~O_CLOEXEC or old == new:
        raise Errno(EINVAL)
    return task.files.dup2(old, new, bool(flags & O_CLOEXEC))


# -- flock, fsync ----------------------------------------------------------------------------------


@syscall("flock", "fd flags:LOCK_")
def sys_flock(task: Task, fd: int, operation: int) -> int:
    if operation & LOCK_MAND:
        return 0
    kinds = {LOCK_SH: F_RDLCK, LOCK_EX: F_WRLCK, LOCK_UN: F_UNLCK}
    kind = kinds.get(operation & ~LOCK_NB)
    if kind is None:
        raise Errno(EINVAL)
    filp = task.files.fget(fd)
    if kind != F_UNLCK and not filp.f_mode & 3:
        raise Errno(EBADF)
    locks = locks_of(task.kernel, filp.f_inode)
    while not locks.set_flock(filp, task.tgid, kind):
        if operation & LOCK_NB:
            raise Errno(EAGAIN)
        task.kernel.sched.wait(locks.wait)
    return 0


@syscall("fsync", "fd")
def sys_fsync(task: Task, fd: int) -> int:
    return vfs_fsync(task, task.files.fget(fd), 0)


@syscall("fdatasync", "fd")
def sys_fdatasync(task: Task, fd: int) -> int:
    return vfs_fsync(task, task.files.fget(fd), 1)


@syscall("sync")
def sys_sync(task: Task) -> int:
    task.kernel.vfs.sync()
    return 0


@syscall("syncfs", "fd")
def sys_syncfs(task: Task, fd: int) -> int:
    """Since Linux 5.8 it says what could not be written."""
    filp = task.files.fget(fd)
    failure = task.kernel.vfs.sync(filp.f_inode.i_sb)
    return 0 if failure is None else -(failure.errno or EIO)


@syscall("sync_file_range", "fd off64 off64 flags:SYNC_FILE_RANGE_")
def sys_sync_file_range(task: Task, fd: int, offset: int, length: int, flags: int) -> int:
    filp = task.files.fget(fd)
    if flags & ~7 or offset < 0 or length < 0:
        raise Errno(EINVAL)
    if filp.f_inode.i_mode & S_IFMT not in (S_IFREG, S_IFDIR, S_IFLNK):
        raise Errno(ESPIPE)
    if filp.f_inode.i_mapping is not None:
        filp.f_inode.i_mapping.writeback()
    return 0


# -- truncate, fallocate ---------------------------------------------------------------------------


def _ftruncate(task: Task, fd: int, length: int) -> int:
    if length < 0:
        raise Errno(EINVAL)
    filp = task.files.fget(fd)
    if filp.f_inode.i_mode & S_IFMT != S_IFREG or not filp.f_mode & FMODE_WRITE:
        raise Errno(EINVAL)
    if length > MAX_NON_LFS and not filp.f_flags & O_LARGEFILE:  # ftruncate64 of i386 programs, too (ksys_ftruncate)
        raise Errno(EINVAL)
    if length > filp.f_inode.i_size:
        limit_size(task, length - 1, 1)
    filp.f_inode.truncate(length)
    if task.kernel.fsnotify_watches:
        fsnotify_change(filp.f_dentry, IN_MODIFY)
    return 0


@syscall("ftruncate", "fd off")
def sys_ftruncate(task: Task, fd: int, length: int) -> int:
    return _ftruncate(task, fd, length)


@syscall("ftruncate64", "fd off64", abi="i386")
def sys_ftruncate64(task: Task, fd: int, length: int) -> int:
    return _ftruncate(task, fd, length)


@syscall("fallocate", "fd flags:FALLOC_FL_ off64 off64")
def sys_fallocate(task: Task, fd: int, mode: int, offset: int, length: int) -> int:
    """KEEP_SIZE and PUNCH_HOLE as tmpfs has them; EOPNOTSUPP for the other modes (fs/open.c: vfs_fallocate)."""
    filp = task.files.fget(fd)
    if offset < 0 or length <= 0:
        raise Errno(EINVAL)
    if mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE) or mode == FALLOC_FL_PUNCH_HOLE:
        raise Errno(EOPNOTSUPP)
    if not filp.f_mode & FMODE_WRITE:
        raise Errno(EBADF)
    node = filp.f_inode
    kind = node.i_mode & S_IFMT
    if kind == S_IFIFO:
        raise Errno(ESPIPE)
    if kind == S_IFDIR:
        raise Errno(EISDIR)
    if kind != S_IFREG:
        raise Errno(ENODEV)
    if offset + length > MAX_LFS_FILESIZE:
        raise Errno(EFBIG)
    method = getattr(node, "fallocate", None)
    if method is None:
        raise Errno(EOPNOTSUPP)
    if not mode & FALLOC_FL_PUNCH_HOLE and offset + length > node.i_size:
        limit_size(task, offset + length - 1, 1)  # with KEEP_SIZE too (mm/shmem.c: shmem_fallocate)
    method(mode, offset, length)
    if task.kernel.fsnotify_watches:
        fsnotify(filp.f_dentry, IN_MODIFY)
    return 0


# -- advice ----------------------------------------------------------------------------------------


def _fadvise(task: Task, fd: int, length: int, advice: int) -> int:
    """The advice is checked and then not needed: the host reads ahead (mm/fadvise.c)."""
    filp = task.files.fget(fd)
    if filp.f_inode.i_mode & S_IFMT in (S_IFIFO, S_IFSOCK):
        raise Errno(ESPIPE)
    if length < 0 or advice > 5:
        raise Errno(EINVAL)
    return 0


@syscall("fadvise64", "fd off64 off64 uint:POSIX_FADV_", abi="x86_64")
def sys_fadvise64(task: Task, fd: int, offset: int, length: int, advice: int) -> int:
    return _fadvise(task, fd, length, advice)


@syscall("fadvise64", "fd off64 size uint:POSIX_FADV_", abi="i386")
def compat_sys_fadvise64(task: Task, fd: int, offset: int, length: int, advice: int) -> int:
    return _fadvise(task, fd, length, advice)


@syscall("fadvise64_64", "fd off64 off64 uint:POSIX_FADV_", abi="i386")
def sys_fadvise64_64(task: Task, fd: int, offset: int, length: int, advice: int) -> int:
    return _fadvise(task, fd, length, advice)


@syscall("readahead", "fd off64 size")
def sys_readahead(task: Task, fd: int, offset: int, count: int) -> int:
    filp = task.files.fget(fd)
    if not filp.f_mode & 1:
        raise Errno(EBADF)
    if filp.f_inode.i_mode & S_IFMT != S_IFREG:
        raise Errno(EINVAL)
    return 0


# -- ioctl -----------------------------------------------------------------------------------------


@syscall("ioctl", "fd uint:ioctl ulong:ioctl_arg>")
def sys_ioctl(task: Task, fd: int, cmd: int, arg: int) -> int:
    """The few that every file has, then the file's own; ENOTTY for an unknown one (fs/ioctl.c: do_vfs_ioctl)."""
    filp = task.files.fget(fd)
    if cmd == FIOCLEX:
        task.files.cloexec.add(fd)
        return 0
    if cmd == FIONCLEX:
        task.files.cloexec.discard(fd)
        return 0
    if cmd == FIONBIO:
        on = task.mm.get_u32(arg)
        filp.f_flags = filp.f_flags | 0o4000 if on else filp.f_flags & ~0o4000
        return 0
    if cmd == FIOASYNC:
        from machine.kernel.fs.fasync import ioctl_fioasync

        return ioctl_fioasync(filp, fd, task.mm.get_u32(arg) != 0)
    node = filp.f_inode
    if cmd == FICLONE and node.i_mode & S_IFMT == S_IFREG:  # cp asks first (fs/ioctl.c: ioctl_file_clone)
        other = task.files.fget(arg & 0xFFFF_FFFF).f_inode.i_sb is not node.i_sb
        return -EXDEV if other else -EOPNOTSUPP
    if cmd == FIGETBSZ and node.i_mode & S_IFMT not in (S_IFCHR, S_IFBLK):  # a driver of the books may have number 2
        task.mm.put_u32(arg, PAGE_SIZE)
        return 0
    if cmd in (FIONREAD, FIOQSIZE) and (node.i_mode & S_IFMT == S_IFREG):
        node.getattr()
        if cmd == FIONREAD:
            task.mm.put_u32(arg, max(0, node.i_size - filp.f_pos))
        else:
            task.mm.put_u64(arg, node.i_size)
        return 0
    return _file_ioctl(task, filp, cmd, arg)


def _file_ioctl(task: Task, filp: file, cmd: int, arg: int) -> int:
    if cmd == FIONREAD:
        from machine.kernel.fs.pipe import available, pipe_of

        pipe = pipe_of(filp)
        if pipe is not None:
            task.mm.put_u32(arg, available(pipe))
            return 0
    operations = filp.f_op
    arguments: tuple[object, ...] = (filp, cmd, arg)
    if operations.unlocked_ioctl is not None or operations.compat_ioctl is not None:
        name = "unlocked_ioctl" if task.abi.bits == 64 else "compat_ioctl"
    else:
        name, arguments = "ioctl", (filp.f_inode, *arguments)
    method = getattr(operations, name)
    if method is None:
        return -ENOTTY
    answer = call_driver(task.kernel, operations.owner, name, method, *arguments)
    result = driver_result(filp, name, answer)
    return -ENOTTY if result == -515 else result  # ENOIOCTLCMD
