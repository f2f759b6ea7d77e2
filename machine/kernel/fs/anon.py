"""Inodes and files without a place in the tree: pipes, eventfds, epoll sets, host descriptors (fs/anon_inodes.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.kernel.abi.errno import ENXIO
from machine.kernel.abi.stat import kstatfs
from machine.kernel.fs.file import MKDEV, file, file_operations, inode, super_block
from machine.kernel.fs.namei import Dentry

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

ANON_INODE_FS_MAGIC, PIPEFS_MAGIC, SOCKFS_MAGIC = 0x09041934, 0x50495045, 0x534F434B
_PAGE = 4096


class StreamOperations(file_operations):
    """Of files without positions that allow lseek(2) all the same."""

    stream = True
    noop_seek = True

    def llseek(self, filp: file, offset: int, whence: int) -> int:
        """noop_llseek: the position stays."""
        return filp.f_pos


class internal_super(super_block):
    """A file system that is never mounted."""

    __slots__ = ("next_ino",)

    def __init__(self, s_type: str, s_dev: int, s_magic: int) -> None:
        super().__init__(s_type, s_dev, s_magic)
        self.next_ino = 1

    def statfs(self) -> kstatfs:
        """simple_statfs: nothing but the kind and the longest name."""
        return kstatfs(self.s_magic, _PAGE, 0, 0, 0, 0, 0)


def internal_fs(kernel: Kernel, s_type: str) -> internal_super:
    """The kernel's own file system of that name (``pipefs``, ``anon_inodefs``), made on first use."""
    known = kernel.vfs.internal_mounts.get(s_type)
    if known is None:
        magic = {"pipefs": PIPEFS_MAGIC, "sockfs": SOCKFS_MAGIC}.get(s_type, ANON_INODE_FS_MAGIC)
        known = internal_super(s_type, MKDEV(0, 64 + len(kernel.vfs.internal_mounts)), magic)
        kernel.vfs.internal_mounts[s_type] = known
    assert isinstance(known, internal_super)
    return known


class anon_inode(inode):
    """An inode that opens as itself: through /proc/PID/fd its own operations are used again."""

    own_operations = True
    """Opening it does not go by its number (character device) or kind (FIFO)."""

    def __init__(self, kernel: Kernel, mode: int, fop: file_operations, s_type: str = "anon_inodefs") -> None:
        sb = internal_fs(kernel, s_type)
        super().__init__(sb, sb.next_ino, mode, fop)
        sb.next_ino += 1
        self.i_blocks = 0
        self.i_atime = self.i_mtime = self.i_ctime = kernel.clock.realtime_ns()

    def setattr(self, **attributes: int) -> None:
        for name, value in attributes.items():
            setattr(self, name, self.i_mode & 0o170000 | value & 0o7777 if name == "i_mode" else value)


def no_open(node: inode, filp: file) -> int:
    """The `open` method of what can't be opened a second time: -ENXIO (fs/anon_inodes.c)."""
    return -ENXIO


def anon_file(kernel: Kernel, name: str, fop: file_operations, flags: int, mode: int = 0o600) -> file:
    """An open file like ``anon_inode:[eventfd]`` (anon_inode_getfile); `name` comes without its prefix."""
    node = anon_inode(kernel, mode, fop)
    fullname = f"anon_inode:{name}"
    return file(Dentry(node, fullname, None, fullname), flags, fop, fullname)
