"""Device memory for drivers: what may be ioremapped, and who has claimed which range (arch/i386/mm/ioremap.c,
kernel/resource.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from machine.hardware.iomem import Resource, release_region, request_region
from machine.hardware.ram import ISA_HOLE_END, ISA_HOLE_START, PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import EINVAL, ENOMEM, Errno
from machine.kernel.mm.vmalloc import PAGE_KERNEL_NOCACHE, PAGE_OFFSET, VM_IOREMAP

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.module import module

PHYSICAL_END = 1 << 46


def is_isa_hole(physical: int, size: int) -> bool:
    """Whether the range lies wholly in 640 KiB to 1 MiB, which the direct map shows."""
    return physical >= ISA_HOLE_START and physical + size <= ISA_HOLE_END


def ioremap(kernel: Kernel, physical: int, size: int, owner: Optional[module], where: str) -> int:
    """Kernel address of `size` bytes of device memory at `physical` (__ioremap).

    Errno: EINVAL for no bytes, beyond the processor's addresses, or ordinary RAM (with a line in the log); ENOMEM.
    """
    if size <= 0 or physical < 0 or physical + size > PHYSICAL_END:
        raise Errno(EINVAL)
    if is_isa_hole(physical, size):
        return PAGE_OFFSET + physical
    mem = kernel.mem
    last = min(physical + size - 1 >> PAGE_SHIFT, mem.max_pfn)
    for pfn in range(physical >> PAGE_SHIFT, last + 1):
        if mem.pfn_valid(pfn) and not mem.is_reserved(pfn):
            at = f" ({where})" if where else ""
            kernel.warn(f"ioremap on RAM at {physical:#x} - {physical + size - 1:#x}{at}")
            raise Errno(EINVAL)
    area = kernel.vmalloc.map_io(physical, size, PAGE_KERNEL_NOCACHE, owner, where)
    return area.addr + (physical & (PAGE_SIZE - 1))


def bus_address(kernel: Kernel, address: int, size: int) -> int:
    """Physical address behind `size` bytes at what ioremap gave; -1 when it is no such address."""
    area = kernel.vmalloc.find(address)
    if area is not None:
        inside = area.flags & VM_IOREMAP and address + size <= area.end
        return area.phys_addr + address - area.addr if inside else -1
    physical = address - PAGE_OFFSET
    return physical if is_isa_hole(physical, size) else -1


class Regions:
    """The ranges of device memory that drivers have claimed."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.claimed: dict[tuple[int, int, bool], tuple[Resource, Optional[module], str]] = {}
        """(start, bytes, whether ports) -> the resource, who claimed it, and where in its source."""
        kernel.leak_checks.append(self.held_by)

    def request(
        self, start: int, n: int, name: str, owner: Optional[module], where: str, ports: bool = False
    ) -> Resource:
        """Claim `n` bytes (`ports`: I/O ports) from `start` on.

        Errno(ENOMEM) when somebody has one of them: C has NULL only.
        """
        kernel = self.kernel
        made = request_region(kernel.ioport if ports else kernel.iomem, start, n, name) if n > 0 else None
        if made is None:
            raise Errno(ENOMEM)
        self.claimed[start, n, ports] = (made, owner, where)
        return made

    def release(self, start: int, n: int, ports: bool = False) -> bool:
        """Give the range back; False, with a line in the log, when nobody has claimed just this."""
        tree = self.kernel.ioport if ports else self.kernel.iomem
        if (start, n, ports) not in self.claimed or not release_region(tree, start, n):
            self.kernel.warn(f"Trying to free nonexistent resource <{start:08x}-{start + n - 1:08x}>")
            return False
        del self.claimed[start, n, ports]
        return True

    def held_by(self, owner: module) -> list[str]:
        """The module's ranges, a line each: for the leak list at rmmod."""
        return [
            f"region {made.start:08x}-{made.end:08x} '{made.name}', claimed at {where}"
            for made, who, where in self.claimed.values()
            if who is owner
        ]
