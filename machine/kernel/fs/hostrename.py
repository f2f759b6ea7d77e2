"""rename(2) inside a ``:rw`` bind: done on the host, and what is known of its inodes follows."""

from __future__ import annotations

import os

from machine.kernel.abi.errno import EEXIST, ENOENT, EXDEV, Errno
from machine.kernel.fs.file import inode
from machine.kernel.fs.hostbind import bind_dir, bind_file, moved, removed
from machine.kernel.fs.hostfs import host_rename
from machine.kernel.fs.tmpfs import RENAME_EXCHANGE, RENAME_NOREPLACE


def rename(old_dir: bind_dir, name: str, new_dir: inode, new_name: str, flags: int) -> None:
    """Move an entry, or let two change places.  EXDEV: another tree; ENOENT, EEXIST; Errno of the host."""
    exchange = bool(flags & RENAME_EXCHANGE)
    if not isinstance(new_dir, bind_dir) or new_dir.tree is not old_dir.tree:
        raise Errno(EXDEV)
    node, replaced = old_dir.lookup(name), new_dir.lookup(new_name)
    if node is None or (replaced is None and exchange):
        raise Errno(ENOENT)
    if replaced is not None and flags & RENAME_NOREPLACE:
        raise Errno(EEXIST)
    if isinstance(replaced, bind_file) and not exchange:
        old_dir.keep_data(replaced)
    target = old_dir.at(new_dir)
    try:
        old_dir.on_host(name, lambda fd: host_rename(fd, name, target, new_name, exchange))
    finally:
        os.close(target)
    if exchange and replaced is not None:
        old_dir.children[name] = replaced
        moved(replaced, old_dir.below(name))
    elif replaced is not None and replaced is not node:
        if not isinstance(replaced, bind_dir):
            replaced.dropped()  # type: ignore[attr-defined]
        removed(replaced)
    new_dir.children[new_name] = node
    moved(node, new_dir.below(new_name))
