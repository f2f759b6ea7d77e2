"""Texts: where a model goes (ConfigError, RegisterError)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from machine.testing.messages.naming import did_you_mean, of_function, place


def no_place(where: object) -> str:
    """attach("/dev/um0", Timer)."""
    return (
        f"a device can't be attached to {where!r}: it is like '/dev/mem@0xfe000000', '/dev/uio0', '/dev/NAME', "
        "'pci:1234:11e8/bar0' or './driver.py,base={address},irq={irq}'"
    )


def no_address(where: str) -> str:
    """attach("/dev/mem", Timer)."""
    return f"{where!r}: at which physical address? As in '/dev/mem@0xfe000000'"


def no_such_setting(where: str, name: str, known: Sequence[str]) -> str:
    """attach("/dev/uio0,iqr=9", Timer)."""
    return f"{where!r}: there is no setting '{name}' here{did_you_mean(name, known)}"


def no_number(where: str, name: str, value: str) -> str:
    """attach("/dev/uio0,irq=nine", Timer)."""
    return f"{where!r}: {name} wants a number that is not negative, not {value!r}"


def no_model(where: str, model: object) -> str:
    """attach("/dev/uio0", dict)."""
    return f"{where}: what is attached is a class derived from RegisterBlock or an object of one, not {model!r}"


def wrong_arguments(where: str, cls: Any, why: str) -> str:
    """attach("/dev/uio0", Timer, strat=5)."""
    owner = next(base for base in cls.__mro__ if "__init__" in vars(base))
    if owner.__name__ == "RegisterBlock":
        return f"{where}: {cls.__name__} has no __init__ of its own that would take arguments: {why}"
    return f"{where}: {place(of_function(owner.__init__))}: {cls.__name__}.__init__: {why}"


def arguments_for_an_object(where: str, block: Any, names: Sequence[str]) -> str:
    """attach("/dev/uio0", Timer(), start=5)."""
    name = type(block).__name__
    return f"{where}: {', '.join(names)}: arguments go to the class ({name}), but this is an object of it already"


def attached_already(where: str, block: Any) -> str:
    """One object in two places."""
    name = type(block).__name__
    return f"{where}: this {name} ('{block.name}') is attached already; attach the class, or make another object"


def place_is_taken(where: str, why: object) -> str:
    """Somebody is at the address, or nobody can be."""
    return f"{where}: {why}"


def device_is_taken(where: str, who: str) -> str:
    """/dev/uio0 twice."""
    return f"{where}: there is such a device already ('{who}')"


def no_room(where: str, block: Any) -> str:
    """No free address."""
    return f"{where}: there is no free range of {block.size:#x} bytes for {type(block).__name__}"


def no_slot() -> str:
    """PCI bus 0 is full."""
    return "there is no free slot on PCI bus 0; name one of another bus: 'pci:1234:11e8@01:04.0/bar0'"


def which_bar(where: str) -> str:
    """attach("pci:1234:11e8", Timer), or a mapping and a BAR."""
    return (
        f"{where}: either one model behind one BAR ('pci:1234:11e8/bar0'), or a mapping of BARs to models and no /bar"
    )


def driver_refused(where: str, driver: str, result: object) -> str:
    """The driver did not take the device."""
    return f"{where}: the driver {driver} did not take the device: {result}"
