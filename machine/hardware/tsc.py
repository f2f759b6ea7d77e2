"""The host's time-stamp counter, which is the guest's too while `rdtsc` does not trap."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from typing import Optional

from machine.hardware.ram import PAGE_SIZE

_RDTSC = b"\x0f\x31\x48\xc1\xe2\x20\x48\x09\xd0\xc3"  # rdtsc; shl rdx, 32; or rax, rdx; ret
_CLOCKSOURCE = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
_GOOD = ("tsc", "kvm-clock", "hyperv_clocksource_tsc_page")
"""Clock sources of the host that are the counter: it runs evenly, and alike on all processors."""


def tsc_reader() -> Optional[Callable[[], int]]:
    """A function that reads the counter; None where the host itself does not trust it."""
    try:
        with open(_CLOCKSOURCE) as stream:
            if stream.read().strip() not in _GOOD:
                return None
    except OSError:
        return None
    page = mmap.mmap(-1, PAGE_SIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    page.write(_RDTSC)
    code = ctypes.addressof(ctypes.c_char.from_buffer(page))
    if ctypes.CDLL(None).mprotect(ctypes.c_void_p(code), PAGE_SIZE, mmap.PROT_READ | mmap.PROT_EXEC):
        return None
    call = ctypes.PYFUNCTYPE(ctypes.c_uint64)(code)
    call.page = page  # type: ignore[attr-defined]
    return call
