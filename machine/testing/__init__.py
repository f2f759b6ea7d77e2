"""What tests of device code need: register blocks, and (as a pytest plugin) a machine to run programs in.

::

    import pytest
    from machine.testing import Reg, RegisterBlock

    class Timer(RegisterBlock):
        ctrl = Reg(0x00)
        count = Reg(0x04, access="ro", reset=42)
        period = Reg(0x08)

    @pytest.mark.device("/dev/mem@0xfe000000", Timer)
    def test_starts_the_timer(run):
        r = run("./timer_demo")
        r.bus.assert_writes([("period", 1000), ("ctrl", 1)])

What is here is imported when it is asked for: `messages`, which every room of nopage may import, brings nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from machine.errors import DeviceError
    from machine.hardware.pci import Bar, Capability, PciFunction
    from machine.hardware.registers import (
        Field,
        Fifo,
        Memory,
        Reg,
        RegArray,
        RegisterBlock,
        RegisterError,
    )
    from machine.testing.buslog import ANY, BusLog

_FROM = {
    "machine.errors": ("DeviceError",),
    "machine.hardware.pci": ("Bar", "Capability", "PciFunction"),
    "machine.hardware.registers": ("Field", "Fifo", "Memory", "Reg", "RegArray", "RegisterBlock", "RegisterError"),
    "machine.testing.buslog": ("ANY", "BusLog"),
}
__all__ = [
    "ANY",
    "Bar",
    "BusLog",
    "Capability",
    "DeviceError",
    "Field",
    "Fifo",
    "Memory",
    "PciFunction",
    "Reg",
    "RegArray",
    "RegisterBlock",
    "RegisterError",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    for module, names in _FROM.items():
        if name in names:
            found = globals()[name] = getattr(import_module(module), name)
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
