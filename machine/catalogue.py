"""What ``nopage devices`` shows: the drivers, their parameters, and the nodes that they make."""

from __future__ import annotations

from typing import Any

from machine.errors import ConfigError, NopageError
from machine.hardware.ram import MiB
from machine.kernel.fs.file import MAJOR, MINOR
from machine.kernel.modfile import Description, ModuleError, describe, shipped_drivers
from machine.machine import Machine


def names() -> list[str]:
    """The drivers that come with nopage."""
    return list(shipped_drivers())


def listed() -> list[str]:
    """The lines of ``nopage devices``."""
    with _scratch() as machine:
        drivers = [_describe(name, machine) for name in names()]
    width = max((len(each.name) for each in drivers), default=0)
    lines = []
    for each in drivers:
        lines.append(f"{each.name:<{width}}  {each.about}")
        lines += [f"{'':<{width}}    {_parameter(row)}" for row in each.parameters]
    return lines


def described(what: str) -> list[str]:
    """The lines of ``nopage devices NAME``, or of a file: all that the driver says, and its nodes.  ConfigError."""
    with _scratch() as machine:
        each = _describe(what, machine)
    lines = [f"{each.name}: {each.about}", "", *each.documentation.splitlines()]
    if each.parameters:
        lines += ["", "parameters:", *(f"  {_parameter(row)}" for row in each.parameters)]
    nodes = _nodes(what if each.name != "mem" else "", each.name)
    if nodes:
        lines += ["", "makes:", *(f"  {node}" for node in nodes)]
    about = [f"{key} {each.info[key]}" for key in ("license", "author") if key in each.info]
    return [*lines, "", f"file {each.path}" + "".join(f"; {text}" for text in about)]


def _scratch() -> Machine:
    return Machine(ram=16 * MiB)


def _describe(what: str, machine: Machine) -> Description:
    try:
        return describe(what, machine.kernel)
    except ModuleError as error:
        raise ConfigError(str(error)) from None


def _nodes(what: str, name: str) -> list[str]:
    """What the driver makes in /dev with its own parameters, seen by loading it; a driver that can't be: why not."""
    try:
        with Machine(ram=16 * MiB, devices=[what] if what else []) as machine:
            owner = machine.kernel.modules[name]
            nodes = [(node, entry) for node, (entry, who) in machine.kernel.chrdevs.nodes.items() if who is owner]
    except NopageError as error:
        return [f"nothing with these parameters: {error}"]
    return [f"/dev/{node}{_kind(entry)}" for node, entry in nodes]


def _kind(entry: Any) -> str:
    if isinstance(entry, str):
        return f" -> {entry}"
    mode, dev = entry
    return f" (character device {MAJOR(dev)}:{MINOR(dev)}, mode {mode & 0o7777:04o})"


def _parameter(row: tuple[str, str, Any, str]) -> str:
    name, kind, default, about = row
    shown = hex(default) if kind == "ulong" and isinstance(default, int) and default >= 4096 else default
    return f"{name}={shown}  ({kind})" + (f"  {about}" if about else "")
