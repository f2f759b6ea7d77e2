"""`struct stat` and its relatives, byte for byte (fs/stat.c, fs/statfs.c; arch/x86 uapi asm/stat.h, asm/statfs.h)."""

from __future__ import annotations

import struct
from typing import Any

from machine.kernel.abi.errno import EOVERFLOW, Errno
from machine.records import NamedTuple

NSEC_PER_SEC = 1_000_000_000
STAT64 = struct.Struct("<QQQIII4xQqqqQQQQQQ24x")
"""x86_64 `struct stat` (asm/stat.h): 144 bytes."""
STAT_I386 = struct.Struct("<IIHHHHIIIIIIIIII8x")
"""i386 `struct stat` of stat(2), number 106 (asm/compat.h: compat_stat): 64 bytes."""
STAT64_I386 = struct.Struct("<Q4xIIIIIQ4xqIqIIIIIIQ")
"""i386 `struct stat64`: 96 bytes, packed."""
STATX = struct.Struct("<IIQIIIH2xQQQQqI4xqI4xqI4xqI4xIIIIQII96x")
"""`struct statx` (linux/stat.h): 256 bytes, the same for both ABIs."""

STATFS64 = struct.Struct("<qqQQQQQQqqq32x")
"""x86_64 `struct statfs`: 120 bytes."""
STATFS_I386 = struct.Struct("<IIIIIIIQIII16x")
"""i386 `struct statfs`: 64 bytes."""
STATFS64_I386 = struct.Struct("<IIQQQQQQIII16x")
"""i386 `struct statfs64`: 84 bytes, packed."""

STATX_TYPE, STATX_MODE, STATX_NLINK, STATX_UID, STATX_GID = 0x1, 0x2, 0x4, 0x8, 0x10
STATX_ATIME, STATX_MTIME, STATX_CTIME, STATX_INO, STATX_SIZE = 0x20, 0x40, 0x80, 0x100, 0x200
STATX_BLOCKS, STATX_BASIC_STATS, STATX_BTIME, STATX_MNT_ID = 0x400, 0x7FF, 0x800, 0x1000
STATX__RESERVED = 0x80000000

_S_IFMT, _S_IFREG = 0o170000, 0o100000
MAX_NON_LFS = (1 << 31) - 1
"""The largest size, in bytes, of a file that was opened without O_LARGEFILE."""
_U32 = 0xFFFF_FFFF


class kstatfs(NamedTuple):
    """`struct kstatfs`: what a file system says of itself; sizes in blocks of `f_bsize` bytes."""

    f_type: int
    f_bsize: int
    f_blocks: int
    f_bfree: int
    f_bavail: int
    f_files: int
    f_ffree: int
    f_fsid: int = 0
    f_namelen: int = 255
    f_frsize: int = 4096
    f_flags: int = 0


def blocks_of(node: Any) -> int:
    """`st_blocks`, in units of 512 bytes: the inode's own `i_blocks` where it has one."""
    blocks = getattr(node, "i_blocks", None)
    if blocks is not None:
        return int(blocks)
    return (node.i_size + 4095) // 4096 * 8 if node.i_mode & _S_IFMT == _S_IFREG else 0


def _times(node: Any) -> tuple[int, int, int, int, int, int]:
    a, m, c = node.i_atime, node.i_mtime, node.i_ctime
    return (*divmod(a, NSEC_PER_SEC), *divmod(m, NSEC_PER_SEC), *divmod(c, NSEC_PER_SEC))


def pack_stat_64(node: Any) -> bytes:
    """x86_64 `struct stat` of an inode (fs/stat.c: cp_new_stat)."""
    a, an, m, mn, c, cn = _times(node)
    return STAT64.pack(
        node.i_sb.s_dev, node.i_ino, node.i_nlink, node.i_mode, node.i_uid, node.i_gid, node.i_rdev,
        node.i_size, node.i_sb.s_blocksize, blocks_of(node), a & (1 << 64) - 1, an, m & (1 << 64) - 1, mn,
        c & (1 << 64) - 1, cn,
    )  # fmt: skip


def pack_stat64_i386(node: Any) -> bytes:
    """i386 `struct stat64` of an inode (arch/x86/kernel/sys_ia32.c: cp_stat64)."""
    a, an, m, mn, c, cn = _times(node)
    return STAT64_I386.pack(
        node.i_sb.s_dev, node.i_ino & _U32, node.i_mode, node.i_nlink, node.i_uid, node.i_gid, node.i_rdev,
        node.i_size, node.i_sb.s_blocksize, blocks_of(node), a & _U32, an, m & _U32, mn, c & _U32, cn, node.i_ino,
    )  # fmt: skip


def pack_stat_i386(node: Any) -> bytes:
    """i386 `struct stat` of an inode; EOVERFLOW where a number does not fit (fs/stat.c: cp_compat_stat)."""
    if node.i_ino > _U32 or node.i_nlink > 0xFFFF or node.i_size > MAX_NON_LFS:
        raise Errno(EOVERFLOW)
    a, an, m, mn, c, cn = _times(node)
    return STAT_I386.pack(
        node.i_sb.s_dev, node.i_ino, node.i_mode & 0xFFFF, node.i_nlink, _high2low(node.i_uid),
        _high2low(node.i_gid), node.i_rdev, node.i_size, node.i_sb.s_blocksize, blocks_of(node) & _U32,
        a & _U32, an, m & _U32, mn, c & _U32, cn,
    )  # fmt: skip


def _high2low(number: int) -> int:
    """A uid or gid for a 16-bit field: 65534 where it does not fit (linux/highuid.h)."""
    return number if number <= 0xFFFF else 65534


def pack_statx(node: Any, mask: int = STATX_BASIC_STATS, mnt_id: int = 0) -> bytes:
    """`struct statx` of an inode (fs/stat.c: cp_statx).  The basic fields are always filled in."""
    a, an, m, mn, c, cn = _times(node)
    dev, rdev = node.i_sb.s_dev, node.i_rdev
    filled = STATX_BASIC_STATS | STATX_MNT_ID  # unasked too (fs/stat.c: vfs_statx)
    return STATX.pack(
        filled, node.i_sb.s_blocksize, 0, node.i_nlink, node.i_uid, node.i_gid, node.i_mode, node.i_ino, node.i_size,
        blocks_of(node), 0, a, an, 0, 0, c, cn, m, mn, _major(rdev), _minor(rdev), _major(dev), _minor(dev),
        mnt_id, 0, 0,
    )  # fmt: skip


def _major(dev: int) -> int:
    return dev >> 8 & 0xFFF


def _minor(dev: int) -> int:
    return (dev & 0xFF) | (dev >> 12 & 0xFFF00)


def pack_statfs_64(info: kstatfs) -> bytes:
    """x86_64 `struct statfs`."""
    return STATFS64.pack(*info)


def pack_statfs_i386(info: kstatfs) -> bytes:
    """i386 `struct statfs`; EOVERFLOW where a number does not fit (fs/statfs.c: put_compat_statfs)."""
    if (info.f_blocks | info.f_bfree | info.f_bavail | info.f_bsize | info.f_frsize) > _U32:
        raise Errno(EOVERFLOW)
    if any(n > _U32 and n != (1 << 64) - 1 for n in (info.f_files, info.f_ffree)):
        raise Errno(EOVERFLOW)
    return STATFS_I386.pack(*info[:5], info.f_files & _U32, info.f_ffree & _U32, *info[7:])


def pack_statfs64_i386(info: kstatfs) -> bytes:
    """i386 `struct statfs64`."""
    return STATFS64_I386.pack(*info)
