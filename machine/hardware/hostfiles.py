"""Files of the host mapped in the place of RAM: what the host has in its own page cache need not be copied into frames.

A mapping is private, so a write here never reaches the file: it gives the page memory of its own, as it gives RAM that
was never touched.  A page that nobody has written follows the file, as it does for the host's own programs; what is
cut off is zeros (truncated.py).
"""

from __future__ import annotations

import ctypes
import mmap
import os
from errno import EINVAL
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from machine.hardware.truncated import Truncations

_MAP_FIXED, _MAP_NORESERVE = 0x10, 0x4000
_ZEROS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_FIXED | _MAP_NORESERVE
_RIGHTS = mmap.PROT_READ | mmap.PROT_WRITE
_MADV_POPULATE_READ = 22  # Linux 5.14


def _libc() -> Any:
    libc: Any = ctypes.CDLL(None, use_errno=True)
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.mmap.restype = ctypes.c_void_p
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return libc


class _Areas:
    """How many areas the host has given to this process: it has a limit, and must not meet it in the middle of
    something else."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._left = 0
        """Changes until they are counted again; each makes two more areas at the most."""
        self._crowded = False

    def room(self) -> bool:
        """Whether one more mapping may be changed; counts it."""
        if not self._left:
            with open("/proc/self/maps", "rb") as maps:
                number = sum(1 for _ in maps)
            self._crowded = number > self.most - self.most // 4
            self._left = self.most // 8 if self._crowded else (self.most - number) // 2
        self._left -= 1
        return not self._crowded


def _most_areas() -> int:
    try:
        with open("/proc/sys/vm/max_map_count", encoding="ascii") as limit:
            return int(limit.read()) // 4
    except (OSError, ValueError):
        return 16 << 10


_areas = _Areas(_most_areas())
_supported = os.uname().machine == "x86_64"


class HostFiles:
    """What of the RAM of one machine, `size` bytes at the host's `address`, is mapped from the host's files."""

    __slots__ = ("_address", "_libc", "_size", "_slot", "_truncations")

    def __init__(self, address: int, size: int) -> None:
        self._address, self._size = address, size
        self._slot = 0
        self._libc: Any = None
        self._truncations: Optional[Truncations] = None

    def map(self, start: int, count: int, fd: int, offset: int) -> bool:
        """Have `count` bytes of the file `fd`, all of which are there, at `start` of RAM; all whole pages.

        False where the host can't, or the file can't be read (reading it says why): RAM has zeros there, then.
        """
        global _supported
        if not _supported or not (self._slot or self._begin()) or not _areas.room():
            return False
        assert self._truncations is not None
        self._truncations.code.install()
        at = self._address + start
        if self._libc.mmap(at, count, _RIGHTS, mmap.MAP_PRIVATE | _MAP_FIXED, fd, offset) == at:
            if not self._libc.madvise(at, count, _MADV_POPULATE_READ):
                return True
            _supported = ctypes.get_errno() != EINVAL
        self._libc.mmap(at, count, _RIGHTS, _ZEROS, -1, 0)  # a file system that refuses may have left nothing there
        return False

    def _begin(self) -> bool:
        from machine.hardware.truncated import truncations  # most machines need none of it

        self._libc, self._truncations = _libc(), truncations()
        self._slot = self._truncations.watch(self._address, self._address + self._size)
        return self._slot != 0

    def unmap(self, start: int, count: int) -> None:
        """Memory of zeros in the place of what was mapped there, or written since."""
        at = self._address + start
        if not _areas.room() or self._libc.mmap(at, count, _RIGHTS, _ZEROS, -1, 0) != at:
            ctypes.memset(at, 0, count)

    def close(self) -> None:
        """All of RAM is zeros, and no file is in use."""
        if self._slot:
            self._libc.mmap(self._address, self._size, _RIGHTS, _ZEROS, -1, 0)
            self._forget()

    def _forget(self) -> None:
        if self._truncations is not None and self._slot:
            self._truncations.forget(self._slot)
        self._slot = 0

    def __del__(self) -> None:
        self._forget()  # nobody closed the machine, and its RAM is gone with this
