"""System calls on directories: getcwd, chdir, chroot, getdents (fs/d_path.c, fs/open.c, fs/readdir.c)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from machine.kernel.abi.capability import CAP_SYS_CHROOT
from machine.kernel.abi.errno import (
    EBADF,
    EFAULT,
    EINVAL,
    ENOENT,
    ENOTDIR,
    EPERM,
    ERANGE,
    Errno,
)
from machine.kernel.capability import capable
from machine.kernel.fs.file import (
    S_IFDIR,
    S_IFMT,
    dentry,
    file,
)
from machine.kernel.fs.fsnotify import IN_ACCESS, fsnotify, fsnotify_inoderemove
from machine.kernel.fs.namei import (
    MAY_EXEC,
    inode_permission,
    lookup,
)
from machine.kernel.syscalls.files import user_path
from machine.kernel.syscalls.table import syscall

if TYPE_CHECKING:
    from collections.abc import Callable

    from machine.kernel.task.task import Task


# -- where the process is --------------------------------------------------------------------------


@syscall("getcwd", "ptr:cwd> size")
def sys_getcwd(task: Task, buf: int, size: int) -> int:
    """The length with its NUL.  ENOENT when the directory was removed; ERANGE when it does not fit."""
    cwd = task.fs.cwd
    if getattr(cwd, "d_deleted", False):
        raise Errno(ENOENT)
    root = task.fs.root.path().rstrip("/")
    path = cwd.path()
    if root and (path == root or path.startswith(root + "/")):
        path = path[len(root) :] or "/"
    elif root:
        path = "(unreachable)" + path
    text = os.fsencode(path) + b"\0"
    if len(text) > size:
        raise Errno(ERANGE)
    task.mm.copy_to_user(buf, text)
    return len(text)


def _chdir(task: Task, where: dentry) -> int:
    where, left = _enter(task, where), task.fs.cwd.d_inode
    task.fs.cwd = where
    if left.i_fsnotify_marks is not None:
        fsnotify_inoderemove(left)
    return 0


def _enter(task: Task, where: dentry) -> dentry:
    node = where.d_inode
    if node.i_mode & S_IFMT != S_IFDIR:
        raise Errno(ENOTDIR)
    inode_permission(task, node, MAY_EXEC)
    return where


@syscall("chdir", "str")
def sys_chdir(task: Task, path: int) -> int:
    return _chdir(task, lookup(task.kernel, task, user_path(task, path)))


@syscall("fchdir", "fd")
def sys_fchdir(task: Task, fd: int) -> int:
    return _chdir(task, task.files.fget_raw(fd).f_dentry)


@syscall("chroot", "str")
def sys_chroot(task: Task, path: int) -> int:
    where = _enter(task, lookup(task.kernel, task, user_path(task, path)))
    if not capable(task, CAP_SYS_CHROOT):
        raise Errno(EPERM)
    task.fs.root = where
    return 0


# -- reading directories ---------------------------------------------------------------------------


class _Listing:
    """The entries of an open directory as they were when reading began."""

    __slots__ = ("entries",)

    def __init__(self, entries: list[tuple[str, int, int]]) -> None:
        self.entries = entries


def _getdents(task: Task, fd: int, buf: int, size: int, pack: Callable[[int, int, int, bytes], bytes]) -> int:
    """Whole records up to `size` bytes; EINVAL when not even one fits (fs/readdir.c)."""
    filp: file = task.files.fget(fd)
    if filp.f_op.iterate is None:
        raise Errno(ENOTDIR)
    if not filp.f_mode & 1:
        raise Errno(EBADF)
    if getattr(filp.f_dentry, "d_deleted", False):
        raise Errno(ENOENT)
    if not isinstance(filp.private_data, _Listing) or filp.f_pos == 0:
        filp.private_data = _Listing(filp.f_op.iterate(filp))
    entries = filp.private_data.entries
    done = 0
    while filp.f_pos < len(entries):
        name, ino, kind = entries[filp.f_pos]
        record = pack(ino, filp.f_pos + 1, kind, os.fsencode(name))
        if done + len(record) > size:
            if not done:
                raise Errno(EINVAL)
            break
        if task.mm.write_some(buf + done, record) != len(record):
            if not done:
                raise Errno(EFAULT)
            break
        done += len(record)
        filp.f_pos += 1
    if task.kernel.fsnotify_watches:
        fsnotify(filp.f_dentry, IN_ACCESS)
    return done


@syscall("getdents64", "fd ptr:dirents> uint")
def sys_getdents64(task: Task, fd: int, buf: int, size: int) -> int:
    return _getdents(task, fd, buf, size, task.abi.pack_dirent64)


@syscall("getdents", "fd ptr:dirents> uint")
def sys_getdents(task: Task, fd: int, buf: int, size: int) -> int:
    return _getdents(task, fd, buf, size, task.abi.pack_dirent)
