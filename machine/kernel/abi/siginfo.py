"""`siginfo_t`: 128 bytes, three ints and a union that depends on the signal (kernel/signal.c: siginfo_layout)."""

from __future__ import annotations

import struct
from functools import cache

from machine.kernel.abi.signal import layout_of

SI_MAX_SIZE = 128

# layout -> [(name, offset from the union's start on x86_64, on i386, format on x86_64, on i386)]
_FIELDS: dict[str, list[tuple[str, int, int, str, str]]] = {
    "kill": [("pid", 0, 0, "i", "i"), ("uid", 4, 4, "I", "I")],
    "rt": [("pid", 0, 0, "i", "i"), ("uid", 4, 4, "I", "I"), ("value", 8, 8, "Q", "I")],
    "timer": [("tid", 0, 0, "i", "i"), ("overrun", 4, 4, "i", "i"), ("value", 8, 8, "Q", "I")],
    "chld": [
        ("pid", 0, 0, "i", "i"), ("uid", 4, 4, "I", "I"), ("status", 8, 8, "i", "i"),
        ("utime", 16, 12, "Q", "I"), ("stime", 24, 16, "Q", "I"),
    ],
    "fault": [
        ("addr", 0, 0, "Q", "I"), ("addr_lsb", 8, 4, "h", "h"), ("lower", 16, 8, "Q", "I"), ("upper", 24, 12, "Q", "I"),
    ],
    "poll": [("band", 0, 0, "q", "i"), ("fd", 8, 4, "i", "i")],
    "sys": [("addr", 0, 0, "Q", "I"), ("syscall", 8, 4, "i", "i"), ("arch", 12, 8, "I", "I")],
}  # fmt: skip

FIELD_NAMES: dict[str, tuple[str, ...]] = {kind: tuple(row[0] for row in rows) for kind, rows in _FIELDS.items()}
_SIZES = {"i": 32, "I": 32, "h": 16, "q": 64, "Q": 64}


def union_offset(bits: int) -> int:
    """Where the union starts: 16 on x86_64, where it is aligned to a pointer, 12 on i386."""
    return 16 if bits == 64 else 12


@cache
def _packer(bits: int, layout: str, names: tuple[str, ...]) -> tuple[struct.Struct, tuple[tuple[str, int, int], ...]]:
    """What writes the 128 bytes when `names` are given, and for each of them, in its order, (name, what the value is
    masked with, its sign bit or 0)."""
    rows = {row[0]: row for row in _FIELDS[layout]}
    chosen = [rows[name][1::2] if bits == 64 else rows[name][2::2] for name in names]  # (offset, format)
    text, at, values = "<iii", 12, []
    for name, (offset, form) in sorted(zip(names, chosen, strict=True), key=lambda each: each[1][0]):
        width = _SIZES[form]
        text += f"{union_offset(bits) + offset - at}x{form}"
        at = union_offset(bits) + offset + width // 8
        values.append((name, (1 << width) - 1, 1 << width - 1 if form in "ihq" else 0))
    return struct.Struct(f"{text}{SI_MAX_SIZE - at}x"), tuple(values)


def pack_siginfo(bits: int, signo: int, errno: int, code: int, fields: dict[str, int]) -> bytes:
    """The 128 bytes; `fields` that the layout of (signo, code) does not have are a KeyError."""
    packer, wanted = _packer(bits, layout_of(signo, code), tuple(fields))
    return packer.pack(signo, errno, code, *[(fields[name] & mask ^ sign) - sign for name, mask, sign in wanted])


def unpack_siginfo(bits: int, data: bytes) -> tuple[int, int, int, dict[str, int]]:
    """(signo, errno, code, fields) of 128 bytes, as rt_sigqueueinfo(2) gets them.  Any code is accepted."""
    signo, errno, code = struct.unpack_from("<iii", data)
    base = union_offset(bits)
    fields: dict[str, int] = {}
    for name, at64, at32, format64, format32 in _FIELDS[layout_of(signo, code)]:
        at, form = (at64, format64) if bits == 64 else (at32, format32)
        fields[name] = struct.unpack_from("<" + form, data, base + at)[0]
    return signo, errno, code, fields
