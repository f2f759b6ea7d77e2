"""What is ours and does not come back after --timeout is broken off: a guest may have found an endless system call."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from machine import Machine
from machine.errors import LimitReached, TimeoutExpired
from machine.kernel.task import watchdog

MiB = 1 << 20
LOOPS = """
from machine import Machine
from machine.kernel.task import watchdog
watchdog.HOPELESS = 2.0
def endless(event):
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass
with Machine() as machine:
    machine.events.listen("syscall_enter", endless)
    machine.run(["true"], timeout=0.5)
"""


def spin(_event: Any) -> None:
    while True:
        pass


def test_an_endless_system_call() -> None:
    """It ends with the program's time; the machine goes on."""
    with Machine() as machine:
        machine.events.listen("syscall_enter", spin)
        with pytest.raises(TimeoutExpired) as caught:
            machine.run(["true"], timeout=0.5)
        machine.events.unlisten("syscall_enter", spin)
        assert caught.value.tasks[0].startswith("the kernel was broken off, in test_overrun.py:")
        assert machine.run(["true"], timeout=60).exit == 0
        assert machine.check_clean() == []


def test_the_same_in_another_thread() -> None:
    """Where there are no signals."""
    seen: list[str] = []

    def run() -> None:
        with Machine() as machine:
            machine.events.listen("syscall_enter", spin)
            try:
                machine.run(["true"], timeout=0.5)
            except TimeoutExpired as error:
                seen.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(100)
    assert not thread.is_alive() and "broken off" in seen[0]


def test_one_call_that_takes_all_memory() -> None:
    """The hub, which would have somebody killed, does not come: the machine is stopped."""
    kept: list[bytes] = []

    def hoard(_event: Any) -> None:
        while True:
            kept.append(bytes(range(256)) * 4096)

    size = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    with Machine(ram=64 * MiB, max_memory=size + 300 * MiB) as machine:
        machine.events.listen("syscall_enter", hoard)
        with pytest.raises(LimitReached, match="needs more than"):
            machine.run(["true"], timeout=100)
        kept.clear()


def test_the_last_resort() -> None:
    """Nothing gets through: the process says so and ends."""
    done = subprocess.run([sys.executable, "-c", LOOPS], capture_output=True, timeout=100, check=False)
    assert done.returncode == watchdog.STATUS
    assert b"nothing ends what goes on, in <string>:" in done.stderr
