"""Terminals as /dev has them: /dev/tty, /dev/console, /dev/ttyN, /dev/ptmx, /dev/pts (drivers/tty/tty_io.c).

The machine has no terminal of its own but pseudo terminals (`kernel/tty`, loaded when the first one is opened).  What
stands behind the console is the host's terminal, when one of the descriptors that the user gave to the machine is
one: it is the controlling terminal of the session of every program that the user started, until such a program
calls setsid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.abi.errno import EACCES, EIO, ENODEV, ENXIO, EPERM, Errno
from machine.kernel.current import current_kernel
from machine.kernel.fs.chrdev import cdev
from machine.kernel.fs.file import MKDEV, S_IFCHR, file, file_operations, inode
from machine.kernel.fs.hostio import HostDescriptor, host_operations
from machine.kernel.fs.memory import memory_special, memory_super
from machine.kernel.fs.namei import Dentry
from machine.kernel.fs.tmpfs import memory_dir

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import task_struct

TTY_MAJOR, TTYAUX_MAJOR, UNIX98_PTY_SLAVE_MAJOR = 4, 5, 136
CONSOLES = 64
"""Minors of major 4 that are virtual consoles."""
DEVPTS_SUPER_MAGIC = 0x1CD1


class HostTerminal:
    """The user's terminal as a controlling terminal: what `kernel/tty/tty_jobctrl.py` needs to know of one."""

    is_host = True
    session = 0
    """Of all sessions that the user started; the number of one that took it with TIOCSCTTY."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    @property
    def pgrp(self) -> int:
        """The group in the foreground; 0 while no shell has said which."""
        return self.kernel.vfs.foreground

    @pgrp.setter
    def pgrp(self, number: int) -> None:
        self.kernel.vfs.foreground = number


class devpts_dir(memory_dir):
    """/dev/pts: only opening /dev/ptmx makes something here, and only closing it takes it away."""

    def create(self, name: str, mode: int, rdev: int = 0) -> inode:
        raise Errno(EACCES)

    def link(self, name: str, existing: inode) -> None:
        raise Errno(EPERM)

    def mkdir(self, name: str, mode: int) -> inode:
        raise Errno(EPERM)

    def symlink(self, name: str, target: str) -> inode:
        raise Errno(EPERM)

    def unlink(self, name: str) -> None:
        raise Errno(EPERM)

    def rename(self, name: str, new_dir: inode, new_name: str, flags: int = 0) -> None:
        raise Errno(EPERM)


def host_terminal(kernel: Kernel) -> Optional[HostDescriptor]:
    """The first of the host's descriptors that is a terminal, or None."""
    return next((node for node in kernel.vfs.host_descriptors if node.is_tty), None)


def take_host_terminal(kernel: Kernel, task: task_struct) -> None:
    """A program that the user starts: the user's terminal is its session's."""
    if host_terminal(kernel) is not None:
        if kernel.vfs.host_tty is None:
            kernel.vfs.host_tty = HostTerminal(kernel)
        task.signal.tty = kernel.vfs.host_tty


def tty_number(kernel: Kernel, task: task_struct) -> int:
    """The controlling terminal's device number, 0 for none (/proc/PID/stat)."""
    tty = task.signal.tty
    if tty is None:
        return 0
    if not tty.is_host:
        return int(tty.dev)
    terminal = host_terminal(kernel)
    return 0 if terminal is None else terminal.i_rdev


def _become(filp: file, terminal: HostDescriptor) -> int:
    """The open file is the terminal's from now on."""
    name = f"/dev/{filp.f_dentry.d_name}"
    filp.f_dentry = Dentry(terminal, filp.f_dentry.d_name, None, name)
    filp.f_op = host_operations
    return 0


def _open_tty(node: inode, filp: file) -> int:
    """/dev/tty: -ENXIO for a task without a controlling terminal (tty_open_current_tty)."""
    kernel = current_kernel()
    task = kernel.current
    tty = None if task is None else task.signal.tty
    if tty is None:
        return -ENXIO
    if not tty.is_host:
        from machine.kernel.tty.pty import tty_open_current

        return tty_open_current(node, filp)
    terminal = host_terminal(kernel)
    return -ENXIO if terminal is None else _become(filp, terminal)


def _open_console(node: inode, filp: file) -> int:
    """/dev/console and /dev/ttyN: -ENODEV when the machine has no terminal."""
    terminal = host_terminal(current_kernel())
    return -ENODEV if terminal is None else _become(filp, terminal)


def _open_ptmx(node: inode, filp: file) -> int:
    from machine.kernel.tty.pty import ptmx_open

    return ptmx_open(node, filp)


def _open_pts(node: inode, filp: file) -> int:
    if not current_kernel().vfs.ptys:
        return -EIO
    from machine.kernel.tty.pty import pts_open

    return pts_open(node, filp)


def tty_init(kernel: Kernel) -> None:
    """Register the devices and ask for their nodes."""
    for dev, count, name, mode, opened, nodes in (
        (MKDEV(TTYAUX_MAJOR, 0), 1, "/dev/tty", 0o666, _open_tty, ("tty",)),
        (MKDEV(TTYAUX_MAJOR, 1), 1, "/dev/console", 0o600, _open_console, ("console",)),
        (MKDEV(TTYAUX_MAJOR, 2), 1, "/dev/ptmx", 0o666, _open_ptmx, ("ptmx",)),
        (MKDEV(TTY_MAJOR, 0), CONSOLES, "tty", 0o620, _open_console, ("tty0", "tty1")),
        (MKDEV(UNIX98_PTY_SLAVE_MAJOR, 0), 1 << 20, "pts", 0, _open_pts, ()),
    ):
        kernel.chrdevs.register_region(dev, count, name)
        kernel.chrdevs.add(cdev(file_operations(open=opened)), dev, count)
        for minor, node in enumerate(nodes):
            kernel.chrdevs.mk_node(node, mode, dev + minor)


def devpts_root(kernel: Kernel) -> Any:
    """The root of devpts, with its own `ptmx`, which nobody may use: /dev/ptmx is the one."""
    root = devpts_dir(memory_super(kernel, "devpts", kernel.vfs.new_dev(), DEVPTS_SUPER_MAGIC, 0), 0o755)
    root.children["ptmx"] = memory_special(root.i_sb, S_IFCHR, MKDEV(TTYAUX_MAJOR, 2))
    return root
