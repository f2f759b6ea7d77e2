"""How strace prints one argument: numbers, strings, buffers, and the registry of decoders.

A type in a row of `machine.kernel.syscalls.table` is ``CONVERSION`` or ``CONVERSION:DECODER``.  The conversion says how
the register becomes a number; the decoder, a name in `DECODERS`, how it is shown.  A decoder whose name ends in ``>``
shows what the kernel has written, so it waits for the call's end and shows the bare address when the call failed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.mm.vma import VM_IO, VM_PFNMAP
from machine.observe.strace_flags import BITS, VALUES, flags, signal_name

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

STRING_LIMIT = 32
"""Bytes of data that are shown, as by strace without -s."""
PATH_LIMIT = 4096
ARRAY_LIMIT = 32
MEMORY_LIMIT = 1 << 18
"""Bytes that are read at a time, whatever length the program gives."""

_SIGNED = {"int", "fd", "pid", "atfd"}
_UNSIGNED = {"uint", "mode", "uid", "flags"}
_ESCAPES = {0x22: '\\"', 0x5C: "\\\\", 0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t", 0x0B: "\\v", 0x0C: "\\f"}
_SHORT = [_ESCAPES.get(byte, chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:o}") for byte in range(256)]
"""How each byte is shown where no digit follows."""
_OCTAL_THEN_DIGIT = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f-\xff][0-9]")


class Call:
    """One system call: its converted arguments, and the process's memory."""

    __slots__ = ("abi", "aux", "kernel", "mm", "name", "paths", "result", "saved", "task", "types", "values")

    def __init__(self, task: Task, abi: str, name: str, types: tuple[str, ...], raw: tuple[int, ...]) -> None:
        from machine.kernel.abi.layout import ABI32, ABI64

        self.name = name
        self.types = types
        self.abi = ABI64 if abi == "x86_64" else ABI32
        self.task = task
        self.paths = 0
        """Whether descriptors are shown with what they are: 1 with paths, 2 with devices and sockets (``-yy``)."""
        self.mm = task.mm
        self.kernel = task.kernel
        self.values = convert(types, raw, self.abi.bits)
        self.result: Optional[int] = None
        """None while the call runs."""
        self.aux = ""
        """What a decoder adds behind the result, in brackets."""
        self.saved: dict[int, Any] = {}
        """What a decoder keeps from the beginning to the end of the call, by argument."""

    @property
    def failed(self) -> bool:
        """Whether it has ended with an errno."""
        return self.result is not None and -4096 < self.result < 0

    def memory(self, address: int, count: int) -> bytes:
        """Up to `count` bytes, and no more than `MEMORY_LIMIT`.  What is not present is faulted in as the kernel's own
        access would, except in areas of drivers: watching a call must not call a driver."""
        count = min(count, MEMORY_LIMIT)
        data: bytes = self.kernel.peek_user(self.mm, address, count)
        if len(data) < count:
            area = self.mm.vma_at(address + len(data))
            if area is not None and _is_memory(area):
                end = min(area.vm_end, address + count)
                data += self.mm.read_some(address + len(data), end - address - len(data))
        return data

    def string(self, address: int, limit: int) -> Optional[bytes]:
        """The string at `address` without its NUL, at most `limit` + 1 bytes; None where it can't be read."""
        found = b""
        while len(found) <= limit:
            piece = self.memory(address + len(found), min(256, 4096 - ((address + len(found)) & 0xFFF)))
            end = piece.find(0)
            if end >= 0:
                return (found + piece[:end])[: limit + 1]
            if not piece:
                return None
            found += piece
        return found[: limit + 1]

    def words(self, address: int, count: int) -> list[int]:
        """Up to `count` words of the ABI."""
        size = self.abi.word
        data = self.memory(address, count * size)
        return [int.from_bytes(data[i : i + size], "little") for i in range(0, len(data) - size + 1, size)]


def _is_memory(area: Any) -> bool:
    """Whether reading in an area has no effect: neither a driver's method nor a device's registers answer."""
    if area.vm_flags & (VM_IO | VM_PFNMAP):
        return False
    return area.vm_ops is None or area.vm_ops.owner is None


def convert(types: tuple[str, ...], raw: tuple[int, ...], bits: int) -> list[int]:
    """The numbers that the handler gets, by the conversions of the row (syscalls/table.py: _converter)."""
    values = []
    for at, kind in _conversions(types, bits):
        value = raw[at]
        if kind == _PLAIN:
            pass
        elif kind == _UNSIGNED32:
            value &= 0xFFFF_FFFF
        elif kind == _TWO_REGISTERS:
            value = _signed(value | raw[at + 1] << 32, 64)
        else:
            value &= (1 << kind) - 1
            value -= value >> (kind - 1) << kind
        values.append(value)
    return values


_PLAIN, _UNSIGNED32, _TWO_REGISTERS = 0, 1, 2
"""Conversions; other numbers are the bits of a signed one."""


@cache
def _conversions(types: tuple[str, ...], bits: int) -> tuple[tuple[int, int], ...]:
    """(index of the register, conversion) of each argument."""
    found, at = [], 0
    for each in types:
        kind = each.partition(":")[0]
        wide = kind == "off64"
        if kind in _SIGNED:
            how = 32
        elif kind in _UNSIGNED:
            how = _UNSIGNED32
        elif wide:
            how = 64 if bits == 64 else _TWO_REGISTERS
        else:
            how = bits if kind in ("long", "off") else _PLAIN
        found.append((at, how))
        at += 2 if how == _TWO_REGISTERS else 1
    return tuple(found)


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


# -- texts ---------------------------------------------------------------------------------------------


def quote(data: bytes, *, cut: bool = False, in_hex: bool = False) -> str:
    """A string in C's way: octal escapes, as short as the next character allows; ``...`` behind when `cut`."""
    if in_hex:
        text = "".join(f"\\x{byte:02x}" for byte in data)
    else:
        text = "".join([_SHORT[byte] for byte in data])
        if _OCTAL_THEN_DIGIT.search(data):
            text = ""
            for index, byte in enumerate(data):
                octal_here = len(_SHORT[byte]) > 1 and byte not in _ESCAPES
                digit_follows = octal_here and data[index + 1 : index + 2].isdigit()
                text += f"\\{byte:03o}" if digit_follows else _SHORT[byte]
    return f'"{text}"' + ("..." if cut else "")


def pointer(address: int) -> str:
    """``NULL`` or a number."""
    return f"{address:#x}" if address else "NULL"


def hexadecimal(value: int) -> str:
    """As C's ``%#x``: "0" has no prefix."""
    return f"{value:#x}" if value else "0"


def buffer(call: Call, address: int, count: int, *, in_hex: bool = False) -> str:
    """The beginning of `count` bytes at `address`, quoted."""
    if not address:
        return "NULL"
    if count <= 0:
        return '""' if count == 0 else pointer(address)
    data = call.memory(address, min(count, STRING_LIMIT))
    if len(data) < min(count, STRING_LIMIT):
        return pointer(address)
    return quote(data, cut=count > STRING_LIMIT, in_hex=in_hex)


def path(call: Call, address: int) -> str:
    """A path or another whole string."""
    text = call.string(address, PATH_LIMIT) if address else None
    if text is None:
        return pointer(address)
    return quote(text[:PATH_LIMIT], cut=len(text) > PATH_LIMIT)


def octal(value: int) -> str:
    """A mode: at least three digits."""
    return f"{value:#05o}".replace("0o", "0") if value > 0o77 else f"0{value:02o}"


# -- decoders ---------------------------------------------------------------------------------------------

Decoder = Callable[[Call, int], Optional[str]]
DECODERS: dict[str, Decoder] = {}
"""Name -> function of the call and the argument's index; None leaves the argument out."""


def decoder(*names: str) -> Callable[[Decoder], Decoder]:
    """Register a decoder under these names."""

    def register(function: Decoder) -> Decoder:
        for each in names:
            DECODERS[each] = function
        return function

    return register


def plain(kind: str, value: int) -> str:
    """An argument that has a conversion only."""
    if kind == "atfd" and value == -100:
        return "AT_FDCWD"
    if kind in ("ptr", "addr", "str", "buf"):
        return pointer(value)
    if kind == "mode":
        return octal(value)
    if kind == "uid" and value == 0xFFFF_FFFF:
        return "-1"
    return str(value)


def descriptor_text(call: Call, fd: int, at: bool = False) -> str:
    """What -y and -yy add to a descriptor: ``</etc/passwd>``, ``<pipe:[12]>``; with -yy ``</dev/null<char 1:3>>``."""
    if not call.paths:
        return ""
    from machine.observe.strace_paths import describe_fd

    return describe_fd(call, fd, at)


def argument(call: Call, index: int) -> Optional[str]:
    """The text of one argument."""
    return _decoder_of(call.types[index])(call, index)


@cache
def _decoder_of(type_: str) -> Decoder:
    """What shows arguments of a type of `machine.kernel.syscalls.table`."""
    kind, _, how = type_.partition(":")
    if kind == "str":
        return lambda call, index: path(call, call.values[index])
    if kind == "buf":
        return lambda call, index: buffer(call, call.values[index], call.values[index + 1])
    if not how and kind in ("fd", "atfd"):
        return lambda call, index: _descriptor(call, kind, call.values[index])
    if how and (how in ("O_", "MAP_", "AT_STATX") or how in BITS or how in VALUES):
        return lambda call, index: flags(how, call.values[index])
    function = DECODERS.get(how) if how else None
    if function is None:
        return lambda call, index: plain(kind, call.values[index])
    if not how.endswith(">") or how in _BY_COMMAND:
        return function
    return lambda call, index: (
        pointer(call.values[index]) if call.failed or not call.values[index] else function(call, index)
    )


def _descriptor(call: Call, kind: str, fd: int) -> str:
    text = plain(kind, fd)
    return text + descriptor_text(call, fd, at=kind == "atfd") if call.paths else text


_BY_COMMAND = ("ioctl_arg>", "fcntl_arg>", "msghdr>")
"""What they take, and whether it is filled in, depends on the command: they see to failures themselves."""


def is_output(call: Call, index: int) -> bool:
    """Whether an argument can be shown only when the call has ended."""
    kind = call.types[index]
    if not kind.endswith(">"):
        return False
    return not kind.endswith("fcntl_arg>") or "GETLK" in flags("F_", call.values[index - 1])


@decoder("x")
def _hex(call: Call, index: int) -> str:
    """A number in hexadecimal."""
    return hexadecimal(call.values[index])


@decoder("pgoff")
def _pgoff(call: Call, index: int) -> str:
    """mmap2's offset in pages, shown in bytes."""
    return hexadecimal(call.values[index] << 12)


@decoder("signal")
def _signal(call: Call, index: int) -> str:
    return signal_name(call.values[index])


@decoder("oct")
def _octal(call: Call, index: int) -> str:
    return octal(call.values[index] & 0xFFFF_FFFF)


@decoder("fixed")
def _new_address(call: Call, index: int) -> Optional[str]:
    """mremap's new address: there only with MREMAP_FIXED or MREMAP_DONTUNMAP in the flags before it."""
    return pointer(call.values[index]) if call.values[index - 1] & 6 else None


@decoder("creat")
def _mode_of_creat(call: Call, index: int) -> Optional[str]:
    """open's mode: there only when the flags before it ask for a new file."""
    made = call.values[index - 1] & 0o20200100
    return octal(call.values[index]) if made & 0o100 or made & 0o20000000 else None


@decoder("data")
def _data(call: Call, index: int) -> str:
    """Bytes whose number is the next argument."""
    return buffer(call, call.values[index], call.values[index + 1])


@decoder("data>", "str>")
def _data_out(call: Call, index: int) -> str:
    """Bytes whose number is the result."""
    return buffer(call, call.values[index], call.result or 0)


@decoder("cwd>")
def _cwd_out(call: Call, index: int) -> str:
    """A string whose length with its NUL is the result."""
    return buffer(call, call.values[index], (call.result or 1) - 1)


@decoder("random>")
def _random_out(call: Call, index: int) -> str:
    return buffer(call, call.values[index], call.result or 0, in_hex=True)


@decoder("dirents>")
def _dirents_out(call: Call, index: int) -> str:
    """Directory entries are counted: a length stands 8 (getdents64: 16) bytes into each, after two words."""
    address, length = call.values[index], call.result or 0
    data = call.memory(address, length)
    at = 16 if call.name == "getdents64" else 2 * call.abi.word
    count = offset = 0
    while offset + at + 2 <= len(data):
        step = int.from_bytes(data[offset + at : offset + at + 2], "little")
        if not step:
            break
        offset += step
        count += 1
    if length > MEMORY_LIMIT:
        return f"{pointer(address)} /* more than {count} entries */"
    return f"{pointer(address)} /* {count} entr{'y' if count == 1 else 'ies'} */"


@decoder("argv")
def _argv(call: Call, index: int) -> str:
    """execve's argument strings."""
    address = call.values[index]
    shown: list[str] = []
    for slot, word in enumerate(call.words(address, ARRAY_LIMIT + 1)):
        if not word:
            return "[" + ", ".join(shown) + "]"
        if slot == ARRAY_LIMIT:
            return "[" + ", ".join([*shown, "..."]) + "]"
        text = call.string(word, STRING_LIMIT)
        shown.append(pointer(word) if text is None else quote(text[:STRING_LIMIT], cut=len(text) > STRING_LIMIT))
    return pointer(address)


@decoder("envp")
def _envp(call: Call, index: int) -> str:
    """execve's environment, counted."""
    address = call.values[index]
    if not address:
        return "NULL"
    count = 0
    while True:
        words = call.words(address + count * call.abi.word, 64)
        end = words.index(0) if 0 in words else -1
        if end >= 0 or not words or count > 4096:
            count += max(end, 0)
            return f"{pointer(address)} /* {count} var{'' if count == 1 else 's'} */"
        count += len(words)
