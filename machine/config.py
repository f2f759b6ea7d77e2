"""A machine described in words: the texts of options, and what they mean."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Optional

from machine.records import field, record

if TYPE_CHECKING:
    from machine.machine import Machine

KiB, MiB, GiB = 1 << 10, 1 << 20, 1 << 30
_UNITS = {"": 1, "k": KiB, "m": MiB, "g": GiB, "t": 1 << 40}
NO_LIMIT = 1 << 62
MAX_OUTPUT, MAX_TRACE = 16 * GiB, 4 * GiB
"""Bytes that programs may write to our standard output and error, and that each file with a trace may take."""
OBJECTS = 512 * MiB
"""What the kernel's objects may take at least, besides RAM."""
MIN_RAM, MAX_RAM, RAM_STEP = 16 * MiB, 16 * GiB, 2 * MiB

SYSTEM_DIRECTORIES = ("bin", "lib", "lib32", "lib64", "libx32", "sbin", "usr")
"""Directories of the host that the guest sees without being asked for."""


def format_size(size: int) -> str:
    """Bytes for a person: ``512M``, ``1G``, ``1000 bytes``."""
    for unit, value in (("G", GiB), ("M", MiB), ("K", KiB)):
        if size >= value and size % value == 0:
            return f"{size // value}{unit}"
    return f"{size} bytes"


def parse_size(text: str) -> int:
    """Bytes of ``64M``, ``1G``, ``512MiB``, ``65536``: units are powers of 1024.  ValueError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", text.strip().lower())
    if match is None:
        raise ValueError(f"'{text}' is not a size; write it like 64M, 512MiB or 1G")
    return int(float(match[1]) * _UNITS[match[2]])


def parse_ram(text: str) -> int:
    """The size of RAM: 16M to 16G, a multiple of 2M.  ValueError says what is wrong."""
    size = parse_size(text)
    if not MIN_RAM <= size <= MAX_RAM:
        hint = f"; did you mean {text}M?" if text.isdigit() and MIN_RAM <= int(text) * MiB <= MAX_RAM else ""
        raise ValueError(f"{format_size(size)} of RAM is out of range: 16M to 16G{hint}")
    if size % RAM_STEP:
        near = format_size(max(MIN_RAM, size // RAM_STEP * RAM_STEP))
        raise ValueError(f"{text} of RAM is not a multiple of 2M; the next below is {near}")
    return size


def parse_bind(text: str) -> tuple[str, str, bool]:
    """(host path, guest path, writable) of ``HOST:GUEST[:rw|:ro]``.  ValueError."""
    parts = text.split(":")
    mode = parts.pop() if len(parts) > 2 and parts[-1] in ("rw", "ro") else "ro"
    if len(parts) != 2 or not all(parts):
        raise ValueError(f"'{text}' is not HOST:GUEST or HOST:GUEST:rw")
    host, guest = parts
    if not guest.startswith("/"):
        raise ValueError(f"'{guest}' in '{text}': the guest's path must start with /")
    return host, guest, mode == "rw"


def parse_user(text: str) -> tuple[int, int]:
    """(uid, gid) of ``UID[:GID]``, numbers; the gid is the uid unless given.  ValueError."""
    match = re.fullmatch(r"(\d+)(?::(\d+))?", text)
    if match is None:
        raise ValueError(f"'{text}' is not UID or UID:GID in numbers, like 1000:1000")
    uid, gid = int(match[1]), int(match[2] or match[1])
    if max(uid, gid) >= 0xFFFF_FFFF:
        raise ValueError(f"'{text}': user and group numbers have 32 bits")
    return uid, gid


def parse_env(text: str) -> tuple[str, Optional[str]]:
    """(name, value) of ``NAME=VALUE``, (name, None) of ``-NAME``.  ValueError."""
    if text.startswith("-") and len(text) > 1 and "=" not in text:
        return text[1:], None
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"'{text}' is not NAME=VALUE (set it) or -NAME (remove it)")
    return name, value


def parse_seconds(text: str) -> float:
    """A positive time in seconds.  ValueError."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 1e9:
        raise ValueError(f"'{text}' is not a time in seconds, like 10 or 0.5")
    return seconds


def parse_tasks(text: str) -> int:
    """How many tasks: 1 to 32767.  ValueError."""
    if not text.isdigit() or not 1 <= int(text) < 32768:
        raise ValueError(f"'{text}' is not a number of tasks, 1 to 32767")
    return int(text)


def parse_ticks(text: str) -> int:
    """How many ticks of user code: 1 and more.  ValueError."""
    if not (text.isascii() and text.isdigit()) or not int(text):
        raise ValueError(f"'{text}' is not a number of ticks, 1 and more")
    return int(text)


def parse_screen(text: str) -> str:
    """A file for pictures of the screen, by its name a PNG or a GIF.  ValueError."""
    if not text.lower().endswith((".png", ".gif")):
        raise ValueError(f"'{text}' is not FILE.png or FILE.gif")
    return text


def parse_every(text: str) -> int:
    """Milliseconds of ``40``, ``40ms`` or ``2s``, up to an hour.  ValueError."""
    match = re.fullmatch(r"([0-9]{1,7})(ms|s|)", text)
    every = int(match[1]) * (1000 if match[2] == "s" else 1) if match else 0
    if not 1 <= every <= 3_600_000:
        raise ValueError(f"'{text}' is not a time from 1ms to 3600s, like 40 (milliseconds), 40ms or 2s")
    return every


def parse_port(text: str) -> int:
    """A port of TCP, 0 for any that is free.  ValueError."""
    if not (text.isascii() and text.isdecimal() and int(text) <= 65535):
        raise ValueError(f"'{text}' is not a port, 1 to 65535")
    return int(text)


def parse_limit(text: str) -> int:
    """A size of at least one byte, or ``none``: as good as none.  ValueError."""
    size = NO_LIMIT if text == "none" else parse_size(text)
    if not size:
        raise ValueError(f"'{text}' is no limit to work with; none means that there is none")
    return size


def parse_memory(text: str) -> int:
    """What nopage itself may take: 256M at least, or ``none``.  ValueError."""
    size = parse_limit(text)
    if size < 256 * MiB:
        raise ValueError(f"{format_size(size)} is too little for nopage itself: 256M at least, and more than --ram")
    return size


def parse_gdb(text: str) -> tuple[str, int, bool]:
    """(host, port, wait) of ``[HOST:]PORT[,nowait]``; without a host this computer alone can connect.  ValueError."""
    where, comma, mode = text.partition(",")
    host, _, port = where.rpartition(":")
    if (comma and mode != "nowait") or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"'{text}' is not [HOST:]PORT or [HOST:]PORT,nowait, like 1234")
    return host.strip("[]") or "127.0.0.1", int(port), not comma


def _resident() -> int:
    """Bytes that this process has already: a machine can be made in a large one."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) << 12
    except OSError:
        return 0


@record
class MachineConfig:
    """What `Machine` is to be built with."""

    ram: int = 512 * MiB
    root: Optional[str] = None
    binds: list[tuple[str, str, bool]] = field(default_factory=list)
    devices: list[str] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)
    """Drivers that the guest may load, by path."""
    max_tasks: Optional[int] = None
    max_memory: Optional[int] = None
    """Bytes of the host for all of nopage; None: RAM, as much again for the kernel's objects, and for nopage itself."""
    max_output: Optional[int] = None
    max_trace: Optional[int] = None
    """All cores together, here; the session's files have it each."""
    board: Optional[str] = None
    """A board by name or file."""
    reload: bool = False
    deterministic: bool = False
    batch_faults: bool = True
    user: tuple[int, int] = (0, 0)
    env: list[tuple[str, Optional[str]]] = field(default_factory=list)
    """Changes to the usual environment, in order: (name, value), or None to remove it."""
    usual_env: Optional[Mapping[str, str]] = None
    """None: what `default_environment` gives."""
    export: Optional[str] = None
    patience: Optional[float] = None
    """Seconds for what drivers and models do outside of programs."""
    core: Optional[str] = None
    """Directory for cores, perhaps with a pattern for their names."""

    def environment(self, usual: Mapping[str, str]) -> dict[str, str]:
        """The guest's environment: `usual` with the changes."""
        result = dict(usual)
        for name, value in self.env:
            if value is None:
                result.pop(name, None)
            else:
                result[name] = value
        return result

    def place(self, programs: Sequence[str]) -> list[str]:
        """Make programs of the host that the guest would not see visible, each as a read-only bind of that one file.

        Returns the names to start them by: as given, but for a program of the host under ``-L``.
        """
        return [self._place(program) for program in programs]

    def _place(self, program: str) -> str:
        if "/" not in program:
            return program
        here = os.path.abspath(program)
        if self.root is not None:
            if os.path.lexists(os.path.join(self.root, here.lstrip("/"))) or not os.path.isfile(here):
                return program
        elif self._visible(here) or not os.path.isfile(here):
            return program
        bind = (here, here, False)
        if bind not in self.binds:
            self.binds.append(bind)
        return program if self.root is None else here

    def _visible(self, path: str) -> bool:
        """Whether the guest sees a path of the host without `root`: a system directory, the current one, a bind."""
        trees = [f"/{name}" for name in SYSTEM_DIRECTORIES] + [guest.rstrip("/") for _, guest, _ in self.binds]
        cwd = os.getcwd()
        if cwd != "/":
            trees.append(cwd)
        return any(path.startswith(tree + "/") for tree in trees)

    def build(self) -> Machine:
        """The machine.  ConfigError."""
        from machine.defaults import default_environment
        from machine.machine import Machine

        return Machine(
            ram=self.ram,
            root=self.root,
            binds=self.binds,
            devices=self.devices,
            modules=self.modules,
            board=self.board,
            reload=self.reload,
            deterministic=self.deterministic,
            batch_faults=self.batch_faults,
            user=self.user,
            env=self.environment(default_environment() if self.usual_env is None else self.usual_env),
            export=self.export,
            core=self.core,
            patience=self.patience,
            interruptible=not self.deterministic,
            max_tasks=self.max_tasks,
            max_memory=self.max_memory or _resident() + self.ram + max(self.ram, OBJECTS) + OBJECTS // 4,
            max_output=self.max_output or MAX_OUTPUT,
            max_cores=self.max_trace or MAX_TRACE,
        )
