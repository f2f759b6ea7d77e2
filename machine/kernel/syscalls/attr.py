"""System calls that change attributes: chmod, chown, utimes, truncate (fs/open.c, fs/utimes.c, kernel/uid16.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from machine.kernel.abi.capability import CAP_CHOWN, CAP_FSETID
from machine.kernel.abi.errno import EACCES, EINVAL, EISDIR, EOPNOTSUPP, EPERM, EROFS, ETXTBSY, Errno
from machine.kernel.abi.layout import TIMESPEC64
from machine.kernel.capability import capable
from machine.kernel.fs.file import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, dentry, inode
from machine.kernel.fs.fsnotify import IN_ACCESS, IN_ATTRIB, IN_MODIFY, fsnotify_change
from machine.kernel.fs.namei import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_SYMLINK_NOFOLLOW,
    MAY_WRITE,
    inode_permission,
    is_owner_or_capable,
)
from machine.kernel.fs.permission import in_group, without_set_id
from machine.kernel.fs.read_write import limit_size
from machine.kernel.syscalls.stat import find
from machine.kernel.syscalls.table import syscall

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
NSEC_PER_SEC, NSEC_PER_USEC = 1_000_000_000, 1_000
S_ISGID = 0o2000
_NO_ID = 0xFFFF_FFFF


def _writable(node: inode) -> None:
    if node.i_sb.read_only:
        raise Errno(EROFS)


# -- chmod -----------------------------------------------------------------------------------------


def _tell(task: Task, where: dentry, mask: int) -> None:
    """Those who watch hear of it (fsnotify_change)."""
    if task.kernel.fsnotify_watches:
        fsnotify_change(where, mask)


def _chmod(task: Task, where: dentry, mode: int) -> int:
    """Setgid is lost where the group is none of the caller's (setattr_prepare)."""
    node = where.d_inode
    _writable(node)
    if node.i_mode & S_IFMT == S_IFLNK:
        raise Errno(EOPNOTSUPP)
    node.getattr()
    if not is_owner_or_capable(task, node):
        raise Errno(EPERM)
    if not in_group(task, node.i_gid) and not capable(task, CAP_FSETID):
        mode &= ~S_ISGID
    node.setattr(i_mode=mode & 0o7777)
    _tell(task, where, IN_ATTRIB)
    return 0


@syscall("chmod", "str mode")
def sys_chmod(task: Task, path: int, mode: int) -> int:
    return _chmod(task, find(task, AT_FDCWD, path), mode)


@syscall("fchmod", "fd mode")
def sys_fchmod(task: Task, fd: int, mode: int) -> int:
    return _chmod(task, task.files.fget(fd).f_dentry, mode)


@syscall("fchmodat", "atfd str mode")
def sys_fchmodat(task: Task, dirfd: int, path: int, mode: int) -> int:
    return _chmod(task, find(task, dirfd, path), mode)


@syscall("fchmodat2", "atfd str mode flags:AT_")
def sys_fchmodat2(task: Task, dirfd: int, path: int, mode: int, flags: int) -> int:
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        raise Errno(EINVAL)
    return _chmod(task, find(task, dirfd, path, flags), mode)


# -- chown -----------------------------------------------------------------------------------------


def _chown(task: Task, where: dentry, uid: int, gid: int) -> int:
    """-1 leaves an id alone.  Others than root may only choose a group of their own (chown_ok, chgrp_ok)."""
    node = where.d_inode
    _writable(node)
    node.getattr()
    if not capable(task, CAP_CHOWN):
        mine = task.fsuid == node.i_uid
        if uid != _NO_ID and not (mine and uid == node.i_uid):
            raise Errno(EPERM)
        if gid != _NO_ID and not (mine and (gid == node.i_gid or in_group(task, gid))):
            raise Errno(EPERM)
    changes = {}
    if uid != _NO_ID:
        changes["i_uid"] = uid
    if gid != _NO_ID:
        changes["i_gid"] = gid
    mode = node.i_mode
    if mode & S_IFMT != S_IFDIR:
        mode = without_set_id(task, node, changes.get("i_gid", node.i_gid))
    if mode != node.i_mode:
        if not is_owner_or_capable(task, node):
            raise Errno(EPERM)
        changes["i_mode"] = mode & 0o7777
    if changes:
        node.setattr(**changes)
    _tell(task, where, IN_ATTRIB)
    return 0


def _low2high(number: int) -> int:
    """A 16-bit id: 0xffff is -1."""
    number &= 0xFFFF
    return _NO_ID if number == 0xFFFF else number


@syscall("chown", "str uid uid", abi="x86_64")
def sys_chown(task: Task, path: int, uid: int, gid: int) -> int:
    return _chown(task, find(task, AT_FDCWD, path), uid, gid)


@syscall("lchown", "str uid uid", abi="x86_64")
def sys_lchown(task: Task, path: int, uid: int, gid: int) -> int:
    return _chown(task, find(task, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW), uid, gid)


@syscall("fchown", "fd uid uid", abi="x86_64")
def sys_fchown(task: Task, fd: int, uid: int, gid: int) -> int:
    return _chown(task, task.files.fget(fd).f_dentry, uid, gid)


@syscall("chown", "str uid uid", abi="i386")
def sys_chown16(task: Task, path: int, uid: int, gid: int) -> int:
    return sys_chown(task, path, _low2high(uid), _low2high(gid))


@syscall("lchown", "str uid uid", abi="i386")
def sys_lchown16(task: Task, path: int, uid: int, gid: int) -> int:
    return sys_lchown(task, path, _low2high(uid), _low2high(gid))


@syscall("fchown", "fd uid uid", abi="i386")
def sys_fchown16(task: Task, fd: int, uid: int, gid: int) -> int:
    return sys_fchown(task, fd, _low2high(uid), _low2high(gid))


@syscall("chown32", "str uid uid", abi="i386")
def sys_chown32(task: Task, path: int, uid: int, gid: int) -> int:
    return sys_chown(task, path, uid, gid)


@syscall("lchown32", "str uid uid", abi="i386")
def sys_lchown32(task: Task, path: int, uid: int, gid: int) -> int:
    return sys_lchown(task, path, uid, gid)


@syscall("fchown32", "fd uid uid", abi="i386")
def sys_fchown32(task: Task, fd: int, uid: int, gid: int) -> int:
    return sys_fchown(task, fd, uid, gid)


@syscall("fchownat", "atfd str uid uid flags:AT_")
def sys_fchownat(task: Task, dirfd: int, path: int, uid: int, gid: int, flags: int) -> int:
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        raise Errno(EINVAL)
    return _chown(task, find(task, dirfd, path, flags), uid, gid)


# -- times -----------------------------------------------------------------------------------------

Times = Optional[tuple[Optional[int], Optional[int]]]
"""(atime, mtime) in nanoseconds, None for one that stays; None as a whole: both are now."""


def _set_times(task: Task, where: dentry, times: Times) -> int:
    """Setting to now needs write permission, anything else the owner (vfs_utimes)."""
    node = where.d_inode
    _writable(node)
    if times == (None, None):
        return 0
    node.getattr()
    if times is None:
        if not is_owner_or_capable(task, node):
            try:
                inode_permission(task, node, MAY_WRITE)
            except Errno:
                raise Errno(EACCES) from None
        now = task.kernel.clock.realtime_ns()
        node.setattr(i_atime=now, i_mtime=now)
        _tell(task, where, IN_ATTRIB)
        return 0
    if not is_owner_or_capable(task, node):
        raise Errno(EPERM)
    changes = {name: value for name, value in zip(("i_atime", "i_mtime"), times, strict=True) if value is not None}
    node.setattr(**changes)
    _tell(task, where, IN_ATTRIB if len(changes) == 2 else IN_ACCESS if "i_atime" in changes else IN_MODIFY)
    return 0


def _from_timespecs(task: Task, pairs: list[tuple[int, int]]) -> Times:
    """UTIME_NOW and UTIME_OMIT in the nanoseconds; EINVAL for others out of range."""
    if all(ns == UTIME_NOW for _, ns in pairs):
        return None
    result: list[Optional[int]] = []
    for seconds, ns in pairs:
        if ns == UTIME_OMIT:
            result.append(None)
        elif ns == UTIME_NOW:
            result.append(task.kernel.clock.realtime_ns())
        elif 0 <= ns < NSEC_PER_SEC:
            result.append(seconds * NSEC_PER_SEC + ns)
        else:
            raise Errno(EINVAL)
    return result[0], result[1]


def _utimensat(task: Task, dirfd: int, path: int, times: Times, flags: int) -> int:
    """A NULL path means the descriptor itself (futimens)."""
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        raise Errno(EINVAL)
    if not path and dirfd != AT_FDCWD:
        if flags:
            raise Errno(EINVAL)
        return _set_times(task, task.files.fget(dirfd).f_dentry, times)
    return _set_times(task, find(task, dirfd, path, flags), times)


@syscall("utimensat", "atfd str ptr flags:AT_")
def sys_utimensat(task: Task, dirfd: int, path: int, times: int, flags: int) -> int:
    wanted: Times = None
    if times:
        size = task.abi.timespec.size
        pairs = [task.abi.get_timespec(task.mm, times), task.abi.get_timespec(task.mm, times + size)]
        if all(ns == UTIME_OMIT for _, ns in pairs):
            return 0
        wanted = _from_timespecs(task, pairs)
    return _utimensat(task, dirfd, path, wanted, flags)


@syscall("utimensat_time64", "atfd str ptr flags:AT_", abi="i386")
def sys_utimensat_time64(task: Task, dirfd: int, path: int, times: int, flags: int) -> int:
    wanted: Times = None
    if times:
        pairs = [task.abi.get_timespec64(task.mm, times + i * TIMESPEC64.size) for i in (0, 1)]
        if all(ns == UTIME_OMIT for _, ns in pairs):
            return 0
        wanted = _from_timespecs(task, pairs)
    return _utimensat(task, dirfd, path, wanted, flags)


def _timevals(task: Task, times: int) -> Times:
    if not times:
        return None
    result = []
    for index in (0, 1):
        seconds, us = task.abi.get_timeval(task.mm, times + index * task.abi.timeval.size)
        if not 0 <= us < 1_000_000:
            raise Errno(EINVAL)
        result.append(seconds * NSEC_PER_SEC + us * NSEC_PER_USEC)
    return result[0], result[1]


@syscall("utimes", "str ptr")
def sys_utimes(task: Task, path: int, times: int) -> int:
    return _utimensat(task, AT_FDCWD, path, _timevals(task, times), 0)


@syscall("futimesat", "atfd str ptr")
def sys_futimesat(task: Task, dirfd: int, path: int, times: int) -> int:
    return _utimensat(task, dirfd, path, _timevals(task, times), 0)


@syscall("utime", "str ptr")
def sys_utime(task: Task, path: int, times: int) -> int:
    wanted: Times = None
    if times:
        abi = task.abi
        seconds = [abi.signed(abi.get_word(task.mm, times + index * abi.word)) for index in (0, 1)]
        wanted = seconds[0] * NSEC_PER_SEC, seconds[1] * NSEC_PER_SEC
    return _utimensat(task, AT_FDCWD, path, wanted, 0)


# -- truncate --------------------------------------------------------------------------------------


def _truncate(task: Task, path: int, length: int) -> int:
    if length < 0:
        raise Errno(EINVAL)
    where = find(task, AT_FDCWD, path)
    node = where.d_inode
    kind = node.i_mode & S_IFMT
    if kind == S_IFDIR:
        raise Errno(EISDIR)
    if kind != S_IFREG:
        raise Errno(EINVAL)
    inode_permission(task, node, MAY_WRITE)
    if getattr(node, "deny_write", 0) > 0:
        raise Errno(ETXTBSY)
    node.getattr()
    if length > node.i_size:
        limit_size(task, length - 1, 1)
    node.truncate(length)
    _tell(task, where, IN_MODIFY)
    return 0


@syscall("truncate", "str off")
def sys_truncate(task: Task, path: int, length: int) -> int:
    return _truncate(task, path, length)


@syscall("truncate64", "str off64", abi="i386")
def sys_truncate64(task: Task, path: int, length: int) -> int:
    return _truncate(task, path, length)
