"""The guest's root: read-only trees of the host below a layer in memory (what overlayfs does, fs/overlayfs/).

An inode here is an inode of memory (`tmpfs`) that may have a host object below it.  The inode
stays the same when it is written: "copy-up" only means that its attributes live in the layer from then
on and that changed pages are kept; bytes that nobody wrote are still read from the host.  So a
descriptor, a mapping and a later look-up always mean the same file, and inode numbers never change.

A removed name of the host is a *whiteout* of its directory.  A directory made in the layer has no host
directory below it, which makes it opaque.
"""

from __future__ import annotations

import os
import stat
from collections import OrderedDict
from typing import TYPE_CHECKING, Optional

from machine.kernel.abi.errno import EIO, ENOENT, ENOTDIR, ENXIO, EROFS, ESTALE, Errno
from machine.kernel.fs.file import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, inode
from machine.kernel.fs.hostfs import HostTree, host_error
from machine.kernel.fs.hostperm import drop_set_id, set_id_bits
from machine.kernel.fs.regular import d_type
from machine.kernel.fs.tmpfs import memory_dir, memory_file, memory_inode, memory_special, memory_super, memory_symlink
from machine.kernel.mm.filemap import address_space

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

OVERLAYFS_SUPER_MAGIC = 0x794C7630
MAX_HOST_FDS = 256
"""Host descriptors of regular files that one file system keeps open."""


class overlay_super(memory_super):
    """The layer, and what its host objects share: inode numbers, hard links, open descriptors."""

    __slots__ = ("by_host", "fds", "numbers")

    def __init__(self, kernel: Kernel, s_dev: int) -> None:
        super().__init__(kernel, "overlay", s_dev, OVERLAYFS_SUPER_MAGIC)
        self.numbers: dict[tuple[int, int], int] = {}
        """(host device, host inode number) -> inode number here."""
        self.by_host: dict[tuple[int, int], inode] = {}
        """Host files with several names: each is one inode."""
        self.fds: OrderedDict[HostData, None] = OrderedDict()
        """Open host files, least recently used first."""

    def number_of(self, dev: int, ino: int) -> int:
        """The inode number for a host object: given in the order in which they are seen."""
        number = self.numbers.get((dev, ino))
        if number is None:
            number = self.numbers[dev, ino] = self.new_ino()
        return number


class HostData:
    """The bytes of a regular file of the host; its descriptor is opened when needed."""

    __slots__ = ("fd", "identity", "path", "sb", "set_id", "tree", "write")

    def __init__(self, sb: overlay_super, tree: HostTree, path: str, info: os.stat_result) -> None:
        self.sb = sb
        self.tree = tree
        self.path = path
        self.identity = (info.st_dev, info.st_ino)
        self.write = False
        """Whether the descriptor is for writing, too (``:rw`` binds)."""
        self.fd = -1
        self.set_id = 0
        """The mode of an open program with a set-user-ID bit, else 0."""

    @property
    def host_name(self) -> str:
        """The file's path, from what the user has called the tree."""
        return os.path.join(self.tree.name, self.path)

    def open(self) -> int:
        """The host descriptor.  EIO when the name leads to another file by now."""
        fds = self.sb.fds
        if self.fd >= 0:
            if self in fds:
                fds.move_to_end(self)
            return self.fd
        self._keep(*self._open_host(self.write))
        return self.fd

    def _open_host(self, write: bool) -> tuple[int, os.stat_result]:
        fd, info = self.tree.open_regular(self.path, write)
        if (info.st_dev, info.st_ino) != self.identity:
            os.close(fd)
            raise Errno(EIO)
        return fd, info

    def _keep(self, fd: int, info: os.stat_result) -> None:
        fds = self.sb.fds
        self.fd = fd
        self.set_id = info.st_mode if set_id_bits(info.st_mode) and not self.tree.privileged else 0
        fds[self] = None
        if len(fds) > MAX_HOST_FDS:
            next(iter(fds)).close()

    def make_writable(self) -> None:
        """From now on the descriptor is for writing, too.  The host's errno where it does not let us (EACCES, EPERM,
        EROFS, ETXTBSY)."""
        if self.write:
            return
        if not self.tree.writable:
            raise Errno(EROFS)
        held = self in self.sb.fds or self.fd < 0
        try:
            fd = os.open(f"/proc/self/fd/{self.open()}", os.O_RDWR | os.O_CLOEXEC)  # its name may be gone
            opened = fd, os.fstat(fd)
        except FileNotFoundError:
            opened = self._open_host(True)
        except OSError as failure:
            raise host_error(failure) from None
        self.close()
        self.write = True
        self._keep(*opened)
        if not held:
            self.sb.fds.pop(self, None)

    def leave_off_writing(self, keep: bool) -> None:
        """Nobody writes any more: the descriptor is closed, or (`keep`: somebody reads) for reading only."""
        if not self.write:
            return
        if keep and self.fd >= 0:
            try:
                fd = os.open(f"/proc/self/fd/{self.fd}", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return
            held = self in self.sb.fds
            self.close()
            self._keep(fd, os.fstat(fd))
            if not held:
                self.sb.fds.pop(self, None)
        else:
            self.close()
        self.write = False

    def made(self, fd: int) -> None:
        """`fd` has just made it, and may write it whatever its mode says."""
        self.close()
        self.write = True
        self._keep(fd, os.fstat(fd))

    def open_to_write(self) -> int:
        """The host descriptor for a change of the bytes: it takes set-user-ID bits away."""
        self.make_writable()
        fd = self.open()
        if self.set_id:
            drop_set_id(fd, self.set_id)
            self.set_id = 0
        return fd

    def close(self) -> None:
        """Give the host descriptor back; it can be opened again."""
        if self.fd >= 0:
            self.sb.fds.pop(self, None)
            os.close(self.fd)
            self.fd = -1

    def pread(self, count: int, position: int) -> bytes:
        """Up to `count` bytes: fewer only at the end of the host's file."""
        fd = self.open()
        parts = []
        try:
            while count > 0:
                data = os.pread(fd, count, position)
                if not data:
                    break
                parts.append(data)
                count -= len(data)
                position += len(data)
        except OSError as failure:
            raise host_error(failure) from None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def preadv(self, memory: memoryview, position: int) -> int:
        """The same straight into `memory`; how many bytes came."""
        fd, done = self.open(), 0
        try:
            while done < len(memory):
                count = os.preadv(fd, (memory[done:],), position + done)
                if not count:
                    break
                done += count
        except OSError as failure:
            raise host_error(failure) from None
        return done

    def seek(self, offset: int, whence: int) -> int:
        """Where the host's file has data, or a hole, from `offset` on; -1 where nothing follows."""
        try:
            return os.lseek(self.open(), offset, whence)
        except OSError as failure:
            if failure.errno == ENXIO:
                return -1
            raise host_error(failure) from None

    def pwrite(self, data: bytes, position: int) -> int:
        """Write `data` to the host's file (``:rw`` binds); how much, less than all where the disk is full."""
        fd = self.open_to_write()
        try:
            return os.pwrite(fd, data, position)
        except OSError as failure:
            raise host_error(failure) from None


def take_attributes(node: memory_inode, info: os.stat_result) -> None:
    """Copy owner, mode, times and link count of the host's object."""
    node.i_mode = info.st_mode
    node.i_uid, node.i_gid, node.i_nlink = info.st_uid, info.st_gid, info.st_nlink
    node.i_atime, node.i_mtime, node.i_ctime = info.st_atime_ns, info.st_mtime_ns, info.st_ctime_ns
    node.i_blocks = info.st_blocks


class _lower:
    """The host half of an inode: where it is, and whether the layer has taken it over (`upper`)."""

    tree: Optional[HostTree]
    path: str
    upper: bool

    def host_stat(self) -> Optional[os.stat_result]:
        """The host's object as it is now; None if it is gone."""
        assert self.tree is not None
        return self.tree.try_lstat(self.path)


class overlay_file(memory_file, _lower):
    """A regular file of the host, changed in the layer if at all."""

    i_sb: overlay_super

    def __init__(self, sb: overlay_super, tree: HostTree, path: str, info: os.stat_result) -> None:
        self.tree, self.path, self.upper = tree, path, False
        self.data = HostData(sb, tree, path, info)
        super().__init__(sb, info.st_mode)
        self.i_ino = sb.number_of(info.st_dev, info.st_ino)
        self._refresh(info)

    def _mapping(self, sb: memory_super, backing: object = None) -> address_space:
        return super()._mapping(sb, self.data)

    def _refresh(self, info: os.stat_result) -> None:
        changed = info.st_size != self.i_size or info.st_mtime_ns != self.i_mtime
        take_attributes(self, info)
        if changed:
            self.i_size = info.st_size
            self._invalidate(info.st_size)

    def _invalidate(self, size: int) -> None:
        """The host has changed it.  A program that runs keeps what it has mapped: packages are replaced under it."""
        self.i_mapping.invalidate(size)

    def getattr(self) -> None:
        if self.upper:
            super().getattr()
            return
        info = self.host_stat()
        if info is not None and stat.S_ISREG(info.st_mode):
            if (info.st_dev, info.st_ino) != self.data.identity:
                self.data.close()
                self.data.identity = (info.st_dev, info.st_ino)
            self._refresh(info)

    def opened(self, write: bool = False) -> None:
        """EACCES and others where the host does not let us read it."""
        self.getattr()
        if not self.upper:
            self.data.open()
        super().opened()

    def prepare_change(self) -> None:
        if not self.upper:
            self.getattr()
            self.upper = True

    def touch_atime(self) -> None:
        """Reading leaves no trace on the host, so none is shown."""
        if self.upper:
            super().touch_atime()

    def _free_if_unused(self) -> None:
        super()._free_if_unused()
        if self.i_nlink <= 0 and self.opens <= 0:
            self.data.close()


class overlay_symlink(memory_symlink, _lower):
    """A symbolic link of the host."""

    i_sb: overlay_super

    def __init__(self, sb: overlay_super, tree: HostTree, path: str, info: os.stat_result) -> None:
        super().__init__(sb, tree.readlink(path))
        self.tree, self.path, self.upper = tree, path, False
        self.i_ino = sb.number_of(info.st_dev, info.st_ino)
        take_attributes(self, info)

    def prepare_change(self) -> None:
        self.upper = True


class overlay_special(memory_special, _lower):
    """A FIFO, socket or device node that the host has: here it is the guest's own, of the same name."""

    i_sb: overlay_super

    def __init__(self, sb: overlay_super, tree: HostTree, path: str, info: os.stat_result) -> None:
        super().__init__(sb, info.st_mode, info.st_rdev)
        self.tree, self.path, self.upper = tree, path, False
        self.i_ino = sb.number_of(info.st_dev, info.st_ino)
        take_attributes(self, info)

    def prepare_change(self) -> None:
        self.upper = True


class overlay_dir(memory_dir, _lower):
    """A directory of the layer, with or without a host directory below it."""

    i_sb: overlay_super

    def __init__(
        self, sb: overlay_super, mode: int, tree: Optional[HostTree] = None, path: str = "",
        info: Optional[os.stat_result] = None,
    ) -> None:  # fmt: skip
        super().__init__(sb, mode)
        self.tree, self.path, self.upper = tree, path, tree is None
        self.whiteouts: set[str] = set()
        """Names of the host's directory that are gone here."""
        self.link_change = 0
        if info is not None:
            self.i_ino = sb.number_of(info.st_dev, info.st_ino)
            take_attributes(self, info)
            self.i_size = info.st_size

    def getattr(self) -> None:
        if self.upper:
            super().getattr()
            return
        info = self.host_stat()
        if info is not None:
            take_attributes(self, info)
            self.i_size = info.st_size

    def prepare_change(self) -> None:
        if not self.upper:
            self.getattr()
            self.upper = True

    def touch_atime(self) -> None:
        if self.upper:
            super().touch_atime()

    def below(self, name: str) -> str:
        return f"{self.path}/{name}" if self.path else name

    # -- looking -----------------------------------------------------------------------------------

    def lookup(self, name: str) -> Optional[inode]:
        node = self.children.get(name)
        if node is not None or self.tree is None or name in self.whiteouts:
            return node
        path = self.below(name)
        info = self.tree.try_lstat(path)
        if info is None:
            return None
        node = self._from_host(path, info)
        self.children[name] = node
        return node

    def _from_host(self, path: str, info: os.stat_result) -> inode:
        sb, tree = self.i_sb, self.tree
        assert tree is not None
        kind = stat.S_IFMT(info.st_mode)
        if kind == S_IFDIR:
            return overlay_dir(sb, info.st_mode, tree, path, info)
        if kind == S_IFLNK:
            return overlay_symlink(sb, tree, path, info)
        if info.st_nlink == 1:
            return self._leaf(path, info)
        identity = (info.st_dev, info.st_ino)
        node = sb.by_host.get(identity)
        if node is None:
            node = sb.by_host[identity] = self._leaf(path, info)
        return node

    def _leaf(self, path: str, info: os.stat_result) -> inode:
        assert self.tree is not None
        kind = overlay_file if stat.S_IFMT(info.st_mode) == S_IFREG else overlay_special
        return kind(self.i_sb, self.tree, path, info)

    def list(self) -> list[tuple[str, int, int]]:
        """The layer's entries and the host's, merged; names sorted, as the host's directory order means nothing."""
        entries = {name: (name, node.i_ino, d_type(node.i_mode)) for name, node in self.children.items()}
        if self.tree is not None:
            try:
                below = self.tree.listdir(self.path)
            except Errno as error:
                if error.errno not in (ENOENT, ENOTDIR, ESTALE):
                    raise
                below = []
            dev = self._host_dev() if below else 0
            for name, ino, kind in below:
                if name not in entries and name not in self.whiteouts:
                    entries[name] = (name, self.i_sb.number_of(dev, ino), d_type(kind))
        return [entries[name] for name in sorted(entries)]

    def _host_dev(self) -> int:
        info = self.host_stat()
        return 0 if info is None else info.st_dev

    # -- changing ----------------------------------------------------------------------------------

    def add(self, name: str, node: inode) -> None:
        super().add(name, node)
        self.whiteouts.discard(name)

    def remove(self, name: str) -> inode:
        node = super().remove(name)
        if self.tree is not None:
            self.whiteouts.add(name)
        return node

    def make_dir(self, mode: int) -> memory_dir:
        return overlay_dir(self.i_sb, mode)

    def place(self, name: str, node: inode) -> None:
        """At boot: put a node into the view without leaving a trace in the time stamps."""
        self.children[name] = node
        if isinstance(node, memory_inode):
            node.pristine = True
        if node.i_mode & S_IFMT == S_IFDIR and self.tree is None:
            self.i_nlink += 1


def export_tree(sb: overlay_super, tree: HostTree) -> overlay_dir:
    """The root of a host tree as a directory of the layer.  Errno where it can't be read."""
    info = tree.lstat("")
    return overlay_dir(sb, info.st_mode, tree, "", info)


def is_changed(node: inode) -> bool:
    """Whether the guest made this inode of the layer, or changed the host's."""
    if isinstance(node, _lower) and node.tree is not None:
        return node.upper
    return isinstance(node, memory_inode) and not node.pristine


def host_name(node: inode) -> Optional[str]:
    """Where on the host the bytes of `node` are, for reports and debuggers; None for what is only here."""
    if isinstance(node, _lower) and node.tree is not None:
        return os.path.join(node.tree.name, node.path)
    return None
