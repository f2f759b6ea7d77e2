"""Pseudo terminals: /dev/ptmx makes a pair, /dev/pts has the slaves (drivers/tty/pty.c, fs/devpts/inode.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from machine.kernel.abi.errno import EIO, ENXIO, Errno
from machine.kernel.current import current_kernel
from machine.kernel.fs.file import MINOR, MKDEV, O_CLOEXEC, O_NOCTTY, S_IFCHR, file, inode
from machine.kernel.fs.memory import memory_special
from machine.kernel.tty.termios import raw_termios, std_termios
from machine.kernel.tty.tty_io import tty_open, tty_struct

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import Task

PTMX_DEV = MKDEV(5, 2)
UNIX98_PTY_SLAVE_MAJOR = 136
PTY_MAX = 4096
"""kernel.pty.max."""
TTY_GID = 5
"""Group `tty` of Debian, which the slaves belong to as with the mount option gid=5."""


def ptmx_open(node: inode, filp: file) -> int:
    """A new pair; the open file is its master.  ENOSPC when all numbers are taken."""
    kernel = current_kernel()
    task = kernel.current
    ptys = kernel.vfs.ptys
    index = next(number for number in range(PTY_MAX + 1) if number not in ptys)
    if index == PTY_MAX:
        return -28
    dev = MKDEV(UNIX98_PTY_SLAVE_MAJOR, index)
    master = tty_struct(kernel, "ptm", PTMX_DEV, raw_termios(), True)
    slave = tty_struct(kernel, str(index), dev, std_termios(), False)
    master.link, slave.link = slave, master
    slave.locked = True
    ptys[index] = slave
    directory = kernel.vfs.devpts
    entry = memory_special(directory.i_sb, S_IFCHR | 0o620, dev)
    entry.i_gid = TTY_GID
    if task is not None:
        entry.i_uid = task.fsuid
    directory.children[str(index)] = entry
    return tty_open(master, filp)


def pts_open(node: inode, filp: file) -> int:
    """A slave: EIO while it is locked (grantpt, unlockpt) or when its master is gone."""
    slave = current_kernel().vfs.ptys.get(MINOR(node.i_rdev))
    if slave is None or slave.locked:
        return -EIO
    return tty_open(slave, filp)


def tty_open_current(node: inode, filp: file) -> int:
    """/dev/tty of a process whose terminal is a pseudo terminal."""
    task = current_kernel().current
    tty = None if task is None else task.signal.tty
    if not isinstance(tty, tty_struct):
        return -ENXIO
    return tty_open(tty, filp, takes_control=False)


def pty_gone(master: tty_struct) -> None:
    """The master was closed: number and node are free again (devpts_pty_kill)."""
    vfs = master.kernel.vfs
    index = int(master.link.name)
    if vfs.ptys.get(index) is master.link:
        del vfs.ptys[index]
        node: Any = vfs.devpts.children.pop(str(index), None)
        if node is not None:
            node.i_nlink = 0


def open_peer(task: Task, master: tty_struct, flags: int) -> int:
    """TIOCGPTPEER: a descriptor of the slave, whatever the name leads to (ptm_open_peer)."""
    from machine.kernel.fs.dcache import Dentry
    from machine.kernel.fs.namei import lookup

    kernel: Kernel = master.kernel
    name = master.link.name
    directory = lookup(kernel, kernel.init_task, "/dev/pts")
    node = kernel.vfs.devpts.children.get(name)
    if node is None:
        raise Errno(EIO)
    filp = file(Dentry(node, name, directory), flags & ~O_CLOEXEC | O_NOCTTY, node.i_fop, f"/dev/pts/{name}")
    tty_open(master.link, filp)
    return task.files.install(filp, cloexec=bool(flags & O_CLOEXEC))
