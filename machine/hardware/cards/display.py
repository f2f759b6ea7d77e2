"""The display controller: for now its memory, without the registers.

The prefetchable BAR is 128 MiB wide; the first 16 MiB have memory, the rest reads as ones.
"""

from __future__ import annotations

from machine.hardware.pci import Bar, PciFunction
from machine.hardware.ram import MiB

FRAME_BUFFER_SIZE = 16 * MiB


class Display(PciFunction):
    """A VGA compatible controller."""

    vendor, device = 0x1234, 0x1111
    class_code, revision = 0x030000, 0x11
    subsystem_vendor, subsystem = 0x1234, 0x1100
    irq_pin = 1

    def __init__(self) -> None:
        super().__init__(bars=[Bar(128 * MiB, memory=FRAME_BUFFER_SIZE, prefetchable=True), Bar(0x10000)])
