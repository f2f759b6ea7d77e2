"""What the guest wrote to the layer of its root: listing it, and keeping it (``--export DIR``)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Optional

from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import Errno
from machine.kernel.fs.file import S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, inode
from machine.kernel.fs.hostfs import HostTree
from machine.kernel.fs.overlay import is_changed, overlay_dir
from machine.kernel.fs.tmpfs import memory_dir

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

_CHUNK = 1 << 20


def changed_names(kernel: Kernel) -> tuple[list[str], list[str]]:
    """(paths that the guest made or changed, paths of the host that it removed) in the root's layer."""
    changed: list[str] = []
    removed: list[str] = []
    _collect(kernel.root.d_inode, "", changed, removed)
    return changed, removed


def _collect(node: inode, path: str, changed: list[str], removed: list[str]) -> None:
    if path and is_changed(node) and not (isinstance(node, overlay_dir) and node.tree is not None):
        changed.append(path)
    if not isinstance(node, memory_dir):
        return
    if isinstance(node, overlay_dir):
        removed += [f"{path}/{name}" for name in sorted(node.whiteouts) if name not in node.children]
    for name, child in sorted(node.children.items()):
        _collect(child, f"{path}/{name}", changed, removed)


def save_layer(kernel: Kernel, directory: str) -> int:
    """Put what the guest made or changed below the host's `directory`; returns the number of names.

    Files have their permission bits, but belong to the user of the host.  What is there already is
    replaced, a directory kept.  A symbolic link in `directory` is never followed.  OSError: the first file for which
    the host had no room or no place; all others are there.
    """
    failure: Optional[OSError] = None
    os.makedirs(directory, exist_ok=True)
    tree = HostTree(directory, writable=True)
    try:
        changed, _removed = changed_names(kernel)
        for path in changed:
            try:
                _save(kernel, tree, path)
            except (OSError, Errno) as error:
                number = error.errno or 0
                failure = failure or OSError(number, os.strerror(number), directory + path)
    finally:
        tree.close()
    if failure is not None:
        raise failure
    return len(changed)


def _inode_at(kernel: Kernel, path: str) -> Any:
    here: Any = kernel.root.d_inode
    for name in path.strip("/").split("/"):
        here = here.children[name]
    return here


def _save(kernel: Kernel, tree: HostTree, path: str) -> None:
    node = _inode_at(kernel, path)
    above, name = path.strip("/").rpartition("/")[::2]
    _make_directories(tree, above)
    kind = node.i_mode & S_IFMT
    if kind == S_IFDIR:
        _make_directories(tree, path.strip("/"))
        return
    with tree.handle(above, os.O_DIRECTORY) as parent:
        if tree.try_lstat(path) is not None:
            os.unlink(name, dir_fd=parent)
        if kind == S_IFLNK:
            os.symlink(node.readlink(), name, dir_fd=parent)
        elif kind == S_IFIFO:
            os.mkfifo(name, node.i_mode & 0o777, dir_fd=parent)
        elif kind == S_IFREG:
            _copy(tree, path, node)


def _make_directories(tree: HostTree, path: str) -> None:
    done = ""
    for name in path.split("/"):
        if not name:
            return
        below = f"{done}/{name}"
        if tree.try_lstat(below) is None:
            with tree.handle(done, os.O_DIRECTORY) as parent:
                os.mkdir(name, 0o755, dir_fd=parent)
        done = below


def _pieces(mapping: Any, size: int) -> Iterator[tuple[int, int]]:
    """(position, bytes) of what a file holds: the holes of a sparse one, however large, stay holes."""
    below, position = min(mapping.backing_size, size), 0
    while position < below:
        position = mapping.backing.seek(position, os.SEEK_DATA)
        if position < 0:
            break
        if position < below:
            yield position, min(_CHUNK, below - position)
        position += _CHUNK
    for index in sorted(mapping.pages):
        position = index << PAGE_SHIFT
        if position < size:
            yield position, min(PAGE_SIZE, size - position)


def _copy(tree: HostTree, path: str, node: Any) -> None:
    fd = tree.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        for position, count in _pieces(node.i_mapping, node.i_size):
            os.pwrite(fd, node.i_mapping.read(position, count), position)
        os.ftruncate(fd, node.i_size)
        os.fchmod(fd, node.i_mode & 0o777)
    finally:
        os.close(fd)
