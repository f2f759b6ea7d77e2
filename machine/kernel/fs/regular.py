"""The operations of regular files and directories that a file system keeps in memory or on the host."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Optional

from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import EFBIG, EINVAL, ENXIO, EPERM, Errno
from machine.kernel.abi.resource import RLIMIT_FSIZE
from machine.kernel.abi.stat import MAX_NON_LFS
from machine.kernel.fs.file import (
    FMODE_CAN_ODIRECT,
    FMODE_WRITE,
    FMODE_WRITER,
    O_APPEND,
    O_NOATIME,
    S_IFMT,
    file,
    file_operations,
)
from machine.kernel.mm.filemap import F_SEAL_FUTURE_WRITE, F_SEAL_WRITE, generic_file_mmap

if TYPE_CHECKING:
    from machine.kernel.mm.space import mm_struct

SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE = 0, 1, 2, 3, 4
MAX_LFS_FILESIZE = (1 << 63) - 1
F_SEAL_SHRINK, F_SEAL_GROW = 0x2, 0x4

_KIND_TO_DTYPE = {0o010000: 1, 0o020000: 2, 0o040000: 4, 0o060000: 6, 0o100000: 8, 0o120000: 10, 0o140000: 12}


def d_type(mode: int) -> int:
    """DT_* for the type bits of `mode`; DT_UNKNOWN (0) for none."""
    return _KIND_TO_DTYPE.get(mode & S_IFMT, 0)


class RegularOperations(file_operations):
    """Reads and writes go through the page cache (mm/filemap.c: generic_file_read_iter and friends)."""

    def __init__(self) -> None:
        super().__init__(mmap=generic_file_mmap)

    def open(self, node: Any, filp: file) -> int:
        node.opened(bool(filp.f_mode & FMODE_WRITE))
        filp.f_mode |= FMODE_CAN_ODIRECT
        if filp.f_mode & FMODE_WRITE:
            node.writers = getattr(node, "writers", 0) + 1
            filp.f_mode |= FMODE_WRITER
        return 0

    def release(self, node: Any, filp: file) -> int:
        if filp.f_mode & FMODE_WRITER:
            node.writers -= 1
        node.closed()
        return 0

    def read_iter(self, filp: file, count: int, position: int) -> bytes:
        node: Any = filp.f_inode
        node.before_read()
        data: bytes = node.i_mapping.read(position, count)
        if not filp.f_flags & O_NOATIME:
            node.touch_atime()
        return data

    def read_at_once(self, filp: file, mm: mm_struct, address: int, count: int) -> Optional[int]:
        """From the page cache or the host: neither sleeps, and no frame is needed."""
        done = self.pread_at_once(filp, mm, address, count, filp.f_pos)
        if done is not None:
            filp.f_pos += done
        return done

    def pread_at_once(self, filp: file, mm: mm_struct, address: int, count: int, position: int) -> Optional[int]:
        """The same from `position`."""
        if not 0 < count <= PAGE_SIZE or position > MAX_NON_LFS:
            return None
        where = mm.room_at_once(address, count)
        return None if where == -1 else mm.put_at_once(where, address, self.read_iter(filp, count, position))

    def write_iter(self, filp: file, data: bytes, position: int) -> int:
        """Nothing changes, neither size nor time, where nothing is written (mm/filemap.c: generic_write_checks)."""
        node: Any = filp.f_inode
        if not data:
            return 0
        check_seals(node, position + len(data), write=True)
        if position + len(data) > MAX_LFS_FILESIZE:
            raise Errno(EFBIG)
        node.prepare_write()
        done: int = node.i_mapping.write(position, data)
        node.modified(kill_suid=True)
        return done

    def write_at_once(self, filp: file, mm: mm_struct, address: int, count: int) -> Optional[int]:
        """Into one page that is in the cache and counted already, below every limit."""
        position = filp.f_inode.i_size if filp.f_flags & O_APPEND else filp.f_pos
        done = self.pwrite_at_once(filp, mm, address, count, position)
        if done is not None:
            filp.f_pos = position + done
        return done

    def pwrite_at_once(self, filp: file, mm: mm_struct, address: int, count: int, position: int) -> Optional[int]:
        """The same at `position`."""
        node: Any = filp.f_inode
        mapping = node.i_mapping
        index, end = position >> PAGE_SHIFT, position + count
        if not count or end > (index + 1) << PAGE_SHIFT or end > MAX_NON_LFS or not mapping.writable_at_once(index):
            return None
        if end > mapping.kernel.current.signal.rlimits[RLIMIT_FSIZE][0]:
            return None
        data = mm.take_at_once(address, count)
        return None if data is None else self.write_iter(filp, data, position)

    def llseek(self, filp: file, offset: int, whence: int) -> int:
        """SEEK_DATA and SEEK_HOLE too: ENXIO beyond the end (mm/shmem.c: shmem_file_llseek)."""
        node = filp.f_inode
        if whence in (SEEK_DATA, SEEK_HOLE):
            if not 0 <= offset < node.i_size:
                return -ENXIO
            offset = _next_hole_or_data(node, offset, whence)
            if offset < 0:
                return -ENXIO
        elif whence == SEEK_CUR:
            offset += filp.f_pos
        elif whence == SEEK_END:
            node.getattr()
            offset += node.i_size
        elif whence != SEEK_SET:
            return -EINVAL
        if not 0 <= offset <= MAX_LFS_FILESIZE:
            return -EINVAL
        filp.f_pos = offset
        return offset

    def fsync(self, filp: file, datasync: int) -> int:
        filp.f_inode.i_mapping.writeback()
        return 0


def check_seals(node: Any, end: int, write: bool = False) -> None:
    """EPERM where a seal of a memfd forbids writing, or growing to `end`."""
    seals = getattr(node, "seals", 0)
    if seals and (
        (write and seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) or (seals & F_SEAL_GROW and end > node.i_size)
    ):
        raise Errno(EPERM)


def _next_hole_or_data(node: Any, offset: int, whence: int) -> int:
    """Pages that exist here alone are data; below them the host's file says.  -1 when no data follows."""
    mapping = node.i_mapping
    if mapping.write_through:
        with suppress(Errno):
            mapping.writeback()  # the host knows everything then
    return _next_data(mapping, node.i_size, offset) if whence == SEEK_DATA else _next_hole(mapping, node.i_size, offset)


def _own(mapping: Any, index: int) -> bool:
    """Whether a page is not just a copy of the host's."""
    return index in mapping.pages and (index << PAGE_SHIFT >= mapping.backing_size or index in mapping.dirty)


def _next_data(mapping: Any, size: int, offset: int) -> int:
    found = [
        max(offset, index << PAGE_SHIFT)
        for index in mapping.pages
        if index >= offset >> PAGE_SHIFT and index << PAGE_SHIFT < size and _own(mapping, index)
    ]
    if offset < mapping.backing_size:
        below = mapping.backing.seek(offset, SEEK_DATA)
        if 0 <= below < mapping.backing_size:
            found.append(below)
    return min(found) if found else -1


def _next_hole(mapping: Any, size: int, offset: int) -> int:
    while offset < size:
        if _own(mapping, offset >> PAGE_SHIFT):
            offset = ((offset >> PAGE_SHIFT) + 1) << PAGE_SHIFT
            continue
        below = mapping.backing.seek(offset, SEEK_HOLE) if offset < mapping.backing_size else offset
        if below <= offset:  # in a hole; or, with -1, the host's file is shorter by now
            return offset
        offset = min(below, mapping.backing_size)
    return size


class DirectoryOperations(file_operations):
    """Reading a directory is `iterate`; `read` on it is EISDIR (the system call says so)."""

    def iterate(self, filp: file) -> list[tuple[str, int, int]]:
        node = filp.f_inode
        parent = filp.f_dentry.d_parent
        above = node.i_ino if parent is None else parent.d_inode.i_ino
        return [(".", node.i_ino, 4), ("..", above, 4), *node.list()]

    def fsync(self, filp: file, datasync: int) -> int:
        return 0


regular_operations = RegularOperations()
directory_operations = DirectoryOperations()
