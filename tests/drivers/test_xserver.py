"""An X server's mappings of /dev/mem, as the text shows them in /proc/PID/maps (MECHANISMS A1, A2, B3)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import guest
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


@pytest.fixture(params=["x86_64", "i386"])
def bits(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_xdraw_drives_the_adapter(m: Machine, bits: str) -> None:
    """The demo program: ROM, mode, frame buffer, 2D engine and maps, all through /dev/mem.  # A1, A2, B3"""
    accesses: list[Any] = []
    m.events.listen("register", accesses.append)
    program = Path(guest.__file__).parent / "bin" / bits / "xdraw"
    result = m.run([str(program)], timeout=120)
    lines = result.stdout.decode().splitlines()
    assert result.exit == 0, result.stderr
    assert lines[:2] == ["video ROM: 53248 bytes, checksum right", "system ROM: a jump at ffff0"]
    assert lines[2].startswith("640x480, 32 bits a pixel, picture ")
    shown = [line.split()[:3] for line in lines[3:]]
    assert [words[1:] for words in shown] == [
        ["rwxs", "000a0000"], ["r-xs", "000f0000"], ["rw-s", "fcc00000"], ["rw-s", "e8000000"],
    ] or bits == "i386"  # fmt: skip
    assert shown[:2] == [["000a0000-000c0000", "rwxs", "000a0000"], ["000f0000-00100000", "r-xs", "000f0000"]]
    if bits == "x86_64":
        assert [words[0] for words in shown[2:]] == ["2a95828000-2a958a8000", "2a958a8000-2a9d8a8000"]
    assert sorted(words[2] for words in shown) == ["000a0000", "000f0000", "e8000000", "fcc00000"]
    assert bytes(m.kernel.ram.view[0xB8000:0xB8002]) == b"X\x07"
    display = m.kernel.pci_host.find(1, 0)
    width, height, pixels = display.picture()
    at = {(x, y): pixels[3 * (y * width + x) :][:3].hex() for x, y in ((440, 150), (0, 0), (275, 430), (75, 465))}
    assert (width, height) == (640, 480)
    assert at == {(440, 150): "ffd860", (0, 0): "283ca0", (275, 430): "c8b090", (75, 465): "c8b090"}
    assert {a.width for a in accesses} == {4} and display.registers.counts.refused == 0
    assert [(a.register, a.value) for a in accesses if a.write][:7] == [
        ("control", 0), ("width", 640), ("height", 480), ("depth", 32), ("stride", 2560), ("start", 0), ("control", 1),
    ]  # fmt: skip
    assert m.check_clean() == []


def test_beyond_the_registers_bar(m: Machine, run_c: Run) -> None:
    """512 KiB at a BAR of 64: the rest is nobody's and reads as ones; what is written there is lost.  # A2, B3"""
    run_c(m, """
        int fd = must_open("/dev/mem", O_RDWR);
        volatile unsigned *regs = map(fd, 0xfcc00000, 0x80000, RW, MAP_SHARED);
        volatile unsigned char *vram = map(fd, 0xe8000000, 0x8000000, RW, MAP_SHARED);
        EQUAL("the last byte of the BAR", ((volatile unsigned char *)regs)[0xffff], 0);
        EQUAL("behind it", regs[0x10000 / 4], 0xffffffffu);
        regs[0x10000 / 4] = 0;
        EQUAL("still", regs[0x7fffc / 4], 0xffffffffu);
        vram[0x3ffffff] = 7;
        EQUAL("the last byte of memory", vram[0x3ffffff], 7);
        EQUAL("BAR without memory", vram[0x4000000], 0xff);
        EQUAL("its end", vram[0x7ffffff], 0xff);
    """)  # fmt: skip
