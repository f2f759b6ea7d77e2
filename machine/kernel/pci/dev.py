"""Buses and devices as the firmware left them (drivers/pci/probe.c, drivers/pci/setup-res.c).

`PciCore` is made when somebody first asks for it: /proc/iomem, a driver that claims a range, a file below
/sys/bus/pci.  Everything is read from config space, the sizes of BARs by writing ones and reading back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from machine.hardware.iomem import (
    IORESOURCE_IO,
    IORESOURCE_MEM,
    IORESOURCE_PREFETCH,
    IORESOURCE_READONLY,
    Resource,
    insert_resource,
)

from machine.hardware.pci_regs import (  # isort: skip
    PCI_BASE_ADDRESS_0, PCI_BASE_ADDRESS_MEM_PREFETCH, PCI_BASE_ADDRESS_MEM_TYPE_64, PCI_BASE_ADDRESS_SPACE_IO,
    PCI_CLASS_DISPLAY_VGA, PCI_CLASS_REVISION, PCI_COMMAND, PCI_COMMAND_IO, PCI_COMMAND_MEMORY, PCI_DEVICE_ID,
    PCI_HEADER_TYPE, PCI_HEADER_TYPE_BRIDGE, PCI_INTERRUPT_LINE, PCI_INTERRUPT_PIN, PCI_IO_BASE, PCI_IO_LIMIT,
    PCI_MEMORY_BASE, PCI_MEMORY_LIMIT, PCI_PREF_BASE_UPPER32, PCI_PREF_LIMIT_UPPER32, PCI_PREF_MEMORY_BASE,
    PCI_PREF_MEMORY_LIMIT, PCI_ROM_ADDRESS, PCI_ROM_ADDRESS1, PCI_SECONDARY_BUS, PCI_SUBSYSTEM_ID,
    PCI_SUBSYSTEM_VENDOR_ID, PCI_VENDOR_ID,
)  # fmt: skip
from machine.kernel.abi.errno import EBUSY, EINVAL

if TYPE_CHECKING:
    from machine.hardware.pci_bus import PciHost
    from machine.kernel.kernel import Kernel
    from machine.kernel.module import module
    from machine.kernel.pci.driver import pci_driver

IORESOURCE_SIZEALIGN, IORESOURCE_MEM_64, IORESOURCE_ROM_SHADOW = 0x00040000, 0x00100000, 0x2
PCI_ROM_RESOURCE, PCI_BRIDGE_RESOURCES, DEVICE_COUNT_RESOURCE = 6, 7, 10
VGA_ROM = (0x000C0000, 0x000DFFFF)
"""Where the firmware leaves a copy of the video ROM."""
DMA_32BIT_MASK = 0xFFFF_FFFF


def PCI_DEVFN(slot: int, func: int) -> int:
    """Device and function number in one byte."""
    return (slot & 0x1F) << 3 | func & 0x07


def PCI_SLOT(devfn: int) -> int:
    """The device number of a devfn."""
    return devfn >> 3 & 0x1F


def PCI_FUNC(devfn: int) -> int:
    """The function number of a devfn."""
    return devfn & 0x07


class pci_bus:
    """`struct pci_bus`: one bus, the bridge that leads to it, and what is on it."""

    def __init__(self, number: int, self_: Optional[pci_dev]) -> None:
        self.number = number
        self.self = self_
        """The bridge; None for bus 0."""
        self.devices: list[pci_dev] = []
        self.resource: list[Resource] = []
        """The windows of the bridge: I/O, memory, prefetchable memory."""


class pci_dev:
    """`struct pci_dev`: one function.

    `resource` holds BAR 0 to 5, the ROM, and the three windows of a bridge; `resource[n].flags` is 0 where there is
    none.  C's `class` is `class_`.
    """

    def __init__(self, core: PciCore, bus: pci_bus, devfn: int) -> None:
        self.core = core
        self.bus = bus
        self.devfn = devfn
        read = self.read
        self.vendor = read(PCI_VENDOR_ID, 2)
        self.device = read(PCI_DEVICE_ID, 2)
        self.class_ = read(PCI_CLASS_REVISION, 4) >> 8
        self.revision = read(PCI_CLASS_REVISION, 1)
        self.hdr_type = read(PCI_HEADER_TYPE, 1) & 0x7F
        self.multifunction = bool(read(PCI_HEADER_TYPE, 1) & 0x80)
        bridge = self.hdr_type == PCI_HEADER_TYPE_BRIDGE
        self.subsystem_vendor = 0 if bridge else read(PCI_SUBSYSTEM_VENDOR_ID, 2)
        self.subsystem_device = 0 if bridge else read(PCI_SUBSYSTEM_ID, 2)
        self.pin = read(PCI_INTERRUPT_PIN, 1)
        self.irq = read(PCI_INTERRUPT_LINE, 1) if self.pin else 0
        self.slot_name = f"0000:{bus.number:02x}:{PCI_SLOT(devfn):02x}.{PCI_FUNC(devfn)}"
        self.resource = [Resource("", 0, 0, 0) for _ in range(DEVICE_COUNT_RESOURCE)]
        self.subordinate: Optional[pci_bus] = None
        """The bus behind a bridge."""
        self.driver: Optional[pci_driver] = None
        self.driver_data: Any = None
        self.dma_mask = DMA_32BIT_MASK
        self.enable_cnt = 0
        """How often `pci_enable_device` was called and not undone."""
        self.enabled_by: tuple[Optional[module], str] = (None, "")
        """Who called it last, and where."""
        self.is_busmaster = False
        self.msi_enabled = False
        self.saved_irq = self.irq
        """The pin's line while messages are on."""
        self.rom_enabled = False
        """Whether the file `rom` in /sys may be read."""
        self._size_bars(2 if bridge else 6, PCI_ROM_ADDRESS1 if bridge else PCI_ROM_ADDRESS)

    def __repr__(self) -> str:
        return f"<pci_dev {self.slot_name} {self.vendor:04x}:{self.device:04x}>"

    def read(self, offset: int, width: int) -> int:
        """Config space of this device."""
        return self.core.host.config_read(self.bus.number, self.devfn, offset, width)

    def write(self, offset: int, width: int, value: int) -> None:
        """The same, written."""
        self.core.host.config_write(self.bus.number, self.devfn, offset, width, value)

    # -- resources -----------------------------------------------------------------------------------

    def _size_bars(self, count: int, rom: int) -> None:
        """Addresses and sizes (pci_read_bases).  Decoding is off meanwhile, so that nothing answers elsewhere."""
        command = self.read(PCI_COMMAND, 2)
        quiet = command & ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY)
        registers = [PCI_BASE_ADDRESS_0 + 4 * n for n in range(count)]
        values = [self.read(at, 4) for at in registers]
        rom_value = self.read(rom, 4)
        if quiet != command:
            self.write(PCI_COMMAND, 2, quiet)
        masks = [self._probe(at, value) for at, value in zip(registers, values, strict=True)]
        rom_mask = self._probe(rom, rom_value, 0xFFFFF800)
        if quiet != command:
            self.write(PCI_COMMAND, 2, command)
        number = 0
        while number < count:
            number += self._read_base(number, values[number:], masks[number:])
        self._read_rom(rom_value, rom_mask)

    def _probe(self, at: int, value: int, ones: int = 0xFFFFFFFF) -> int:
        self.write(at, 4, ones)
        mask = self.read(at, 4)
        self.write(at, 4, value)
        return mask

    def _read_base(self, number: int, values: list[int], masks: list[int]) -> int:
        """Fill in one BAR; how many registers it takes (__pci_read_base)."""
        low, mask = values[0], masks[0]
        if not mask or mask == 0xFFFFFFFF:
            return 1
        if low & PCI_BASE_ADDRESS_SPACE_IO:
            size = -(mask & ~0x3) & 0xFFFF
            self._set(number, low & ~0x3, size or 0x10000, IORESOURCE_IO | low & 0x3)
            return 1
        wide = bool(low & PCI_BASE_ADDRESS_MEM_TYPE_64) and len(values) > 1
        flags = IORESOURCE_MEM | low & 0xF | (IORESOURCE_PREFETCH if low & PCI_BASE_ADDRESS_MEM_PREFETCH else 0)
        address, top = low & ~0xF, mask & ~0xF
        if wide:
            address, top = values[1] << 32 | address, masks[1] << 32 | top
            flags |= IORESOURCE_MEM_64
        self._set(number, address, -top & (1 << (64 if wide else 32)) - 1, flags)
        return 2 if wide else 1

    def _read_rom(self, value: int, mask: int) -> None:
        if self.class_ >> 8 == PCI_CLASS_DISPLAY_VGA and not value & ~0x7FF:
            flags = IORESOURCE_MEM | IORESOURCE_ROM_SHADOW
            self.resource[PCI_ROM_RESOURCE] = Resource(self.slot_name, *VGA_ROM, flags)
        elif mask & ~0x7FF:
            flags = IORESOURCE_MEM | IORESOURCE_PREFETCH | IORESOURCE_READONLY | value & 1
            self._set(PCI_ROM_RESOURCE, value & ~0x7FF, -(mask & ~0x7FF) & 0xFFFFFFFF, flags)

    def _set(self, number: int, start: int, size: int, flags: int) -> None:
        end = start + size - 1
        self.resource[number] = Resource(self.slot_name, start, end, flags | IORESOURCE_SIZEALIGN)

    def read_windows(self) -> list[Resource]:
        """What the bridge forwards: I/O, memory, prefetchable memory; flags 0 where closed (pci_read_bridge_bases)."""
        read = self.read
        io = (read(PCI_IO_BASE, 1) & 0xF0) << 8, (read(PCI_IO_LIMIT, 1) & 0xF0) << 8 | 0xFFF
        memory = (read(PCI_MEMORY_BASE, 2) & 0xFFF0) << 16, (read(PCI_MEMORY_LIMIT, 2) & 0xFFF0) << 16 | 0xFFFFF
        first = read(PCI_PREF_BASE_UPPER32, 4) << 32 | (read(PCI_PREF_MEMORY_BASE, 2) & 0xFFF0) << 16
        last = read(PCI_PREF_LIMIT_UPPER32, 4) << 32 | (read(PCI_PREF_MEMORY_LIMIT, 2) & 0xFFF0) << 16 | 0xFFFFF
        kinds = IORESOURCE_IO, IORESOURCE_MEM, IORESOURCE_MEM | IORESOURCE_PREFETCH
        name = f"PCI Bus #{self.read(PCI_SECONDARY_BUS, 1):02x}"
        return [
            Resource(name, start, end, flags) if start <= end else Resource(name, 0, 0, 0)
            for (start, end), flags in zip((io, memory, (first, last)), kinds, strict=True)
        ]

    def enable_resources(self) -> int:
        """Have the BARs answer: 0, or -EINVAL when one has no address that can be used (pci_enable_resources)."""
        command = old = self.read(PCI_COMMAND, 2)
        for number, each in enumerate(self.resource[:PCI_ROM_RESOURCE]):
            if not each.flags:
                continue
            if not each.start or each.parent is None:
                self.core.kernel.printk(
                    f"PCI: Device {self.slot_name} not available because of resource {number} collisions", 3
                )
                return -EINVAL
            command |= PCI_COMMAND_IO if each.flags & IORESOURCE_IO else PCI_COMMAND_MEMORY
        if command != old:
            self.core.kernel.printk(f"PCI: Enabling device {self.slot_name} ({old:04x} -> {command:04x})", 6)
            self.write(PCI_COMMAND, 2, command)
        return 0


class PciCore:
    """All PCI buses and drivers of one machine."""

    def __init__(self, kernel: Kernel, host: PciHost, iomem: Resource) -> None:
        self.kernel = kernel
        self.host = host
        self.iomem = iomem
        self.ioport = kernel.ioport
        self.devices: list[pci_dev] = []
        """In the order in which they were found."""
        self.buses: list[pci_bus] = []
        self.drivers: list[pci_driver] = []
        self.mappings: dict[int, list[tuple[int, int, Optional[module], str]]] = {}
        """Buffers mapped for DMA: bus address -> (bytes, direction, who, where) of each."""
        self.root = self._scan_bus(0, None)
        for bus in self.buses:
            self._claim_bus(bus)
        for dev in self.devices:
            self.claim(dev)

    def _scan_bus(self, number: int, bridge: Optional[pci_dev]) -> pci_bus:
        """Find what is on a bus, and behind the bridges there (pci_scan_child_bus)."""
        bus = pci_bus(number, bridge)
        self.buses.append(bus)
        for slot in range(32):
            self.scan_slot(bus, slot)
        for dev in bus.devices:
            secondary = dev.read(PCI_SECONDARY_BUS, 1) if dev.hdr_type == PCI_HEADER_TYPE_BRIDGE else 0
            if secondary > number:
                dev.subordinate = self._scan_bus(secondary, dev)
        return bus

    def scan_slot(self, bus: pci_bus, slot: int) -> list[pci_dev]:
        """The functions in a slot that are not known yet (pci_scan_slot)."""
        found = []
        for func in range(8):
            devfn = PCI_DEVFN(slot, func)
            if self.host.config_read(bus.number, devfn, PCI_VENDOR_ID, 2) == 0xFFFF:
                if not func:
                    break
                continue
            if not any(each.devfn == devfn for each in bus.devices):
                found.append(pci_dev(self, bus, devfn))
            multifunction = self.host.config_read(bus.number, devfn & ~7, PCI_HEADER_TYPE, 1) & 0x80
            if not multifunction:
                break
        bus.devices += found
        self.devices += found
        return found

    # -- the resource tree ------------------------------------------------------------------------------

    def _claim_bus(self, bus: pci_bus) -> None:
        bridge = bus.self
        if bridge is None:
            return
        bus.resource = bridge.read_windows()
        for number, window in enumerate(bus.resource):
            bridge.resource[PCI_BRIDGE_RESOURCES + number] = window
            if window.flags and insert_resource(self._tree(window), window):
                self.kernel.printk(f"PCI: Cannot allocate resource region {number} of bridge {bridge.slot_name}", 3)

    def claim(self, dev: pci_dev) -> None:
        """Enter the BARs that have an address into the tree (pcibios_allocate_resources)."""
        for number, each in enumerate(dev.resource[:PCI_ROM_RESOURCE]):
            if each.flags and each.start and insert_resource(self._tree(each), each):
                self.kernel.printk(f"PCI: Cannot allocate resource region {number} of device {dev.slot_name}", 3)

    def _tree(self, resource: Resource) -> Resource:
        return self.ioport if resource.flags & IORESOURCE_IO else self.iomem

    def find(self, number: int, devfn: int) -> Optional[pci_dev]:
        """The device at a bus number and devfn."""
        return next((each for each in self.devices if (each.bus.number, each.devfn) == (number, devfn)), None)

    def assign(self, dev: pci_dev) -> int:
        """Give BARs without an address one inside a window above: 0 or -EBUSY (pci_assign_resource)."""
        for number, each in enumerate(dev.resource[:PCI_ROM_RESOURCE]):
            if each.flags and not each.start:
                start = self._room(dev.bus, each)
                if start is None:
                    self.kernel.printk(f"PCI: Failed to allocate resource {number} of {dev.slot_name}", 3)
                    return -EBUSY
                each.start, each.end = start, start + each.end
                insert_resource(self._tree(each), each)
                self._write_base(dev, number, start)
        return 0

    def assign_rom(self, dev: pci_dev) -> int:
        """The same for its expansion ROM."""
        rom = dev.resource[PCI_ROM_RESOURCE]
        start = self._room(dev.bus, rom)
        if start is None:
            return -EBUSY
        rom.start, rom.end = start, start + rom.end
        insert_resource(self.iomem, rom)
        return 0

    @staticmethod
    def _write_base(dev: pci_dev, number: int, start: int) -> None:
        dev.write(PCI_BASE_ADDRESS_0 + 4 * number, 4, start & 0xFFFFFFFF)
        if dev.resource[number].flags & IORESOURCE_MEM_64:
            dev.write(PCI_BASE_ADDRESS_0 + 4 * number + 4, 4, start >> 32)

    def _room(self, bus: pci_bus, wanted: Resource) -> Optional[int]:
        """The lowest free address, naturally aligned, in a window that fits the kind."""
        size = wanted.end - wanted.start + 1
        for first, last in self._windows(bus, wanted.flags):
            tree, start = self._tree(wanted), (first + size - 1) // size * size
            while start + size - 1 <= last:
                end = start + size - 1
                others = [r for _, r in tree.iter() if r.start <= end and start <= r.end and not _is_window(r)]
                if not others:
                    return start
                start = (max(r.end for r in others) + size) // size * size
        return None

    def _windows(self, bus: pci_bus, flags: int) -> list[tuple[int, int]]:
        if bus.self is None:
            return [self.host.io_window] if flags & IORESOURCE_IO else [self.host.memory_window]
        kind = IORESOURCE_IO | IORESOURCE_MEM
        fit = [w for w in bus.resource if w.flags & kind == flags & kind]
        if not flags & IORESOURCE_PREFETCH:
            fit = [w for w in fit if not w.flags & IORESOURCE_PREFETCH]
        return [(w.start, w.end) for w in reversed(fit)]


def _is_window(resource: Resource) -> bool:
    return resource.name.startswith("PCI Bus #")
