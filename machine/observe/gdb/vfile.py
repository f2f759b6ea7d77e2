"""Files of the guest for gdb (vFile): programs and libraries for their symbols, /proc/PID/maps.  Read-only.

Only regular files: reading a device would call its driver, reading a pipe could sleep.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from machine.kernel.abi.errno import EBADF, EINVAL, EROFS, Errno
from machine.kernel.fs.file import O_LARGEFILE, S_IFMT, S_IFREG
from machine.kernel.fs.namei import lookup, open_file
from machine.observe.gdb.packets import MAX_PACKET, escape, number, raw

if TYPE_CHECKING:
    from machine.observe.gdb.server import Server

MAX_FILES = 64
_ERRNOS = {1, 2, 4, 9, 13, 14, 16, 17, 19, 20, 21, 22, 23, 24, 27, 28, 29, 30, 91}
"""What the protocol has numbers for; others are EUNKNOWN."""
_UNKNOWN = 9999
_ENAMETOOLONG = 36


def vfile(server: Server, rest: bytes) -> bytes:
    """``operation:arguments``: ``F`` and a result, or ``F-1,`` and gdb's number of the error."""
    name, _, arguments = rest.partition(b":")
    operation = {
        b"setfs": _setfs, b"open": _open, b"close": _close, b"pread": _pread, b"fstat": _fstat,
        b"readlink": _readlink, b"pwrite": _refuse, b"unlink": _refuse,
    }.get(name)  # fmt: skip
    if operation is None:
        return b""
    try:
        return b"F" + operation(server, arguments)
    except Errno as error:
        errno = 91 if error.errno == _ENAMETOOLONG else error.errno
        return b"F-1,%x" % (errno if errno in _ERRNOS else _UNKNOWN)
    except ValueError:
        return b"F-1,%x" % EINVAL


def _setfs(_server: Server, _arguments: bytes) -> bytes:
    return b"0"  # all processes share one root


def _refuse(_server: Server, _arguments: bytes) -> bytes:
    raise Errno(EROFS)


def _path(text: bytes) -> str:
    return raw(text).decode(errors="surrogateescape")


def _open(server: Server, arguments: bytes) -> bytes:
    name, flags, _mode = arguments.split(b",")
    if number(flags) & 0xF03:
        raise Errno(EROFS)
    if len(server.files) >= MAX_FILES:
        raise Errno(24)
    kernel = server.kernel
    if lookup(kernel, kernel.init_task, _path(name)).d_inode.i_mode & S_IFMT != S_IFREG:
        raise Errno(EINVAL)
    opened = open_file(kernel, kernel.init_task, _path(name), O_LARGEFILE)
    descriptor = next(i for i in range(MAX_FILES) if i not in server.files)
    server.files[descriptor] = opened
    return b"%x" % descriptor


def _opened(server: Server, text: bytes) -> Any:
    opened = server.files.get(number(text))
    if opened is None:
        raise Errno(EBADF)
    return opened


def _close(server: Server, arguments: bytes) -> bytes:
    _opened(server, arguments).put()
    del server.files[number(arguments)]
    return b"0"


def _pread(server: Server, arguments: bytes) -> bytes:
    descriptor, count, offset = arguments.split(b",")
    opened = _opened(server, descriptor)
    data: bytes = opened.f_op.read_iter(opened, min(number(count), MAX_PACKET // 2 - 64), number(offset))
    return b"%x;%s" % (len(data), escape(data))


def _fstat(server: Server, arguments: bytes) -> bytes:
    """`struct fio_stat`: 64 bytes, big-endian."""
    node = _opened(server, arguments).f_inode
    size = max(0, node.i_size)
    times = (node.i_atime // 10**9, node.i_mtime // 10**9, node.i_ctime // 10**9)
    data = struct.pack(
        ">7I3Q3I", node.i_sb.s_dev & 0xFFFF_FFFF, node.i_ino & 0xFFFF_FFFF, node.i_mode, node.i_nlink & 0xFFFF_FFFF,
        node.i_uid, node.i_gid, 0, size, 4096, (size + 511) // 512, *(each & 0xFFFF_FFFF for each in times),
    )  # fmt: skip
    return b"%x;%s" % (len(data), escape(data))


def _readlink(server: Server, arguments: bytes) -> bytes:
    kernel = server.kernel
    node: Any = lookup(kernel, kernel.init_task, _path(arguments), follow=False).d_inode
    target = node.readlink().encode(errors="surrogateescape")
    return b"%x;%s" % (len(target), escape(target))
