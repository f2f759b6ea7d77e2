"""Snapshots: forks of the whole process that wait until somebody wants the machine as it was then.

The state of a machine can't be copied inside one process: a task's kernel stack is a greenlet in the middle of Python
code.  A fork copies everything, and the host shares what neither side writes.  A snapshot is never used up: it forks
itself again for each request.  It listens on a socket in the session's directory, and ends when the session's
supervisor does, by the end of a pipe.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import select
import signal
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Optional

from machine.observe.travel.timeline import Place

LIMIT = 16
"""Snapshots that are kept."""
LOW_MEMORY = 0.1
"""No more than a few while less than this part of the host's memory is available."""
FEW = 4
PATIENCE = 60
"""Seconds that an answer may take."""
ALIVE = 0.5
"""Seconds after which somebody who waits is told that it takes longer."""
_LENGTH = struct.Struct("<I")
_PR_SET_PDEATHSIG = 1
_REAP = 1000
"""Milliseconds between two looks for children that have ended."""


class Base(NamedTuple):
    """What a session's processes share."""

    directory: str
    life: int
    """Descriptor of a pipe that ends with the supervisor."""
    became: Callable[[], None]
    """Tells the supervisor that this process is the machine now."""


class Taken(NamedTuple):
    """One snapshot."""

    place: Place
    seq: int
    path: str


def send(stream: socket.socket, value: Any) -> None:
    """One message."""
    data = pickle.dumps(value)
    stream.sendall(_LENGTH.pack(len(data)) + data)


def receive(stream: socket.socket) -> Any:
    """The next one; EOFError."""
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    return pickle.loads(_exactly(stream, length))


def _exactly(stream: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = stream.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def die_with_parent() -> None:
    """SIGKILL for this process when its parent ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Snapshots:
    """Those that this process knows, oldest first; `flush` empties what views have in their buffers."""

    def __init__(self, base: Base, flush: Callable[[], None]) -> None:
        self.base = base
        self.taken: list[Taken] = []
        self.origin: Optional[str] = None
        """The snapshot that this process was forked from: it lives as long as we."""
        self.waiting: Callable[[], None] = lambda: None
        """Called now and then while an answer takes its time."""
        self._flush = flush

    def take(self, place: Place, seq: int) -> Optional[tuple[dict[str, Any], socket.socket]]:
        """None at once; and in another process, later, again and again, (request, the socket for the answer)."""
        if any(each.place == place for each in self.taken):
            return None
        path = os.path.join(self.base.directory, f"{place.number}.{place.position}")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(path)
        listener.listen(8)
        self._flush()
        self.taken.append(Taken(place, seq, path))
        if os.fork():
            listener.close()
            self._thin()
            return None
        return self._wait(listener, path)

    def _wait(self, listener: socket.socket, path: str) -> tuple[dict[str, Any], socket.socket]:
        blocked = signal.pthread_sigmask(signal.SIG_SETMASK, set(signal.Signals))
        poller = select.poll()
        poller.register(listener, select.POLLIN)
        poller.register(self.base.life, 0)
        while True:
            ready = dict(poller.poll(_REAP))
            self._reap()
            if self.base.life in ready:
                os._exit(0)
            if listener.fileno() not in ready:
                continue
            stream, _ = listener.accept()
            try:
                request = receive(stream)
            except (EOFError, pickle.UnpicklingError):
                stream.close()
                continue
            request["descriptors"] = socket.recv_fds(stream, 1, 8)[1] if request.get("passes") else []
            if request["do"] == "end":
                os._exit(0)
            parent = os.getpid()
            if os.fork() == 0:
                die_with_parent()
                if os.getppid() != parent:
                    os._exit(0)
                listener.close()
                self.origin = path
                signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
                return request, stream
            stream.close()
            for each in request["descriptors"]:
                os.close(each)

    @staticmethod
    def _reap() -> None:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass

    def ask(self, snapshot: Taken, request: dict[str, Any], descriptors: Sequence[int] = ()) -> Any:
        """The answer of a fork of a snapshot, which gets `descriptors`.  OSError, EOFError: it could not."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
            stream.settimeout(PATIENCE)
            stream.connect(snapshot.path)
            send(stream, {**request, "passes": bool(descriptors)})
            if descriptors:
                socket.send_fds(stream, [b"x"], list(descriptors))
            for _ in range(int(PATIENCE / ALIVE)):
                if select.select([stream], [], [], ALIVE)[0]:
                    break
                self.waiting()
            return receive(stream)

    def before(self, place: Place) -> list[Taken]:
        """Those from which a place can be reached, the newest first."""
        return [each for each in reversed(self.taken) if each.place <= place]

    # -- how many ------------------------------------------------------------------------------------

    def _thin(self) -> None:
        limit = FEW if _memory_available() < LOW_MEMORY else LIMIT
        while len(self.taken) > limit:
            self.end(self._superfluous())

    def _superfluous(self) -> Taken:
        """The one whose absence makes the smallest gap, measured by how long ago it was."""
        now = self.taken[-1].place.number + 1
        inner = [index for index in range(1, len(self.taken) - 1) if self.taken[index].path != self.origin]
        numbers = [each.place.number for each in self.taken]
        best = min(inner, key=lambda i: (numbers[i + 1] - numbers[i - 1]) / (now - numbers[i]))
        return self.taken[best]

    def end(self, snapshot: Taken) -> None:
        """Let one go."""
        self.taken.remove(snapshot)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
                stream.connect(snapshot.path)
                send(stream, {"do": "end"})
            os.unlink(snapshot.path)
        except OSError:  # it is gone already
            pass

    def forget_future(self, place: Place) -> None:
        """What comes after `place` will be another: its snapshots go."""
        for each in [each for each in self.taken if each.place > place and each.path != self.origin]:
            self.end(each)


def _memory_available() -> float:
    found = {}
    with open("/proc/meminfo") as lines:
        for line in lines:
            name, _, rest = line.partition(":")
            if name in ("MemTotal", "MemAvailable"):
                found[name] = int(rest.split()[0])
    return found.get("MemAvailable", 1) / max(1, found.get("MemTotal", 1))
