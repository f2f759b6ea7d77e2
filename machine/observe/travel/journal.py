"""What a deterministic run is given from outside, in order: enough to run it again.

Three lists, each in a file that all processes of a session share: `calls`, the results of calls of the host (bytes that
were read, descriptors that were ready, ...), `ticks`, the positions at which user code lost the processor, and
`signals`, the keys of the terminal: each with how far the other two were when it was delivered, at a tick or after a
wait.  A process reads what is there already, and adds when it has come to the end: then it lives.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
import struct
from collections.abc import Callable
from typing import Any, BinaryIO, Optional

_LENGTH = struct.Struct("<I")
_TICK = struct.Struct("<q")
_SIGNAL = struct.Struct("<qqi")
MAGIC = b"nopage recording 5\n"
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
        return _call(data)

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

    def check(self) -> None:
        """Read all calls that are there, and stay at the first; some exception: a damaged one, or one not of ours."""
        try:
            while self.next_call() is not None:
                pass
        finally:
            self._calls.at = 0

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


class _Plain(pickle.Unpickler):
    """Makes what `add_call` writes and calls nothing else: a recording may come from anybody."""

    def find_class(self, module: str, name: str) -> Any:
        """Something new each time: a pickle can set attributes of what it finds, and ours are not for it."""
        if (module, name) == ("os", "stat_result"):
            return _stat_maker()
        if (module, name) == (Failed.__module__, Failed.__name__):
            return type(name, (Failed,), {})
        raise pickle.UnpicklingError(f"{module}.{name} is in no recording")


def _stat_maker() -> Callable[..., os.stat_result]:
    def made(*given: Any) -> os.stat_result:
        return os.stat_result(*given)

    return made


def _numbers(given: Any) -> bool:
    return isinstance(given, (list, tuple)) and all(isinstance(each, int) for each in given)


_ANSWERS: dict[str, Callable[[Any], bool]] = {
    "isatty": lambda given: isinstance(given, bool),
    "fstat": lambda given: isinstance(given, os.stat_result) and _numbers(given[:7]) and _numbers(_stamps(given)),
    "read": lambda given: isinstance(given, bytes),
    "pread": lambda given: isinstance(given, bytes),
    "write": lambda given: isinstance(given, int) and given >= 0,
    "_write": lambda given: isinstance(given, int) and given >= 0,
    "lseek": lambda given: isinstance(given, int) and given >= 0,
    "ftruncate": lambda given: given is None,
    "fsync": lambda given: given is None,
    "ioctl": lambda given: isinstance(given, (bytes, int)),
    "_local_modes": lambda given: isinstance(given, int),
    "_ask_poll": lambda given: isinstance(given, int),
    "_flags": lambda given: isinstance(given, int) and given >= 0,
    "_opened": lambda given: (
        isinstance(given, tuple) and len(given) == 3 and _numbers(given[:2]) and isinstance(given[2], str)
    ),
    "_select": lambda given: isinstance(given, tuple) and len(given) == 2 and all(map(_numbers, given)),
}
"""What the host may have answered: by the names of the functions that `Kernel.host` is called with."""


def _stamps(info: os.stat_result) -> list[int]:
    return [info.st_rdev, info.st_blocks, info.st_atime_ns, info.st_mtime_ns, info.st_ctime_ns]


def _call(data: bytes) -> tuple[str, Any]:
    """One that `add_call` has made these bytes of; some exception when it has not."""
    name, result = _Plain(io.BytesIO(data)).load()
    if isinstance(result, Failed):
        return str(name), Failed(int.__int__(result))
    fits = _ANSWERS.get(name)
    if fits is not None and not fits(result):
        raise ValueError(name)
    return str(name), result


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
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            raise ValueError(NOT_WHOLE) from None
        rest = stream.read()
    if len(rest) != sum(sizes) or min(sizes) < 0 or sizes[1] % _TICK.size or sizes[2] % _SIGNAL.size:
        raise ValueError(NOT_WHOLE)
    journal = Journal()
    journal._shared[0] = 1
    for records, size in zip((journal._calls, journal._ticks, journal._signals), sizes, strict=True):
        records.add(rest[:size])
        records.at, rest = 0, rest[size:]
    try:
        journal.check()
    except Exception:  # bytes that are no pickle can raise nearly anything; all of it means the same
        raise ValueError(NOT_WHOLE) from None
    return header, journal
