"""Batches of random sequences for memory.c, on the host and in a machine: what differs, and the shortest form of it."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Sequence
from pathlib import Path

from guest.toolchain import compile
from machine import Machine
from tests.steps import Steps

HERE = Path(__file__).parent
STEPS = 12
Step = tuple[int, int, int, int]
Sequence_ = tuple[Step, ...]


def batch(seed: int, count: int) -> list[Sequence_]:
    """`count` sequences of 2 to `STEPS` steps."""
    rng = random.Random(seed)

    def number() -> int:
        return rng.randrange(256)

    return [tuple((number(), number(), number(), number()) for _ in range(rng.randint(2, STEPS))) for _ in range(count)]


def encoded(sequences: Sequence[Sequence_]) -> bytes:
    """What memory.c reads."""
    return b"".join(bytes((len(each), *(byte for step in each for byte in step))) for each in sequences)


class Comparison:
    """One machine for all batches; every second one has pages mapped ahead of their first touch.  Its invariants are
    looked at after each system call; when `check` is set, those of the address space after each change and each page
    fault too."""

    def __init__(self, target: str = "x86_64", check: bool = False) -> None:
        self.program = str(compile(HERE / "memory.c", target=target, flags=("-w",)))
        self.machine = Machine(ram=64 << 20, check_invariants=check, binds=[(self.program, self.program, False)])
        self.steps = Steps(self.machine)

    def __enter__(self) -> Comparison:
        return self

    def __exit__(self, *_: object) -> None:
        self.machine.close()

    def _sides(self, sequences: Sequence[Sequence_], *options: str) -> tuple[str, str]:
        stdin = encoded(sequences)
        command = [self.program, *options]
        host = subprocess.run(command, input=stdin, capture_output=True, timeout=300, check=False)
        assert host.returncode == 0, host.stderr
        here = self.machine.run(command, stdin=stdin, timeout=600)
        assert not self.machine.kernel.oopses, self.machine.kernel.oopses[0].traceback
        assert not self.steps.problems, self.steps.problems
        return host.stdout.decode(), here.stdout.decode() + (f"exit {here.exit}\n" if here.exit else "")

    def differences(self, seed: int, count: int) -> list[Sequence_]:
        """Those sequences of a batch whose lines differ."""
        self.machine.kernel.batch_faults = not self.machine.kernel.batch_faults
        sequences = batch(seed, count)
        host, here = (text.splitlines() for text in self._sides(sequences))
        here += [""] * (len(host) - len(here))
        return [each for each, one, other in zip(sequences, host, here, strict=False) if one != other]

    def _differs(self, sequence: Sequence_) -> bool:
        host, here = self._sides([sequence])
        return host != here

    def shortened(self, sequence: Sequence_) -> Sequence_:
        """The same without the steps that the difference does not need."""
        if not self._differs(sequence):
            return sequence
        at = 0
        while at < len(sequence):
            shorter = sequence[:at] + sequence[at + 1 :]
            if shorter and self._differs(shorter):
                sequence = shorter
            else:
                at += 1
        return sequence

    def explain(self, sequence: Sequence_) -> str:
        """Both sides' words."""
        host, here = self._sides([sequence], "-v")
        return f"{sequence}\non the host:\n{host}in the machine:\n{here}"
