"""Random system calls in a machine: whatever a program passes, no Python error, no lost frame, no hang."""

from __future__ import annotations

from collections import deque
from pathlib import Path

from guest.toolchain import compile
from machine import Machine
from machine.errors import TimeoutExpired
from machine.events import Oops, SyscallEnter
from machine.kernel.abi import unistd_32, unistd_64
from machine.kernel.syscalls import load_families
from machine.kernel.syscalls.table import ROWS
from tests.fuzz.findings import Findings
from tests.steps import Steps

SOURCE = Path(__file__).parent / "calls.c"
LEFT_OUT = {"exit", "exit_group", "pause"}
"""They end a batch and test nothing."""
SIGNALS = {"kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"}
"""Their pid is the batch itself: the program shall go on."""
KINDS = {"fd": "f", "atfd": "f", "ptr": "p", "buf": "p", "addr": "p", "str": "s", "pid": "P"}
MAKERS = (
    ("epoll_create1", 0, 0, 0),
    ("eventfd2", 3, 0o4000, 0),
    ("timerfd_create", 1, 0o4000, 0),
    ("memfd_create", '(long)"m"', 0, 0),
)
"""Further descriptors that a batch begins with: calls with three arguments."""
CHECK_EVERY = 5


def program(target: str) -> Path:
    """The fuzzer of one ABI, compiled with the table of what its kernel implements."""
    load_families()
    numbers = {"x86_64": unistd_64, "i386": unistd_32}[target].NUMBERS
    rows = []
    for name, row in sorted(ROWS[target].items()):
        if name not in LEFT_OUT:
            kinds = "".join(KINDS.get(kind.partition(":")[0], "n") for kind in row.types)
            rows.append(f'\t{{"{name}", "{kinds}", {numbers[name]}, {int(name in SIGNALS)}}},')
    makers = [f"\t{{{numbers[name]}, {one}, {two}, {three}}}," for name, one, two, three in MAKERS]
    table = [
        "struct call {\n\tconst char *name, *kinds;\n\tint number, signals;\n};",
        "static const struct call calls[] = {",
        *rows,
        "};",
        "static const long makers[][4] = {",
        *makers,
        "};",
        '#line 1 "calls.c"',
        SOURCE.read_text(),
    ]
    return compile("\n".join(table), target=target, flags=("-w",))


def fuzz_calls(
    seed: int,
    *,
    target: str = "x86_64",
    batches: int = 40,
    calls: int = 60,
    only: str = "",
    deterministic: bool = True,
    seconds: float = 60,
) -> Findings:
    """Run one seed; the last calls before each trouble are part of its text.  The invariants of the whole machine are
    looked at after each call; those of an address space after each change where the seed is a multiple of
    `CHECK_EVERY`."""
    found = Findings()
    last: deque[str] = deque(maxlen=8)
    batches_begun: set[int] = set()

    def on_call(call: SyscallEnter) -> None:
        if call.pid in batches_begun:
            found.cases += 1
        elif call.name == MAKERS[-1][0]:
            batches_begun.add(call.pid)
            if steps.look("; ".join(last)):
                found.problems += steps.problems
                steps.problems.clear()
        last.append(f"{call.pid} {call.name}({', '.join(hex(word) for word in call.args)})")

    def on_oops(oops: Oops) -> None:
        found.problems.append(f"{oops.where}: {oops.traceback}\nafter {'; '.join(list(last)[-2:])}")

    path = program(target)
    command = [str(path), str(seed), str(batches), str(calls)] + ([only] if only else [])
    binds = [(str(path), str(path), False)]
    with Machine(
        ram=64 << 20, devices=["scullp"], binds=binds, deterministic=deterministic, batch_faults=seed % 3 > 0,
        check_invariants=seed % CHECK_EVERY == 0,
    ) as machine:  # fmt: skip
        steps = Steps(machine)
        machine.events.listen("syscall_enter", on_call)
        machine.events.listen("oops", on_oops)
        try:
            result = machine.run(command, timeout=seconds)
        except TimeoutExpired:
            found.problems.append(f"hangs after {'; '.join(last)}")
            return found
        found.problems += steps.problems
        if result.stdout != b"end\n" and result.signal is None:
            found.problems.append(f"the fuzzer ended with {result.exit}: {result.stdout!r} {result.stderr!r}")
        try:
            found.problems += machine.check_clean()
        except Exception as error:
            found.problems.append(f"check_clean: {error!r}")
    return found
