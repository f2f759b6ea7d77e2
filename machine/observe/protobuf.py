"""As much of the protocol buffers' wire format as writing needs (protobuf.dev/programming-guides/encoding)."""

from __future__ import annotations

VARINT, FIXED64, LENGTH = 0, 1, 2


def varint(value: int) -> bytes:
    """Seven bits a byte, least significant first; negative numbers as 64 bits."""
    value &= 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def integer(field: int, value: int) -> bytes:
    """A field of an int, uint, bool or enum type."""
    return varint(field << 3 | VARINT) + varint(value)


def fixed64(field: int, value: int) -> bytes:
    """A field of type fixed64."""
    return varint(field << 3 | FIXED64) + value.to_bytes(8, "little")


def message(field: int, content: bytes) -> bytes:
    """A field of a message, bytes or string type."""
    return varint(field << 3 | LENGTH) + varint(len(content)) + content


def text(field: int, value: str) -> bytes:
    """A field of type string."""
    return message(field, value.encode(errors="replace"))
