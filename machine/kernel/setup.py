"""What the kernel makes of the board at boot: the resource trees (arch/i386/kernel/setup.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.hardware.iomem import (
    IORESOURCE_BUSY,
    IORESOURCE_IO,
    IORESOURCE_MEM,
    IORESOURCE_READONLY,
    Resource,
    insert_resource,
)

if TYPE_CHECKING:
    from machine.hardware.ram import Ram
    from machine.kernel.kernel import Kernel


E820 = 0x500
"""Where the firmware leaves its map of memory (firmware/system.S)."""
_SIGNATURE = b"SMAP"
_ENTRY, _MOST = 20, 32
E820_RAM = 1
VIDEO_RAM = (0xA0000, 0xBFFFF)
VIDEO_ROM, ADAPTER_ROMS, SYSTEM_ROM = (0xC0000, 0xC8000), (0xC8000, 0xF0000), (0xF0000, 0xFFFFF)
_STEP = 2048


def e820(ram: Ram) -> list[tuple[int, int, int]]:
    """(start, end, type) of the firmware's map of memory.  ValueError: it left none, or one that can't be."""
    head = bytes(ram.view[E820 : E820 + 8])
    count = int.from_bytes(head[4:], "little")
    if head[:4] != _SIGNATURE or not 1 <= count <= _MOST:
        raise ValueError("the firmware left no map of memory at 0x500")
    entries = []
    for at in range(E820 + 8, E820 + 8 + count * _ENTRY, _ENTRY):
        base, length = (int.from_bytes(ram.view[n : n + 8], "little") for n in (at, at + 8))
        entries.append((base, base + length, int.from_bytes(ram.view[at + 16 : at + 20], "little")))
    return entries


def system_ram(ram: Ram) -> list[tuple[int, int]]:
    """(start, end) of what the firmware says is RAM; ValueError for what is none of this machine."""
    found = [(start, end) for start, end, kind in e820(ram) if kind == E820_RAM]
    for start, end in found:
        if start % 4096 or end % 4096 or not any(a <= start < end <= b for a, b in ram.pieces):
            raise ValueError(f"the firmware says that {start:#x} to {end - 1:#x} is RAM, which it is not")
    return found


def probe_roms(ram: Ram) -> list[Resource]:
    """The ROMs that the firmware left below 1 MiB: signature, size and checksum (setup.c: probe_roms)."""
    flags = IORESOURCE_MEM | IORESOURCE_BUSY | IORESOURCE_READONLY
    found = []
    end = VIDEO_ROM[0]
    for at in range(VIDEO_ROM[0], SYSTEM_ROM[0], _STEP):
        size = rom_size(ram, at) if at >= end else 0
        if size:
            found.append(Resource("Video ROM" if at < VIDEO_ROM[1] else "Adapter ROM", at, at + size - 1, flags))
            end = at + size
    return [*found, Resource("System ROM", *SYSTEM_ROM, flags)]


def rom_size(ram: Ram, physical: int) -> int:
    """Bytes of the option ROM at an address; 0 when there is none, or its checksum is wrong."""
    if bytes(ram.view[physical : physical + 2]) != b"\x55\xaa":
        return 0
    size = ram.view[physical + 2] * 512
    return 0 if sum(ram.view[physical : physical + size]) & 0xFF else size


def memory_map(kernel: Kernel, code: tuple[int, int], data: tuple[int, int]) -> Resource:
    """`iomem_resource` without PCI: RAM, the ROMs, and where the kernel is (`code`, `data`: first and last address).

    RAM and ROMs are those that the firmware left.
    """
    root = Resource("PCI mem", 0, (1 << 46) - 1)
    busy = IORESOURCE_MEM | IORESOURCE_BUSY
    parts = [Resource("System RAM", start, end - 1, busy) for start, end in system_ram(kernel.ram)]
    parts += [Resource("Video RAM area", *VIDEO_RAM, busy), *probe_roms(kernel.ram)]
    parts += [Resource("Kernel code", *code, busy), Resource("Kernel data", *data, busy)]
    for each in parts:
        if insert_resource(root, each):
            raise ValueError(f"{each!r} overlaps another part of the memory map")
    return root


def claim_blocks(kernel: Kernel, root: Resource) -> None:
    """Enter the board's register blocks that are at addresses of their own."""
    for address, _make in kernel.board.layout.blocks:
        found = kernel.bus.find(address)
        if found is not None:
            flags = IORESOURCE_MEM | IORESOURCE_BUSY
            insert_resource(root, Resource(found.block.name, found.start, found.end - 1, flags))


def port_map() -> Resource:
    """`ioport_resource`: the configuration ports of PCI are the board's own."""
    root = Resource("PCI IO", 0, 0xFFFF, IORESOURCE_IO)
    root.add(Resource("PCI conf1", 0x0CF8, 0x0CFF, IORESOURCE_IO | IORESOURCE_BUSY))
    return root
