"""Register blocks from SystemRDL 2.0, through systemrdl-compiler.

Registers, arrays of them, memories, and register files, whose names come before their registers': ``dma0_ctrl``.  Of
the fields: their bits, `sw` access, onread and onwrite, `reset`, `encode`, `desc`.  Bits outside fields read as 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from machine.hardware.declare import wrong
from machine.hardware.field import Field
from machine.hardware.mapfile import kind_of, make_block, missing, placed, safe
from machine.hardware.parts import Memory
from machine.hardware.reg import Part, Reg, RegArray
from machine.hardware.registers import RegisterBlock

_WRITES = {
    "woclr": "oneToClear", "woset": "oneToSet", "wot": "oneToToggle", "wzc": "zeroToClear", "wzs": "zeroToSet",
    "wzt": "zeroToToggle", "wclr": "clear", "wset": "set",
}  # fmt: skip
_READS = {"rclr": "c", "rset": "s"}


def block_from_rdl(path: str, name: str, parameters: Mapping[str, Any]) -> type[RegisterBlock]:
    """The class of an address map; "" is the last one of the file.  RegisterError."""
    try:
        from systemrdl.compiler import RDLCompiler
        from systemrdl.messages import MessagePrinter, RDLCompileError
    except ImportError:
        raise missing("systemrdl-compiler", "rdl") from None

    said: list[str] = []

    class Collected(MessagePrinter):  # type: ignore[misc,unused-ignore]
        """Its messages are the error's text, not the terminal's."""

        def emit_message(self, lines: list[str]) -> None:
            said.extend(re.sub(r"\x1b\[\d*m", "", line) for line in lines)

    compiler = RDLCompiler(message_printer=Collected())
    try:
        compiler.compile_file(path)
        top = compiler.elaborate(name or None, parameters=dict(parameters)).top
    except RDLCompileError as error:
        raise wrong("bad_map", path, said or [str(error)]) from None
    except OSError as error:
        raise wrong("bad_map", path, [str(error.strerror)]) from None
    except UnicodeDecodeError as error:
        raise wrong("bad_map", path, [f"it is no UTF-8: {error}"]) from None
    parts: dict[str, Part] = {}
    _collect(top, "", 0, parts, path)
    return make_block(name or top.inst_name, path, parts, top.get_property("desc") or "")


def _collect(parent: Any, prefix: str, base: int, parts: dict[str, Part], path: str) -> None:
    """The registers below a node, at `base` bytes from the block's start."""
    from systemrdl.node import FieldNode, MemNode, RegNode, SignalNode

    for node in parent.children(unroll=False):
        if isinstance(node, (FieldNode, SignalNode)):
            continue
        offset = base + node.raw_address_offset
        name = prefix + node.inst_name
        dimensions = list(node.array_dimensions) if node.is_array else []
        if isinstance(node, RegNode) and len(dimensions) <= 1:
            made = _register(node, offset, dimensions[0] if dimensions else 0, path)
            parts[safe(name, parts)] = made
            continue
        count = 1
        for each in dimensions:
            count *= each
        for index in range(count):
            here = offset + index * (node.array_stride if dimensions else 0)
            one = f"{name}{index}" if dimensions else name
            if isinstance(node, RegNode):
                parts[safe(one, parts)] = _register(node, here, 0, path)
            elif isinstance(node, MemNode):
                size = node.get_property("mementries") * -(-node.get_property("memwidth") // 8)
                access = {"r": "ro", "w": "wo"}.get(node.get_property("sw").name, "rw")
                parts[safe(one, parts)] = placed(Memory(here, size, access), path, _line(node))
            else:
                _collect(node, one + "_", here, parts, path)


def _line(node: Any) -> int:
    reference = node.inst.inst_src_ref or node.inst.def_src_ref
    return int(getattr(reference, "line", 0) or 0)


def _register(node: Any, offset: int, count: int, path: str) -> Part:
    fields: dict[str, Field] = {}
    reset = 0
    for field in node.fields():
        values = field.get_property("encode")
        named = {member.name: int(member.value) for member in values} if values is not None else None
        doc = " ".join((field.get_property("desc") or "").split())
        fields[field.inst_name] = Field(field.low, field.width, doc, _kind(field), named)
        given = field.get_property("reset")
        reset |= (given if isinstance(given, int) else 0) << field.low
    width, doc = node.get_property("regwidth") // 8, " ".join((node.get_property("desc") or "").split())
    if count:
        array = RegArray(offset, count, width, "ro", reset, doc, fields, stride=node.array_stride)
        return placed(array, path, _line(node))
    return placed(Reg(offset, width, "ro", reset, doc, fields), path, _line(node))


def _kind(field: Any) -> str:
    access = field.get_property("sw").name
    writing, reading = field.get_property("onwrite"), field.get_property("onread")
    does = None if access in ("r", "na") else "" if writing is None else _WRITES.get(writing.name, "")
    if access in ("rw1", "w1"):
        does = "once"
    return kind_of(access in ("rw", "r", "rw1"), does, "" if reading is None else _READS.get(reading.name, ""))
