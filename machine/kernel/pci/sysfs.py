"""/sys/bus/pci and /sys/devices/pci0000:00 (drivers/pci/pci-sysfs.c)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from machine.hardware.iomem import IORESOURCE_IO, IORESOURCE_PREFETCH, Resource
from machine.kernel.abi.capability import CAP_SYS_ADMIN
from machine.kernel.abi.errno import EBUSY, EINVAL, EIO, ENODEV, EPERM, Errno
from machine.kernel.current import current_kernel
from machine.kernel.fs.file import inode, super_block
from machine.kernel.fs.proc import Entry, NodeFactory, Text, Tree
from machine.kernel.pci.access import ResourceFile, RomFile
from machine.kernel.pci.dev import (
    DEVICE_COUNT_RESOURCE,
    PCI_BRIDGE_RESOURCES,
    PCI_ROM_RESOURCE,
    pci_bus,
    pci_dev,
)
from machine.kernel.pci.driver import PCI_ANY_ID, bind, disable, enable, pci_device_id, pci_driver, unbind
from machine.kernel.pci.proc import config_node

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

Store = Callable[["Kernel", bytes], None]


def _text(text: str) -> Entry:
    return Entry(0o444, lambda _kernel: text + "\n")


def path_of(dev: pci_dev) -> str:
    """Where a device is below /sys/devices/pci0000:00: its bridges, then itself."""
    return (f"{path_of(dev.bus.self)}/" if dev.bus.self is not None else "") + dev.slot_name


# -- /sys/bus/pci ----------------------------------------------------------------------------------------------


def bus_tree(kernel: Kernel) -> Tree:
    """The part of /sys below bus/pci: links to the devices, the drivers and what they have."""
    tree: Tree = {"devices/": "", "drivers/": "", "slots/": ""}
    for dev in kernel.pci.devices:
        tree[f"devices/{dev.slot_name}"] = f"../../../devices/pci0000:00/{path_of(dev)}"
    for drv in kernel.pci.drivers:
        tree.update(_driver(kernel, drv))
    return tree


def _driver(kernel: Kernel, drv: pci_driver) -> Tree:
    below = f"drivers/{drv.name}"
    tree: Tree = {
        f"{below}/bind": Entry(0o200, _nothing, lambda k, data: _bind(k, drv, data)),
        f"{below}/unbind": Entry(0o200, _nothing, lambda k, data: _unbind(k, drv, data)),
        f"{below}/new_id": Entry(0o200, _nothing, lambda k, data: _new_id(k, drv, data)),
    }
    if drv.owner is not None:
        tree[f"{below}/module"] = f"../../../../module/{drv.owner.name}"
    for dev in kernel.pci.devices:
        if dev.driver is drv:
            tree[f"{below}/{dev.slot_name}"] = f"../../../../devices/pci0000:00/{path_of(dev)}"
    return tree


def _nothing(_kernel: Kernel) -> Text:
    return ""


def _named(kernel: Kernel, data: bytes) -> pci_dev:
    name = data.decode("utf-8", "replace").strip()
    found = next((dev for dev in kernel.pci.devices if dev.slot_name == name), None)
    if found is None:
        raise Errno(ENODEV)
    return found


def _bind(kernel: Kernel, drv: pci_driver, data: bytes) -> None:
    """A device by its name; ENODEV: no such device, or the table does not have it; EBUSY: it has a driver."""
    dev = _named(kernel, data)
    if dev.driver is not None:
        raise Errno(EBUSY)
    result = bind(kernel.pci, dev, drv)
    if result < 0:
        raise Errno(-result)


def _unbind(kernel: Kernel, drv: pci_driver, data: bytes) -> None:
    dev = _named(kernel, data)
    if dev.driver is not drv:
        raise Errno(ENODEV)
    unbind(kernel.pci, dev)


def _new_id(kernel: Kernel, drv: pci_driver, data: bytes) -> None:
    """``VENDOR DEVICE [SUBVENDOR SUBDEVICE [CLASS MASK]]`` in hexadecimal, into the table (store_new_id)."""
    try:
        numbers = [int(word, 16) for word in data.split()]
    except ValueError:
        raise Errno(EINVAL) from None
    if not 2 <= len(numbers) <= 6:
        raise Errno(EINVAL)
    padding = (PCI_ANY_ID, PCI_ANY_ID, PCI_ANY_ID, PCI_ANY_ID, 0, 0)
    drv.id_table.append(pci_device_id(*numbers, *padding[len(numbers) :]))
    for dev in kernel.pci.devices:
        if dev.driver is None:
            bind(kernel.pci, dev, drv)


# -- /sys/devices/pci0000:00 --------------------------------------------------------------------------------------


def device_tree(kernel: Kernel) -> Tree:
    """The part of /sys below devices/pci0000:00."""
    tree: Tree = {"uevent": Entry(0o644, _nothing)}
    for dev in kernel.pci.devices:
        tree.update({f"{path_of(dev)}/{name}": entry for name, entry in _device(dev).items()})
    tree.update(_buses(kernel.pci.buses))
    return tree


def _buses(buses: list[pci_bus]) -> Tree:
    tree: Tree = {}
    for bus in buses:
        where = "" if bus.self is None else f"{path_of(bus.self)}/"
        tree[f"{where}pci_bus/0000:{bus.number:02x}/cpuaffinity"] = _text("1")
    return tree


def _device(dev: pci_dev) -> Tree:
    modalias = (
        f"pci:v{dev.vendor:08X}d{dev.device:08X}sv{dev.subsystem_vendor:08X}sd{dev.subsystem_device:08X}"
        f"bc{dev.class_ >> 16:02X}sc{dev.class_ >> 8 & 0xFF:02X}i{dev.class_ & 0xFF:02X}"
    )
    depth = "../" * (path_of(dev).count("/") + 3)
    tree: Tree = {
        "vendor": _text(f"0x{dev.vendor:04x}"),
        "device": _text(f"0x{dev.device:04x}"),
        "subsystem_vendor": _text(f"0x{dev.subsystem_vendor:04x}"),
        "subsystem_device": _text(f"0x{dev.subsystem_device:04x}"),
        "revision": _text(f"0x{dev.revision:02x}"),
        "class": _text(f"0x{dev.class_:06x}"),
        "irq": Entry(0o444, lambda _kernel: f"{dev.irq}\n"),
        "local_cpus": _text("1"),
        "local_cpulist": _text("0"),
        "numa_node": Entry(0o644, lambda _kernel: "-1\n"),
        "modalias": _text(modalias),
        "uevent": Entry(0o644, lambda _kernel: _uevent(dev, modalias)),
        "dma_mask_bits": Entry(0o444, lambda _kernel: f"{dev.dma_mask.bit_length()}\n"),
        "enable": Entry(0o644, lambda _kernel: f"{dev.enable_cnt}\n", lambda kernel, data: _enable(kernel, dev, data)),
        "msi_bus": Entry(0o644, lambda _kernel: "1\n"),
        "config": config_node(dev),
        "resource": Entry(0o444, lambda _kernel: _resources(dev)),
        "subsystem": f"{depth}bus/pci",
    }
    if dev.driver is not None:
        tree["driver"] = f"{depth}bus/pci/drivers/{dev.driver.name}"
    for number, each in enumerate(dev.resource[:PCI_ROM_RESOURCE]):
        if each.flags:
            tree[f"resource{number}"] = _resource_node(each, combine=False)
            if each.flags & IORESOURCE_PREFETCH and not each.flags & IORESOURCE_IO:
                tree[f"resource{number}_wc"] = _resource_node(each, combine=True)
    if dev.resource[PCI_ROM_RESOURCE].flags:
        tree["rom"] = _rom_node(dev)
    return tree


def _resource_node(resource: Resource, combine: bool) -> NodeFactory:
    def make(sb: super_block, path: str) -> inode:
        return ResourceFile(current_kernel(), sb, path, resource, combine)

    return make


def _rom_node(dev: pci_dev) -> NodeFactory:
    def make(sb: super_block, path: str) -> inode:
        return RomFile(current_kernel(), sb, path, dev)

    return make


def _resources(dev: pci_dev) -> Text:
    """Start, end and flags a line: BARs, ROM, and the windows of a bridge."""
    count = DEVICE_COUNT_RESOURCE if dev.subordinate is not None else PCI_BRIDGE_RESOURCES
    lines = [(each.start, each.end if each.flags else 0, each.flags) for each in dev.resource[:count]]
    return "".join(f"0x{start:016x} 0x{end:016x} 0x{flags:016x}\n" for start, end, flags in lines)


def _uevent(dev: pci_dev, modalias: str) -> Text:
    driver = f"DRIVER={dev.driver.name}\n" if dev.driver is not None else ""
    return (
        f"{driver}PCI_CLASS={dev.class_:X}\nPCI_ID={dev.vendor:04X}:{dev.device:04X}\n"
        f"PCI_SUBSYS_ID={dev.subsystem_vendor:04X}:{dev.subsystem_device:04X}\nPCI_SLOT_NAME={dev.slot_name}\n"
        f"MODALIAS={modalias}\n"
    )


def _enable(kernel: Kernel, dev: pci_dev, data: bytes) -> None:
    """1 enables the device, 0 undoes that; EIO when it is not enabled (enable_store)."""
    if not kernel.capable(CAP_SYS_ADMIN):
        raise Errno(EPERM)
    try:
        value = int(data.strip() or b"x", 0)
    except ValueError:
        raise Errno(EINVAL) from None
    if dev.driver is not None:
        raise Errno(EBUSY)
    if value:
        result = enable(dev)
        if result:
            raise Errno(-result)
    elif dev.enable_cnt:
        disable(dev)
    else:
        raise Errno(EIO)
