"""The vmalloc area as a stretch of bytes, whatever is mapped there: for /dev/kmem (mm/vmalloc.c of 2.6.10)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Union

from machine.kernel.current import current_kernel
from machine.kernel.include.string import Data, kernel_memory, memcpy
from machine.kernel.mm.vmalloc import VM_IOREMAP


def vread(buf: Union[bytearray, memoryview], addr: int, count: int) -> int:
    """Copy up to `count` bytes at kernel address `addr` into `buf`: how many, 0 above the last area.

    What lies between areas reads as zeros, and so does an ioremap area (since 2.6.30: to read a device register may
    change it).
    """
    view = memoryview(buf)
    done = 0
    for start, end, mapped in _stretches(addr, count):
        view[start - addr : end - addr] = bytes(kernel_memory(start, end - start)) if mapped else bytes(end - start)
        done = end - addr
    return done


def vwrite(buf: Data, addr: int, count: int) -> int:
    """Copy up to `count` bytes of `buf` to kernel address `addr`: how many, 0 above the last area.

    Those between areas and in an ioremap area are skipped, and counted.
    """
    done = 0
    for start, end, mapped in _stretches(addr, count):
        if mapped:
            memcpy(start, buf[start - addr : end - addr], end - start)
        done = end - addr
    return done


def _stretches(addr: int, count: int) -> Iterator[tuple[int, int, bool]]:
    """(start, end, whether it is memory) of each stretch of [addr, addr + count) up to the end of the last area."""
    stop = addr + count
    for area in list(current_kernel().vmalloc.areas):
        if area.end <= addr:
            continue
        if addr >= stop:
            return
        if addr < area.addr:
            yield addr, min(area.addr, stop), False
            addr = area.addr
        if addr < stop:
            yield addr, min(area.end, stop), not area.flags & VM_IOREMAP
            addr = area.end
