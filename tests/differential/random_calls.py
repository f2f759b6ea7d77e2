"""Programs that make random calls: each line that they print is a call and what came of it (E2).

``python -m tests.differential.random_calls files --seeds 1-200`` compares them, by seed, with the host.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from guest.toolchain import ToolMissing, compile
from machine import Machine
from tests.host import is_full_root

HERE = Path(__file__).parent / "random"
COUNTS = {"processes": 500, "terminals": 1000}
"""Of programs whose calls take longer than others'."""
ANSWERS = {"terminals": 3}
"""How often the host is asked where what is on its way may be thrown away or have arrived: one answer must be ours."""
OF_ROOT = ("ids",)
PROGRAMS = sorted(path.stem for path in HERE.glob("*.c"))
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}


class CannotRun(Exception):
    """Not on this host, or not by this user."""


def compiled(program: str, target: str) -> Path:
    """ToolMissing where there is no compiler for the target; CannotRun without root's capabilities where it needs
    them."""
    if program in OF_ROOT and not is_full_root():
        raise CannotRun(f"{program}: natively it needs all capabilities of root")
    return compile(HERE / f"{program}.c", target=target, flags=("-Wall", "-Wextra"))


def on_host(program: Path, seed: int, count: int, *place: str) -> str:
    """What it prints here, through a pipe: it may limit the size of files."""
    command = [str(program), str(seed), str(count), *place]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=ENVIRONMENT, check=False, timeout=600
    )
    return done.stdout.decode() + f"status {done.returncode}\n"


def in_machine(machine: Machine, program: Path, seed: int, count: int, *place: str) -> str:
    result = machine.run([str(program), str(seed), str(count), *place], timeout=600)
    return (result.stdout + result.stderr).decode() + f"status {result.exit}\n"


def difference(program: Path, seed: int, count: int, bound: bool = False) -> str:
    """The first differing calls, the host's (-) and ours (+); "" where there are none.  `bound`: in a directory of the
    host's."""
    with tempfile.TemporaryDirectory() as native, tempfile.TemporaryDirectory() as shared:
        binds = [(shared, "/mnt", True)] if bound else []
        expected = on_host(program, seed, count, *[native] * bound)
        user = (os.geteuid(), os.getegid())
        with Machine(binds=binds, env=ENVIRONMENT, user=user) as machine:
            got = in_machine(machine, program, seed, count, *["/mnt"] * bound)
            complaints = machine.check_clean()
        for _ in range(1, ANSWERS.get(program.stem, 1)):
            if expected != got:
                expected = on_host(program, seed, count)
        left = sorted(path.name for path in Path(shared).iterdir())
    if expected == got:
        return "\n".join([*complaints, *left])
    return _first_difference(expected.splitlines(), got.splitlines())


def _first_difference(expected: list[str], got: list[str]) -> str:
    """The three calls before it, then three of each side."""
    pairs = enumerate(zip(expected, got, strict=False))
    at = next((n for n, pair in pairs if pair[0] != pair[1]), min(len(expected), len(got)))
    sides = (f"{side} {line}" for side, lines in (("-", expected), ("+", got)) for line in lines[at : at + 3])
    return "\n".join([*(f"  {line}" for line in expected[max(at - 3, 0) : at]), *sides])


def _seeds(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def main() -> int:
    """0: no difference; 1: the seeds that differ, with the first lines of how; 2: nothing to compare with."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", choices=PROGRAMS)
    parser.add_argument("--seeds", type=_seeds, default=range(1, 101), metavar="FIRST-LAST", help="default: 1-100")
    parser.add_argument("--count", type=int, help="calls of each (default: 2500, processes: 500)")
    parser.add_argument("--target", choices=("x86_64", "i386"), default="x86_64")
    parser.add_argument("--bound", action="store_true", help="in a directory of the host's (--bind DIR:/mnt:rw)")
    given = parser.parse_args()
    try:
        program = compiled(given.program, given.target)
    except (CannotRun, ToolMissing) as why:
        print(why, file=sys.stderr)
        return 2
    count = given.count or COUNTS.get(given.program, 2500)
    different = 0
    for seed in given.seeds:
        found = difference(program, seed, count, given.bound)
        if found:
            different += 1
            print(f"seed {seed}:\n{found}", flush=True)
    print(f"{len(given.seeds)} x {count} calls, {different} with differences")
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
