"""x87 and SSE state in the layout of FXSAVE64 (SDM vol. 1 §10.5.1): what a signal frame and a debugger see.

The engine keeps ST registers by their physical number and one tag word of two bits a register; the area
has them in stack order, and one bit a register.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from machine.records import NamedTuple

FPCW_DEFAULT = 0x37F
FPTAG_DEFAULT = 0xFFFF
"""All x87 registers empty."""
MXCSR_DEFAULT = 0x1F80
MXCSR_MASK = 0xFFFF
"""Bits of MXCSR that exist; loading another is a general-protection fault."""

FXSAVE_SIZE = 512

_HEAD = struct.Struct("<HHBxHQQII")
_ST, _ST_SIZE, _XMM = 32, 10, 160
_EMPTY = 3
"""Tag of an empty x87 register."""


class FpuControl(NamedTuple):
    """The registers beside the data registers, under the names that FXSAVE's description gives them."""

    fsw: int
    fcw: int
    ftw: int
    fop: int
    fip: int
    fdp: int
    mxcsr: int


def pack_fxsave(control: FpuControl, st: Sequence[memoryview], xmm: Sequence[memoryview]) -> bytes:
    """The 512 bytes that FXSAVE64 stores; `st` by physical number."""
    status = control.fsw & 0xFFFF
    valid = sum(1 << i for i in range(8) if control.ftw >> (2 * i) & 3 != _EMPTY)
    area = bytearray(FXSAVE_SIZE)
    _HEAD.pack_into(
        area, 0, control.fcw & 0xFFFF, status, valid, control.fop & 0x7FF, control.fip, control.fdp,
        control.mxcsr & 0xFFFF_FFFF, MXCSR_MASK,
    )  # fmt: skip
    top = status >> 11 & 7
    for i in range(8):
        area[_ST + 16 * i : _ST + 16 * i + _ST_SIZE] = st[top + i & 7]
    area[_XMM : _XMM + 16 * len(xmm)] = b"".join(xmm)
    return bytes(area)


def unpack_fxsave(area: bytes, st: Sequence[memoryview], xmm: Sequence[memoryview]) -> FpuControl:
    """Load the data registers from an FXSAVE64 area; what else it holds is returned.

    The caller has checked MXCSR against `MXCSR_MASK`.
    """
    control, status, valid, opcode, fip, fdp, mxcsr, _mask = _HEAD.unpack_from(area)
    top = status >> 11 & 7
    for i in range(8):
        st[top + i & 7][:] = area[_ST + 16 * i : _ST + 16 * i + _ST_SIZE]
    for i, view in enumerate(xmm):
        view[:] = area[_XMM + 16 * i : _XMM + 16 * i + 16]
    tags = sum(0 if valid >> i & 1 else _EMPTY << (2 * i) for i in range(8))
    return FpuControl(status, control, tags, opcode, fip, fdp, mxcsr & MXCSR_MASK)
