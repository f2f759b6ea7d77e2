"""Copies between the kernel and a process (arch/x86/lib/usercopy.c).

They use the process's own page tables; where an entry is missing or does not allow the access,
they take the same path as the guest's own fault (`handle_mm_fault`), so drivers are called, copies
are made and limits hold in the same way.  Nothing here sends a signal: failure is Errno(EFAULT).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional, cast

from machine.hardware.paging import PF_PRESENT, PF_WRITE, RW, US, A, D, P
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import EFAULT, ENAMETOOLONG, Errno
from machine.kernel.mm.page import PG_exec

if TYPE_CHECKING:
    from machine.hardware.paging import PageTables
    from machine.hardware.ram import Ram
    from machine.kernel.kernel import Kernel
    from machine.kernel.mm.page import Memory
    from machine.kernel.mm.space import mm_struct

_FRAME = 0x000F_FFFF_FFFF_F000
_DEVICE = 1 << 9
"""As `mm/space.py: DEVICE`."""
_EXECUTED = frozenset(flags for flags in range(256) if flags & PG_exec)
"""Flags of frames that code may have been translated from."""
_LAST = PAGE_SIZE - 1
_READABLE = P | US
_WRITABLE = P | US | RW
_SEEN = _READABLE | A
_WRITTEN = _WRITABLE | A | D
SCATTERED = -2
_ZEROS = memoryview(bytes(1 << 20))
_SOMETIMES = (2 << 20) - 1
"""At these boundaries, which no piece goes beyond, a long copy looks whether its task was killed."""


class UserAccess:
    """The user-memory half of `mm_struct`."""

    kernel: Kernel
    ram: Ram
    mem: Memory
    tables: PageTables
    task_size: int

    def _translate(self, address: int, write: bool) -> int:
        """Physical address behind `address`, faulted in; -1 when the access is not allowed."""
        wanted = _WRITABLE if write else _READABLE
        for _attempt in range(4):
            base = self.tables.leaves.get(address >> 21)
            if base is not None:
                index = base + (address >> PAGE_SHIFT & 511)
                pte = self.ram.words[index]
                if pte & wanted == wanted:
                    self.ram.words[index] = pte | (A | D if write else A)
                    return (pte & _FRAME) | (address & (PAGE_SIZE - 1))
            else:
                pte = 0
            if pte & _DEVICE and not pte & P:
                return -1
            code = (PF_WRITE if write else 0) | (PF_PRESENT if pte & P else 0)
            if address >= self.task_size or not self.kernel.faultin(cast("mm_struct", self), address, code):
                return -1
        return -1

    def _span(self, address: int, count: int, wanted: int) -> tuple[int, int]:
        """(physical address, bytes) of the memory at `address` that lies in one piece in RAM and in one page table,
        through entries that have every bit of `wanted`; 0 bytes where the first has not."""
        base = self.tables.leaves.get(address >> 21)
        if base is None:
            return 0, 0
        offset = address & (PAGE_SIZE - 1)
        first = address >> PAGE_SHIFT & 511
        most = min(512 - first, (offset + count + PAGE_SIZE - 1) >> PAGE_SHIFT)
        entries = self.ram.words[base + first : base + first + most].tolist()
        frame = expected = entries[0] & _FRAME
        for pte in entries:
            if pte & wanted != wanted or pte & _FRAME != expected:
                break
            expected += PAGE_SIZE
        length = min(expected - frame - offset, count)
        if length <= 0 or not (frame + offset + length <= self.ram.low_end or self.ram.holds(frame + offset, length)):
            return 0, 0
        return frame + offset, length

    def take_at_once(self, address: int, count: int) -> Optional[bytes]:
        """`count` bytes from `address` without any fault: None unless they are in at most two pages of RAM that are
        present and were read before."""
        offset = address & _LAST
        if offset + count > PAGE_SIZE:
            first = PAGE_SIZE - offset
            if count - first > PAGE_SIZE:
                return None
            low = self.take_at_once(address, first)
            high = self.take_at_once(address + first, count - first)
            return None if low is None or high is None else low + high
        base = self.tables.leaves.get(address >> 21)
        if base is None:
            return None
        pte = self.ram.words[base + (address >> PAGE_SHIFT & 511)]
        start = (pte & _FRAME) + offset
        if pte & _SEEN != _SEEN or start + count > self.ram.low_end:
            return None
        return bytes(self.ram.view[start : start + count])

    def room_at_once(self, address: int, count: int) -> int:
        """Where `count` bytes at `address` can be written without any fault: the physical address when they are in one
        page of RAM that is present and was written before; `SCATTERED` for two such pages, which `write_some` can fill;
        -1 otherwise, and for code."""
        offset = address & _LAST
        if offset + count > PAGE_SIZE:
            first = PAGE_SIZE - offset
            if count - first > PAGE_SIZE:
                return -1
            found = self.room_at_once(address, first) >= 0 and self.room_at_once(address + first, count - first) >= 0
            return SCATTERED if found else -1
        base = self.tables.leaves.get(address >> 21)
        if base is None:
            return -1
        pte = self.ram.words[base + (address >> PAGE_SHIFT & 511)]
        start = (pte & _FRAME) + offset
        if pte & _WRITTEN != _WRITTEN or start + count > self.ram.low_end:
            return -1
        return -1 if self.mem.flags[start >> PAGE_SHIFT] & PG_exec else start

    def put_at_once(self, where: int, address: int, data: bytes) -> int:
        """Write `data` to `address`, for which `room_at_once` has given `where`, not -1; its length."""
        count = len(data)
        if where < 0:
            return self.write_some(address, data)
        self.ram.view[where : where + count] = data
        return count

    def _device_entry(self, address: int, write: bool) -> int:
        """Physical address of a device register behind `address` (its entry is never present), or -1."""
        pte = self.tables.get(address)
        if pte & _DEVICE and not pte & P and (pte & RW or not write):
            return (pte & _FRAME) | (address & (PAGE_SIZE - 1))
        return -1

    def read_some(self, address: int, count: int) -> bytes:
        """Up to `count` bytes from `address`: fewer, or none, where memory can't be read."""
        room = PAGE_SIZE - (address & (PAGE_SIZE - 1))
        if count <= room:
            return self._read_piece(address, count)
        parts = []
        while count > 0:
            if not address & _SOMETIMES and self.kernel.sched.break_off():
                break
            physical, piece = self._span(address, count, _READABLE | A)
            if piece:
                parts.append(bytes(self.ram.view[physical : physical + piece]))
                address += piece
                count -= piece
                continue
            piece = min(count, PAGE_SIZE - (address & (PAGE_SIZE - 1)))
            data = self._read_piece(address, piece)
            parts.append(data)
            if len(data) < piece:
                break
            address += piece
            count -= piece
        return b"".join(parts)

    def _read_piece(self, address: int, count: int) -> bytes:
        if count <= 0:
            return b""
        physical = self._translate(address, False)
        if physical < 0:
            device = self._device_entry(address, False)
            return b"" if device < 0 else self.kernel.bus.read_bytes(device, count)
        if physical + count <= self.ram.low_end or self.ram.holds(physical, count):
            return bytes(self.ram.view[physical : physical + count])
        return self.kernel.bus.read_bytes(physical, count)

    def write_some(self, address: int, data: Any) -> int:
        """Write `data` at `address`; returns how many bytes could be written."""
        done = 0
        count = len(data)
        view = memoryview(data)
        while done < count:
            if not address & _SOMETIMES and count >= PAGE_SIZE and self.kernel.sched.break_off():
                break
            if count - done > PAGE_SIZE:
                physical, piece = self._span(address, count - done, _WRITABLE | A | D)
                if piece:
                    self.ram.view[physical : physical + piece] = view[done : done + piece]
                    if not _EXECUTED.isdisjoint(
                        self.mem.flags[physical >> PAGE_SHIFT : (physical + piece + _LAST) >> PAGE_SHIFT]
                    ):
                        self.kernel.cpu.drop_code()
                    done += piece
                    address += piece
                    continue
            piece = min(count - done, PAGE_SIZE - (address & (PAGE_SIZE - 1)))
            physical = self._translate(address, True)
            if physical < 0:
                device = self._device_entry(address, True)
                if device < 0:
                    break
                self.kernel.bus.write_bytes(device, bytes(view[done : done + piece]))
            elif physical + piece <= self.ram.low_end or self.ram.holds(physical, piece):
                self.ram.view[physical : physical + piece] = view[done : done + piece]
                if self.mem.flags[physical >> PAGE_SHIFT] & PG_exec:
                    self.kernel.cpu.drop_code()
            else:
                self.kernel.bus.write_bytes(physical, bytes(view[done : done + piece]))
            done += piece
            address += piece
        return done

    def copy_from_user(self, address: int, count: int) -> bytes:
        """`count` bytes from `address`; Errno(EFAULT) unless all of them can be read."""
        data = self.read_some(address, count)
        if len(data) != count:
            raise Errno(EFAULT)
        return data

    def copy_to_user(self, address: int, data: Any) -> None:
        """Write all of `data` at `address`, or Errno(EFAULT) (what came before the fault is written)."""
        if self.write_some(address, data) != len(data):
            raise Errno(EFAULT)

    def clear_user(self, address: int, count: int) -> int:
        """Zero `count` bytes; returns how many could be zeroed."""
        done = 0
        while done < count:
            piece = min(count - done, len(_ZEROS))
            wrote = self.write_some(address + done, _ZEROS[:piece])
            done += wrote
            if wrote < piece:
                break
        return done

    def read_string(self, address: int, limit: int = 4096) -> bytes:
        """The NUL-terminated string at `address`, without its NUL.

        EFAULT where it can't be read; ENAMETOOLONG when there is no NUL in the first `limit` bytes
        (strncpy_from_user, fs/namei.c: getname).
        """
        parts = []
        left = limit
        while left > 0:
            piece = min(left, PAGE_SIZE - (address & (PAGE_SIZE - 1)))
            data = self._read_piece(address, piece)
            if not data:
                raise Errno(EFAULT)
            end = data.find(0)
            if end >= 0:
                parts.append(data[:end])
                return b"".join(parts)
            parts.append(data)
            address += len(data)
            left -= len(data)
        raise Errno(ENAMETOOLONG)

    def get_u32(self, address: int) -> int:
        return int.from_bytes(self.copy_from_user(address, 4), "little")

    def get_u64(self, address: int) -> int:
        return int.from_bytes(self.copy_from_user(address, 8), "little")

    def put_u32(self, address: int, value: int) -> None:
        self.copy_to_user(address, (value & 0xFFFF_FFFF).to_bytes(4, "little"))

    def put_u64(self, address: int, value: int) -> None:
        self.copy_to_user(address, (value & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(8, "little"))
