"""Who may do what with an inode (fs/namei.c: inode_permission, may_create, may_delete)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from machine.kernel.abi.capability import CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID
from machine.kernel.abi.errno import EACCES, ENOENT, EPERM, EROFS, ETXTBSY, Errno
from machine.kernel.capability import capable
from machine.kernel.fs.file import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, dentry, file, inode

if TYPE_CHECKING:
    from machine.kernel.task.task import task_struct

MAY_EXEC, MAY_WRITE, MAY_READ = 1, 2, 4
S_ISUID, S_ISGID, S_ISVTX, S_IXGRP = 0o4000, 0o2000, 0o1000, 0o010


def inode_permission(task: task_struct, node: inode, mask: int) -> None:
    """EACCES unless the task may access `node` so; EROFS for writing to a read-only file system."""
    if mask & MAY_WRITE and node.i_sb.read_only and node.i_mode & S_IFMT in (S_IFREG, S_IFDIR, S_IFLNK):
        raise Errno(EROFS)
    mode = node.i_mode
    if task.fsuid == node.i_uid:
        mode >>= 6
    elif in_group(task, node.i_gid):
        mode >>= 3
    if mask & ~mode & 7 and not _overrides(task, node, mask) and not node.lets_in(task):
        raise Errno(EACCES)


def _overrides(task: task_struct, node: inode, mask: int) -> bool:
    """What nobody may execute is executed by nobody; to read and to search takes less (generic_permission)."""
    is_directory = node.i_mode & S_IFMT == S_IFDIR
    if (is_directory or not mask & MAY_EXEC or node.i_mode & 0o111) and capable(task, CAP_DAC_OVERRIDE):
        return True
    searches = not mask & MAY_WRITE if is_directory else mask == MAY_READ
    return searches and capable(task, CAP_DAC_READ_SEARCH)


def in_group(task: task_struct, gid: int) -> bool:
    """Whether the task's files may be the group's (in_group_p)."""
    return gid == task.fsgid or gid in task.groups


def is_owner_or_capable(task: task_struct, node: inode) -> bool:
    """Whether the task may change the attributes of `node`."""
    return task.fsuid == node.i_uid or capable(task, CAP_FOWNER)


def without_set_id(task: task_struct, node: inode, gid: int) -> int:
    """The mode of a file that is written to by who may not keep its set-user-ID and set-group-ID bits, or that gets the
    group `gid`, even the one that it has (fs/attr.c: setattr_should_drop_suidgid, setattr_prepare)."""
    mode = node.i_mode & ~S_ISUID
    groups = {node.i_gid, gid} if mode != node.i_mode else {node.i_gid}
    outside = not all(in_group(task, gid) for gid in groups) and not capable(task, CAP_FSETID)
    return mode & ~S_ISGID if node.i_mode & S_IXGRP or outside else mode


def may_create(task: task_struct, directory: dentry) -> None:
    """Whether a name may be made in `directory`: ENOENT in a removed one, EACCES, EROFS."""
    if getattr(directory, "d_deleted", False):
        raise Errno(ENOENT)
    inode_permission(task, directory.d_inode, MAY_WRITE | MAY_EXEC)


def may_delete(task: task_struct, directory: dentry, node: inode) -> None:
    """Whether `node` may be removed from `directory`: EACCES, EROFS, EPERM in a sticky directory."""
    above = directory.d_inode
    inode_permission(task, above, MAY_WRITE | MAY_EXEC)
    sticky = above.i_mode & S_ISVTX and task.fsuid not in (node.i_uid, above.i_uid)
    if sticky and not capable(task, CAP_FOWNER):
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
