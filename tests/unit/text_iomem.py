"""A resource tree with the parts that LDD3 §15.2 prints, for tests without a machine."""

from __future__ import annotations

from machine.hardware.iomem import (
    IORESOURCE_BUSY,
    IORESOURCE_MEM,
    IORESOURCE_PREFETCH,
    IORESOURCE_READONLY,
    Resource,
    insert_resource,
)
from machine.hardware.ram import Ram

PCI_WINDOW_PREFETCHABLE = (0xD7F00000, 0xF7EFFFFF)
PCI_WINDOW = (0xFC700000, 0xFCCFFFFF)
DISPLAY_FRAME_BUFFER = (0xE8000000, 0xEFFFFFFF)
DISPLAY_REGISTERS = (0xFCC00000, 0xFCC0FFFF)
DISPLAY_SLOT = "0000:01:00.0"


def insert_all(root: Resource, resources: list[Resource]) -> None:
    for each in resources:
        if insert_resource(root, each):
            raise ValueError(f"{each!r} overlaps another part of the memory map")


def default_pc(ram: Ram, kernel_code: tuple[int, int], kernel_data: tuple[int, int], pci: bool = True) -> Resource:
    """The default PC's map for `ram`: `iomem_resource` with everything below it.

    `kernel_code` and `kernel_data` are (first, last) physical addresses inside System RAM.
    `pci=False` leaves out the bus windows and the display controller behind them.
    """
    root = Resource("PCI mem", 0, (1 << 46) - 1)
    busy = IORESOURCE_MEM | IORESOURCE_BUSY
    insert_all(root, [Resource("System RAM", start, end - 1, busy) for start, end in ram.pieces])
    insert_all(
        root,
        [
            Resource("Video RAM area", 0x000A0000, 0x000BFFFF, busy),
            Resource("Video ROM", 0x000C0000, 0x000CCFFF, busy | IORESOURCE_READONLY),
            Resource("Adapter ROM", 0x000D1000, 0x000D1FFF, busy | IORESOURCE_READONLY),
            Resource("System ROM", 0x000F0000, 0x000FFFFF, busy | IORESOURCE_READONLY),
            Resource("Kernel code", *kernel_code, busy),
            Resource("Kernel data", *kernel_data, busy),
        ],
    )
    if pci:
        insert_all(
            root,
            [
                Resource("PCI Bus #01", *PCI_WINDOW_PREFETCHABLE, IORESOURCE_MEM | IORESOURCE_PREFETCH),
                Resource("PCI Bus #01", *PCI_WINDOW),
                Resource(DISPLAY_SLOT, *DISPLAY_FRAME_BUFFER, IORESOURCE_MEM | IORESOURCE_PREFETCH),
                Resource(DISPLAY_SLOT, *DISPLAY_REGISTERS),
            ],
        )
    return root
