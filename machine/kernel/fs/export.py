"""What the guest wrote to the layer of its root: listing it, and keeping it (``--export DIR``)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import EMLINK, ENAMETOOLONG, EOPNOTSUPP, EPERM, Errno
from machine.kernel.fs.file import S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, inode
from machine.kernel.fs.hostfs import HostTree
from machine.kernel.fs.namei import PATH_MAX
from machine.kernel.fs.overlay import is_changed, overlay_dir
from machine.kernel.fs.tmpfs import memory_dir

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

_CHUNK = 1 << 20
_SHOWN = 4
"""Names at the beginning of a path that is not shown in full."""


class Change(NamedTuple):
    """A name that the guest made, changed or removed; `names` is good until the next one, `size` its path's length."""

    node: Any
    names: list[str]
    size: int
    removed: bool

    def path(self) -> str:
        """Of one that is too long for any call the beginning and the last name: a directory's can have gigabytes."""
        if self.size < PATH_MAX:
            return "/" + "/".join(self.names)
        return "/" + "/".join([*self.names[:_SHOWN], "...", self.names[-1]])


def changes(kernel: Kernel) -> Iterator[Change]:
    """What is not the host's in the root's layer, and in that of a current directory which is shown below /tmp:
    directories before what they hold, however deep they are."""
    for each in kernel.mounts:
        if isinstance(each.root, overlay_dir):
            yield from _changes_below(each.root, [name for name in each.path.split("/") if name])


def _changes_below(root: overlay_dir, names: list[str]) -> Iterator[Change]:
    size = sum(len(name) + 1 for name in names)
    yield from _removed(root, names, size)
    stack = [_entries(root)]
    while stack:
        found = next(stack[-1], None)
        if found is None:
            stack.pop()
            size -= len(names.pop()) + 1 if names else 0
            continue
        name, node = found
        names.append(name)
        size += len(name) + 1
        if is_changed(node) and not (isinstance(node, overlay_dir) and node.tree is not None):
            yield Change(node, names, size, False)
        yield from _removed(node, names, size)
        stack.append(_entries(node))


def _entries(node: inode) -> Iterator[tuple[str, Any]]:
    return iter(sorted(node.children.items()) if isinstance(node, memory_dir) else ())


def _removed(node: inode, names: list[str], size: int) -> Iterator[Change]:
    """The names of the host that are gone from a directory."""
    if isinstance(node, overlay_dir):
        for name in sorted(node.whiteouts):
            if name not in node.children:
                yield Change(None, [*names, name], size + len(name) + 1, True)


def changed_names(kernel: Kernel) -> tuple[list[str], list[str]]:
    """(paths that the guest made or changed, paths of the host that it removed) in the root's layer."""
    changed: list[str] = []
    removed: list[str] = []
    for change in changes(kernel):
        (removed if change.removed else changed).append(change.path())
    return changed, removed


def first_changes(kernel: Kernel, most: int) -> tuple[list[str], int]:
    """(some of these paths, what was made before what was removed; how many there are)."""
    made: list[str] = []
    removed: list[str] = []
    count = 0
    for change in changes(kernel):
        count += 1
        if len(removed if change.removed else made) < most:
            (removed if change.removed else made).append(change.path())
    return [*made, *(f"{path} (removed)" for path in removed)][:most], count


def save_layer(kernel: Kernel, directory: str) -> int:
    """Put what the guest made or changed below the host's `directory`; returns the number of names.

    Files have their permission bits, but belong to the user of the host.  What is there already is
    replaced, a directory kept.  A symbolic link in `directory` is never followed.  OSError: the first file for which
    the host had no room or no place; all others are there.
    """
    failure: Optional[OSError] = None
    count = 0
    os.makedirs(directory, exist_ok=True)
    tree = HostTree(directory, writable=True)
    saved: dict[Any, str] = {}
    try:
        for change in changes(kernel):
            if change.removed:
                continue
            count += 1
            try:
                if change.size >= PATH_MAX:
                    raise Errno(ENAMETOOLONG)
                _save(tree, change.path(), change.node, saved)
            except (OSError, Errno) as error:
                number = error.errno or 0
                failure = failure or OSError(number, os.strerror(number), directory + change.path())
    finally:
        tree.close()
    if failure is not None:
        raise failure
    return count


def _save(tree: HostTree, path: str, node: Any, saved: dict[Any, str]) -> None:
    """`saved`: where the files are that have more names, which become links: copies of each could fill the host."""
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
            _copy_or_link(tree, path, node, saved)


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


def _copy_or_link(tree: HostTree, path: str, node: Any, saved: dict[Any, str]) -> None:
    if node in saved and _link(tree, saved[node], path):
        return
    _copy(tree, path, node)
    if node.i_nlink > 1:
        saved[node] = path


def _link(tree: HostTree, first: str, path: str) -> bool:
    """False where the host has no links, or allows no more of them."""
    (there, target), (above, name) = ((each.strip("/").rpartition("/")[::2]) for each in (first, path))
    try:
        with tree.handle(there, os.O_DIRECTORY) as other, tree.handle(above, os.O_DIRECTORY) as parent:
            os.link(target, name, src_dir_fd=other, dst_dir_fd=parent, follow_symlinks=False)
    except (OSError, Errno) as error:
        if error.errno not in (EMLINK, EOPNOTSUPP, EPERM):
            raise
        return False
    return True


def _copy(tree: HostTree, path: str, node: Any) -> None:
    fd = tree.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        for position, count in _pieces(node.i_mapping, node.i_size):
            os.pwrite(fd, node.i_mapping.read(position, count), position)
        os.ftruncate(fd, node.i_size)
        os.fchmod(fd, node.i_mode & 0o777)
    finally:
        os.close(fd)
