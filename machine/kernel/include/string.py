"""The bytes behind kernel addresses: `kernel_memory`, and the functions of linux/string.h over them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Union, overload

from machine.hardware.ram import PAGE_SHIFT
from machine.kernel.current import current_kernel
from machine.kernel.mm.page import PG_exec
from machine.kernel.mm.vmalloc import PAGE_OFFSET, VMALLOC_END, VMALLOC_START, BadKernelAddress

if TYPE_CHECKING:
    from machine.kernel.include.structs import struct


class scattered_memory:
    """Bytes of a vmalloc area that lie in several pieces of RAM, used as one memoryview of them would be.

    len, index, slice, assignment to both, bytes(), tobytes(), iteration, comparison with bytes.  A slice is such
    an object too, over the same RAM (a memoryview where it lies in one piece); a slice with a step is a copy.
    """

    __slots__ = ("_starts", "_views")

    def __init__(self, views: list[memoryview]) -> None:
        self._views = views
        self._starts = [0, *accumulate(len(view) for view in views)]
        """Where each piece begins; the length of all, at last."""

    def __len__(self) -> int:
        return self._starts[-1]

    def _place(self, index: int) -> tuple[memoryview, int]:
        length = self._starts[-1]
        index = index + length if index < 0 else index
        if not 0 <= index < length:
            raise IndexError(f"index {index} is outside these {length} bytes of kernel memory")
        piece = bisect_right(self._starts, index) - 1
        return self._views[piece], index - self._starts[piece]

    def _pieces(self, start: int, stop: int) -> list[memoryview]:
        """The parts of the pieces that make up [start, stop)."""
        return [
            view[max(0, start - first) : stop - first]
            for view, first in zip(self._views, self._starts, strict=False)
            if first < stop and start < first + len(view)
        ]

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Union[memoryview, scattered_memory]: ...
    def __getitem__(self, index: Union[int, slice]) -> Union[int, memoryview, scattered_memory]:
        if not isinstance(index, slice):
            view, offset = self._place(index)
            return view[offset]
        start, stop, step = index.indices(len(self))
        if step != 1:
            return memoryview(self.tobytes()[index])
        pieces = self._pieces(start, stop)
        if len(pieces) > 1:
            return scattered_memory(pieces)
        return pieces[0] if pieces else self._views[0][:0]

    def __setitem__(self, index: Union[int, slice], value: Union[int, Data]) -> None:
        if not isinstance(index, slice):
            view, offset = self._place(index)
            view[offset] = value  # type: ignore[assignment]  # bytes here is the caller's TypeError
            return
        start, stop, step = index.indices(len(self))
        data = memoryview(bytes(value))  # a copy: it may overlap what is written
        if step != 1 or len(data) != max(0, stop - start):
            raise ValueError(f"{len(data)} bytes assigned to {max(0, stop - start)} bytes of kernel memory")
        done = 0
        for piece in self._pieces(start, stop):
            piece[:] = data[done : done + len(piece)]
            done += len(piece)

    def __iter__(self) -> Iterator[int]:
        for view in self._views:
            yield from view

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (bytes, bytearray, memoryview, scattered_memory)) and bytes(self) == bytes(other)

    __hash__ = None  # type: ignore[assignment]

    def tobytes(self) -> bytes:
        """A copy of all of it."""
        return b"".join(self._views)

    __bytes__ = tobytes

    def __repr__(self) -> str:
        return f"<{len(self)} bytes of kernel memory in {len(self._views)} pieces>"


KernelMemory = Union[memoryview, scattered_memory]
"""What `kernel_memory` gives."""
Data = Union[bytes, bytearray, memoryview, scattered_memory]


def kernel_memory(address: int, length: int) -> KernelMemory:
    """The `length` bytes at a kernel address, readable and writable: what C reaches through a pointer.

    In the direct map (kmalloc, get_free_page), and in a vmalloc area where the bytes lie in one piece of RAM, a
    memoryview; else a `scattered_memory`, which is used in the same way.  BadKernelAddress where nothing is mapped, and
    for an ioremap address (readl and memcpy_fromio reach that): a wild pointer in a driver is an oops.
    """
    kernel = current_kernel()
    physical = address - PAGE_OFFSET
    if physical >= 0 and length >= 0 and kernel.ram.holds(physical, length):
        return kernel.ram.view[physical : physical + length]
    if length > 0 and VMALLOC_START <= address < VMALLOC_END:
        pieces = kernel.vmalloc.pieces(address, length)
        views = [kernel.ram.view[start : start + count] for start, count in pieces]
        return views[0] if len(views) == 1 else scattered_memory(views)
    raise BadKernelAddress(f"unable to handle kernel paging request at virtual address {address & (1 << 64) - 1:016x}")


def as_data(what: Union[int, Data, struct], n: int) -> Union[bytes, memoryview]:
    """The first `n` bytes of a kernel address, a buffer or a struct, for reading."""
    if isinstance(what, int):
        what = kernel_memory(what, n)
    elif not isinstance(what, (bytes, bytearray, memoryview, scattered_memory)):
        if isinstance(what, str):
            raise TypeError(f'{what!r} is text, and no bytes: b"...", or text.encode()')
        what = bytes(what)
    return bytes(what[:n]) if isinstance(what, scattered_memory) else memoryview(what)[:n]


def _runs(address: int, n: int) -> list[tuple[int, int]]:
    """(physical address, bytes) of each piece behind a kernel address; BadKernelAddress as `kernel_memory`."""
    kernel = current_kernel()
    if VMALLOC_START <= address < VMALLOC_END:
        return kernel.vmalloc.pieces(address, n)
    kernel_memory(address, n)
    return [(address - PAGE_OFFSET, n)]


def memcpy(to: int, from_: Union[int, Data, struct], n: int) -> None:
    """Copy `n` bytes to kernel address `to`, from a kernel address, a buffer or a struct.  None touches neither."""
    if n == 0:
        return
    data = as_data(from_, n)
    if len(data) < n:
        raise ValueError(f"memcpy of {n} bytes from a buffer of {len(data)}")
    runs = _runs(to, n)
    if len(runs) > 1:
        data = memoryview(bytes(data))  # the target may overlap it
    kernel, done = current_kernel(), 0
    flags = kernel.mem.flags
    for physical, count in runs:
        kernel.ram.view[physical : physical + count] = data[done : done + count]
        done += count
        if any(flags[pfn] & PG_exec for pfn in range(physical >> PAGE_SHIFT, (physical + count - 1 >> PAGE_SHIFT) + 1)):
            kernel.cpu.drop_code()  # the engine has translated what was there


def memset(to: int, c: int, n: int) -> None:
    """Fill `n` bytes at kernel address `to` with the byte `c`."""
    memcpy(to, bytes([c & 0xFF]) * n, n)


def memcmp(a: Union[int, Data, struct], b: Union[int, Data, struct], n: int) -> int:
    """Compare `n` bytes: below 0, 0, or above 0 as `a` is less than, equal to or greater than `b`."""
    first, second = bytes(as_data(a, n)), bytes(as_data(b, n))
    return (first > second) - (first < second)
