"""The terminal: /dev/tty, /dev/console and /dev/ttyN (drivers/tty/tty_io.c, as far as a guest needs them).

The machine has no terminal of its own.  What stands behind these nodes is the host's terminal, when one of the
descriptors that the user gave to the machine is one: it is the controlling terminal of the session of every
program that the user started, until such a program calls setsid.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Optional

from machine.kernel.abi.errno import ENODEV, ENXIO
from machine.kernel.current import current_kernel
from machine.kernel.fs.chrdev import cdev
from machine.kernel.fs.file import MKDEV, file, file_operations, inode
from machine.kernel.fs.hostio import HostDescriptor, host_operations
from machine.kernel.fs.namei import Dentry

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import task_struct

TTY_MAJOR, TTYAUX_MAJOR = 4, 5
CONSOLES = 64
"""Minors of major 4 that are virtual consoles."""


def host_terminal(kernel: Kernel) -> Optional[HostDescriptor]:
    """The first of the host's descriptors that is a terminal, or None."""
    return next((node for node in kernel.vfs.host_descriptors if os.isatty(node.fd)), None)


def controlling_terminal(kernel: Kernel, task: task_struct) -> Optional[HostDescriptor]:
    """The terminal of the task's session: the host's, unless the session is one that setsid made."""
    return host_terminal(kernel) if task.signal.session in kernel.spawned else None


def tty_number(kernel: Kernel, task: task_struct) -> int:
    """The controlling terminal's device number, 0 for none (/proc/PID/stat)."""
    terminal = controlling_terminal(kernel, task)
    return 0 if terminal is None else os.fstat(terminal.fd).st_rdev


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
    terminal = None if task is None else controlling_terminal(kernel, task)
    return -ENXIO if terminal is None else _become(filp, terminal)


def _open_console(node: inode, filp: file) -> int:
    """/dev/console and /dev/ttyN: -ENODEV when the machine has no terminal."""
    terminal = host_terminal(current_kernel())
    return -ENODEV if terminal is None else _become(filp, terminal)


def tty_init(kernel: Kernel) -> None:
    """Register the devices and ask for their nodes."""
    for dev, count, name, mode, opened, nodes in (
        (MKDEV(TTYAUX_MAJOR, 0), 1, "/dev/tty", 0o666, _open_tty, ("tty",)),
        (MKDEV(TTYAUX_MAJOR, 1), 1, "/dev/console", 0o600, _open_console, ("console",)),
        (MKDEV(TTY_MAJOR, 0), CONSOLES, "tty", 0o620, _open_console, ("tty0", "tty1")),
    ):
        kernel.chrdevs.register_region(dev, count, name)
        kernel.chrdevs.add(cdev(file_operations(open=opened)), dev, count)
        for minor, node in enumerate(nodes):
            kernel.chrdevs.mk_node(node, mode, dev + minor)
