"""Devices that come with nopage, for tests of drivers: what their registers do is in their own modules.

::

    from machine.testing.cards import Edu, TimerGpio

    m.attach("/dev/mem@0xfd000000", TimerGpio)      # a timer and 32 pins; `uio` shows it to a program
    m.plug(Edu(), "00:04.0")                           # QEMU's educational card; `edu` drives it
"""

from __future__ import annotations

from machine.hardware.cards.display import Display
from machine.hardware.cards.edu import Edu
from machine.hardware.cards.timer_gpio import TimerGpio

__all__ = ["Display", "Edu", "TimerGpio"]
