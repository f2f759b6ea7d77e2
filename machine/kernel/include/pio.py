"""I/O ports (asm/io.h, linux/ioport.h; LDD3 §9.2)."""

from __future__ import annotations

from typing import Optional

from machine.hardware.iomem import Resource
from machine.kernel.abi.errno import EBUSY, Errno
from machine.kernel.current import current_kernel
from machine.kernel.module import calling_line, calling_module


def inb(port: int) -> int:
    """The byte at a port; ones where nobody answers."""
    return current_kernel().bus.ports.read(port, 1)


def inw(port: int) -> int:
    """The 2 bytes at a port, in one access."""
    return current_kernel().bus.ports.read(port, 2)


def inl(port: int) -> int:
    """The 4 bytes at a port, in one access."""
    return current_kernel().bus.ports.read(port, 4)


def outb(value: int, port: int) -> None:
    """Write a byte to a port.  The value comes first, as in C."""
    current_kernel().bus.ports.write(port, 1, value)


def outw(value: int, port: int) -> None:
    """Write 2 bytes to a port in one access."""
    current_kernel().bus.ports.write(port, 2, value)


def outl(value: int, port: int) -> None:
    """Write 4 bytes to a port in one access."""
    current_kernel().bus.ports.write(port, 4, value)


def request_region(start: int, n: int, name: str) -> Optional[Resource]:
    """Claim `n` ports from `start` on; shown in /proc/ioports under `name`.  None (NULL) when somebody has one."""
    try:
        return current_kernel().regions.request(start, n, name, calling_module(2), calling_line(2), ports=True)
    except Errno:
        return None


def release_region(start: int, n: int) -> None:
    """Give back what `request_region` claimed."""
    current_kernel().regions.release(start, n, ports=True)


def check_region(start: int, n: int) -> int:
    """0 when the ports are free now, -EBUSY when not; use `request_region` instead."""
    regions = current_kernel().regions
    try:
        regions.request(start, n, "check-region", None, "", ports=True)
    except Errno:
        return -EBUSY
    regions.release(start, n, ports=True)
    return 0


__all__ = ["check_region", "inb", "inl", "inw", "outb", "outl", "outw", "release_region", "request_region"]
