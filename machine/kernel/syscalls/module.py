"""System calls that load and unload drivers (kernel/module.c).

A module image is a name, not code: fs/lib_modules.py says why.  Whatever goes wrong has a line in the log.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from machine.kernel.abi.capability import CAP_SYS_MODULE
from machine.kernel.abi.errno import (
    EBADF,
    EFAULT,
    EINVAL,
    ENAMETOOLONG,
    ENOENT,
    ENOEXEC,
    EOPNOTSUPP,
    EPERM,
    EWOULDBLOCK,
    Errno,
)  # fmt: skip
from machine.kernel.fs.file import FMODE_READ, O_NONBLOCK, S_IFMT, S_IFREG
from machine.kernel.fs.lib_modules import IMAGE_MAX, name_in
from machine.kernel.insmod import finish_unload, insert, try_unload, wait_and_unload
from machine.kernel.modfile import ModuleError, module_files
from machine.kernel.modparam import parse_args
from machine.kernel.syscalls.table import syscall

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

MODULE_INIT_IGNORE_MODVERSIONS, MODULE_INIT_IGNORE_VERMAGIC, MODULE_INIT_COMPRESSED_FILE = 1, 2, 4
MODULE_NAME_LEN = 56
ARGS_MAX = 1 << 17
"""Longest text of parameters (the kernel's limit is ~0 / 2; this is a page of arguments many times over)."""


@syscall("init_module", "ptr ulong str", support="loads drivers of the host's user, by their files in /lib/modules")
def sys_init_module(task: Task, umod: int, length: int, uargs: int) -> int:
    """EPERM: not root; ENOEXEC: no image of ours, or a driver that can't be executed; EFAULT; EEXIST: loaded already;
    ENOENT: unknown parameter; EINVAL: bad value; EIO: init raised; else what init returned.
    """
    if not task.kernel.capable(CAP_SYS_MODULE):
        raise Errno(EPERM)
    if length <= 0 or length > IMAGE_MAX:
        if length > IMAGE_MAX:
            task.mm.copy_from_user(umod, IMAGE_MAX)  # EFAULT comes first
        _no_image(task)
    return _load(task, task.mm.copy_from_user(umod, length), uargs)


@syscall("finit_module", "fd str uint", support="as init_module; no compressed files")
def sys_finit_module(task: Task, fd: int, uargs: int, flags: int) -> int:
    """As init_module; EBADF: not open for reading; EINVAL: no regular file, or an empty one, or an unknown flag;
    EOPNOTSUPP for MODULE_INIT_COMPRESSED_FILE."""
    if not task.kernel.capable(CAP_SYS_MODULE):
        raise Errno(EPERM)
    known = MODULE_INIT_IGNORE_MODVERSIONS | MODULE_INIT_IGNORE_VERMAGIC | MODULE_INIT_COMPRESSED_FILE
    if flags & ~known:
        raise Errno(EINVAL)
    if flags & MODULE_INIT_COMPRESSED_FILE:
        raise Errno(EOPNOTSUPP)
    filp = task.files.fget(fd)
    if not filp.f_mode & FMODE_READ:
        raise Errno(EBADF)
    if filp.f_inode.i_mode & S_IFMT != S_IFREG or filp.f_op.read_iter is None:
        raise Errno(EINVAL)
    image = filp.f_op.read_iter(filp, IMAGE_MAX + 1, 0)
    if not image:
        raise Errno(EINVAL)
    return _load(task, image, uargs)


def _no_image(task: Task) -> None:
    task.kernel.printk("Invalid module format: the files that can be loaded are in /lib/modules", 3)
    raise Errno(ENOEXEC)


def _load(task: Task, image: bytes, uargs: int) -> int:
    kernel = task.kernel
    try:
        arguments = os.fsdecode(task.mm.read_string(uargs, ARGS_MAX))
    except Errno as error:
        raise Errno(EFAULT if error.errno == EFAULT else EINVAL) from None
    try:
        name = name_in(image)
    except Errno:
        name = ""
    path = module_files(kernel).get(name)
    if path is None:
        _no_image(task)
        return -ENOEXEC
    try:
        insert(kernel, name, path, parse_args(arguments), ",")
    except ModuleError as error:
        if error.errno not in (0, EPERM):
            kernel.printk(f"insmod: {error}", 3)
        raise Errno(error.errno) from None
    return 0


@syscall("delete_module", "str uint", support="full; O_TRUNC does not force, as without CONFIG_MODULE_FORCE_UNLOAD")
def sys_delete_module(task: Task, uname: int, flags: int) -> int:
    """EPERM: not root; EFAULT; ENOENT: not loaded; EBUSY: no exit function, or on its way in or out; EWOULDBLOCK: in
    use, with O_NONBLOCK.

    Without O_NONBLOCK it waits for the last user to go, as 2.6.10 does (today's kernels give EWOULDBLOCK there
    too), but a signal ends the wait: EINTR.
    """
    kernel = task.kernel
    if not kernel.capable(CAP_SYS_MODULE):
        raise Errno(EPERM)
    try:
        name = os.fsdecode(task.mm.read_string(uname, MODULE_NAME_LEN))
    except Errno as error:
        raise Errno(ENOENT if error.errno == ENAMETOOLONG else error.errno) from None
    if not flags & O_NONBLOCK:
        wait_and_unload(kernel, name)
        return 0
    old = try_unload(kernel, name)
    if old.refcount:
        raise Errno(EWOULDBLOCK)
    finish_unload(kernel, old)
    return 0
