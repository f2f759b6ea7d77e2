"""Devices without positions (linux/fs.h; LDD3 §6.5)."""

from __future__ import annotations

from machine.kernel.abi.errno import ESPIPE
from machine.kernel.fs.file import FMODE_STREAM, file, inode


def nonseekable_open(inode: inode, filp: file) -> int:
    """For `open` to call, or as the `open` method itself: lseek, pread and pwrite give ESPIPE from now on.  0."""
    filp.f_mode |= FMODE_STREAM
    return 0


def stream_open(inode: inode, filp: file) -> int:
    """`nonseekable_open` of a device that does not look at f_pos (since Linux 5.1).  0."""
    filp.f_mode |= FMODE_STREAM
    return 0


def no_llseek(filp: file, offset: int, whence: int) -> int:
    """An `llseek` method that refuses: -ESPIPE (up to Linux 6.11)."""
    return -ESPIPE


def noop_llseek(filp: file, offset: int, whence: int) -> int:
    """An `llseek` method that succeeds and leaves the position where it is, which it returns."""
    return filp.f_pos


__all__ = ["no_llseek", "nonseekable_open", "noop_llseek", "stream_open"]
