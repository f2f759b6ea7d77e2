"""Names as they were reached: dentries, and what is mounted on what (fs/dcache.c, fs/namespace.c).

A `Dentry` knows its parents, so ``..`` and getcwd follow the path that was walked, mounts included.
Directories whose look-ups always give the same inode keep the dentries of their children, and rename
and unlink update them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from machine.kernel.fs.file import dentry, inode

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel


class Dentry(dentry):
    """A name in a directory, with the dentries of its children that are in use."""

    __slots__ = ("d_children", "d_deleted", "d_fullname")

    def __init__(self, d_inode: inode, d_name: str, d_parent: Optional[dentry], fullname: str = "") -> None:
        super().__init__(d_inode, d_name, d_parent)
        self.d_children: dict[str, Dentry] = {}
        self.d_deleted = False
        """Its name has been removed."""
        self.d_fullname = fullname
        """What to show instead of a path for what has no name in the tree: ``pipe:[3]``."""

    def path(self) -> str:
        """The absolute path; " (deleted)" is added as d_path does for a name that is gone."""
        text = self.d_fullname or super().path()
        return text + " (deleted)" if self.d_deleted else text


def follow_mount(kernel: Kernel, node: inode) -> inode:
    """The root of what is mounted on `node`, or `node`."""
    covered = kernel.vfs.covered
    while node in covered:
        node = covered[node]
    return node


def child_dentry(kernel: Kernel, parent: dentry, name: str) -> Optional[dentry]:
    """The entry `name` of a directory, mounts followed; None where there is none."""
    directory = parent.d_inode
    node = directory.lookup(name)
    if node is None:
        return None
    if node in kernel.vfs.covered:
        node = follow_mount(kernel, node)
    if not getattr(directory, "d_caches", False) or not isinstance(parent, Dentry):
        return Dentry(node, name, parent)
    known = parent.d_children.get(name)
    if known is None or known.d_inode is not node:
        known = parent.d_children[name] = Dentry(node, name, parent)
    return known


def is_mounted_on(kernel: Kernel, node: inode) -> bool:
    """Whether something is mounted on `node` (such a name can't be removed: EBUSY)."""
    return node in kernel.vfs.covered


def d_delete(directory: dentry, name: str) -> None:
    """A name was removed: dentries of it say so."""
    if isinstance(directory, Dentry):
        gone = directory.d_children.pop(name, None)
        if gone is not None:
            gone.d_deleted = True
            dentry.changes += 1


def d_move(old_dir: dentry, old_name: str, new_dir: dentry, new_name_: str) -> None:
    """A name was renamed: its dentry moves, so that open directories below it have their new path."""
    d_delete(new_dir, new_name_)
    if isinstance(old_dir, Dentry) and isinstance(new_dir, Dentry):
        moved = old_dir.d_children.pop(old_name, None)
        if moved is not None:
            moved.d_name, moved.d_parent = new_name_, new_dir
            dentry.changes += 1
            new_dir.d_children[new_name_] = moved


def d_exchange(old_dir: dentry, old_name: str, new_dir: dentry, new_name_: str) -> None:
    """Two names were exchanged: so are their dentries."""
    sides = ((old_dir, old_name), (new_dir, new_name_))
    gone = [each.d_children.pop(name, None) if isinstance(each, Dentry) else None for each, name in sides]
    for (there, name), moved in zip(sides, reversed(gone), strict=True):
        if moved is not None and isinstance(there, Dentry):
            moved.d_name, moved.d_parent = name, there
            there.d_children[name] = moved
    dentry.changes += 1
