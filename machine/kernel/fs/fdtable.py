"""Descriptor tables and working directories: `files_struct`, `fs_struct` (fs/file.c, fs/fs_struct.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.kernel.abi.errno import EBADF, EINVAL, EMFILE, Errno
from machine.kernel.abi.resource import RLIMIT_NOFILE
from machine.kernel.fs.file import O_PATH, dentry, file

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel


class files_struct:
    """Open files by descriptor.  Tasks made with CLONE_FILES share one (`get`, `put`)."""

    __slots__ = ("_lowest", "cloexec", "fds", "kernel", "users")

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.fds: dict[int, file] = {}
        self.cloexec: set[int] = set()
        """Descriptors that exec closes."""
        self.users = 1
        self._lowest = 0
        """No descriptor below this is free."""

    def get(self) -> files_struct:
        """One more task shares the table."""
        self.users += 1
        return self

    def put(self) -> None:
        """A task has left; the last one closes everything."""
        self.users -= 1
        if self.users == 0:
            self.close_all()

    def fget(self, fd: int) -> file:
        """The open file of `fd`; EBADF for none, and for one that was opened with O_PATH."""
        filp = self.fds.get(fd)
        if filp is None or (not filp.f_mode and filp.f_flags & O_PATH):
            raise Errno(EBADF)
        return filp

    def fget_raw(self, fd: int) -> file:
        """The same, O_PATH files included: for fstat, dup, close and as a starting directory."""
        filp = self.fds.get(fd)
        if filp is None:
            raise Errno(EBADF)
        return filp

    def limit(self) -> int:
        """RLIMIT_NOFILE of the current task."""
        task = self.kernel.current
        most = self.kernel.sysctl["fs/nr_open"]
        return most if task is None else min(most, task.signal.rlimits[RLIMIT_NOFILE][0])

    def free_fd(self, start: int = 0) -> int:
        """The lowest free descriptor from `start`; EMFILE at the limit."""
        fd = max(start, self._lowest)
        fds = self.fds
        while fd in fds:
            fd += 1
        if start <= self._lowest:
            self._lowest = fd
        if fd >= self.limit():
            raise Errno(EMFILE)
        return fd

    def install(self, filp: file, fd: int | None = None, cloexec: bool = False, start: int = 0) -> int:
        """Give `filp` (whose reference moves into the table) a descriptor: `fd`, or the lowest free one."""
        if fd is None:
            fd = self.free_fd(start)
        self.fds[fd] = filp
        if cloexec:
            self.cloexec.add(fd)
        else:
            self.cloexec.discard(fd)
        return fd

    def close(self, fd: int) -> int:
        """Close `fd`: what the file's `flush` says, 0 or a negative errno.  EBADF."""
        filp = self.fds.pop(fd, None)
        if filp is None:
            raise Errno(EBADF)
        self.cloexec.discard(fd)
        if fd < self._lowest:
            self._lowest = fd
        return filp_close(self.kernel, filp, self)

    def dup2(self, old: int, new: int, cloexec: bool = False) -> int:
        """Make `new` mean the file of `old`; EBADF.  `old` == `new` changes nothing."""
        filp = self.fget_raw(old)
        if new < 0 or new >= self.limit():
            raise Errno(EBADF)
        if old == new:
            return new
        replaced = self.fds.get(new)
        self.install(filp.get(), new, cloexec)
        if replaced is not None:
            filp_close(self.kernel, replaced, self)
        return new

    def dup(self, old: int, start: int = 0, cloexec: bool = False) -> int:
        """A second descriptor, the lowest free one from `start` (dup, F_DUPFD).  EINVAL: `start` is too high."""
        filp = self.fget_raw(old)
        if not 0 <= start < self.limit():
            raise Errno(EINVAL)
        fd = self.free_fd(start)
        return self.install(filp.get(), fd, cloexec)

    def copy(self) -> files_struct:
        """A table of its own for a forked child: the same open files."""
        new = files_struct(self.kernel)
        new.fds = {fd: filp.get() for fd, filp in self.fds.items()}
        new.cloexec = set(self.cloexec)
        new._lowest = self._lowest
        return new

    def close_on_exec(self) -> None:
        """exec: close what was marked so."""
        for fd in sorted(self.cloexec):
            self.close(fd)

    def close_range(self, first: int, last: int) -> None:
        """Close every descriptor from `first` to `last`."""
        for fd in sorted(fd for fd in self.fds if first <= fd <= last):
            self.close(fd)

    def close_all(self) -> None:
        """The last user is gone."""
        for fd in sorted(self.fds):
            self.close(fd)


def filp_close(kernel: Kernel, filp: file, owner: files_struct) -> int:
    """Close one descriptor's reference: flush, record locks of the process, then `fput`."""
    result = 0
    if filp.f_op.flush is not None:
        result = filp.f_op.flush(filp) if filp.f_op.owner is None else _flush_driver(kernel, filp)
    node = filp.f_inode
    locks = getattr(node, "i_flock", None)
    if locks and (filp.f_mode or not filp.f_flags & O_PATH):
        locks.remove_posix(owner)
    fput(filp)
    return result


def _flush_driver(kernel: Kernel, filp: file) -> int:
    from machine.kernel.fs.read_write import driver_result
    from machine.kernel.module import call_driver

    assert filp.f_op.flush is not None
    return driver_result(filp, "flush", call_driver(kernel, filp.f_op.owner, "flush", filp.f_op.flush, filp), 0)


def fput(filp: file) -> None:
    """Drop a reference; with the last one go the file's flock and its place in epoll sets."""
    if filp.f_count == 1:
        locks = getattr(filp.f_inode, "i_flock", None)
        if locks:
            locks.remove_file(filp)
    filp.put()


class fs_struct:
    """Root, working directory and umask of a process; shared with CLONE_FS (`get`, `put`)."""

    __slots__ = ("cwd", "root", "umask", "users")

    def __init__(self, root: dentry, cwd: dentry, umask: int = 0o022) -> None:
        self.root = root
        self.cwd = cwd
        self.umask = umask
        self.users = 1

    def get(self) -> fs_struct:
        """One more task shares it."""
        self.users += 1
        return self

    def put(self) -> None:
        """A task has left."""
        self.users -= 1

    def copy(self) -> fs_struct:
        """One of its own for a forked child."""
        return fs_struct(self.root, self.cwd, self.umask)
