"""`struct inode`, `struct file`, `struct file_operations`: what every kind of file is made of.

Two families of read and write live side by side, as in Linux:

* `read` / `write` take a *user address*.  Character drivers implement them (LDD3 ch. 3).
* `read_iter` / `write_iter` take and give bytes.  The kernel's own files implement them, and the
  kernel itself uses them (exec, sendfile, core dumps).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Optional

from machine.hardware.ram import PAGE_SIZE
from machine.kernel.abi.errno import EINVAL, ENOTDIR, EOPNOTSUPP, EPERM, Errno
from machine.kernel.dialect import check_member, is_today

if TYPE_CHECKING:
    from machine.kernel.mm.do_fault import vm_fault
    from machine.kernel.mm.space import mm_struct
    from machine.kernel.mm.vma import vm_area_struct

# i_mode (include/uapi/linux/stat.h)
S_IFMT, S_IFSOCK, S_IFLNK, S_IFREG, S_IFBLK, S_IFDIR, S_IFCHR, S_IFIFO = (
    0o170000, 0o140000, 0o120000, 0o100000, 0o060000, 0o040000, 0o020000, 0o010000,
)  # fmt: skip

# f_flags (include/uapi/asm-generic/fcntl.h)
O_ACCMODE, O_RDONLY, O_WRONLY, O_RDWR = 0o3, 0o0, 0o1, 0o2
O_CREAT, O_EXCL, O_NOCTTY, O_TRUNC = 0o100, 0o200, 0o400, 0o1000
O_APPEND, O_NONBLOCK, O_DSYNC, FASYNC = 0o2000, 0o4000, 0o10000, 0o20000
O_DIRECT, O_LARGEFILE, O_DIRECTORY, O_NOFOLLOW = 0o40000, 0o100000, 0o200000, 0o400000
O_NOATIME, O_CLOEXEC, O_SYNC, O_PATH, O_TMPFILE = 0o1000000, 0o2000000, 0o4010000, 0o10000000, 0o20200000

FMODE_READ, FMODE_WRITE = 1, 2
FMODE_UNSIGNED_OFFSET, FMODE_CAN_ODIRECT = 0x2000, 0x40_0000
FMODE_STREAM = 0x20_0000
FMODE_WRITER = 0x1_0000
"""Opened for writing by name: no program can start from the file meanwhile."""
"""It has no positions (`nonseekable_open`)."""

Ptr = list[int]
"""A C pointer to one integer, as the book's drivers use it: ``*f_pos`` is ``f_pos[0]``; NULL is None."""


class file_operations:
    """`struct file_operations`.  A method that is None is not supported.

    A driver fills one in by keyword, as the book does with ``.read = scullp_read``; the kernel's own
    files are subclasses that define the methods they have.
    """

    owner: Any = None
    """The driver's module; its name is what `--faults` prints."""
    llseek: Optional[Callable[[file, int, int], int]] = None
    """(filp, offset, whence) -> new position or -errno.  None: the generic lseek on f_pos."""
    read: Optional[Callable[[file, int, int, Ptr], int]] = None
    """(filp, user address, count, f_pos) -> bytes read, 0 at the end, or -errno."""
    write: Optional[Callable[[file, int, int, Ptr], int]] = None
    """(filp, user address, count, f_pos) -> bytes written or -errno."""
    read_iter: Optional[Callable[[file, int, int], bytes]] = None
    """(filp, count, position) -> bytes, b"" at the end; raises Errno.  Streams ignore the position."""
    write_iter: Optional[Callable[[file, bytes, int], int]] = None
    """(filp, data, position) -> bytes written; raises Errno."""
    write_most: Optional[Callable[[file, int], int]] = None
    """(filp, count) -> how many bytes of a write `write_iter` looks at: the others are not even read, but count."""
    read_at_once: Optional[Callable[[file, mm_struct, int, int], Optional[int]]] = None
    """(filp, mm, user address, count) -> read(2)'s result where it needs no sleep and no page fault; None, and nothing
    has changed, where it would.  The kernel's own files; called without a kernel stack."""
    write_at_once: Optional[Callable[[file, mm_struct, int, int], Optional[int]]] = None
    """The same for write(2)."""
    iterate: Optional[Callable[[file], list[tuple[str, int, int]]]] = None
    """(filp) -> the whole directory as (name, inode number, d_type), "." and ".." included."""
    poll: Optional[Callable[[file, Any], int]] = None
    """(filp, poll_table or None) -> mask of POLLIN...; calls `poll_wait` on its queues.  None: always ready."""
    ioctl: Optional[Callable[[inode, file, int, int], int]] = None
    """(inode, filp, cmd, arg) -> 0 or more, or -errno.  Up to Linux 2.6.35."""
    unlocked_ioctl: Optional[Callable[[file, int, int], int]] = None
    """(filp, cmd, arg): today's `ioctl`.  A 32-bit program's call goes to `compat_ioctl`, ENOTTY without one."""
    compat_ioctl: Optional[Callable[[file, int, int], int]] = None
    """(filp, cmd, arg): `unlocked_ioctl` of a 32-bit program."""
    mmap: Optional[Callable[[file, vm_area_struct], int]] = None
    """(filp, vma) -> 0 or -errno.  None: ENODEV."""
    open: Optional[Callable[[inode, file], int]] = None
    """(inode, filp) -> 0 or -errno.  None: it can always be opened."""
    flush: Optional[Callable[[file], int]] = None
    """(filp) -> 0 or -errno: a descriptor of the open file is being closed."""
    release: Optional[Callable[[inode, file], int]] = None
    """(inode, filp): the last reference to the open file is gone."""
    fsync: Optional[Callable[..., int]] = None
    """(filp, dentry, datasync) -> 0 or -errno; or (filp, datasync), of Linux 2.6.35, or today's (filp, start, end,
    datasync): as many as it takes."""
    fasync: Optional[Callable[[int, file, int], int]] = None
    """(fd, filp, on) -> what `fasync_helper` gives: O_ASYNC of the file was switched."""

    def __init__(self, **operations: Any) -> None:
        _set_members(self, "struct file_operations", operations)


def _set_members(table: Any, struct: str, operations: dict[str, Any]) -> None:
    """Fill in a table of methods; TypeError for a name that the struct does not have in its driver's Linux."""
    owner = sys._getframe(2).f_globals.get("__kernel_module__")
    for name, value in operations.items():
        if not hasattr(type(table), name):
            raise TypeError(f"{struct} has no member '{name}'")
        if owner is not None:
            check_member(owner, struct, name)
        setattr(table, name, value)


class super_block:
    """One mounted file system: its device number and its statfs figures."""

    __slots__ = ("read_only", "s_blocksize", "s_dev", "s_magic", "s_type")

    def __init__(self, s_type: str, s_dev: int, s_magic: int, read_only: bool = False, s_blocksize: int = 4096) -> None:
        self.s_type = s_type
        self.s_dev = s_dev
        """(major << 8 | minor) in the kernel's `new_encode_dev` form."""
        self.s_magic = s_magic
        self.s_blocksize = s_blocksize
        """`st_blksize` of what is in it, bytes: how much programs read at once."""
        self.read_only = read_only


class inode:
    """`struct inode`: an object of a file system, whatever its kind.

    Times are nanoseconds since the epoch.  The directory methods raise ENOTDIR here, the
    mutating ones EPERM; file systems override what they support.
    """

    i_fop: file_operations
    i_mapping: Any = None
    """The page cache of a regular file (`mm/filemap.py: address_space`), None where there is none."""
    i_data: Any = None
    """The `device_mapping` of a device node that somebody asked for (`file.f_mapping`)."""
    i_fsnotify_marks: Any = None
    """Who watches it: inotify group -> watch (`fs/inotify.py`); None for nobody."""
    i_cdev: Any = None
    i_write_hint: int = 0
    """How long the data are expected to live: what F_SET_RW_HINT said, RWH_WRITE_LIFE_NOT_SET at first."""
    i_target: str = ""

    def __init__(self, i_sb: super_block, i_ino: int, i_mode: int, i_fop: file_operations, i_rdev: int = 0) -> None:
        self.i_sb = i_sb
        self.i_ino = i_ino
        self.i_mode = i_mode
        self.i_fop = i_fop
        self.i_rdev = i_rdev
        self.i_uid = 0
        self.i_gid = 0
        self.i_nlink = 1
        self.i_size = 0
        self.i_atime = self.i_mtime = self.i_ctime = 0

    # directories ---------------------------------------------------------------------------
    def lookup(self, name: str) -> Optional[inode]:
        """The entry `name`, or None where there is none.  ENOTDIR unless a directory."""
        raise Errno(ENOTDIR)

    def lets_in(self, task: Any) -> bool:
        """Whether the task may do what the mode does not allow it."""
        return False

    def create(self, name: str, mode: int, rdev: int = 0) -> inode:
        """Make a regular file, FIFO, socket or device node (by the type bits of `mode`)."""
        raise Errno(EPERM)

    def mkdir(self, name: str, mode: int) -> inode:
        raise Errno(EPERM)

    def symlink(self, name: str, target: str) -> inode:
        raise Errno(EPERM)

    def link(self, name: str, existing: inode) -> None:
        raise Errno(EPERM)

    def unlink(self, name: str) -> None:
        raise Errno(EPERM)

    def rmdir(self, name: str) -> None:
        raise Errno(EPERM)

    def rename(self, name: str, new_dir: inode, new_name: str, flags: int = 0) -> None:
        raise Errno(EPERM)

    def list(self) -> list[tuple[str, int, int]]:
        """(name, inode number, d_type) of each entry, without "." and ".."."""
        raise Errno(ENOTDIR)

    # all kinds --------------------------------------------------------------------------------
    def readlink(self) -> str:
        raise Errno(EINVAL)

    def follow(self) -> Optional[tuple[inode, str]]:
        """For magic links of /proc (fd/N, exe, cwd): where they lead; None: follow `readlink` as text."""
        return None

    def igrab(self) -> None:
        """Somebody refers to it without having it open (O_PATH): what it holds must outlive its last name."""

    def iput(self) -> None:
        """No more, as `igrab` said."""

    def truncate(self, length: int) -> None:
        """Set the size; mapped pages beyond it go (SIGBUS from then on)."""
        raise Errno(EINVAL)

    def setattr(self, **attributes: int) -> None:
        """Change i_mode (permission bits), i_uid, i_gid, i_atime, i_mtime."""
        raise Errno(EPERM)

    def getattr(self) -> None:
        """Refresh the fields above from where they really live, before a stat."""

    def xattrs(self) -> Sequence[str]:
        """Names of the extended attributes."""
        return ()

    def getxattr(self, name: str) -> bytes:
        """The value of an extended attribute.  ENODATA; EOPNOTSUPP where the file system has none."""
        raise Errno(EOPNOTSUPP)

    def setxattr(self, name: str, data: bytes, flags: int) -> None:
        """Set one; `flags` are XATTR_CREATE and XATTR_REPLACE.  EEXIST, ENODATA, EOPNOTSUPP."""
        raise Errno(EOPNOTSUPP)

    def removexattr(self, name: str) -> None:
        """Take one away.  ENODATA, EOPNOTSUPP."""
        raise Errno(EOPNOTSUPP)


class dentry:
    """`struct dentry`, as much as drivers use: ``filp->f_dentry->d_inode``."""

    __slots__ = ("d_inode", "d_name", "d_parent")
    changes = 0
    """Counts the names that were moved and removed: a path that was made since the last one is still right."""

    def __init__(self, d_inode: inode, d_name: str, d_parent: Optional[dentry]) -> None:
        self.d_inode = d_inode
        self.d_name = d_name
        self.d_parent = d_parent

    def path(self) -> str:
        """The absolute path inside the guest's root."""
        parts: list[str] = []
        here: Optional[dentry] = self
        while here is not None and here.d_parent is not None:
            parts.append(here.d_name)
            here = here.d_parent
        return "/" + "/".join(reversed(parts))


class device_mapping:
    """`struct address_space` of a device: nothing but an identity, by which `unmap_mapping_range` finds its areas."""

    __slots__ = ()


class file:
    """`struct file`: one open file, shared by every descriptor that dup or fork made of it."""

    __slots__ = (
        "_f_mapping", "_name", "_path", "f_count", "f_dentry", "f_flags", "f_mode", "f_op", "f_owner", "f_pos",
        "private_data",
    )  # fmt: skip

    def __init__(self, f_dentry: dentry, f_flags: int, f_op: file_operations, f_path: str) -> None:
        self.f_dentry = f_dentry
        self.f_flags = f_flags
        self.f_op = f_op
        self._name = f_path if f_dentry.d_parent is None else ""
        self._path = (-1, "")
        """(`dentry.changes` then, what `f_path` was)."""
        self.f_pos = 0
        self.f_count = 1
        self.f_mode = ((f_flags & O_ACCMODE) + 1) & 3
        self.private_data: Any = None
        self._f_mapping: Any = None
        self.f_owner: Any = None
        """Whom SIGIO is for (fs/fasync.py); None: nobody."""

    @property
    def f_mapping(self) -> Any:
        """The `address_space` whose mappings this file's are; all files of one device node have the same.

        A driver with several nodes for one device sets it to the first one's in its `open`.
        """
        if self._f_mapping is None:
            node = self.f_inode
            if node.i_mapping is not None:
                return node.i_mapping
            if node.i_data is None:
                node.i_data = device_mapping()
            self._f_mapping = node.i_data
        return self._f_mapping

    @f_mapping.setter
    def f_mapping(self, mapping: Any) -> None:
        self._f_mapping = mapping

    @property
    def f_path(self) -> str:
        """What /proc/PID/maps and /proc/PID/fd show: a path, ``pipe:[123]``, ``anon_inode:[eventfd]``.

        A path is that of now: a renamed file has its new name, a removed one "... (deleted)" (d_path).
        """
        where = self.f_dentry
        if where.d_parent is None:
            return self._name
        if self._path[0] != dentry.changes:
            path = where.path()
            if len(path) >= PAGE_SIZE:  # too long to be kept for each open file
                return path
            self._path = dentry.changes, path
        return self._path[1]

    @property
    def f_inode(self) -> inode:
        return self.f_dentry.d_inode

    def get(self) -> file:
        """One more reference (`get_file`)."""
        self.f_count += 1
        return self

    def put(self) -> None:
        """One reference less (`fput`); the last one calls the `release` method."""
        self.f_count -= 1
        if self.f_count == 0:
            where = self.f_dentry
            watched = where.d_inode.i_fsnotify_marks is not None
            if watched or (where.d_parent is not None and where.d_parent.d_inode.i_fsnotify_marks is not None):
                _tell_of_close(self)
                return
            ops = self.f_op
            if ops.owner is not None:
                release_driver(self)
            elif ops.release is not None:
                ops.release(self.f_inode, self)


def _tell_of_close(filp: file) -> None:
    """As `put`, for a file that somebody watches: IN_CLOSE_*, and IN_DELETE_SELF when it has no name any more."""
    from machine.kernel.fs.fsnotify import fsnotify_close, fsnotify_inoderemove

    fsnotify_close(filp)
    if filp.f_op.owner is not None:
        release_driver(filp)
    elif filp.f_op.release is not None:
        filp.f_op.release(filp.f_inode, filp)
    fsnotify_inoderemove(filp.f_inode)


def release_driver(filp: file) -> None:
    """The last reference to a driver's file is gone: its `release`, then the module may be unloaded (__fput)."""
    from machine.kernel.current import current_kernel
    from machine.kernel.module import call_driver

    ops = filp.f_op
    if filp.f_flags & FASYNC and ops.fasync is not None and is_today(ops.owner):
        call_driver(current_kernel(), ops.owner, "fasync", ops.fasync, -1, filp, 0)  # 2.6.10 leaves it to the driver
    if ops.release is not None:
        call_driver(current_kernel(), ops.owner, "release", ops.release, filp.f_inode, filp)
    ops.owner.put()


class vm_operations_struct:
    """`struct vm_operations_struct`: what a driver may do for its areas (LDD3 §15.1.4)."""

    owner: Any = None
    open: Optional[Callable[[vm_area_struct], None]] = None
    """(vma): there is one more area, by fork or a split; not called for the first `mmap`."""
    close: Optional[Callable[[vm_area_struct], None]] = None
    """(vma): an area is gone."""
    nopage: Optional[Callable[[vm_area_struct, int, Optional[Ptr]], Any]] = None
    """(vma, page address, type) -> a `Page` with its count raised, NOPAGE_SIGBUS or NOPAGE_OOM.  Up to Linux 2.6.25."""
    fault: Optional[Callable[[vm_fault], int]] = None
    """(vmf) -> 0 with `vmf.page` set and its count raised, or VM_FAULT_ bits: today's `nopage`."""
    page_mkwrite: Optional[Callable[[vm_fault], int]] = None
    """(vmf) -> 0, VM_FAULT_LOCKED, or a refusal: `vmf.page`, mapped shared and read-only, is about to be written."""
    pfn_mkwrite: Optional[Callable[[vm_fault], int]] = None
    """(vmf) -> 0 or a refusal: the same for a page that was mapped by its frame number."""
    userfault: Optional[Callable[[vm_area_struct, int, bool, int, int], int]] = None
    """The kernel's own: who is asked for a missing page of an area of userfaultfd (fs/userfaultfd.py)."""
    today = False
    """The area's driver speaks today's dialect: an untouched page without a `fault` method is SIGBUS, not zeros."""

    def __init__(self, **operations: Any) -> None:
        _set_members(self, "struct vm_operations_struct", operations)


def MKDEV(major: int, minor: int) -> int:
    """A `dev_t` in the form that stat shows: minor in bits 0-7 and 20-31, major in bits 8-19."""
    return (minor & 0xFF) | (major & 0xFFF) << 8 | (minor & ~0xFF) << 12


def MAJOR(dev: int) -> int:
    """The major number of a `dev_t`."""
    return dev >> 8 & 0xFFF


def MINOR(dev: int) -> int:
    """The minor number of a `dev_t`."""
    return (dev & 0xFF) | (dev >> 12 & 0xFFF00)


def file_inode(filp: file) -> inode:
    """The inode of an open file (``filp->f_dentry->d_inode`` up to Linux 3.8)."""
    return filp.f_inode


def imajor(node: inode) -> int:
    """The major number of the device that `node` stands for."""
    return MAJOR(node.i_rdev)


def iminor(node: inode) -> int:
    """The minor number of the device that `node` stands for."""
    return MINOR(node.i_rdev)
