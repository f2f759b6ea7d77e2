"""How strace prints ioctl and fcntl: what the argument is depends on the command."""

from __future__ import annotations

import struct
from typing import Optional

from machine.observe.strace_args import Call, decoder, hexadecimal, pointer
from machine.observe.strace_flags import VALUES, flags

_DIRECTIONS = {0: "_IOC_NONE", 1: "_IOC_WRITE", 2: "_IOC_READ", 3: "_IOC_READ|_IOC_WRITE"}


@decoder("ioctl")
def _ioctl_command(call: Call, index: int) -> str:
    """The command's name, or how it was made: ``_IOC(_IOC_READ, 0x6b, 0x1, 0x4)``."""
    command = call.values[index]
    name = VALUES["IOCTL"].get(command)
    if name is not None:
        return name
    kind, number, size = command >> 8 & 0xFF, command & 0xFF, command >> 16 & 0x3FFF
    return f"_IOC({', '.join([_DIRECTIONS[command >> 30], *map(hexadecimal, (kind, number, size))])})"


_TERMIOS = struct.Struct("<IIII")


@decoder("ioctl_arg>")
def _ioctl_argument(call: Call, index: int) -> str:
    name, address = VALUES["IOCTL"].get(call.values[index - 1], ""), call.values[index]
    if call.failed:
        return hexadecimal(address)
    if name == "TIOCGWINSZ":
        data = call.memory(address, 8)
        if len(data) == 8:
            return "{{ws_row={}, ws_col={}, ws_xpixel={}, ws_ypixel={}}}".format(*struct.unpack("<HHHH", data))
    elif name in ("TIOCGPGRP", "TIOCSPGRP", "FIONREAD", "FIONBIO", "TIOCOUTQ", "TIOCGSID"):
        data = call.memory(address, 4)
        if len(data) == 4:
            return f"[{int.from_bytes(data, 'little', signed=True)}]"
    elif name in ("TCGETS", "TCSETS", "TCSETSW", "TCSETSF"):
        data = call.memory(address, 16)
        if len(data) == 16:
            return "{{c_iflag={:#x}, c_oflag={:#x}, c_cflag={:#x}, c_lflag={:#x}, ...}}".format(*_TERMIOS.unpack(data))
    return hexadecimal(address)


_NO_ARGUMENT = ("F_GETFD", "F_GETFL", "F_GETOWN", "F_GETSIG", "F_GETLEASE", "F_GETPIPE_SZ", "F_GET_SEALS")


@decoder("fcntl_arg>")
def _fcntl_argument(call: Call, index: int) -> Optional[str]:
    name, value = VALUES["F_"].get(call.values[index - 1], ""), call.values[index]
    if name in _NO_ARGUMENT:
        return None
    if name == "F_SETFD":
        return flags("FD_", value)
    if name == "F_SETFL":
        return flags("O_", value & 0xFFFFFFFF)
    if "LK" in name and value:
        return _flock(call, value, wide=name.endswith("64") or "OFD" in name)
    return str(value) if name.startswith(("F_DUPFD", "F_SET")) else f"{value:#x}"


def _flock(call: Call, address: int, wide: bool) -> str:
    layout = call.abi.flock64 if wide or call.abi.bits == 64 else call.abi.flock
    data = call.memory(address, layout.size)
    if len(data) != layout.size:
        return pointer(address)
    kind, whence, start, length, pid = layout.unpack(data)
    names = VALUES["L_TYPE"].get(kind, str(kind)), VALUES["SEEK_"].get(whence, str(whence))
    holder = f", l_pid={pid}" if "GETLK" in flags("F_", call.values[1]) else ""
    return f"{{l_type={names[0]}, l_whence={names[1]}, l_start={start}, l_len={length}{holder}}}"


def fcntl_result(call: Call) -> str:
    """What fcntl adds behind its result: ``(flags O_RDONLY)``."""
    command = VALUES["F_"].get(call.values[1], "")
    if command == "F_GETFL":
        return f" (flags {flags('O_', call.result or 0)})"
    return f" (flags {flags('FD_', call.result)})" if command == "F_GETFD" and call.result else ""
