"""Device nodes and /proc files in the names of today (linux/device.h, err.h, proc_fs.h, seq_file.h)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional, Union

from machine.kernel.abi.errno import EEXIST, EIO, Errno
from machine.kernel.answers import nonsense, wrong_count
from machine.kernel.current import current_kernel
from machine.kernel.fs.file import MAJOR, MINOR, Ptr
from machine.kernel.fs.sysfs import SysEntry
from machine.kernel.include.device import format_c
from machine.kernel.include.pages import BUG_report
from machine.kernel.module import DRIVER_FAILED, call_driver, calling_line, calling_module, module

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

# -- errors in pointers --------------------------------------------------------------------------------------


class err_ptr:
    """What a function that returns a pointer returns for a negative errno."""

    __slots__ = ("errno",)

    def __init__(self, errno: int) -> None:
        self.errno = errno

    def __repr__(self) -> str:
        return f"ERR_PTR({self.errno})"


def ERR_PTR(error: int) -> err_ptr:
    """A "pointer" that carries the negative errno `error`."""
    return err_ptr(error)


def IS_ERR(ptr: object) -> bool:
    """Whether `ptr` carries an errno."""
    return isinstance(ptr, err_ptr)


def PTR_ERR(ptr: object) -> int:
    """The negative errno in `ptr`."""
    assert isinstance(ptr, err_ptr), f"{ptr!r} carries no errno: ask IS_ERR first"
    return ptr.errno


# -- classes and devices ----------------------------------------------------------------------------------------


class device:
    """`struct device`: one node below /dev, made by `device_create`."""

    __slots__ = ("cls", "devt", "driver_data", "name", "node")

    def __init__(self, cls: device_class, devt: int, driver_data: Any, name: str) -> None:
        self.cls = cls
        self.devt = devt
        self.driver_data = driver_data
        self.name = name
        self.node = name
        """Its path below /dev."""


class device_class:
    """`struct class`: a family of devices, /sys/class/NAME."""

    def __init__(self, kernel: Kernel, name: str, owner: Optional[module], where: str) -> None:
        self.kernel = kernel
        self.name = name
        self.owner = owner
        self.where = where
        self.devices: list[device] = []
        self.devnode: Optional[Callable[[device, Optional[Ptr]], Optional[str]]] = None
        """(device, mode) -> another path below /dev, or None; it may set ``mode[0]``, the permission bits of the node,
        which are 0600 otherwise."""


def class_create(owner: Any, name: Optional[str] = None) -> Union[device_class, err_ptr]:
    """A class of devices, ``class_create(THIS_MODULE, "scullp")``; an ERR_PTR of -EEXIST when the name is taken.

    2.6.13 brought it, when devfs went.  Linux 6.4 dropped the first argument: ``class_create("scullp")`` works too.
    """
    kernel = current_kernel()
    name = owner if name is None else name
    if not isinstance(name, str):
        raise TypeError('class_create takes a name: class_create(THIS_MODULE, "scullp")')
    classes: dict[str, device_class] = kernel.device_classes
    if name in classes:
        return err_ptr(-EEXIST)
    classes[name] = made = device_class(kernel, name, calling_module(2), calling_line(2))
    kernel.sysfs_entries[f"class/{name}/"] = ""
    if not any(isinstance(each, _LeftBy) for each in kernel.leak_checks):
        kernel.leak_checks.append(_LeftBy(kernel))
    return made


def class_destroy(cls: Optional[device_class]) -> None:
    """Undo `class_create`; its devices must be gone."""
    if cls is None or isinstance(cls, err_ptr):
        return
    if cls not in current_kernel().device_classes.values():
        BUG_report(f"class_destroy: class '{cls.name}' does not exist any more")
        return
    if cls.devices:
        names = ", ".join(each.name for each in cls.devices)
        BUG_report(f"class_destroy: class '{cls.name}' still has devices: {names}")
    _remove_class(cls)


def _remove_class(cls: device_class) -> None:
    kernel = cls.kernel
    for each in list(cls.devices):
        _remove_device(each)
    del kernel.device_classes[cls.name]
    kernel.sysfs_entries.pop(f"class/{cls.name}/", None)


def device_create(
    cls: device_class, parent: Optional[device], devt: int, drvdata: Any, fmt: str, *args: Any
) -> Union[device, err_ptr]:
    """A node /dev/NAME for device number `devt`, its name as printf has it, and /sys/class/CLASS/NAME/dev.

    Root's alone (0600) unless the class's `devnode` says else.  An ERR_PTR of -EEXIST when there is one already.
    """
    kernel = current_kernel()
    made = device(cls, devt, drvdata, format_c(fmt, args))
    if f"class/{cls.name}/{made.name}" in kernel.sysfs_entries:
        return err_ptr(-EEXIST)
    mode = [0]
    if cls.devnode is not None:
        other = call_driver(kernel, cls.owner, "devnode", cls.devnode, made, mode)
        if isinstance(other, str):
            made.node = other
    if made.node in kernel.chrdevs.nodes:
        return err_ptr(-EEXIST)
    kernel.chrdevs.mk_node(made.node, mode[0] or 0o600, devt, calling_module(2))
    publish_device(kernel, cls.name, made.name, made.node, devt)
    cls.devices.append(made)
    return made


def publish_device(kernel: Kernel, cls: str, name: str, node: str, devt: int) -> None:
    """/sys/class/`cls`/`name` and what is in it."""
    path = f"devices/virtual/{cls}/{name}"
    number = f"{MAJOR(devt)}:{MINOR(devt)}\n"
    event = f"MAJOR={MAJOR(devt)}\nMINOR={MINOR(devt)}\nDEVNAME={node}\n"
    kernel.sysfs_entries[f"{path}/dev"] = SysEntry(0o444, lambda _: number)
    kernel.sysfs_entries[f"{path}/uevent"] = SysEntry(0o644, lambda _: event)
    kernel.sysfs_entries[f"{path}/subsystem"] = f"../../../../class/{cls}"
    kernel.sysfs_entries[f"class/{cls}/{name}"] = f"../../{path}"


def withdraw_device(kernel: Kernel, cls: str, name: str) -> None:
    """Undo `publish_device`."""
    below = f"devices/virtual/{cls}/{name}/"
    for path in [each for each in kernel.sysfs_entries if each.startswith(below)]:
        del kernel.sysfs_entries[path]
    kernel.sysfs_entries.pop(f"class/{cls}/{name}", None)


def device_destroy(cls: device_class, devt: int) -> None:
    """Take away what `device_create` made for the number `devt`."""
    for each in cls.devices:
        if each.devt == devt:
            _remove_device(each)
            return
    BUG_report(f"device_destroy: class '{cls.name}' has no device {MAJOR(devt)}:{MINOR(devt)}")


def _remove_device(gone: device) -> None:
    kernel = gone.cls.kernel
    gone.cls.devices.remove(gone)
    kernel.chrdevs.remove_node(gone.node)
    withdraw_device(kernel, gone.cls.name, gone.name)


def dev_get_drvdata(dev: device) -> Any:
    """The `drvdata` that `device_create` was given."""
    return dev.driver_data


class _LeftBy:
    """Of one machine: module -> the classes that it left, a line each.  They are taken away (`kernel.leak_checks`)."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def __call__(self, owner: module) -> list[str]:
        mine = [each for each in self.kernel.device_classes.values() if each.owner is owner]
        for each in mine:
            _remove_class(each)
        return [f"class '{each.name}', made at {each.where}" for each in mine]


# -- /proc ---------------------------------------------------------------------------------------------------------


class seq_file:
    """`struct seq_file`: the text of a /proc file while it is made."""

    __slots__ = ("private", "text")

    def __init__(self, private: Any) -> None:
        self.private = private
        """What `proc_create_single_data` was given."""
        self.text: list[str] = []


def seq_printf(m: seq_file, fmt: str, *args: Any) -> None:
    """Add to the text, as printf has it."""
    m.text.append(format_c(fmt, args))


def seq_puts(m: seq_file, s: str) -> None:
    """Add a text as it is."""
    m.text.append(s)


def seq_putc(m: seq_file, c: str) -> None:
    """Add one character."""
    m.text.append(c)


def proc_create_single(
    name: str, mode: int, parent: Optional[str], show: Callable[[seq_file, Any], int]
) -> Optional[Callable[[], bytes]]:
    """A file /proc/`name` (/proc/`parent`/`name`) whose text ``show(m, v)`` makes with `seq_printf`; it returns 0.

    Readable by all.  `create_proc_read_entry` went with Linux 3.10; `proc_create` came with 2.6.26, this with 4.18.
    """
    return _proc_create(name, parent, show, None)


def proc_create_single_data(
    name: str, mode: int, parent: Optional[str], show: Callable[[seq_file, Any], int], data: Any
) -> Optional[Callable[[], bytes]]:
    """`proc_create_single` with `data` for ``m.private``."""
    return _proc_create(name, parent, show, data)


def _proc_create(
    name: str, parent: Optional[str], show: Callable[[seq_file, Any], int], data: Any
) -> Optional[Callable[[], bytes]]:
    kernel, owner = current_kernel(), calling_module(3)
    path = f"{parent}/{name}" if parent else name
    if path in kernel.proc_entries:
        return None

    def text() -> bytes:
        m = seq_file(data)
        result = call_driver(kernel, owner, "show", show, m, None)
        if result is DRIVER_FAILED:
            raise Errno(EIO)
        why = wrong_count(result, 0)
        if why:
            nonsense(owner, f"show of /proc/{path}", show, result, why)
            raise Errno(EIO)
        if result < 0:
            raise Errno(-result)
        return "".join(m.text).encode()

    text.owner = owner  # type: ignore[attr-defined]  # for the list of leaks at rmmod
    kernel.proc_entries[path] = text
    return text


__all__ = [
    "ERR_PTR", "IS_ERR", "PTR_ERR", "class_create", "class_destroy", "dev_get_drvdata", "device", "device_class",
    "device_create", "device_destroy", "err_ptr", "proc_create_single", "proc_create_single_data", "seq_file",
    "seq_printf", "seq_putc", "seq_puts",
]  # fmt: skip
