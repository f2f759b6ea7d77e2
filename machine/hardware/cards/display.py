"""The display card behind the default PC's PCI bus: for now its memory, without the controller.

The prefetchable BAR at 0xe8000000 is 128 MiB wide; the first 16 MiB have memory, the rest reads as ones.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

from machine.hardware.iomem import DISPLAY_FRAME_BUFFER
from machine.hardware.ram import MiB

if TYPE_CHECKING:
    from machine.hardware.bus import Bus

FRAME_BUFFER_SIZE = 16 * MiB


def attach_frame_buffer(bus: Bus) -> None:
    """Put the card's memory on the bus, zeroed.  The host commits its pages when they are touched."""
    memory = mmap.mmap(-1, FRAME_BUFFER_SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    bus.attach_memory(memory, DISPLAY_FRAME_BUFFER[0])
