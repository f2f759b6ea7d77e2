"""Accesses to addresses where no device is: they read ones, and the mapping that led there is named."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from machine.testing.harness import Harness
from tests.testing.programs import WHERE, Timer

TOP = Path(__file__).parents[2]
AT = r"\(main\+0x[0-9a-f]+ program\.c:12\)"
MAPS = r"""
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	int fd = open("/dev/mem", O_RDWR | O_SYNC);
	volatile uint32_t *regs = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, strtoul(argv[1], 0, 0));
	if (argc > 2 && fork())
		return wait(0) < 0;
	regs[0] = regs[1];
	printf("%x %x\n", regs[1], regs[1024]);
	return 0;
}
"""


def said(run: Any) -> list[str]:
    """What a failure of this test would show."""
    harness: Harness = run.__self__
    return [line for head, text in harness.sections() if "no device" in head for line in text.splitlines()]


@pytest.mark.device(WHERE, Timer)
@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_a_wrong_address(run: Any, guest_cc: Any, target: str) -> None:
    program = guest_cc(MAPS, target=target)
    result = run(program, "0xfd000000")
    assert result.stdout == b"ffffffff ffffffff\n" and not result.bus
    (line,) = said(run)
    assert re.fullmatch(
        rf"0xfd000000 was mapped by program {AT} from /dev/mem, and no device is there: 3 reads gave ones and 1 write "
        r"was lost; Timer is at 0xfe000000-0xfe000fff",
        line,
    )
    assert said(run) == [], "it is said once"


@pytest.mark.device(WHERE, Timer)
def test_beyond_a_device(run: Any, guest_cc: Any, device: Timer) -> None:
    """The second page of the mapping has no device: only that is named, with the first address of it."""
    device.count = 7
    assert run(guest_cc(MAPS), "0xfe000000", "fork").stdout == b"7 ffffffff\n"
    (line,) = said(run)
    assert re.match(
        rf"0xfe001000 was mapped by program {AT} from /dev/mem, and no device is there: 1 read gave ones;", line
    )


@pytest.mark.device(WHERE, Timer)
def test_ram_and_devices_are_somebody(run: Any, guest_cc: Any) -> None:
    assert run(guest_cc(MAPS), "0xa0000").exit == 0
    assert said(run) == []


def test_nopage_run(guest_cc: Any) -> None:
    command = [sys.executable, "-m", "machine", "run", "--attach", f"{WHERE}=tests/testing/programs.py:Timer"]
    words = [*command, str(guest_cc(MAPS)), "0xfe010000"]
    done = subprocess.run(words, cwd=TOP, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("ffffffff ffffffff\n", 0)
    (line,) = done.stderr.splitlines()
    assert re.match(
        rf"nopage: 0xfe010000 was mapped by program {AT} from /dev/mem, and no device is there: 3 reads", line
    )
    assert line.endswith("; Timer is at 0xfe000000-0xfe000fff")
