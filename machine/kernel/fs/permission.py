"""Who may do what with an inode (fs/namei.c: inode_permission, may_create, may_delete)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from machine.kernel.abi.errno import EACCES, ENOENT, EPERM, EROFS, ETXTBSY, Errno
from machine.kernel.fs.file import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, dentry, file, inode

if TYPE_CHECKING:
    from machine.kernel.task.task import task_struct

MAY_EXEC, MAY_WRITE, MAY_READ = 1, 2, 4
S_ISVTX = 0o1000


def inode_permission(task: task_struct, node: inode, mask: int, effective: bool = True) -> None:
    """EACCES unless the task may access `node` so; EROFS for writing to a read-only file system."""
    if mask & MAY_WRITE and node.i_sb.read_only and node.i_mode & S_IFMT in (S_IFREG, S_IFDIR, S_IFLNK):
        raise Errno(EROFS)
    uid, gid = (task.euid, task.egid) if effective else (task.uid, task.gid)
    mode = node.i_mode
    if uid == 0:
        if mask & MAY_EXEC and mode & S_IFMT != S_IFDIR and not mode & 0o111:
            raise Errno(EACCES)
        return
    if uid == node.i_uid:
        mode >>= 6
    elif gid == node.i_gid or node.i_gid in task.groups:
        mode >>= 3
    if mask & ~mode & 7 and not node.lets_in(task):
        raise Errno(EACCES)


def is_owner_or_capable(task: task_struct, node: inode) -> bool:
    """Whether the task may change the attributes of `node`."""
    return task.euid in (0, node.i_uid)


def may_create(task: task_struct, directory: dentry) -> None:
    """Whether a name may be made in `directory`: ENOENT in a removed one, EACCES, EROFS."""
    if getattr(directory, "d_deleted", False):
        raise Errno(ENOENT)
    inode_permission(task, directory.d_inode, MAY_WRITE | MAY_EXEC)


def may_delete(task: task_struct, directory: dentry, node: inode) -> None:
    """Whether `node` may be removed from `directory`: EACCES, EROFS, EPERM in a sticky directory."""
    above = directory.d_inode
    inode_permission(task, above, MAY_WRITE | MAY_EXEC)
    if above.i_mode & S_ISVTX and task.euid not in (0, node.i_uid, above.i_uid):
        raise Errno(EPERM)


def deny_write_access(filp: file) -> None:
    """A program runs from this file: ETXTBSY for writers from now on, or at once if there is one."""
    node: Any = filp.f_inode
    if getattr(node, "writers", 0) > 0:
        raise Errno(ETXTBSY)
    node.deny_write = getattr(node, "deny_write", 0) + 1


def allow_write_access(filp: file) -> None:
    """The program has ended (or has called exec): undo `deny_write_access`."""
    node: Any = filp.f_inode
    node.deny_write = getattr(node, "deny_write", 0) - 1
