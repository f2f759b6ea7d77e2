"""Register blocks from CMSIS-SVD, through cmsis-svd: one peripheral a class.

Registers, arrays and clusters (one register each: ``CH0_CTRL``; svdtree.py), with their fields, access, write and read
actions, reset values and enumerated values.  The block begins at the peripheral's base address.  Of registers that
share a place (alternateRegister, alternateGroup: STM32's CCMR1_Input and _Output) the first is taken.
"""

from __future__ import annotations

from typing import Any, Optional

from machine.hardware.declare import wrong
from machine.hardware.field import Field
from machine.hardware.mapfile import kind_of, make_block, missing, placed, safe
from machine.hardware.reg import Part, Reg
from machine.hardware.registers import RegisterBlock
from machine.hardware.svdtree import Wrong, prepare

_READS = {"clear": "c", "set": "s"}


def block_from_svd(path: str, peripheral: str) -> type[RegisterBlock]:
    """The class of a peripheral.  RegisterError."""
    try:
        from cmsis_svd.parser import SVDParser
        from lxml import etree  # cmsis-svd's own
    except ImportError:
        raise missing("cmsis-svd", "svd") from None

    try:
        with open(path, "rb"):
            pass  # the parser's own words for a file that is not there are long
        tree = etree.parse(path)
        lines = prepare(tree.getroot(), peripheral)
        device = SVDParser(tree).get_device()
    except Wrong as why:
        raise wrong("bad_map", path, [str(why)]) from None
    except OSError as error:
        raise wrong("bad_map", path, [error.strerror or str(error)]) from None
    except Exception as error:  # whatever the parser meets in a file that is none
        raise wrong("bad_map", path, [f"{type(error).__name__}: {error}"]) from None
    found = {each.name: each for each in device.get_peripherals()} if device is not None else {}
    if peripheral not in found:
        raise wrong("no_peripheral", path, peripheral, list(found))
    chosen = found[peripheral]
    parts: dict[str, Part] = {}
    for register in chosen.get_registers():
        _check(path, register)
        if _is_alternate(register) and any(_overlap(register, part, chosen, device) for part in parts.values()):
            continue  # another name for what is there, in another mode of the device: a block has one
        made = _register(register, chosen, device)
        parts[safe(str(register.name), parts)] = placed(made, path, lines.get(str(register.name), 1))
    if not parts:
        raise wrong("bad_map", path, [f"peripheral {peripheral} has no registers, nor has what it is derived from"])
    return make_block(peripheral, path, parts, chosen.description or "")


def _check(path: str, register: Any) -> None:
    """What the parser lets through.  RegisterError."""
    names = [field.name for field in register.get_fields()]
    for name in names:
        if names.count(name) > 1:
            raise wrong("bad_map", path, [f"register {register.name} has {names.count(name)} fields {name}"])
    if register.address_offset is None:
        raise wrong("bad_map", path, [f"register {register.name} has no addressOffset"])
    for field in register.get_fields():
        if field.bit_offset is None or field.bit_width is None:
            raise wrong("bad_map", path, [f"field {field.name} of register {register.name} does not say which bits"])


def _is_alternate(register: Any) -> bool:
    return bool(getattr(register, "alternate_register", None) or getattr(register, "alternate_group", None))


def _overlap(register: Any, part: Part, *above: Any) -> bool:
    size = (_inherited("size", register, *above) or 32) // 8
    width = part.width if isinstance(part, Reg) else 1
    return bool(register.address_offset < part.offset + width and part.offset < register.address_offset + size)


def _inherited(what: str, *levels: Any) -> Any:
    return next((value for level in levels if (value := getattr(level, what, None)) is not None), None)


def _register(register: Any, *above: Any) -> Reg:
    bits = _inherited("size", register, *above) or 32
    access = _inherited("access", register, *above)
    fields: dict[str, Field] = {}
    for field in register.get_fields():
        fields[field.name] = Field(
            field.bit_offset, field.bit_width, _text(field.description),
            _kind(field.access or access, field.modified_write_values or register.modified_write_values,
                  field.read_action or register.read_action),
            _values(field),
        )  # fmt: skip
    reset = _inherited("reset_value", register, *above) or 0
    kind = _kind(access, register.modified_write_values, register.read_action)
    return Reg(register.address_offset, bits // 8, kind, reset, _text(register.description), fields)


def _text(description: Optional[str]) -> str:
    return " ".join((description or "").split())


def _values(field: Any) -> Optional[dict[str, int]]:
    listed = field.enumerated_values or []
    return {
        each.name: each.value for values in listed for each in values.enumerated_values
        if each.value is not None and not each.is_default
    }  # fmt: skip


def _kind(access: Any, writing: Any, reading: Any) -> str:
    word = "read-write" if access is None else access.value
    readable = word in ("read-only", "read-write", "read-writeOnce")
    does: Optional[str] = None if word == "read-only" else "" if writing is None else writing.value
    if word in ("writeOnce", "read-writeOnce"):
        does = "once"
    return kind_of(readable, "" if does == "modify" else does, "" if reading is None else _READS.get(reading.value, ""))
