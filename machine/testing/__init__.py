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
"""

from __future__ import annotations

from machine.hardware.pci import Bar, Capability, PciFunction
from machine.hardware.registers import Field, Reg, RegArray, RegisterBlock, RegisterError
from machine.testing.buslog import BusLog

__all__ = ["Bar", "BusLog", "Capability", "Field", "PciFunction", "Reg", "RegArray", "RegisterBlock", "RegisterError"]
