"""PCI functions: config space, base address registers, capabilities, DMA, interrupts (PCI Local Bus 3.0, ch. 6).

A card is a class.  What its author says, and what it may call::

    class Edu(PciFunction):
        vendor, device = 0x1234, 0x11E8
        class_code, revision = 0x00FF00, 0x10      # base class, subclass, programming interface
        irq_pin, msi = 1, True                     # INTA#; a message instead, when the driver asks for it

        def __init__(self):
            self.registers = EduRegisters(self)    # a RegisterBlock; its raise_irq() is the card's
            super().__init__(bars=[Bar(block=self.registers), Bar(memory=16 << 20, prefetchable=True)])

        def on_config_write(self, offset, width, value): ...   # after a write to config space
        def reset(self): super().reset(); ...                  # power-on

    dma_read(address, count), dma_write(address, data)   reach RAM as bus master; command bit 2 must be set
    raise_irq(), hold_irq(), lower_irq()                 INTx# or MSI, whichever is switched on
    call_later(delay_ns, callback)                       on the machine's clock
    bars[n].buffer                                       the card's own memory, as a memoryview

`bars` lists BAR 0, 1, ... (None leaves one out; a 64-bit one takes two numbers).  Where a card is and which
address a BAR has is the business of who enumerates: pci_bus.py, the firmware, the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Optional

from machine.hardware.pci_bar import Bar, Capability, PciError, Rom, wrong_card

from machine.hardware.pci_regs import (  # isort: skip
    PCI_BASE_ADDRESS_0,
    PCI_CACHE_LINE_SIZE, PCI_CAP_ID_MSI, PCI_CAPABILITY_LIST, PCI_CLASS_REVISION, PCI_COMMAND, PCI_COMMAND_INTX_DISABLE,
    PCI_COMMAND_IO, PCI_COMMAND_MASTER, PCI_COMMAND_MEMORY, PCI_DEVICE_ID, PCI_HEADER_TYPE, PCI_INTERRUPT_LINE,
    PCI_INTERRUPT_PIN, PCI_LATENCY_TIMER, PCI_MAX_LAT, PCI_MIN_GNT, PCI_MSI_FLAGS_ENABLE, PCI_ROM_ADDRESS,
    PCI_ROM_ADDRESS_ENABLE, PCI_STATUS, PCI_STATUS_CAP_LIST, PCI_STATUS_INTERRUPT, PCI_STATUS_REC_MASTER_ABORT,
    PCI_SUBSYSTEM_ID, PCI_SUBSYSTEM_VENDOR_ID, PCI_VENDOR_ID,
)  # fmt: skip
from machine.hardware.ram import PAGE_SIZE

if TYPE_CHECKING:
    from machine.hardware.pci_bus import PciBridge, PciHost

__all__ = ["ROM_BAR", "Bar", "Capability", "PciError", "PciFunction"]

CONFIG_SIZE = 256
ROM_BAR = 6
"""Number of the expansion ROM among the BARs, as in /sys/bus/pci/devices/*/resource."""
PULSE_NS = 1_000
"""How long the status register shows an edge on INTx#."""
_COMMAND_WRITABLE = 0x0547
_IDENTITY = {
    "vendor": 16, "device": 16, "class_code": 24, "revision": 8, "subsystem_vendor": 16, "subsystem": 16, "irq_pin": 3,
    "min_gnt": 8, "max_lat": 8,
}  # fmt: skip
"""What says which card it is, and its bits."""
"""I/O, memory, master, parity, SERR#, INTx disable."""
_STATUS_CLEAR = 0xF900
_MEDIUM_DEVSEL, _FAST_BACK = 0x0200, 0x0080


class PciFunction:
    """One function of a card (see the top of this file).

    `refused` counts DMA that the command register forbade, `aborts` DMA to addresses where nobody answers.
    """

    vendor: ClassVar[int] = 0x1234
    device: ClassVar[int] = 0
    class_code: ClassVar[int] = 0xFF0000
    revision: ClassVar[int] = 0
    subsystem_vendor: ClassVar[int] = 0
    subsystem: ClassVar[int] = 0
    irq_pin: ClassVar[int] = 0
    """1 to 4 for INTA# to INTD#, 0 for none."""
    msi: ClassVar[bool] = False
    """Whether it has the MSI capability: one message of 64 bits' address."""
    min_gnt: ClassVar[int] = 0
    max_lat: ClassVar[int] = 0
    recorded = False
    """Whether accesses to its register blocks are kept in `Bus.record`."""
    header_type = 0
    command_writable = _COMMAND_WRITABLE

    def __init__(
        self,
        *,
        bars: Sequence[Optional[Bar]] = (),
        rom: bytes = b"",
        capabilities: Sequence[Capability] = (),
    ) -> None:
        self._check_identity()
        self.host: Optional[PciHost] = None
        self.bridge: Optional[PciBridge] = None
        """The bridge that it is behind; None on bus 0."""
        self.devfn = 0
        self.irq = 0
        """The interrupt line that its pin is wired to."""
        self.bars: dict[int, Bar] = {}
        self.rom = rom
        self.capabilities = list(capabilities)
        self.msi_at = 0
        """Offset of the MSI capability, 0 without one."""
        self.refused = self.aborts = 0
        self.irq_held = False
        self._number_bars(bars)
        for bar in self.bars.values():
            if bar.block is not None:
                bar.block.function = self
        self.config = bytearray(CONFIG_SIZE)
        self._writable = bytearray(CONFIG_SIZE)
        self._clear = bytearray(CONFIG_SIZE)
        self._lay_out()
        self.power_on = bytes(self.config)
        """Config space at power-on."""
        if rom:
            self.set_rom(rom)

    def _check_identity(self) -> None:
        for name, bits in _IDENTITY.items():
            value = getattr(self, name)
            if not isinstance(value, int) or not 0 <= value < 1 << bits:
                raise PciError(f"{name} is a number from 0 to {(1 << bits) - 1:#x}, not {value!r}")

    def set_rom(self, rom: bytes) -> None:
        """Put an expansion ROM on the card; before it is plugged in."""
        size = max(PAGE_SIZE, 1 << (len(rom) - 1).bit_length())
        block = Rom(f"{type(self).__name__} ROM", rom, size)
        block.function = self
        self.rom = rom
        self.bars[ROM_BAR] = Bar(size, block=block)
        self._put(self.rom_offset(), 4, 0, -size & 0xFFFFF800 | PCI_ROM_ADDRESS_ENABLE)
        self.power_on = bytes(self.config)

    def _number_bars(self, bars: Sequence[Optional[Bar]]) -> None:
        number = 0
        if not isinstance(bars, Sequence):
            raise wrong_card("no_bar", bars)
        for bar in bars:
            if bar is not None and not isinstance(bar, Bar):
                raise wrong_card("no_bar", bar)
            if bar is not None:
                self.bars[number] = bar
            number += 2 if bar is not None and bar.bits == 64 else 1
        if number > self.bar_count():
            raise wrong_card("too_many_bars", type(self), number, self.bar_count())

    @staticmethod
    def bar_count() -> int:
        """Base address registers that the header has room for."""
        return 6

    # -- config space -----------------------------------------------------------------------------

    def _put(self, offset: int, width: int, value: int, writable: int = 0, clear: int = 0) -> None:
        self.config[offset : offset + width] = value.to_bytes(width, "little")
        self._writable[offset : offset + width] = writable.to_bytes(width, "little")
        self._clear[offset : offset + width] = clear.to_bytes(width, "little")

    def _lay_out(self) -> None:
        """The header at power-on: what reads as what, and what can be written."""
        put = self._put
        put(PCI_VENDOR_ID, 2, self.vendor)
        put(PCI_DEVICE_ID, 2, self.device)
        put(PCI_COMMAND, 2, 0, self.command_writable)
        put(PCI_CLASS_REVISION, 4, self.class_code << 8 | self.revision)
        put(PCI_CACHE_LINE_SIZE, 1, 0, 0xFF)
        put(PCI_LATENCY_TIMER, 1, 0, 0xF8)
        put(PCI_HEADER_TYPE, 1, self.header_type)
        for number, bar in self.bars.items():
            width = bar.bits // 8
            mask = -bar.size & (1 << 8 * width) - 1 & ~(0x3 if bar.io else 0xF)
            put(PCI_BASE_ADDRESS_0 + 4 * number, width, bar.flags, mask)
        put(PCI_INTERRUPT_LINE, 1, 0, 0xFF)
        put(PCI_INTERRUPT_PIN, 1, self.irq_pin)
        self._lay_out_rest()
        status = _MEDIUM_DEVSEL | _FAST_BACK | (PCI_STATUS_CAP_LIST if self._lay_out_capabilities() else 0)
        put(PCI_STATUS, 2, status, 0, _STATUS_CLEAR)

    def _lay_out_rest(self) -> None:
        """What the header of a card has and that of a bridge does not."""
        self._put(PCI_SUBSYSTEM_VENDOR_ID, 2, self.subsystem_vendor)
        self._put(PCI_SUBSYSTEM_ID, 2, self.subsystem)
        self._put(PCI_MIN_GNT, 1, self.min_gnt)
        self._put(PCI_MAX_LAT, 1, self.max_lat)

    def rom_offset(self) -> int:
        """Where the header has the ROM's register."""
        return PCI_ROM_ADDRESS

    def _lay_out_capabilities(self) -> bool:
        """The list from 0x40 on; whether there is one."""
        listed = list(self.capabilities)
        if self.msi:
            message = bytes([0x80, 0, *bytes(10)])
            listed.append(Capability(PCI_CAP_ID_MSI, message, b"\x71\0" + b"\xfc\xff\xff\xff" + b"\xff" * 6))
        at, pointer = 0x40, PCI_CAPABILITY_LIST
        for each in listed:
            if at + 2 + len(each.body) > CONFIG_SIZE:
                raise wrong_card("too_many_capabilities", type(self))
            self.config[pointer] = at
            self.config[at] = each.id
            self.config[at + 2 : at + 2 + len(each.body)] = each.body
            self._writable[at + 2 : at + 2 + len(each.writable)] = each.writable
            if each.id == PCI_CAP_ID_MSI:
                self.msi_at = at
            pointer, at = at + 1, at + 2 + len(each.body) + 3 & ~3
        return bool(listed)

    def config_read(self, offset: int, width: int) -> int:
        """1, 2 or 4 bytes of config space, little-endian."""
        return int.from_bytes(self.config[offset : offset + width], "little")

    def config_write(self, offset: int, width: int, value: int) -> None:
        """Write 1, 2 or 4 bytes: what is read-only stays, and what the registers govern follows."""
        config = self.config
        for at in range(offset, offset + width):
            byte, mask = value & 0xFF, self._writable[at]
            config[at] = (config[at] & ~mask | byte & mask) & ~(byte & self._clear[at])
            value >>= 8
        self._follow(offset, offset + width)
        self.on_config_write(offset, width, self.config_read(offset, width))

    def _follow(self, start: int, end: int) -> None:
        header = (PCI_COMMAND, PCI_STATUS), (PCI_BASE_ADDRESS_0, 0x40)
        if self.host is None:
            return
        if any(start < stop and first < end for first, stop in header):
            self.host.update()
        self._drive()

    def on_config_write(self, offset: int, width: int, value: int) -> None:
        """For the card's author: config space was written; `value` is what is there now."""

    def reset(self) -> None:
        """Power-on: config space and registers as at the start; the card's memory keeps what it had."""
        self.config[:] = self.power_on
        self.irq_held = False
        for bar in self.bars.values():
            if bar.block is not None:
                bar.block.reset()
        if self.host is not None:
            self.host.update()
            self._drive()

    @property
    def command(self) -> int:
        """The command register."""
        return self.config_read(PCI_COMMAND, 2)

    @property
    def name(self) -> str:
        """``0000:01:00.0``; the class's name while it is on no bus."""
        if self.host is None:
            return type(self).__name__
        number = 0 if self.bridge is None else self.bridge.secondary
        return f"0000:{number:02x}:{self.devfn >> 3:02x}.{self.devfn & 7}"

    def bar_address(self, number: int) -> int:
        """The address in BAR `number` (ROM_BAR: the expansion ROM), 0 while nobody has set it."""
        bar = self.bars[number]
        if number == ROM_BAR:
            return self.config_read(self.rom_offset(), 4) & ~0x7FF
        value = self.config_read(PCI_BASE_ADDRESS_0 + 4 * number, bar.bits // 8)
        return value & ~(0x3 if bar.io else 0xF)

    def is_decoded(self, number: int) -> bool:
        """Whether the command register, and the ROM's own bit, have BAR `number` answer."""
        if not self.command & (PCI_COMMAND_IO if self.bars[number].io else PCI_COMMAND_MEMORY):
            return False
        return number != ROM_BAR or bool(self.config_read(self.rom_offset(), 4) & PCI_ROM_ADDRESS_ENABLE)

    # -- interrupts ----------------------------------------------------------------------------------

    @property
    def msi_enabled(self) -> bool:
        """Whether the driver has switched messages on."""
        return bool(self.msi_at and self.config[self.msi_at + 2] & PCI_MSI_FLAGS_ENABLE)

    def raise_irq(self) -> None:
        """One interrupt: a message, or an edge on the pin's line.  Any thread may call this."""
        if self.msi_enabled:
            self._send_message()
        elif self._may_pull():
            bus = self._host().bus
            self.config[PCI_STATUS] |= (
                PCI_STATUS_INTERRUPT  # whoever shares the line asks for it (pci_check_and_mask_intx)
            )
            bus.call_later(PULSE_NS, self._drive)
            bus.raise_irq(self.irq)

    def hold_irq(self) -> None:
        """Pull the pin until `lower_irq`: the handlers run again and again.  With MSI: one message."""
        held, self.irq_held = self.irq_held, True  # before the message: its handler may let go
        if self.msi_enabled and not held:
            self._send_message()
        self._drive()

    def lower_irq(self) -> None:
        """Let the pin go."""
        self.irq_held = False
        self._drive()

    def _may_pull(self) -> bool:
        if not self.irq_pin and not self.msi_at:
            raise wrong_card("no_interrupt_pin", type(self))
        return bool(self.irq_pin) and not self.command & PCI_COMMAND_INTX_DISABLE

    def _drive(self) -> None:
        """Status bit and line as `irq_held`, the command register and MSI have them."""
        status = self.config[PCI_STATUS] & ~PCI_STATUS_INTERRUPT
        self.config[PCI_STATUS] = status | (PCI_STATUS_INTERRUPT if self.irq_held else 0)
        if self.irq_pin and self.host is not None:
            self.host.drive(self, self.irq_held and not self.msi_enabled and self._may_pull())

    def _send_message(self) -> None:
        at = self.msi_at
        address, data = self.config_read(at + 4, 8), self.config_read(at + 12, 2)
        self.dma_write(address, data.to_bytes(4, "little"))

    # -- DMA ---------------------------------------------------------------------------------------------

    def dma_read(self, address: int, count: int) -> bytes:
        """`count` bytes at a bus address; ones where nobody answers, or when the function may not be master."""
        if not self._is_master():
            return b"\xff" * count
        data, answered = self._host().master_read(address, count)
        if not answered:
            self._aborted()
        return data

    def dma_write(self, address: int, data: bytes) -> bool:
        """Write to a bus address; False when some of it was lost."""
        if not self._is_master():
            return False
        answered = self._host().master_write(address, bytes(data))
        if not answered:
            self._aborted()
        return answered

    def _is_master(self) -> bool:
        node: Optional[PciFunction] = self
        while node is not None:
            if not node.command & PCI_COMMAND_MASTER:
                self.refused += 1
                return False
            node = node.bridge
        return True

    def _aborted(self) -> None:
        self.aborts += 1
        self.config[PCI_STATUS + 1] |= PCI_STATUS_REC_MASTER_ABORT >> 8

    def call_later(self, delay_ns: int, callback: Callable[[], None]) -> None:
        """Have `callback` called after a delay in nanoseconds on the machine's clock."""
        self._host().bus.call_later(delay_ns, callback)

    def now(self) -> int:
        """The machine's time in nanoseconds; 0 while the card is in none."""
        return 0 if self.host is None else self.host.bus.clock()

    def _host(self) -> PciHost:
        if self.host is None:
            raise wrong_card("card_in_no_machine", type(self))
        return self.host
