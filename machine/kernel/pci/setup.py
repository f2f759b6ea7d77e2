"""The start of PCI: enumeration, and the files that show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.hardware.pci_bus import PciBridge, parse_slot
from machine.hardware.pci_regs import PCI_INTERRUPT_LINE
from machine.kernel.pci.dev import PciCore, pci_dev
from machine.kernel.pci.driver import bind, left_by

if TYPE_CHECKING:
    from machine.hardware.pci import PciFunction
    from machine.kernel.kernel import Kernel


def start_pci(kernel: Kernel) -> PciCore:
    """Enumerate what the firmware left (`kernel.pci`)."""
    kernel.bus.wake()
    core = PciCore(kernel, kernel.pci_host, kernel.iomem)
    kernel.leak_checks.append(lambda owner: left_by(core, owner))
    return core


def plug(kernel: Kernel, function: PciFunction, slot: str) -> pci_dev:
    """A card is put into a slot while the machine runs: it gets addresses, and drivers are offered it.

    ValueError: there is no such bus, the slot is taken, or there is no room for a BAR.
    """
    dev = _plug_in(kernel.pci, function, *parse_slot(slot))
    for drv in kernel.pci.drivers:
        if dev.driver is None:
            bind(kernel.pci, dev, drv)
    return dev


def _plug_in(core: PciCore, function: PciFunction, number: int, devfn: int) -> pci_dev:
    from machine.testing import messages

    bus = next((each for each in core.buses if each.number == number), None)
    if bus is None:
        raise ValueError(messages.no_pci_bus(number, [each.number for each in core.buses]))
    bridge = None if bus.self is None else core.host.find(bus.self.bus.number, bus.self.devfn)
    assert bridge is None or isinstance(bridge, PciBridge)
    core.host.plug(function, devfn, bridge)
    function.config_write(PCI_INTERRUPT_LINE, 1, function.irq)
    dev = core.scan_slot(bus, devfn >> 3)[0]
    core.claim(dev)
    if core.assign(dev):
        raise ValueError(messages.no_room_for_bars(number))
    return dev
