"""The stream as JSON lines: one object an event, for programs.  docs/events.md is generated from `FORMS`.

Numbers that are addresses, entries, flags or register values are strings in hexadecimal: JSON's own numbers lose bits
above 2**53 in many readers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple, Optional

from machine.events import KINDS, RECORDS, Events, PageFault
from machine.observe.filter import Filters
from machine.observe.output import Output


class Form(NamedTuple):
    """How a field is written, and how docs/events.md names that."""

    name: str
    write: Optional[Callable[[Any], Any]]
    """None: as it is."""


def shown(value: Any) -> str:
    """An argument or a result of a driver's method, as a text that is the same in every run."""
    if value is None or isinstance(value, (int, bytes)):
        return repr(value)
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(shown, value))}]"
    kind = type(value).__name__
    if hasattr(value, "vm_start"):
        return f"vma {value.vm_start:#x}-{value.vm_end:#x}"
    if hasattr(value, "pfn"):
        return f"page {value.pfn:#x}"
    if hasattr(value, "vma") and hasattr(value, "address"):
        return f"{kind} {value.address:#x}"
    if hasattr(value, "f_path"):
        return f"file {value.f_path}"
    if hasattr(value, "i_ino"):
        return f"inode {value.i_ino}"
    name = getattr(value, "name", None)
    return name if isinstance(name, str) else kind


INTEGER, TEXT, BOOLEAN = Form("integer", None), Form("string", None), Form("boolean", None)
HEX = Form("hex", lambda value: f"{value:#x}")
BYTES = Form("bytes", bytes.hex)
MAYBE = Form("integer or null", None)
WORDS = Form("list of hex", lambda values: [f"{value:#x}" for value in values])
TEXTS = Form("list of strings", lambda values: [shown(value) for value in values])
SHOWN = Form("string", shown)
WALK = Form("walk", lambda steps: [[f"{where:#x}", f"{entry:#x}"] for where, entry in steps])
MAPPING = Form("mapping or null", lambda m: m and {"path": m[0], "vm_start": f"{m[1]:#x}", "offset": f"{m[2]:#x}"})
FIELDS = Form("object of integers", None)
CALL = Form("call", lambda enter: {"seq": enter.seq, "name": enter.name})

_BY_TYPE = {
    "int": INTEGER, "str": TEXT, "bool": BOOLEAN, "bytes": BYTES, "int | None": MAYBE, "Any": SHOWN,
    "tuple[int, ...]": WORDS, "tuple[Any, ...]": TEXTS, "list[tuple[int, int]]": WALK, "dict[str, int]": FIELDS,
    "tuple[str, int, int] | None": MAPPING, "SyscallEnter": CALL,
}  # fmt: skip
_HEX = {
    "rip", "address", "error_code", "vm_start", "vm_end", "vm_flags", "old_start", "old_end", "offset", "value",
}  # fmt: skip
_HEX_OF = {"entry": {"where", "old", "new"}}
_OURS = ("task",)
"""Fields that are objects of the kernel, for listeners in Python."""
_FIRST = ("seq", "time_ns", "host_ns", "pid", "comm", "rip")


def _annotations(record: type) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in reversed(record.__mro__):
        found |= getattr(each, "__annotations__", {})
    return found


def _forms(kind: str) -> dict[str, Form]:
    types = _annotations(RECORDS[kind])
    names = [*_FIRST, *(name for name in types if name not in _FIRST and name not in _OURS)]
    in_hex = _HEX | _HEX_OF.get(kind, set())
    return {name: HEX if name in in_hex and types[name] == "int" else _BY_TYPE[types[name]] for name in names}


FORMS: dict[str, dict[str, Form]] = {kind: _forms(kind) for kind in KINDS}
"""Kind -> field -> its form, in the order in which they are written (``kind`` itself comes after ``seq``)."""


class JsonLines:
    """Writes each event of the kinds that `filters` let through as one line.

    `repeatable` leaves out the host's time: two runs of a deterministic machine write the same bytes.
    """

    def __init__(
        self, events: Events, output: Output, filters: Optional[Filters] = None, *, repeatable: bool = False
    ) -> None:
        filters = filters or Filters()
        self._events = events
        self._output = output
        self._listeners: list[tuple[str, Callable[[Any], None]]] = []
        for kind in filters.kinds():
            forms = {name: form for name, form in FORMS[kind].items() if name != "host_ns" or not repeatable}
            listener = self._writer(kind, forms, filters)
            self._listeners.append((kind, listener))
            events.listen(kind, listener)

    def _writer(self, kind: str, forms: dict[str, Form], filters: Filters) -> Callable[[Any], None]:
        fields = [(name, form.write) for name, form in forms.items() if name != "seq"]
        encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode
        line, everything = self._output.line, filters.everything

        def write(event: Any) -> None:
            if not everything and not filters.match(kind, event):
                return
            told = {"seq": event.seq, "kind": kind}
            for name, form in fields:
                value = getattr(event, name)
                told[name] = value if form is None else form(value)
            line(encode(told))

        return write

    def window(self, fault: PageFault, part: str, lines: list[str]) -> None:
        """A part of --trace-window, under the number of its fault: it is no event, and takes no number."""
        told = {
            "seq": fault.seq,
            "kind": "window",
            "pid": fault.pid,
            "fault": fault.number,
            "part": part,
            "lines": lines,
        }
        self._output.line(json.dumps(told, separators=(",", ":")))

    def close(self) -> None:
        """No more is written."""
        for kind, listener in self._listeners:
            self._events.unlisten(kind, listener)
