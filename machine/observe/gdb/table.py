"""The commands of gdb's remote protocol by name, and what their handlers share.

A handler takes the server and what follows the name; it returns the answer, or None where that comes later.  ValueError
and its like are answered with E16 (EINVAL), Errno with its number.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Optional

from machine.kernel.abi.errno import ESRCH, Errno
from machine.observe.gdb.packets import number

if TYPE_CHECKING:
    from machine.kernel.task.task import Task
    from machine.observe.gdb.server import Server

Handler = Callable[["Server", bytes], Optional[bytes]]
COMMANDS: dict[bytes, Handler] = {}
OK = b"OK"
_NAME = re.compile(rb"[qQv][A-Za-z0-9-]*|[^qQv]", re.S)


def command(*names: str) -> Callable[[Handler], Handler]:
    """Register a handler."""

    def add(handler: Handler) -> Handler:
        for name in names:
            COMMANDS[name.encode()] = handler
        return handler

    return add


def find(packet: bytes) -> tuple[Optional[Handler], bytes]:
    """The handler of a packet, and what follows the command's name."""
    match = _NAME.match(packet)
    if match is None:
        return None, b""
    return COMMANDS.get(match[0]), packet[match.end() :]


def after(text: bytes, separator: bytes) -> bytes:
    """What follows the separator after a name; ValueError without it."""
    if not text.startswith(separator):
        raise ValueError(text)
    return text[1:]


def parse_thread(text: bytes) -> tuple[int, int]:
    """(process, thread) of ``p1.2``, ``1``, ``-1``; -1: all, 0: any."""

    def part(word: bytes) -> int:
        return -1 if word == b"-1" else number(word)

    if text.startswith(b"p"):
        process, _, thread = text[1:].partition(b".")
        return part(process), part(thread) if thread else -1
    return 0, part(text)


def find_thread(server: Server, text: bytes) -> Task:
    """The thread that is meant; any of its process for 0 and -1.  Errno(ESRCH)."""
    process, thread = parse_thread(text)
    current = server.general
    for task in server.control.threads(process if process > 0 else None):
        if thread in (task.pid, -1) or (thread == 0 and current in (None, task)):
            return task
    if thread == 0:
        return server.task() if process <= 0 else _first(server, process)
    raise Errno(ESRCH)


def _first(server: Server, process: int) -> Task:
    threads = server.control.threads(process)
    if not threads:
        raise Errno(ESRCH)
    return threads[0]
