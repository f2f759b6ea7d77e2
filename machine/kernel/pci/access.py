"""Files that are a device: its config space, its BARs, its ROM (drivers/pci/pci-sysfs.c, drivers/pci/mmap.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.hardware.iomem import IORESOURCE_IO, Resource
from machine.hardware.paging import PCD, PWT
from machine.hardware.pci_regs import PCI_ROM_ADDRESS, PCI_ROM_ADDRESS_ENABLE
from machine.hardware.ram import PAGE_SHIFT
from machine.kernel.abi.capability import CAP_SYS_ADMIN
from machine.kernel.abi.errno import EINVAL, EIO, EPERM, Errno
from machine.kernel.fs.file import S_IFREG, file, file_operations, super_block
from machine.kernel.fs.proc import ProcInode
from machine.kernel.mm.remap import io_remap_pfn_range
from machine.kernel.pci.dev import IORESOURCE_ROM_SHADOW, PCI_ROM_RESOURCE, VGA_ROM, pci_dev

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.mm.vma import vm_area_struct

CONFIG_SIZE = 256
UNPRIVILEGED = 64
"""What others than root may read of config space: some chips lock up when undefined parts are read."""


class _ConfigOperations(file_operations):
    def read_iter(self, filp: file, count: int, position: int) -> bytes:
        node: ConfigFile = filp.f_inode  # type: ignore[assignment]
        end = CONFIG_SIZE if node.kernel.capable(CAP_SYS_ADMIN) else UNPRIVILEGED
        pieces = _aligned(position, min(count, end - position))
        return b"".join(node.dev.read(at, width).to_bytes(width, "little") for at, width in pieces)

    def write_iter(self, filp: file, data: bytes, position: int) -> int:
        node: ConfigFile = filp.f_inode  # type: ignore[assignment]
        count = min(len(data), CONFIG_SIZE - position)
        for at, width in _aligned(position, count):
            node.dev.write(at, width, int.from_bytes(data[at - position : at - position + width], "little"))
        return max(0, count)


def _aligned(position: int, count: int) -> list[tuple[int, int]]:
    """(offset, width) of the accesses that cover the bytes: words of 4 where they fit, then 2, then 1."""
    pieces, end = [], position + count
    while position < end:
        width = next(n for n in (4, 2, 1) if not position % n and position + n <= end)
        pieces.append((position, width))
        position += width
    return pieces


_CONFIG = _ConfigOperations()


class ConfigFile(ProcInode):
    """The config space of a device: 256 bytes, 64 for others than root."""

    def __init__(self, kernel: Kernel, sb: super_block, path: str, mode: int, dev: pci_dev) -> None:
        super().__init__(kernel, sb, path, mode, _CONFIG)
        self.dev = dev
        self.i_size = CONFIG_SIZE


# -- resourceN -----------------------------------------------------------------------------------------------


class _MemoryOperations(file_operations):
    def mmap(self, filp: file, vma: vm_area_struct) -> int:
        """pci_mmap_resource: -EINVAL past the end; not cached, or write-combining for resourceN_wc."""
        node: ResourceFile = filp.f_inode  # type: ignore[assignment]
        pages, size = vma.vm_end - vma.vm_start >> PAGE_SHIFT, node.i_size + 4095 >> PAGE_SHIFT
        if not node.resource.start or vma.vm_pgoff + pages > size:
            return -EINVAL
        vma.vm_pgoff += node.resource.start >> PAGE_SHIFT
        vma.vm_page_prot |= PWT if node.combine else PCD | PWT
        return io_remap_pfn_range(vma, vma.vm_start, vma.vm_pgoff, vma.vm_end - vma.vm_start, vma.vm_page_prot)


class _PortOperations(file_operations):
    def read_iter(self, filp: file, count: int, position: int) -> bytes:
        """One access of 1, 2 or 4 bytes; EINVAL for other counts."""
        node: ResourceFile = filp.f_inode  # type: ignore[assignment]
        _check_ports(node, position, count)
        return node.kernel.bus.ports.read(node.resource.start + position, count).to_bytes(count, "little")

    def write_iter(self, filp: file, data: bytes, position: int) -> int:
        node: ResourceFile = filp.f_inode  # type: ignore[assignment]
        _check_ports(node, position, len(data))
        node.kernel.bus.ports.write(node.resource.start + position, len(data), int.from_bytes(data, "little"))
        return len(data)


def _check_ports(node: ResourceFile, position: int, count: int) -> None:
    if count not in (1, 2, 4) or position + count > node.i_size:
        raise Errno(EINVAL)


_MEMORY, _PORTS = _MemoryOperations(), _PortOperations()


class ResourceFile(ProcInode):
    """One BAR: memory to be mapped, ports to be read and written."""

    def __init__(self, kernel: Kernel, sb: super_block, path: str, resource: Resource, combine: bool) -> None:
        super().__init__(kernel, sb, path, S_IFREG | 0o600, _PORTS if resource.flags & IORESOURCE_IO else _MEMORY)
        self.resource = resource
        self.combine = combine
        self.i_size = resource.end - resource.start + 1


# -- rom ---------------------------------------------------------------------------------------------------------


class _RomOperations(file_operations):
    def read_iter(self, filp: file, count: int, position: int) -> bytes:
        """The image, while 1 was the last that was written; EINVAL before (pci_read_rom)."""
        node: RomFile = filp.f_inode  # type: ignore[assignment]
        if not node.dev.rom_enabled:
            raise Errno(EINVAL)
        return rom_image(node.dev)[position : position + count]

    def write_iter(self, filp: file, data: bytes, position: int) -> int:
        """``0`` forbids reading, anything else allows it (pci_write_rom)."""
        node: RomFile = filp.f_inode  # type: ignore[assignment]
        if not node.kernel.capable(CAP_SYS_ADMIN):
            raise Errno(EPERM)
        node.dev.rom_enabled = data[:1] != b"0" or len(data) > 2
        return len(data)


_ROM = _RomOperations()


class RomFile(ProcInode):
    """The expansion ROM, or the copy of it that the firmware made."""

    def __init__(self, kernel: Kernel, sb: super_block, path: str, dev: pci_dev) -> None:
        super().__init__(kernel, sb, path, S_IFREG | 0o600, _ROM)
        self.dev = dev
        resource = dev.resource[PCI_ROM_RESOURCE]
        self.i_size = resource.end - resource.start + 1


def rom_image(dev: pci_dev) -> bytes:
    """The bytes of the ROM, as long as its header says; Errno(EIO) when there is none (pci_map_rom)."""
    core, resource = dev.core, dev.resource[PCI_ROM_RESOURCE]
    size = resource.end - resource.start + 1
    if resource.flags & IORESOURCE_ROM_SHADOW:
        data = bytes(core.kernel.ram.view[VGA_ROM[0] : VGA_ROM[1] + 1])
    else:
        if not resource.start and core.assign_rom(dev):
            raise Errno(EIO)
        dev.write(PCI_ROM_ADDRESS, 4, resource.start | PCI_ROM_ADDRESS_ENABLE)
        data = core.kernel.bus.read_bytes(resource.start, size)
        dev.write(PCI_ROM_ADDRESS, 4, resource.start)
    if data[:2] != b"\x55\xaa":
        raise Errno(EIO)
    return data[: min(size, data[2] * 512)]
