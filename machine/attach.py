"""Where a register block appears: the words of `Machine.attach` and of the marker ``device``.

============================== =====================================================================================
/dev/mem@0xfe000000[,irq=9]    at a physical address; programs map /dev/mem, drivers ioremap it
/dev/uio0                      at a free address, shown by the driver uio, with a free interrupt line
/dev/timer                     at a free address, shown by a character device: mmap maps it, read waits for an interrupt
./timer_drv.py,base={address}  at a free address, for a Python driver of yours: its parameters say where; {irq}, {size}
pci:1234:11e8/bar0             behind BAR 0 of a card of its own; @00:04.0 before the / says in which slot
============================== =====================================================================================

A word may be followed by settings: ``irq=N`` (all but PCI), ``msi``, ``class=0xff0000`` (PCI).  Several BARs are a
mapping: ``attach("pci:1234:11e8", {0: Regs, 2: 65536})``, where a number is bytes of the card's own memory.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from machine.errors import ConfigError, is_the_users
from machine.hardware.pci import Bar, PciFunction
from machine.hardware.pci_regs import PCI_COMMAND, PCI_COMMAND_MEMORY
from machine.hardware.ram import PAGE_SIZE
from machine.hardware.registers import RegisterBlock, RegisterError
from machine.kernel.task.watchdog import REGIONS
from machine.testing import messages

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.machine import Machine

__tracebackhide__ = is_the_users

WINDOW = (0xF000_0000, 0xFEC0_0000)
"""Where blocks go that nobody has given an address: below the interrupt controllers of a PC."""
FIRST_LINE = 48
_PCI = re.compile(r"pci:([0-9a-fA-F]{4}):([0-9a-fA-F]{4})(?:@([0-9a-fA-F:.]+))?(?:/bar([0-5]))?")
_NUMBER = {"irq"}


class Where(NamedTuple):
    """A parsed word."""

    text: str
    kind: str
    """``mem``, ``uio``, ``chardev``, ``driver`` or ``pci``."""
    target: str
    settings: dict[str, str]


def parse(text: object) -> Where:
    """ConfigError for what names no place."""
    __tracebackhide__ = True
    if not isinstance(text, str) or not text:
        raise ConfigError(messages.no_place(text))
    head, *rest = text.split(",")
    if head.endswith(".py") or (not head.startswith(("/dev/", "pci:")) and "{" in text):
        return Where(text, "driver", text, {})
    settings = {name: value for name, _, value in (word.partition("=") for word in rest)}
    kind, known = _kind(text, head)
    for name, value in settings.items():
        if name not in known:
            raise ConfigError(messages.no_such_setting(text, name, known))
        if name in ("irq", "class") and _number(value) is None:
            raise ConfigError(messages.no_number(text, name, value))
    return Where(text, kind, head, settings)


def _kind(text: str, head: str) -> tuple[str, tuple[str, ...]]:
    __tracebackhide__ = True
    if head.startswith("pci:"):
        if _PCI.fullmatch(head) is None:
            raise ConfigError(messages.no_place(text))
        return "pci", ("msi", "class")
    path, at, address = head.partition("@")
    if path == "/dev/mem":
        if not at or _number(address) is None:
            raise ConfigError(messages.no_address(text))
        return "mem", ("irq",)
    if re.fullmatch(r"/dev/uio\d{1,3}", head):
        return "uio", ("irq",)
    if re.fullmatch(r"/dev/[\w.-]+", head):
        return "chardev", ("irq",)
    raise ConfigError(messages.no_place(text))


def _number(text: str) -> Optional[int]:
    try:
        value = int(text, 0)
    except ValueError:
        return None
    return value if value >= 0 else None


# -- models ----------------------------------------------------------------------------------------------------


def make(where: str, model: Any, arguments: Mapping[str, Any]) -> RegisterBlock:
    """The block: `model` itself, or an object of that class made with `arguments`."""
    __tracebackhide__ = True
    if isinstance(model, type) and issubclass(model, RegisterBlock):
        _check_arguments(where, model, arguments)
        return instance(model, arguments)
    if not isinstance(model, RegisterBlock):
        raise RegisterError(messages.no_model(where, model))
    if arguments:
        raise RegisterError(messages.arguments_for_an_object(where, model, list(arguments)))
    if model.bus is not None or model.function is not None:
        raise RegisterError(messages.attached_already(where, model))
    return model


def instance(model: type[RegisterBlock], arguments: Mapping[str, Any]) -> RegisterBlock:
    """An object of the class.  Lockup when its `__init__` or `reset` does not come back (kernel/task/watchdog.py)."""
    __tracebackhide__ = True
    return model(**arguments)


REGIONS[instance.__code__] = lambda frame: (f"the model {frame.f_locals['model'].__name__}", "its __init__")


def _check_arguments(where: str, model: type[RegisterBlock], arguments: Mapping[str, Any]) -> None:
    import inspect

    __tracebackhide__ = True
    try:
        inspect.signature(model.__init__).bind(None, **arguments)
    except TypeError as why:
        raise RegisterError(messages.wrong_arguments(where, model, str(why))) from None


def attach(machine: Machine, where: str, model: Any, arguments: Mapping[str, Any]) -> Any:
    """Put a model where the word says; the block (of several BARs: the card).  ConfigError, RegisterError."""
    __tracebackhide__ = True
    made = _attach(machine, where, model, arguments)
    machine.options.setdefault("attached", []).append((where, model, dict(arguments), ""))
    return made


def _attach(machine: Machine, where: str, model: Any, arguments: Mapping[str, Any]) -> Any:
    __tracebackhide__ = True
    place = parse(where)
    if place.kind == "pci":
        return _attach_card(machine, place, model, arguments)
    block = make(where, model, arguments)
    if "irq" in place.settings:
        block.irq = int(place.settings["irq"], 0)
    kernel = machine.kernel
    if place.kind == "mem":
        _put(kernel, place, block, int(place.target.partition("@")[2], 0))
        return block
    address = free_address(kernel, block.size)
    if address is None:
        raise ConfigError(messages.no_room(where, block))
    if block.irq < 0:
        block.irq = free_line(kernel)
    _put(kernel, place, block, address)
    try:
        _show(machine, place, block, address)
    except BaseException:
        detach(kernel, block)
        raise
    return block


def _put(kernel: Kernel, place: Where, block: RegisterBlock, address: int) -> None:
    __tracebackhide__ = True
    from machine.kernel.mm.mmio import attach_block

    try:
        attach_block(kernel, block, address)
    except ValueError as why:
        raise ConfigError(messages.place_is_taken(place.text, why)) from None
    from machine.observe.sites import watch_sites

    watch_sites(kernel)


def detach(kernel: Kernel, block: RegisterBlock) -> None:
    """Take a block that has an address of its own away again."""
    from machine.hardware.iomem import release_region

    start = next(each.start for each in kernel.bus.blocks if each.block is block)
    kernel.bus.detach(block)
    release_region(kernel.iomem, start, block.size)


def free_address(kernel: Kernel, size: int) -> Optional[int]:
    """The lowest multiple of the block's size (a power of two) in `WINDOW` where nobody is."""
    from machine.hardware.iomem import Resource

    step = max(PAGE_SIZE, 1 << (size - 1).bit_length())
    kernel.bus.wake()
    start = -(-WINDOW[0] // step) * step
    while start + size <= WINDOW[1]:
        there = kernel.iomem.conflict(Resource("", start, start + size - 1))
        if there is None and not kernel.bus.taken(start, size):
            return start
        # somebody's range may have 100,000 places: on behind it
        start = start + step if there is None else max(start + step, -(-(there.end + 1) // step) * step)
    return None


def free_line(kernel: Kernel) -> int:
    """The lowest interrupt line from `FIRST_LINE` on that neither a driver nor a block has."""
    taken = {each.block.irq for each in kernel.bus.blocks}
    taken |= {number for number, line in kernel.irq.lines.items() if line.actions}
    return next(number for number in range(FIRST_LINE, 1 << 16) if number not in taken)


# -- as words of a command line ------------------------------------------------------------------------------------

_SPEC = re.compile(r"(.+?)=([^=]+\.py):([A-Za-z_]\w*)(\(.*\))?")


def attach_words(machine: Machine, spec: str) -> Any:
    """``--attach WHERE=FILE.py:CLASS(name=value)``.  ConfigError."""
    found = _SPEC.fullmatch(spec)
    if found is None:
        raise ConfigError(messages.no_attachment(spec))
    where, path, name, arguments = found.groups()
    import ast
    import runpy
    import sys

    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    try:
        names = runpy.run_path(path, run_name="nopage_models")
        given = ast.parse(f"f{arguments or '()'}", mode="eval").body
        values = {each.arg or "": ast.literal_eval(each.value) for each in given.keywords}  # type: ignore[attr-defined]
    except (OSError, SyntaxError) as error:
        raise ConfigError(messages.no_such_file(spec, path, str(getattr(error, "strerror", "") or error))) from None
    except Exception as error:
        raise _in_the_file(spec, path, error) from error
    finally:
        sys.path.pop(0)
    models = [key for key, each in names.items() if isinstance(each, type) and issubclass(each, RegisterBlock)]
    if name not in models:
        raise ConfigError(messages.no_such_class(spec, path, name, [key for key in models if key != "RegisterBlock"]))
    try:
        made = machine.attach(where, names[name], **values)
    except ConfigError:
        raise
    except Exception as error:
        raise _in_the_file(spec, path, error) from error
    machine.options["attached"][-1] = (where, names[name], values, spec)  # of no module: nobody else finds its file
    return made


def _in_the_file(spec: str, path: str, failure: Exception) -> ConfigError:
    """What a file of models raised while it was read, or a model's `__init__`: with the file's own line."""
    import traceback

    if isinstance(failure, RegisterError):
        return ConfigError(messages.attached_wrongly(spec, str(failure)))
    lines = [each.lineno for each in traceback.extract_tb(failure.__traceback__) if each.filename == path]
    where = (path, lines[-1]) if lines and lines[-1] else (path, 0)
    return ConfigError(messages.models_raised(spec, where, failure))


def words_for(where: str, model: Any, arguments: Mapping[str, Any], spec: str) -> str:
    """The same, for a model that a test has attached; "" for one that can't be named so.  `spec`: it was named so."""
    import inspect

    if spec:
        return spec
    if not isinstance(model, type) or "." in model.__qualname__:
        return ""
    try:
        path = inspect.getsourcefile(model)
    except (OSError, TypeError):
        return ""
    given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    return f"{where}={messages.place_of(str(path))}:{model.__name__}" + (f"({given})" if given else "")


# -- what shows it to programs -----------------------------------------------------------------------------------


def _show(machine: Machine, place: Where, block: RegisterBlock, address: int) -> None:
    if place.kind == "driver":
        machine.load(place.target.format(address=f"{address:#x}", irq=block.irq, size=f"{block.size:#x}"))
    elif place.kind == "uio":
        _show_by_uio(machine, place, block, address)
    else:
        _show_by_chardev(machine, place, block, address)


def _show_by_uio(machine: Machine, place: Where, block: RegisterBlock, address: int) -> None:
    kernel, minor = machine.kernel, int(place.target[len("/dev/uio") :])
    if minor > 255:
        raise ConfigError(messages.no_place(place.text))
    loaded = kernel.modules.get("uio")
    if loaded is None:
        machine.load(
            f"uio,uio_start={address:#x},uio_size={block.size:#x},uio_irq={block.irq},uio_name={block.name},"
            f"uio_minor={minor}"
        )
        return
    driver = loaded.namespace
    if minor in driver["uio_devices"]:
        raise ConfigError(messages.device_is_taken(place.text, driver["uio_devices"][minor].name))
    device = driver["uio_device"](minor, block.name, block.irq)
    driver["uio_add_map"](device, address, block.size)
    _call(machine, loaded, place, driver["uio_register_device"], device)


def _show_by_chardev(machine: Machine, place: Where, block: RegisterBlock, address: int) -> None:
    kernel, name = machine.kernel, place.target[len("/dev/") :]
    if name in kernel.chrdevs.nodes:
        raise ConfigError(messages.device_is_taken(place.text, name))
    loaded = kernel.modules.get("regmap")
    if loaded is None:
        machine.load(
            f"regmap,regmap_start={address:#x},regmap_size={block.size:#x},regmap_irq={block.irq},regmap_name={name}"
        )
        return
    driver = loaded.namespace
    device = driver["regmap_device"](name, address, block.size, block.irq)
    _call(machine, loaded, place, driver["regmap_register_device"], device)


def _call(machine: Machine, loaded: Any, place: Where, function: Any, device: Any) -> None:
    """Call a function of a loaded driver, as a board file does."""
    from machine.kernel.module import call_driver

    with machine.entered():
        result = call_driver(machine.kernel, loaded, "probe", function, device)
    if result != 0:
        raise ConfigError(messages.driver_refused(place.text, loaded.name, result))


# -- PCI -----------------------------------------------------------------------------------------------------------


def _attach_card(machine: Machine, place: Where, model: Any, arguments: Mapping[str, Any]) -> Any:
    found = _PCI.fullmatch(place.target)
    assert found is not None
    vendor, device, slot, number = found.groups()
    if isinstance(model, Mapping) == (number is not None) or (isinstance(model, Mapping) and arguments):
        raise ConfigError(messages.which_bar(place.text))
    wanted = model if isinstance(model, Mapping) else {int(number): model}
    bars: list[Optional[Bar]] = []
    for each in range(max(wanted, default=-1) + 1):
        what = wanted.get(each)
        if isinstance(what, int):
            bars.append(Bar(memory=what))
        else:
            bars.append(None if what is None else Bar(block=make(place.text, what, arguments)))
    card = type(
        _card_name(wanted),
        (PciFunction,),
        {"vendor": int(vendor, 16), "device": int(device, 16), "recorded": True, "irq_pin": 1,
         "msi": "msi" in place.settings, "class_code": int(place.settings.get("class", "0xff0000"), 0)},
    )(bars=bars)  # fmt: skip
    machine.plug(card, slot or _free_slot(machine.kernel))
    card.config_write(PCI_COMMAND, 2, card.command | PCI_COMMAND_MEMORY)  # as a PC's firmware leaves a card
    from machine.observe.sites import watch_sites

    watch_sites(machine.kernel)
    return card if isinstance(model, Mapping) else card.bars[int(number)].block


def _card_name(wanted: Mapping[int, Any]) -> str:
    first = next((each for each in wanted.values() if not isinstance(each, int)), None)
    kind = first if isinstance(first, type) else type(first)
    return f"{kind.__name__}Card"


def _free_slot(kernel: Kernel) -> str:
    _ = kernel.pci
    for slot in range(4, 32):
        if kernel.pci_host.find(0, slot << 3) is None:
            return f"00:{slot:02x}.0"
    raise ConfigError(messages.no_slot())
