"""Texts: addresses, PCI cards and slots (ValueError, BusConflict, PciError, IndexError)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def not_at_a_page(name: str, physical: int) -> str:
    """A block at 0xfe000800."""
    return f"{name} can't be at {physical:#x}: not the start of a page"


def beyond_addresses(name: str, physical: int) -> str:
    """A block above what the processor can address."""
    return f"{name} can't be at {physical:#x}: beyond the processor's addresses"


def in_ram(name: str, physical: int) -> str:
    """A block in RAM."""
    return f"{name} can't be at {physical:#x}: there is RAM"


def on_another(name: str, physical: int, other: str, start: int) -> str:
    """Two blocks at an address, or a block on device memory."""
    return f"{name} can't be at {physical:#x}: {other} is at {start:#x}"


def in_somebodys_range(name: str, physical: int, who: str) -> str:
    """A block in a range of /proc/iomem that is somebody's."""
    return f"{name} can't be at {physical:#x}: {who} is there"


def not_on_the_bus(name: str) -> str:
    """detach() of what is not attached."""
    return f"{name} is not on the bus"


def no_device_memory(physical: int) -> str:
    """detach_memory() where there is none."""
    return f"there is no device memory at {physical:#x}"


def no_such_element(array: Any, index: int) -> str:
    """card.palette[256]."""
    return f"{array.name}[{index}]: there are {array.count}"


def wrong_bar_size(least: int, most: int, size: int) -> str:
    """Bar(100)."""
    return f"a BAR takes a power of two from {least} to {most:#x} bytes, not {size:#x}"


def wrong_bar(size: int, behind: int, bits: int) -> str:
    """Bar(4096, memory=8192), Bar(4096, bits=16)."""
    return f"BAR of {size:#x} bytes: {behind:#x} bytes behind it can't be, with {bits} bits"


def too_many_bars(card: type, count: int, limit: int) -> str:
    """More than six, those of 64 bits counted twice."""
    return f"{card.__name__}: {count} base address registers, there are {limit}"


def too_many_capabilities(card: type) -> str:
    """More than 192 bytes of them."""
    return f"{card.__name__}: the capabilities don't fit the config space"


def no_interrupt_pin(card: type) -> str:
    """raise_irq() of a card without."""
    return f"{card.__name__} has no interrupt: set its irq_pin, or msi"


def card_in_no_machine(card: type) -> str:
    """call_later() of a card that is not plugged in."""
    return f"{card.__name__} is in no machine"


def slot_is_taken(devfn: int, card: type) -> str:
    """Two cards in a slot."""
    return f"slot {devfn >> 3:02x}.{devfn & 7} is taken by {card.__name__}"


def is_no_card(given: Any) -> str:
    """plug(Card, "00:04.0"), plug(None, ...), or a card whose __init__ did not call that of PciFunction."""
    if isinstance(given, type):
        return f"{given.__name__} is a class; plug in a card of it: {given.__name__}()"
    if hasattr(given, "config_read"):
        return f"{type(given).__name__}.__init__ did not call super().__init__()"
    return f"{given!r} is no card (PciFunction)"


def card_is_plugged(devfn: int) -> str:
    """The same card in two slots."""
    return f"this card is in slot {devfn >> 3:02x}.{devfn & 7} already; make another"


def no_bar(given: Any) -> str:
    """PciFunction(bars=[4096]), PciFunction(bars=Bar(4096))."""
    return f"bars= takes a list of Bar and None, not {given!r}"


def no_block(given: Any) -> str:
    """Bar(block=Registers)."""
    if isinstance(given, type):
        return f"block={given.__name__}: it is a class; give a block of it: {given.__name__}()"
    return f"block={given!r}: it is no RegisterBlock"


def no_such_slot(text: Any) -> str:
    """plug(card, "4")."""
    return f"'{text}' is no PCI slot; write it like 00:04.0 (bus, device 00 to 1f, function 0 to 7)"


def no_pci_bus(number: int, known: Sequence[int]) -> str:
    """plug(card, "07:04.0")."""
    return f"there is no PCI bus {number}: there are {', '.join(map(str, known))}"


def no_room_for_bars(number: int) -> str:
    """A card whose BARs don't fit the windows of its bus."""
    return f"no room for its BARs in the windows of bus {number}"
