"""An X server's mappings of /dev/mem, as the text shows them in /proc/PID/maps (MECHANISMS A1, A2, B3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine

Run = Callable[..., Any]

BODY = """
    struct { unsigned long at, length; int prot, flags; off_t offset; } maps[] = {
        {0xa0000, 0x20000, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED | MAP_FIXED, 0xa0000},
        {0xf0000, 0x10000, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, 0xf0000},
        {0x2a95828000, 0x80000, PROT_READ | PROT_WRITE, MAP_SHARED, 0xfcc00000},
        {0x2a958a8000, 0x8000000, PROT_READ | PROT_WRITE, MAP_SHARED, 0xe8000000},
    };
    char line[512];
    int fd = must_open("/dev/mem", O_RDWR);
    for (int i = 0; i < 4; i++) {
        void *p = mmap((void *)maps[i].at, maps[i].length, maps[i].prot, maps[i].flags, fd, maps[i].offset);
        if (p != (void *)maps[i].at) { perror("mmap"); return 2; }
    }
    *(volatile char *)0xb8000 = 'X';
    FILE *f = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, f))
        if (strstr(line, "/dev/mem")) fputs(line, stdout);
"""


@pytest.fixture
def target() -> str:
    return "x86_64"


def test_the_four_lines_of_the_text(m: Machine, run_c: Run) -> None:  # A2
    """Permissions, offsets in bytes and addresses; 512 KiB at a BAR of 64: a remap past the BAR succeeds."""
    lines = run_c(m, BODY, fine=False).stdout.decode().splitlines()
    shown = [line.split() for line in lines]
    assert [words[:3] for words in shown] == [
        ["000a0000-000c0000", "rwxs", "000a0000"],
        ["000f0000-00100000", "r-xs", "000f0000"],
        ["2a95828000-2a958a8000", "rw-s", "fcc00000"],
        ["2a958a8000-2a9d8a8000", "rw-s", "e8000000"],
    ]
    assert {words[5] for words in shown} == {"/dev/mem"}
    assert len({(words[3], words[4]) for words in shown}) == 1  # one device, one inode
    assert bytes(m.kernel.ram.view[0xB8000:0xB8001]) == b"X"  # what it stored is in the video RAM
    assert m.check_clean() == []
