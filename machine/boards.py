"""Boards by name or file: their descriptions (TOML), and the cache of what their firmware left.

A description is firmware/boards/NAME.toml or a file of yours; its tables are explained in ldd3-pc.toml.
"""

from __future__ import annotations

import marshal
import os
from _blake2 import blake2b  # hashlib would load OpenSSL
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from machine import __version__
from machine.errors import ConfigError
from machine.hardware.board import Board, BoardError, PostState

if TYPE_CHECKING:
    from machine.boardfile import BoardFile

DEFAULT = "ldd3-pc"
_FORMAT = 1
"""Of what is kept; raised when the firmware would leave something else for the same files."""


def boards_directory() -> Path:
    """Where the boards that come with nopage are."""
    import firmware

    return firmware.BOARDS


def names() -> list[str]:
    """The boards that come with nopage."""
    return sorted(path.stem for path in boards_directory().glob("*.toml"))


def find(which: str) -> Path:
    """The file of a board: a name, or a path (with a ``/`` or ``.toml``).  ConfigError."""
    if "/" in which or which.endswith(".toml"):
        try:
            path = Path(which).resolve()
            there = path.is_file()
        except (OSError, RuntimeError, ValueError):  # links in a circle, a NUL
            there = False
        if not there:
            raise ConfigError(f"{which}: there is no such board file")
        return path
    path = boards_directory() / f"{which}.toml"
    if not path.is_file():
        from machine.options import did_you_mean

        raise ConfigError(f"there is no board '{which}'{did_you_mean(which, names())}; nopage boards lists them")
    return path


def load(which: Optional[str], ram: int, cached: bool = True) -> Board:
    """The board for a machine with `ram` bytes.  Its description is read when it is needed.  ConfigError."""
    path = find(which or DEFAULT)
    kept = _Kept(path, ram) if cached else None
    reader = _Reader(path)

    def keep(state: PostState) -> None:
        if kept is not None:
            kept.write(state, reader.read().files)

    return Board(path.stem, lambda: reader.read().layout, None if kept is None else kept.read(), keep)


def explain(error: BoardError, which: Optional[str]) -> ConfigError:
    """What a BoardError means to the author of the description: file and line."""
    path = find(which or DEFAULT)
    line = _Reader(path).read().line_of_slot(error.slot) if error.slot else 0
    return ConfigError(f"{path}:{line}: {error}" if line else f"{path}: {error}")


class _Reader:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: Optional[BoardFile] = None

    def read(self) -> BoardFile:
        from machine.boardfile import BoardFile

        if self._read is None:
            self._read = BoardFile(self._path)
        return self._read


class _Kept:
    """The state of one board with one size of RAM, in the user's cache; it counts while the board's files stay."""

    def __init__(self, path: Path, ram: int) -> None:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        name = blake2b(os.fsencode(path), digest_size=16).hexdigest()
        self._directory = os.path.join(base, "nopage", "boards")
        self._file = os.path.join(self._directory, f"{path.stem}-{name}-{ram >> 20}")

    def read(self) -> Optional[PostState]:
        """What is kept, or None: nothing, or files have changed since."""
        try:
            with open(self._file, "rb") as opened:
                head, files, *state = marshal.load(opened)
            if head != (_FORMAT, __version__) or any(_digest(path) != was for path, was in files):
                return None
            return PostState(*state)
        except (OSError, ValueError, EOFError, TypeError):
            return None

    def write(self, state: PostState, files: list[str]) -> None:
        """Keep it; a cache that can't be written is none."""
        content = marshal.dumps(((_FORMAT, __version__), [(path, _digest(path)) for path in files], *state))
        temporary = f"{self._file}.{os.getpid()}"
        try:
            if not os.environ.get("XDG_CACHE_HOME"):
                os.stat(os.path.expanduser("~"))  # a home that is not there is not ours to make
            os.makedirs(self._directory, exist_ok=True)
            with open(temporary, "wb") as opened:
                opened.write(content)
            os.replace(temporary, self._file)
        except OSError:
            pass


def _digest(path: str) -> bytes:
    with open(path, "rb") as opened:
        return blake2b(opened.read(), digest_size=16).digest()


def described(which: str) -> list[str]:
    """The lines of ``nopage boards NAME``: file, ROMs, buses, cards.  ConfigError."""
    from machine.boardfile import BoardFile

    path = find(which)
    board: Any = BoardFile(path)
    return [f"{path.stem}: {board.description}", f"file {path}", "", *board.summary()]
