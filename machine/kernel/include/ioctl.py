"""Numbers of ioctl commands (asm/ioctl.h): direction, size of the argument, magic letter, number."""

from __future__ import annotations

from typing import Union

_IOC_NRBITS, _IOC_TYPEBITS, _IOC_SIZEBITS, _IOC_DIRBITS = 8, 8, 14, 2
_IOC_NRSHIFT, _IOC_TYPESHIFT, _IOC_SIZESHIFT, _IOC_DIRSHIFT = 0, 8, 16, 30
_IOC_NONE, _IOC_WRITE, _IOC_READ = 0, 1, 2

Magic = Union[int, str]


def _IOC(dir: int, type: Magic, nr: int, size: int) -> int:
    """Put a command's number together; `type` is the magic letter or its code."""
    letter = ord(type) if isinstance(type, str) else type
    return dir << _IOC_DIRSHIFT | letter << _IOC_TYPESHIFT | nr << _IOC_NRSHIFT | size << _IOC_SIZESHIFT


def _IO(type: Magic, nr: int) -> int:
    """A command without data: its argument is a value, or nothing."""
    return _IOC(_IOC_NONE, type, nr, 0)


def _IOR(type: Magic, nr: int, size: int) -> int:
    """A command that writes `size` bytes to the process (which reads)."""
    return _IOC(_IOC_READ, type, nr, size)


def _IOW(type: Magic, nr: int, size: int) -> int:
    """A command that takes `size` bytes from the process."""
    return _IOC(_IOC_WRITE, type, nr, size)


def _IOWR(type: Magic, nr: int, size: int) -> int:
    """A command that takes `size` bytes and writes as many back."""
    return _IOC(_IOC_READ | _IOC_WRITE, type, nr, size)


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
