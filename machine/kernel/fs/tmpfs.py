"""File systems in memory: /tmp, /dev/shm, /run, and the layer above host trees (mm/shmem.c, fs/ramfs/)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import (
    EEXIST,
    EFBIG,
    EINVAL,
    EISDIR,
    EMLINK,
    ENODATA,
    ENOENT,
    ENOSPC,
    ENOTDIR,
    ENOTEMPTY,
    EPERM,
    Errno,
)
from machine.kernel.abi.stat import kstatfs
from machine.kernel.fs.file import (
    S_IFCHR,
    S_IFDIR,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    file_operations,
    inode,
    super_block,
)
from machine.kernel.fs.regular import (
    F_SEAL_SHRINK,
    MAX_LFS_FILESIZE,
    check_seals,
    d_type,
    directory_operations,
    regular_operations,
)
from machine.kernel.mm.filemap import Backing, address_space

if TYPE_CHECKING:
    from machine.kernel.fs.file import file
    from machine.kernel.kernel import Kernel

TMPFS_MAGIC = 0x01021994
RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
S_ISUID, S_ISGID, S_ISVTX, S_IXGRP = 0o4000, 0o2000, 0o1000, 0o010
LINK_MAX = 65000


class memory_super(super_block):
    """A file system whose data live in frames of the machine; its size is a limit on those frames."""

    __slots__ = ("_next_ino", "files", "kernel", "max_pages", "used_pages")

    def __init__(
        self, kernel: Kernel, s_type: str, s_dev: int, s_magic: int = TMPFS_MAGIC, max_pages: Optional[int] = None
    ) -> None:
        super().__init__(s_type, s_dev, s_magic)
        self.kernel = kernel
        self.max_pages = kernel.mem.total_frames() // 2 if max_pages is None else max_pages
        self.used_pages = 0
        self._next_ino = 1
        self.files: dict[memory_file, None] = {}
        """Regular files that may own frames."""

    def new_ino(self) -> int:
        """The next inode number."""
        number = self._next_ino
        self._next_ino += 1
        return number

    def charge(self, pages: int) -> None:
        """Room for `pages` more; ENOSPC."""
        if self.used_pages + pages > self.max_pages:
            raise Errno(ENOSPC)
        self.used_pages += pages

    def uncharge(self, pages: int) -> None:
        """The pages were freed."""
        self.used_pages -= pages

    def statfs(self) -> kstatfs:
        """Figures of statfs(2), in pages."""
        free = max(0, self.max_pages - self.used_pages)
        return kstatfs(
            self.s_magic, PAGE_SIZE, self.max_pages, free, free, self.max_pages, max(0, free - 1), f_fsid=self.s_dev,
            f_flags=0x20 | (1 if self.read_only else 0),
        )  # fmt: skip


class memory_inode(inode):
    """What all inodes of such a file system share."""

    i_sb: memory_super
    d_caches = True
    """Looking up a name gives the same object every time, so dentries may be kept."""
    i_blocks: int

    def __init__(self, sb: memory_super, mode: int, fop: file_operations, rdev: int = 0) -> None:
        super().__init__(sb, sb.new_ino(), mode, fop, rdev)
        self.i_blocks = 0
        self.i_atime = self.i_mtime = self.i_ctime = sb.kernel.clock.realtime_ns()

    def now(self) -> int:
        """The time for the next time stamp."""
        return self.i_sb.kernel.clock.realtime_ns()

    def prepare_change(self) -> None:
        """Called before anything in the inode changes: a layer takes the attributes over here."""

    def setattr(self, **attributes: int) -> None:
        self.prepare_change()
        for name, value in attributes.items():
            if name == "i_mode":
                value = self.i_mode & S_IFMT | value & 0o7777
            setattr(self, name, value)
        self.i_ctime = self.now()

    def modified(self, kill_suid: bool = False) -> None:
        """Data changed: mtime and ctime; a write by others than root takes setuid away (file_remove_privs)."""
        self.i_mtime = self.i_ctime = self.now()
        if kill_suid and self.i_mode & (S_ISUID | S_ISGID):
            task = self.i_sb.kernel.current
            if task is not None and task.euid:
                drop = S_ISUID | (S_ISGID if self.i_mode & S_IXGRP else 0)
                self.i_mode &= ~drop

    def touch_atime(self) -> None:
        """relatime: only when the old one is not younger than the last change, or a day old (fs/inode.c)."""
        old = self.i_atime
        if old <= self.i_mtime or old <= self.i_ctime:
            self.i_atime = self.now()

    def dropped(self) -> None:
        """A name of it is gone."""
        self.prepare_change()
        self.i_nlink -= 1
        self.i_ctime = self.now()


class memory_file(memory_inode):
    """A regular file in frames."""

    def __init__(self, sb: memory_super, mode: int) -> None:
        super().__init__(sb, mode, regular_operations)
        self.opens = 0
        self.i_mapping: address_space = self._mapping(sb)
        sb.files[self] = None

    def _mapping(self, sb: memory_super, backing: Optional[Backing] = None) -> address_space:
        return address_space(sb.kernel, self, backing, sb)

    def opened(self) -> None:
        """One more open file."""
        self.opens += 1

    def closed(self) -> None:
        """One less; the last one of a file without names frees its pages."""
        self.opens -= 1
        self._free_if_unused()

    def dropped(self) -> None:
        super().dropped()
        self._free_if_unused()

    def _free_if_unused(self) -> None:
        if self.i_nlink <= 0 and self.opens <= 0:
            self.i_mapping.release()
            self.i_sb.files.pop(self, None)

    def getattr(self) -> None:
        self.i_blocks = len(self.i_mapping.pages) * (PAGE_SIZE // 512)

    def prepare_write(self) -> None:
        """The data are about to change."""
        self.prepare_change()

    def truncate(self, length: int) -> None:
        check_seals(self, length)
        if length < self.i_size and getattr(self, "seals", 0) & F_SEAL_SHRINK:
            raise Errno(EPERM)
        if length > MAX_LFS_FILESIZE:
            raise Errno(EFBIG)
        self.prepare_write()
        self.i_mapping.truncate(length)
        self.modified(kill_suid=True)

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        """Mode 0 and KEEP_SIZE allocate, PUNCH_HOLE zeroes (mm/shmem.c: shmem_fallocate)."""
        end = offset + length
        keep, punch = mode & 1, mode & 2
        check_seals(self, self.i_size if keep else end, write=bool(punch))
        self.prepare_write()
        mapping = self.i_mapping
        if punch:
            self._punch(offset, min(end, self.i_size))
        else:
            for index in range(offset >> PAGE_SHIFT, (end + PAGE_SIZE - 1) >> PAGE_SHIFT):
                mapping.find_or_read(index)
            if not keep and end > self.i_size:
                mapping.truncate(end)
        self.modified()

    def _punch(self, offset: int, end: int) -> None:
        first, last = (offset + PAGE_SIZE - 1) >> PAGE_SHIFT, end >> PAGE_SHIFT
        if first > last:
            self.i_mapping.write(offset, bytes(end - offset))
            return
        if offset & (PAGE_SIZE - 1):
            self.i_mapping.write(offset, bytes((first << PAGE_SHIFT) - offset))
        if end & (PAGE_SIZE - 1):
            self.i_mapping.write(last << PAGE_SHIFT, bytes(end - (last << PAGE_SHIFT)))
        if first < last:
            self.i_mapping.punch(first, last)

    def getxattr(self, name: str) -> bytes:
        raise Errno(ENODATA)


class memory_symlink(memory_inode):
    """A symbolic link."""

    def __init__(self, sb: memory_super, target: str) -> None:
        super().__init__(sb, S_IFLNK | 0o777, file_operations())
        self.i_target = target
        self.i_size = len(target.encode("utf-8", "surrogateescape"))

    def readlink(self) -> str:
        return self.i_target


class memory_special(memory_inode):
    """A FIFO, socket or device node."""

    def __init__(self, sb: memory_super, mode: int, rdev: int) -> None:
        super().__init__(sb, mode, file_operations(), rdev)
        self.i_pipe: Any = None


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

    # -- changing -----------------------------------------------------------------------------------

    def _own(self, node: inode) -> None:
        """The creator's user and group, or the group of a setgid directory (inode_init_owner)."""
        task = self.i_sb.kernel.current
        if task is not None:
            node.i_uid, node.i_gid = task.euid, task.egid
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
        node = self.make(mode, rdev)
        self._own(node)
        self.add(name, node)
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
        node = self.make_dir(mode)
        self._own(node)
        self.add(name, node)
        return node

    def symlink(self, name: str, target: str) -> inode:
        self._free_name(name)
        node = memory_symlink(self.i_sb, target)
        self._own(node)
        self.add(name, node)
        return node

    def link(self, name: str, existing: inode) -> None:
        self._free_name(name)
        if existing.i_nlink >= LINK_MAX:
            raise Errno(EMLINK)
        if isinstance(existing, memory_inode):
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

    def getxattr(self, name: str) -> bytes:
        raise Errno(ENODATA)


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
    regular_operations.open(node, opened)
    return opened
