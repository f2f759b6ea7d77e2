"""Files in /sys that a driver makes (linux/device.h, linux/kobject.h, linux/sysfs.h).

An attribute is a file of one value: ``show(dev, attr, buf)`` fills it with `sysfs_emit` and returns the length,
``store(dev, attr, buf, count)`` is given the bytes that were written and returns how many it took, both a negative
errno else.  For an attribute of a `kobject` the first argument is that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Optional, Union

from machine.kernel.abi.errno import EEXIST, EIO, Errno
from machine.kernel.answers import nonsense, wrong_count
from machine.kernel.current import current_kernel
from machine.kernel.fs.sysfs import SysEntry
from machine.kernel.include.class_device import device
from machine.kernel.include.device import format_c
from machine.kernel.include.pages import BUG_report
from machine.kernel.module import DRIVER_FAILED, call_driver, calling_module, module


class sysfs_buf:
    """What a `show` method fills."""

    __slots__ = ("text",)

    def __init__(self) -> None:
        self.text = ""


Show = Callable[[Any, Any, sysfs_buf], int]
Store = Callable[[Any, Any, bytes, int], int]


class device_attribute:
    """`struct device_attribute`, `struct kobj_attribute`: a name, permission bits, and the two methods."""

    __slots__ = ("mode", "name", "show", "store")

    def __init__(self, name: str, mode: int, show: Optional[Show], store: Optional[Store]) -> None:
        self.name = name
        self.mode = mode
        self.show = show
        self.store = store


kobj_attribute = device_attribute


class kobject:
    """`struct kobject`: a directory in /sys, at `path` below it."""

    __slots__ = ("name", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = path.rpartition("/")[2]


def DEVICE_ATTR(name: str, mode: int, show: Optional[Show], store: Optional[Store] = None) -> device_attribute:
    """An attribute.  (C's macro declares a variable ``dev_attr_NAME``.)"""
    return device_attribute(name, mode, show, store)


__ATTR = DEVICE_ATTR


def sysfs_emit(buf: sysfs_buf, fmt: str, *args: Any) -> int:
    """Put a text into the file, as printf has it: its length in bytes.  A page is the most."""
    text = format_c(fmt, args)
    buf.text += text
    return len(text.encode())


def kobject_create_and_add(name: str, parent: Optional[Union[kobject, device]]) -> kobject:
    """A directory below the one of `parent`, of /sys without one.  It goes with the device, or by `kobject_put`."""
    made = kobject(name if parent is None else f"{_path(parent)}/{name}")
    current_kernel().sysfs_entries[made.path + "/"] = ""
    return made


def kobject_put(kobj: Optional[kobject]) -> None:
    """Take the directory away, with everything below it."""
    if kobj is None:
        return
    entries = current_kernel().sysfs_entries
    for path in [each for each in entries if each.startswith(kobj.path + "/")]:
        del entries[path]


def sysfs_create_file(kobj: kobject, attr: device_attribute) -> int:
    """The file of `attr` in a directory: 0, or -EEXIST."""
    return _create(kobj, kobj, attr, calling_module(2))


def sysfs_remove_file(kobj: kobject, attr: device_attribute) -> None:
    """Take it away again."""
    _remove(kobj, attr)


def device_create_file(dev: device, attr: device_attribute) -> int:
    """The file of `attr` among those of a device: 0, or -EEXIST.  It goes with the device."""
    return _create(dev, dev, attr, calling_module(2))


def device_remove_file(dev: device, attr: device_attribute) -> None:
    """Take it away before the device goes."""
    _remove(dev, attr)


def _path(of: Union[kobject, device]) -> str:
    return of.path if isinstance(of, kobject) else f"devices/virtual/{of.cls.name}/{of.name}"


def _remove(of: Union[kobject, device], attr: device_attribute) -> None:
    if current_kernel().sysfs_entries.pop(f"{_path(of)}/{attr.name}", None) is None:
        BUG_report(f"/sys/{_path(of)} has no file '{attr.name}'")


def _create(of: Union[kobject, device], subject: Any, attr: device_attribute, owner: Optional[module]) -> int:
    kernel = current_kernel()
    path = f"{_path(of)}/{attr.name}"
    if path in kernel.sysfs_entries:
        return -EEXIST

    def show(_: Any) -> bytes:
        if attr.show is None:
            raise Errno(EIO)
        buf = sysfs_buf()
        _judge("show", attr.show, call_driver(kernel, owner, "show", attr.show, subject, attr, buf))
        return buf.text.encode()

    def store(_: Any, data: bytes) -> None:
        assert attr.store is not None
        _judge("store", attr.store, call_driver(kernel, owner, "store", attr.store, subject, attr, data, len(data)))

    def _judge(what: str, method: Any, result: Any) -> None:
        if result is DRIVER_FAILED:
            raise Errno(EIO)
        why = wrong_count(result, 4096)
        if why:
            nonsense(owner, f"{what} of /sys/{path}", method, result, why)
            raise Errno(EIO)
        if result < 0:
            raise Errno(-result)

    kernel.sysfs_entries[path] = SysEntry(attr.mode, show, None if attr.store is None else store)
    return 0


__all__ = [
    "DEVICE_ATTR", "__ATTR", "device_attribute", "device_create_file", "device_remove_file", "kobj_attribute",
    "kobject", "kobject_create_and_add", "kobject_put", "sysfs_buf", "sysfs_create_file", "sysfs_emit",
    "sysfs_remove_file",
]  # fmt: skip
