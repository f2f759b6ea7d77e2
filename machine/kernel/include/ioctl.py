"""Numbers of ioctl commands (asm/ioctl.h): direction, size of the argument, magic letter, number."""

from __future__ import annotations

from typing import Any, Union

_IOC_NRBITS, _IOC_TYPEBITS, _IOC_SIZEBITS, _IOC_DIRBITS = 8, 8, 14, 2
_IOC_NRSHIFT, _IOC_TYPESHIFT, _IOC_SIZESHIFT, _IOC_DIRSHIFT = 0, 8, 16, 30
_IOC_NONE, _IOC_WRITE, _IOC_READ = 0, 1, 2

Magic = Union[int, str]
"""The letter that a driver's commands share, or its code."""
Argument = Any
"""Bytes of what a command's argument points to, or its type: a struct's class, u32, `int`, `elements(u8(), 3)`."""


def _IOC(dir: int, type: Magic, nr: int, size: int) -> int:
    """Put a command's number together; `type` is the magic letter or its code, `nr` is 0 to 255.  TypeError and
    ValueError, in place of C's broken build, for what does not fit."""
    if isinstance(type, str) and len(type) != 1:
        raise TypeError(f"an ioctl's magic is one letter, not {type!r}")
    letter = ord(type) if isinstance(type, str) else type
    for what, value, bits in (("magic", letter, 8), ("number", nr, 8), ("size", size, _IOC_SIZEBITS)):
        if not 0 <= value < 1 << bits:
            raise ValueError(f"an ioctl's {what} is 0 to {(1 << bits) - 1}, not {value}")
    return dir << _IOC_DIRSHIFT | letter << _IOC_TYPESHIFT | nr << _IOC_NRSHIFT | size << _IOC_SIZESHIFT


def _size(argument: Argument, macro: str) -> int:
    if type(argument) is int:
        return argument
    from machine.kernel.include.structs import sizeof

    try:
        return sizeof(argument)
    except TypeError:
        raise TypeError(
            f"{macro}(type, nr, {argument!r}): the third is what the argument points to: a struct's class, u8 to s64, "
            f"int, char(16), or its bytes as a number"
        ) from None


def _IO(type: Magic, nr: int) -> int:
    """A command without data: its argument is a value, or nothing."""
    return _IOC(_IOC_NONE, type, nr, 0)


def _IOR(type: Magic, nr: int, size: Argument) -> int:
    """A command that writes to the process (which reads): ``_IOR("r", 1, int)``.

    `size` is the type that the argument points to, as in C (a struct's class, u32, `int`, which has 4 bytes), or its
    bytes.  A `long` has 8 here; in the header of a 32-bit program it makes another command.
    """
    return _IOC(_IOC_READ, type, nr, _size(size, "_IOR"))


def _IOW(type: Magic, nr: int, size: Argument) -> int:
    """A command that takes data from the process; `size` as in `_IOR`."""
    return _IOC(_IOC_WRITE, type, nr, _size(size, "_IOW"))


def _IOWR(type: Magic, nr: int, size: Argument) -> int:
    """A command that takes data and writes as many bytes back; `size` as in `_IOR`."""
    return _IOC(_IOC_READ | _IOC_WRITE, type, nr, _size(size, "_IOWR"))


def _IOC_DIR(cmd: int) -> int:
    """_IOC_NONE, _IOC_READ, _IOC_WRITE or both."""
    return cmd >> _IOC_DIRSHIFT & (1 << _IOC_DIRBITS) - 1


def _IOC_TYPE(cmd: int) -> int:
    """Code of the magic letter."""
    return cmd >> _IOC_TYPESHIFT & (1 << _IOC_TYPEBITS) - 1


def _IOC_NR(cmd: int) -> int:
    """The number."""
    return cmd >> _IOC_NRSHIFT & (1 << _IOC_NRBITS) - 1


def _IOC_SIZE(cmd: int) -> int:
    """Bytes of the argument."""
    return cmd >> _IOC_SIZESHIFT & (1 << _IOC_SIZEBITS) - 1


__all__ = [
    "_IO", "_IOC", "_IOC_DIR", "_IOC_NONE", "_IOC_NR", "_IOC_READ", "_IOC_SIZE", "_IOC_TYPE", "_IOC_WRITE", "_IOR",
    "_IOW", "_IOWR",
]  # fmt: skip
