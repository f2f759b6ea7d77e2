"""Telling those who watch: where the file system's calls report what they did (include/linux/fsnotify.h).

Callers look at ``kernel.fsnotify_watches`` first, so that nobody pays while nobody watches.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Optional

from machine.kernel.current import RUNNING
from machine.kernel.fs.file import O_PATH, S_IFDIR, S_IFMT, dentry, file, inode

if TYPE_CHECKING:
    from machine.kernel.fs.inotify import Group, Watch
    from machine.kernel.kernel import Kernel

IN_ACCESS, IN_MODIFY, IN_ATTRIB, IN_CLOSE_WRITE, IN_CLOSE_NOWRITE, IN_OPEN = 0x1, 0x2, 0x4, 0x8, 0x10, 0x20
IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_MOVE_SELF = 0x40, 0x80, 0x100, 0x200, 0x400, 0x800
IN_Q_OVERFLOW, IN_IGNORED, IN_ISDIR = 0x4000, 0x8000, 0x40000000
IN_EXCL_UNLINK, IN_ONESHOT, IN_ALL_EVENTS = 0x4000000, 0x80000000, 0xFFF
RENAME_EXCHANGE = 2


def _tell(node: inode, mask: int, cookie: int, name: bytes, deleted: bool = False) -> None:
    marks: Optional[dict[Group, Watch]] = node.i_fsnotify_marks
    if marks is None:
        return
    for watch in list(marks.values()):
        if not watch.mask & mask & IN_ALL_EVENTS or (deleted and watch.mask & IN_EXCL_UNLINK):
            continue
        watch.group.report(watch, mask, cookie, name)
        if watch.mask & IN_ONESHOT:
            watch.group.remove(watch)


def _is_dir(node: inode) -> int:
    return IN_ISDIR if node.i_mode & S_IFMT == S_IFDIR else 0


def fsnotify(where: dentry, mask: int) -> None:
    """Something happened to the open file at `where`: its directory hears of it by name, then its own watches; not
    those with IN_EXCL_UNLINK when the name is gone.

    Callers look at ``kernel.fsnotify_watches`` first.
    """
    _tell_both(where, mask, getattr(where, "d_deleted", False))


def fsnotify_change(where: dentry, mask: int) -> None:
    """Attributes or size of what is at `where` were set."""
    _tell_both(where, mask, False)


def _tell_both(where: dentry, mask: int, deleted: bool) -> None:
    node, above = where.d_inode, where.d_parent
    mask |= _is_dir(node)
    if above is not None and above.d_inode.i_fsnotify_marks is not None:
        _tell(above.d_inode, mask, 0, os.fsencode(where.d_name), deleted)
    _tell(node, mask, 0, b"", deleted)


def fsnotify_open(where: dentry, truncated: bool) -> None:
    """A file was opened, and cut to nothing by that if `truncated`."""
    fsnotify(where, IN_OPEN)
    if truncated:
        fsnotify_change(where, IN_MODIFY)


def fsnotify_dirent(directory: inode, name: str, node: inode, mask: int, cookie: int = 0) -> None:
    """A name was made, removed or moved (IN_CREATE, IN_DELETE, IN_MOVED_*)."""
    _tell(directory, mask | _is_dir(node), cookie, os.fsencode(name))


def fsnotify_link_count(node: inode) -> None:
    """A file has gained or lost a name."""
    _tell(node, IN_ATTRIB | _is_dir(node), 0, b"")


def fsnotify_inoderemove(node: inode) -> None:
    """Its last name and its last user are gone: IN_DELETE_SELF, and every watch ends."""
    marks: Optional[dict[Group, Watch]] = node.i_fsnotify_marks
    if marks is None or node.i_nlink > 0 or getattr(node, "opens", 0) > 0 or _in_use(node):
        return
    _tell(node, IN_DELETE_SELF, 0, b"")
    for watch in list((node.i_fsnotify_marks or {}).values()):
        watch.group.remove(watch)


def _in_use(node: inode) -> bool:
    """Whether it is open, by O_PATH too, or somebody's working directory or root."""
    kernel = RUNNING.kernel
    for task in () if kernel is None else kernel.tasks.values():
        if task.fs.users > 0 and node in (task.fs.cwd.d_inode, task.fs.root.d_inode):
            return True
        if any(filp.f_inode is node and filp.f_count > 0 for filp in task.files.fds.values()):
            return True
    return False


def fsnotify_unlink(directory: inode, name: str, node: inode) -> None:
    """unlink and rmdir, once they have worked."""
    if not _is_dir(node):
        fsnotify_link_count(node)
    fsnotify_inoderemove(node)
    fsnotify_dirent(directory, name, node, IN_DELETE)


def fsnotify_move(
    kernel: Kernel, old: tuple[inode, str], new: tuple[inode, str], node: inode, target: Optional[inode], flags: int
) -> None:
    """A rename: two events with one cookie, and IN_MOVE_SELF; `target` was replaced, or (RENAME_EXCHANGE) moved too."""
    exchange = flags & RENAME_EXCHANGE
    _moved(kernel, old, new, node)
    if target is not None and not exchange:
        fsnotify_link_count(target)
    _tell(node, IN_MOVE_SELF, 0, b"")
    if target is not None and exchange:
        _moved(kernel, new, old, target)
        _tell(target, IN_MOVE_SELF, 0, b"")
    elif target is not None:
        fsnotify_inoderemove(target)


def _moved(kernel: Kernel, old: tuple[inode, str], new: tuple[inode, str], node: inode) -> None:
    kernel.fsnotify_cookie += 1
    fsnotify_dirent(*old, node, IN_MOVED_FROM, kernel.fsnotify_cookie)
    fsnotify_dirent(*new, node, IN_MOVED_TO, kernel.fsnotify_cookie)


def fsnotify_close(filp: file) -> None:
    """The last reference to an open file is gone (`file.put`)."""
    if filp.f_flags & O_PATH:
        return
    fsnotify(filp.f_dentry, IN_CLOSE_WRITE if filp.f_mode & 2 else IN_CLOSE_NOWRITE)
