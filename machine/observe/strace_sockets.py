"""How strace prints what calls of sockets and System V objects take: addresses, messages, options, keys."""

from __future__ import annotations

import struct
from typing import Optional

from machine.observe.strace_args import ARRAY_LIMIT, Call, buffer, decoder, pointer, quote
from machine.observe.strace_flags import BITS, VALUES, flags, join_bits

AF_UNIX, SOL_SOCKET, SCM_RIGHTS, SCM_CREDENTIALS, SO_PEERCRED = 1, 1, 1, 2, 17
_TIMEOUTS, _LINGER = (20, 21), 13
_SOCKOPT_SHOWN = 16
"""Bytes of the longest option: a timeout of x86-64."""


# -- addresses ---------------------------------------------------------------------------------------


def sockaddr(data: bytes) -> str:
    """``{sa_family=AF_UNIX, sun_path="/tmp/x"}``; an abstract name has an @ before its quotes."""
    if len(data) < 2:
        return pointer(0) if not data else quote(data, in_hex=True)
    family = int.from_bytes(data[:2], "little")
    text = f"{{sa_family={flags('AF_', family)}"
    name = data[2:]
    if family == AF_UNIX and name:
        if name[0]:
            path, _, _ = name.partition(b"\0")
            text += f", sun_path={quote(path)}"
        else:
            text += f", sun_path=@{quote(name[1:])}"
    elif name:
        text += f", sa_data={quote(name)}"
    return text + "}"


@decoder("sockaddr")
def _sockaddr(call: Call, index: int) -> str:
    """Its length is the next argument."""
    address, length = call.values[index], call.values[index + 1]
    if not address or length < 2:
        return pointer(address)
    data = call.memory(address, min(length, 128))
    return sockaddr(data) if len(data) == min(length, 128) else pointer(address)


@decoder("sockaddr>")
def _sockaddr_out(call: Call, index: int) -> str:
    """Its length is behind the next argument: what there was room for, and what the kernel gave."""
    address, length = call.values[index], _socklen(call, index + 1)
    if not address or length is None:
        return pointer(address)
    room = call.saved.get(index + 1, length)
    return sockaddr(call.memory(address, min(room, length, 128))) if min(room, length) >= 2 else pointer(address)


def _socklen(call: Call, index: int) -> Optional[int]:
    data = call.memory(call.values[index], 4) if call.values[index] else b""
    return int.from_bytes(data, "little") if len(data) == 4 else None


@decoder("socklen>")
def _socklen_out(call: Call, index: int) -> str:
    """``[110 => 9]``, or one number when the kernel left it."""
    after = _socklen(call, index)
    if after is None:
        return pointer(call.values[index])
    before = call.saved.get(index, after)
    return f"[{before}]" if before == after else f"[{before} => {after}]"


def remember(call: Call) -> None:
    """When a call begins: the lengths that it will replace."""
    for index, kind in enumerate(call.types):
        if kind == "ptr:socklen>":
            length = _socklen(call, index)
            if length is not None:
                call.saved[index] = length
        elif kind == "ptr:msghdr>":
            header = _header(call, call.values[index])
            if header is not None:
                call.saved[index] = header[1]


# -- types and options --------------------------------------------------------------------------------


@decoder("SOCK_")
def _type(call: Call, index: int) -> str:
    """The type of a socket with its flags."""
    value = call.values[index]
    kind = VALUES["SOCK_TYPE_"].get(value & 0xF, f"{value & 0xF:#x} /* SOCK_??? */")
    return join_bits(value & ~0xF, BITS["SOCKF_"], kind)


@decoder("sockopt", "sockopt>")
def _sockopt(call: Call, index: int) -> str:
    """Numbers, but for SO_PEERCRED, SO_LINGER and the timeouts."""
    level, name = call.values[index - 2 : index]
    length = call.values[index + 1] if call.name == "setsockopt" else _socklen(call, index + 1) or 0
    shown = min(length, _SOCKOPT_SHOWN)
    data = call.memory(call.values[index], shown)
    if level != SOL_SOCKET or len(data) < max(1, shown):
        return pointer(call.values[index])
    if name == SO_PEERCRED and length == 12:
        return _ucred(data)
    if name == _LINGER and length >= 8:
        return "{{l_onoff={}, l_linger={}}}".format(*struct.unpack_from("<ii", data))
    if name in _TIMEOUTS and length >= call.abi.timeval.size:
        seconds, us = call.abi.timeval.unpack_from(data)
        return f"{{tv_sec={seconds}, tv_usec={us}}}"
    if length < 4:
        return pointer(call.values[index])
    return f"[{int.from_bytes(data[:4], 'little', signed=True)}]"


def _ucred(data: bytes) -> str:
    return "{{pid={}, uid={}, gid={}}}".format(*struct.unpack("<iii", data))


@decoder("IPC_KEY")
def _ipc_key(call: Call, index: int) -> str:
    """The key of a System V object."""
    key = call.values[index]
    return f"{key & 0xFFFFFFFF:#x}" if key else "IPC_PRIVATE"


@decoder("IPC_GET")
def _ipc_get(call: Call, index: int) -> str:
    """IPC_CREAT, IPC_EXCL and the mode."""
    value = call.values[index]
    mode = f"{value & 0o777:#05o}".replace("0o", "0") if value & 0o777 > 0o77 else f"0{value & 0o777:02o}"
    names = join_bits(value & ~0o777, {0o1000: "IPC_CREAT", 0o2000: "IPC_EXCL"})
    return mode if names == "0" else f"{names}|{mode}"


# -- messages -----------------------------------------------------------------------------------------


def _header(call: Call, address: int) -> Optional[tuple[int, ...]]:
    """The seven fields of `struct msghdr`."""
    layout = struct.Struct("<QI4xQQQQI4x" if call.abi.bits == 64 else "<IIIIIII")
    data = call.memory(address, layout.size)
    return layout.unpack(data) if len(data) == layout.size else None


def _control(call: Call, address: int, length: int) -> str:
    head = struct.Struct("<Qii" if call.abi.bits == 64 else "<Iii")
    data = call.memory(address, min(length, 4096))
    word, shown, at = call.abi.word, [], 0
    while at + head.size <= len(data):
        size, level, kind = head.unpack_from(data, at)
        if size < head.size:
            break
        body = data[at + head.size : at + size]
        text = f"cmsg_len={size}, cmsg_level={flags('SOL_', level)}, cmsg_type="
        text += flags("SCM_", kind) if level == SOL_SOCKET else f"{kind:#x}"
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            fds = [str(fd) for (fd,) in struct.iter_unpack("<i", body[: len(body) & ~3])]
            text += f", cmsg_data=[{', '.join(fds)}]"
        elif level == SOL_SOCKET and kind == SCM_CREDENTIALS and len(body) == 12:
            text += f", cmsg_data={_ucred(body)}"
        elif body:
            text += f", cmsg_data={quote(body, in_hex=True)}"
        shown.append("{" + text + "}")
        at += size + word - 1 & -word
    return "[" + ", ".join(shown) + "]" if shown else pointer(address)


def _message(call: Call, index: int, data_limit: int) -> str:
    header = _header(call, call.values[index])
    if header is None:
        return pointer(call.values[index])
    name, namelen, iov, iovlen, control, controllen, bits = header
    room = call.saved.get(index, namelen)
    shown = sockaddr(call.memory(name, min(room, namelen, 128))) if name and namelen >= 2 else pointer(name)
    length = str(namelen) if room == namelen else f"{room} => {namelen}"
    words, vectors = call.words(iov, 2 * min(iovlen, ARRAY_LIMIT)), []
    for base, size in zip(words[::2], words[1::2], strict=False):
        have = min(size, data_limit)
        data_limit -= have
        vectors.append(f"{{iov_base={buffer(call, base, have)}, iov_len={size}}}")
    text = f"{{msg_name={shown}, msg_namelen={length}, msg_iov={'[' + ', '.join(vectors) + ']' if iov else 'NULL'}"
    text += f", msg_iovlen={iovlen}"
    if controllen:
        text += f", msg_control={_control(call, control, controllen) if control else 'NULL'}"
    return f"{text}, msg_controllen={controllen}, msg_flags={flags('MSG_', bits)}}}"


@decoder("msghdr")
def _msghdr(call: Call, index: int) -> str:
    return _message(call, index, 1 << 62)


@decoder("msghdr>")
def _msghdr_out(call: Call, index: int) -> str:
    """As much of the data as came; of a call that failed the room for the name."""
    if call.failed:
        header = _header(call, call.values[index])
        return pointer(call.values[index]) if header is None else f"{{msg_namelen={header[1]}}}"
    return _message(call, index, call.result or 0)


# -- socketcall -----------------------------------------------------------------------------------------

_CALLS = ("socket", "bind", "connect", "listen", "accept", "getsockname", "getpeername", "socketpair", "send", "recv",
          "sendto", "recvfrom", "shutdown", "setsockopt", "getsockopt", "sendmsg", "recvmsg", "accept4", "recvmmsg",
          "sendmmsg")  # fmt: skip


def socketcall(call: Call) -> list[str]:
    """``socketcall(SYS_BIND, [3, 0x…, 16])``: i386's one call for all; the words are shown as they are."""
    number, block = call.values
    if not 1 <= number <= len(_CALLS):
        return [str(number), pointer(block)]
    count = (3, 3, 3, 2, 3, 3, 3, 4, 4, 4, 6, 6, 2, 5, 5, 3, 3, 4, 5, 4)[number - 1]
    words = ", ".join(f"{word:#x}" if word > 0xFFFF else str(word) for word in call.words(block, count))
    return [f"SYS_{_CALLS[number - 1].upper()}", f"[{words}]"]
