"""System calls that ask about files: stat, access, statfs, extended attributes (fs/stat.c, fs/open.c, fs/xattr.c)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from machine.kernel.abi.capability import CAP_SYS_ADMIN, SECBIT_NO_SETUID_FIXUP
from machine.kernel.abi.errno import (
    E2BIG,
    EINVAL,
    ENAMETOOLONG,
    ENODATA,
    EOPNOTSUPP,
    EPERM,
    ERANGE,
    EROFS,
    Errno,
)
from machine.kernel.abi.stat import STATX__RESERVED, kstatfs
from machine.kernel.capability import capabilities, capable
from machine.kernel.fs.file import S_IFDIR, S_IFMT, S_IFREG, dentry, inode
from machine.kernel.fs.fsnotify import IN_ATTRIB, fsnotify_change
from machine.kernel.fs.namei import (
    AT_EACCESS,
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_NO_AUTOMOUNT,
    AT_SYMLINK_NOFOLLOW,
    inode_permission,
    is_owner_or_capable,
    lookup,
)
from machine.kernel.fs.permission import MAY_READ, MAY_WRITE, S_ISVTX
from machine.kernel.syscalls.files import user_path
from machine.kernel.syscalls.table import syscall

if TYPE_CHECKING:
    from collections.abc import Callable

    from machine.kernel.task.task import Task

_STAT_FLAGS = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH
AT_STATX_SYNC_TYPE = 0x6000
XATTR_NAME_MAX, XATTR_SIZE_MAX = 255, 65536
_NAMESPACES = ("user.", "trusted.", "security.", "system.")


def find(task: Task, dirfd: int, path: int, flags: int = 0) -> dentry:
    """The dentry for a path argument and AT_* flags."""
    name = "" if flags & AT_EMPTY_PATH and not path else user_path(task, path)
    return lookup(
        task.kernel, task, name, follow=not flags & AT_SYMLINK_NOFOLLOW, dirfd=dirfd, empty=bool(flags & AT_EMPTY_PATH)
    )


# -- stat ------------------------------------------------------------------------------------------


def _put(task: Task, buf: int, node: inode, pack: Callable[[inode], bytes]) -> int:
    node.getattr()
    task.mm.copy_to_user(buf, pack(node))
    return 0


@syscall("stat", "str ptr:stat>")
def sys_stat(task: Task, path: int, buf: int) -> int:
    return _put(task, buf, find(task, AT_FDCWD, path).d_inode, task.abi.pack_old_stat)


@syscall("lstat", "str ptr:stat>")
def sys_lstat(task: Task, path: int, buf: int) -> int:
    return _put(task, buf, find(task, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW).d_inode, task.abi.pack_old_stat)


@syscall("fstat", "fd ptr:stat>")
def sys_fstat(task: Task, fd: int, buf: int) -> int:
    return _put(task, buf, task.files.fget_raw(fd).f_inode, task.abi.pack_old_stat)


@syscall("stat64", "str ptr:stat64>", abi="i386")
def sys_stat64(task: Task, path: int, buf: int) -> int:
    return _put(task, buf, find(task, AT_FDCWD, path).d_inode, task.abi.pack_stat)


@syscall("lstat64", "str ptr:stat64>", abi="i386")
def sys_lstat64(task: Task, path: int, buf: int) -> int:
    return _put(task, buf, find(task, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW).d_inode, task.abi.pack_stat)


@syscall("fstat64", "fd ptr:stat64>", abi="i386")
def sys_fstat64(task: Task, fd: int, buf: int) -> int:
    return _put(task, buf, task.files.fget_raw(fd).f_inode, task.abi.pack_stat)


def _fstatat(task: Task, dirfd: int, path: int, buf: int, flags: int) -> int:
    if flags & ~_STAT_FLAGS:
        raise Errno(EINVAL)
    return _put(task, buf, find(task, dirfd, path, flags).d_inode, task.abi.pack_stat)


@syscall("newfstatat", "atfd str ptr:stat> flags:AT_", abi="x86_64")
def sys_newfstatat(task: Task, dirfd: int, path: int, buf: int, flags: int) -> int:
    return _fstatat(task, dirfd, path, buf, flags)


@syscall("fstatat64", "atfd str ptr:stat64> flags:AT_", abi="i386")
def sys_fstatat64(task: Task, dirfd: int, path: int, buf: int, flags: int) -> int:
    return _fstatat(task, dirfd, path, buf, flags)


@syscall("statx", "atfd str flags:AT_STATX flags:STATX_ ptr:statx>")
def sys_statx(task: Task, dirfd: int, path: int, flags: int, mask: int, buf: int) -> int:
    if mask & STATX__RESERVED or flags & AT_STATX_SYNC_TYPE == AT_STATX_SYNC_TYPE:
        raise Errno(EINVAL)
    if flags & ~(_STAT_FLAGS | AT_STATX_SYNC_TYPE):
        raise Errno(EINVAL)
    return _put(task, buf, find(task, dirfd, path, flags).d_inode, lambda node: task.abi.pack_statx(node, mask))


# -- access ----------------------------------------------------------------------------------------


def _access(task: Task, dirfd: int, path: int, mode: int, flags: int) -> int:
    """With the real user, or the effective one with AT_EACCESS; EROFS even for root."""
    if mode & ~7 or flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        raise Errno(EINVAL)
    effective = bool(flags & AT_EACCESS)
    saved = task.fsuid, task.fsgid, task.caps
    if not effective:
        task.fsuid, task.fsgid = task.uid, task.gid
        had, permitted, inheritable = capabilities(task)
        if not task.securebits & SECBIT_NO_SETUID_FIXUP:
            had = permitted if task.uid == 0 else 0
        task.caps = had, permitted, inheritable
    try:
        node = find(task, dirfd, path, flags).d_inode
        if mode:
            inode_permission(task, node, mode)
    finally:
        task.fsuid, task.fsgid, task.caps = saved
    return 0


@syscall("access", "str flags:_OK")
def sys_access(task: Task, path: int, mode: int) -> int:
    return _access(task, AT_FDCWD, path, mode, 0)


@syscall("faccessat", "atfd str flags:_OK")
def sys_faccessat(task: Task, dirfd: int, path: int, mode: int) -> int:
    return _access(task, dirfd, path, mode, 0)


@syscall("faccessat2", "atfd str flags:_OK flags:AT_EACCESS")
def sys_faccessat2(task: Task, dirfd: int, path: int, mode: int, flags: int) -> int:
    return _access(task, dirfd, path, mode, flags)


# -- statfs ----------------------------------------------------------------------------------------


def statfs_of(node: inode) -> kstatfs:
    """Figures of the file system; those without storage say only what they are (fs/libfs.c: simple_statfs)."""
    sb = node.i_sb
    method = getattr(sb, "statfs", None)
    if method is not None:
        found: kstatfs = method()
        return found
    return kstatfs(sb.s_magic, 4096, 0, 0, 0, 0, 0, f_fsid=sb.s_dev, f_flags=0x20)


def _put_statfs64(task: Task, find_node: Callable[[], inode], size: int, buf: int) -> int:
    """i386: `size` must be that of the packed structure, 84 bytes: EINVAL (fs/statfs.c: kcompat_sys_statfs64)."""
    if size != 84:
        raise Errno(EINVAL)
    task.mm.copy_to_user(buf, task.abi.pack_statfs64(statfs_of(find_node())))
    return 0


@syscall("statfs", "str ptr")
def sys_statfs(task: Task, path: int, buf: int) -> int:
    node = find(task, AT_FDCWD, path).d_inode
    task.mm.copy_to_user(buf, task.abi.pack_statfs(statfs_of(node)))
    return 0


@syscall("fstatfs", "fd ptr")
def sys_fstatfs(task: Task, fd: int, buf: int) -> int:
    node = task.files.fget_raw(fd).f_inode
    task.mm.copy_to_user(buf, task.abi.pack_statfs(statfs_of(node)))
    return 0


@syscall("statfs64", "str size ptr", abi="i386")
def sys_statfs64(task: Task, path: int, size: int, buf: int) -> int:
    return _put_statfs64(task, lambda: find(task, AT_FDCWD, path).d_inode, size, buf)


@syscall("fstatfs64", "fd size ptr", abi="i386")
def sys_fstatfs64(task: Task, fd: int, size: int, buf: int) -> int:
    return _put_statfs64(task, lambda: task.files.fget_raw(fd).f_inode, size, buf)


# -- extended attributes ---------------------------------------------------------------------------


def _xattr_name(task: Task, address: int) -> str:
    """ERANGE for an empty or too long name (fs/xattr.c: import_xattr_name)."""
    try:
        name = os.fsdecode(task.mm.read_string(address, XATTR_NAME_MAX + 1))
    except Errno as error:
        raise Errno(ERANGE if error.errno == ENAMETOOLONG else error.errno) from None
    if not name:
        raise Errno(ERANGE)
    return name


def _xattr_permission(task: Task, node: inode, name: str, write: bool) -> None:
    """user.* only for files and directories, and as their mode allows, of a sticky directory as its owner;
    trusted.* and, to set, security.* for root; EOPNOTSUPP for a namespace that nobody has, EINVAL for its name alone
    (fs/xattr.c: xattr_permission, xattr_resolve_name).

    system.* is left to the file system: one without ACLs says EOPNOTSUPP to everybody (posix_acl_xattr_set).
    """
    if write and node.i_sb.read_only:
        raise Errno(EROFS)
    kind = node.i_mode & S_IFMT
    if name.startswith("trusted."):
        if not capable(task, CAP_SYS_ADMIN):
            raise Errno(EPERM if write else ENODATA)
    elif not name.startswith(("security.", "system.")):
        if name.startswith("user."):
            if kind not in (S_IFREG, S_IFDIR):
                raise Errno(EPERM if write else ENODATA)
            if write and kind == S_IFDIR and node.i_mode & S_ISVTX and not is_owner_or_capable(task, node):
                raise Errno(EPERM)
        inode_permission(task, node, MAY_WRITE if write else MAY_READ)
    if not name.startswith(_NAMESPACES):
        raise Errno(EOPNOTSUPP)
    if name in _NAMESPACES:
        raise Errno(EINVAL)
    if write and name.startswith("security.") and not capable(task, CAP_SYS_ADMIN):
        raise Errno(EPERM)


def _getxattr(task: Task, find_it: Callable[[], dentry], name_at: int, value: int, size: int) -> int:
    name = _xattr_name(task, name_at)
    node = find_it().d_inode
    _xattr_permission(task, node, name, False)
    data = node.getxattr(name)
    if size:
        if len(data) > size:
            raise Errno(ERANGE)
        task.mm.copy_to_user(value, data)
    return len(data)


def _setxattr(task: Task, find_it: Callable[[], dentry], name_at: int, value: int, size: int, flags: int) -> int:
    if flags & ~3:
        raise Errno(EINVAL)
    name = _xattr_name(task, name_at)
    if size > XATTR_SIZE_MAX:
        raise Errno(E2BIG)
    data = task.mm.copy_from_user(value, size)
    where = find_it()
    _xattr_permission(task, where.d_inode, name, True)
    where.d_inode.setxattr(name, data, flags)
    return _xattr_changed(task, where)


def _xattr_changed(task: Task, where: dentry) -> int:
    """Those who watch hear of it (fsnotify_xattr)."""
    if task.kernel.fsnotify_watches:
        fsnotify_change(where, IN_ATTRIB)
    return 0


def _visible(task: Task, node: inode) -> list[str]:
    trusted = capable(task, CAP_SYS_ADMIN)
    return [name for name in node.xattrs() if trusted or not name.startswith("trusted.")]


def _listxattr(task: Task, node: inode, buf: int, size: int) -> int:
    data = b"".join(os.fsencode(name) + b"\0" for name in _visible(task, node))
    if size:
        if len(data) > size:
            raise Errno(ERANGE)
        task.mm.copy_to_user(buf, data)
    return len(data)


def _removexattr(task: Task, find_it: Callable[[], dentry], name_at: int) -> int:
    name = _xattr_name(task, name_at)
    where = find_it()
    _xattr_permission(task, where.d_inode, name, True)
    where.d_inode.removexattr(name)
    return _xattr_changed(task, where)


def _declare_xattr(prefix: str, kind: str, named: Callable[[Task, int], dentry]) -> None:
    """The three forms of each call differ only in how they name the file."""

    @syscall(f"{prefix}getxattr", f"{kind} str ptr size")
    def get(task: Task, what: int, name: int, value: int, size: int) -> int:
        return _getxattr(task, lambda: named(task, what), name, value, size)

    @syscall(f"{prefix}setxattr", f"{kind} str ptr size flags:XATTR_")
    def put(task: Task, what: int, name: int, value: int, size: int, flags: int) -> int:
        return _setxattr(task, lambda: named(task, what), name, value, size, flags)

    @syscall(f"{prefix}listxattr", f"{kind} ptr size")
    def names(task: Task, what: int, buf: int, size: int) -> int:
        return _listxattr(task, named(task, what).d_inode, buf, size)

    @syscall(f"{prefix}removexattr", f"{kind} str")
    def remove(task: Task, what: int, name: int) -> int:
        return _removexattr(task, lambda: named(task, what), name)


_declare_xattr("", "str", lambda task, path: find(task, AT_FDCWD, path))
_declare_xattr("l", "str", lambda task, path: find(task, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW))
_declare_xattr("f", "fd", lambda task, fd: task.files.fget(fd).f_dentry)
