"""PCI drivers (linux/pci.h, linux/dma-mapping.h; LDD3 ch. 12 and §15.4).

What reads differently from C: `pci_driver` takes its members by name, its table is a list of `pci_device_id` (or
PCI_DEVICE(...)) without a terminator, and ``pci_read_config_word(dev, where, val)`` puts the value into ``val[0]``.

::

    edu_driver = pci_driver(name="edu", id_table=[PCI_DEVICE(0x1234, 0x11E8)], probe=edu_probe, remove=edu_remove)
    module_init(lambda: pci_register_driver(edu_driver))
    module_exit(lambda: pci_unregister_driver(edu_driver))
"""

from __future__ import annotations

from typing import Any, Optional

from machine.hardware.iomem import IORESOURCE_IO, IORESOURCE_MEM, IORESOURCE_PREFETCH, Resource

from machine.hardware.pci_regs import (  # isort: skip
    PCI_BASE_ADDRESS_0, PCI_BASE_ADDRESS_1, PCI_BASE_ADDRESS_2, PCI_BASE_ADDRESS_3, PCI_BASE_ADDRESS_4,
    PCI_BASE_ADDRESS_5, PCI_CACHE_LINE_SIZE, PCI_CAP_ID_MSI, PCI_CAP_ID_PM, PCI_CAP_ID_VNDR, PCI_CLASS_DEVICE,
    PCI_CLASS_PROG, PCI_CLASS_REVISION, PCI_COMMAND, PCI_COMMAND_INTX_DISABLE, PCI_COMMAND_IO, PCI_COMMAND_MASTER,
    PCI_COMMAND_MEMORY, PCI_DEVICE_ID, PCI_HEADER_TYPE, PCI_INTERRUPT_LINE, PCI_INTERRUPT_PIN, PCI_LATENCY_TIMER,
    PCI_REVISION_ID, PCI_ROM_ADDRESS, PCI_STATUS, PCI_SUBSYSTEM_ID, PCI_SUBSYSTEM_VENDOR_ID, PCI_VENDOR_ID,
)  # fmt: skip
from machine.kernel.abi.errno import EBUSY, EIO, Errno
from machine.kernel.current import current_kernel
from machine.kernel.include.io import ioremap
from machine.kernel.include.pages import NULL, BUG_report
from machine.kernel.module import calling_line, calling_module
from machine.kernel.pci import driver as pci_core
from machine.kernel.pci.dev import (
    DEVICE_COUNT_RESOURCE,
    DMA_32BIT_MASK,
    PCI_DEVFN,
    PCI_FUNC,
    PCI_ROM_RESOURCE,
    PCI_SLOT,
    pci_bus,
    pci_dev,
)
from machine.kernel.pci.driver import PCI_ANY_ID, pci_device_id, pci_driver

PCIBIOS_SUCCESSFUL, PCIBIOS_BAD_REGISTER_NUMBER = 0, 0x87
_CONFIG_SIZE = 256


def PCI_DEVICE(vend: int, dev: int) -> pci_device_id:
    """A table entry for one device by its numbers, of any subsystem."""
    return pci_device_id(vend, dev)


def PCI_DEVICE_CLASS(dev_class: int, dev_class_mask: int) -> pci_device_id:
    """A table entry for all devices of a class: 24 bits and the mask of those that count."""
    return pci_device_id(class_=dev_class, class_mask=dev_class_mask)


# -- drivers -----------------------------------------------------------------------------------------------


def pci_register_driver(drv: pci_driver) -> int:
    """Offer all devices that have no driver: ``probe(dev, id)`` runs for each that the table has.  0.

    `probe` returns 0 to take the device, a negative errno to leave it.  The driver stays registered when no
    device was there (LDD3 §12.1.4).
    """
    kernel = current_kernel()
    if drv in kernel.pci.drivers:
        BUG_report(f"pci_register_driver: '{drv.name}' is registered already")
        return -EBUSY
    if any(each.name == drv.name for each in kernel.pci.drivers):
        return -EBUSY
    drv.owner, drv.where = calling_module(2), calling_line(2)
    return pci_core.register(kernel.pci, drv)


def pci_unregister_driver(drv: pci_driver) -> None:
    """Give all devices back (``remove(dev)`` runs for each) and forget the driver."""
    if not pci_core.unregister(current_kernel().pci, drv):
        BUG_report(f"pci_unregister_driver: '{drv.name}' is not registered")


def pci_get_device(vendor: int, device: int, from_: Optional[pci_dev] = None) -> Optional[pci_dev]:
    """The next device with these numbers (PCI_ANY_ID: any) after `from_`; None when there is none left."""
    devices = current_kernel().pci.devices
    start = 0 if from_ is None else devices.index(from_) + 1
    wanted = pci_device_id(vendor, device)
    return next((each for each in devices[start:] if wanted.matches(each)), None)


def pci_find_device(vendor: int, device: int, from_: Optional[pci_dev] = None) -> Optional[pci_dev]:
    """`pci_get_device` of old, which does not count."""
    return pci_get_device(vendor, device, from_)


def pci_get_slot(bus: pci_bus, devfn: int) -> Optional[pci_dev]:
    """The device in a slot of a bus; None for an empty one."""
    return next((each for each in bus.devices if each.devfn == devfn), None)


def pci_dev_get(dev: pci_dev) -> pci_dev:
    """One more user of `dev`: the device itself.  (Devices of this machine are never taken out.)"""
    return dev


def pci_dev_put(dev: Optional[pci_dev]) -> None:
    """One user less."""


def pci_set_drvdata(dev: pci_dev, data: Any) -> None:
    """Keep the driver's own data with the device."""
    dev.driver_data = data


def pci_get_drvdata(dev: pci_dev) -> Any:
    """What `pci_set_drvdata` kept."""
    return dev.driver_data


def pci_name(dev: pci_dev) -> str:
    """``0000:01:00.0``."""
    return dev.slot_name


# -- the device ------------------------------------------------------------------------------------------------


def pci_enable_device(dev: pci_dev) -> int:
    """Have the device's BARs answer; before anything else is done with it.  0, or -EINVAL: a BAR has no address."""
    dev.enabled_by = calling_module(2), calling_line(2)
    return pci_core.enable(dev)


def pci_disable_device(dev: pci_dev) -> None:
    """Undo `pci_enable_device`; the last one takes bus mastering away."""
    if not dev.enable_cnt:
        BUG_report(f"pci_disable_device: disabling already-disabled device {dev.slot_name}")
        return
    pci_core.disable(dev)


def pci_set_master(dev: pci_dev) -> None:
    """Allow the device DMA, and messages (MSI)."""
    dev.write(PCI_COMMAND, 2, dev.read(PCI_COMMAND, 2) | PCI_COMMAND_MASTER)
    dev.is_busmaster = True
    latency = dev.read(PCI_LATENCY_TIMER, 1)
    if latency < 16:
        dev.write(PCI_LATENCY_TIMER, 1, 64)


def pci_clear_master(dev: pci_dev) -> None:
    """Forbid it again."""
    dev.write(PCI_COMMAND, 2, dev.read(PCI_COMMAND, 2) & ~PCI_COMMAND_MASTER)
    dev.is_busmaster = False


def pci_resource_start(dev: pci_dev, bar: int) -> int:
    """First address of BAR 0 to 5 (6: the expansion ROM); 0 where there is none."""
    return _resource(dev, bar).start


def pci_resource_end(dev: pci_dev, bar: int) -> int:
    """Last address, included."""
    return _resource(dev, bar).end


def pci_resource_len(dev: pci_dev, bar: int) -> int:
    """Its length in bytes; 0 where there is none."""
    found = _resource(dev, bar)
    return found.end - found.start + 1 if found.end or found.start else 0


def pci_resource_flags(dev: pci_dev, bar: int) -> int:
    """IORESOURCE_MEM or IORESOURCE_IO, IORESOURCE_PREFETCH; 0 where there is none."""
    return _resource(dev, bar).flags


def _resource(dev: pci_dev, bar: int) -> Resource:
    if 0 <= bar < DEVICE_COUNT_RESOURCE:
        return dev.resource[bar]
    BUG_report(f"{dev.slot_name} has no resource {bar}: they are numbered 0 to {PCI_ROM_RESOURCE}")
    return Resource("", 0, 0, 0)


def pci_request_region(dev: pci_dev, bar: int, res_name: str) -> int:
    """Claim one BAR for the driver: 0, or -EBUSY when somebody has it.  0 for one that is not there."""
    return _request(dev, bar, res_name)


def _request(dev: pci_dev, bar: int, name: str) -> int:
    found, length = _resource(dev, bar), pci_resource_len(dev, bar)
    if not found.flags or not length:
        return 0
    kernel, ports = current_kernel(), bool(found.flags & IORESOURCE_IO)
    try:
        kernel.regions.request(found.start, length, name, calling_module(3), calling_line(3), ports=ports)
    except Errno:
        kind = "I/O" if ports else "mem"
        text = f"PCI: Unable to reserve {kind} region #{bar + 1}:{length:x}@{found.start:x} for device {dev.slot_name}"
        kernel.printk(text, 4)
        return -EBUSY
    return 0


def pci_release_region(dev: pci_dev, bar: int) -> None:
    """Undo `pci_request_region`."""
    found, length = _resource(dev, bar), pci_resource_len(dev, bar)
    if found.flags and length:
        current_kernel().regions.release(found.start, length, ports=bool(found.flags & IORESOURCE_IO))


def pci_request_regions(dev: pci_dev, res_name: str) -> int:
    """Claim all BARs: 0, or -EBUSY and none is claimed."""
    for bar in range(6):
        if _request(dev, bar, res_name):
            for done in range(bar):
                pci_release_region(dev, done)
            return -EBUSY
    return 0


def pci_release_regions(dev: pci_dev) -> None:
    """Undo `pci_request_regions`."""
    for bar in range(6):
        pci_release_region(dev, bar)


def pci_iomap(dev: pci_dev, bar: int, maxlen: int = 0) -> int:
    """`ioremap` of a BAR, at most `maxlen` bytes of it (0: all); NULL for ports and for a BAR that is not there."""
    found, length = _resource(dev, bar), pci_resource_len(dev, bar)
    if not found.flags & IORESOURCE_MEM or not length:
        return NULL
    return ioremap(found.start, min(length, maxlen or length))


# -- config space ------------------------------------------------------------------------------------------------


def _config(dev: pci_dev, where: int, width: int) -> bool:
    return 0 <= where <= _CONFIG_SIZE - width and where % width == 0


def _read_config(dev: pci_dev, where: int, val: list[int], width: int) -> int:
    if not _config(dev, where, width):
        return PCIBIOS_BAD_REGISTER_NUMBER
    val[0] = dev.read(where, width)
    return PCIBIOS_SUCCESSFUL


def _write_config(dev: pci_dev, where: int, val: int, width: int) -> int:
    if not _config(dev, where, width):
        return PCIBIOS_BAD_REGISTER_NUMBER
    dev.write(where, width, val & (1 << 8 * width) - 1)
    return PCIBIOS_SUCCESSFUL


def pci_read_config_byte(dev: pci_dev, where: int, val: list[int]) -> int:
    """One byte of config space into ``val[0]``: 0, or PCIBIOS_BAD_REGISTER_NUMBER (0x87)."""
    return _read_config(dev, where, val, 1)


def pci_read_config_word(dev: pci_dev, where: int, val: list[int]) -> int:
    """2 bytes, aligned."""
    return _read_config(dev, where, val, 2)


def pci_read_config_dword(dev: pci_dev, where: int, val: list[int]) -> int:
    """4 bytes, aligned."""
    return _read_config(dev, where, val, 4)


def pci_write_config_byte(dev: pci_dev, where: int, val: int) -> int:
    """Write one byte of config space: 0, or PCIBIOS_BAD_REGISTER_NUMBER."""
    return _write_config(dev, where, val, 1)


def pci_write_config_word(dev: pci_dev, where: int, val: int) -> int:
    """2 bytes, aligned."""
    return _write_config(dev, where, val, 2)


def pci_write_config_dword(dev: pci_dev, where: int, val: int) -> int:
    """4 bytes, aligned."""
    return _write_config(dev, where, val, 4)


def pci_find_capability(dev: pci_dev, cap: int) -> int:
    """Offset of the capability `cap` in config space; 0 without it."""
    return pci_core.find_capability(dev, cap)


def pci_enable_msi(dev: pci_dev) -> int:
    """Interrupts come as messages from now on, and ``dev.irq`` is their number: request_irq it afterwards.

    0, or -EINVAL: no such capability, or switched on already.  The device must be bus master.
    """
    return pci_core.enable_msi(dev)


def pci_disable_msi(dev: pci_dev) -> None:
    """Back to the pin; ``dev.irq`` is its line again.  Give the handler back before (`free_irq`)."""
    desc = current_kernel().irq.lines.get(dev.irq)
    if dev.msi_enabled and desc is not None and desc.actions:
        BUG_report(f"pci_disable_msi({dev.slot_name}): interrupt {dev.irq} still has a handler")
        return
    pci_core.disable_msi(dev)


# -- DMA ----------------------------------------------------------------------------------------------------------


def pci_set_dma_mask(dev: pci_dev, mask: int) -> int:
    """Which address bits the device can drive: 0, or -EIO when no memory of the machine lies below (below 16 MiB)."""
    if mask < 0xFF_FFFF:
        return -EIO
    dev.dma_mask = mask
    return 0


def pci_module_init(drv: pci_driver) -> int:
    """`pci_register_driver` under its name of 2.4."""
    return pci_register_driver(drv)


__all__ = [
    "DMA_32BIT_MASK", "IORESOURCE_IO", "IORESOURCE_MEM", "IORESOURCE_PREFETCH", "PCIBIOS_BAD_REGISTER_NUMBER",
    "PCIBIOS_SUCCESSFUL", "PCI_ANY_ID", "PCI_BASE_ADDRESS_0", "PCI_BASE_ADDRESS_1", "PCI_BASE_ADDRESS_2",
    "PCI_BASE_ADDRESS_3", "PCI_BASE_ADDRESS_4", "PCI_BASE_ADDRESS_5", "PCI_CACHE_LINE_SIZE", "PCI_CAP_ID_MSI",
    "PCI_CAP_ID_PM", "PCI_CAP_ID_VNDR", "PCI_CLASS_DEVICE", "PCI_CLASS_PROG", "PCI_CLASS_REVISION", "PCI_COMMAND",
    "PCI_COMMAND_INTX_DISABLE", "PCI_COMMAND_IO", "PCI_COMMAND_MASTER", "PCI_COMMAND_MEMORY", "PCI_DEVFN",
    "PCI_DEVICE", "PCI_DEVICE_CLASS", "PCI_DEVICE_ID", "PCI_FUNC", "PCI_HEADER_TYPE", "PCI_INTERRUPT_LINE",
    "PCI_INTERRUPT_PIN", "PCI_LATENCY_TIMER", "PCI_REVISION_ID", "PCI_ROM_ADDRESS", "PCI_ROM_RESOURCE", "PCI_SLOT",
    "PCI_STATUS", "PCI_SUBSYSTEM_ID", "PCI_SUBSYSTEM_VENDOR_ID", "PCI_VENDOR_ID", "pci_bus", "pci_clear_master",
    "pci_dev", "pci_dev_get", "pci_dev_put", "pci_device_id", "pci_disable_device", "pci_disable_msi", "pci_driver",
    "pci_enable_device", "pci_enable_msi", "pci_find_capability", "pci_find_device", "pci_get_device",
    "pci_get_drvdata", "pci_get_slot", "pci_iomap", "pci_module_init", "pci_name", "pci_read_config_byte",
    "pci_read_config_dword", "pci_read_config_word", "pci_register_driver", "pci_release_region",
    "pci_release_regions", "pci_request_region", "pci_request_regions", "pci_resource_end", "pci_resource_flags",
    "pci_resource_len", "pci_resource_start", "pci_set_dma_mask", "pci_set_drvdata", "pci_set_master",
    "pci_unregister_driver", "pci_write_config_byte", "pci_write_config_dword", "pci_write_config_word",
]  # fmt: skip
