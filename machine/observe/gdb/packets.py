"""The framing of gdb's remote protocol: ``$data#checksum``, acknowledgements, escapes, the interrupt byte."""

from __future__ import annotations

import re
import select
import socket
from typing import Optional, Union

MAX_PACKET = 0x20000
"""Bytes of a packet that we announce and send."""
_LIMIT = 4 * MAX_PACKET
"""More than this without an end is noise."""
_ESCAPED = re.compile(rb"[#$}*]")
_OPENINGS = b"+-$\x03"
_HTTP = b"HTTP/"
INTERRUPT = object()
"""Ctrl-C: one byte outside all packets."""

Item = Union[bytes, object]


class Gone(Exception):
    """The other end has closed the connection."""


def escape(data: bytes) -> bytes:
    """Binary data inside a packet: ``}`` and the byte xor 0x20."""
    return _ESCAPED.sub(lambda match: bytes((0x7D, match[0][0] ^ 0x20)), data)


def unescape(data: bytes) -> bytes:
    """The other way."""
    if b"}" not in data:
        return data
    out = bytearray()
    position = 0
    while position < len(data):
        byte = data[position]
        if byte == 0x7D and position + 1 < len(data):
            position += 1
            byte = data[position] ^ 0x20
        out.append(byte)
        position += 1
    return bytes(out)


class Link:
    """One connection.  `acknowledged` until QStartNoAckMode; `begun` when the other end has spoken as gdb does.

    A page in a browser can send bytes of its choice to any port of this computer, but behind a request of HTTP.
    """

    begun = False
    _noise = b""
    """The last bytes between packets."""

    def __init__(self, stream: socket.socket) -> None:
        self.stream = stream
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.setblocking(False)
        self.acknowledged = True
        self._buffer = bytearray()
        self._last = b""

    def fileno(self) -> int:
        return self.stream.fileno()

    def close(self) -> None:
        """Close the connection."""
        self.stream.close()

    def fill(self, timeout: float) -> bool:
        """Wait for bytes for at most `timeout` seconds; whether some came.  Gone."""
        try:
            if not select.select([self.stream], [], [], timeout)[0]:
                return False
            data = self.stream.recv(65536)
        except BlockingIOError:
            return False
        except (OSError, ValueError):
            raise Gone from None
        if not data:
            raise Gone
        self._buffer += data
        return True

    def begins(self) -> bool:
        """Whether something has come.  Gone when it is not what gdb says first."""
        if not self.begun and self._buffer:
            if self._buffer[0] not in _OPENINGS:
                raise Gone
            self.begun = True
        return self.begun

    def _skip(self, byte: int) -> None:
        """Between packets.  Gone when somebody speaks HTTP there."""
        self._noise = self._noise[1 - len(_HTTP) :] + bytes((byte,))
        if self._noise == _HTTP:
            raise Gone

    def next(self) -> Optional[Item]:
        """The next packet's data, `INTERRUPT`, or None while there is no whole one.  Gone.

        A packet whose checksum is wrong is asked for again; without acknowledgements it is dropped.
        """
        buffer = self._buffer
        while buffer and self.begins():
            first = buffer[0]
            if first == 0x03:
                del buffer[0]
                return INTERRUPT
            if first != 0x24:
                if first == 0x2D and self._last:  # "-": the last answer once more
                    self._write(self._last)
                self._skip(first)
                del buffer[0]
                continue
            end = buffer.find(b"#")
            if end < 0 or len(buffer) < end + 3:
                if len(buffer) > _LIMIT:
                    buffer.clear()
                    self._write(b"-")
                return None
            data, sum_text = bytes(buffer[1:end]), bytes(buffer[end + 1 : end + 3])
            del buffer[: end + 3]
            if not re.fullmatch(rb"[0-9a-fA-F]{2}", sum_text) or int(sum_text, 16) != sum(data) & 0xFF:
                if self.acknowledged:
                    self._write(b"-")
                continue
            if self.acknowledged:
                self._write(b"+")
            return data
        return None

    def send(self, data: bytes) -> None:
        """Send one packet, whose data is escaped already.  Gone."""
        self._last = b"$%s#%02x" % (data, sum(data) & 0xFF)
        self._write(self._last)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self.stream.send(view) :]
            except BlockingIOError:
                select.select([], [self.stream], [], 1.0)
            except OSError:
                raise Gone from None


def number(text: bytes) -> int:
    """A hexadecimal number of a packet, at least one digit, no sign.  ValueError."""
    if not re.fullmatch(rb"[0-9a-fA-F]{1,32}", text):
        raise ValueError(text)
    return int(text, 16)


def raw(text: bytes) -> bytes:
    """The bytes of pairs of hexadecimal digits.  ValueError."""
    if not re.fullmatch(rb"(?:[0-9a-fA-F]{2})*", text):
        raise ValueError(text)
    return bytes.fromhex(text.decode())


def hexed(data: bytes) -> bytes:
    """The other way."""
    return data.hex().encode()
