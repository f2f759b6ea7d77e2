"""Whether an attribute that a model sets, and nobody has declared, is a register's name mistyped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from machine.hardware.registers import RegisterBlock

SHORT = 5
"""Below so many letters only two that have changed places, or another case, count: `cmd` and `cmp` are two names."""


def meant_by(cls: type[RegisterBlock], name: str) -> Optional[str]:
    """What was meant: ``status``, or ``ctrl.enable`` for a field; None where it is an attribute of the model's own.

    Its own are those with an annotation or a value in the class, and those that its `__init__` or `reset` name.
    """
    if name.startswith("_") or name in _own(cls):
        return None
    parts = [*cls.registers, *cls.arrays, *cls.memories]
    for part in parts:
        if is_slip(name, part):
            return part
    for register in cls.registers.values():
        for field in register.fields:
            if name == field or is_slip(name, field):
                return f"{register.name}.{field}"
    return None


def _own(cls: type[RegisterBlock]) -> set[str]:
    found: set[str] = set()
    for base in cls.__mro__:
        found.update(vars(base).get("__annotations__", ()))
        for method in ("__init__", "reset"):
            code = getattr(vars(base).get(method), "__code__", None)
            found.update(() if code is None else code.co_names)
    return found


def is_slip(typed: str, name: str) -> bool:
    """Whether `typed` is `name` with one slip: a letter too many, too few, another, or letters that changed places.

    ``status2`` and ``periods`` are names of their own.
    """
    if typed.lower() == name.lower():
        return True
    if sorted(typed) == sorted(name) and (len(name) > SHORT or _swapped(typed, name)):
        return True
    if min(len(typed), len(name)) < SHORT or abs(len(typed) - len(name)) > 1:
        return False
    longer, shorter = (typed, name) if len(typed) > len(name) else (name, typed)
    start = next((i for i, (a, b) in enumerate(zip(longer, shorter, strict=False)) if a != b), len(shorter))
    if len(longer) == len(shorter):
        return longer[start + 1 :] == shorter[start + 1 :] and not (longer[start] + shorter[start]).isdigit()
    extra = longer[start]
    at_end = start == len(shorter)
    return longer[start + 1 :] == shorter[start:] and not (at_end and (extra == "s" or extra.isdigit()))


def _swapped(typed: str, name: str) -> bool:
    """Two neighbours."""
    places = [i for i, (a, b) in enumerate(zip(typed, name, strict=True)) if a != b]
    return len(places) == 2 and places[1] == places[0] + 1
