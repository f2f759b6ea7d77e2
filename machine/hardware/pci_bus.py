"""The PCI buses of one machine: host bridge, PCI-to-PCI bridges, and who decodes which address.

`PciHost` is what the processor sees: the configuration ports 0xCF8 and 0xCFC (configuration mechanism 1), and the
decoding: a BAR answers when its address is set, the command register allows it, and every bridge above forwards the
range.  What changes that (a write to config space) has `update` put devices on the bus and take them off, so an
access to a BAR that is switched off reads ones and writes nothing (master abort).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Optional

from machine.hardware.bus import Attachment
from machine.hardware.pci import ROM_BAR, Bar, PciFunction

from machine.hardware.pci_regs import (  # isort: skip
    PCI_BRIDGE_CONTROL, PCI_COMMAND_IO, PCI_COMMAND_MEMORY, PCI_HEADER_TYPE_BRIDGE, PCI_IO_BASE, PCI_IO_LIMIT,
    PCI_MEMORY_BASE, PCI_MEMORY_LIMIT, PCI_PREF_BASE_UPPER32, PCI_PREF_LIMIT_UPPER32, PCI_PREF_MEMORY_BASE,
    PCI_PREF_MEMORY_LIMIT, PCI_PRIMARY_BUS, PCI_ROM_ADDRESS1, PCI_SEC_LATENCY_TIMER, PCI_SEC_STATUS, PCI_SECONDARY_BUS,
    PCI_SUBORDINATE_BUS,
)  # fmt: skip
from machine.hardware.ram import PAGE_SIZE

if TYPE_CHECKING:
    from machine.hardware.bus import Bus
    from machine.hardware.ports import PortRange

CONFIG_ADDRESS, CONFIG_DATA = 0xCF8, 0xCFC
MSI_WINDOW = (0xFEE00000, 0xFEEFFFFF)
"""A write here is an interrupt (SDM vol. 3A §11.11)."""
FIRST_VECTOR = 0x20
"""The vector of interrupt 0: those below are the processor's exceptions."""
PIRQ = (11, 10, 9, 5)
"""Interrupt lines behind a board's four PCI interrupt wires; slot and pin choose one."""
_SLOT = re.compile(r"(?:(?:0000:)?([0-9a-fA-F]{1,2}):)?([0-9a-fA-F]{1,2})(?:\.([0-7]))?")


class HostBridge(PciFunction):
    """The function 0000:00:00.0: the host's side of bus 0."""

    vendor, device = 0x1234, 0x0600
    class_code = 0x060000


class PciBridge(PciFunction):
    """A PCI-to-PCI bridge: what is on `behind` is on its secondary bus (PCI-to-PCI Bridge Architecture 1.1)."""

    vendor, device = 0x1234, 0x0604
    class_code: ClassVar[int] = 0x060400
    header_type = PCI_HEADER_TYPE_BRIDGE

    def __init__(self) -> None:
        self.behind: dict[int, PciFunction] = {}
        """By device * 8 + function."""
        super().__init__()

    @staticmethod
    def bar_count() -> int:
        return 2

    def rom_offset(self) -> int:
        return PCI_ROM_ADDRESS1

    def _lay_out_rest(self) -> None:
        put = self._put
        for offset in (PCI_PRIMARY_BUS, PCI_SECONDARY_BUS, PCI_SUBORDINATE_BUS):
            put(offset, 1, 0, 0xFF)
        put(PCI_SEC_LATENCY_TIMER, 1, 0, 0xF8)
        put(PCI_SEC_STATUS, 2, 0x02A0, 0, 0xF900)
        # Base above limit: no window is open at power-on.
        put(PCI_IO_BASE, 1, 0xF0, 0xF0)
        put(PCI_IO_LIMIT, 1, 0, 0xF0)
        put(PCI_MEMORY_BASE, 2, 0xFFF0, 0xFFF0)
        put(PCI_MEMORY_LIMIT, 2, 0, 0xFFF0)
        put(PCI_PREF_MEMORY_BASE, 2, 0xFFF1, 0xFFF0)
        put(PCI_PREF_MEMORY_LIMIT, 2, 0x0001, 0xFFF0)
        put(PCI_PREF_BASE_UPPER32, 4, 0, 0xFFFFFFFF)
        put(PCI_PREF_LIMIT_UPPER32, 4, 0, 0xFFFFFFFF)
        put(PCI_BRIDGE_CONTROL, 2, 0, 0x0FFF)

    @property
    def secondary(self) -> int:
        """The number of the bus behind it."""
        return self.config[PCI_SECONDARY_BUS]

    @property
    def subordinate(self) -> int:
        """The highest number of a bus behind it."""
        return self.config[PCI_SUBORDINATE_BUS]

    def windows(self) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        """(first, last) of what it forwards: I/O, memory, prefetchable memory.  Closed where last < first."""
        read = self.config_read
        io = (read(PCI_IO_BASE, 1) & 0xF0) << 8, (read(PCI_IO_LIMIT, 1) & 0xF0) << 8 | 0xFFF
        memory = (read(PCI_MEMORY_BASE, 2) & 0xFFF0) << 16, (read(PCI_MEMORY_LIMIT, 2) & 0xFFF0) << 16 | 0xFFFFF
        first = read(PCI_PREF_BASE_UPPER32, 4) << 32 | (read(PCI_PREF_MEMORY_BASE, 2) & 0xFFF0) << 16
        last = read(PCI_PREF_LIMIT_UPPER32, 4) << 32 | (read(PCI_PREF_MEMORY_LIMIT, 2) & 0xFFF0) << 16 | 0xFFFFF
        return io, memory, (first, last)

    def forwards(self, start: int, end: int, io: bool) -> bool:
        """Whether an access to any of `start` to `end`, included, gets to the other side."""
        if not self.command & (PCI_COMMAND_IO if io else PCI_COMMAND_MEMORY):
            return False
        ports, memory, prefetchable = self.windows()
        open_ = (ports,) if io else (memory, prefetchable)
        mine = any(first <= start and end <= last for first, last in open_)
        return mine and (self.bridge is None or self.bridge.forwards(start, end, io))


class Decoded(NamedTuple):
    """A BAR that answers now."""

    address: int
    bar: Bar
    ports: Optional[PortRange]


class PciHost:
    """The buses of one machine."""

    def __init__(self, bus: Bus, wires: Sequence[int] = PIRQ) -> None:
        self.bus = bus
        self.wires = wires
        """Interrupt lines behind the board's four wires."""
        self.root: dict[int, PciFunction] = {}
        """Bus 0, by device * 8 + function."""
        self.memory_window = (0xF8000000, 0xFBFFFFFF)
        """(first, last) of the memory addresses that bus 0 has for its own cards."""
        self.io_window = (0xC000, 0xCFFF)
        """The same of ports."""
        self.decoded: dict[tuple[PciFunction, int], Decoded] = {}
        self.conflicts: list[str] = []
        """BARs that can't answer where they were put: RAM or another device is there."""
        self.strays = 0
        """Messages (MSI) to vectors that are none."""
        self._address = 0
        self._held: dict[int, set[PciFunction]] = {}
        bus.ports.add(CONFIG_ADDRESS, 4, self._read_address, self._write_address)
        bus.ports.add(CONFIG_DATA, 4, self._read_data, self._write_data)

    # -- what is plugged in ----------------------------------------------------------------------

    def plug(self, function: PciFunction, devfn: int, bridge: Optional[PciBridge] = None) -> None:
        """Put a function into a slot of bus 0, or of the bus behind `bridge`.  ValueError: the slot is taken, or
        this is no card, or one that is plugged in."""
        self._check_card(function)
        slots = self.root if bridge is None else bridge.behind
        if devfn in slots:
            from machine.testing import messages

            raise ValueError(messages.slot_is_taken(devfn, type(slots[devfn])))
        slots[devfn] = function
        function.host, function.bridge, function.devfn = self, bridge, devfn
        if function.irq_pin and not function.irq:
            function.irq = self._wire(function)
        if devfn & 7 and devfn & ~7 in slots:
            self._multifunction(slots[devfn & ~7])
        elif not devfn & 7 and any(each & ~7 == devfn for each in slots if each != devfn):
            self._multifunction(function)

    def _check_card(self, function: PciFunction) -> None:
        from machine.testing import messages

        if not isinstance(function, PciFunction) or not hasattr(function, "power_on"):
            raise ValueError(messages.is_no_card(function))
        if function.host is self:
            raise ValueError(messages.card_is_plugged(function.devfn))

    @staticmethod
    def _multifunction(first: PciFunction) -> None:
        first.config[0x0E] |= 0x80
        first.power_on = bytes(first.config)

    def _wire(self, function: PciFunction) -> int:
        """The line that its pin leads to: each bridge, and the board, turn the four wires on by the slot."""
        pin, node = function.irq_pin - 1, function
        while node.bridge is not None:
            pin, node = (pin + (node.devfn >> 3)) % 4, node.bridge
        return self.wires[(pin + (node.devfn >> 3)) % 4]

    def functions(self) -> Iterator[PciFunction]:
        """All functions, depth first in the order of their slots."""
        return self._each(self.root)

    def _each(self, slots: dict[int, PciFunction]) -> Iterator[PciFunction]:
        for _devfn, function in sorted(slots.items()):
            yield function
            if isinstance(function, PciBridge):
                yield from self._each(function.behind)

    def find(self, number: int, devfn: int) -> Optional[PciFunction]:
        """The function that a configuration cycle for this bus, device and function reaches."""
        slots = self.root
        while number:
            way = (each for each in slots.values() if isinstance(each, PciBridge))
            bridge = next((each for each in way if each.secondary <= number <= each.subordinate), None)
            if bridge is None:
                return None
            slots = bridge.behind
            if bridge.secondary == number:
                break
        return slots.get(devfn)

    # -- configuration -----------------------------------------------------------------------------

    def config_read(self, number: int, devfn: int, offset: int, width: int) -> int:
        """A configuration read; ones where there is no such function."""
        function = self.find(number, devfn)
        return (1 << 8 * width) - 1 if function is None else function.config_read(offset, width)

    def config_write(self, number: int, devfn: int, offset: int, width: int, value: int) -> None:
        """A configuration write; lost where there is no such function."""
        function = self.find(number, devfn)
        if function is not None:
            function.config_write(offset, width, value)

    def _read_address(self, offset: int, width: int) -> int:
        return self._address >> 8 * offset

    def _write_address(self, offset: int, width: int, value: int) -> None:
        if width == 4:  # narrower writes go to other registers of a real chipset
            self._address = value & 0x80FFFFFC

    def _read_data(self, offset: int, width: int) -> int:
        at = self._address
        if not at >> 31:
            return (1 << 8 * width) - 1
        return self.config_read(at >> 16 & 0xFF, at >> 8 & 0xFF, (at & 0xFC) + offset, width)

    def _write_data(self, offset: int, width: int, value: int) -> None:
        at = self._address
        if at >> 31:
            self.config_write(at >> 16 & 0xFF, at >> 8 & 0xFF, (at & 0xFC) + offset, width, value)

    # -- who decodes what -----------------------------------------------------------------------------

    def update(self) -> None:
        """Have the bus agree with the BARs, the command registers and the windows."""
        wanted = {(function, number): address for function in self.functions()
                  for number, address in self._answering(function)}  # fmt: skip
        gone = [key for key, now in self.decoded.items() if wanted.get(key) != now.address]
        new = [key for key in wanted if key not in self.decoded or key in gone]
        for key in gone:
            self._take_off(self.decoded.pop(key))
        self.conflicts.clear()
        for key in new:
            self._put_on(*key, wanted[key])
        if gone or new:
            self.bus.on_change()

    @staticmethod
    def _answering(function: PciFunction) -> Iterator[tuple[int, int]]:
        for number, bar in function.bars.items():
            address = function.bar_address(number)
            if not address or not function.is_decoded(number):
                continue
            above = function.bridge
            if above is None or above.forwards(address, address + bar.size - 1, bar.io):
                yield number, address

    def _put_on(self, function: PciFunction, number: int, address: int) -> None:
        bar, ports = function.bars[number], None
        try:
            if bar.io:
                ports = self._put_ports(bar, address)
            elif bar.block is not None:
                self.bus.attach(bar.block, address, recorded=function.recorded and number != ROM_BAR)
            elif bar.memory:
                self.bus.attach_memory(bar.store, address)
        except ValueError as why:
            self.conflicts.append(f"{function.name} BAR {number}: {why}")
            return
        self.decoded[function, number] = Decoded(address, bar, ports)

    def _put_ports(self, bar: Bar, first: int) -> Optional[PortRange]:
        block, bus = bar.block, self.bus
        if block is None:
            return None
        where = Attachment(block, first)
        block.bus = bus
        return bus.ports.add(
            first, bar.size,
            lambda offset, width: bus.read_block(where, offset, width),
            lambda offset, width, value: bus.write_block(where, offset, width, value),
        )  # fmt: skip

    def _take_off(self, gone: Decoded) -> None:
        if gone.ports is not None:
            self.bus.ports.remove(gone.ports)
        elif gone.bar.block is not None and not gone.bar.io:
            self.bus.detach(gone.bar.block)
        elif gone.bar.memory:
            self.bus.detach_memory(gone.address)

    # -- the state as a whole ----------------------------------------------------------------------------

    def state(self) -> list[bytes]:
        """The config spaces of all functions: what the firmware leaves."""
        return [bytes(each.config) for each in self.functions()]

    def restore(self, state: list[bytes]) -> None:
        """Take over what `state` gave on a machine with the same cards; ValueError when they are others."""
        everyone = list(self.functions())
        if len(everyone) != len(state):
            raise ValueError("the state is that of another board")
        for function, config in zip(everyone, state, strict=True):
            function.config[:] = config
        self.update()

    # -- interrupts and DMA ----------------------------------------------------------------------------

    def drive(self, function: PciFunction, high: bool) -> None:
        """A function pulls its line or lets it go; the line is high while anybody pulls it."""
        holders = self._held.setdefault(function.irq, set())
        before = bool(holders)
        (holders.add if high else holders.discard)(function)
        if before != bool(holders):
            self.bus.set_irq(function.irq, not before)

    def master_read(self, address: int, count: int) -> tuple[bytes, bool]:
        """What a bus master reads, and whether somebody answered everywhere."""
        data, everywhere = b"", True
        for at, n in _pages(address, count):
            here = self.bus.answers(at)
            data += self.bus.read_bytes(at, n) if here else b"\xff" * n
            everywhere &= here
        return data, everywhere

    def master_write(self, address: int, data: bytes) -> bool:
        """What a bus master writes; whether somebody answered everywhere."""
        if MSI_WINDOW[0] <= address <= MSI_WINDOW[1]:
            return self._message(int.from_bytes(data, "little"))
        everywhere = True
        for at, n in _pages(address, len(data)):
            if not self.bus.answers(at):
                everywhere = False
                continue
            self.bus.write_bytes(at, data[at - address : at - address + n])
            self.bus.on_dma(at, n)
        return everywhere

    def _message(self, data: int) -> bool:
        vector = data & 0xFF
        if vector < FIRST_VECTOR:
            self.strays += 1
        else:
            self.bus.raise_irq(vector - FIRST_VECTOR)
        return True


def parse_slot(text: object) -> tuple[int, int]:
    """(bus, devfn) of ``0000:01:02.0``, ``01:02.0``, ``02.0`` (bus 0).  ValueError."""
    match = _SLOT.fullmatch(text) if isinstance(text, str) else None
    if match is None or int(match[2], 16) > 31:
        from machine.testing import messages

        raise ValueError(messages.no_such_slot(text))
    return int(match[1] or "0", 16), int(match[2], 16) << 3 | int(match[3] or "0")


def _pages(start: int, count: int) -> Iterator[tuple[int, int]]:
    """(address, bytes) of the part in each page."""
    end = start + count
    while start < end:
        stop = min(end, (start | PAGE_SIZE - 1) + 1)
        yield start, stop - start
        start = stop
