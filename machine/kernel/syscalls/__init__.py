"""System calls: a file a family, one table."""

from __future__ import annotations

import importlib
import pkgutil

from machine.kernel.syscalls.table import Syscall, by_number

_loaded = False


def load_families() -> None:
    """Import every family once, so that its rows are in the table."""
    global _loaded
    if not _loaded:
        for module in pkgutil.iter_modules(__path__):
            importlib.import_module(f"{__name__}.{module.name}")
        _loaded = True


def load_table(numbers: dict[str, int], abi: str) -> dict[int, Syscall]:
    """number -> row of every call that is implemented in `abi`."""
    load_families()
    return by_number(numbers, abi)
