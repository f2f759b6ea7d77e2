"""The registers of an educational device: those of QEMU's `edu` (its docs/specs/edu.rst), so that a driver for one
drives the other.

======= === ================ ==========================================================================================
0x00    ro  id               0x010000ed: major version 1, minor 0, "edu"
0x04    rw  liveness         reads as the complement of what was written
0x08    rw  factorial        a number is written; when status bit 0 is clear again, its factorial (32 bits) is here
0x20    rw  status           0 (ro) the factorial is being computed; 7 raise an interrupt when it is done
0x24    ro  irq_status       values that raised the interrupt: 1 the factorial, 0x100 DMA, or what was written to 0x60
0x60    wo  irq_raise        raise an interrupt: the value is put into irq_status
0x64    wo  irq_ack          clear these bits of irq_status; at 0 the line is let go
0x80    rw  dma_source       64 bits: a bus address, or 0x40000 and more for the device's buffer of 4,096 bytes
0x88    rw  dma_target       likewise
0x90    rw  dma_count        bytes
0x98    rw  dma_command      0 start (set while it goes on), 1 direction: 0 RAM to device, 1 device to RAM; 2 raise
                             interrupt 0x100 at the end
======= === ================ ==========================================================================================

Below 0x80 only accesses of 4 bytes are taken, from there on those of 4 and 8.  The device has 28 address lines: of a
bus address it sees the low 28 bits.  A transfer that leaves the buffer is not made; it ends, and is counted in
`overruns`.  While a factorial or a transfer goes on, what is written to its registers is lost.
"""

from __future__ import annotations

from collections.abc import Callable

from machine.hardware.registers import Field, Reg, RegisterBlock, Touch

EDU_BUFFER, EDU_BUFFER_SIZE = 0x40000, 4096
DMA_MASK = (1 << 28) - 1
FACTORIAL_IRQ, DMA_IRQ = 1, 0x100
COMPUTING, IRQ_WHEN_DONE = 0x01, 0x80
DMA_RUN, DMA_TO_RAM, DMA_WANTS_IRQ = 1, 2, 4
FACTORIAL_NS, DMA_NS = 10_000, 100_000
"""How long the two take."""
_BOTH = (4, 8)


class EduRegisters(RegisterBlock):
    """1 MiB, the buffer excepted: that is the device's own, and reached by DMA only."""

    name = "edu"
    size = 1 << 20
    widths = (4,)
    unaligned = "refuse"

    id = Reg(0x00, access="ro", reset=0x010000ED)
    liveness = Reg(0x04)
    factorial = Reg(0x08)
    status = Reg(0x20, fields={"computing": Field(0), "irq": Field(7)})
    irq_status = Reg(0x24, access="ro")
    irq_raise = Reg(0x60, access="wo")
    irq_ack = Reg(0x64, access="wo")
    dma_source = Reg(0x80, width=8, widths=_BOTH)
    dma_target = Reg(0x88, width=8, widths=_BOTH)
    dma_count = Reg(0x90, width=8, widths=_BOTH)
    dma_command = Reg(0x98, width=8, widths=_BOTH, fields={"run": Field(0), "to_ram": Field(1), "interrupt": Field(2)})

    def __init__(self, dma_read: Callable[[int, int], bytes], dma_write: Callable[[int, bytes], object]) -> None:
        """`dma_read(address, count)` and `dma_write(address, data)` reach RAM over the bus."""
        self._dma_read = dma_read
        self._dma_write = dma_write
        self.buffer = bytearray(EDU_BUFFER_SIZE)
        self.overruns = 0
        self._generation = 0
        super().__init__()

    def reset(self) -> None:
        """Power-on; what was going on is forgotten."""
        super().reset()
        self.buffer[:] = bytes(EDU_BUFFER_SIZE)
        self._generation += 1

    def write(self, offset: int, width: int, value: int) -> list[Touch]:
        """A register that is busy takes nothing."""
        computing = self.status & COMPUTING
        if self.dma_command & DMA_RUN if offset >= 0x80 else offset == 0x08 and computing:
            return []
        touches = super().write(offset, width, value)
        if offset == 0x20:
            self.status = self.status & IRQ_WHEN_DONE | computing
        return touches

    # -- liveness and factorial ------------------------------------------------------------------------

    def read_liveness(self) -> int:
        """The complement."""
        return ~self.liveness

    def write_factorial(self, value: int) -> None:
        """Compute it, in a while."""
        self.status |= COMPUTING
        mine = self._generation
        self.call_later(FACTORIAL_NS, lambda: self._computed(value, mine))

    def _computed(self, value: int, generation: int) -> None:
        if generation != self._generation:
            return
        product = 1
        for factor in range(2, min(value, 34) + 1):  # 34! and all above have 32 zero bits
            product = product * factor & 0xFFFF_FFFF
        self.factorial = product
        self.status &= ~COMPUTING
        if self.status & IRQ_WHEN_DONE:
            self._raise(FACTORIAL_IRQ)

    # -- interrupts ------------------------------------------------------------------------------------

    def _raise(self, value: int) -> None:
        self.irq_status |= value
        if self.irq_status:
            self.hold_irq()

    def write_irq_raise(self, value: int) -> None:
        """As an interrupt of its own."""
        self._raise(value)

    def write_irq_ack(self, value: int) -> None:
        """At 0 the line is let go."""
        self.irq_status &= ~value
        if not self.irq_status:
            self.lower_irq()

    # -- DMA -------------------------------------------------------------------------------------------

    def write_dma_command(self, value: int) -> None:
        """The transfer is made at the end of its time."""
        if value & DMA_RUN:
            mine = self._generation
            self.call_later(DMA_NS, lambda: self._transfer(mine))

    def _transfer(self, generation: int) -> None:
        if generation != self._generation:
            return
        command, count = self.dma_command, self.dma_count
        to_ram = bool(command & DMA_TO_RAM)
        inside = (self.dma_source if to_ram else self.dma_target) - EDU_BUFFER
        outside = (self.dma_target if to_ram else self.dma_source) & DMA_MASK
        if not 0 <= inside <= inside + count <= EDU_BUFFER_SIZE:
            self.overruns += 1
        elif to_ram:
            self._dma_write(outside, bytes(self.buffer[inside : inside + count]))
        else:
            self.buffer[inside : inside + count] = self._dma_read(outside, count)
        self.dma_command = command & ~DMA_RUN
        if command & DMA_WANTS_IRQ:
            self._raise(DMA_IRQ)
