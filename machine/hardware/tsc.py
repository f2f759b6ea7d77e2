"""The host's time-stamp counter, which is the guest's too while `rdtsc` does not trap."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Optional

from machine.hardware.hostcode import HostCode
from machine.hardware.image import CpuError

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
    try:
        code = HostCode(_RDTSC)
    except CpuError:
        return None
    call = ctypes.PYFUNCTYPE(ctypes.c_uint64)(code.address)
    call.code = code  # type: ignore[attr-defined]
    return call
