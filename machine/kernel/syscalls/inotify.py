"""inotify_init1, inotify_add_watch, inotify_rm_watch (fs/notify/inotify/inotify_user.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.kernel.abi.errno import EINVAL, ENOTDIR, Errno
from machine.kernel.fs.file import O_CLOEXEC, O_NONBLOCK, S_IFDIR, S_IFMT
from machine.kernel.fs.inotify import ALL_INOTIFY_BITS, IN_MASK_ADD, IN_MASK_CREATE, group_of, inotify_file
from machine.kernel.fs.namei import MAY_READ, inode_permission, lookup
from machine.kernel.syscalls.files import user_path
from machine.kernel.syscalls.table import syscall

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

IN_DONT_FOLLOW, IN_ONLYDIR = 0x2000000, 0x1000000
NOT_THE_HOSTS = "what other programs of the host do is not seen"


@syscall("inotify_init1", "flags:IN_INIT_", sleeps=False, result="fd", support=NOT_THE_HOSTS)
def sys_inotify_init1(task: Task, flags: int) -> int:
    if flags & ~(O_CLOEXEC | O_NONBLOCK):
        raise Errno(EINVAL)
    fd = task.files.free_fd()
    return task.files.install(inotify_file(task.kernel, bool(flags & O_NONBLOCK)), fd, bool(flags & O_CLOEXEC))


@syscall("inotify_init", "", sleeps=False, result="fd", support=NOT_THE_HOSTS)
def sys_inotify_init(task: Task) -> int:
    return sys_inotify_init1(task, 0)


@syscall("inotify_add_watch", "fd str flags:IN_")
def sys_inotify_add_watch(task: Task, fd: int, path: int, mask: int) -> int:
    """EINVAL: no bit, contradicting bits, another kind of descriptor; EACCES, ENOTDIR, EEXIST, ENOSPC."""
    if not mask & ALL_INOTIFY_BITS or (mask & IN_MASK_ADD and mask & IN_MASK_CREATE):
        raise Errno(EINVAL)
    group = group_of(task.files.fget(fd))
    node = lookup(task.kernel, task, user_path(task, path), follow=not mask & IN_DONT_FOLLOW).d_inode
    if mask & IN_ONLYDIR and node.i_mode & S_IFMT != S_IFDIR:
        raise Errno(ENOTDIR)
    inode_permission(task, node, MAY_READ)
    return group.add(node, mask)


@syscall("inotify_rm_watch", "fd int", sleeps=False)
def sys_inotify_rm_watch(task: Task, fd: int, wd: int) -> int:
    """EINVAL: another kind of descriptor, or no such watch."""
    group = group_of(task.files.fget(fd))
    watch = group.watches.get(wd)
    if watch is None:
        raise Errno(EINVAL)
    group.remove(watch)
    return 0
