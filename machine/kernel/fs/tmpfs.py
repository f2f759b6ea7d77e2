"""File systems in memory: /tmp, /dev/shm, /run, and the layer above host trees (mm/shmem.c, fs/ramfs/)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from machine.kernel.abi.errno import (
    EEXIST,
    EINVAL,
    EISDIR,
    EMLINK,
    ENOENT,
    ENOTDIR,
    ENOTEMPTY,
    Errno,
)
from machine.kernel.fs.file import (
    S_IFCHR,
    S_IFDIR,
    S_IFMT,
    S_IFREG,
    inode,
)
from machine.kernel.fs.memory import (
    S_ISGID,
    TMPFS_MAGIC,
    memory_file,
    memory_inode,
    memory_special,
    memory_super,
    memory_symlink,
)
from machine.kernel.fs.regular import (
    d_type,
    directory_operations,
)

if TYPE_CHECKING:
    from machine.kernel.fs.file import file
    from machine.kernel.kernel import Kernel

RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
LINK_MAX = 65000


class memory_dir(memory_inode):
    """A directory: its entries in `children`, in the order they were made."""

    def __init__(self, sb: memory_super, mode: int) -> None:
        super().__init__(sb, S_IFDIR | mode & 0o7777, directory_operations)
        self.i_nlink = 2
        self.children: dict[str, inode] = {}

    # -- looking -----------------------------------------------------------------------------------

    def lookup(self, name: str) -> Optional[inode]:
        return self.children.get(name)

    def list(self) -> list[tuple[str, int, int]]:
        return [(name, node.i_ino, d_type(node.i_mode)) for name, node in self.children.items()]

    def getattr(self) -> None:
        self.i_size = 40 + 20 * len(self.children)

    def is_empty(self) -> bool:
        """Whether rmdir may remove it."""
        return not self.list()

    # -- changing ----------------------------------------------------------------------------------

    def _own(self, node: inode) -> None:
        """The creator's user and group, or the group of a setgid directory (inode_init_owner)."""
        task = self.i_sb.kernel.current
        if task is not None:
            node.i_uid, node.i_gid = task.fsuid, task.fsgid
        if self.i_mode & S_ISGID:
            node.i_gid = self.i_gid
            if node.i_mode & S_IFMT == S_IFDIR:
                node.i_mode |= S_ISGID

    def add(self, name: str, node: inode) -> None:
        """Enter `node` under a name that is free."""
        if self.i_nlink <= 0:
            raise Errno(ENOENT)
        self.prepare_change()
        self.children[name] = node
        if node.i_mode & S_IFMT == S_IFDIR:
            self.i_nlink += 1
        self.modified()

    def remove(self, name: str) -> inode:
        """Take an entry out, whatever it is; the inode's own link count is the caller's."""
        self.prepare_change()
        node = self.lookup(name)
        if node is None:
            raise Errno(ENOENT)
        self.children.pop(name, None)
        if node.i_mode & S_IFMT == S_IFDIR:
            self.i_nlink -= 1
        self.modified()
        return node

    def _free_name(self, name: str) -> None:
        if self.lookup(name) is not None:
            raise Errno(EEXIST)

    def create(self, name: str, mode: int, rdev: int = 0) -> inode:
        self._free_name(name)
        node = self.make_new(mode, rdev)
        self._own(node)
        self.add(name, node)
        return node

    def make_new(self, mode: int, rdev: int = 0) -> inode:
        """`make` for a program: it counts.  ENOSPC."""
        self.i_sb.reserve_inode()
        node = self.make(mode, rdev)
        node.reserved = 1  # type: ignore[attr-defined]
        return node

    def make(self, mode: int, rdev: int = 0) -> inode:
        """A new inode of this file system without a name (O_TMPFILE gives it none)."""
        if mode & S_IFMT in (0, S_IFREG):
            return memory_file(self.i_sb, S_IFREG | mode & 0o7777)
        return memory_special(self.i_sb, mode, rdev)

    def make_dir(self, mode: int) -> memory_dir:
        """A new directory without a name."""
        return memory_dir(self.i_sb, mode)

    def mkdir(self, name: str, mode: int) -> inode:
        self._free_name(name)
        self.i_sb.reserve_inode()
        node = self.make_dir(mode)
        node.reserved = 1
        self._own(node)
        self.add(name, node)
        return node

    def symlink(self, name: str, target: str) -> inode:
        self._free_name(name)
        self.i_sb.reserve_inode()
        node = memory_symlink(self.i_sb, target)
        node.reserved = 1
        self._own(node)
        self.add(name, node)
        return node

    def link(self, name: str, existing: inode) -> None:
        self._free_name(name)
        if existing.i_nlink >= LINK_MAX:
            raise Errno(EMLINK)
        if isinstance(existing, memory_inode):
            if existing.i_nlink > 0:  # a file of O_TMPFILE counts already
                self.i_sb.reserve_inode()
                existing.reserved += 1
            existing.prepare_change()
        existing.i_nlink += 1
        existing.i_ctime = self.now()
        self.add(name, existing)

    def unlink(self, name: str) -> None:
        node = self.lookup(name)
        if node is None:
            raise Errno(ENOENT)
        if node.i_mode & S_IFMT == S_IFDIR:
            raise Errno(EISDIR)
        self.remove(name)
        node.dropped()  # type: ignore[attr-defined]

    def rmdir(self, name: str) -> None:
        node = self.lookup(name)
        if node is None:
            raise Errno(ENOENT)
        if not isinstance(node, memory_dir):
            raise Errno(ENOTDIR)
        if not node.is_empty():
            raise Errno(ENOTEMPTY)
        self.remove(name)
        node.i_nlink = 0
        node.free_reserved()

    def rename(self, name: str, new_dir: inode, new_name: str, flags: int = 0) -> None:
        """Move an entry; the caller has checked permissions, loops and that both are of one file system."""
        if not isinstance(new_dir, memory_dir) or flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE):
            raise Errno(EINVAL)
        node, target = self.lookup(name), new_dir.lookup(new_name)
        if node is None:
            raise Errno(ENOENT)
        if node is target:
            return
        if flags & RENAME_EXCHANGE:
            if target is None:
                raise Errno(ENOENT)
            self.remove(name)
            new_dir.remove(new_name)
            self.add(name, target)
            new_dir.add(new_name, node)
            return
        if target is not None:
            if flags & RENAME_NOREPLACE:
                raise Errno(EEXIST)
            self._replace(node, new_dir, new_name, target)
        self.remove(name)
        new_dir.add(new_name, node)
        node.i_ctime = self.now()

    @staticmethod
    def _replace(node: inode, new_dir: memory_dir, new_name: str, target: inode) -> None:
        if target.i_mode & S_IFMT == S_IFDIR:
            if node.i_mode & S_IFMT != S_IFDIR:
                raise Errno(EISDIR)
            new_dir.rmdir(new_name)
        else:
            if node.i_mode & S_IFMT == S_IFDIR:
                raise Errno(ENOTDIR)
            new_dir.unlink(new_name)


class devtmpfs_dir(memory_dir):
    """/dev: a file system in memory where drivers make their nodes."""

    def mknod(self, name: str, mode: int, dev: int) -> inode:
        """The node `name` (a path below /dev) for a device; one of the same name is replaced.

        `mode` has the permission bits and S_IFCHR or S_IFBLK (no type: a character device).
        """
        directory, leaf = self.parent_of(name)
        old = directory.lookup(leaf)
        if old is not None:
            directory.unlink(leaf)
        node = memory_special(self.i_sb, mode if mode & S_IFMT else S_IFCHR | mode, dev)
        directory.add(leaf, node)
        return node

    def remove_node(self, name: str) -> None:
        """The driver is gone: so is its node, if it is still there."""
        directory, leaf = self.parent_of(name)
        if directory.lookup(leaf) is not None:
            directory.unlink(leaf)

    def make_link(self, name: str, target: str) -> None:
        """A symbolic link `name` (a path below /dev) unless there is one."""
        directory, leaf = self.parent_of(name)
        if directory.lookup(leaf) is None:
            directory.add(leaf, memory_symlink(self.i_sb, target))

    def parent_of(self, name: str) -> tuple[memory_dir, str]:
        """The directory that holds `name`, made if need be, and the last component."""
        *above, leaf = name.strip("/").split("/")
        here: memory_dir = self
        for part in above:
            below = here.lookup(part)
            if below is None:
                below = memory_dir(self.i_sb, 0o755)
                here.add(part, below)
            if not isinstance(below, memory_dir):
                raise Errno(ENOTDIR)
            here = below
        return here, leaf


def tmpfs_root(kernel: Kernel, dev: int, mode: int = 0o1777, s_type: str = "tmpfs") -> memory_dir:
    """The root directory of a new tmpfs of at most half of the machine's memory."""
    return memory_dir(memory_super(kernel, s_type, dev), mode)


def shmem_file_setup(kernel: Kernel, name: str, size: int, flags: int = 2) -> file:
    """An unlinked file of `size` bytes in memory (mm/shmem.c: shmem_file_setup).

    It is shown as ``/name (deleted)``; `flags` are those of open, O_RDWR by default.
    """
    from machine.kernel.fs.file import file as open_file
    from machine.kernel.fs.namei import Dentry

    vfs = kernel.vfs
    sb = vfs.shmem
    if sb is None:
        sb = vfs.shmem = memory_super(kernel, "tmpfs", vfs.new_dev(), max_pages=1 << 40)
        vfs.track(sb)
    node = memory_file(sb, S_IFREG | 0o777)
    node.i_nlink = 0
    node.i_size = size
    fullname = f"/{name} (deleted)"
    opened = open_file(Dentry(node, name, None, fullname), flags, node.i_fop, fullname)
    node.opened()  # and no FMODE_WRITER: a memfd can be executed while it is open for writing (alloc_file_pseudo)
    return opened


__all__ = [
    "RENAME_EXCHANGE", "RENAME_NOREPLACE", "RENAME_WHITEOUT", "TMPFS_MAGIC", "devtmpfs_dir", "memory_dir",
    "memory_file", "memory_inode", "memory_special", "memory_super", "memory_symlink", "shmem_file_setup", "tmpfs_root",
]  # fmt: skip
