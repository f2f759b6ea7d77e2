"""Texts: declarations (RegisterError)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from machine.testing.messages.naming import at, did_you_mean, extent, of_function, place


def name_is_taken(cls: Any, part: Any) -> str:
    """A register has the name of one of RegisterBlock's own attributes."""
    return f"{at(cls, part)}: every RegisterBlock has a '{part.name}' of its own; give the register another name"


def no_such_argument(cls: Any, name: str, known: Sequence[str]) -> str:
    """Reg(0, acces="ro")."""
    return f"{cls.__name__} takes no argument {name!r}{did_you_mean(name, known)}"


def negative_offset(cls: Any, part: Any) -> str:
    """Before the block's start."""
    return f"{at(cls, part)}: its offset is {part.offset}; offsets count from the block's start, in bytes"


def wrong_width(cls: Any, part: Any, width: int) -> str:
    """Reg(width=3)."""
    return f"{at(cls, part)}: a register is 1, 2, 4 or 8 bytes wide, not {width}"


def wrong_access(cls: Any, part: Any, kind: object, known: Sequence[str]) -> str:
    """Reg(access="rx"), of the register or of a field."""
    return f"{at(cls, part)}: access is one of {', '.join(known)}, not {kind!r}"


def wrong_reset(cls: Any, part: Any, reg: Any) -> str:
    """A reset value that is negative or too large."""
    return f"{at(cls, part)}: the reset value {reg.reset:#x} does not fit {8 * reg.width} bits"


def field_beyond(cls: Any, part: Any, reg: Any, name: str, field: Any) -> str:
    """A field that the register is too narrow for."""
    bits = f"{field.width} bit{'' if field.width == 1 else 's'} from bit {field.lsb} on"
    return f"{at(cls, part)}: field '{name}', {bits}, does not fit a register of {8 * reg.width} bits"


def field_value_beyond(cls: Any, part: Any, name: str, field: Any, value: str, number: int) -> str:
    """A named value that the field is too narrow for."""
    return f"{at(cls, part)}: value '{value}' = {number} does not fit field '{name}', which is {field.width} bits wide"


def no_field(cls: Any, part: Any, name: str, value: object) -> str:
    """Reg(0, fields={"enable": 0})."""
    return f"{at(cls, part)}: field '{name}' is declared by Field(BIT) or Field('HIGH:LOW'), not by {value!r}"


def wrong_bits(text: str) -> str:
    """Field("2-3"), Field("2:3")."""
    return f"Field({text!r}): bits are given as a number, or as 'HIGH:LOW' with the higher first, like '7:4'"


def wrong_values(values: object) -> str:
    """Field(0, values=["off", "on"])."""
    return f"Field: values is a mapping of names to numbers, like {{'off': 0, 'on': 1}}, or an enum, not {values!r}"


def fields_overlap(cls: Any, part: Any, one: str, other: str, bit: int) -> str:
    """Two fields want the same bit."""
    return f"{at(cls, part)}: fields '{one}' and '{other}' both have bit {bit}"


def overlap(cls: Any, one: Any, other: Any) -> str:
    """Two registers want the same byte."""
    return (
        f"{at(cls, other)} ({extent(other)}) overlaps {cls.__name__}.{one.name} ({extent(one)}), "
        f"declared at {place(one.where)}"
    )


def wrong_array(cls: Any, array: Any) -> str:
    """No registers, or too close to each other."""
    return (
        f"{at(cls, array)}: an array of {array.count} registers of {array.one.width} bytes, {array.stride} bytes apart"
    )


def empty_memory(cls: Any, memory: Any) -> str:
    """Memory(size=0), or an empty `reset`."""
    return f"{at(cls, memory)}: a memory of {memory.size} bytes that holds {memory.reset!r} after a reset"


def memory_access(cls: Any, memory: Any) -> str:
    """Memory(access="w1c")."""
    return f"{at(cls, memory)}: a memory is rw, ro or wo, not {memory.access!r}"


def wrong_fifo(cls: Any, fifo: Any) -> str:
    """Fifo with something that can't be."""
    return (
        f"{at(cls, fifo)}: a Fifo has a depth of 1 or more, access rw, ro or wo, full='drop' or 'overwrite', and "
        f"empty='last' or a number that fits; not depth={fifo.depth}, access={fifo.access!r}, full={fifo.full!r}, "
        f"empty={fifo.empty!r}"
    )


def wrong_unaligned(cls: Any) -> str:
    """unaligned = "never"."""
    return f"{cls.__name__}.unaligned is 'split' or 'refuse', not {cls.unaligned!r}"


def wrong_size(cls: Any, end: int) -> str:
    """size = 100."""
    return (
        f"{cls.__name__}.size is {cls.size:#x}; it must be whole pages of 0x1000, and the registers need {end:#x} bytes"
    )


def no_such_method(cls: Any, part: Any, kind: str, method: str) -> str:
    """Reg(on_write="strat")."""
    methods = [name for name, value in vars(cls).items() if callable(value) and not name.startswith("__")]
    return f"{at(cls, part)}: on_{kind}={method!r}: {cls.__name__} has no such method{did_you_mean(method, methods)}"


def hook_without_register(cls: Any, method: Any, register: str, known: Sequence[str]) -> str:
    """A write_crtl beside a register ctrl would never run."""
    where = f"{place(of_function(method))}: {cls.__name__}.{method.__name__}"
    return f"{where}: there is no register '{register}'{did_you_mean(register, known)}"


def hook_of_another_class(cls: Any, method: Any, kind: str) -> str:
    """@Other.ctrl.on_write in a class that does not have Other's registers."""
    where = f"{place(of_function(method))}: {cls.__name__}.{method.__name__}"
    return f"{where}: its on_{kind} is of a register that {cls.__name__} does not have"


def no_library(library: str, extra: str, what: str = "reading this") -> str:
    """from_rdl without systemrdl-compiler."""
    return f"{what} needs {library}, which is not installed: pip install 'nopage[{extra}]'"


def bad_map(path: str, lines: Sequence[str]) -> str:
    """A SystemRDL or SVD file that can't be read."""
    return "\n".join([f"{path}: no registers can be read from it:", *(f"  {line}" for line in lines)])


def no_peripheral(path: str, name: str, known: Sequence[str]) -> str:
    """from_svd(path, "TMIER")."""
    return f"{path}: there is no peripheral '{name}'{did_you_mean(name, known)}"
