"""Drivers and the devices that they take (drivers/pci/pci-driver.c, drivers/pci/pci.c)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from machine.hardware.pci_regs import (  # isort: skip
    PCI_CAP_ID_MSI, PCI_CAPABILITY_LIST, PCI_COMMAND, PCI_COMMAND_MASTER, PCI_MSI_ADDRESS_HI, PCI_MSI_ADDRESS_LO,
    PCI_MSI_DATA_64, PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE, PCI_STATUS, PCI_STATUS_CAP_LIST,
)  # fmt: skip
from machine.kernel.abi.errno import EINVAL, ENODEV, ENXIO
from machine.kernel.answers import wrong_count
from machine.kernel.irq import NR_IRQS
from machine.kernel.module import DRIVER_FAILED, call_driver

if TYPE_CHECKING:
    from machine.kernel.module import module
    from machine.kernel.pci.dev import PciCore, pci_dev

PCI_ANY_ID = 0xFFFF_FFFF
FIRST_MSI = 24
"""Lines below are the board's; messages get those from here on."""
MSI_ADDRESS = 0xFEE0_0000
FIRST_VECTOR = 0x20


class pci_device_id(NamedTuple):
    """`struct pci_device_id`: which devices a driver wants.  PCI_ANY_ID takes any; `class_mask` 0 any class."""

    vendor: int = PCI_ANY_ID
    device: int = PCI_ANY_ID
    subvendor: int = PCI_ANY_ID
    subdevice: int = PCI_ANY_ID
    class_: int = 0
    class_mask: int = 0
    driver_data: Any = 0

    def matches(self, dev: pci_dev) -> bool:
        """pci_match_one_device."""
        pairs = (
            (self.vendor, dev.vendor), (self.device, dev.device), (self.subvendor, dev.subsystem_vendor),
            (self.subdevice, dev.subsystem_device),
        )  # fmt: skip
        return (
            all(want in (PCI_ANY_ID, have) for want, have in pairs) and not (self.class_ ^ dev.class_) & self.class_mask
        )


class pci_driver:
    """`struct pci_driver`: `name`, `id_table` (a list of pci_device_id), ``probe(dev, id)`` and ``remove(dev)``."""

    def __init__(
        self,
        name: str,
        id_table: Sequence[pci_device_id],
        probe: Callable[[pci_dev, pci_device_id], int],
        remove: Optional[Callable[[pci_dev], None]] = None,
    ) -> None:
        self.name = name
        self.id_table = list(id_table)
        self.probe = probe
        self.remove = remove
        self.owner: Optional[module] = None
        self.where = ""

    def match(self, dev: pci_dev) -> Optional[pci_device_id]:
        """The entry of the table that takes the device."""
        return next((each for each in self.id_table if each.matches(dev)), None)


def register(core: PciCore, drv: pci_driver) -> int:
    """Enter the driver and offer it every device that has none: 0 (`pci_register_driver`)."""
    core.drivers.append(drv)
    for dev in list(core.devices):
        if dev.driver is None:
            bind(core, dev, drv)
    return 0


def bind(core: PciCore, dev: pci_dev, drv: pci_driver) -> int:
    """Offer a device to a driver: 0 when it takes it, a negative errno, -ENODEV when its table does not have it."""
    found = drv.match(dev)
    if found is None:
        return -ENODEV
    dev.driver = drv
    result = call_driver(core.kernel, drv.owner, "probe", drv.probe, dev, found)
    if result is DRIVER_FAILED:
        result = -EINVAL
    elif drv.owner is not None and wrong_count(result, 0):
        core.kernel.driver_bug(drv.owner, f"probe of {drv.name} returned {result!r}, not 0 or a negative errno")
        result = -EINVAL
    if result < 0:
        dev.driver = None
        if result not in (-ENODEV, -ENXIO):
            core.kernel.printk(f"{drv.name}: probe of {dev.slot_name} failed with error {result}", 4)
    return int(result)


def unbind(core: PciCore, dev: pci_dev) -> None:
    """Take a device from its driver: `remove` runs (pci_device_remove)."""
    drv = dev.driver
    if drv is None:
        return
    if drv.remove is not None:
        call_driver(core.kernel, drv.owner, "remove", drv.remove, dev)
    dev.driver = None


def unregister(core: PciCore, drv: pci_driver) -> bool:
    """Take the driver off, and its devices from it; False when it is not registered."""
    if drv not in core.drivers:
        return False
    for dev in core.devices:
        if dev.driver is drv:
            unbind(core, dev)
    core.drivers.remove(drv)
    return True


def left_by(core: PciCore, owner: module) -> list[str]:
    """What an unloaded driver left behind, a line each; it is taken away, for nobody could answer."""
    left = []
    for drv in [each for each in core.drivers if each.owner is owner]:
        for dev in core.devices:
            if dev.driver is drv:
                dev.driver = None
        core.drivers.remove(drv)
        left.append(f"pci_driver '{drv.name}', registered at {drv.where}")
    for dev in core.devices:
        enabler, where = dev.enabled_by
        if enabler is owner and dev.enable_cnt:
            dev.enable_cnt, dev.enabled_by = 0, (None, "")
            left.append(f"PCI device {dev.slot_name}, enabled at {where}")
    for bus, mappings in list(core.mappings.items()):
        mine = [each for each in mappings if each[2] is owner]
        left += [f"{size} bytes at bus address {bus:#x} mapped for DMA at {where}" for size, _, _, where in mine]
        core.mappings[bus] = [each for each in mappings if each not in mine]
    return left


# -- switching a device on and off ------------------------------------------------------------------------


def enable(dev: pci_dev) -> int:
    """pci_enable_device: 0 or -EINVAL.  It counts."""
    if not dev.enable_cnt:
        result = dev.enable_resources()
        if result:
            return result
    dev.enable_cnt += 1
    return 0


def disable(dev: pci_dev) -> None:
    """pci_disable_device: the last one takes bus mastering away; the BARs go on to answer, as on Linux."""
    dev.enable_cnt -= 1
    if not dev.enable_cnt:
        dev.is_busmaster = False
        dev.write(PCI_COMMAND, 2, dev.read(PCI_COMMAND, 2) & ~PCI_COMMAND_MASTER)


def find_capability(dev: pci_dev, cap: int) -> int:
    """Offset of a capability in config space, 0 without it (pci_find_capability)."""
    if not dev.read(PCI_STATUS, 2) & PCI_STATUS_CAP_LIST:
        return 0
    at, left = dev.read(PCI_CAPABILITY_LIST, 1) & ~3, 48
    while at >= 0x40 and left:
        if dev.read(at, 1) == cap:
            return at
        at, left = dev.read(at + 1, 1) & ~3, left - 1
    return 0


def enable_msi(dev: pci_dev) -> int:
    """Interrupts as messages from now on, under another number in ``dev.irq``: 0, -EINVAL (pci_enable_msi)."""
    at = find_capability(dev, PCI_CAP_ID_MSI)
    if not at or dev.msi_enabled:
        return -EINVAL
    taken = {each.irq for each in dev.core.devices if each.msi_enabled}
    lines = dev.core.kernel.irq.lines
    free = (n for n in range(FIRST_MSI, NR_IRQS) if n not in taken and not (n in lines and lines[n].actions))
    irq = next(free, None)
    if irq is None:
        return -EINVAL
    dev.saved_irq, dev.irq, dev.msi_enabled = dev.irq, irq, True
    dev.write(at + PCI_MSI_ADDRESS_LO, 4, MSI_ADDRESS)
    dev.write(at + PCI_MSI_ADDRESS_HI, 4, 0)
    dev.write(at + PCI_MSI_DATA_64, 2, FIRST_VECTOR + irq)
    dev.write(at + PCI_MSI_FLAGS, 2, dev.read(at + PCI_MSI_FLAGS, 2) | PCI_MSI_FLAGS_ENABLE)
    return 0


def disable_msi(dev: pci_dev) -> None:
    """The pin again (pci_disable_msi)."""
    at = find_capability(dev, PCI_CAP_ID_MSI)
    if not at or not dev.msi_enabled:
        return
    dev.write(at + PCI_MSI_FLAGS, 2, dev.read(at + PCI_MSI_FLAGS, 2) & ~PCI_MSI_FLAGS_ENABLE)
    dev.irq, dev.msi_enabled = dev.saved_irq, False
