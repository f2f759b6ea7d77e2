"""Small C programs in programs/, for both targets: output, errors, end, files and system calls as natively.

A program that checks one mechanism in depth is in tests/guest; these are many and short, and say only what they see.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from guest import TARGETS
from machine.compare import FenceError, compare
from tests.conftest import build

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
RACY = {
    "child-signals", "cpu-limit", "fork-and-wait", "interrupted-calls", "kill-group", "orphan-and-zombie",
    "process-control", "spinning-threads", "thread-exits-process", "threads-cancel", "threads-conditions",
    "threads-mutex", "threads-signals", "timers", "usage-counters", "wait-in-handler", "flock-exclusion",
    # names and places that differ in every run, and the order of directories
    "directories", "futex-operations", "futex-waitv", "memory-calls", "memory-holes", "pidfds", "popen-and-system",
    "pipeline-of-twenty", "descriptors-through-sockets", "generations-of-copies",
    "area-flags", "one-file-three-ways", "spawn-and-popen", "faults-by-kind",
    "file-errnos", "limits-enforced", "process-errnos", "signal-errnos", "socket-errnos", "system-v-ipc",
    "shared-or-own", "shared-memory-objects", "tmpfile-without-name", "walking-a-tree",
    # what the host's processor answers
    "rarely-asked", "unprivileged",
}  # fmt: skip
"""Programs whose sequence of system calls is another in every run."""
PROGRAMS = sorted(Path(__file__).with_name("programs").glob("*.c"))


OF_ROOT = {"file-errnos", "unprivileged", "message-queues", "owner-changes", "system-v-ipc", "user-changes"}
"""Programs that change users, or do what root may: for another user, the fence is a user namespace of one user."""


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("source", PROGRAMS, ids=lambda source: source.stem)
def test_program(source: Path, target: str) -> None:
    if os.geteuid() and source.stem in OF_ROOT:
        pytest.skip("needs root on the host")
    program = build(source, target=target, flags=("-O1", "-w"))
    try:
        result = compare(
            [str(program), "word"], env=ENVIRONMENT, binds=[(str(program), str(program))], timeout=60,
            trace=source.stem not in RACY,
        )  # fmt: skip
    except FenceError as error:
        pytest.skip(str(error))
    assert not result.native.timed_out, "the program is no good: it does not end on the host"
    assert result.same, result.text(every=True)


def test_there_are_a_hundred_programs() -> None:
    """Here alone; those of tests/guest are compared in the same way."""
    assert len(PROGRAMS) >= 100
