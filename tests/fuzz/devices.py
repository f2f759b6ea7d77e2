"""Wild accesses to the registers of all device models, and wild ioctls on all drivers, terminals, the frame buffer."""

from __future__ import annotations

import re
from pathlib import Path

from guest.toolchain import compile
from machine import Machine
from machine.errors import TimeoutExpired
from machine.events import Oops
from machine.kernel.tty import tty_ioctl
from tests.fuzz.findings import Findings
from tests.steps import Steps

SOURCE = Path(__file__).parent / "devices.c"
DEVICES = ("scullp", "scullv", "simple", "iomap", "radimo", "schar", "edu", "uio", "fb")
COMMAND = re.compile(r"^(TC|TIO|FIO|FBIO|SCULL|IOMAP|RADIMO|BLK|SIOC|UIO)[A-Z0-9_]*$")
ENDED = re.compile(rb"end (\d+)\n")


def commands(machine: Machine) -> list[int]:
    """The numbers that drivers and terminals know, by their names, and the usual range of a terminal's."""
    found = {value for name, value in vars(tty_ioctl).items() if COMMAND.match(name) and isinstance(value, int)}
    for module in machine.kernel.modules.values():
        names = module.namespace.items()
        found |= {value for name, value in names if COMMAND.match(name) and isinstance(value, int)}
    return sorted({*found, *range(0x5401, 0x5430), *range(0x4600, 0x4620), 0x5450, 0x5451, 0x5452, 0x1260, 0x80041272})


def fuzz_devices(seed: int, what: str = "devices", count: int = 1500, seconds: float = 120) -> Findings:
    """`what` is ``devices`` (registers) or ``ioctl``.  The machine's invariants are looked at after each call."""
    found = Findings()
    problems = found.problems
    with Machine(ram=64 << 20, board="lab", devices=DEVICES, deterministic=bool(seed % 2)) as machine:
        listed = machine.run(["sh", "-c", "ls /sys/bus/pci/devices/*/resource[0-9]"]).stdout.decode().split()
        resources = " ".join(f'"{each}",' for each in listed)
        table = ", ".join(f"{number:#x}" for number in commands(machine))
        head = f"static const unsigned long commands[] = {{{table}}};\n"
        text = head + SOURCE.read_text().replace("RESOURCES", resources)
        path = str(compile(text, target="i386" if seed % 3 == 0 else "x86_64", flags=("-w",)))

        def on_oops(oops: Oops) -> None:
            problems.append(f"{oops.where}: {oops.traceback}")

        machine.events.listen("oops", on_oops)
        steps = Steps(machine)
        try:
            result = machine.run([path, str(seed), str(count), what], timeout=seconds)
            ended = ENDED.fullmatch(result.stdout)
            if ended:
                found.cases = int(ended[1])
            else:
                problems.append(f"ended with {result.exit}: {result.stdout!r} {result.stderr!r}")
        except TimeoutExpired as error:
            problems.append(f"hangs: {error}")
        except Exception as error:
            problems.append(f"{error!r}")
        problems += steps.problems
        machine.kernel.oopses.clear()
        reported = [text for text in machine.kernel.reports if "Bad page" in text]
        machine.kernel.reports.clear()
        problems += (*reported, *machine.check_clean())
    del problems[20:]
    return found
