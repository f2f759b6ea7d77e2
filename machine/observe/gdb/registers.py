"""The registers as gdb numbers them: target descriptions of amd64 and i386, and their bytes (gdb's features/i386)."""

from __future__ import annotations

import struct
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from machine.hardware.fpu import MXCSR_MASK
from machine.kernel.abi.errno import ENOSYS
from machine.kernel.task.regset import get_fxsave, get_user_regs, pack_i387, set_fxsave, set_user_reg

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import Task

_CORE64 = "rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip eflags cs ss ds es fs gs".split()  # noqa: SIM905
_CORE32 = "eax ecx edx ebx esp ebp esi edi eip eflags cs ss ds es fs gs".split()  # noqa: SIM905
_X87 = "fctrl fstat ftag fiseg fioff foseg fooff fop".split()  # noqa: SIM905
_SHORT = frozenset(("eflags", "cs", "ss", "ds", "es", "fs", "gs"))
_POINTERS = {"rsp": "data_ptr", "rbp": "data_ptr", "esp": "data_ptr", "ebp": "data_ptr", "rip": "code_ptr",
             "eip": "code_ptr", "eflags": "i386_eflags"}  # fmt: skip
_FLAGS = (("CF", 0), ("PF", 2), ("AF", 4), ("ZF", 6), ("SF", 7), ("TF", 8), ("IF", 9), ("DF", 10), ("OF", 11),
          ("NT", 14), ("RF", 16), ("VM", 17), ("AC", 18), ("VIF", 19), ("VIP", 20), ("ID", 21))  # fmt: skip
_MXCSR = (("IE", 0), ("DE", 1), ("ZE", 2), ("OE", 3), ("UE", 4), ("PE", 5), ("DAZ", 6), ("IM", 7), ("DM", 8),
          ("ZM", 9), ("OM", 10), ("UM", 11), ("PM", 12), ("FZ", 15))  # fmt: skip
_VECTORS = (("v4f", "ieee_single", 4), ("v2d", "ieee_double", 2), ("v16i8", "int8", 16), ("v8i16", "int16", 8),
            ("v4i32", "int32", 4), ("v2i64", "int64", 2))  # fmt: skip
_UNION = (("v4_float", "v4f"), ("v2_double", "v2d"), ("v16_int8", "v16i8"), ("v8_int16", "v8i16"),
          ("v4_int32", "v4i32"), ("v2_int64", "v2i64"), ("uint128", "uint128"))  # fmt: skip

# Offsets in a FXSAVE area (SDM vol. 1 table 10-2).
_FX_FCTRL, _FX_FSTAT, _FX_TAGS, _FX_MXCSR, _FX_ST, _FX_XMM = 0, 2, 4, 24, 32, 160


class Register(NamedTuple):
    """One register: its place in gdb's ``g`` packet and what it is."""

    name: str
    offset: int
    size: int
    type: str
    feature: str


@cache
def layout(bits: int) -> tuple[Register, ...]:
    """All registers of a program of `bits`, by gdb's number."""
    wide = bits == 64
    word = bits // 8
    rows: list[tuple[str, int, str, str]] = []
    for name in _CORE64 if wide else _CORE32:
        short = name in _SHORT
        rows.append((name, 4 if short else word, _POINTERS.get(name, "int32" if short else f"int{bits}"), "core"))
    rows += [(f"st{i}", 10, "i387_ext", "core") for i in range(8)]
    rows += [(name, 4, "int", "core") for name in _X87]
    rows += [(f"xmm{i}", 16, "vec128", "sse") for i in range(16 if wide else 8)]
    rows += [("mxcsr", 4, "i386_mxcsr", "sse"), ("orig_rax" if wide else "orig_eax", word, "int", "linux")]
    if wide:
        rows += [(name, 8, "int", "segments") for name in ("fs_base", "gs_base")]
    found, offset = [], 0
    for name, size, kind, feature in rows:
        found.append(Register(name, offset, size, kind, feature))
        offset += size
    return tuple(found)


@cache
def target_xml(bits: int) -> bytes:
    """The target description of a program of `bits`."""
    wide = bits == 64
    lines = ['<?xml version="1.0"?>', '<!DOCTYPE target SYSTEM "gdb-target.dtd">', "<target>"]
    lines += [f"<architecture>{'i386:x86-64' if wide else 'i386'}</architecture>", "<osabi>GNU/Linux</osabi>"]
    for feature in ("core", "sse", "linux", "segments"):
        registers = [each for each in layout(bits) if each.feature == feature]
        if registers:
            lines.append(f'<feature name="org.gnu.gdb.i386.{feature}">')
            lines += _types(feature)
            lines += [_register_xml(each) for each in registers]
            lines.append("</feature>")
    return "\n".join([*lines, "</target>\n"]).encode()


def _register_xml(register: Register) -> str:
    group = ' group="float"' if register.name in _X87 else ' group="vector"' if register.name == "mxcsr" else ""
    return f'<reg name="{register.name}" bitsize="{register.size * 8}" type="{register.type}"{group}/>'


def _types(feature: str) -> list[str]:
    if feature == "core":
        return _flags("i386_eflags", _FLAGS)
    if feature != "sse":
        return []
    lines = [f'<vector id="{name}" type="{kind}" count="{count}"/>' for name, kind, count in _VECTORS]
    lines += ['<union id="vec128">', *(f'<field name="{name}" type="{kind}"/>' for name, kind in _UNION), "</union>"]
    return lines + _flags("i386_mxcsr", _MXCSR)


def _flags(name: str, bits: tuple[tuple[str, int], ...]) -> list[str]:
    fields = (f'<field name="{field}" start="{bit}" end="{bit}"/>' for field, bit in bits)
    return [f'<flags id="{name}" size="4">', *fields, "</flags>"]


# -- their values ------------------------------------------------------------------------------------------


def _x87(fxsave: bytes) -> dict[str, int]:
    fctrl, fstat = struct.unpack_from("<HH", fxsave, _FX_FCTRL)
    opcode, fip, fdp = struct.unpack_from("<HQQ", fxsave, 6)
    tags = struct.unpack_from("<I", pack_i387(fxsave), 8)[0] & 0xFFFF
    values = (fctrl, fstat, tags, fip >> 32 & 0xFFFF, fip & 0xFFFF_FFFF, fdp >> 32 & 0xFFFF, fdp & 0xFFFF_FFFF, opcode)
    return dict(zip(_X87, values, strict=True))


def read_all(kernel: Kernel, task: Task) -> bytes:
    """The contents of a ``g`` packet.  Of a task inside a system call, as ptrace shows it: rax is -ENOSYS."""
    bits = task.abi.bits
    values = get_user_regs(kernel, task)
    if task.syscall:
        values["rax" if bits == 64 else "eax"] = -ENOSYS & task.abi.mask
    fxsave = get_fxsave(kernel, task)
    values |= _x87(fxsave)
    values["mxcsr"] = struct.unpack_from("<I", fxsave, _FX_MXCSR)[0]
    data = bytearray()
    for register in layout(bits):
        at = _place(register.name)
        if at is not None:
            data += fxsave[at : at + register.size]
        else:
            data += (values[register.name] & (1 << 8 * register.size) - 1).to_bytes(register.size, "little")
    return bytes(data)


def _place(name: str) -> int | None:
    """Where the FXSAVE area has an st or xmm register; None for the others."""
    if name.startswith("st"):
        return _FX_ST + 16 * int(name[2:])
    return _FX_XMM + 16 * int(name[3:]) if name.startswith("xmm") else None


def write_one(kernel: Kernel, task: Task, number: int, value: bytes) -> bool:
    """Write register `number` (gdb's); False for one that can't have this value."""
    registers = layout(task.abi.bits)
    if not 0 <= number < len(registers) or len(value) != registers[number].size:
        return False
    name = registers[number].name
    if registers[number].feature in ("linux", "segments") or name in (_CORE64 if task.abi.bits == 64 else _CORE32):
        return set_user_reg(kernel, task, name, int.from_bytes(value, "little"))
    area = bytearray(get_fxsave(kernel, task))
    at = _place(name)
    if at is not None:
        area[at : at + len(value)] = value
    elif not _write_control(area, name, int.from_bytes(value, "little")):
        return bool(_x87(bytes(area)).get(name) == int.from_bytes(value, "little"))
    set_fxsave(kernel, task, bytes(area))
    return True


def _write_control(area: bytearray, name: str, value: int) -> bool:
    if name == "mxcsr":
        if value & ~MXCSR_MASK:
            return False
        struct.pack_into("<I", area, _FX_MXCSR, value)
    elif name in ("fctrl", "fstat"):
        struct.pack_into("<H", area, _FX_FCTRL if name == "fctrl" else _FX_FSTAT, value & 0xFFFF)
    elif name == "ftag":
        area[_FX_TAGS] = sum(1 << i for i in range(8) if value >> 2 * i & 3 != 3)
    else:
        return False
    return True


def write_all(kernel: Kernel, task: Task, data: bytes) -> bool:
    """The contents of a ``G`` packet."""
    before = read_all(kernel, task)
    if len(data) != len(before):
        return False
    fine = True
    for number, register in enumerate(layout(task.abi.bits)):
        value = data[register.offset : register.offset + register.size]
        if value != before[register.offset : register.offset + register.size]:
            fine = write_one(kernel, task, number, value) and fine
    return fine
