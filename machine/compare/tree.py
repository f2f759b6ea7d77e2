"""Files: the copy that a program works on, and what it left there."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Union

from machine.errors import ConfigError

Files = Union[str, "os.PathLike[str]", Mapping[str, Union[str, bytes, None]], None]
"""A directory of the host, or names with contents (None: a directory)."""

MAX_BYTES, MAX_NAMES = 256 << 20, 20_000
"""More than that is not copied unasked: somebody forgot --files."""
KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}
EPOCH = 1_000_000_000
"""The times of files that are made from a mapping: 2001-09-09 01:46:40 UTC."""


@dataclass(frozen=True)
class Entry:
    """What is compared of one name."""

    kind: str
    mode: int
    size: int
    """Bytes of a file, else 0."""
    links: int
    """Names of a file, else 0."""
    digest: str
    """SHA-256 of a file's contents; the target of a symbolic link."""
    path: Path

    def same(self, other: Entry) -> bool:
        """Whether both are alike but for where they are."""
        return self.facts() == other.facts()

    def facts(self) -> tuple[object, ...]:
        """Everything but the place."""
        return self.kind, self.mode, self.size, self.links, self.digest


def populate(directory: Path, files: Files) -> None:
    """Fill the empty `directory`.  ConfigError when the source can't be copied."""
    if files is None:
        return
    if not isinstance(files, Mapping):
        _copy(Path(files), directory)
        return
    for name, content in files.items():
        path = directory / name
        if not path.resolve().is_relative_to(directory.resolve()):
            raise ConfigError(f"{name}: outside of the working directory")
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    for above, directories, names in os.walk(directory):
        for name in [*directories, *names]:
            os.utime(os.path.join(above, name), (EPOCH, EPOCH), follow_symlinks=False)
    os.utime(directory, (EPOCH, EPOCH))


def _copy(source: Path, directory: Path) -> None:
    if not source.is_dir():
        raise ConfigError(f"{source}: not a directory")
    size = count = 0
    for above, directories, names in os.walk(source):
        count += len(directories) + len(names)
        for name in names:
            size += os.lstat(os.path.join(above, name)).st_size
        if size > MAX_BYTES or count > MAX_NAMES:
            raise ConfigError(
                f"{source}: more than {MAX_BYTES >> 20} MiB or {MAX_NAMES} names; each side works on a copy: "
                "name a smaller directory with --files DIR, or use --no-files"
            )
    try:
        shutil.copytree(source, directory, symlinks=True, dirs_exist_ok=True, ignore=_not_copied)
    except (shutil.Error, OSError) as error:
        first = error.args[0][0][2] if isinstance(error, shutil.Error) else error
        raise ConfigError(f"{source}: can't be copied: {first}") from None


def _not_copied(directory: str, names: list[str]) -> set[str]:
    """Pipes and sockets: copying would wait for a writer."""
    usual = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)
    return {name for name in names if stat.S_IFMT(os.lstat(os.path.join(directory, name)).st_mode) not in usual}


def snapshot(directory: Path) -> dict[str, Entry]:
    """Everything below `directory`, by its path from there; ``.`` is the directory itself."""
    found = {".": _entry(directory)}
    for above, directories, names in os.walk(directory):
        for name in [*directories, *names]:
            path = Path(above) / name
            found[str(path.relative_to(directory))] = _entry(path)
    return found


def _entry(path: Path) -> Entry:
    info = path.lstat()
    kind = stat.S_IFMT(info.st_mode)
    digest = ""
    if kind == stat.S_IFREG:
        digest = _digest(path)
    elif kind == stat.S_IFLNK:
        digest = os.readlink(path)
    regular = kind == stat.S_IFREG
    return Entry(
        KINDS.get(kind, "something else"), stat.S_IMODE(info.st_mode), info.st_size if regular else 0,
        info.st_nlink if regular else 0, digest, path,
    )  # fmt: skip


def _digest(path: Path) -> str:
    total = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            while chunk := stream.read(1 << 20):
                total.update(chunk)
    except PermissionError:
        return "unreadable"
    return total.hexdigest()


def contents(entry: Optional[Entry]) -> bytes:
    """The bytes of a file, for showing; empty for anything else."""
    if entry is None or entry.kind != KINDS[stat.S_IFREG] or entry.digest == "unreadable":
        return b""
    return entry.path.read_bytes()
