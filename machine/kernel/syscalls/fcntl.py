"""fcntl(2): descriptor and file flags, record locks, pipe sizes, seals (fs/fcntl.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from machine.kernel.abi.capability import CAP_SYS_RESOURCE
from machine.kernel.abi.errno import EBADF, EBUSY, EINVAL, EOVERFLOW, EPERM, Errno
from machine.kernel.abi.stat import MAX_NON_LFS
from machine.kernel.capability import capable
from machine.kernel.fs.fasync import (
    f_getown,
    f_getown_ex,
    f_setown,
    f_setown_ex,
    f_setsig,
    owner_of,
    set_fasync,
)
from machine.kernel.fs.file import (
    FASYNC,
    FMODE_CAN_ODIRECT,
    FMODE_READ,
    FMODE_WRITE,
    O_APPEND,
    O_DIRECT,
    O_NOATIME,
    O_NONBLOCK,
    O_PATH,
    S_IFIFO,
    S_IFMT,
    S_IFREG,
    file,
)
from machine.kernel.fs.locks import F_RDLCK, F_UNLCK, F_WRLCK, OFFSET_MAX, do_setlk, file_lock, locks_of
from machine.kernel.fs.namei import is_owner_or_capable
from machine.kernel.fs.pipe import pipe_of, set_pipe_size
from machine.kernel.mm.filemap import F_SEAL_FUTURE_WRITE, F_SEAL_WRITE
from machine.kernel.mm.vma import VM_MAYWRITE, VM_SHARED
from machine.kernel.syscalls.table import syscall

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK, F_SETLKW = range(8)
F_SETOWN, F_GETOWN, F_SETSIG, F_GETSIG = 8, 9, 10, 11
F_GETLEASE = 1025
_SUPPORT = "no F_NOTIFY, no leases: EINVAL"
F_SETOWN_EX, F_GETOWN_EX = 15, 16
F_GETLK64, F_SETLK64, F_SETLKW64 = 12, 13, 14
F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW = 36, 37, 38
F_DUPFD_CLOEXEC, F_SETPIPE_SZ, F_GETPIPE_SZ, F_ADD_SEALS, F_GET_SEALS = 1030, 1031, 1032, 1033, 1034
F_GET_RW_HINT, F_SET_RW_HINT = 1035, 1036
RWH_WRITE_LIFE_EXTREME = 5
FD_CLOEXEC = 1
F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_EXEC = 0x1, 0x2, 0x4, 0x20
F_ALL_SEALS = 0x3F
_SETFL_MASK = O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME | FASYNC
_ON_PATH = (F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL)
"""What an O_PATH descriptor allows."""


def do_fcntl(task: Task, fd: int, cmd: int, arg: int, large: bool) -> int:
    """`large`: F_GETLK and its kin take `struct flock64`."""
    filp = task.files.fget_raw(fd)
    if filp.f_flags & O_PATH and not filp.f_mode and cmd not in _ON_PATH:
        raise Errno(EBADF)
    if cmd in (F_DUPFD, F_DUPFD_CLOEXEC):
        return task.files.dup(fd, arg & 0xFFFF_FFFF, cmd == F_DUPFD_CLOEXEC)
    if cmd == F_GETFD:
        return FD_CLOEXEC if fd in task.files.cloexec else 0
    if cmd == F_SETFD:
        (task.files.cloexec.add if arg & FD_CLOEXEC else task.files.cloexec.discard)(fd)
        return 0
    if cmd == F_GETFL:
        return filp.f_flags
    if cmd == F_SETFL:
        return _setfl(task, filp, fd, arg)
    if cmd in (F_SETOWN, F_GETOWN, F_SETSIG, F_GETSIG, F_SETOWN_EX, F_GETOWN_EX):
        return _owner(task, filp, cmd, arg)
    if cmd in (F_GETLK, F_SETLK, F_SETLKW):
        layout = task.abi.flock64 if large else task.abi.flock
        return _lock(task, filp, cmd, arg, layout, False)
    if cmd in (F_GETLK64, F_SETLK64, F_SETLKW64) and task.abi.bits == 32:
        return _lock(task, filp, cmd - F_GETLK64 + F_GETLK, arg, task.abi.flock64, False)
    if cmd in (F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW):
        return _lock(task, filp, cmd - F_OFD_GETLK + F_GETLK, arg, task.abi.flock64, True)
    if cmd in (F_SETPIPE_SZ, F_GETPIPE_SZ):
        pipe = pipe_of(filp)
        if pipe is None:
            raise Errno(EBADF)
        return (
            set_pipe_size(pipe, arg & 0xFFFF_FFFF, capable(task, CAP_SYS_RESOURCE))
            if cmd == F_SETPIPE_SZ
            else pipe.size
        )
    if cmd in (F_ADD_SEALS, F_GET_SEALS):
        return _seals(filp, cmd, arg)
    if cmd in (F_GET_RW_HINT, F_SET_RW_HINT):
        return _rw_hint(task, filp, cmd, arg)
    if cmd == F_GETLEASE:
        return F_UNLCK  # nobody can take one: F_SETLEASE is EINVAL, as of file systems without leases
    raise Errno(EINVAL)


def _setfl(task: Task, filp: file, fd: int, arg: int) -> int:
    """EPERM: O_NOATIME on another's file.  EINVAL: O_DIRECT on what has no such way, a pipe aside, for which it means
    packets.  A driver may refuse O_ASYNC."""
    if arg & O_NOATIME and not filp.f_flags & O_NOATIME and not is_owner_or_capable(task, filp.f_inode):
        raise Errno(EPERM)
    if arg & O_DIRECT and not filp.f_mode & FMODE_CAN_ODIRECT and filp.f_inode.i_mode & S_IFMT != S_IFIFO:
        raise Errno(EINVAL)
    if (arg ^ filp.f_flags) & FASYNC:
        refused = set_fasync(filp, fd, bool(arg & FASYNC))
        if refused:
            return refused
    if filp.f_op.fasync is None:
        arg &= ~FASYNC  # a file that tells nobody does not keep it
    filp.f_flags = filp.f_flags & ~_SETFL_MASK | arg & _SETFL_MASK
    return 0


def _owner(task: Task, filp: file, cmd: int, arg: int) -> int:
    """Who gets the signals of O_ASYNC, and which."""
    if cmd == F_SETOWN:
        return f_setown(task, filp, arg)
    if cmd == F_SETSIG:
        return f_setsig(filp, arg)
    if cmd == F_SETOWN_EX:
        return f_setown_ex(task, filp, arg)
    if cmd == F_GETOWN_EX:
        return f_getown_ex(task, filp, arg)
    return f_getown(filp) if cmd == F_GETOWN else owner_of(filp).signum


def _rw_hint(task: Task, filp: file, cmd: int, address: int) -> int:
    """What the data's lifetime is said to be, 0 to 5 (fs/fcntl.c: fcntl_rw_hint).  EINVAL, EFAULT."""
    node = filp.f_inode
    if cmd == F_GET_RW_HINT:
        task.mm.copy_to_user(address, node.i_write_hint.to_bytes(8, "little"))
        return 0
    hint = task.mm.get_u64(address)
    if hint > RWH_WRITE_LIFE_EXTREME:
        raise Errno(EINVAL)
    node.i_write_hint = hint
    return 0


def _seals(filp: file, cmd: int, arg: int) -> int:
    """Seals of a memfd, EPERM when sealing is over, EBUSY while it is mapped writable (mm/memfd.c: memfd_add_seals).

    A file of tmpfs that is no memfd is sealed against seals from its birth; other file systems have none: EINVAL.
    """
    node: Any = filp.f_inode
    seals = getattr(node, "seals", None)
    if seals is None:
        if node.i_sb.s_type != "tmpfs" or node.i_mode & S_IFMT != S_IFREG:
            raise Errno(EINVAL)
        seals = F_SEAL_SEAL
    if cmd == F_GET_SEALS:
        return int(seals)
    if not filp.f_mode & FMODE_WRITE:
        raise Errno(EPERM)
    if arg & ~F_ALL_SEALS:
        raise Errno(EINVAL)
    if seals & F_SEAL_SEAL:
        raise Errno(EPERM)
    if arg & F_SEAL_EXEC and node.i_mode & 0o111:  # what can't be made executable later must not change either
        arg |= F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE
    if arg & F_SEAL_WRITE and not seals & F_SEAL_WRITE:
        shared = VM_SHARED | VM_MAYWRITE
        if any(vma.vm_flags & shared == shared for vma in node.i_mapping.i_mmap):
            raise Errno(EBUSY)
    node.seals = seals | arg
    return 0


# -- record locks ----------------------------------------------------------------------------------


def _lock(task: Task, filp: file, cmd: int, address: int, layout: struct.Struct, ofd: bool) -> int:
    kind, whence, start, length, pid = layout.unpack(task.mm.copy_from_user(address, layout.size))
    if cmd == F_GETLK and not ofd and kind not in (F_RDLCK, F_WRLCK):
        raise Errno(EINVAL)
    first, last = _range(filp, whence, start, length)
    if kind not in (F_RDLCK, F_WRLCK, F_UNLCK):
        raise Errno(EINVAL)
    if cmd != F_GETLK and not filp.f_mode & {F_RDLCK: FMODE_READ, F_WRLCK: FMODE_WRITE}.get(kind, ~0):
        raise Errno(EBADF)
    if ofd and pid:
        raise Errno(EINVAL)
    wanted = file_lock(filp if ofd else task.files, -1 if ofd else task.tgid, kind, first, last, ofd)
    if cmd != F_GETLK:
        do_setlk(task.kernel, filp.f_inode, wanted, cmd == F_SETLKW)
        return 0
    held = locks_of(task.kernel, filp.f_inode).test_posix(wanted)
    if held is None:
        answer = (F_UNLCK, whence, start, length, pid)
    else:
        answer = (held.type, 0, held.start, 0 if held.end == OFFSET_MAX else held.end - held.start + 1, held.pid)
    task.mm.copy_to_user(address, _lock_answer(layout, *answer))
    return 0


def _lock_answer(layout: struct.Struct, kind: int, whence: int, start: int, length: int, pid: int) -> bytes:
    """The structure for F_GETLK.  EOVERFLOW: the start does not fit 32 bits; a length is cut (fixup_compat_flock)."""
    if layout.size == 16:
        if start > MAX_NON_LFS:
            raise Errno(EOVERFLOW)
        length = min(length, MAX_NON_LFS)
    return layout.pack(kind, whence, start, length, pid)


def _range(filp: file, whence: int, start: int, length: int) -> tuple[int, int]:
    """First and last byte (flock_to_posix_lock): EINVAL before the start of the file, EOVERFLOW beyond its end."""
    if whence == 1:
        start += filp.f_pos
    elif whence == 2:
        filp.f_inode.getattr()
        start += filp.f_inode.i_size
    elif whence != 0:
        raise Errno(EINVAL)
    if start > OFFSET_MAX:
        raise Errno(EOVERFLOW)
    if start < 0:
        raise Errno(EINVAL)
    if length > 0:
        if length - 1 > OFFSET_MAX - start:
            raise Errno(EOVERFLOW)
        return start, start + length - 1
    if length < 0:
        if start + length < 0:
            raise Errno(EINVAL)
        return start + length, start - 1
    return start, OFFSET_MAX


@syscall("fcntl", "fd uint:F_ ulong:fcntl_arg>", support=_SUPPORT)
def sys_fcntl(task: Task, fd: int, cmd: int, arg: int) -> int:
    """On i386 it is fcntl64 too: a 64-bit kernel's table has compat_sys_fcntl64 here (syscall_32.tbl, 55)."""
    return do_fcntl(task, fd, cmd, arg, False)


@syscall("fcntl64", "fd uint:F_ ulong:fcntl_arg>", abi="i386", support=_SUPPORT)
def sys_fcntl64(task: Task, fd: int, cmd: int, arg: int) -> int:
    return do_fcntl(task, fd, cmd, arg, False)
