"""What the kernel sees of its board, each made when somebody first asks: the cards, PCI, the resource trees."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from machine.hardware.board import Board
    from machine.hardware.bus import Bus
    from machine.hardware.iomem import Resource
    from machine.hardware.pci_bus import PciHost
    from machine.kernel.mm.mmio import MmioTrap
    from machine.kernel.pci.dev import PciCore

KERNEL_CODE = (0x100000, 0x246CBF)
KERNEL_DATA = (0x246CC0, 0x2C4FFF)
"""Where /proc/iomem says the kernel is; these frames are reserved."""


class BoardSide:
    """Part of `Kernel`."""

    board: Board
    bus: Bus
    mmio: MmioTrap
    pci_host: PciHost
    """The PCI buses; there when `bus` is awake."""

    def power_cards(self) -> None:
        """Put the board's cards on the bus, as the firmware left them."""
        self.pci_host = self.board.wire(self.bus)
        self.bus.on_change = self.mmio.follow_bus
        self.bus.on_dma = self.mmio.dma_written

    @cached_property
    def pci(self) -> PciCore:
        """Buses, devices and drivers of PCI."""
        _ = self.iomem
        core: PciCore = self.__dict__["pci"]
        return core

    @cached_property
    def iomem(self) -> Resource:
        """The tree of physical addresses, as /proc/iomem shows it."""
        from machine.kernel.pci.setup import start_pci
        from machine.kernel.setup import claim_blocks, memory_map

        kernel: Any = self
        tree = self.__dict__["iomem"] = memory_map(kernel, KERNEL_CODE, KERNEL_DATA)
        self.__dict__["pci"] = start_pci(kernel)  # it enters its windows and BARs
        claim_blocks(kernel, tree)
        return tree

    @cached_property
    def ioport(self) -> Resource:
        """The same of I/O ports (/proc/ioports)."""
        from machine.kernel.setup import port_map

        return port_map()
