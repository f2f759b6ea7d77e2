"""A machine's cores: what decides about them is loaded when a program dies that may have one."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional

from machine.errors import ConfigError
from machine.kernel.abi.resource import RLIM_INFINITY, RLIMIT_CORE

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.siginfo import siginfo
    from machine.kernel.task.task import Task

HOST_PATTERN = "core.%e.%p"
"""What cores in a directory of the host are called."""


class Cores:
    """`kernel.coredump`.  `where` is a directory of the host, perhaps with a pattern for the names as its last
    component, or None: then a program that raises its own RLIMIT_CORE has its core in the guest.  Cores of more than
    `max_bytes` together are not written.  `read_file` gives a file of the guest.

    ConfigError when the directory can't be made.
    """

    def __init__(
        self, kernel: Kernel, read_file: Callable[[str], bytes], where: Optional[str], max_bytes: Optional[int]
    ) -> None:
        self.kernel = kernel
        self.read_file = read_file
        self.max_bytes = max_bytes
        self.directory = where
        self.pattern = HOST_PATTERN
        self._dumper: Any = None
        if where is not None:
            parent, _, last = where.rpartition("/")
            if "%" in last:
                self.directory, self.pattern = parent or ".", last
            kernel.core_pattern = self.pattern  # to look at: the guest's root can't choose names on the host
            self._make(str(self.directory))

    @staticmethod
    def _make(directory: str) -> None:
        try:
            os.makedirs(directory, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--core {directory}: {error.strerror}") from None

    def start(self, task: Task) -> None:
        """A program that the user starts: no limit on its core where there is a directory for it."""
        if self.directory is not None:
            task.signal.rlimits[RLIMIT_CORE] = (RLIM_INFINITY, RLIM_INFINITY)

    def __call__(self, task: Task, info: siginfo) -> bool:
        if not task.signal.rlimits[RLIMIT_CORE][0]:
            return False
        if self._dumper is None:
            from machine.observe.coredump import CoreDumper

            self._dumper = CoreDumper(self.kernel, self.read_file, self.directory, self.pattern, self.max_bytes)
        return bool(self._dumper(task, info))

    def take(self, pid: int) -> Optional[str]:
        """Where the core of a process is; it is forgotten here."""
        path = None if self._dumper is None else self._dumper.written.pop(pid, None)
        return path if path is None else str(path)

    def others(self) -> dict[int, str]:
        """The cores that nobody took, by pid; they are forgotten here."""
        return {} if self._dumper is None else _emptied(self._dumper.written)

    def failed(self) -> dict[int, str]:
        """Why there is no core where there should be one, by pid; it is forgotten here."""
        return {} if self._dumper is None else _emptied(self._dumper.failed)


def _emptied(texts: dict[int, str]) -> dict[int, str]:
    found = dict(texts)
    texts.clear()
    return found
