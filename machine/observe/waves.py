"""Registers, their fields and interrupt lines over the machine's time, as a VCD file (IEEE 1364 §18) by pyvcd.

A device is a scope with a signal a register, and in a scope of the register's name one a field; of a queue it is the
number of entries; of an array its registers, when there are at most `ARRAY_SHOWN`.  Memories are left out.  In the
scope ``irq`` is a wire a line; an edge is a pulse of 1 ns.  Time is the machine's clock in nanoseconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import IO, TYPE_CHECKING, Any, Optional

from machine.hardware.parts import Fifo
from machine.hardware.reg import Reg
from machine.observe.output import close_all_the_same
from machine.testing import messages

if TYPE_CHECKING:
    from machine.hardware.registers import RegisterBlock
    from machine.kernel.kernel import Kernel

ARRAY_SHOWN = 64


def _identifier(name: str, taken: set[str]) -> str:
    """`name` as a VCD can have it, where words end at a blank and those with a dollar in front are commands; another
    one than those that are `taken`."""
    made = re.sub(r"[^!-~]|^\$|\.", "_", name) or "_"
    while made in taken:
        made += "_"
    taken.add(made)
    return made


class _Values(dict[str, int]):
    """`RegisterBlock.values` that tells of each change."""

    def __init__(self, values: Mapping[str, int], told: Callable[[str, int], None]) -> None:
        super().__init__(values)
        self.told = told

    def __setitem__(self, name: str, value: int) -> None:
        changed = self.get(name) != value
        super().__setitem__(name, value)
        if changed:
            self.told(name, value)

    def update(self, pairs: Any = (), /, **others: int) -> None:
        for name, value in dict(pairs, **others).items():
            self[name] = value


class Waves:
    """Writes `path` from now until `close`, for the devices that are attached now.

    ValueError: there is no pyvcd, no device, or no such directory.  `make` opens the file.
    """

    def __init__(self, kernel: Kernel, path: str, make: Optional[Callable[[str], IO[str]]] = None) -> None:
        try:
            from vcd import VCDWriter
        except ImportError:
            raise ValueError(messages.no_library("pyvcd", "waves", "writing waves")) from None
        self._kernel = kernel
        self._blocks = [each.block for each in kernel.bus.blocks if each.recorded]
        if not self._blocks:
            raise ValueError(messages.no_waves(path))
        try:
            self._file: IO[str] = open(path, "w") if make is None else make(path)  # noqa: SIM115 (`close` closes it)
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror}") from None
        self.path = path
        self.failed: Optional[OSError] = None
        """Why nothing more is written: a full disk is no failure of the device."""
        self._now = kernel.clock.monotonic_ns()
        self._writer: Any = VCDWriter(
            self._file, timescale="1 ns", date="-", version="nopage", init_timestamp=self._now
        )
        names: set[str] = set()
        for block in self._blocks:
            self._add_block(block, names)
        self._lines: dict[int, Any] = {}
        self._add_lines()
        kernel.closers.append(self.close)

    # -- signals -------------------------------------------------------------------------------------

    def _add_block(self, block: RegisterBlock, names: set[str]) -> None:
        scope = _identifier(block.name, names)
        inside: set[str] = set()
        signals: dict[str, list[tuple[Any, Callable[[int], int]]]] = {}
        for reg in self._shown(block):
            value = block.values.get(reg.name, reg.reset)
            size = reg.depth.bit_length() if isinstance(reg, Fifo) else 8 * reg.width
            shown, fields = _identifier(reg.name, inside), set[str]()
            made = self._writer.register_var(scope, shown, "reg", size=size, init=value)
            signals[reg.name] = [(made, int)]
            for name, field in reg.fields.items():
                inner = self._writer.register_var(
                    f"{scope}.{shown}", _identifier(name, fields), "reg", size=field.width, init=field.of(value)
                )
                signals[reg.name].append((inner, field.of))

        def told(name: str, value: int) -> None:
            for signal, part in signals.get(name, ()):
                self._change(signal, part(value))

        block.values = _Values(block.values, told)

    @staticmethod
    def _shown(block: RegisterBlock) -> Iterable[Reg]:
        yield from block.registers.values()
        for array in block.arrays.values():
            if array.count <= ARRAY_SHOWN:
                yield from (array.reg(index) for index in range(array.count))

    def _add_lines(self) -> None:
        bus = self._kernel.bus
        functions = {id(block.function): block.function for block in self._blocks if block.function is not None}
        lines = {block.irq for block in self._blocks if block.function is None and block.irq >= 0}
        for number in sorted(lines | {each.irq for each in functions.values() if each.irq_pin}):
            held = self._kernel.irq.line(number).level
            self._lines[number] = self._writer.register_var("irq", f"irq{number}", "wire", size=1, init=int(held))
        self._before = bus.raise_irq, bus.set_irq

        def raise_irq(irq: int) -> None:
            signal = self._lines.get(irq)
            if signal is not None:
                self._change(signal, 1)
                self._change(signal, 0, 1)
            self._before[0](irq)

        def set_irq(irq: int, high: bool) -> None:
            signal = self._lines.get(irq)
            if signal is not None:
                self._change(signal, int(high))
            self._before[1](irq, high)

        bus.raise_irq, bus.set_irq = raise_irq, set_irq

    def _change(self, signal: Any, value: int, later: int = 0) -> None:
        # A pulse has ended 1 ns after its edge: what happens at the same instant is told then.
        self._now = max(self._now, self._kernel.clock.monotonic_ns()) + later
        if self.failed is None:
            try:
                self._writer.change(signal, self._now, value)
            except OSError as error:
                self.failed = error

    # -- the end -------------------------------------------------------------------------------------

    def close(self) -> None:
        """Write what is left; twice is fine.  OSError: the host did not take all of it, now or before."""
        if self._file.closed:
            return
        bus = self._kernel.bus
        bus.raise_irq, bus.set_irq = self._before
        for block in self._blocks:
            block.values = dict(block.values)
        try:
            if self.failed is not None:
                raise self.failed
            self._writer.close(max(self._now, self._kernel.clock.monotonic_ns()))
            self._file.flush()
        finally:
            close_all_the_same(self._file)
