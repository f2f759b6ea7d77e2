"""Which machine's kernel is running in this thread: what `current` and the driver interface mean."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel


class _Running(threading.local):
    kernel: Kernel | None = None


RUNNING = _Running()


def current_kernel() -> Kernel:
    """The kernel on whose behalf a driver's code runs now."""
    kernel = RUNNING.kernel
    if kernel is None:
        raise RuntimeError("no machine is running: driver functions work inside a machine's kernel only")
    return kernel


def set_current_kernel(kernel: Kernel | None) -> Kernel | None:
    """Make `kernel` the running one; returns the one before, to be put back."""
    before, RUNNING.kernel = RUNNING.kernel, kernel
    return before


def running_kernel() -> Kernel | None:
    """As `current_kernel`; None where no machine is running."""
    return RUNNING.kernel
