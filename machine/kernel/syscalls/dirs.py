"""System calls on names: mkdir, unlink, rename, link, readlink, chdir, getdents and their relatives (fs/namei.c)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from machine.kernel.abi.capability import CAP_DAC_READ_SEARCH, CAP_MKNOD
from machine.kernel.abi.errno import (
    EBUSY,
    EEXIST,
    EINVAL,
    EISDIR,
    ENOENT,
    ENOTDIR,
    ENOTEMPTY,
    EPERM,
    EXDEV,
    Errno,
)
from machine.kernel.capability import capable
from machine.kernel.fs.file import (
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFIFO,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    S_IFSOCK,
    dentry,
    inode,
)
from machine.kernel.fs.fsnotify import (
    IN_CREATE,
    fsnotify_dirent,
    fsnotify_link_count,
    fsnotify_move,
    fsnotify_unlink,
)
from machine.kernel.fs.namei import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_REMOVEDIR,
    AT_SYMLINK_FOLLOW,
    MAY_WRITE,
    check_name,
    d_delete,
    d_exchange,
    d_move,
    inode_permission,
    is_mounted_on,
    lookup,
    lookup_parent,
    may_create,
    may_delete,
    new_name,
)
from machine.kernel.fs.tmpfs import RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT
from machine.kernel.syscalls.files import user_path
from machine.kernel.syscalls.table import syscall

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

_ALLOWED_TYPES = (0, S_IFREG, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK)


# -- making names ----------------------------------------------------------------------------------


def _made(task: Task, directory: dentry, name: str, node: inode) -> None:
    """Tell those who watch the directory of a new name."""
    if task.kernel.fsnotify_watches:
        fsnotify_dirent(directory.d_inode, name, node, IN_CREATE)


def _mkdir(task: Task, dirfd: int, path: int, mode: int) -> int:
    directory, name = new_name(task.kernel, task, user_path(task, path), dirfd, is_dir=True)
    node = directory.d_inode.mkdir(name, mode & 0o1777 & ~task.fs.umask)
    _made(task, directory, name, node)
    return 0


@syscall("mkdir", "str mode")
def sys_mkdir(task: Task, path: int, mode: int) -> int:
    return _mkdir(task, AT_FDCWD, path, mode)


@syscall("mkdirat", "atfd str mode")
def sys_mkdirat(task: Task, dirfd: int, path: int, mode: int) -> int:
    return _mkdir(task, dirfd, path, mode)


def _mknod(task: Task, dirfd: int, path: int, mode: int, dev: int) -> int:
    """Device nodes need root (EPERM); a directory can't be made so (EPERM)."""
    kind = mode & S_IFMT
    if kind == S_IFDIR:
        raise Errno(EPERM)
    if kind not in _ALLOWED_TYPES:
        raise Errno(EINVAL)
    directory, name = new_name(task.kernel, task, user_path(task, path), dirfd)
    if kind in (S_IFCHR, S_IFBLK) and not capable(task, CAP_MKNOD):
        raise Errno(EPERM)
    full = (kind or S_IFREG) | mode & 0o7777 & ~task.fs.umask
    _made(task, directory, name, directory.d_inode.create(name, full, dev if kind in (S_IFCHR, S_IFBLK) else 0))
    return 0


@syscall("mknod", "str mode uint")
def sys_mknod(task: Task, path: int, mode: int, dev: int) -> int:
    return _mknod(task, AT_FDCWD, path, mode, dev)


@syscall("mknodat", "atfd str mode uint")
def sys_mknodat(task: Task, dirfd: int, path: int, mode: int, dev: int) -> int:
    return _mknod(task, dirfd, path, mode, dev)


def _symlink(task: Task, target: int, dirfd: int, path: int) -> int:
    text = user_path(task, target)
    if not text:
        raise Errno(ENOENT)
    directory, name = new_name(task.kernel, task, user_path(task, path), dirfd)
    _made(task, directory, name, directory.d_inode.symlink(name, text))
    return 0


@syscall("symlink", "str str")
def sys_symlink(task: Task, target: int, path: int) -> int:
    return _symlink(task, target, AT_FDCWD, path)


@syscall("symlinkat", "str atfd str")
def sys_symlinkat(task: Task, target: int, dirfd: int, path: int) -> int:
    return _symlink(task, target, dirfd, path)


def _link(task: Task, old_dirfd: int, old: int, new_dirfd: int, new: int, flags: int) -> int:
    if flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH):
        raise Errno(EINVAL)
    if flags & AT_EMPTY_PATH and not capable(task, CAP_DAC_READ_SEARCH):
        raise Errno(ENOENT)
    source = lookup(
        task.kernel, task, user_path(task, old), follow=bool(flags & AT_SYMLINK_FOLLOW), dirfd=old_dirfd,
        empty=bool(flags & AT_EMPTY_PATH),
    )  # fmt: skip
    directory, name = new_name(task.kernel, task, user_path(task, new), new_dirfd)
    node = source.d_inode
    if node.i_sb is not directory.d_inode.i_sb:
        raise Errno(EXDEV)
    if node.i_mode & S_IFMT == S_IFDIR:
        raise Errno(EPERM)
    if node.i_nlink == 0 and not getattr(node, "linkable", False):  # I_LINKABLE: of O_TMPFILE without O_EXCL
        raise Errno(ENOENT)
    directory.d_inode.link(name, node)
    if task.kernel.fsnotify_watches:
        fsnotify_link_count(node)
    _made(task, directory, name, node)
    return 0


@syscall("link", "str str")
def sys_link(task: Task, old: int, new: int) -> int:
    return _link(task, AT_FDCWD, old, AT_FDCWD, new, 0)


@syscall("linkat", "atfd str atfd str flags:AT_")
def sys_linkat(task: Task, old_dirfd: int, old: int, new_dirfd: int, new: int, flags: int) -> int:
    return _link(task, old_dirfd, old, new_dirfd, new, flags)


# -- removing names --------------------------------------------------------------------------------


def _victim(task: Task, directory: dentry, name: str) -> inode:
    """The inode that is to lose its name: ENOENT, EBUSY under a mount, and permissions."""
    node = directory.d_inode.lookup(name)
    if node is None:
        raise Errno(ENOENT)
    may_delete(task, directory, node)
    if is_mounted_on(task.kernel, node):
        raise Errno(EBUSY)
    return node


def _unlink(task: Task, dirfd: int, path: int) -> int:
    directory, name, slash = lookup_parent(task.kernel, task, user_path(task, path), dirfd)
    if name in ("", ".", ".."):
        raise Errno(EISDIR)
    check_name(directory, name)
    node = directory.d_inode.lookup(name)
    if slash and node is not None:
        raise Errno(EISDIR if node.i_mode & S_IFMT == S_IFDIR else ENOTDIR)
    node = _victim(task, directory, name)
    if node.i_mode & S_IFMT == S_IFDIR:
        raise Errno(EISDIR)
    directory.d_inode.unlink(name)
    d_delete(directory, name)
    if task.kernel.fsnotify_watches:
        fsnotify_unlink(directory.d_inode, name, node)
    return 0


def _rmdir(task: Task, dirfd: int, path: int) -> int:
    directory, name, _slash = lookup_parent(task.kernel, task, user_path(task, path), dirfd)
    if name in ("", ".", ".."):
        raise Errno({"": EBUSY, ".": EINVAL, "..": ENOTEMPTY}[name])
    check_name(directory, name)
    node = _victim(task, directory, name)
    if node.i_mode & S_IFMT != S_IFDIR:
        raise Errno(ENOTDIR)
    directory.d_inode.rmdir(name)
    d_delete(directory, name)
    if task.kernel.fsnotify_watches:
        fsnotify_unlink(directory.d_inode, name, node)
    return 0


@syscall("unlink", "str")
def sys_unlink(task: Task, path: int) -> int:
    return _unlink(task, AT_FDCWD, path)


@syscall("rmdir", "str")
def sys_rmdir(task: Task, path: int) -> int:
    return _rmdir(task, AT_FDCWD, path)


@syscall("unlinkat", "atfd str flags:AT_")
def sys_unlinkat(task: Task, dirfd: int, path: int, flags: int) -> int:
    if flags & ~AT_REMOVEDIR:
        raise Errno(EINVAL)
    return _rmdir(task, dirfd, path) if flags else _unlink(task, dirfd, path)


# -- rename ----------------------------------------------------------------------------------------


def _rename(task: Task, old_dirfd: int, old: int, new_dirfd: int, new: int, flags: int) -> int:
    """fs/namei.c: do_renameat2.  RENAME_WHITEOUT is refused with EINVAL, as by tmpfs without it."""
    known = RENAME_NOREPLACE | RENAME_EXCHANGE
    if flags & ~(known | RENAME_WHITEOUT) or flags & known == known or flags & RENAME_WHITEOUT:
        raise Errno(EINVAL)
    kernel = task.kernel
    old_dir, old_name, old_slash = lookup_parent(kernel, task, user_path(task, old), old_dirfd)
    new_dir, new_last, new_slash = lookup_parent(kernel, task, user_path(task, new), new_dirfd)
    if old_dir.d_inode.i_sb is not new_dir.d_inode.i_sb:
        raise Errno(EXDEV)
    if old_name in ("", ".", ".."):
        raise Errno(EBUSY)
    if new_last in ("", ".", ".."):
        raise Errno(EEXIST if flags & RENAME_NOREPLACE else EBUSY)
    check_name(old_dir, old_name)
    node = old_dir.d_inode.lookup(old_name)
    if node is None:
        raise Errno(ENOENT)
    check_name(new_dir, new_last)
    target = new_dir.d_inode.lookup(new_last)
    if flags & RENAME_NOREPLACE and target is not None:
        raise Errno(EEXIST)
    if flags & RENAME_EXCHANGE and target is None:
        raise Errno(ENOENT)
    is_dir = node.i_mode & S_IFMT == S_IFDIR
    new_is = target if flags & RENAME_EXCHANGE else node  # what the new name is to be, or is when both stay
    if (old_slash and not is_dir) or (new_slash and new_is is not None and new_is.i_mode & S_IFMT != S_IFDIR):
        raise Errno(ENOTDIR)
    if is_dir and _is_below(new_dir, node):
        raise Errno(EINVAL)
    if target is not None and _is_below(old_dir, target) and target.i_mode & S_IFMT == S_IFDIR:
        raise Errno(EINVAL if flags & RENAME_EXCHANGE else ENOTEMPTY)
    if node is target:
        return 0
    _may_rename(task, (old_dir, new_dir), node, target, bool(flags & RENAME_EXCHANGE))
    old_dir.d_inode.rename(old_name, new_dir.d_inode, new_last, flags)
    if flags & RENAME_EXCHANGE:
        d_exchange(old_dir, old_name, new_dir, new_last)
    else:
        d_move(old_dir, old_name, new_dir, new_last)
    if kernel.fsnotify_watches:
        fsnotify_move(kernel, (old_dir.d_inode, old_name), (new_dir.d_inode, new_last), node, target, flags)
    return 0


def _is_below(where: dentry, node: inode) -> bool:
    """Whether the directory `where` is `node` or lies below it."""
    here: dentry | None = where
    while here is not None:
        if here.d_inode is node:
            return True
        here = here.d_parent
    return False


def _may_rename(task: Task, dirs: tuple[dentry, dentry], node: inode, target: inode | None, exchange: bool) -> None:
    """Permissions, then what kinds may replace each other."""
    old_dir, new_dir = dirs
    may_delete(task, old_dir, node)
    is_dir = node.i_mode & S_IFMT == S_IFDIR
    if target is None:
        may_create(task, new_dir)
    else:
        may_delete(task, new_dir, target)
        target_is_dir = target.i_mode & S_IFMT == S_IFDIR
        if not exchange and is_dir != target_is_dir:
            raise Errno(ENOTDIR if is_dir else EISDIR)
    for each in (node, target):
        if each is not None and is_mounted_on(task.kernel, each):
            raise Errno(EBUSY)
    if is_dir and old_dir.d_inode is not new_dir.d_inode:
        inode_permission(task, node, MAY_WRITE)  # its ".." changes


@syscall("rename", "str str")
def sys_rename(task: Task, old: int, new: int) -> int:
    return _rename(task, AT_FDCWD, old, AT_FDCWD, new, 0)


@syscall("renameat", "atfd str atfd str")
def sys_renameat(task: Task, old_dirfd: int, old: int, new_dirfd: int, new: int) -> int:
    return _rename(task, old_dirfd, old, new_dirfd, new, 0)


@syscall("renameat2", "atfd str atfd str flags:RENAME_")
def sys_renameat2(task: Task, old_dirfd: int, old: int, new_dirfd: int, new: int, flags: int) -> int:
    return _rename(task, old_dirfd, old, new_dirfd, new, flags)


# -- readlink --------------------------------------------------------------------------------------


def _readlink(task: Task, dirfd: int, path: int, buf: int, size: int) -> int:
    if size <= 0:
        raise Errno(EINVAL)
    name = user_path(task, path)
    where = lookup(task.kernel, task, name, follow=False, dirfd=dirfd, empty=dirfd != AT_FDCWD)
    node = where.d_inode
    if node.i_mode & S_IFMT != S_IFLNK:
        raise Errno(EINVAL if name else ENOENT)
    text = os.fsencode(node.readlink())[:size]
    task.mm.copy_to_user(buf, text)
    return len(text)


@syscall("readlink", "str ptr:str> int")
def sys_readlink(task: Task, path: int, buf: int, size: int) -> int:
    return _readlink(task, AT_FDCWD, path, buf, size)


@syscall("readlinkat", "atfd str ptr:str> int")
def sys_readlinkat(task: Task, dirfd: int, path: int, buf: int, size: int) -> int:
    return _readlink(task, dirfd, path, buf, size)
