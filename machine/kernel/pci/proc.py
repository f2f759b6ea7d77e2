"""/proc/pci and /proc/bus/pci (drivers/pci/proc.c of 2.6.10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.hardware.iomem import IORESOURCE_IO, IORESOURCE_PREFETCH
from machine.hardware.pci_regs import PCI_LATENCY_TIMER, PCI_MAX_LAT, PCI_MIN_GNT
from machine.kernel.current import current_kernel
from machine.kernel.fs.file import S_IFREG, inode, super_block
from machine.kernel.fs.proc import Entry, Text, Tree
from machine.kernel.pci.access import ConfigFile
from machine.kernel.pci.dev import IORESOURCE_MEM_64, PCI_FUNC, PCI_SLOT, pci_dev

if TYPE_CHECKING:
    from machine.kernel.fs.proc import NodeFactory
    from machine.kernel.kernel import Kernel

CLASSES = {
    0x0000: "Non-VGA unclassified device", 0x0100: "SCSI storage controller", 0x0101: "IDE interface",
    0x0200: "Ethernet controller", 0x0300: "VGA compatible controller", 0x0380: "Display controller",
    0x0401: "Multimedia audio controller", 0x0600: "Host bridge", 0x0601: "ISA bridge", 0x0604: "PCI bridge",
    0x0680: "Bridge", 0x0700: "Serial controller", 0x0800: "PIC", 0x0801: "DMA controller", 0x0802: "Timer",
    0x0C03: "USB Controller", 0x00FF: "Unclassified device", 0xFF00: "Class ff00",
}  # fmt: skip
_SHOWN = 7
"""BARs and the ROM."""


def proc_pci(kernel: Kernel) -> Text:
    """/proc/pci: a paragraph a function, as *Beginning Linux Programming* ch. 21 shows it."""
    return "PCI devices found:\n" + "".join(_paragraph(dev) for dev in kernel.pci.devices)


def _paragraph(dev: pci_dev) -> str:
    kind = CLASSES.get(dev.class_ >> 8, f"Class {dev.class_ >> 8:04x}")
    lines = [
        f"  Bus {dev.bus.number:2}, device {PCI_SLOT(dev.devfn):3}, function {PCI_FUNC(dev.devfn):2}:\n",
        f"    {kind}: PCI device {dev.vendor:04x}:{dev.device:04x} (rev {dev.revision}).\n",
    ]
    if dev.irq:
        lines.append(f"      IRQ {dev.irq}.\n")
    latency, least, most = (dev.read(at, 1) for at in (PCI_LATENCY_TIMER, PCI_MIN_GNT, PCI_MAX_LAT))
    if dev.hdr_type == 0 and (latency or least or most):
        text = f"Latency={latency}.  " if latency else "No bursts.  "
        text += (f"Min Gnt={least}." if least else "") + (f"Max Lat={most}." if most else "")
        lines.append(f"      Master Capable.  {text}\n")
    for each in dev.resource[:6]:
        if not each.flags or not each.end:
            continue
        if each.flags & IORESOURCE_IO:
            lines.append(f"      I/O at 0x{each.start:x} [0x{each.end:x}].\n")
        else:
            kind = "Prefetchable" if each.flags & IORESOURCE_PREFETCH else "Non-prefetchable"
            bits = 64 if each.flags & IORESOURCE_MEM_64 else 32
            lines.append(f"      {kind} {bits} bit memory at 0x{each.start:x} [0x{each.end:x}].\n")
    return "".join(lines)


def proc_bus_pci(kernel: Kernel) -> Tree:
    """/proc/bus/pci: the list, and a directory a bus with the config space of each function."""
    tree: Tree = {"devices": Entry(0o444, _devices)}
    for dev in kernel.pci.devices:
        name = f"{dev.bus.number:02x}/{PCI_SLOT(dev.devfn):02x}.{PCI_FUNC(dev.devfn)}"
        tree[name] = config_node(dev)
    return tree


def config_node(dev: pci_dev) -> NodeFactory:
    """What makes the inode of a file that is the config space of `dev`."""

    def make(sb: super_block, path: str) -> inode:
        return ConfigFile(current_kernel(), sb, path, S_IFREG | 0o644, dev)

    return make


def _devices(kernel: Kernel) -> Text:
    """bus and devfn, vendor and device, IRQ, seven addresses with their kind, seven sizes, driver (show_device)."""
    lines = []
    for dev in kernel.pci.devices:
        shown = dev.resource[:_SHOWN]
        low = [each.start | (each.flags & 0xF if each.flags else 0) for each in shown]
        sizes = [each.end - each.start + 1 if each.end or each.start else 0 for each in shown]
        head = f"{dev.bus.number:02x}{dev.devfn:02x}\t{dev.vendor:04x}{dev.device:04x}\t{dev.irq:x}"
        numbers = "".join(f"\t{number:16x}" for number in (*low, *sizes))
        lines.append(f"{head}{numbers}\t{dev.driver.name if dev.driver is not None else ''}\n")
    return "".join(lines)
