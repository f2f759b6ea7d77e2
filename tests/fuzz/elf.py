"""Programs with broken headers: a machine refuses them with an error of its own, or they run, or a signal ends them."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

from guest.toolchain import compile
from machine import Machine
from machine.errors import NopageError, TimeoutExpired
from machine.events import Oops
from tests.fuzz.findings import Findings
from tests.steps import Steps

HELLO = Path(__file__).parents[2] / "guest" / "bin" / "x86_64" / "hello"
DYNAMIC = '#include <stdio.h>\nint main(void) { puts("dynamic"); return 0; }\n'
EHDR, PHDRS = 64, 16 * 56
ODD = (0, 1, 2, 3, 7, 0x10, 0x38, 0x40, 0x7F, 0xFF, 0xFFF, 0x1000, 0x10000, 0x7FFF_FFFF, 0xFFFF_FFFF, 1 << 40,
       (1 << 47) - 1, 1 << 47, 1 << 63, (1 << 64) - 4096, (1 << 64) - 1)  # fmt: skip
SECONDS = 10
LOOPS = 1000
"""Page faults in that time of a program that really loops; more are a fault that comes again and again."""
KEPT = 40
"""Files on the host at a time."""
CHECK_EVERY, MOST = 5, 5
"""Which seeds look at an address space after each change of it; problems after which a seed gives up."""


def originals(directory: Path) -> list[bytes]:
    """A static program, and a dynamic one where the host's compiler makes one."""
    programs = [HELLO.read_bytes()]
    if shutil.which("gcc"):
        source = directory / "dynamic.c"
        source.write_text(DYNAMIC)
        programs.append(compile(source, static=False, libc="glibc", cc="host").read_bytes())
    return programs


def mutate(rng: random.Random, data: bytes) -> bytes:
    """One to four fields of the headers changed, now and then the file cut off."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        width = rng.choice((1, 2, 4, 8))
        end = EHDR if rng.random() < 0.3 else EHDR + PHDRS
        at = rng.randrange(4, min(end, len(changed)) - 8) // width * width
        value = rng.choice(ODD) if rng.random() < 0.7 else rng.getrandbits(64)
        changed[at : at + width] = (value & (1 << 8 * width) - 1).to_bytes(width, "little")
    if rng.random() < 0.1:
        del changed[rng.randrange(len(changed)) :]
    return bytes(changed)


def loops(error: TimeoutExpired) -> bool:
    """Was it code of the program that ran? Another entry point can lead into an endless loop, on Linux too."""
    return any("is ready to run" in task or "runs at" in task for task in error.tasks)


def fuzz_elf(seed: int, count: int = 200) -> Findings:
    """`count` mutants in one machine, whose invariants are looked at after each of their calls, and at each end."""
    rng = random.Random(seed)
    found = Findings()
    problems = found.problems
    with tempfile.TemporaryDirectory(prefix="nopage-") as name:
        directory = Path(name)
        programs = originals(directory)
        with Machine(
            ram=32 << 20, binds=[(name, name, False)], deterministic=seed % 2 > 0, batch_faults=seed % 4 > 0,
            check_invariants=seed % CHECK_EVERY == 0,
        ) as machine:  # fmt: skip
            steps = Steps(machine)

            def on_oops(oops: Oops) -> None:
                problems.append(f"program {number}: {oops.where}: {oops.traceback}")

            machine.events.listen("oops", on_oops)
            for number in range(count):
                path = directory / f"program{number % KEPT}"
                path.unlink(missing_ok=True)
                path.write_bytes(mutate(rng, rng.choice(programs)))
                path.chmod(0o755)
                before = machine.kernel.total_faults()
                try:
                    machine.run([str(path)], timeout=SECONDS)
                except TimeoutExpired as error:
                    if not loops(error) or machine.kernel.total_faults() - before > LOOPS:
                        problems.append(f"program {number}: hangs: {error}")
                        return found
                except NopageError:
                    pass
                except Exception as error:
                    problems.append(f"program {number}: {error!r}")
                found.cases += 1
                steps.look(f"program {number}")
                problems += steps.problems
                steps.problems.clear()
                if len(problems) > MOST:
                    return found
            problems += machine.check_clean()
    return found
