"""Device registers: the one way to declare them, and what an access does to them.

A block is a class whose attributes declare its registers::

    class Timer(RegisterBlock):
        ctrl = Reg(0x00, fields={"enable": Field(0), "mode": Field(1, 3)})
        count = Reg(0x04, access="ro", reset=42)
        status = Reg(0x08, access="w1c")

        def write_ctrl(self, value: int) -> None:
            if value & 1:
                self.count = 0

On an instance ``timer.count`` is the register's present value and ``timer.count = 7`` sets it, from the
device's side: no hook runs.  What the bus does goes through `RegisterBlock.read` and `write`:

* An access is cut along the registers that it touches.  An access narrower than a register reads those bytes
  of it; a narrow write leaves the other bytes as they are.  Alignment does not matter.
* Bytes outside every register read as 0 and take no writes; so do writes to an ``ro`` and reads of a ``wo``
  register.
* A device that is stricter says so: `RegisterBlock.widths`, `Reg.widths` and `RegisterBlock.unaligned`.  An access
  that it does not take is refused as a whole: a read gives ones, a write is lost, no hook runs.
* `counts` says how many accesses were unaligned, wider than what they touched, outside the registers, forbidden or
  refused; `stray` is how many were outside or forbidden.
* Before a read, `on_read(reg)` and ``read_NAME()`` may supply the value; after a write, `on_write(reg, value)`
  and ``write_NAME(value)`` are told the register's new value.  ``w1c`` clears the bits that are written as 1, and its
  hooks are told the value written.  The hooks of an array have the index before.
* An access across two pages is two, one a page.  A system call that is given the registers as its buffer makes
  accesses of 4 bytes, of 1 at unaligned ends.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Optional, Union

from machine.hardware.ram import PAGE_SIZE
from machine.hardware.reg import Counts, Field, Reg, RegArray, RegisterError, Touch

if TYPE_CHECKING:
    from machine.hardware.bus import Bus
    from machine.hardware.pci import PciFunction

__all__ = ["Counts", "Field", "Reg", "RegArray", "RegisterBlock", "RegisterError", "Touch"]


class RegisterBlock:
    """A device's registers.  `size` is what it takes of the address space, in bytes: whole pages.

    `values` holds the registers by name, those of an array once they differ from their reset value.
    """

    registers: ClassVar[dict[str, Reg]] = {}
    arrays: ClassVar[dict[str, RegArray]] = {}
    _at: ClassVar[dict[int, Reg]] = {}
    size: ClassVar[int] = PAGE_SIZE
    widths: ClassVar[tuple[int, ...]] = ()
    """Widths of access, in bytes, that the device takes; (): all.  A register's own `widths` come before."""
    unaligned: ClassVar[str] = "split"
    """``split``: an access may begin anywhere.  ``refuse``: only at a multiple of its width."""
    name: str = ""
    """How reports call the device; the class's name in lower case unless set."""
    irq: int = -1
    """The interrupt line that the device is wired to; -1: none."""
    bus: Optional[Bus] = None
    """The bus that it is on; None while it is on none."""
    function: Optional[PciFunction] = None
    """The PCI function whose BAR it is behind: its interrupts are the block's."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        members = {name: value for base in reversed(cls.__mro__) for name, value in vars(base).items()}
        found = {name: value for name, value in members.items() if isinstance(value, Reg)}
        cls._at = {reg.offset: reg for reg in found.values()}
        cls.registers = dict(sorted(found.items(), key=lambda item: item[1].offset))
        cls.arrays = {name: value for name, value in members.items() if isinstance(value, RegArray)}
        if cls.unaligned not in ("split", "refuse"):
            raise RegisterError(f"{cls.__name__}.unaligned is 'split' or 'refuse', not {cls.unaligned!r}")
        _check_overlap(cls)
        _check_hooks(cls)
        parts: list[Union[Reg, RegArray]] = [*cls.registers.values(), *cls.arrays.values()]
        end = max((part.end for part in parts), default=1)
        if "size" not in vars(cls):
            cls.size = (end + PAGE_SIZE - 1) & -PAGE_SIZE
        elif cls.size % PAGE_SIZE or cls.size < end:
            raise RegisterError(f"{cls.__name__}.size must be whole pages that hold all registers, not {cls.size:#x}")
        if "name" not in vars(cls):
            cls.name = cls.__name__.lower()

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.counts = Counts()
        self.stray = 0
        self.reset()

    def reset(self) -> None:
        """Power-on: every register has its reset value."""
        self.values.clear()
        self.values.update((name, reg.reset) for name, reg in self.registers.items())

    # -- interrupts and time ---------------------------------------------------------------------

    def raise_irq(self) -> None:
        """An edge on the device's interrupt line; lost while nobody has asked for it.

        In the middle of an access to its registers the interrupt comes right after that.  Any thread may call this.
        """
        if self.function is not None:
            self.function.raise_irq()
        elif self.bus is not None:
            self.bus.raise_irq(self._line())

    def hold_irq(self) -> None:
        """Pull the line, as a PCI device does: the handlers run again and again until `lower_irq`."""
        if self.function is not None:
            self.function.hold_irq()
        elif self.bus is not None:
            self.bus.set_irq(self._line(), True)

    def lower_irq(self) -> None:
        """Let the line go."""
        if self.function is not None:
            self.function.lower_irq()
        elif self.bus is not None:
            self.bus.set_irq(self._line(), False)

    def call_later(self, delay_ns: int, callback: Callable[[], None]) -> None:
        """Have `callback` called after a delay in nanoseconds on the machine's clock: the end of a DMA, a tick."""
        if self.function is not None:
            self.function.call_later(delay_ns, callback)
            return
        if self.bus is None:
            raise RegisterError(f"{self.name} is on no bus: there is no clock")
        self.bus.call_later(delay_ns, callback)

    def now(self) -> int:
        """The machine's time in nanoseconds; 0 while the device is in no machine."""
        if self.function is not None:
            return self.function.now()
        return 0 if self.bus is None else self.bus.clock()

    def _line(self) -> int:
        if self.irq < 0:
            raise RegisterError(f"{self.name} is wired to no interrupt line: set its irq")
        return self.irq

    # -- for the device's author to override ---------------------------------------------------

    def on_read(self, reg: Reg) -> Optional[int]:
        """The bus is about to read `reg`: a value to give instead of the stored one, or None."""
        return None

    def on_write(self, reg: Reg, value: int) -> None:
        """The bus has written `value` to `reg`."""

    # -- the bus's side ----------------------------------------------------------------------------

    def touched(self, offset: int, width: int) -> list[Reg]:
        """The registers of which [offset, offset + width) touches a byte, lowest first."""
        reg = self._at.get(offset)
        if reg is not None and width <= reg.width:
            return [reg]
        end = offset + width
        found = [reg for reg in self.registers.values() if reg.offset < end and offset < reg.end]
        for array in self.arrays.values():
            if array.offset < end and offset < array.end:
                found += array.touched(offset, end)
        return sorted(found, key=lambda reg: reg.offset) if len(found) > 1 else found

    def _refuses(self, offset: int, width: int, regs: list[Reg]) -> bool:
        """Count what is odd about an access to `regs`; whether the device does not answer it."""
        if len(regs) != 1 or width > regs[0].width or offset + width > regs[0].end:
            self.counts.wide += bool(regs)
        unaligned = bool(offset % width)
        self.counts.unaligned += unaligned
        refused = unaligned and self.unaligned == "refuse"
        for widths in [reg.widths or self.widths for reg in regs] or [self.widths]:
            refused = refused or bool(widths and width not in widths)
        self.counts.refused += refused
        return refused

    def _count_stray(self, regs: list[Reg], width: int, covered: int, forbidden: str) -> None:
        self.stray += 1
        left = width - covered
        mine = any(reg.access == forbidden for reg in regs)
        self.counts.forbidden += mine
        self.counts.outside += left > 0

    def read(self, offset: int, width: int) -> tuple[int, list[Touch]]:
        """The bus reads `width` bytes: their value (little-endian) and what was touched."""
        regs = self.touched(offset, width)
        if self._refuses(offset, width, regs):
            return (1 << 8 * width) - 1, []
        result, covered, taken, touches = 0, 0, 0, []
        for reg in regs:
            first, last = max(offset, reg.offset), min(offset + width, reg.end)
            covered += last - first
            if reg.access == "wo":
                whole = 0
            else:
                whole = self._value_for_bus(reg)
                taken += last - first
            part = whole >> 8 * (first - reg.offset) & (1 << 8 * (last - first)) - 1
            result |= part << 8 * (first - offset)
            touches.append(Touch(reg.name, first, last - first, part))
        if taken != width:
            self._count_stray(regs, width, covered, "wo")
        return result, touches

    def _value_for_bus(self, reg: Reg) -> int:
        value = self.on_read(reg)
        hook = getattr(self, "read_" + reg.hook, None)
        if hook is not None:
            value = hook() if reg.index < 0 else hook(reg.index)
        return self.values.get(reg.name, reg.reset) if value is None else int(value) & reg.mask

    def write(self, offset: int, width: int, value: int) -> list[Touch]:
        """The bus writes `width` bytes of `value` (little-endian): what was touched."""
        regs = self.touched(offset, width)
        if self._refuses(offset, width, regs):
            return []
        covered, taken, touches = 0, 0, []
        for reg in regs:
            first, last = max(offset, reg.offset), min(offset + width, reg.end)
            covered += last - first
            part = value >> 8 * (first - offset) & (1 << 8 * (last - first)) - 1
            touches.append(Touch(reg.name, first, last - first, part))
            if reg.access != "ro":
                taken += last - first
                self._take(reg, 8 * (first - reg.offset), last - first, part)
        if taken != width:
            self._count_stray(regs, width, covered, "ro")
        return touches

    def _take(self, reg: Reg, shift: int, width: int, part: int) -> None:
        mask = (1 << 8 * width) - 1 << shift
        old, new = self.values.get(reg.name, reg.reset), part << shift
        if reg.access == "w1c":
            self.values[reg.name] = old & ~new
        else:
            new |= old & ~mask
            self.values[reg.name] = new
        self.on_write(reg, new)
        hook = getattr(self, "write_" + reg.hook, None)
        if hook is not None:
            hook(new) if reg.index < 0 else hook(reg.index, new)

    # -- fields and descriptions ---------------------------------------------------------------------

    def field(self, register: str, field: str) -> int:
        """The value of one field: ``timer.field("ctrl", "mode")``.  KeyError where there is none."""
        bits = self.registers[register].fields[field]
        return (self.values[register] & bits.mask) >> bits.lsb

    def set_field(self, register: str, field: str, value: int) -> None:
        """Set one field from the device's side; bits that do not fit are dropped."""
        bits = self.registers[register].fields[field]
        self.values[register] = self.values[register] & ~bits.mask | value << bits.lsb & bits.mask

    def describe(self) -> str:
        """A table of the registers with their present values, one a line, fields below.

        Of an array the registers that have another value than after a reset.
        """
        count = len(self.registers) + sum(array.count for array in self.arrays.values())
        lines = [f"{self.name}: {count} registers, {self.size:#x} bytes"]
        parts: list[Union[Reg, RegArray]] = [*self.registers.values(), *self.arrays.values()]
        for part in sorted(parts, key=lambda part: part.offset):
            lines += self._lines(part) if isinstance(part, Reg) else self._array_lines(part)
        return "\n".join(lines) + "\n"

    def _lines(self, reg: Reg) -> list[str]:
        number = self.values.get(reg.name, reg.reset)
        head = f"  {reg.offset:#06x} {reg.name:<12} {8 * reg.width:>2} {reg.access:<3} {number:0{2 * reg.width}x}"
        lines = [f"{head} {reg.doc}".rstrip()]
        for name, bits in reg.fields.items():
            high = bits.lsb + bits.width - 1
            where = f"[{high}:{bits.lsb}]" if bits.width > 1 else f"[{bits.lsb}]"
            lines.append(f"         {where:<8} {name:<12} {(number & bits.mask) >> bits.lsb:x} {bits.doc}".rstrip())
        return lines

    def _array_lines(self, array: RegArray) -> list[str]:
        one = array.one
        name = f"{array.name}[{array.count}]"
        head = f"  {array.offset:#06x} {name:<12} {8 * one.width:>2} {one.access:<3} {one.reset:0{2 * one.width}x}"
        changed = [i for i, value in enumerate(getattr(self, array.name)) if value != one.reset]
        return [f"{head} {array.doc}".rstrip(), *(line for i in changed for line in self._lines(array.reg(i)))]


def _check_overlap(cls: type[RegisterBlock]) -> None:
    parts: list[Union[Reg, RegArray]] = [*cls.registers.values(), *cls.arrays.values()]
    for one, other in pairwise(sorted(parts, key=lambda part: part.offset)):
        if other.offset < one.end:
            size = one.end - one.offset
            raise RegisterError(
                f"{cls.__name__}: registers {one.name} ({one.offset:#x}, {size} bytes) and "
                f"{other.name} ({other.offset:#x}) overlap"
            )


def _check_hooks(cls: type[RegisterBlock]) -> None:
    """A ``write_crtl`` beside a register ``ctrl`` would never run: say so."""
    known = {*cls.registers, *cls.arrays}
    for name in vars(cls):
        kind, _, register = name.partition("_")
        if kind in ("read", "write") and register and callable(getattr(cls, name)) and register not in known:
            raise RegisterError(f"{cls.__name__}.{name}: there is no register {register!r}")
