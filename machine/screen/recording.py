"""--screen and --screen-every: pictures of the screen while a session runs, and at its end."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Optional

from machine.errors import ConfigError
from machine.screen import Picture, Screen
from machine.screen.files import Frame, save, save_animation, to_png

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.timerqueue import Timer

_MS = 1_000_000


class Recording:
    """The file of --screen: the last picture, or with `every_ms` all that differ from the one before.

    `begin` is called when a program starts, `end` when the last one has ended and the drivers are still there.
    ConfigError: there is no display, or the file can't be written.
    """

    def __init__(self, kernel: Kernel, path: str, every_ms: Optional[int], say: Callable[[str], None]) -> None:
        self._kernel = kernel
        self._path = path
        self._every = every_ms
        self._say = say
        self._screen = Screen(kernel)
        self._frames: list[tuple[int, bytes]] = []
        """When each was there first (nanoseconds of the machine's clock), and its PNG."""
        self._timer: Optional[Timer] = None
        self._shots = 0
        self._ended = False
        if not self._screen.there:
            raise ConfigError(f"--screen {path}: the board has no display; nopage boards shows what is on each")
        try:
            with open(path, "ab"):
                pass
        except OSError as error:
            raise ConfigError(f"--screen {path}: {error.strerror}") from None

    # -- the frames of --screen-every ------------------------------------------------------------

    def begin(self) -> None:
        """A program is about to run: the clock goes on."""
        if self._every is not None and self._timer is None:
            self._take()

    def _take(self) -> None:
        self._timer = None
        kernel = self._kernel
        now = kernel.clock.monotonic_ns()
        picture = self._screen.changed()
        if picture is not None:
            self._frames.append((now, to_png(picture)))
        assert self._every is not None
        if not kernel.sched.is_stuck():  # else our timer would keep the machine waiting for ever
            self._timer = kernel.sched.call_at(now + self._every * _MS, self._take)

    # -- single pictures ---------------------------------------------------------------------------

    def shoot(self) -> None:
        """On demand (SIGUSR1): one picture beside the file, FILE-1.png, FILE-2.png and so on."""
        picture = self._screen.look()
        assert picture is not None
        self._shots += 1
        stem, suffix = os.path.splitext(self._path)
        self._write(lambda path: save(picture, path), f"{stem}-{self._shots}{suffix}")

    def end(self) -> None:
        """Write the file; once."""
        if self._ended:
            return
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        picture = self._screen.look()
        assert picture is not None
        if self._every is None:
            self._write(lambda path: save(picture, path), self._path)
        else:
            self._write(lambda path: save_animation(self._timed(picture), path), self._path)

    close = end

    def _timed(self, last: Picture) -> list[Frame]:
        """The frames with how long each was there; the last one, of the end, at least a millisecond."""
        now = self._kernel.clock.monotonic_ns()
        if self._screen.changed() is not None:
            self._frames.append((now, to_png(last)))
        times = [when for when, _ in self._frames] + [now]
        spans = [after - when for when, after in pairwise(times)]
        return [Frame(max(1, round(span / _MS)), png) for span, (_, png) in zip(spans, self._frames, strict=True)]

    def _write(self, write: Callable[[str], None], path: str) -> None:
        try:
            write(path)
        except OSError as error:
            self._say(f"nopage: --screen {path}: {error.strerror or error}")
