"""Register accesses in words: for failures, recordings, and whoever prints a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Optional

from machine.accesses import fields_of, register_of
from machine.events import RegisterAccess
from machine.testing import messages

if TYPE_CHECKING:
    from machine.accesses import Context
    from machine.testing.buslog import BusLog
    from machine.testing.expect import Wanted


def whole(access: RegisterAccess, context: Optional[Context] = None) -> str:
    """``timer.ctrl = 0x3 (enable=1), 4 bytes at 0x401136, process 2``."""
    who = f"at {access.rip:#x}, process {access.pid}" if access.rip else f"by the kernel for process {access.pid}"
    width = f"{access.width} byte{'' if access.width == 1 else 's'}"
    return f"{register_of(access)} = {messages.a_number(access.value)}{fields_of(access, context)}, {width} {who}"


def story(log: BusLog, number: int, wanted: Optional[Wanted] = None, before: bool = False) -> list[str]:
    """The lines about one access of the list: what it was, and how to get there.

    `before`: nothing was done where something was expected; the access is the next that was made.
    """
    if log.context is None or number >= len(log):
        return []
    context, access = log.context, log[number]
    kind = "write" if access.write else "read"
    made = f"{register_of(access)} = {messages.a_number(access.value)}{fields_of(access, context)}"
    lines = ["", messages.first_difference(kind, made, before)]
    if wanted is not None and not before:
        from machine.testing.buslog import is_named
        from machine.testing.expect import field_differences

        if isinstance(wanted.value, Mapping) and is_named(access, wanted.name):
            lines += [f"  field        {each}" for each in field_differences(wanted.value, access, context)]
    index = log.indices[number]
    return [*lines, *context.made_by(access, index)]
