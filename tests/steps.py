"""The invariants of a whole machine, looked at while its programs run: after each of their calls."""

from __future__ import annotations

from collections.abc import Callable

from machine import Machine
from machine.events import SyscallExit
from machine.kernel.mm.invariants import check_machine
from machine.kernel.mm.look import look

FULL_EVERY = 499
"""Looks after which one goes the slow way too, which must agree."""


class Steps:
    """Looks at `machine` after every `every`-th system call (0: only when `look` is called).  What page faults and
    other tasks did meanwhile is seen with it.  What is wrong is in `problems`, with the call after which it was seen;
    then nothing is looked at any more."""

    def __init__(self, machine: Machine, every: int = 1) -> None:
        self.machine = machine
        self.looks = 0
        self.problems: list[str] = []
        self.every, self._calls = every, 0
        self.when: Callable[[], bool] = lambda: True
        """Whether to look after calls now."""
        if every:
            machine.events.listen("syscall_exit", self._after)

    def _after(self, call: SyscallExit) -> None:
        self._calls += 1
        if self._calls % self.every == 0 and not self.problems and self.when():
            found = self._wrong()
            if found:
                args = ", ".join(map(hex, call.enter.args))
                self._keep(f"{call.enter.name}({args}) = {call.result} of process {call.pid}", found)

    def look(self, after: str) -> list[str]:
        """Look now; what is wrong, which stays in `problems`."""
        return self._keep(after, self._wrong())

    def _wrong(self) -> list[str]:
        self.looks += 1
        kernel = self.machine.kernel
        found = look(kernel)
        if found or self.looks % FULL_EVERY == 0:
            found += check_machine(kernel)
        return found

    def _keep(self, after: str, found: list[str]) -> list[str]:
        told = [f"after {after}: {text}" for text in found]
        self.problems += told
        return told
