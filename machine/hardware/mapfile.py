"""What the readers of register descriptions (rdl.py, svd.py) share."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from typing import Any, Optional

from machine.hardware.declare import wrong
from machine.hardware.field import ACCESS
from machine.hardware.reg import Part
from machine.hardware.registers import RESERVED, RegisterBlock

_EFFECT = {
    "oneToClear": "w1c", "oneToSet": "w1s", "oneToToggle": "w1t", "zeroToClear": "w0c", "zeroToSet": "w0s",
    "zeroToToggle": "w0t", "clear": "wc", "set": "ws",
}  # fmt: skip


def missing(library: str, extra: str) -> Exception:
    """The error for a library that is not installed."""
    return wrong("no_library", library, extra)


def safe(name: str, taken: Mapping[str, object]) -> str:
    """`name` as an attribute of a block can be called; an underscore behind it where that is taken."""
    made = re.sub(r"\W", "_", name).strip("_") or "register"
    if made[0].isdigit():
        made = "_" + made
    while made in RESERVED or made in taken or keyword.iskeyword(made):
        made += "_"
    return made


def kind_of(readable: bool, writing: Optional[str], reading: str) -> str:
    """The kind of access (field.py) for what a description says.

    `writing` is what a write does, in SVD's words, "" for a plain one, "once" for the first only, None when it does
    nothing; `reading` is ``c``, ``s`` or "".
    """
    if writing is None:
        return {"": "ro", "c": "rc", "s": "rs"}[reading] if readable else "ro"
    if writing == "once":
        return "w1" if readable else "wo1"
    if not writing:
        return {"": "rw", "c": "wrc", "s": "wrs"}[reading] if readable else "wo"
    kind = _EFFECT.get(writing, "rw")
    if not readable:
        return {"wc": "woc", "ws": "wos"}.get(kind, "wo")
    both = {("wc", "s"): "wcrs", ("ws", "c"): "wsrc", ("w1c", "s"): "w1crs", ("w1s", "c"): "w1src",
            ("w0c", "s"): "w0crs", ("w0s", "c"): "w0src"}.get((kind, reading), kind)  # fmt: skip
    return both if both in ACCESS else kind


def make_block(name: str, path: str, parts: Mapping[str, Part], doc: str) -> type[RegisterBlock]:
    """The class."""
    namespace: dict[str, Any] = {**parts, "__doc__": doc or f"{name}, from {path}.", "__module__": __name__}
    return type(safe(name, {}), (RegisterBlock,), namespace)


def placed(part: Part, path: str, line: int) -> Part:
    """The part, declared in that line of that file."""
    part.where = path, line
    return part
