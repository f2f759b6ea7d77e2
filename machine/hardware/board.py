"""A board: its cards, its ROMs, and what its firmware leaves.

The firmware runs once, on a machine of its own (`power_on_self_test`).  What it left (low memory, ROM copies, config
space) is given to every machine with that board and that much RAM: `Board.start` fills RAM, `Board.wire` makes the
cards when somebody first looks beyond RAM.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional

from machine.hardware.ram import ISA_HOLE_END, ISA_HOLE_START, PAGE_SIZE, Ram
from machine.records import NamedTuple

if TYPE_CHECKING:
    from machine.hardware.bus import Bus
    from machine.hardware.chipset import Chipset, Windows
    from machine.hardware.pci import PciFunction
    from machine.hardware.pci_bus import PciHost

SYSTEM_ROM, SYSTEM_ROM_SIZE = 0xF0000, 0x10000
DONE, BAD_PCI = 0xAA, 0xE1
"""Last codes at port 0x80 (firmware/system.S)."""


class BoardError(ValueError):
    """The firmware could not do what the board asks; `slot` is the card that it is about, where there is one."""

    def __init__(self, text: str, slot: str = "") -> None:
        super().__init__(text)
        self.slot = slot


class Card(NamedTuple):
    """A slot, and what is in it."""

    bus: int
    devfn: int
    make: Callable[[], PciFunction]
    rom: bytes = b""


class Layout(NamedTuple):
    """What a board's description says."""

    system_rom: bytes
    option_roms: list[tuple[int, bytes]]
    """(address, contents) of those that are at a fixed address."""
    windows: list[Windows]
    """Of bus 0 and of each bridge."""
    bridges: list[int]
    """Devfn on bus 0 of each bridge; the bus behind the first is 1."""
    cards: list[Card]
    blocks: list[tuple[int, Callable[[], Any]]]
    """(address, RegisterBlock) of devices without PCI."""
    wires: tuple[int, ...]


class PostState(NamedTuple):
    """What the firmware left."""

    pages: dict[int, bytes]
    """Pages that are not all zero: the first one, and those from 640 KiB to 1 MiB.  Address -> contents."""
    configs: list[bytes]
    """Config space of each function."""
    power_on: list[bytes]
    """The same before: a board with other cards has another state."""
    console: str
    """All that was printed."""
    codes: list[int]
    """Steps at port 0x80."""


class Board:
    """One board of one machine.

    `layout` reads the description, `state` is what the firmware left (None: not known yet); `keep` hears of a new one.
    """

    def __init__(
        self,
        name: str,
        layout: Callable[[], Layout],
        state: Optional[PostState] = None,
        keep: Callable[[PostState], None] = lambda state: None,
    ) -> None:
        self.name = name
        self._layout = layout
        self._made: Optional[Layout] = None
        self.state = state
        self._keep = keep
        self.chipset: Chipset

    @property
    def layout(self) -> Layout:
        """The description, read at its first use."""
        if self._made is None:
            self._made = self._layout()
        return self._made

    def start(self, ram: Ram) -> PostState:
        """Fill low memory and the ROMs' addresses as after the power-on test.  BoardError when that fails."""
        if self.state is None:
            self._post(ram.size)
        assert self.state is not None
        for physical, data in self.state.pages.items():
            ram.view[physical : physical + PAGE_SIZE] = data
        return self.state

    def _post(self, size: int) -> None:
        self.state = power_on_self_test(self.layout, size)
        self._keep(self.state)

    def wire(self, bus: Bus) -> PciHost:
        """Make the cards, put them on the bus, and give them the config space that the firmware left."""
        host, self.chipset = plug_everything(self.layout, bus)
        if self.state is None or [each.power_on for each in host.functions()] != self.state.power_on:
            self._post(bus.ram.size)  # the cards have changed since
        assert self.state is not None
        host.restore(self.state.configs)
        self.chipset.codes[:] = self.state.codes
        for address, make in self.layout.blocks:
            bus.attach(make(), address, recorded=True)
        return host


def plug_everything(layout: Layout, bus: Bus) -> tuple[PciHost, Chipset]:
    """The board at power-on: every card in its slot."""
    from machine.hardware.chipset import Chipset
    from machine.hardware.pci_bus import HostBridge, PciBridge, PciHost

    host = PciHost(bus, layout.wires)
    host.plug(HostBridge(), 0)
    bridges = []
    for devfn in layout.bridges:
        bridges.append(PciBridge())
        host.plug(bridges[-1], devfn)
    for card in layout.cards:
        function = card.make()
        if card.rom:
            function.set_rom(card.rom)
        host.plug(function, card.devfn, bridges[card.bus - 1] if card.bus else None)
    own = layout.windows[0]
    host.memory_window, host.io_window = own.memory or (1, 0), own.io or (1, 0)
    return host, Chipset(bus.ports, bus.ram, layout.windows, layout.wires)


def power_on_self_test(layout: Layout, size: int) -> PostState:
    """Run the firmware on a machine of its own with `size` bytes of RAM.  BoardError: what it could not do."""
    from machine.hardware.bus import Bus
    from machine.hardware.realmode import RealMode, RealModeError

    ram = Ram(size)
    bus = Bus(None, ram)
    host, chipset = plug_everything(layout, bus)
    power_on = [each.power_on for each in host.functions()]
    ram.view[SYSTEM_ROM : SYSTEM_ROM + SYSTEM_ROM_SIZE] = layout.system_rom
    for address, data in layout.option_roms:
        ram.view[address : address + len(data)] = data
    try:
        RealMode(ram, bus).run()
    except RealModeError as error:
        raise BoardError(f"the firmware failed: {error}{_said(chipset)}") from None
    if not chipset.codes or chipset.codes[-1] != DONE:
        raise _refused(chipset)
    return PostState(_pages(ram), host.state(), power_on, chipset.console.decode("cp437"), chipset.codes)


def _pages(ram: Ram) -> dict[int, bytes]:
    found = {}
    for at in (0, *range(ISA_HOLE_START, ISA_HOLE_END, PAGE_SIZE)):
        data = bytes(ram.view[at : at + PAGE_SIZE])
        if any(data):
            found[at] = data
    return found


def _said(chipset: Chipset) -> str:
    text = chipset.console.decode("cp437").strip()
    return f"; it said:\n{text}" if text else ""


def _refused(chipset: Chipset) -> BoardError:
    code = chipset.codes[-1] if chipset.codes else 0
    if code == BAD_PCI:
        lines = [line.strip() for line in chipset.console.decode("cp437").splitlines()]
        trouble = [line for line in lines if line.startswith("PCI ") and line[11:12] == ":"]
        if trouble:
            return BoardError("; ".join(trouble), trouble[0][4:11])
    return BoardError(f"the power-on test stopped with code {code:#04x}{_said(chipset)}")
