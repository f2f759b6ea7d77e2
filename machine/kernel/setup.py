"""What the kernel makes of the board at boot: the resource trees (arch/i386/kernel/setup.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.hardware.iomem import IORESOURCE_BUSY, IORESOURCE_IO, Resource, default_pc

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel


def memory_map(kernel: Kernel, code: tuple[int, int], data: tuple[int, int]) -> Resource:
    """`iomem_resource` without PCI: RAM, the ROMs, and where the kernel is (`code`, `data`: first and last address)."""
    return default_pc(kernel.ram, code, data, pci=False)


def port_map() -> Resource:
    """`ioport_resource`: the configuration ports of PCI are the board's own."""
    root = Resource("PCI IO", 0, 0xFFFF, IORESOURCE_IO)
    root.add(Resource("PCI conf1", 0x0CF8, 0x0CFF, IORESOURCE_IO | IORESOURCE_BUSY))
    return root
