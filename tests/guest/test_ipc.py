"""System V shared memory, semaphores, messages (MECHANISMS E3, E4), natively first; Debian's ipcmk, ipcs, ipcrm."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from machine import Machine

HERE = Path(__file__).parent / "ipc"
PROGRAMS = sorted(path.stem for path in HERE.glob("*.c"))
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}


@pytest.mark.parametrize("target", ["x86_64", "i386"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_static(guest: Callable[..., object], program: str, target: str) -> None:
    guest(HERE / f"{program}.c", target=target)  # E3, E4


def test_a_segment_outlives_its_process(machine_clean: Callable[..., Machine]) -> None:
    """The tools of util-linux make, list and remove; the pages go with the segment."""
    if not all(shutil.which(name, path=ENVIRONMENT["PATH"]) for name in ("ipcmk", "ipcs", "ipcrm")):
        pytest.skip("ipcmk, ipcs, ipcrm are not installed")
    machine = machine_clean(env=ENVIRONMENT)
    made = machine.run(["sh", "-c", "ipcmk -M 8192 -p 0640; ipcmk -S 3; ipcmk -Q"])
    assert re.fullmatch(rb"Shared memory id: 0\nSemaphore id: 0\nMessage queue id: 0\n", made.stdout), made.stderr
    shared = machine.run(["ipcs", "-m"]).stdout.decode()
    assert re.search(r"^0x[0-9a-f]{8} 0 +root +640 +8192 +0 *$", shared, re.M)
    assert re.search(r"^0x[0-9a-f]{8} 0 +root +644 +3 *$", machine.run(["ipcs", "-s"]).stdout.decode(), re.M)
    limits = machine.run(["ipcs", "-l"]).stdout.decode()
    assert "max number of segments = 4096" in limits
    assert "max ops per semop call = 500" in limits
    assert "max size of message (bytes) = 8192" in limits
    assert machine.run(["ipcrm", "-m", "0", "-s", "0", "-q", "0"]).exit == 0
    assert machine.run(["ipcs"]).stdout.count(b"0x") == 0
    again = machine.run(["ipcrm", "-m", "0"])
    assert (again.exit, again.stderr) == (1, b"ipcrm: invalid id (0)\n")
    assert not machine.kernel.ipc.shm.slots
