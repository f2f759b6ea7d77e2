"""``--bind HOST:GUEST``: a file or directory of the host at a place of the guest's tree.

With ``:rw`` the guest's changes are made on the host, at once: names, attributes and data.  What a shared
mapping wrote goes there with msync, fsync, the end of the mapping or of the machine.  Without it the mount
is read-only (EROFS).

Whoever runs the machine, root included, the guest has no more rights on the host than a user without privileges:
set-user-ID bits, other owners and device nodes are EPERM, and writing takes set-user-ID bits away (hostperm.py).
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.abi.errno import EIO, ENOENT, EOPNOTSUPP, EPERM, EXDEV, Errno
from machine.kernel.abi.falloc import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE
from machine.kernel.fs.file import S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, inode
from machine.kernel.fs.hostattr import TIMES, is_object, passed_through
from machine.kernel.fs.hostfs import HostTree, host_error, host_fallocate
from machine.kernel.fs.hostperm import check_mode, check_owner
from machine.kernel.fs.overlay import (
    HostData,
    overlay_dir,
    overlay_file,
    overlay_special,
    overlay_super,
    overlay_symlink,
    take_attributes,
)
from machine.kernel.fs.tmpfs import memory_super
from machine.kernel.mm.filemap import address_space

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel


class bind_super(overlay_super):
    """A bind mount: no layer of its own."""

    __slots__ = ()

    def __init__(self, kernel: Kernel, s_dev: int, writable: bool) -> None:
        super().__init__(kernel, s_dev)
        self.s_type = "bind"
        self.s_magic = 0xEF53  # what programs expect of a disk (EXT4_SUPER_MAGIC)
        self.read_only = not writable


def _leaf(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _refresh(node: Any) -> None:
    """Attributes as the host has them now, while the name is there and its own: the host gives numbers again."""
    info = None if node.gone else node.host_stat()
    if info is not None and is_object(node, info):
        take_attributes(node, info)


class bind_file(passed_through, overlay_file):
    """A regular file, written through."""

    def _mapping(self, sb: memory_super, backing: object = None) -> address_space:
        return address_space(sb.kernel, self, self.data, None, write_through=True)

    def opened(self, write: bool = False) -> None:
        """It is opened for writing on the host while somebody here has it open so: the host refuses that for a program
        that runs, and to run it meanwhile (ETXTBSY)."""
        self.getattr()
        if write:
            self.data.make_writable()
        super().opened()

    def closed(self) -> None:
        super().closed()
        self.give_back()

    def give_back(self) -> None:
        """Where nobody has it open for writing, nobody has on the host."""
        if self.data.write and getattr(self, "writers", 0) <= 0:
            if self.opens > 0:
                with suppress(Errno):
                    self.i_mapping.writeback()
            self.data.leave_off_writing(self.opens > 0)

    def modified(self, kill_suid: bool = False) -> None:
        """The change was ours: what is cached is right."""
        info = os.fstat(self.data.fd) if self.data.fd >= 0 else self.host_stat()
        if info is not None and is_object(self, info):
            take_attributes(self, info)
            self.i_size = info.st_size

    def before_read(self) -> None:
        if self.data.fd >= 0:
            info = os.fstat(self.data.fd)
            if info.st_mtime_ns == self.i_mtime and info.st_size == self.i_size:
                return
        self.getattr()

    def prepare_write(self) -> None:
        self.before_read()

    def _invalidate(self, size: int) -> None:
        self.i_mapping.invalidate_mapped(size)

    def getattr(self) -> None:
        """The size here is never behind what a mapping or a write has just made it.  A file that nobody has open may
        have been replaced on the host, as compilers and package managers do; one that is open stays what it is."""
        if self.opens > 0 and self.data.fd >= 0:
            info: Optional[os.stat_result] = os.fstat(self.data.fd)
        else:
            info = None if self.gone else self.host_stat()
        if info is None or not stat.S_ISREG(info.st_mode):
            return
        if self.opens <= 0 and (info.st_dev, info.st_ino) != self.data.identity:
            self.data.close()
            self.data.identity = (info.st_dev, info.st_ino)
        if (info.st_dev, info.st_ino) == self.data.identity:
            self._refresh(info)

    def truncate(self, length: int) -> None:
        fd = self.data.open_to_write()
        try:
            os.ftruncate(fd, length)
        except OSError as failure:
            raise host_error(failure) from None
        self.i_mapping.truncate(length)
        self.give_back()
        self.getattr()

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        """The host's call, with its errors; of a hole the pages that are here go, and their parts at its edges are
        cleared."""
        host_fallocate(self.data.open_to_write(), mode, offset, length)
        if mode & FALLOC_FL_PUNCH_HOLE:
            self._punch(offset, offset + length)
        if not mode & FALLOC_FL_KEEP_SIZE and offset + length > self.i_size:
            self.i_mapping.truncate(offset + length)
        self.getattr()

    def dropped(self) -> None:
        super().dropped()
        self._free_if_unused()

    def _free_if_unused(self) -> None:
        if self.opens <= 0:
            with suppress(Errno):  # close and exit don't fail of it: fsync, syncfs and the end of the machine say so
                self.i_mapping.writeback()
        super()._free_if_unused()


class bind_symlink(passed_through, overlay_symlink):
    """A symbolic link of the host, for the guest's walk to follow inside the guest."""

    def getattr(self) -> None:
        _refresh(self)

    def setattr(self, **attributes: int) -> None:
        """Owner and times of the link itself; it has no permissions to change."""
        if "i_mode" in attributes:
            raise Errno(EOPNOTSUPP)
        leaf = _leaf(self.path)
        assert self.tree is not None
        with self.tree.handle(self.path.rpartition("/")[0], os.O_DIRECTORY) as above:
            if "i_uid" in attributes or "i_gid" in attributes:
                owner = attributes.get("i_uid", -1), attributes.get("i_gid", -1)
                if not self.tree.privileged:
                    check_owner(os.stat(leaf, dir_fd=above, follow_symlinks=False), *owner)
                os.chown(leaf, *owner, dir_fd=above, follow_symlinks=False)
            if any(name in attributes for name in TIMES):
                times = attributes.get("i_atime", self.i_atime), attributes.get("i_mtime", self.i_mtime)
                os.utime(leaf, ns=times, dir_fd=above, follow_symlinks=False)
        self.getattr()


class bind_special(passed_through, overlay_special):
    """A FIFO or socket: the name is the host's, what flows through it is the guest's."""

    def getattr(self) -> None:
        _refresh(self)


class bind_dir(passed_through, overlay_dir):
    """A directory whose names are made and removed on the host."""

    tree: HostTree  # a bind's directory always has one

    def _from_host(self, path: str, info: os.stat_result) -> inode:
        kind = stat.S_IFMT(info.st_mode)
        sb, tree = self.i_sb, self.tree
        if kind == S_IFDIR:
            return bind_dir(sb, info.st_mode, tree, path, info)
        if kind == S_IFLNK:
            return bind_symlink(sb, tree, path, info)
        identity = (info.st_dev, info.st_ino)
        node: Any = sb.by_host.get(identity)
        if node is not None and (node.gone or node.i_nlink <= 0 or node.i_mode & S_IFMT != kind):
            del sb.by_host[identity]  # it is gone: the host has given its number to another
            node = None
        if node is not None:
            _must_be_known_by(node, path, identity)
        if node is None:
            node = (bind_file if kind == S_IFREG else bind_special)(sb, tree, path, info)
            if info.st_nlink > 1:
                sb.by_host[identity] = node
        found: inode = node
        return found

    def lookup(self, name: str) -> Optional[inode]:
        """Looked up on the host every time: others may change it too.  An unchanged object is the same inode."""
        path = self.below(name)
        info = self.tree.try_lstat(path)
        known = self.children.get(name)
        if info is None:
            self.children.pop(name, None)
            return None
        if known is not None and self._unchanged(known, info):
            _must_be_known_by(known, path, (info.st_dev, info.st_ino))
            return known
        node = self.children[name] = self._from_host(path, info)
        return node

    def _unchanged(self, known: inode, info: os.stat_result) -> bool:
        """A link that was made anew may have the number of the one before, and leads elsewhere."""
        if known.i_ino != self.i_sb.number_of(info.st_dev, info.st_ino):
            return False
        return not isinstance(known, bind_symlink) or known.i_ctime == info.st_ctime_ns

    def list(self) -> list[tuple[str, int, int]]:
        self.children = {name: node for name, node in self.children.items() if self.tree.try_lstat(self.below(name))}
        return super().list()

    def at(self, directory: bind_dir) -> int:
        """A host descriptor of a directory, for the calls that take a name in it."""
        return self.tree.open(directory.path, os.O_PATH | os.O_DIRECTORY)

    def on_host(self, name: str, action: Any) -> Optional[inode]:
        """Do `action(dir_fd)`, then forget what was known of `name` and look again."""
        fd = self.at(self)
        try:
            action(fd)
        except OSError as failure:
            raise host_error(failure) from None
        finally:
            os.close(fd)
        self.children.pop(name, None)
        return self.lookup(name)

    def create(self, name: str, mode: int, rdev: int = 0) -> inode:
        kind = mode & S_IFMT
        if not self.tree.privileged:
            check_mode(mode)
        if kind in (0, S_IFREG):
            path = self.below(name)
            fd = self.tree.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode & 0o7777)
            os.fchmod(fd, mode & 0o7777)  # the guest's umask counts, not ours
            self.children.pop(name, None)
            made = self.lookup(name)
            info = os.fstat(fd)
            if not isinstance(made, bind_file) or not is_object(made, info):  # the host has taken the name
                made = bind_file(self.i_sb, self.tree, path, info)
            made.data.made(fd)
        elif kind == S_IFIFO:
            made = self._make(name, mode, lambda fd: os.mkfifo(name, mode & 0o7777, dir_fd=fd))
        elif kind == stat.S_IFSOCK:
            made = self._make(name, mode, lambda fd: os.mknod(name, mode, dir_fd=fd))
        else:
            raise Errno(EPERM)
        return self._must(made)

    @staticmethod
    def _must(made: Optional[inode]) -> inode:
        if made is None:
            raise Errno(EIO)
        return made

    def mkdir(self, name: str, mode: int) -> inode:
        return self._must(self._make(name, mode, lambda fd: os.mkdir(name, mode & 0o7777, dir_fd=fd)))

    def _make(self, name: str, mode: int, action: Any) -> Optional[inode]:
        """Like `on_host`, and the new object has the guest's mode: it counts the guest's umask, not ours."""
        made = self.on_host(name, action)
        if made is not None and made.i_mode & 0o7777 & ~0o2000 != mode & 0o7777:
            made.setattr(i_mode=made.i_mode & S_IFMT | mode & 0o7777 | made.i_mode & 0o2000)
        return made

    def symlink(self, name: str, target: str) -> inode:
        return self._must(self.on_host(name, lambda fd: os.symlink(target, name, dir_fd=fd)))

    def link(self, name: str, existing: inode) -> None:
        if not isinstance(existing, (bind_file, bind_symlink, bind_special)) or existing.tree is not self.tree:
            raise Errno(EXDEV)
        there = existing.host_stat()
        if there is None or not is_object(existing, there):
            raise Errno(ENOENT)
        source, leaf = self._parent(existing.path), _leaf(existing.path)
        try:
            self.on_host(name, lambda fd: os.link(leaf, name, src_dir_fd=source, dst_dir_fd=fd, follow_symlinks=False))
        finally:
            os.close(source)
        if isinstance(existing, bind_file):
            self.i_sb.by_host[existing.data.identity] = existing
        self.children[name] = existing
        existing.getattr()

    def _parent(self, path: str) -> int:
        return self.tree.open(path.rpartition("/")[0], os.O_PATH | os.O_DIRECTORY)

    def unlink(self, name: str) -> None:
        node = self.lookup(name)
        if isinstance(node, bind_file):
            self.keep_data(node)
        self.on_host(name, lambda fd: os.unlink(name, dir_fd=fd))
        if node is not None:
            node.dropped()  # type: ignore[attr-defined]

    @staticmethod
    def keep_data(node: bind_file) -> None:
        """A file that is open stays usable: hold its descriptor, the name will be gone."""
        if node.opens > 0:
            with suppress(Errno):  # one that O_PATH names need not be one that we can read
                node.data.open()
            node.i_sb.fds.pop(node.data, None)

    def rmdir(self, name: str) -> None:
        node = self.lookup(name)
        self.on_host(name, lambda fd: os.rmdir(name, dir_fd=fd))
        removed(node)

    def rename(self, name: str, new_dir: inode, new_name: str, flags: int = 0) -> None:
        """rename(2) on the host, inside the same tree (hostrename.py)."""
        from machine.kernel.fs.hostrename import rename

        rename(self, name, new_dir, new_name, flags)


def _must_be_known_by(node: Any, path: str, identity: tuple[int, int]) -> None:
    """An object that has just been found at `path`: the name that it was known by may be gone."""
    if node.path != path:
        there = node.host_stat()
        if there is None or (there.st_dev, there.st_ino) != identity:
            moved(node, path)


def moved(node: inode, path: str) -> None:
    """The inode has another place on the host now, and so has everything known below it."""
    below: list[tuple[inode, str]] = [(node, path)]
    while below:
        node, path = below.pop()
        node.path = path  # type: ignore[attr-defined]
        if isinstance(node, bind_file):
            node.data.path = path
        elif isinstance(node, bind_dir):
            below += [(child, f"{path}/{name}") for name, child in node.children.items()]


def removed(node: Optional[inode]) -> None:
    """A directory has gone from the host; who has it open keeps an empty one."""
    if isinstance(node, bind_dir):
        node.upper, node.i_nlink, node.i_size = True, 0, 0


def bind_root(
    kernel: Kernel, s_dev: int, host: str, writable: bool, force_fallback: bool = False
) -> tuple[inode, HostTree]:
    """The inode to be mounted for the host's `host` (a file or a directory), and its tree.

    OSError where the host has no such path.
    """
    sb = bind_super(kernel, s_dev, writable)
    host = os.path.realpath(host)
    if os.path.isdir(host):
        tree = HostTree(host, writable, force_fallback)
        info = tree.lstat("")
        return bind_dir(sb, info.st_mode, tree, "", info), tree
    tree = HostTree(os.path.dirname(host), writable, force_fallback)
    name = os.path.basename(host)
    info = tree.lstat(name)
    kind = bind_file if stat.S_ISREG(info.st_mode) else bind_special
    return kind(sb, tree, name, info), tree


__all__ = ["HostData", "bind_root"]
