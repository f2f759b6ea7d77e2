"""nopage: a PC in software for the driver side of mmap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from machine.machine import Machine, Result

__all__ = ["Machine", "Result", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Load the engine only when a machine is wanted: `nopage --help` must be quick."""
    if name in ("Machine", "Result"):
        from machine import machine

        return getattr(machine, name)
    raise AttributeError(f"module 'machine' has no attribute {name!r}")
