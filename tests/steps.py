"""The invariants of a whole machine, looked at while its programs run: after their calls, or after every so many."""

from __future__ import annotations

from machine import Machine
from machine.events import SyscallExit
from machine.kernel.mm.invariants import check_machine

MEMORY = frozenset((
    "mmap", "mmap2", "munmap", "mprotect", "mremap", "madvise", "process_madvise", "brk", "mlock", "mlock2", "mlockall",
    "munlock", "fork", "vfork", "clone", "clone3", "execve", "execveat", "shmat", "shmdt", "remap_file_pages",
    "ftruncate", "ftruncate64", "userfaultfd", "vmsplice",
))  # fmt: skip
"""Calls that change address spaces."""


class Steps:
    """Looks at `machine` after every `every`-th system call, and after every `memory`-th of those that change memory
    (0: never).  What is wrong is in `problems`, with the call after which it was seen; then nothing is looked at any
    more."""

    def __init__(self, machine: Machine, every: int = 0, memory: int = 0) -> None:
        self.machine = machine
        self.every, self.memory = every, memory
        self.looks = 0
        self.problems: list[str] = []
        self._calls = self._memory_calls = 0
        if every or memory:
            machine.events.listen("syscall_exit", self._after)

    def _after(self, call: SyscallExit) -> None:
        self._calls += 1
        due = self.every and self._calls % self.every == 0
        if self.memory and call.enter.name in MEMORY:
            self._memory_calls += 1
            due = due or self._memory_calls % self.memory == 0
        if due and not self.problems:
            args = ", ".join(map(hex, call.enter.args))
            self.look(f"{call.enter.name}({args}) = {call.result} of process {call.pid}")

    def look(self, after: str) -> list[str]:
        """Look now; what is wrong, which stays in `problems`."""
        self.looks += 1
        found = [f"after {after}: {text}" for text in check_machine(self.machine.kernel)]
        self.problems += found
        return found
