"""The firmware: images match their sources; the power-on test and what it leaves, in real mode (issue 5, line 2)."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import firmware
from firmware import build
from machine import boards, bootscreen
from machine.boardfile import BoardFile
from machine.errors import ConfigError
from machine.hardware.board import BoardError, Layout, PostState, power_on_self_test
from machine.hardware.bus import Bus
from machine.hardware.chipset import Windows
from machine.hardware.pci import Bar, PciFunction
from machine.hardware.ram import GiB, MiB, Ram
from machine.hardware.realmode import RealMode, RealModeError

BOARD = firmware.BOARDS / "ldd3-pc.toml"


@pytest.mark.parametrize("name", build.SOURCES)
def test_images_match_their_sources(name: str) -> None:
    kept = build.record()["roms"][name]
    image = (firmware.IMAGES / f"{name}.bin").read_bytes()
    assert kept["source"] == build.digest((firmware.HERE / f"{name}.S").read_bytes()), "python -m firmware.build"
    assert kept["image"] == build.digest(image)
    if importlib.util.find_spec("ziglang") and importlib.metadata.version("ziglang") == build.record()["ziglang"]:
        assert build.assemble(name) == image
    if name != "system":
        assert image[:2] == b"\x55\xaa" and len(image) == image[2] * 512 and sum(image) % 256 == 0
    assert (firmware.HERE / "font8x13.bin").stat().st_size == 256 * 13


def layout(**changes: object) -> Layout:
    return BoardFile(BOARD).layout._replace(**changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def default() -> PostState:
    return power_on_self_test(BoardFile(BOARD).layout, 64 * MiB)


def words(data: bytes, at: int, width: int = 4, count: int = 1) -> list[int]:
    return [int.from_bytes(data[n : n + width], "little") for n in range(at, at + width * count, width)]


def test_what_the_default_pc_leaves(default: PostState) -> None:  # A1
    """The steps, the map of memory, the ROM copies, the screen, bus numbers, windows and BARs: those of the text."""
    assert default.codes == [0x10, 0x20, 0x30, 0x40, 0x50, 0xAA]
    low = default.pages[0]
    assert low[0x500:0x504] == b"SMAP" and words(low, 0x504) == [3]
    entries = [words(low, 0x508 + 20 * n, 8, 2) + words(low, 0x518 + 20 * n) for n in range(3)]
    assert entries == [[0, 0xA0000, 1], [0xF0000, 0x10000, 2], [0x100000, 63 * MiB, 1]]
    assert words(low, 0x413, 2) == [640] and words(low, 0x4F0, 2) == [0xD100]  # the adapter's ROM was called there
    video = (firmware.IMAGES / "video.bin").read_bytes()
    assert default.pages[0xC0000] == video[:4096] and default.pages[0xCC000] == video[-4096:]
    assert words(low, 0x42, 2) == [0xC000]  # the display's ROM has interrupt 0x10
    host, bridge, display = default.configs
    assert host[:4] == default.power_on[0][:4]
    assert list(bridge[0x18:0x1B]) == [0, 1, 1] and bridge[4] == 7
    assert words(bridge, 0x20, 2, 4) == [0xFC70, 0xFCC0, 0xD7F1, 0xF7E1]
    assert words(display, 0x10, 4, 2) == [0xE8000008, 0xFCC00000] and display[4] == 2
    assert words(display, 0x30) == [0] and list(display[0x3C:0x3E]) == [10, 1]


def test_the_screen(default: PostState, tmp_path: Path) -> None:
    """Text and picture: each character of the one is drawn in the other."""
    lines = bootscreen.screen_lines(default)
    assert lines[0] == "nopage display ROM: text, 80 by 25" and lines[-1] == "Ready."
    assert "Memory 65536 KiB: OK" in lines and "PCI 01:00.0 1234:1111 class 0300, interrupt 10" in lines
    assert "Adapter ROM called" in lines
    assert "".join(default.console.split()) == "".join("".join(lines[1:]).split())
    pixels = bootscreen.picture(default)
    assert len(pixels) == 640 * 400 and set(pixels) == {0, 7}
    for row, line in enumerate(lines):
        for column in range(80):
            lit = any(pixels[(row * 16 + n) * 640 + column * 8 + bit] for n in range(16) for bit in range(8))
            assert lit == (column < len(line) and line[column] != " "), (row, column)
    from PIL import Image

    bootscreen.save_png(default, str(tmp_path / "post.png"))
    with Image.open(tmp_path / "post.png") as image:
        assert image.size == (640, 400) and image.convert("RGB").getpixel((1, 2)) in ((0, 0, 0), (170, 170, 170))
        assert image.tobytes() == pixels
    with pytest.raises(ConfigError, match="No such file"):
        bootscreen.save_png(default, str(tmp_path / "nowhere" / "post.png"))


@pytest.mark.parametrize("size", [16 * MiB, 6 * GiB])
def test_memory_sizes(size: int) -> None:
    low = power_on_self_test(BoardFile(firmware.BOARDS / "bare.toml").layout, size).pages[0]
    found = [words(low, 0x508 + 20 * n, 8, 2) for n in range(words(low, 0x504)[0])]
    ram = Ram(size)
    assert [(base, base + length) for base, length in found if base != 0xF0000] == ram.pieces


# -- option ROMs ------------------------------------------------------------------------------------------------


def option_rom(code: bytes, size: int = 1, spoil: int = 0) -> bytes:
    """An option ROM whose entry runs `code`."""
    data = bytearray((b"\x55\xaa" + bytes([size]) + code).ljust(512 * size, b"\0"))
    data[-1] = (-sum(data[:-1]) + spoil) & 0xFF
    return bytes(data)


def mark(number: int) -> bytes:
    """push ds; xor ax, ax; mov ds, ax; mov byte [0x4f0 + number], number; pop ds; retf"""
    return b"\x1e\x31\xc0\x8e\xd8\xc6\x06" + (0x4F0 + number).to_bytes(2, "little") + bytes([number]) + b"\x1f\xcb"


def test_option_roms_are_checked() -> None:
    """Each 2 KiB; those with a wrong sum or no size are named and skipped; the others' entries are called, in order."""
    inner = bytearray(option_rom(mark(3), 12))
    inner[0x1000:0x1200] = option_rom(mark(4))  # its bytes are the outer one's
    roms = [
        (0xC8000, option_rom(mark(1))), (0xC8800, option_rom(mark(2), spoil=1)), (0xC9000, bytes(inner)),
        (0xCB000, b"\x55\xaa\0" + bytes(509)), (0xCB400, option_rom(mark(5))), (0xEF800, option_rom(mark(6), 4)),
    ]  # fmt: skip
    state = power_on_self_test(layout(option_roms=roms, cards=[]), 16 * MiB)
    assert list(state.pages[0][0x4F1:0x4F7]) == [1, 0, 3, 0, 0, 6]
    assert [line for line in state.console.splitlines() if "ROM at" in line] == [
        "Option ROM at segment c880: bad checksum or size, skipped",
        "Option ROM at segment cb00: bad checksum or size, skipped",
    ]


def test_a_spoilt_video_rom_leaves_the_screen_dark() -> None:
    """The console still says what happened."""
    spoilt = bytearray((firmware.IMAGES / "video.bin").read_bytes())
    spoilt[100] ^= 1
    card = layout().cards[0]._replace(rom=bytes(spoilt))
    state = power_on_self_test(layout(cards=[card]), 16 * MiB)
    assert bootscreen.screen_lines(state) == [] and "segment c000: bad checksum" in state.console


def test_firmware_that_goes_astray() -> None:
    """No halt, and an instruction that is none: said with the address; what a device raises comes through."""
    ram = Ram(16 * MiB)
    bus = Bus(None, ram)
    ram.view[0xFFFF0:0xFFFF2] = b"\x0f\x0b"
    with pytest.raises(RealModeError, match="F000:"):
        RealMode(ram, bus).run()
    ram.view[0xFFFF0:0xFFFF4] = b"\xe6\x55\xf4\x90"

    def explode(offset: int, width: int, value: int) -> None:
        raise KeyError("broken device")

    bus.ports.add(0x55, 1, lambda offset, width: 0, explode)
    with pytest.raises(KeyError, match="broken device"):
        RealMode(ram, bus).run()
    with pytest.raises(BoardError, match="the power-on test stopped with code 0x00"):
        power_on_self_test(layout(system_rom=b"\xf4" * 65536), 16 * MiB)


# -- boards that are other ------------------------------------------------------------------------------------------


class Wide(PciFunction):
    irq_pin = 2

    def __init__(self) -> None:
        wide = Bar(64 * MiB, bits=64, prefetchable=True)
        super().__init__(bars=[wide, Bar(64, io=True), Bar(8192), None, Bar(16, io=True)])


def card(bus: int, devfn: int, make: type[PciFunction]) -> object:
    return layout().cards[0]._replace(bus=bus, devfn=devfn, make=make, rom=b"")


def test_other_cards_get_addresses_too() -> None:
    """64-bit BARs, ports, several functions of one card, two bridges: nothing overlaps, all inside their windows."""
    windows = [
        Windows((0xF8000000, 0xFBFFFFFF), None, (0xC000, 0xCFFF)),
        Windows((0xE0000000, 0xE00FFFFF), (0xE4000000, 0xEBFFFFFF), (0x1000, 0x1FFF)),
        Windows((0xF0000000, 0xF7FFFFFF), None, (0x2000, 0x3FFF)),
    ]
    places = [(1, 0), (2, 0x08), (2, 0x09), (0, 0x38)]
    made = layout(windows=windows, bridges=[0x08, 0x10], cards=[card(*place, Wide) for place in places[:2]])
    state = power_on_self_test(made, 16 * MiB)
    first, second = state.configs[2], state.configs[4]
    assert words(first, 0x10, 4, 6) == [0xE800000C, 0, 0x1FC1, 0xE0000000, 0, 0x1FB1]
    assert words(second, 0x10, 4, 6) == [0xF400000C, 0, 0x3FC1, 0xF3F00000, 0, 0x3FB1]
    assert [first[0x3C], second[0x3C]] == [9, 11] and list(state.configs[3][0x18:0x1B]) == [0, 2, 2]
    assert words(state.configs[3], 0x24, 2, 2) == [0xFFF1, 0x0001]  # no such window: closed
    assert [first[4], second[4]] == [3, 3]


def test_a_board_that_cannot_be_satisfied() -> None:
    """A BAR larger than its window, ports where there are none: which card, which BAR."""
    with pytest.raises(BoardError) as caught:
        power_on_self_test(layout(cards=[card(1, 0, Wide), card(0, 0x20, Wide)]), 16 * MiB)
    assert str(caught.value) == (
        "PCI 01:00.0: no room in the bus's windows for BAR 2; PCI 01:00.0: no room in the bus's windows for BAR 5; "
        "PCI 00:04.0: no room in the bus's windows for BAR 3"
    )
    assert caught.value.slot == "01:00.0"


def test_nopage_boot(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "machine", "boot", "--ram", "32M", "--screen", str(tmp_path / "s.png")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0 and "Memory 32768 KiB: OK\n" in done.stdout and done.stdout.endswith("\nReady.\n")
    assert (tmp_path / "s.png").read_bytes()[:4] == b"\x89PNG"
    done = subprocess.run([*command[:4], "--board", "bare"], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.startswith("nopage system ROM\n") and "01:00.0" not in done.stdout  # no display: the console
    assert boards.names() == ["bare", "lab", "ldd3-pc"]
