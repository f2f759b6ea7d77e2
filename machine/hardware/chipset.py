"""What else a board has at I/O ports: CMOS memory with its settings, the step of the power-on test, a console.

CMOS registers, by index at port 0x70, contents at 0x71: 0x15 and 0x16 KiB below 640 (a word); 0x34 RAM above 16 MiB
in pieces of 64 KiB (a word); 0x5b to 0x5d the same above 4 GiB; 0x40 to 0x49 the windows of bus 0; 0x4c to 0x4f the
interrupt lines behind the four PCI wires; from 0x60 on 10 bytes for each bridge, as those of bus 0: first and last
MiB of the memory window and of the prefetchable one (words, address / 65536; 0 for none), the ports' first and last
4 KiB (bytes, / 256).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Optional

from machine.hardware.ports import Ports
from machine.hardware.ram import PCI_HOLE_END, MiB, Ram

CMOS, POST, CONSOLE = 0x70, 0x80, 0xE9
BRIDGES_AT, BRIDGE_SIZE, MAX_BRIDGES = 0x60, 10, 3

Range = Optional[tuple[int, int]]


class Windows(NamedTuple):
    """(first, last) of a bus's part of the address space: memory in whole MiB, ports in whole 4 KiB; None: nothing."""

    memory: Range = None
    prefetchable: Range = None
    io: Range = None

    def packed(self) -> bytes:
        """As the CMOS has it, 10 bytes."""
        words = [(0, 0) if each is None else (each[0] >> 16, each[1] >> 16 & 0xFFF0) for each in self[:2]]
        io = (0, 0) if self.io is None else (self.io[0] >> 8 & 0xF0, self.io[1] >> 8 & 0xF0)
        return b"".join(value.to_bytes(2, "little") for pair in words for value in pair) + bytes(io)


class Chipset:
    """The ports of one board."""

    def __init__(self, ports: Ports, ram: Ram, buses: Sequence[Windows], wires: Sequence[int]) -> None:
        self.cmos = bytearray(128)
        self.codes: list[int] = []
        """Steps that the firmware has shown."""
        self.console = bytearray()
        self._index = 0
        self._set_memory(ram)
        self.cmos[0x40:0x4A] = buses[0].packed()
        self.cmos[0x4C:0x50] = bytes(wires)
        for number, windows in enumerate(buses[1:]):
            at = BRIDGES_AT + BRIDGE_SIZE * number
            self.cmos[at : at + BRIDGE_SIZE] = windows.packed()
        ports.add(CMOS, 2, self._read_cmos, self._write_cmos)
        ports.add(POST, 1, lambda offset, width: self.codes[-1] if self.codes else 0, self._post)
        ports.add(CONSOLE, 1, lambda offset, width: CONSOLE, self._print)

    def _set_memory(self, ram: Ram) -> None:
        self.cmos[0x15:0x17] = (640).to_bytes(2, "little")
        self.cmos[0x34:0x36] = (ram.low_end - 16 * MiB >> 16).to_bytes(2, "little")
        above = max(0, ram.limit - PCI_HOLE_END)
        self.cmos[0x5B:0x5E] = (above >> 16).to_bytes(3, "little")

    def _read_cmos(self, offset: int, width: int) -> int:
        return self.cmos[self._index & 0x7F] if offset else self._index

    def _write_cmos(self, offset: int, width: int, value: int) -> None:
        if offset:
            self.cmos[self._index & 0x7F] = value & 0xFF
        else:
            self._index = value & 0xFF

    def _post(self, offset: int, width: int, value: int) -> None:
        if len(self.codes) < 1000:  # drivers write here to wait a microsecond
            self.codes.append(value & 0xFF)

    def _print(self, offset: int, width: int, value: int) -> None:
        if len(self.console) < 1 << 20:
            self.console.append(value & 0xFF)
