"""System calls: a file a family, one table.

A family is imported when one of its calls is first made: most programs use few of them, and all must start quickly.
"""

from __future__ import annotations

import importlib
from typing import Optional

from machine.kernel.syscalls.index import FAMILIES
from machine.kernel.syscalls.table import ROWS, Syscall

FAMILY_OF = {name: family for family, names in FAMILIES.items() for name in names.split()}
"""Name of a call -> the module that declares it."""


class SyscallTable(dict[int, Optional[Syscall]]):
    """Number -> row, None for what is not implemented; a row is looked for when its number is first used."""

    def __init__(self, abi: str) -> None:
        self.abi = abi
        self._names: dict[int, str] = {}

    def name(self, number: int) -> Optional[str]:
        """The call's name, implemented or not; None when the ABI has no such number."""
        if not self._names:
            unistd = importlib.import_module(f"machine.kernel.abi.unistd_{'64' if self.abi == 'x86_64' else '32'}")
            self._names = {number: name for name, number in unistd.NUMBERS.items()}
        return self._names.get(number)

    def __missing__(self, number: int) -> Optional[Syscall]:
        name = self.name(number)
        if name is None:
            return None  # any 32 bits may come: they are not kept
        family = FAMILY_OF.get(name)
        if family is not None:
            importlib.import_module(f"{__name__}.{family}")
        row = self[number] = ROWS[self.abi].get(name)
        return row


def load_families() -> None:
    """Import every family, so that its rows are in `ROWS`."""
    for family in FAMILIES:
        importlib.import_module(f"{__name__}.{family}")
