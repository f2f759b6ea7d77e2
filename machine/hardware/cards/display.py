"""The display controller: its frame buffer memory and its registers (display_regs.py says what they do).

BAR 0 is prefetchable and 128 MiB wide; the first 64 MiB have memory, the rest reads as ones.  BAR 1 is 64 KiB of
registers.
"""

from __future__ import annotations

from typing import Optional

from machine.hardware.pci import Bar, PciFunction
from machine.hardware.ram import MiB

FRAME_BUFFER_SIZE = 64 * MiB


class Display(PciFunction):
    """A VGA compatible controller."""

    vendor, device = 0x1234, 0x1111
    class_code, revision = 0x030000, 0x11
    subsystem_vendor, subsystem = 0x1234, 0x1100
    irq_pin = 1

    def __init__(self) -> None:
        from machine.hardware.cards.display_regs import DisplayRegisters

        memory = Bar(128 * MiB, memory=FRAME_BUFFER_SIZE, prefetchable=True)
        self.registers = DisplayRegisters(memory.buffer)
        super().__init__(bars=[memory, Bar(block=self.registers)])

    def picture(self) -> Optional[tuple[int, int, bytes]]:
        """What is on the screen: (width, height, red, green and blue bytes), or None (`DisplayRegisters.picture`)."""
        return self.registers.picture()

    def visible(self) -> Optional[tuple[object, ...]]:
        """What the picture depends on (`DisplayRegisters.visible`)."""
        return self.registers.visible()
