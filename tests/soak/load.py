"""Mixed load in one machine, round after round: frames and the process's memory at the end are those of the start."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from guest.toolchain import compile
from machine import Machine
from machine.errors import NopageError
from tests.fuzz.findings import GROWTH, resident
from tests.steps import Steps

HERE = Path(__file__).parent
DRIVERS = ("scullp", "scullv", "simple", "schar", "radimo", "iomap")
WARM_ROUNDS = 3
"""Rounds after which caches and counters have what they will have."""
SECONDS = 600
PYTHON = (
    "import threading, hashlib, tempfile, os, mmap\n"
    "def work(n):\n"
    "    with tempfile.TemporaryFile() as f:\n"
    "        f.write(os.urandom(20000)); f.flush()\n"
    "        with mmap.mmap(f.fileno(), 0) as m: hashlib.sha256(m).digest(); m[5] = n\n"
    "threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]\n"
    "[t.start() for t in threads]; [t.join() for t in threads]\n"
    "pid = os.fork()\n"
    "if not pid: os._exit(3)\n"
    "assert os.waitpid(pid, 0)[1] == 3 << 8\n"
    "print('python')"
)
SHELL = (
    "for i in 1 2 3; do echo $i | cat > /tmp/soak$i; done; cat /tmp/soak? | sort -r | tr -d '\\n'; rm /tmp/soak?; echo"
)
MODULES = "insmod /lib/modules/*/scullp_fault.ko; rmmod scullp_fault; lsmod > /dev/null; echo modules"
DEVICE = "ls -l /dev > /dev/scullp0 && mapper /dev/scullp0 0 140 > /dev/null 2>&1; echo $?"
OOM = "exec 2> /dev/null; head -c 300M /dev/zero | tail -c 200M > /dev/null; echo oom"
SHORT_OOM = "exec 2> /dev/null; dd if=/dev/zero bs=1M count=300 | {hog}; echo oom"
"""The same with a hundredth of the system calls."""


@dataclass
class Tally:
    """What a soak found."""

    rounds: int = 0
    programs: int = 0
    frames: tuple[int, int] = (0, 0)
    resident: tuple[int, int] = (0, 0)
    looks: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        first, last = (size >> 20 for size in self.resident)
        return (
            f"{self.rounds} rounds, {self.programs} programs; frames {self.frames[0]} and {self.frames[1]}; "
            f"memory {first} and {last} MiB; {self.looks} looks at the invariants; {len(self.problems)} problems"
        )


def frames(machine: Machine) -> int:
    """Frames in use that are no cache of files, with no driver loaded but a fresh scullp."""
    for name in DRIVERS:
        if name in machine.kernel.modules:
            assert not machine.unload(name)
    machine.load("scullp")
    machine.kernel.vfs.shrink(1 << 30)
    return sum(machine.kernel.mem.used_frames().values()) - machine.kernel.vfs.page_cache_frames()


def programs(short: bool) -> tuple[list[tuple[Sequence[str], bytes]], list[tuple[str, str, bool]]]:
    """(what runs in each round: command, its output; what is to be bound for it).  `short`: those two that make nine
    tenths of a round's system calls make few."""
    guest, names = HERE.parent / "guest" / "load", ("threads", "forks", "hog")
    threads, forks, hog = (str(compile(guest / f"{name}.c", flags=("-w", "-pthread"))) for name in names)
    work: list[tuple[Sequence[str], bytes]] = [
        (["sh", "-c", SHELL], b"321\n"),
        (["python3", "-c", PYTHON], b"python\n"),
        ([threads, "40" if short else "200"], b""),
        ([forks, "30"], b""),
        (["sh", "-c", MODULES], b"modules\n"),
        (["sh", "-c", DEVICE], b"0\n"),
        (["sh", "-c", SHORT_OOM.format(hog=hog) if short else OOM], b"oom\n"),
        (["sh", "-c", "kill -SEGV $$"], b""),
    ]
    return work, [(path, path, False) for path in (threads, forks, hog)]


def soak(seconds: float, seed: int = 1, check: bool = False, short: bool = False) -> Tally:
    """Go on for so long; the last round is finished.  The whole machine's invariants are looked at after each system
    call, each program, and each driver that comes or goes; `check`: those of a space after each change and page fault
    too; `short`: rounds of fewer calls."""
    tally, rng = Tally(), random.Random(seed)
    work, binds = programs(short)
    end = time.monotonic() + seconds
    with Machine(
        ram=96 << 20, devices=["scullp"], binds=binds, check_invariants=check, batch_faults=True
    ) as machine:  # as on the command line
        steps = Steps(machine)
        while time.monotonic() < end or tally.rounds <= WARM_ROUNDS:
            for command, wanted in rng.sample(work, len(work)):
                _one(machine, command, wanted, tally)
                steps.look(" ".join(command))
            _drivers(machine, rng, tally)
            steps.look("drivers that came and went")
            tally.looks = steps.looks
            tally.problems += steps.problems
            tally.rounds += 1
            tally.problems += machine.check_clean()
            machine.kernel.oopses.clear()
            if tally.problems:
                break
            if tally.rounds == WARM_ROUNDS:
                tally.frames, tally.resident = (frames(machine), 0), (resident(), 0)
        tally.frames = tally.frames[0], frames(machine)
        tally.resident = tally.resident[0], resident()
    if tally.rounds >= WARM_ROUNDS:
        _compare(tally)
    return tally


def _compare(tally: Tally) -> None:
    """The end with the end of the warm rounds."""
    if tally.frames[0] != tally.frames[1]:
        tally.problems.append(f"{tally.frames[1] - tally.frames[0]} frames more than at the start")
    if tally.resident[1] > tally.resident[0] + GROWTH:
        tally.problems.append(f"{tally.resident[1] - tally.resident[0] >> 20} MiB more than at the start")


def _one(machine: Machine, command: Sequence[str], wanted: bytes, tally: Tally) -> None:
    tally.programs += 1
    try:
        result = machine.run(list(command), timeout=SECONDS)
    except NopageError as error:
        tally.problems.append(f"{command}: {error}")
        return
    if wanted and result.stdout != wanted:
        tally.problems.append(f"{command}: {result.exit}, {result.stdout!r}, {result.stderr!r}")


def _drivers(machine: Machine, rng: random.Random, tally: Tally) -> None:
    for name in rng.sample(DRIVERS, 3):
        if name in machine.kernel.modules:
            tally.problems += machine.unload(name)
        else:
            machine.load(name)
    if "scullp" not in machine.kernel.modules:
        machine.load("scullp")
