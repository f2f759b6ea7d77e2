"""One device with a minor number of major 10, without a major of its own (linux/miscdevice.h; drivers/char/misc.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.abi.errno import EBUSY, EEXIST, EINVAL
from machine.kernel.current import current_kernel
from machine.kernel.dialect import is_today
from machine.kernel.fs.chrdev import MISC_MAJOR, cdev
from machine.kernel.fs.file import MKDEV, file_operations
from machine.kernel.include.class_device import publish_device, withdraw_device
from machine.kernel.include.pages import BUG_report
from machine.kernel.module import calling_line, calling_module

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.module import module

MISC_DYNAMIC_MINOR = 255
"""Asks `misc_register` for a free minor number."""
_DYNAMIC, _DYNAMIC_OF_TODAY = 64, 128
"""How many minors are given out, from above (DYNAMIC_MINORS)."""


class miscdevice:
    """`struct miscdevice`: ``miscdevice(minor=MISC_DYNAMIC_MINOR, name="ring", fops=ring_fops)`` is /dev/ring.

    `nodename` (`devfs_name` in 2.6.10) puts its node elsewhere below /dev; `mode` is the node's permissions, 0600 by
    default (0640 in 2.6.10).  The minor that was given out is in `minor`.
    """

    __slots__ = (
        "_cdev",
        "_node",
        "_owner",
        "_where",
        "devfs_name",
        "fops",
        "minor",
        "mode",
        "name",
        "nodename",
        "parent",
    )

    def __init__(
        self,
        minor: int = MISC_DYNAMIC_MINOR,
        name: str = "",
        fops: Optional[file_operations] = None,
        *,
        mode: int = 0,
        nodename: str = "",
        devfs_name: str = "",
        parent: Any = None,
    ) -> None:
        self.minor, self.name, self.fops, self.mode = minor, name, fops, mode
        self.nodename, self.devfs_name, self.parent = nodename, devfs_name, parent
        self._cdev: Optional[cdev] = None
        self._node = self._where = ""
        self._owner: Optional[module] = None


def misc_register(misc: miscdevice) -> int:
    """Make the device: a node below /dev, a line in /proc/misc, /sys/class/misc/NAME.  0.

    -EBUSY: the minor is taken, or none is free; -EEXIST: there is a device of that name; -EINVAL: no name or no fops,
    or a minor beyond 255.  In a driver of today `open` finds `misc` in ``filp.private_data``.
    """
    kernel, owner = current_kernel(), calling_module(2)
    if not misc.name or misc.fops is None or not 0 <= misc.minor <= MISC_DYNAMIC_MINOR:
        return -EINVAL
    taken = {each.minor for each in kernel.misc_devices}
    minor = misc.minor
    if minor == MISC_DYNAMIC_MINOR:
        last = (_DYNAMIC_OF_TODAY if is_today(owner) else _DYNAMIC) - 1
        minor = next((each for each in range(last, -1, -1) if each not in taken), -1)
    if minor < 0 or minor in taken:
        return -EBUSY
    node = misc.nodename or misc.devfs_name or misc.name
    if node in kernel.chrdevs.nodes or any(each.name == misc.name for each in kernel.misc_devices):
        return -EEXIST
    misc.minor, misc._node, misc._owner, misc._where = minor, node, owner, calling_line(2)
    if misc.fops.owner is None:
        misc.fops.owner = owner
    devt = MKDEV(MISC_MAJOR, minor)
    misc._cdev = cdev(misc.fops)
    misc._cdev.private = misc if is_today(owner) else None
    kernel.chrdevs.add(misc._cdev, devt, 1)
    kernel.chrdevs.mk_node(node, misc.mode or (0o600 if is_today(owner) else 0o640), devt)
    kernel.sysfs_entries["class/misc/"] = ""
    publish_device(kernel, "misc", misc.name, node, devt)
    if not any(isinstance(each, _LeftBy) for each in kernel.leak_checks):
        kernel.leak_checks.append(_LeftBy(kernel))
    kernel.misc_devices.insert(0, misc)  # the newest first, as /proc/misc shows them
    return 0


def misc_deregister(misc: miscdevice) -> int:
    """Undo `misc_register`: 0, or -EINVAL, reported, for a device that is not registered."""
    kernel = current_kernel()
    if misc not in kernel.misc_devices:
        BUG_report(f"misc_deregister of '{misc.name}', which is not registered")
        return -EINVAL
    _remove(kernel, misc)
    return 0


def _remove(kernel: Kernel, misc: miscdevice) -> None:
    assert misc._cdev is not None
    kernel.misc_devices.remove(misc)
    kernel.chrdevs.remove(misc._cdev)
    kernel.chrdevs.remove_node(misc._node)
    withdraw_device(kernel, "misc", misc.name)
    if misc.minor < _DYNAMIC_OF_TODAY and is_today(misc._owner):
        misc.minor = MISC_DYNAMIC_MINOR


class _LeftBy:
    """Of one machine: module -> the misc devices that it left, a line each.  They are taken away."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def __call__(self, owner: module) -> list[str]:
        mine = [each for each in self.kernel.misc_devices if each._owner is owner]
        for each in mine:
            _remove(self.kernel, each)
        return [f"misc device '{each.name}', registered at {each._where}" for each in mine]


__all__ = ["MISC_DYNAMIC_MINOR", "MISC_MAJOR", "misc_deregister", "misc_register", "miscdevice"]
