"""What a guest may not do to the host's files even where it may write, and even when root runs the machine.

The guest is root of its machine, not of the host.  Through a ``:rw`` bind it can do what a user without privileges
can, so nothing that it leaves there gives anybody rights: no set-user-ID or set-group-ID program, no foreign owner.
The error is that of a user namespace that has no mapping for the rest of the host: EPERM.
"""

from __future__ import annotations

import os
import stat
from typing import Optional

from machine.kernel.abi.errno import EPERM, Errno

_SET_ID = stat.S_ISUID | stat.S_ISGID


def set_id_bits(mode: int) -> int:
    """Those bits of a mode that give a program's user more rights (fs/attr.c: setattr_should_drop_suidgid)."""
    if stat.S_ISDIR(mode):
        return 0
    return mode & (_SET_ID if mode & stat.S_IXGRP else stat.S_ISUID)


def check_mode(mode: int, info: Optional[os.stat_result] = None) -> None:
    """EPERM for a mode with set-user-ID or set-group-ID that the file `info` does not have already.

    A directory may hand its group on.
    """
    kind = mode if info is None else info.st_mode
    if mode & _SET_ID & ~(0 if info is None else info.st_mode) and not stat.S_ISDIR(kind):
        raise Errno(EPERM)


def check_owner(info: os.stat_result, uid: int, gid: int) -> None:
    """EPERM where chown(2) would change the owner of `info`, or give it a group that is not ours; -1 keeps one."""
    if uid not in (-1, info.st_uid):
        raise Errno(EPERM)
    if gid not in (-1, info.st_gid) and (info.st_uid != os.geteuid() or gid not in (os.getegid(), *os.getgroups())):
        raise Errno(EPERM)


def drop_set_id(fd: int, mode: int) -> None:
    """Before bytes are written: the program is not the one that was trusted (fs/inode.c: file_remove_privs).

    The host's kernel does that for users; for root it does not.
    """
    os.fchmod(fd, stat.S_IMODE(mode) & ~_SET_ID)
