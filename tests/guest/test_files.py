"""Files, directories, descriptors and waiting for them (MECHANISMS E4), natively first."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from machine import Machine
from tests.conftest import build

HERE = Path(__file__).parent / "files"
PROGRAMS = sorted(path.stem for path in HERE.glob("*.c"))


@pytest.mark.parametrize("target", ["x86_64", "i386"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_static(guest: Callable[..., object], program: str, target: str) -> None:
    if program == "xattrs" and os.getuid():
        pytest.skip("natively it needs root: trusted.* and another user")
    guest(HERE / f"{program}.c", target=target)


@pytest.mark.parametrize("target", ["x86_64", "i386"])
@pytest.mark.parametrize(
    ("source", "calls"), [("files/at_once.c", 1500), ("memory/objects.c", 20), ("signals/segv_repair.c", 2)]
)
def test_both_ways_of_a_call(machine_clean: Callable[..., Machine], source: str, calls: int, target: str) -> None:
    """Calls that are watched take a kernel stack each, the others none where they need none: the same comes of both."""
    program = str(build(HERE.parent / source, target=target))

    def run(watched: bool) -> tuple[bytes, int]:
        machine = machine_clean()
        entry, seen = machine.kernel.entry, Counter[str]()
        original = entry._slow_syscall

        def counted(task: Any, row: Any, *rest: Any) -> None:
            seen[row.name] += 1
            original(task, row, *rest)

        entry._slow_syscall = counted  # type: ignore[method-assign]
        if watched:
            machine.events.listen("syscall_enter", lambda call: None)
        result = machine.run([program])
        assert result.exit == 0, result.stdout
        return result.stdout, sum(seen.values())

    plain, few = run(False)
    watched, all_of_them = run(True)
    assert plain == watched  # E4
    assert few <= all_of_them - calls
