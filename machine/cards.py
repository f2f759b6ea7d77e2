"""Hardware that ``--device`` brings when the board has none: the card that a driver is for, the device behind `uio`.

A board file has them too (``firmware/boards/lab.toml``), with addresses of one's own choice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.hardware.pci_bus import parse_slot

if TYPE_CHECKING:
    from machine.machine import Machine

UIO_ADDRESS = 0xFD00_0000
"""Where the timer and GPIO block is when no board says."""


def bring(machine: Machine, device: str) -> str:
    """See to the hardware of a driver that has some; the device with the parameters that this makes."""
    name, *parameters = device.split(",")
    if name == "edu":
        _bring_edu(machine)
    elif name == "uio" and not any(each.startswith(("uio_start=", "uio_ram=", "uio_pci=")) for each in parameters):
        return _bring_timer(machine, device)
    return device


def _bring_edu(machine: Machine) -> None:
    """In the first free slot of bus 0 from 00:04.0 on."""
    from machine.hardware.cards.edu import Edu

    core = machine.kernel.pci
    if any((each.vendor, each.device) == (Edu.vendor, Edu.device) for each in core.devices):
        return
    slots = [f"00:{number:02x}.0" for number in range(4, 32)]
    free = [slot for slot in slots if core.host.find(*parse_slot(slot)) is None]
    machine.plug(Edu(), free[0] if free else slots[0])


def _bring_timer(machine: Machine, device: str) -> str:
    """The board's block, or one at `UIO_ADDRESS`; where it is becomes the driver's parameters."""
    from machine.hardware.cards.timer_gpio import TimerGpio

    bus = machine.kernel.bus
    bus.wake()
    found = [each for each in bus.blocks if isinstance(each.block, TimerGpio)]
    if found:
        start, block = found[0].start, found[0].block
    else:
        start, block = UIO_ADDRESS, TimerGpio()
        machine.attach(f"/dev/mem@{start:#x}", block)
    known = {"uio_start": hex(start), "uio_size": hex(block.size), "uio_irq": block.irq, "uio_name": "timer-gpio"}
    return device + "".join(f",{name}={value}" for name, value in known.items() if f",{name}=" not in device)
