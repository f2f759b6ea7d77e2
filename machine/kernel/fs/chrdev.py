"""Character devices: who has which numbers, and how a node finds its driver (fs/char_dev.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.abi.errno import EBUSY, EINVAL, EIO, ENODEV, ENXIO
from machine.kernel.answers import nonsense, wrong_status
from machine.kernel.current import current_kernel
from machine.kernel.fs.file import MAJOR, MINOR, MKDEV, S_IFCHR, file, file_operations, inode

if TYPE_CHECKING:
    from machine.kernel.fs.tmpfs import devtmpfs_dir
    from machine.kernel.kernel import Kernel
    from machine.kernel.module import module

CHRDEV_MAJOR_MAX = 511
DYNAMIC_FROM, DYNAMIC_DOWN_TO = 254, 234
"""Majors that are given out when none is asked for, from above (2.6.10: any unused one below 255)."""
MINORMASK = (1 << 20) - 1
MISC_MAJOR = 10
"""The major number of all devices that `misc_register` makes."""


class cdev:
    """`struct cdev`: the operations behind a range of device numbers."""

    __slots__ = ("count", "dev", "ops", "owner", "private")

    def __init__(self, ops: Optional[file_operations] = None, owner: Optional[module] = None) -> None:
        self.ops = ops
        self.owner = owner
        self.dev = 0
        self.count = 0
        """Number of minors from `dev` on; 0 while it is not added."""
        self.private: Any = None
        """What an open file has in `private_data` before the driver's `open` is called."""


class _Region:
    """`struct char_device_struct`: numbers that a driver has registered."""

    __slots__ = ("count", "dev", "name", "owner")

    def __init__(self, dev: int, count: int, name: str, owner: Optional[module]) -> None:
        self.dev = dev
        self.count = count
        self.name = name
        self.owner = owner


class Chrdevs:
    """The numbers of one machine (`chrdevs[]`, `cdev_map`) and the nodes that drivers asked for."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.regions = [_Region(MKDEV(MISC_MAJOR, 0), 256, "misc", None)]
        self.cdevs: list[cdev] = []
        self.add(cdev(file_operations(open=_no_misc_device)), MKDEV(MISC_MAJOR, 0), 256)
        self.nodes: dict[str, tuple[Any, Optional[module]]] = {}
        """Name below /dev -> ((mode, dev) of a node or the target of a link, the driver)."""

    # -- numbers ---------------------------------------------------------------------------------

    def register_region(self, dev: int, count: int, name: str, owner: Optional[module] = None) -> int:
        """Claim `count` numbers from `dev` on: the major.  Major 0 asks for a free one.

        -EBUSY: taken, or none is free; -EINVAL: a major above 511 or minors beyond 2**20.
        """
        major, minor = MAJOR(dev), MINOR(dev)
        if major > CHRDEV_MAJOR_MAX or count <= 0 or minor + count - 1 > MINORMASK:
            return -EINVAL
        if major == 0:
            taken = {MAJOR(region.dev) for region in self.regions}
            major = next((m for m in range(DYNAMIC_FROM, DYNAMIC_DOWN_TO - 1, -1) if m not in taken), 0)
            if major == 0:
                return -EBUSY
        for region in self.regions:
            if MAJOR(region.dev) != major:
                continue
            other = MINOR(region.dev)
            if minor < other + region.count and other < minor + count:
                return -EBUSY
        self.regions.append(_Region(MKDEV(major, minor), count, name, owner))
        return major

    def unregister_region(self, dev: int, count: int) -> bool:
        """Give numbers back; False when they are not registered like that."""
        for region in self.regions:
            if region.dev == dev and region.count == count:
                self.regions.remove(region)
                return True
        return False

    def names(self) -> list[tuple[int, str]]:
        """(major, name) for /proc/devices, each pair once, in order of the majors."""
        return sorted({(MAJOR(region.dev), region.name) for region in self.regions})

    # -- devices ----------------------------------------------------------------------------------

    def add(self, device: cdev, dev: int, count: int) -> int:
        """The device answers for `count` numbers from `dev` on (cdev_add): 0."""
        device.dev, device.count = dev, count
        self.cdevs.append(device)
        return 0

    def remove(self, device: cdev) -> bool:
        """It answers no longer; open files stay open (cdev_del).  False when it was not added."""
        if device not in self.cdevs:
            return False
        self.cdevs.remove(device)
        device.count = 0
        return True

    def find(self, dev: int) -> Optional[cdev]:
        """Who answers for `dev`: the device with the smallest range that holds it (kobj_lookup)."""
        major, minor = MAJOR(dev), MINOR(dev)
        best: Optional[cdev] = None
        for each in self.cdevs:
            first = MINOR(each.dev)
            inside = MAJOR(each.dev) == major and first <= minor < first + each.count
            if inside and (best is None or each.count < best.count):
                best = each
        return best

    def open(self, node: inode, filp: file) -> int:
        """Open a character device node: `chrdev_open`."""
        return chrdev_open(node, filp)

    # -- nodes -------------------------------------------------------------------------------------

    def mk_node(self, name: str, mode: int, dev: int, owner: Optional[module] = None) -> None:
        """A node below /dev for the device (devfs_mk_cdev)."""
        self.nodes[name] = ((S_IFCHR | mode & 0o7777, dev), owner)
        self._publish(name)

    def mk_link(self, name: str, target: str, owner: Optional[module] = None) -> None:
        """A symbolic link below /dev (devfs_mk_symlink)."""
        self.nodes[name] = (target, owner)
        self._publish(name)

    def remove_node(self, name: str) -> bool:
        """Take a node or link away; False when no driver made it."""
        if self.nodes.pop(name, None) is None:
            return False
        directory = self._devtmpfs()
        if directory is not None:
            directory.remove_node(name)
        return True

    def _devtmpfs(self) -> Optional[devtmpfs_dir]:
        """/dev, None before it is mounted."""
        vfs = getattr(self.kernel, "vfs", None)
        return None if vfs is None else vfs.dev

    def publish_all(self) -> None:
        """/dev has just been mounted: make what was asked for before."""
        for name in self.nodes:
            self._publish(name)

    def _publish(self, name: str) -> None:
        directory = self._devtmpfs()
        if directory is None:
            return
        what = self.nodes[name][0]
        if isinstance(what, str):
            directory.make_link(name, what)
        else:
            directory.mknod(name, *what)

    def has_any(self, owner: module) -> bool:
        """Whether the driver has registered numbers or a device."""
        devices = [owner_of for each in self.cdevs for owner_of in (each.owner, getattr(each.ops, "owner", None))]
        return owner in devices or any(each.owner is owner for each in self.regions)

    # -- unload --------------------------------------------------------------------------------------

    def left_by(self, owner: module) -> list[str]:
        """What an unloaded driver left registered, a line each.  It is taken away: nobody could answer for it."""
        left = []
        for device in [each for each in self.cdevs if each.owner is owner]:
            self.remove(device)
            left.append(f"character device {MAJOR(device.dev)}:{MINOR(device.dev)}")
        for region in [each for each in self.regions if each.owner is owner]:
            self.regions.remove(region)
            left.append(f"device numbers of major {MAJOR(region.dev)} ('{region.name}')")
        for name in [name for name, (_, who) in self.nodes.items() if who is owner]:
            self.remove_node(name)
            left.append(f"/dev/{name}")
        return left


def _no_misc_device(node: inode, filp: file) -> int:
    """Behind the minors of major 10 that nobody has (drivers/char/misc.c: misc_open)."""
    return -ENODEV


# -- opening a node ----------------------------------------------------------------------------------------


def chrdev_open(node: inode, filp: file) -> int:
    """Give the open file its driver's operations, then call their `open` (fs/char_dev.c: chrdev_open).

    0, -ENXIO when nobody answers for the number or its driver is being unloaded, or what
    the driver says.  The driver's module stays in use until the file is released.
    """
    from machine.kernel.lent import lent_file
    from machine.kernel.module import DRIVER_FAILED, call_driver

    kernel = current_kernel()
    device = kernel.chrdevs.find(node.i_rdev)
    if device is not None and device.ops is not None and kernel.before_open is not None:
        kernel.before_open(device.ops.owner)
        device = kernel.chrdevs.find(node.i_rdev)
    if device is None or device.ops is None:
        return -ENXIO
    owner = device.ops.owner
    if owner is not None and not owner.try_get():
        return -ENXIO  # it is being unloaded
    node.i_cdev = device
    filp.f_op = device.ops
    if device.private is not None:
        filp.private_data = device.private
    if owner is not None:
        filp.__class__ = lent_file
    result: Any = 0
    if device.ops.open is not None:
        result = call_driver(kernel, owner, "open", device.ops.open, node, filp)
        if result is DRIVER_FAILED:
            result = -EIO
        elif owner is not None and (why := wrong_status(result)):
            nonsense(owner, "open", device.ops.open, result, why)
            result = -EIO
    if result < 0:
        filp.f_op = def_chr_fops
        if owner is not None:
            owner.put()
    elif filp.f_op.owner is not owner:
        # `open` chose other operations (memory_open): their module is the one in use.
        if owner is not None:
            owner.put()
        if filp.f_op.owner is not None:
            filp.f_op.owner.get()
    return int(result)


def_chr_fops = file_operations(open=chrdev_open)
"""`i_fop` of every character device node: `open` replaces it by the driver's own."""
