"""The one door to the host's files.

Every host path that the machine uses is opened by `HostTree.open`, and by nothing else.  A tree is
one exported directory; paths are relative to it, and the guest's own path walk has already dealt with
``..`` and with symbolic links, so here both are refused outright: whatever the host's directory
contains or turns into while we look (a link out of the tree, a link of /proc), nothing outside the
tree can be reached.

Where the host has openat2(2), the host's kernel enforces this
(``RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS``); elsewhere the path is opened one
component at a time with O_NOFOLLOW, each relative to the descriptor of the one before.

A tree is read-only unless it was made `writable` (a ``:rw`` bind): EROFS for everything else.
"""

from __future__ import annotations

import ctypes
import errno as host_errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Optional

from machine.kernel.abi.errno import (
    EACCES,
    EINVAL,
    EIO,
    ELOOP,
    EMFILE,
    ENFILE,
    ENOENT,
    EPERM,
    EROFS,
    ESTALE,
    EXDEV,
    Errno,
)

_SYS_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_IN_ROOT = 0x02, 0x04, 0x10
_RESOLVE = _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS | _RESOLVE_NO_SYMLINKS
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_ALWAYS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY | os.O_NONBLOCK
"""A device or FIFO that appears under a name is never waited for and becomes no terminal of ours."""


_PATH_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""What openat2 allows beside O_PATH."""


class _open_how(ctypes.Structure):
    """`struct open_how` (linux/openat2.h)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(_open_how), ctypes.c_size_t)


def host_error(failure: OSError) -> Errno:
    """The guest's error for a failed call of the host: the same number.

    What only says that *we* lack something (descriptors) becomes EIO.
    """
    number = failure.errno or EIO
    return Errno(EIO if number in (EMFILE, ENFILE, ESTALE) else number)


def host_fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    """fallocate(2) of the host, which Python has for mode 0 only."""
    import ctypes

    call = ctypes.CDLL(None, use_errno=True).fallocate64
    call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    if call(fd, mode, offset, length):
        raise Errno(ctypes.get_errno())


def host_rename(old_dir: int, old: str, new_dir: int, new: str, exchange: bool) -> None:
    """rename(2) of the host; `exchange`: both names stay and change places (RENAME_EXCHANGE).  OSError."""
    if not exchange:
        os.rename(old, new, src_dir_fd=old_dir, dst_dir_fd=new_dir)
        return
    if ctypes.CDLL(None, use_errno=True).renameat2(old_dir, os.fsencode(old), new_dir, os.fsencode(new), 2):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), old)


def _openat2(root: int, path: bytes, flags: int, mode: int) -> int:
    how = _open_how(flags, mode if flags & (os.O_CREAT | os.O_TMPFILE) else 0, _RESOLVE)
    while True:
        fd = _syscall(_SYS_OPENAT2, root, path, ctypes.byref(how), ctypes.sizeof(how))
        if fd >= 0:
            return int(fd)
        number = ctypes.get_errno()
        if number not in (host_errno.EINTR, host_errno.EAGAIN):
            raise OSError(number, os.strerror(number), os.fsdecode(path))


@cache
def have_openat2() -> bool:
    """Whether the host's kernel has openat2(2) and lets us use it (seccomp profiles may not)."""
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        os.close(_openat2(root, b".", os.O_PATH | os.O_CLOEXEC, 0))
    except OSError:
        return False
    finally:
        os.close(root)
    return True


def _open_by_component(root: int, path: bytes, flags: int, mode: int) -> int:
    """The same without openat2: no component but the last may be anything but a directory.

    O_PATH and O_NOFOLLOW open a link itself, and O_DIRECTORY then fails, so a link is never followed.
    """
    names = [name for name in path.split(b"/") if name not in (b"", b".")]
    if not names:
        return os.open(b".", flags & ~os.O_NOFOLLOW, mode, dir_fd=root)
    here = os.dup(root)
    try:
        for name in names[:-1]:
            step = os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
            below = os.open(name, step, dir_fd=here)
            os.close(here)
            here = below
        return os.open(names[-1], flags, mode, dir_fd=here)
    finally:
        os.close(here)


class HostTree:
    """One exported directory of the host.

    `path` is what the user named; it is opened once, here, and may itself be reached through links.
    """

    __slots__ = ("_noatime", "_openat2", "name", "privileged", "root", "writable")

    def __init__(self, path: str, writable: bool = False, force_fallback: bool = False) -> None:
        self.name = path
        self.writable = writable
        self.privileged = False
        """Whether owners and set-user-ID bits may be set in it (hostperm.py)."""
        self.root = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._openat2 = not force_fallback and have_openat2()
        self._noatime = os.O_NOATIME

    def open(self, path: str, flags: int, mode: int = 0) -> int:
        """A host descriptor for `path` below the tree ("" is the tree itself).  The caller closes it.

        Errno: EROFS for any flag that could write in a read-only tree; EXDEV for a ``..``; ELOOP or
        ENOTDIR where a component is a symbolic link; otherwise as open(2).  With O_PATH a link that is
        the last component is opened itself.
        """
        if not self.writable and flags & _WRITING:
            raise Errno(EROFS)
        flags |= _ALWAYS
        if flags & os.O_PATH:
            flags &= _PATH_FLAGS
        raw = os.fsencode(path).strip(b"/")
        if b"\0" in raw:
            raise Errno(EINVAL)
        if b".." in raw and b".." in raw.split(b"/"):
            raise Errno(EXDEV)
        try:
            if self._openat2:
                return _openat2(self.root, raw or b".", flags, mode)
            return _open_by_component(self.root, raw, flags, mode)
        except OSError as failure:
            raise host_error(failure) from None

    def open_for_reading(self, path: str, flags: int = 0) -> int:
        """`open` with O_RDONLY, leaving the time of the last access alone where the host lets us: the owner, root."""
        if self._noatime:
            try:
                return self.open(path, os.O_RDONLY | flags | self._noatime)
            except Errno as error:
                if error.errno != EPERM:
                    raise
            self._noatime = 0
        return self.open(path, os.O_RDONLY | flags)

    @contextmanager
    def handle(self, path: str, flags: int = 0) -> Iterator[int]:
        """An O_PATH descriptor of `path` for the time of the block."""
        fd = self.open(path, os.O_PATH | flags)
        try:
            yield fd
        except OSError as failure:
            raise host_error(failure) from None
        finally:
            os.close(fd)

    def lstat(self, path: str) -> os.stat_result:
        """What `path` itself is; ENOENT and others as lstat(2)."""
        with self.handle(path) as fd:
            return os.fstat(fd)

    def try_lstat(self, path: str) -> Optional[os.stat_result]:
        """The same, or None where there is nothing (or nothing that we may look at)."""
        try:
            return self.lstat(path)
        except Errno as error:
            if error.errno in (ENOENT, ELOOP, EACCES, 20):
                return None
            raise

    def readlink(self, path: str) -> str:
        """The text of a symbolic link; EINVAL for anything else."""
        with self.handle(path) as fd:
            if not stat.S_ISLNK(os.fstat(fd).st_mode):
                raise Errno(EINVAL)
            return os.fsdecode(os.readlink(b"", dir_fd=fd))

    def listdir(self, path: str) -> list[tuple[str, int, int]]:
        """(name, inode number, type bits of st_mode) of each entry, sorted by name."""
        fd = self.open_for_reading(path, os.O_DIRECTORY)
        try:
            with os.scandir(fd) as entries:
                return sorted((entry.name, entry.inode(), _type_of(entry)) for entry in entries)
        except OSError as failure:
            raise host_error(failure) from None
        finally:
            os.close(fd)

    def open_regular(self, path: str, write: bool = False) -> tuple[int, os.stat_result]:
        """A descriptor for the data of a regular file, and its stat.  EACCES for any other kind."""
        fd = self.open(path, os.O_RDWR) if write else self.open_for_reading(path)
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            os.close(fd)
            raise Errno(EACCES)
        return fd, info

    def close(self) -> None:
        """Give back the descriptor of the tree."""
        if self.root >= 0:
            os.close(self.root)
            self.root = -1


def _type_of(entry: os.DirEntry[str]) -> int:
    if entry.is_symlink():
        return stat.S_IFLNK
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR
    if entry.is_file(follow_symlinks=False):
        return stat.S_IFREG
    try:
        return stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode)
    except OSError:
        return 0
