"""What is hostile -> what runs one seed of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tests.fuzz.boards import fuzz_boards
from tests.fuzz.calls import fuzz_calls
from tests.fuzz.devices import fuzz_devices
from tests.fuzz.elf import fuzz_elf
from tests.fuzz.findings import Findings
from tests.fuzz.gdb import fuzz_gdb
from tests.fuzz.options import fuzz_options


def _calls(seed: int, target: str) -> Findings:
    return fuzz_calls(seed, target=target, deterministic=seed % 2 == 0)


KINDS: dict[str, Callable[[int], Findings]] = {
    "calls": partial(_calls, target="x86_64"),
    "calls32": partial(_calls, target="i386"),
    "elf": fuzz_elf,
    "options": fuzz_options,
    "gdb": fuzz_gdb,
    "boards": fuzz_boards,
    "devices": partial(fuzz_devices, what="devices"),
    "ioctl": partial(fuzz_devices, what="ioctl"),
}
MAY_GROW = {"options": 1 << 40}
"""Bytes that a kind may keep: a command line is one for its process, whose end frees what it has."""
