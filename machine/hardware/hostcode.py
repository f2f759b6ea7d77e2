"""Machine code of the host that nopage brings along: pages of it, and a handler of a signal that is such code."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

from machine.hardware.image import CpuError
from machine.hardware.ram import PAGE_SIZE

_SA_SIGINFO, _SA_NODEFER = 4, 0x40000000


class HostCode:
    """`code` in pages of its own.  It must live as long as somebody may call it."""

    def __init__(self, code: bytes) -> None:
        size = -(-len(code) // PAGE_SIZE) * PAGE_SIZE
        self._page = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._page.write(code)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._page))
        """The host's, of its first byte."""
        if ctypes.CDLL(None).mprotect(ctypes.c_void_p(self.address), size, mmap.PROT_READ | mmap.PROT_EXEC):
            raise CpuError("the host does not let this process make executable memory")


class _sigaction(ctypes.Structure):
    _fields_ = [
        ("handler", ctypes.c_void_p), ("mask", ctypes.c_byte * 128), ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    ]  # fmt: skip


class SignalCode(HostCode):
    """The process's handler of the host's signal `signo`.  In `before`, `code` finds the one that was there, for what
    does not concern it; 0: SIG_DFL, 1: SIG_IGN."""

    def __init__(self, signo: int, code: bytes, before: Any) -> None:
        super().__init__(code)
        self._signo, self._before = signo, before
        self._libc: Any = ctypes.CDLL(None)

    def install(self) -> None:
        """Again for every machine: others (faulthandler) may have put theirs there since."""
        now, ours = _sigaction(), _sigaction(handler=self.address, flags=_SA_SIGINFO | _SA_NODEFER)
        self._libc.sigaction(self._signo, None, ctypes.byref(now))
        if now.handler != self.address:
            self._before.value = now.handler or 0
            self._libc.sigaction(self._signo, ctypes.byref(ours), None)
