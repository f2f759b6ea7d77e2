"""What a deterministic run is given from outside, in order: enough to run it again.

Three lists, each in a file that all processes of a session share: `calls`, the results of calls of the host (bytes that
were read, descriptors that were ready, ...), `ticks`, the positions at which user code lost the processor, and
`signals`, the keys of the terminal: each with how far the other two were when it was delivered, at a tick or after a
wait.  A process reads what is there already, and adds when it has come to the end: then it lives.
"""

from __future__ import annotations

import mmap
import os
import pickle
import struct
from typing import Any, BinaryIO, Optional

_LENGTH = struct.Struct("<I")
_TICK = struct.Struct("<q")
_SIGNAL = struct.Struct("<qqi")
MAGIC = b"nopage recording 2\n"
NOT_WHOLE = "no whole recording: it is damaged, or its end is missing; record it again"
_PIECE = 1 << 20


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

    def __len__(self) -> int:
        """Bytes that were ever added."""
        return os.fstat(self.fd).st_size

    def copy(self, stream: BinaryIO) -> None:
        """Write all of it, in pieces: it may be large."""
        for start in range(0, len(self), _PIECE):
            stream.write(os.pread(self.fd, _PIECE, start))


class Journal:
    """The lists."""

    def __init__(self) -> None:
        self._calls, self._ticks, self._signals = _Records(), _Records(), _Records()
        self._shared = mmap.mmap(-1, 1)

    @property
    def ended(self) -> bool:
        """The recorded run has ended where the lists do: nothing is to be added."""
        return self._shared[0] == 1

    @property
    def live(self) -> bool:
        """Nothing is known of what comes from outside next."""
        return not self._calls.ahead(1) and not self._ticks.ahead(1)

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

    def next_signal(self) -> Optional[int]:
        """The number of a signal that was delivered here, taken from the list."""
        data = self._signals.ahead(_SIGNAL.size)
        if not data:
            return None
        calls, ticks, signo = _SIGNAL.unpack(data)
        if (calls, ticks) != (self._calls.at, self._ticks.at):
            return None
        self._signals.at += _SIGNAL.size
        return int(signo)

    def add_signal(self, signo: int) -> None:
        """A signal is delivered here; the process lives."""
        self._signals.add(_SIGNAL.pack(self._calls.at, self._ticks.at, signo))

    def cut(self) -> None:
        """The future is to be another."""
        self._shared[0] = 0
        for each in (self._calls, self._ticks, self._signals):
            each.cut()

    # -- files ---------------------------------------------------------------------------------------

    def size(self) -> int:
        """Bytes of this computer's memory that the lists take; no process is charged for them."""
        return len(self._calls) + len(self._ticks) + len(self._signals)

    def save(self, stream: BinaryIO, header: dict[str, Any]) -> None:
        """As a file for `load`; `header` says which run it was."""
        import json

        lists = {"calls": self._calls, "ticks": self._ticks, "signals": self._signals}
        sizes = {name: len(each) for name, each in lists.items()}
        stream.write(MAGIC + json.dumps({**header, **sizes}).encode() + b"\n")
        for each in lists.values():
            each.copy(stream)


class Failed(int):
    """The number of an OSError."""


def load(path: str) -> tuple[dict[str, Any], Journal]:
    """(header, journal) of a file.  OSError; ValueError: it is none of ours."""
    import json

    with open(path, "rb") as stream:
        magic = stream.readline()
        if magic != MAGIC:
            other = " of this version" if magic.startswith(MAGIC.rstrip()[:-1]) else ""
            raise ValueError(f"no recording of nopage run --record{other}")
        try:
            header: dict[str, Any] = json.loads(stream.readline())
            sizes = [int(header[name]) for name in ("calls", "ticks", "signals")]
        except (ValueError, KeyError, TypeError):
            raise ValueError(NOT_WHOLE) from None
        rest = stream.read()
    if len(rest) != sum(sizes):
        raise ValueError(NOT_WHOLE)
    journal = Journal()
    journal._shared[0] = 1
    for records, size in zip((journal._calls, journal._ticks, journal._signals), sizes, strict=True):
        records.add(rest[:size])
        records.at, rest = 0, rest[size:]
    return header, journal
