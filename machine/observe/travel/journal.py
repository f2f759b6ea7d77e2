"""What a deterministic run is given from outside, in order: enough to run it again.

Two lists, each in a file that all processes of a session share: `calls`, the results of calls of the host (bytes that
were read, descriptors that were ready, ...), and `ticks`, the positions at which user code lost the processor.
A process reads what is there already, and adds when it has come to the end: then it lives.
"""

from __future__ import annotations

import os
import pickle
import struct
from typing import Any, BinaryIO, Optional

_LENGTH = struct.Struct("<I")
_TICK = struct.Struct("<q")
MAGIC = b"nopage recording 1\n"


class _Records:
    """One list; `at` is where this process is in it."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("nopage-journal", os.MFD_CLOEXEC)
        self.at = 0
        self._size = 0

    def ahead(self, count: int) -> bytes:
        """The next `count` bytes, fewer or none at the end."""
        if self.at + count > self._size:
            self._size = os.fstat(self.fd).st_size
        return os.pread(self.fd, count, self.at)

    def add(self, data: bytes) -> None:
        """At the end."""
        os.pwrite(self.fd, data, self.at)
        self.at += len(data)

    def cut(self) -> None:
        """Forget what comes after this process's place."""
        os.ftruncate(self.fd, self.at)

    def everything(self) -> bytes:
        """All that was ever added."""
        return os.pread(self.fd, os.fstat(self.fd).st_size, 0)


class Journal:
    """Both lists."""

    def __init__(self) -> None:
        self._calls, self._ticks = _Records(), _Records()

    @property
    def live(self) -> bool:
        """Nothing is known of what comes from outside next."""
        return not self._calls.ahead(1)

    def next_call(self) -> Optional[tuple[str, Any]]:
        """(name of the function, its result, an OSError's number as `Failed`), taken from the list; None at its end."""
        head = self._calls.ahead(_LENGTH.size)
        if not head:
            return None
        (length,) = _LENGTH.unpack(head)
        self._calls.at += _LENGTH.size
        data = os.pread(self._calls.fd, length, self._calls.at)
        self._calls.at += length
        name, result = pickle.loads(data)
        return name, result

    def add_call(self, name: str, result: Any) -> None:
        """What the host has answered."""
        data = pickle.dumps((name, result))
        self._calls.add(_LENGTH.pack(len(data)) + data)

    def next_tick(self) -> Optional[int]:
        """The position of the next tick, which stays in the list; None where it is not known."""
        data = self._ticks.ahead(_TICK.size)
        return _TICK.unpack(data)[0] if data else None

    def tick(self, position: int) -> None:
        """A tick is made at `position`: a known one, or a new one."""
        if self.next_tick() is None:
            self._ticks.add(_TICK.pack(position))
        else:
            self._ticks.at += _TICK.size

    def cut(self) -> None:
        """The future is to be another."""
        self._calls.cut()
        self._ticks.cut()

    # -- files ---------------------------------------------------------------------------------------

    def save(self, stream: BinaryIO, header: dict[str, Any]) -> None:
        """As a file for `load`; `header` says which run it was."""
        import json

        calls, ticks = self._calls.everything(), self._ticks.everything()
        head = json.dumps({**header, "calls": len(calls), "ticks": len(ticks)}).encode() + b"\n"
        stream.write(MAGIC + head + calls + ticks)


class Failed(int):
    """The number of an OSError."""


def load(path: str) -> tuple[dict[str, Any], Journal]:
    """(header, journal) of a file.  OSError; ValueError: it is none of ours."""
    import json

    with open(path, "rb") as stream:
        if stream.readline() != MAGIC:
            raise ValueError(f"{path} is no recording of nopage run --record")
        header: dict[str, Any] = json.loads(stream.readline())
        rest = stream.read()
    calls, ticks = int(header["calls"]), int(header["ticks"])
    if len(rest) != calls + ticks:
        raise ValueError(f"{path} is damaged")
    journal = Journal()
    for records, data in ((journal._calls, rest[:calls]), (journal._ticks, rest[calls:])):
        records.add(data)
        records.at = 0
    return header, journal
