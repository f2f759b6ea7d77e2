"""Inodes that live in frames of the machine: the pieces of tmpfs and of the layer above host trees (mm/shmem.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.capability import CAP_FSETID
from machine.kernel.abi.errno import (
    EEXIST,
    EFBIG,
    ENODATA,
    ENOSPC,
    EOPNOTSUPP,
    EPERM,
    Errno,
)
from machine.kernel.abi.falloc import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE
from machine.kernel.abi.stat import kstatfs
from machine.kernel.capability import capable
from machine.kernel.fs.file import (
    S_IFLNK,
    S_IFMT,
    file_operations,
    inode,
    super_block,
)
from machine.kernel.fs.permission import without_set_id
from machine.kernel.fs.regular import (
    F_SEAL_SHRINK,
    MAX_LFS_FILESIZE,
    check_seals,
    regular_operations,
)
from machine.kernel.mm.filemap import Backing, address_space

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

TMPFS_MAGIC = 0x01021994
XATTR_CREATE, XATTR_REPLACE = 1, 2
S_ISUID, S_ISGID, S_ISVTX = 0o4000, 0o2000, 0o1000


class memory_super(super_block):
    """A file system whose data live in frames of the machine; its size is a limit on those frames, and there is one
    on its inodes, which a name of a file with several counts as too (mm/shmem.c: shmem_reserve_inode)."""

    __slots__ = ("_next_ino", "files", "kernel", "max_inodes", "max_pages", "used_inodes", "used_pages")

    def __init__(
        self, kernel: Kernel, s_type: str, s_dev: int, s_magic: int = TMPFS_MAGIC, max_pages: Optional[int] = None
    ) -> None:
        super().__init__(s_type, s_dev, s_magic)
        self.kernel = kernel
        self.max_pages = kernel.mem.total_frames() // 2 if max_pages is None else max_pages
        self.used_pages = 0
        self.max_inodes = kernel.mem.total_frames() // 2
        """What `nr_inodes` says: by default half the pages of RAM (shmem_default_max_inodes)."""
        self.used_inodes = 1
        """The root's, and those that programs have made."""
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

    def reserve_inode(self) -> None:
        """Room for one more inode or name; ENOSPC."""
        if self.used_inodes >= self.max_inodes:
            raise Errno(ENOSPC)
        self.used_inodes += 1

    def uncharge(self, pages: int) -> None:
        """The pages were freed."""
        self.used_pages -= pages

    def statfs(self) -> kstatfs:
        """Figures of statfs(2), in pages."""
        free = max(0, self.max_pages - self.used_pages)
        return kstatfs(
            self.s_magic, PAGE_SIZE, self.max_pages, free, free, self.max_inodes, self.max_inodes - self.used_inodes,
            f_fsid=self.s_dev, f_flags=0x20 | (1 if self.read_only else 0),
        )  # fmt: skip


class memory_inode(inode):
    """What all inodes of such a file system share."""

    i_sb: memory_super
    d_caches = True
    """Looking up a name gives the same object every time, so dentries may be kept."""
    i_blocks: int
    reserved = 0
    """How many of the file system's inodes it counts for: one for each name that a program gave it, or for the open
    file without one."""
    opens = 0
    """Open files, where their number matters."""

    def __init__(self, sb: memory_super, mode: int, fop: file_operations, rdev: int = 0) -> None:
        super().__init__(sb, sb.new_ino(), mode, fop, rdev)
        self.i_blocks = 0
        self.i_atime = self.i_mtime = self.i_ctime = sb.kernel.clock.realtime_ns()

    pristine = False
    """Made at boot and not changed since: no part of what the guest wrote."""

    def now(self) -> int:
        """The time for the next time stamp."""
        return self.i_sb.kernel.clock.realtime_ns()

    def prepare_change(self) -> None:
        """Called before anything in the inode changes: a layer takes the attributes over here."""
        self.pristine = False

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
            if task is not None and not capable(task, CAP_FSETID):
                self.i_mode = without_set_id(task, self, self.i_gid)

    def touch_atime(self) -> None:
        """relatime: only when the old one is not younger than the last change, or a day old (fs/inode.c)."""
        old = self.i_atime
        if old <= self.i_mtime or old <= self.i_ctime:
            self.i_atime = self.now()

    i_xattrs: Optional[dict[str, bytes]] = None
    """Extended attributes that were set; None while there are none."""

    def xattrs(self) -> list[str]:
        return sorted(self.i_xattrs or ())

    def getxattr(self, name: str) -> bytes:
        if self.i_xattrs is None or name not in self.i_xattrs:
            raise Errno(ENODATA)
        return self.i_xattrs[name]

    def setxattr(self, name: str, data: bytes, flags: int) -> None:
        if name.startswith("system."):
            raise Errno(EOPNOTSUPP)
        known = self.i_xattrs or {}
        if flags & XATTR_CREATE and name in known:
            raise Errno(EEXIST)
        if flags & XATTR_REPLACE and name not in known:
            raise Errno(ENODATA)
        self.prepare_change()
        self.i_xattrs = {**known, name: data}
        self.i_ctime = self.now()

    def removexattr(self, name: str) -> None:
        self.getxattr(name)
        assert self.i_xattrs is not None
        self.prepare_change()
        del self.i_xattrs[name]
        self.i_ctime = self.now()

    def dropped(self) -> None:
        """A name of it is gone."""
        self.prepare_change()
        self.i_nlink -= 1
        self.i_ctime = self.now()
        self.free_reserved()

    def free_reserved(self) -> None:
        """Give back what it counted for and does not any more."""
        needed = self.i_nlink if self.i_nlink > 0 else int(self.opens > 0)
        if self.reserved > needed:
            self.i_sb.used_inodes -= self.reserved - needed
            self.reserved = needed


class memory_file(memory_inode):
    """A regular file in frames."""

    def __init__(self, sb: memory_super, mode: int) -> None:
        super().__init__(sb, mode, regular_operations)
        self.i_mapping: address_space = self._mapping(sb)
        sb.files[self] = None

    def _mapping(self, sb: memory_super, backing: Optional[Backing] = None) -> address_space:
        return address_space(sb.kernel, self, backing, sb)

    def opened(self, write: bool = False) -> None:
        """One more open file."""
        self.opens += 1

    def closed(self) -> None:
        """One less; the last one of a file without names frees its pages."""
        self.opens -= 1
        self._free_if_unused()

    def igrab(self) -> None:
        self.opens += 1

    def iput(self) -> None:
        self.closed()

    def dropped(self) -> None:
        super().dropped()
        self._free_if_unused()

    def _free_if_unused(self) -> None:
        if self.i_nlink <= 0 and self.opens <= 0:
            self.i_mapping.release()
            self.i_sb.files.pop(self, None)
            self.free_reserved()

    def getattr(self) -> None:
        self.i_blocks = (len(self.i_mapping.pages) + len(self.i_mapping.fallocated)) * (PAGE_SIZE // 512)

    def before_read(self) -> None:
        """The data are about to be read or mapped: a file of the host may have been changed there."""

    def prepare_write(self) -> None:
        """The data are about to change."""
        self.prepare_change()

    def file_update_time(self) -> None:
        """First store to a page of a shared mapping: mtime and ctime (mm/memory.c: fault_dirty_shared_page)."""
        if not self.i_mapping.write_through:  # the host's own times change when the page is written there
            self.prepare_write()
            self.modified()

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
        keep, punch = mode & FALLOC_FL_KEEP_SIZE, mode & FALLOC_FL_PUNCH_HOLE
        check_seals(self, self.i_size if punch else end, write=bool(punch))
        self.prepare_write()
        mapping = self.i_mapping
        if punch:
            self._punch(offset, end)
        else:
            first, last = offset >> PAGE_SHIFT, (end + PAGE_SIZE - 1) >> PAGE_SHIFT
            if last - first > self.i_sb.max_pages:
                raise Errno(ENOSPC)
            for index in range(first, last):
                self._reserve(index)
            if not keep and end > self.i_size:
                mapping.truncate(end)
        self.modified()

    def _reserve(self, index: int) -> None:
        """A page that is taken, and a hole until it is used (the folio is not uptodate, says shmem_fallocate)."""
        mapping = self.i_mapping
        if index in mapping.pages or index in mapping.fallocated:
            return
        pfn = mapping.find_or_read(index)
        if index << PAGE_SHIFT >= mapping.backing_size:
            mapping.fallocated[index] = pfn
            del mapping.pages[index]

    def _punch(self, offset: int, end: int) -> None:
        """Whole pages go, parts of pages are zeroed; the size stays, wherever the hole is."""
        first, last = (offset + PAGE_SIZE - 1) >> PAGE_SHIFT, end >> PAGE_SHIFT
        if first > last:
            self._zero(offset, end)
            return
        self._zero(offset, first << PAGE_SHIFT)
        self._zero(last << PAGE_SHIFT, end)
        if first < last:
            self.i_mapping.punch(first, last)

    def _zero(self, start: int, end: int) -> None:
        """Clear a part of one page, if the file has something there."""
        mapping, end = self.i_mapping, min(end, self.i_size)
        if mapping.write_through:  # the host has cleared its own
            mapping.patch_cached(start, bytes(max(0, end - start)))
        elif start < end and (start >> PAGE_SHIFT in mapping.pages or start < mapping.backing_size):
            mapping.write(start, bytes(end - start))


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
