"""How a driver makes itself known: numbers, devices, nodes, /proc files, parameters, its module
(linux/fs.h, linux/cdev.h, linux/devfs_fs_kernel.h, linux/proc_fs.h, linux/module.h)."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any, Optional

from machine.kernel.abi.errno import EIO, Errno
from machine.kernel.answers import nonsense
from machine.kernel.current import current_kernel
from machine.kernel.fs.chrdev import cdev
from machine.kernel.fs.file import MAJOR, MINOR, MKDEV, file_operations
from machine.kernel.include.pages import BUG_report
from machine.kernel.modparam import ParamType, kernel_param
from machine.kernel.module import DRIVER_FAILED, SLOT, call_driver, calling_module, module

_CONVERSION = r"%([-+ #0]*)(\*|\d+)?(\.\d+)?(hh|h|ll|l|L|z|Z|t|j|q)?([diouxXcsp%])"
_BITS = {"hh": 8, "h": 16, "": 32}


def format_c(fmt: str, args: tuple[Any, ...]) -> str:
    """`fmt` with its arguments as the kernel's vsnprintf has it; ``%lx`` of a negative number shows 64 bits."""
    left = iter(args)

    def one(match: re.Match[str]) -> str:
        flags, width, precision, length, kind = match.groups()
        if kind == "%":
            return "%"
        try:
            width = str(next(left)) if width == "*" else width or ""
            value = next(left)
        except StopIteration:
            raise TypeError(f"{fmt!r} wants more than the {len(args)} arguments that it is given") from None
        if kind == "p":
            return f"{int(value) & (1 << 64) - 1:016x}"
        if kind in "ouxX" and isinstance(value, int) and value < 0:
            value &= (1 << _BITS.get(length or "", 64)) - 1
        if kind in "diouxX" and not isinstance(value, int):
            value = int(value)
        return f"%{flags}{width}{precision or ''}{'d' if kind == 'u' else kind}" % (value,)

    return re.sub(_CONVERSION, one, fmt)


def printk(fmt: str, *args: Any) -> int:
    """Write to the kernel's log: ``printk(KERN_NOTICE "...%lx\\n", x)`` is ``printk(KERN_NOTICE + "...%lx\\n", x)``.

    A text that does not end in a newline is continued by the next.  Returns the number of characters.
    """
    if args and re.fullmatch("<[0-7cd]>", fmt):
        raise TypeError(f'printk({fmt!r}, ...): the level is part of the text: KERN_INFO + "...", without a comma')
    return current_kernel().log.printk(format_c(fmt, args))


def printk_ratelimit() -> int:
    """Whether to print a message that may come often: 1 (the log is a ring; nothing is lost by length)."""
    return 1


# -- numbers and devices -------------------------------------------------------------------------------


def register_chrdev_region(first: int, count: int, name: str) -> int:
    """Claim `count` device numbers from `first` on: 0, -EBUSY or -EINVAL."""
    result = current_kernel().chrdevs.register_region(first, count, name, calling_module(2))
    return min(result, 0)


def alloc_chrdev_region(dev: list[int], baseminor: int, count: int, name: str) -> int:
    """Claim `count` numbers of a free major; the first is stored in ``dev[0]``.  0 or -EBUSY."""
    result = current_kernel().chrdevs.register_region(MKDEV(0, baseminor), count, name, calling_module(2))
    if result < 0:
        return result
    dev[0] = MKDEV(result, baseminor)
    return 0


def unregister_chrdev_region(first: int, count: int) -> None:
    """Give back what one of the two above claimed."""
    if not current_kernel().chrdevs.unregister_region(first, count):
        BUG_report(f"unregister_chrdev_region({MAJOR(first)}:{MINOR(first)}, {count}): never registered")


def cdev_init(device: cdev, fops: file_operations) -> None:
    """Prepare a cdev for `cdev_add`."""
    owner = calling_module(2)
    device.ops = fops
    device.owner = owner
    if fops.owner is None:
        fops.owner = owner


def cdev_alloc() -> cdev:
    """A new cdev without operations; set its `ops`."""
    return cdev(owner=calling_module(2))


def cdev_add(device: cdev, dev: int, count: int) -> int:
    """The device is live: it answers for `count` numbers from `dev` on.  0 or a negative errno."""
    if device.ops is not None and device.ops.owner is None:
        device.ops.owner = device.owner
    return current_kernel().chrdevs.add(device, dev, count)


def cdev_del(device: cdev) -> None:
    """The device can't be opened any more."""
    if not current_kernel().chrdevs.remove(device):
        BUG_report("cdev_del of a device that was not added")


def register_chrdev(major: int, name: str, fops: file_operations) -> int:
    """Claim a whole major, minors 0 to 255, and answer for it (the older way).

    Major 0 asks for a free one.  Returns the major that was given out, 0 when the one asked for was free, or
    -EBUSY, -EINVAL.
    """
    chrdevs = current_kernel().chrdevs
    owner = calling_module(2)
    result = chrdevs.register_region(MKDEV(major, 0), 256, name, owner)
    if result < 0:
        return result
    if fops.owner is None:
        fops.owner = owner
    chrdevs.add(cdev(fops, owner), MKDEV(result, 0), 256)
    return 0 if major else result


def unregister_chrdev(major: int, name: str) -> int:
    """Undo `register_chrdev`: 0."""
    chrdevs = current_kernel().chrdevs
    device = chrdevs.find(MKDEV(major, 0))
    if not chrdevs.unregister_region(MKDEV(major, 0), 256) or device is None:
        BUG_report(f"unregister_chrdev({major}, {name!r}): never registered")
        return 0
    chrdevs.remove(device)
    return 0


# -- nodes ------------------------------------------------------------------------------------------------


def devfs_mk_cdev(dev: int, mode: int, fmt: str, *args: Any) -> int:
    """A node below /dev for device number `dev`: its permissions and its name, as printf has it.  0."""
    current_kernel().chrdevs.mk_node(format_c(fmt, args), mode, dev, calling_module(2))
    return 0


def devfs_mk_symlink(from_: str, to: str) -> int:
    """A symbolic link /dev/`from_` to `to`.  0."""
    current_kernel().chrdevs.mk_link(from_, to, calling_module(2))
    return 0


def devfs_remove(fmt: str, *args: Any) -> None:
    """Take away a node or link of the two above."""
    name = format_c(fmt, args)
    if not current_kernel().chrdevs.remove_node(name):
        BUG_report(f"devfs_remove({name!r}): there is no such node")


# -- /proc --------------------------------------------------------------------------------------------------


def create_proc_read_entry(
    name: str, mode: int, base: Optional[str], read_proc: Callable[[Any], str], data: Any
) -> Callable[[], bytes]:
    """A file /proc/`name` (/proc/`base`/`name`), readable by all.

    In C `read_proc` fills a page in pieces; here ``read_proc(data)`` returns the whole text.
    """
    kernel, owner = current_kernel(), calling_module(2)

    def show() -> bytes:
        text = call_driver(kernel, owner, "read_proc", read_proc, data)
        if text is DRIVER_FAILED:
            raise Errno(EIO)
        if not isinstance(text, (str, bytes)):
            nonsense(owner, "read_proc", read_proc, text, "which is no text")
            raise Errno(EIO)
        return text if isinstance(text, bytes) else text.encode()

    show.owner = owner  # type: ignore[attr-defined]  # for the list of leaks at rmmod
    kernel.proc_entries[f"{base}/{name}" if base else name] = show
    return show


def remove_proc_entry(name: str, base: Optional[str]) -> None:
    """Take the file away again."""
    entries = current_kernel().proc_entries
    path = f"{base}/{name}" if base else name
    if entries.pop(path, None) is None:
        BUG_report(f"remove_proc_entry({path!r}): there is no such entry")


# -- the module itself -------------------------------------------------------------------------------------------


def _module_of_caller() -> module:
    owner: Optional[module] = sys._getframe(2).f_globals.get(SLOT)
    if owner is None:
        raise RuntimeError("this works in a driver that a machine has loaded")
    return owner


def module_init(function: Callable[[], int]) -> None:
    """The function that runs when the driver is loaded: 0, or a negative errno and it is not loaded."""
    _module_of_caller().init = function


def module_exit(function: Callable[[], None]) -> None:
    """The function that runs when the driver is unloaded; it must give back everything."""
    _module_of_caller().exit = function


def module_param(name: str, type: ParamType, perm: int) -> None:
    """The driver's global `name` can be set when it is loaded: ``scullp,scullp_qset=100``.

    `type` is int, bool or str, or the kernel's charp, uint, long, ulong, short, ushort, byte, invbool.
    """
    owner = _module_of_caller()
    if name not in owner.namespace:
        raise NameError(f"module_param({name!r}): the module has no such global yet")
    owner.params[name] = kernel_param(name, type, perm)


def module_param_array(name: str, type: ParamType, perm: int) -> None:
    """The same for a list: ``ports=1:2:3`` (a comma begins the next parameter)."""
    owner = _module_of_caller()
    if name not in owner.namespace:
        raise NameError(f"module_param_array({name!r}): the module has no such global yet")
    owner.params[name] = kernel_param(name, type, perm, array=True)


def MODULE_PARM_DESC(name: str, text: str) -> None:
    """What a parameter is for; shown by ``nopage devices``."""
    _module_of_caller().descriptions[name] = text


def MODULE_LICENSE(text: str) -> None:
    """The module's license."""
    _module_of_caller().info["license"] = text


def MODULE_AUTHOR(text: str) -> None:
    """The module's author."""
    _module_of_caller().info["author"] = text


def MODULE_DESCRIPTION(text: str) -> None:
    """What the module is, in one line; shown by ``nopage devices``."""
    _module_of_caller().info["description"] = text
