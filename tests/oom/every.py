"""Frames run out at every allocation in turn: a clean errno, a signal or the OOM killer, and the machine goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from guest.toolchain import compile
from machine import Machine
from machine.errors import NopageError, TimeoutExpired
from machine.kernel.mm.fail_page_alloc import fail_page_alloc
from tests.steps import Steps

HERE = Path(__file__).parent
TICKS, SECONDS = 5000, 1200
"""A run that has not ended by then hangs: ticks, of which these programs need 30 at most, so that a busy host does not
matter; seconds for what does not even tick."""
MOST = 10
"""Problems after which no other allocation fails."""
WRONG = range(90, 125)
"""Exit statuses with which our programs say that a call failed otherwise than for want of memory, or lost data."""
SCRIPT = "x=$(echo a b c | tr a-z A-Z); echo $x > /tmp/o; cat /tmp/o; (exit 3); "
SCRIPT += "i=0; while [ $((i+=1)) -le N ]; do echo $i | cat; done"


@dataclass
class Tally:
    """How the runs ended."""

    points: int = 0
    """Allocation points that failed."""
    fine: int = 0
    errors: int = 0
    signals: int = 0
    refused: int = 0
    """Programs that could not even start."""
    looks: int = 0
    """At the whole machine's invariants: after each call from the failure on, each run, and each call of the last run,
    which makes those that the others made before their failures."""
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.points} points: {self.fine} went on, {self.errors} ended with an error, {self.signals} by signals, "
            f"{self.refused} did not start; {self.looks} looks; {len(self.problems)} problems"
        )


def program(name: str, rounds: int) -> tuple[list[str], list[str]]:
    """(command line, drivers) of one of the three, which does what it does so many times."""
    if name == "shell":
        return ["/bin/sh", "-c", SCRIPT.replace("N", str(rounds))], []
    path = str(compile(HERE / f"{name}.c", flags=("-Wall",)))
    drivers = ["scullp", "scullv"] if name == "driver" else []
    return [path, str(rounds), *(f"/dev/{driver}0" for driver in drivers)], drivers


PROGRAMS = ("mixed", "driver", "shell")


def fail_everywhere(
    name: str,
    upto: int,
    *,
    first: int = 1,
    step: int = 1,
    times: int = 1,
    rounds: int = 1,
    check: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> Tally:
    """Run a program once for each allocation from `first` on by `step`, up to number `upto`, which fails (with the
    `times` - 1 after it; below 0: all after it); fewer when the program makes fewer.  `check`: invariants after each
    change too.  `say` gets each problem at once."""
    command, drivers = program(name, rounds)
    tally = Tally()
    binds = [] if name == "shell" else [(command[0], command[0], False)]
    with Machine(ram=64 << 20, devices=drivers, binds=binds, deterministic=True, check_invariants=check) as machine:
        with fail_page_alloc(machine.kernel.mem) as counted:
            result = machine.run(command, timeout=SECONDS, max_ticks=TICKS)
            _forget(machine, drivers)
        assert result.exit == 0, result
        steps = Steps(machine)
        for number in range(first, min(upto, counted.calls) + 1, step):
            known = len(tally.problems)
            _one(machine, command, number, times, tally, steps)
            try:
                _settle(machine)
            except TimeoutExpired as error:
                tally.problems.append(f"{name}, allocation {number}: what is left hangs: {error}")
            _forget(machine, drivers)
            steps.look("it ended")
            tally.problems += [f"{name}, allocation {number}: {text}" for text in steps.problems + _wrong(machine)]
            steps.problems.clear()
            for text in tally.problems[known:]:
                say(text)
            if len(tally.problems) > MOST:
                break
        steps.when = lambda: True
        try:
            last = machine.run(command, timeout=SECONDS, max_ticks=TICKS)
            tally.problems += [f"{name}, nothing failed: {text}" for text in steps.problems]
        except TimeoutExpired as error:
            tally.problems.append(f"{name}: at the end it hangs: {error}")
        else:
            if last.stdout != result.stdout:
                tally.problems.append(f"{name}: it does not run any more")
        tally.looks = steps.looks
    return tally


def _one(machine: Machine, command: Sequence[str], number: int, times: int, tally: Tally, steps: Steps) -> None:
    with fail_page_alloc(machine.kernel.mem, number, times) as failing:
        steps.when = lambda: bool(failing.failed)
        try:
            result = machine.run(command, timeout=SECONDS, max_ticks=TICKS)
        except TimeoutExpired as error:
            tally.problems.append(f"{command[0]}, {failing.failed or number}: hangs: {error}")
            return
        except NopageError:
            tally.refused += 1
            result = None
    tally.points += bool(failing.failed)
    if result is None:
        return
    if result.signal is not None:
        tally.signals += 1
    elif result.exit:
        tally.errors += 1
    else:
        tally.fine += 1
    if result.exit in WRONG:
        tally.problems.append(f"{command[0]}, {failing.failed}: status {result.exit}, {result.stdout!r}")


def _forget(machine: Machine, drivers: Sequence[str]) -> None:
    """A driver's memory goes, so that the next run allocates it again."""
    for driver in drivers:
        left = machine.unload(driver)
        assert not left, left
        machine.load(driver)


def _settle(machine: Machine) -> None:
    """What a process left running that was killed: it gets a second of the machine's own time to end."""
    if len(machine.kernel.tasks) > 1:
        machine.run(["sleep", "1"], timeout=SECONDS, max_ticks=TICKS)


def _wrong(machine: Machine) -> list[str]:
    found = machine.check_clean()
    machine.kernel.oopses.clear()
    machine.kernel.reports.clear()
    return found
