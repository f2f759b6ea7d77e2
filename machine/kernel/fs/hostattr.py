"""Attributes of objects in a ``:rw`` bind: mode, owner, times and those of users are the host's."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from machine.kernel.abi.errno import ENOENT, EOPNOTSUPP, Errno
from machine.kernel.fs.hostfs import HostTree, host_error
from machine.kernel.fs.hostperm import check_mode, check_owner
from machine.kernel.fs.overlay import overlay_file
from machine.kernel.fs.tmpfs import memory_inode

TIMES = ("i_atime", "i_mtime")
_NOW = 2_000_000_000
"""Nanoseconds that a time may be off and still be meant as the present one."""


class passed_through:
    """Attributes that are set on the host's object."""

    path: str
    gone = False
    """It has no name any more: what the host has at its path, even under its number, is another object."""

    def dropped(self) -> None:
        """A name is gone on the host already."""
        node: Any = self
        node.i_nlink -= 1
        self.gone = node.i_nlink <= 0

    def setattr(self, **attributes: int) -> None:
        """chmod, chown and utimens on the host, through a descriptor: a link is never followed."""
        node: Any = self
        if node.upper or (self.gone and not isinstance(node, overlay_file)):  # the host has it no more
            memory_inode.setattr(node, **attributes)
            return
        tree: HostTree = node.tree
        with self._held() as fd:
            there = f"/proc/self/fd/{fd}"
            info = os.fstat(fd)
            if "i_uid" in attributes or "i_gid" in attributes:
                owner = attributes.get("i_uid", -1), attributes.get("i_gid", -1)
                if not tree.privileged:
                    check_owner(info, *owner)
                os.chown(there, *owner)
            if "i_mode" in attributes:
                if not tree.privileged:
                    check_mode(attributes["i_mode"], info)
                os.chmod(there, attributes["i_mode"] & 0o7777)
            if any(name in attributes for name in TIMES):
                node.getattr()
                _set_times(there, attributes.get("i_atime", node.i_atime), attributes.get("i_mtime", node.i_mtime))
        node.getattr()

    def prepare_change(self) -> None:
        """Nothing is taken over: the host's object itself changes."""

    def xattrs(self) -> list[str]:
        """Names of the host's attributes for users; those of its security are none of the guest's business."""
        return sorted(name for name in self._of_host(os.listxattr) if name.startswith("user."))

    def getxattr(self, name: str) -> bytes:
        _only_user(name)
        found: bytes = self._of_host(os.getxattr, name)
        return found

    def setxattr(self, name: str, data: bytes, flags: int) -> None:
        """On the host, where the host's file system has them."""
        _only_user(name)
        self._of_host(os.setxattr, name, data, flags)

    def removexattr(self, name: str) -> None:
        _only_user(name)
        self._of_host(os.removexattr, name)

    def _of_host(self, call: Any, *arguments: Any) -> Any:
        with self._held() as fd:
            return call(f"/proc/self/fd/{fd}", *arguments)

    @contextmanager
    def _held(self) -> Iterator[int]:
        """A host descriptor of this very object for the time of the block: its name may be another's by now, ENOENT
        then for what is not open."""
        node: Any = self
        if isinstance(node, overlay_file) and node.opens > 0 and node.data.fd >= 0:
            try:
                yield node.data.fd
            except OSError as failure:
                raise host_error(failure) from None
            return
        tree: HostTree = node.tree
        with tree.handle(self.path) as fd:
            if self.gone or not is_object(node, os.fstat(fd)):
                raise Errno(ENOENT)
            yield fd


def is_object(node: Any, info: os.stat_result) -> bool:
    """Whether `info` is the node's object on the host."""
    identity = info.st_dev, info.st_ino
    if isinstance(node, overlay_file):
        return bool(identity == node.data.identity)
    return bool(node.i_ino == node.i_sb.number_of(*identity))


def _set_times(there: str, atime: int, mtime: int) -> None:
    """utimensat(2).  Who may write a file, and does not own it, may set its times to now and to nothing else."""
    try:
        os.utime(there, ns=(atime, mtime))
    except PermissionError:
        if atime != mtime or abs(atime - time.time_ns()) > _NOW:
            raise
        os.utime(there)


def _only_user(name: str) -> None:
    if not name.startswith("user."):
        raise Errno(EOPNOTSUPP)


__all__ = ["TIMES", "is_object", "passed_through"]
