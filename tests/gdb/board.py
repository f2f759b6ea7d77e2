"""The device that a test of gdb asks about: fields, an array, a queue, and a register whose reads are counted."""

from __future__ import annotations

from machine.testing import Field, Fifo, Memory, Reg, RegArray, RegisterBlock


class Board(RegisterBlock):
    ctrl = Reg(0x00, fields={"enable": Field(0), "mode": Field("3:2", values={"slow": 0, "fast": 2})})
    seen = Reg(0x04, access="rc", reset=42)
    data = Fifo(0x08, depth=4)
    palette = RegArray(0x100, 64)
    memory = Memory(0x400, 256)

    @seen.on_read
    def counted(self) -> None:
        self.memory[0] += 1
