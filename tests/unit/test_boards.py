"""Boards: descriptions with mistakes, cards of one's own, the cache of what the firmware left (issue 5, lines 1, 2)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import firmware
from machine import Machine, boards
from machine.boardfile import BoardFile
from machine.errors import ConfigError
from machine.hardware.ram import Ram

DEFAULT = (firmware.BOARDS / "ldd3-pc.toml").read_text()
CARDS = """
from machine.testing import Bar, PciFunction, Reg, RegisterBlock

class Answer(RegisterBlock):
    value = Reg(0, reset=42)

class Deep(PciFunction):
    device = 0x0042
    irq_pin = 3
    def __init__(self):
        super().__init__(bars=[Bar(block=Answer())])

class Fails(RegisterBlock):
    value = Reg(0)
    def __init__(self):
        raise SystemExit(3)

class Named(PciFunction):
    vendor = "me"

class Huge(PciFunction):
    def __init__(self):
        super().__init__(bars=[Bar(1 << 30)])
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A board file: the default one with changes; the cache is the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cards.py").write_text(CARDS)

    def make(*changes: tuple[str, str], more: str = "") -> Path:
        text = DEFAULT
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "mine.toml").write_text(text + more)
        return tmp_path / "mine.toml"

    return make


BLOCK = '[[block]]\nmodel = "cards.py:{1}"\naddress = {0}\n'
MISTAKES = [
    ("[[card]]", "[[crad]]", "[[crad]]", "there is no table 'crad'; did you mean card?"),
    ("description =", "descripton =", "descripton", "there is no key 'descripton'; did you mean description?"),
    ("[[bridge]]", "[bridge]", "[bridge]", "'bridge' is written as [[bridge]]"),
    ('slot = "01:00.0"', 'slto = "01:00.0"', "slto", "[card] has no key 'slto'; did you mean slot?"),
    ('slot = "01:00.0"', 'slot = "1"', 'slot = "1"', "there is no bus"),
    ('slot = "01:00.0"', 'slot = "02:00.0"', 'slot = "02', "there is no bus 2: a [[bridge]] makes one"),
    ('slot = "01:00.0"', 'slot = "00:01.0"', 'slot = "00:01.0"\nmodel', "the slot is taken: a bridge in line"),
    ('slot = "01:00.0"', "slot = 5", "slot = 5", "[card] wants slot = a text in quotes"),
    ('model = "display"', 'model = "dispaly"', "dispaly", "there is no card 'dispaly'"),
    ('model = "display"', 'model = "other.py"', "other.py", "there is no file other.py"),
    ('model = "display"', 'model = "cards.py"', 'model = "cards.py"', "cards.py has more than one PCI card"),
    ('model = "display"', 'model = "cards.py:No"', "cards.py:No", "cards.py has no PCI card No"),
    ('rom = "video.bin"', 'rom = "ldd3.toml"', "ldd3.toml", "there is no file ldd3.toml"),
    ('rom = "video.bin"', 'rom = "mine.toml"', 'rom = "mine', "a ROM has 512 to 65536, in steps of 512"),
    ('system = "system.bin"', 'system = "adapter.bin"', "adapter.bin\"  ", "the system ROM has 65536 bytes, not 4096"),
    ("address = 0xd1000", "address = 0xd1100", "0xd1100", "an option ROM starts at a multiple of 2 KiB"),
    ("0xfc700000, 0xfccfffff", "0xfc700000, 0xfccffff", "0xfccffff]", "is not in whole MiB"),
    ("0xfc700000, 0xfccfffff", "0x10000000, 0x100fffff", "0x10000000", "is not in the hole that RAM leaves"),
    ("io = [0xc000, 0xcfff]", "io = [0xc000]", "io = [0xc000]", "the first and the last address"),
    ("wires = [11, 10, 9, 5]", "wires = [11]", "wires = [11]", "wires are four interrupt lines"),
    ("[rom]", "[rom", "[rom", "Expected"),
    ("io = [0xc000, 0xcfff]", "io = [-4096, 4095]", "io = [-4096", "ports go from 0 to 0xffff"),
    ('model = "display"', 'model = "cards.py:Named"', "model = \"cards", "vendor is a number from 0 to 0xffff"),
    ("[pci]", BLOCK.format(0xFE000000, "Fails") + "[pci]", "model = ", "cards.py:Fails fails: SystemExit: 3"),
    ("[pci]", 2 * BLOCK.format(0xFE000000, "Answer") + "[pci]", "\naddress = 4261412864\n[pci]", "the place is taken"),
    ("[pci]", BLOCK.format(0xFE000100, "Answer") + "[pci]", "address = 4261", "starts at a page"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "where", "why"), MISTAKES, ids=[row[3][:30] for row in MISTAKES])
def test_mistakes_are_named_with_their_line(
    write: Callable[..., Path], old: str, new: str, where: str, why: str
) -> None:
    path = write((old, new))
    with pytest.raises(ConfigError) as caught:
        BoardFile(path)
    if why == "there is no bus":
        return
    before = path.read_text().partition(where)[0] + "\n" * where.startswith("\n")
    assert str(caught.value).startswith(f"{path}:{before.count(chr(10)) + 1}: "), caught.value
    assert why in str(caught.value)


def test_a_board_of_ones_own(write: Callable[..., Path]) -> None:
    """Cards and register blocks from a Python file, in slots and at addresses; the kernel finds them."""
    path = write(more='[[card]]\nslot = "01:02.0"\nmodel = "cards.py:Deep"\n'
                      '[[block]]\naddress = 0xfd000000\nmodel = "cards.py:Answer"\n')  # fmt: skip
    with Machine(ram=32 << 20, board=str(path)) as m:
        shown = m.read_file("/proc/iomem").decode()
        assert "fc700000-fccfffff : PCI Bus #01\n  fcb00000-fcb00fff : 0000:01:02.0\n" in shown
        assert m.kernel.bus.read(0xFCB00000, 4) == 42 == m.kernel.bus.read(0xFD000000, 4)
        assert [dev.irq for dev in m.kernel.pci.devices if dev.device == 0x42] == [10]
        assert "fd000000-fd000fff : answer" in shown
    assert any("1234:0042 Deep (BAR 0 0x1000)" in line for line in boards.described(str(path)))


def test_a_board_that_cannot_be_satisfied(write: Callable[..., Path]) -> None:
    path = write(more='[[card]]\nslot = "00:05.0"\nmodel = "cards.py:Huge"\n')
    line = path.read_text().splitlines().index('slot = "00:05.0"') + 1
    with pytest.raises(ConfigError) as caught:
        Machine(ram=32 << 20, board=str(path))
    assert str(caught.value) == f"{path}:{line}: PCI 00:05.0: no room in the bus's windows for BAR 0"


def test_a_machine_without_cards() -> None:
    with Machine(ram=32 << 20, board="bare") as m:
        assert "PCI Bus" not in m.read_file("/proc/iomem").decode() and len(m.kernel.pci.devices) == 1
    for wrong, why in (("ldd3pc", "did you mean ldd3-pc"), ("./no.toml", "there is no such board file")):
        with pytest.raises(ConfigError, match=why):
            Machine(board=wrong)


def test_the_cache(write: Callable[..., Path], tmp_path: Path) -> None:
    """A second start finds the state; a changed ROM, card or description, or a damaged file, is no state."""
    path = write(('rom = "video.bin"', 'rom = "rom.bin"'), ('model = "display"', 'model = "cards.py:Deep"'))
    rom = tmp_path / "rom.bin"
    rom.write_bytes((firmware.IMAGES / "video.bin").read_bytes())

    def cached() -> bool:
        return boards.load(str(path), 32 << 20).state is not None

    def start() -> None:
        Machine(ram=32 << 20, board=str(path)).close()

    assert not cached()
    start()
    assert cached() and boards.load(str(path), 64 << 20).state is None
    for change in (
        lambda: rom.write_bytes(rom.read_bytes()[:-2] + b"\1\1"),
        lambda: path.write_text(path.read_text() + "\n"),
        lambda: (tmp_path / "cards.py").write_text(CARDS + "\n"),
        lambda: next((tmp_path / "cache/nopage/boards").iterdir()).write_bytes(b"junk"),
    ):
        change()
        assert not cached()
        start()
        assert cached()


def test_without_a_cache(write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the directory can't be made, the firmware runs every time."""
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", None):
        if place is not None:
            monkeypatch.setenv("XDG_CACHE_HOME", str(place))
        else:
            monkeypatch.delenv("XDG_CACHE_HOME")
            monkeypatch.setenv("HOME", str(tmp_path / "no" / "home"))
        with Machine(ram=32 << 20) as m:
            assert "e8000000-efffffff : 0000:01:00.0" in m.read_file("/proc/iomem").decode()
    assert not (tmp_path / "no").exists()


def test_a_card_that_changed_under_the_state(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept belongs to other cards than those that are plugged in: the firmware runs again."""
    path = write(('model = "display"', 'model = "cards.py:Deep"'))
    with Machine(ram=32 << 20, board=str(path)) as m:
        m.kernel.board.state = boards.load("bare", 32 << 20, cached=False).start(m.kernel.ram), None  # type: ignore
        m.kernel.board.state = m.kernel.board.state[0]  # type: ignore[index]
        assert m.kernel.bus.read(0xFCC00000, 4) == 42


def test_the_command_line(write: Callable[..., Path]) -> None:
    def nopage(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "machine", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=dict(os.environ))

    listed = nopage("boards").stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["bare", "lab", "ldd3-pc"]
    shown = nopage("boards", "ldd3-pc").stdout
    assert "option ROM at 0xd1000: 4 KiB\n" in shown and "  prefetchable d7f00000-f7efffff\n" in shown
    lab = nopage("boards", "lab").stdout
    assert "  04.0         1234:11e8 QEMU's educational card: " in lab and "registers at 0xfd000000: timergpio\n" in lab
    path = write(("[[card]]", "[[cart]]"))
    for words in (("run", "--board", str(path), "hello"), ("boot", "--board", str(path)), ("boards", str(path))):
        done = nopage(*words)
        assert done.returncode == 125 and f"nopage: {path}:" in done.stderr and "no table 'cart'" in done.stderr
    assert nopage("run", "--board", "bare", "cat", "/proc/iomem").stdout.count("PCI") == 0


def test_a_cached_start_is_quick() -> None:
    """What the firmware left costs a start less than 5 ms."""
    boards.load(None, 32 << 20).start(Ram(32 << 20))
    took = []
    for _ in range(10):
        ram = Ram(32 << 20)
        before = time.process_time()
        boards.load(None, 32 << 20).start(ram)
        took.append(time.process_time() - before)
    assert min(took) < 0.005
