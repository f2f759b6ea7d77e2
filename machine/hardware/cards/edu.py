"""An educational PCI card, after QEMU's `edu` (edu_regs.py says what its registers do): for drivers to be tried on."""

from __future__ import annotations

from machine.hardware.cards.edu_regs import EduRegisters
from machine.hardware.pci import Bar, PciFunction


class Edu(PciFunction):
    """QEMU's educational card: 1 MiB of registers in BAR 0; INTA#, or a message (MSI)."""

    vendor, device = 0x1234, 0x11E8
    class_code, revision = 0x00FF00, 0x10
    irq_pin, msi = 1, True

    def __init__(self) -> None:
        self.registers = EduRegisters(self.dma_read, self.dma_write)
        super().__init__(bars=[Bar(block=self.registers)])
