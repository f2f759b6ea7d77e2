"""A board: which cards it has, where they are plugged in, and what its firmware leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.hardware.pci_bus import HostBridge, PciBridge, PciHost

from machine.hardware.pci_regs import (  # isort: skip
    PCI_BASE_ADDRESS_0, PCI_COMMAND, PCI_INTERRUPT_LINE, PCI_MEMORY_BASE, PCI_MEMORY_LIMIT, PCI_PREF_MEMORY_BASE,
    PCI_PREF_MEMORY_LIMIT, PCI_SECONDARY_BUS, PCI_SUBORDINATE_BUS,
)  # fmt: skip
from machine.hardware.cards.display import Display

if TYPE_CHECKING:
    from machine.hardware.bus import Bus


class Board:
    """The default PC: a display controller behind an AGP bridge."""

    def wire(self, bus: Bus) -> PciHost:
        """Make the cards and put them on the bus."""
        host = PciHost(bus)
        bridge, display = PciBridge(), Display()
        host.plug(HostBridge(), 0x00)
        host.plug(bridge, 0x08)
        host.plug(display, 0x00, bridge)
        for offset, width, value in (
            (PCI_SECONDARY_BUS, 1, 1), (PCI_SUBORDINATE_BUS, 1, 1),
            (PCI_MEMORY_BASE, 2, 0xFC70), (PCI_MEMORY_LIMIT, 2, 0xFCC0),
            (PCI_PREF_MEMORY_BASE, 2, 0xD7F0), (PCI_PREF_MEMORY_LIMIT, 2, 0xF7E0), (PCI_COMMAND, 2, 7),
        ):  # fmt: skip
            bridge.config_write(offset, width, value)
        display.config_write(PCI_BASE_ADDRESS_0, 4, 0xE8000000)
        display.config_write(PCI_BASE_ADDRESS_0 + 4, 4, 0xFCC00000)
        display.config_write(PCI_INTERRUPT_LINE, 1, display.irq)
        display.config_write(PCI_COMMAND, 2, 3)
        return host
