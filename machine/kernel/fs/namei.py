"""Path lookup and opening (fs/namei.c, fs/open.c).  Dentries are in `dcache`, permissions in `permission`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.abi.errno import (
    EEXIST,
    EINVAL,
    EISDIR,
    ELOOP,
    ENAMETOOLONG,
    ENOENT,
    ENOTDIR,
    ENXIO,
    EOPNOTSUPP,
    EOVERFLOW,
    EPERM,
    ETXTBSY,
    EXDEV,
    Errno,
)  # fmt: skip
from machine.kernel.abi.stat import MAX_NON_LFS
from machine.kernel.fs.dcache import Dentry, child_dentry, d_delete, d_exchange, d_move, follow_mount, is_mounted_on
from machine.kernel.fs.file import (
    FMODE_CAN_ODIRECT,
    O_ACCMODE,
    O_CREAT,
    O_DIRECT,
    O_DIRECTORY,
    O_EXCL,
    O_LARGEFILE,
    O_NOATIME,
    O_NOCTTY,
    O_NOFOLLOW,
    O_PATH,
    O_RDONLY,
    O_TMPFILE,
    O_TRUNC,
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFIFO,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    S_IFSOCK,
    dentry,
    file,
    file_operations,
    inode,
)  # fmt: skip
from machine.kernel.fs.fsnotify import IN_CREATE, fsnotify_dirent, fsnotify_open
from machine.kernel.fs.permission import (
    MAY_EXEC,
    MAY_READ,
    MAY_WRITE,
    allow_write_access,
    deny_write_access,
    inode_permission,
    is_owner_or_capable,
    may_create,
    may_delete,
)

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import task_struct

AT_FDCWD, AT_SYMLINK_NOFOLLOW, AT_REMOVEDIR, AT_SYMLINK_FOLLOW = -100, 0x100, 0x200, 0x400
AT_EACCESS, AT_NO_AUTOMOUNT, AT_EMPTY_PATH = 0x200, 0x800, 0x1000
MAXSYMLINKS, NAME_MAX, PATH_MAX = 40, 255, 4096
RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH, RESOLVE_IN_ROOT = 1, 2, 4, 8, 16
RESOLVE_CACHED = 32
_OPEN_ONLY = O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC


# -- the walk --------------------------------------------------------------------------------------


class Walk:
    """One path walk: where it stands, and what is left."""

    __slots__ = ("here", "kernel", "links", "must_be_dir", "resolve", "root", "task")

    def __init__(self, kernel: Kernel, task: task_struct, start: dentry, resolve: int = 0) -> None:
        self.kernel = kernel
        self.task = task
        self.root = start if resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT) else task.fs.root
        self.here = start
        self.resolve = resolve
        """RESOLVE_* of openat2: which steps are refused."""
        self.links = 0
        """Symbolic links followed so far."""
        self.must_be_dir = False
        """The path ended in a slash."""

    def begin(self, path: str) -> list[str]:
        """The components of `path`, last first; an absolute one goes back to the root."""
        if path.startswith("/"):
            if self.resolve & RESOLVE_BENEATH:
                raise Errno(EXDEV)
            self.moved_to(self.root)
        names = [name for name in path.split("/") if name]
        names.reverse()
        if path.endswith(("/", "/.", "/..")):
            self.must_be_dir = True
        return names

    def up(self) -> None:
        """``..``; it stays at the root."""
        here = self.here
        if here is not self.root and here.d_parent is not None and here.d_inode is not self.root.d_inode:
            self.moved_to(here.d_parent)
        elif self.resolve & RESOLVE_BENEATH:
            raise Errno(EXDEV)

    def moved_to(self, where: dentry) -> None:
        """Go on from `where`; RESOLVE_NO_XDEV: EXDEV in another file system."""
        if self.resolve & RESOLVE_NO_XDEV and where.d_inode.i_sb is not self.here.d_inode.i_sb:
            raise Errno(EXDEV)
        self.here = where

    def enter(self) -> None:
        """Check that a name may be looked up here: ENOTDIR, EACCES."""
        node = self.here.d_inode
        if node.i_mode & S_IFMT != S_IFDIR:
            raise Errno(ENOTDIR)
        task = self.task
        if task.euid or task.fsuid or task.caps is not None:  # root may search everything
            inode_permission(task, node, MAY_EXEC)

    def jump(self, link: dentry) -> list[str]:
        """Follow a symbolic link: the components of its text, none for a magic link.  ELOOP after 40."""
        self.links += 1
        if self.links > MAXSYMLINKS or self.resolve & RESOLVE_NO_SYMLINKS:
            raise Errno(ELOOP)
        magic = link.d_inode.follow()
        if magic is not None:
            if self.resolve & RESOLVE_NO_MAGICLINKS:
                raise Errno(ELOOP)
            if self.resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT | RESOLVE_NO_XDEV):
                raise Errno(EXDEV)
            self.here = dentry_of(self.kernel, self.root, *magic)
            return []
        text = link.d_inode.readlink()
        if not text:
            raise Errno(ENOENT)
        return self.begin(text)

    def run(self, path: str, follow: bool, parent: bool) -> str:
        """Walk `path`; with `parent` all but the last component, which is returned ("" for none)."""
        names = self.begin(path)
        while names:
            name = names.pop()
            self.enter()
            if parent and not names:
                return name
            if name == ".":
                continue
            if name == "..":
                self.up()
                continue
            check_name(self.here, name)
            below = child_dentry(self.kernel, self.here, name)
            if below is None:
                raise Errno(ENOENT)
            if below.d_inode.i_mode & S_IFMT == S_IFLNK and (names or follow or self.must_be_dir):
                ends, more = self.must_be_dir, bool(names)
                names += self.jump(below)
                self.must_be_dir = ends if more else self.must_be_dir  # the slash behind a link on the way ends nothing
            elif self.resolve:
                self.moved_to(below)
            else:
                self.here = below
        return ""


def check_name(directory: dentry, name: str) -> None:
    """ENOENT in a removed directory, where nothing is looked up; ENAMETOOLONG for more than 255 bytes."""
    if getattr(directory, "d_deleted", False):
        raise Errno(ENOENT)
    if len(name) > 63 and len(os.fsencode(name)) > NAME_MAX:
        raise Errno(ENAMETOOLONG)


def dentry_of(kernel: Kernel, root: dentry, node: inode, path: str) -> dentry:
    """A dentry for the target of a magic link: the one at `path` if that is still the same object."""
    if path.startswith("/") and not path.endswith(" (deleted)"):
        here: Optional[dentry] = root
        for name in path.split("/"):
            if name and here is not None:
                here = child_dentry(kernel, here, name) if here.d_inode.i_mode & S_IFMT == S_IFDIR else None
        if here is not None and here.d_inode is node:
            return here
    return Dentry(node, path.rsplit("/", 1)[-1], None, path)


def _start(task: task_struct, path: str, dirfd: int, resolve: int = 0) -> dentry:
    """Where a path begins.  EBADF, ENOTDIR for a bad `dirfd` (only when the path is relative)."""
    if dirfd == AT_FDCWD or (path.startswith("/") and not resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)):
        return task.fs.cwd
    start = task.files.fget_raw(dirfd).f_dentry
    if start.d_inode.i_mode & S_IFMT != S_IFDIR:
        raise Errno(ENOTDIR)
    return start


def lookup(
    kernel: Kernel, task: task_struct, path: str, *, follow: bool = True, dirfd: int = AT_FDCWD, empty: bool = False,
    resolve: int = 0,
) -> dentry:  # fmt: skip
    """The dentry that `path` names (filename_lookup).

    `follow`: whether a symbolic link as the last component is followed.  `empty`: an empty path
    means `dirfd` itself (AT_EMPTY_PATH), else it is ENOENT.
    """
    if not path:
        if not empty:
            raise Errno(ENOENT)
        return task.fs.cwd if dirfd == AT_FDCWD else task.files.fget_raw(dirfd).f_dentry
    walk = Walk(kernel, task, _start(task, path, dirfd, resolve), resolve)
    walk.run(path, follow, False)
    if walk.must_be_dir and walk.here.d_inode.i_mode & S_IFMT != S_IFDIR:
        raise Errno(ENOTDIR)
    return walk.here


def lookup_parent(kernel: Kernel, task: task_struct, path: str, dirfd: int = AT_FDCWD) -> tuple[dentry, str, bool]:
    """(directory, last component, whether a slash follows) for calls that make or remove names.

    The last component is "", "." or ".." where the path has no proper one.  It was not looked up: `check_name`.
    """
    if not path:
        raise Errno(ENOENT)
    walk = Walk(kernel, task, _start(task, path, dirfd))
    last = walk.run(path, True, True)
    return walk.here, last, path.endswith("/")


def new_name(kernel: Kernel, task: task_struct, path: str, dirfd: int, is_dir: bool = False) -> tuple[dentry, str]:
    """The directory and the free name for mkdir, mknod, symlink and link (filename_create).

    EEXIST where the name is taken; ENOENT for a trailing slash unless a directory is made.
    """
    directory, last, slash = lookup_parent(kernel, task, path, dirfd)
    if last in ("", ".", ".."):
        raise Errno(EEXIST)
    check_name(directory, last)
    if directory.d_inode.lookup(last) is not None:
        raise Errno(EEXIST)
    if slash and not is_dir:
        raise Errno(ENOENT)
    may_create(task, directory)
    return directory, last


# -- open ------------------------------------------------------------------------------------------


def open_file(
    kernel: Kernel, task: task_struct, path: str, flags: int, mode: int = 0, dirfd: int = AT_FDCWD, resolve: int = 0
) -> file:
    """Open `path` as open(2) does; the file has one reference, which is the caller's.

    `mode` is the mode of a new file, the umask already taken off.
    """
    if flags & O_PATH:
        flags &= O_DIRECTORY | O_NOFOLLOW | O_PATH
    if flags & O_TMPFILE == O_TMPFILE:
        where = lookup(kernel, task, path, follow=not flags & O_NOFOLLOW, dirfd=dirfd, resolve=resolve)
        return _open_tmpfile(kernel, task, where, flags, mode)
    if not flags & O_CREAT:
        where = lookup(kernel, task, path, follow=not flags & O_NOFOLLOW, dirfd=dirfd, resolve=resolve)
        return dentry_open(kernel, task, where, flags)
    where, created = _lookup_or_create(kernel, task, path, flags, mode, dirfd, resolve)
    return dentry_open(kernel, task, where, flags, created)


def _lookup_or_create(
    kernel: Kernel, task: task_struct, path: str, flags: int, mode: int, dirfd: int, resolve: int
) -> tuple[dentry, bool]:
    """O_CREAT: the file, made if it is not there (lookup_open); whether it was made."""
    if not path:
        raise Errno(ENOENT)
    walk = Walk(kernel, task, _start(task, path, dirfd, resolve), resolve)
    last = walk.run(path, True, True)
    while True:
        if last in ("", ".", ".."):
            if last == "..":
                walk.up()  # what RESOLVE_* says comes first
            raise Errno(EEXIST if flags & O_EXCL else EISDIR)
        if walk.must_be_dir:
            raise Errno(EISDIR)
        directory = walk.here
        check_name(directory, last)
        found = child_dentry(kernel, directory, last)
        if found is None:
            may_create(task, directory)
            node = directory.d_inode.create(last, S_IFREG | mode & 0o7777)
            made = child_dentry(kernel, directory, last) or Dentry(node, last, directory)  # the host may have taken it
            if kernel.fsnotify_watches:
                fsnotify_dirent(directory.d_inode, last, made.d_inode, IN_CREATE)
            return made, True
        if flags & O_EXCL:
            raise Errno(EEXIST)
        if found.d_inode.i_mode & S_IFMT != S_IFLNK:
            return found, False
        if flags & O_NOFOLLOW:
            raise Errno(ELOOP)
        names = walk.jump(found)
        if not names:
            return walk.here, False
        last = walk.run("/".join(reversed(names)), True, True)


def _open_tmpfile(kernel: Kernel, task: task_struct, where: dentry, flags: int, mode: int) -> file:
    """O_TMPFILE: a file without a name in the file system of a directory."""
    directory: Any = where.d_inode
    if directory.i_mode & S_IFMT != S_IFDIR:
        raise Errno(ENOTDIR)
    if flags & O_ACCMODE == O_RDONLY:
        raise Errno(EINVAL)
    inode_permission(task, directory, MAY_WRITE | MAY_EXEC)
    if getattr(where, "d_deleted", False):
        raise Errno(EPERM)  # as ext4 has it
    if not hasattr(directory, "make") or directory.i_sb.s_type == "bind":
        raise Errno(EOPNOTSUPP)
    node = directory.make_new(S_IFREG | mode & 0o7777)
    node.i_nlink = 0
    node.i_uid, node.i_gid = task.fsuid, task.fsgid
    node.linkable = not flags & O_EXCL
    made = Dentry(node, f"#{node.i_ino}", where, f"{where.path()}/#{node.i_ino}")
    made.d_deleted = True
    opened = dentry_open(kernel, task, made, flags & ~O_DIRECTORY, True)
    opened.f_flags |= O_DIRECTORY  # F_GETFL shows O_TMPFILE, which has this bit
    return opened


class _PathOperations(file_operations):
    """O_PATH: a place, not data."""

    def __init__(self) -> None:
        super().__init__(release=self._release)

    @staticmethod
    def _release(node: inode, filp: file) -> int:
        node.iput()
        return 0


_path_operations = _PathOperations()


def _may_open(task: task_struct, node: inode, flags: int, created: bool) -> None:
    """The checks of may_open: the kind of file, the flags, then permissions."""
    kind = node.i_mode & S_IFMT
    writing = flags & O_ACCMODE != O_RDONLY or flags & O_TRUNC
    if kind == S_IFLNK:
        raise Errno(ENOTDIR if flags & O_DIRECTORY else ELOOP)
    if kind == S_IFDIR:
        if writing or flags & O_CREAT:
            raise Errno(EISDIR)
    elif flags & O_DIRECTORY:
        raise Errno(ENOTDIR)
    if created:
        return
    mask = (MAY_READ, MAY_WRITE, MAY_READ | MAY_WRITE, MAY_READ | MAY_WRITE)[flags & O_ACCMODE]
    if flags & O_TRUNC:
        mask |= MAY_WRITE
    inode_permission(task, node, mask)
    if flags & O_NOATIME and not is_owner_or_capable(task, node):
        raise Errno(EPERM)
    if writing and getattr(node, "deny_write", 0) > 0:
        raise Errno(ETXTBSY)


def dentry_open(kernel: Kernel, task: task_struct, where: dentry, flags: int, created: bool = False) -> file:
    """Open what a dentry stands for (do_dentry_open)."""
    node = where.d_inode
    if flags & O_PATH:
        if flags & O_DIRECTORY and node.i_mode & S_IFMT != S_IFDIR:
            raise Errno(ENOTDIR)
        filp = file(where, flags, _path_operations, where.path())
        filp.f_mode = 0
        node.igrab()
        return filp
    _may_open(task, node, flags, created)
    if not flags & O_LARGEFILE and node.i_mode & S_IFMT == S_IFREG:
        node.getattr()
        if node.i_size > MAX_NON_LFS:  # generic_file_open
            raise Errno(EOVERFLOW)
    filp = file(where, flags, node.i_fop, where.path())
    result = _call_open(kernel, node, filp)
    if result < 0:
        raise Errno(-result)
    if flags & O_DIRECT and not filp.f_mode & FMODE_CAN_ODIRECT:
        filp.put()
        raise Errno(EINVAL)
    filp.f_flags &= ~_OPEN_ONLY  # `open` methods see them, fcntl does not
    if flags & O_TRUNC and not created and node.i_mode & S_IFMT == S_IFREG:
        try:
            node.truncate(0)
        except Errno:
            filp.put()
            raise
    if kernel.fsnotify_watches:
        fsnotify_open(where, bool(flags & O_TRUNC and not created and node.i_mode & S_IFMT == S_IFREG))
    return filp


def _call_open(kernel: Kernel, node: inode, filp: file) -> int:
    kind = node.i_mode & S_IFMT
    if kind == S_IFCHR and not getattr(node, "own_operations", False):
        result: int = kernel.chrdevs.open(node, filp)
        return result
    if kind == S_IFIFO and not getattr(node, "own_operations", False):
        from machine.kernel.fs.pipe import fifo_open

        return fifo_open(kernel, node, filp)
    if kind in (S_IFBLK, S_IFSOCK) and not getattr(node, "own_operations", False):
        return -ENXIO
    return 0 if filp.f_op.open is None else filp.f_op.open(node, filp)


__all__ = [
    "AT_EACCESS", "AT_EMPTY_PATH", "AT_FDCWD", "AT_NO_AUTOMOUNT", "AT_REMOVEDIR", "AT_SYMLINK_FOLLOW",
    "AT_SYMLINK_NOFOLLOW", "MAY_EXEC", "MAY_READ", "MAY_WRITE", "RESOLVE_BENEATH", "RESOLVE_CACHED", "RESOLVE_IN_ROOT",
    "Dentry", "Walk",
    "allow_write_access", "child_dentry", "d_delete", "d_exchange", "d_move", "dentry_open", "deny_write_access",
    "follow_mount", "inode_permission", "is_mounted_on", "is_owner_or_capable", "lookup", "lookup_parent",
    "may_create", "may_delete", "new_name", "open_file",
]  # fmt: skip
