"""PCI as hardware: config space, BARs, windows, DMA, interrupts; no kernel (PCI Local Bus 3.0 ch. 6)."""

from __future__ import annotations

import pytest

from machine.hardware.bus import Bus
from machine.hardware.pci import Bar, Capability, PciError, PciFunction
from machine.hardware.pci_bus import CONFIG_ADDRESS, CONFIG_DATA, PciBridge, PciHost, parse_slot
from machine.hardware.ram import MiB, Ram
from machine.hardware.registers import Reg, RegisterBlock

COMMAND, STATUS, BAR0, BAR1, BAR2, ROM, LINE = 0x04, 0x06, 0x10, 0x14, 0x18, 0x30, 0x3C
IO, MEMORY, MASTER, INTX_OFF = 1, 2, 4, 0x400


class Numbers(RegisterBlock):
    one = Reg(0x00, reset=0x11111111)
    two = Reg(0x04, reset=0x22222222)


class Card(PciFunction):
    vendor, device = 0x1234, 0xCAFE
    class_code, revision = 0xFF0000, 7
    subsystem_vendor, subsystem = 0x5555, 0x6666
    irq_pin, msi = 1, True

    def __init__(self) -> None:
        self.numbers = Numbers()
        self.ports = Numbers()
        self.written: list[tuple[int, int, int]] = []
        super().__init__(
            bars=[
                Bar(block=self.numbers),
                Bar(32, block=self.ports, io=True),
                Bar(1 * MiB, memory=0x2000, prefetchable=True, bits=64),
            ],
            rom=b"\x55\xaa\x01" + bytes(509),
            capabilities=[Capability(0x09, b"\x06ours", b"\0\xff")],
        )

    def on_config_write(self, offset: int, width: int, value: int) -> None:
        self.written.append((offset, width, value))


class Board:
    """A bus without an engine, a bridge that leads to bus 1, and a card on bus 0 and one behind the bridge."""

    def __init__(self) -> None:
        self.ram = Ram(16 * MiB)
        self.bus = Bus(None, self.ram)
        self.lines: list[tuple[int, object]] = []
        self.bus.raise_irq = lambda irq: self.lines.append((irq, "edge"))
        self.bus.set_irq = lambda irq, high: self.lines.append((irq, high))
        self.host = PciHost(self.bus)
        self.card, self.bridge, self.behind = Card(), PciBridge(), Card()
        self.host.plug(self.card, 3 << 3)
        self.host.plug(self.bridge, 1 << 3)
        self.host.plug(self.behind, 0, self.bridge)


@pytest.fixture
def board() -> Board:
    return Board()


def test_sizing_and_placing(board: Board) -> None:
    """Ones written to a BAR read back as its size; low bits say what kind it is; an address moves it."""
    card = board.card
    for at, kind, size in ((BAR0, 0, 0x1000), (BAR1, 1, 32), (BAR2, 0xC, 1 * MiB)):
        assert card.config_read(at, 4) == kind
        card.config_write(at, 4, 0xFFFFFFFF)
        assert card.config_read(at, 4) == -size & 0xFFFFFFFF | kind
    card.config_write(BAR2 + 4, 4, 0xFFFFFFFF)
    assert card.config_read(BAR2 + 4, 4) == 0xFFFFFFFF  # a 64-bit BAR has both halves
    card.config_write(ROM, 4, 0xFFFFFFFE)
    assert card.config_read(ROM, 4) == 0xFFFFF000
    card.config_write(BAR2 + 4, 4, 0)
    for first in (0xF8000000, 0xF9000000):
        card.config_write(BAR0, 4, first)
        card.config_write(COMMAND, 2, MEMORY)
        assert board.bus.read(first, 4) == 0x11111111
    assert board.bus.read(0xF8000000, 4) == 0xFFFFFFFF


def test_command_bits(board: Board) -> None:
    """Memory off: master abort reads ones, writes are lost; the ports have a bit of their own."""
    card, bus = board.card, board.bus
    card.config_write(BAR0, 4, 0xF8000000)
    card.config_write(BAR1, 4, 0xC000)
    card.config_write(BAR2, 4, 0xF8100000)
    assert bus.read(0xF8000000, 4) == 0xFFFFFFFF and not bus.answers(0xF8000000)
    bus.write(0xF8000000, 4, 5)
    card.config_write(COMMAND, 2, MEMORY)
    assert bus.read(0xF8000000, 4) == 0x11111111
    bus.write(0xF8000004, 2, 5)
    assert card.numbers.two == 0x22220005
    bus.write(0xF8101FFC, 4, 0xABCD)
    assert bytes(card.bars[2].buffer[0x1FFC:0x2000]) == b"\xcd\xab\0\0"
    assert bus.read(0xF8102000, 4) == 0xFFFFFFFF  # the BAR is larger than the card's memory
    assert bus.ports.read(0xC000, 4) == 0xFFFFFFFF
    card.config_write(COMMAND, 2, IO)
    assert bus.ports.read(0xC004, 4) == 0x22222222 and bus.read(0xF8000000, 4) == 0xFFFFFFFF
    bus.ports.write(0xC000, 1, 0xEE)
    assert card.ports.one == 0x111111EE
    card.config_write(COMMAND, 2, 0xFFFF)
    assert card.command == 0x0547
    card.reset()
    assert card.command == 0 and card.ports.one == 0x11111111 and board.host.decoded == {}


def test_read_only_and_hooks(board: Board) -> None:
    card = board.card
    for at, width, value in ((0, 4, 0xCAFE1234), (8, 4, 0xFF000007), (0x2C, 4, 0x66665555), (0x3D, 1, 1)):
        card.config_write(at, width, 0)
        assert card.config_read(at, width) == value
    card.config_write(LINE, 1, 0xA)
    assert card.written[-1] == (LINE, 1, 0xA) and card.config_read(LINE, 1) == 0xA
    first = card.config_read(0x34, 1)
    assert card.config_read(STATUS, 2) & 0x10 and card.config_read(first, 1) == 0x09
    card.config_write(first + 2, 4, 0x11223344)
    assert card.config_read(first + 2, 4) == int.from_bytes(b"\x06\x33ur", "little")
    msi = card.config_read(first + 1, 1)
    assert (card.config_read(msi, 1), card.config_read(msi + 1, 1)) == (0x05, 0)


def test_rom(board: Board) -> None:
    card, bus = board.card, board.bus
    card.config_write(ROM, 4, 0xF8200001)
    assert bus.read(0xF8200000, 2) == 0xFFFF
    card.config_write(COMMAND, 2, MEMORY)
    assert bus.read(0xF8200000, 2) == 0xAA55 and bus.read(0xF8200200, 2) == 0xFFFF
    bus.write(0xF8200000, 2, 0)
    assert bus.read(0xF8200000, 2) == 0xAA55
    card.config_write(ROM, 4, 0xF8200000)
    assert bus.read(0xF8200000, 2) == 0xFFFF


def test_behind_a_bridge(board: Board) -> None:
    """Config cycles and addresses get there when the bridge has bus numbers, windows and its own command bit."""
    host, bridge, bus = board.host, board.bridge, board.bus
    assert host.config_read(1, 0, 0, 4) == 0xFFFFFFFF
    bridge.config_write(0x18, 4, 0x00010100)
    assert host.config_read(1, 0, 0, 4) == 0xCAFE1234 and board.behind.name == "0000:01:00.0"
    board.behind.config_write(BAR0, 4, 0xFC700000)
    board.behind.config_write(COMMAND, 2, MEMORY | IO)
    bridge.config_write(COMMAND, 2, MEMORY | IO)
    assert bus.read(0xFC700000, 4) == 0xFFFFFFFF
    bridge.config_write(0x20, 4, 0xFC70FC70)
    assert bus.read(0xFC700000, 4) == 0x11111111
    bridge.config_write(0x20, 4, 0xFC60FC60)
    assert bus.read(0xFC700000, 4) == 0xFFFFFFFF
    bridge.config_write(0x24, 4, 0xFC70FC70)
    assert bus.read(0xFC700000, 4) == 0x11111111
    bridge.config_write(COMMAND, 2, 0)
    assert bus.read(0xFC700000, 4) == 0xFFFFFFFF
    with pytest.raises(ValueError, match=r"slot 00\.0 is taken by Card"):
        host.plug(Card(), 0, bridge)


def test_configuration_ports(board: Board) -> None:
    """0xCF8 chooses, 0xCFC reads and writes, bytes and words too; only whole words choose."""
    ports = board.bus.ports
    ports.write(CONFIG_ADDRESS, 4, 0x80001800)
    assert ports.read(CONFIG_ADDRESS, 4) == 0x80001800
    assert ports.read(CONFIG_DATA, 4) == 0xCAFE1234 and ports.read(CONFIG_DATA + 2, 2) == 0xCAFE
    ports.write(CONFIG_ADDRESS, 4, 0x8000183C)
    ports.write(CONFIG_DATA, 1, 9)
    assert board.card.config_read(LINE, 1) == 9
    ports.write(CONFIG_ADDRESS, 1, 0)
    assert ports.read(CONFIG_ADDRESS, 4) == 0x8000183C
    for nobody in (0x80002000, 0x80010000, 0x1800):
        ports.write(CONFIG_ADDRESS, 4, nobody)
        assert ports.read(CONFIG_DATA, 4) == 0xFFFFFFFF


def test_two_at_one_address(board: Board) -> None:
    """The second does not answer, and says why; RAM is not to be covered either."""
    bridge, other = board.bridge, Card()
    board.host.plug(other, 4 << 3)
    board.card.config_write(BAR0, 4, 0xF8000000)
    board.card.config_write(COMMAND, 2, MEMORY)
    other.config_write(BAR0, 4, 0xF8000000)
    other.config_write(COMMAND, 2, MEMORY)
    assert board.host.conflicts == ["0000:00:04.0 BAR 0: numbers can't be at 0xf8000000: numbers is at 0xf8000000"]
    board.card.config_write(COMMAND, 2, 0)
    assert board.host.conflicts == [] and (other, 0) in board.host.decoded
    other.config_write(BAR0, 4, 0x100000)
    assert "there is RAM" in board.host.conflicts[0] and bridge.command == 0


def test_dma(board: Board) -> None:
    """Only as bus master, behind a bridge only when that is one too; where nobody is, it is counted."""
    card, behind, ram = board.card, board.behind, board.ram
    dirty: list[tuple[int, int]] = []
    board.bus.on_dma = lambda at, count: dirty.append((at, count))
    ram.view[0x200000:0x200004] = b"abcd"
    assert card.dma_read(0x200000, 4) == b"\xff" * 4 and not card.dma_write(0x200000, b"x") and card.refused == 2
    card.config_write(COMMAND, 2, MASTER)
    assert card.dma_read(0x200000, 4) == b"abcd" and card.dma_write(0x200FFE, b"1234")
    assert bytes(ram.view[0x200FFE:0x201002]) == b"1234" and dirty == [(0x200FFE, 2), (0x201000, 2)]
    assert card.dma_read(0xF0000000, 2) == b"\xff\xff" and card.aborts == 1
    assert not card.dma_write((1 << 40) - 1, b"xy") and card.aborts == 2
    assert card.config_read(STATUS, 2) & 0x2000
    card.config_write(STATUS, 2, 0x2000)
    assert not card.config_read(STATUS, 2) & 0x2000
    behind.config_write(COMMAND, 2, MASTER)
    assert behind.dma_read(0x200000, 1) == b"\xff"
    board.bridge.config_write(COMMAND, 2, MASTER)
    assert behind.dma_read(0x200000, 1) == b"a"


def test_interrupts(board: Board) -> None:
    """A line that two share goes down when both let go; the command bit takes it away; MSI is a write of data."""
    card, other, lines = board.card, Card(), board.lines
    board.host.plug(other, 7 << 3)
    assert card.irq == other.irq == 5  # four wires: slots 3 and 7 have the same
    card.raise_irq()
    card.numbers.hold_irq()
    other.hold_irq()
    assert lines == [(5, "edge"), (5, True)] and card.config_read(STATUS, 2) & 8
    card.lower_irq()
    assert lines[2:] == [] and not card.config_read(STATUS, 2) & 8
    other.config_write(COMMAND, 2, INTX_OFF)
    assert lines[2:] == [(5, False)] and other.config_read(STATUS, 2) & 8
    other.config_write(COMMAND, 2, MASTER)
    assert lines[3:] == [(5, True)]
    at = other.msi_at
    for offset, width, value in ((4, 4, 0xFEE00000), (8, 4, 0), (12, 2, 0x20 + 30), (2, 2, 1)):
        other.config_write(at + offset, width, value)
    assert lines[4:] == [(5, False)]
    other.lower_irq()
    other.hold_irq()
    other.raise_irq()
    assert lines[5:] == [(30, "edge"), (30, "edge")]
    other.config_write(COMMAND, 2, 0)
    other.raise_irq()
    assert lines[7:] == [] and other.refused == 1


def test_mistakes() -> None:
    class Silent(PciFunction):
        pass

    for wrong in ({"size": 3000}, {"size": 512, "io": True}, {"memory": 100}, {"size": 4096, "bits": 16}):
        with pytest.raises(PciError):
            Bar(**wrong)  # type: ignore[arg-type]
    with pytest.raises(PciError, match="7 base address registers, there are 6"):
        PciFunction(bars=[Bar(4096)] * 5 + [Bar(4096, bits=64)])
    with pytest.raises(PciError, match="don't fit the config space"):
        PciFunction(capabilities=[Capability(9, bytes(190)), Capability(9, bytes(10))])
    with pytest.raises(PciError, match="has no interrupt"):
        Silent().raise_irq()
    with pytest.raises(PciError, match="in no machine"):
        card = Card()
        card.config[COMMAND] = MASTER
        card.dma_read(0, 1)
    assert [parse_slot(text) for text in ("0000:01:02.3", "1f:00", "04.0")] == [(1, 0x13), (0x1F, 0), (0, 0x20)]
    for text in ("", "1:2:3:4", "20.0", "00.8"):
        with pytest.raises(ValueError, match="is no PCI slot"):
            parse_slot(text)


def test_the_state_as_a_whole(board: Board) -> None:
    """What one machine's firmware left, another machine with the same cards takes over."""
    board.card.config_write(BAR0, 4, 0xF8000000)
    board.card.config_write(COMMAND, 2, MEMORY)
    again = Board()
    again.host.restore(board.host.state())
    assert again.bus.read(0xF8000000, 4) == 0x11111111
    again.host.plug(Card(), 9 << 3)
    with pytest.raises(ValueError, match="another board"):
        again.host.restore(board.host.state())
