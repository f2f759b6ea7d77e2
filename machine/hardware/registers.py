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
  register.  Each access of which that is true is counted in `stray`.
* Before a read, `on_read(reg)` and ``read_NAME()`` may supply the value; after a write, `on_write(reg, value)`
  and ``write_NAME(value)`` are told the register's new value.  ``w1c`` clears the bits that are written as 1, and its
  hooks are told the value written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Optional, Union, overload

from machine.hardware.ram import PAGE_SIZE

if TYPE_CHECKING:
    from machine.hardware.bus import Bus

ACCESS = ("rw", "ro", "wo", "w1c")
WIDTHS = (1, 2, 4, 8)


class RegisterError(Exception):
    """A block is declared wrongly."""


class Field(NamedTuple):
    """Bits `lsb` to ``lsb + width - 1`` of a register."""

    lsb: int
    width: int = 1
    doc: str = ""

    @property
    def mask(self) -> int:
        """The field's bits, in place."""
        return (1 << self.width) - 1 << self.lsb


class Reg:
    """One register: `offset` in bytes from the block's start, `width` 1, 2, 4 or 8 bytes.

    `access` is ``rw``, ``ro``, ``wo`` or ``w1c`` (write 1 to clear); `reset` its value at power-on.
    """

    __slots__ = ("access", "doc", "fields", "name", "offset", "reset", "width")

    def __init__(
        self,
        offset: int,
        width: int = 4,
        access: str = "rw",
        reset: int = 0,
        doc: str = "",
        fields: Optional[Mapping[str, Field]] = None,
    ) -> None:
        if width not in WIDTHS:
            raise RegisterError(f"a register is 1, 2, 4 or 8 bytes wide, not {width}")
        if access not in ACCESS:
            raise RegisterError(f"access is one of {', '.join(ACCESS)}, not {access!r}")
        if offset < 0 or not 0 <= reset < 1 << 8 * width:
            raise RegisterError(f"register at {offset:#x}: negative offset, or {reset:#x} does not fit {width} bytes")
        self.offset = offset
        self.width = width
        self.access = access
        self.reset = reset
        self.doc = doc
        self.fields: dict[str, Field] = dict(fields or {})
        for name, field in self.fields.items():
            if field.lsb < 0 or field.width < 1 or field.lsb + field.width > 8 * width:
                raise RegisterError(f"field {name} does not fit a register of {8 * width} bits")
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<Reg {self.name} {self.offset:#x} {self.width} {self.access}>"

    @overload
    def __get__(self, block: None, owner: type) -> Reg: ...
    @overload
    def __get__(self, block: RegisterBlock, owner: type) -> int: ...
    def __get__(self, block: Optional[RegisterBlock], owner: type) -> Union[Reg, int]:
        return self if block is None else block.values[self.name]

    def __set__(self, block: RegisterBlock, value: int) -> None:
        block.values[self.name] = value & self.mask

    @property
    def end(self) -> int:
        """Offset of the first byte behind the register."""
        return self.offset + self.width

    @property
    def mask(self) -> int:
        """All of the register's bits."""
        return (1 << 8 * self.width) - 1


class Touch(NamedTuple):
    """The part of one access that fell on one register."""

    name: str
    """The register's."""
    offset: int
    """Of the part's first byte, in the block."""
    width: int
    """Bytes of the register that were touched."""
    value: int
    """What these bytes held (read) or were given (write)."""


class RegisterBlock:
    """A device's registers.  `size` is what it takes of the address space, in bytes: whole pages.

    `values` holds the registers by name; `stray` counts accesses that touched bytes where there is nothing, wrote
    what is read-only or read what is write-only.
    """

    registers: ClassVar[dict[str, Reg]] = {}
    _at: ClassVar[dict[int, Reg]] = {}
    size: ClassVar[int] = PAGE_SIZE
    name: str = ""
    """How reports call the device; the class's name in lower case unless set."""
    irq: int = -1
    """The interrupt line that the device is wired to; -1: none."""
    bus: Optional[Bus] = None
    """The bus that it is on; None while it is on none."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        found = {
            name: value
            for base in reversed(cls.__mro__)
            for name, value in vars(base).items()
            if isinstance(value, Reg)
        }
        cls._at = {reg.offset: reg for reg in found.values()}
        cls.registers = dict(sorted(found.items(), key=lambda item: item[1].offset))
        _check_overlap(cls)
        _check_hooks(cls)
        end = max((reg.end for reg in cls.registers.values()), default=1)
        if "size" not in vars(cls):
            cls.size = (end + PAGE_SIZE - 1) & -PAGE_SIZE
        elif cls.size % PAGE_SIZE or cls.size < end:
            raise RegisterError(f"{cls.__name__}.size must be whole pages that hold all registers, not {cls.size:#x}")
        if "name" not in vars(cls):
            cls.name = cls.__name__.lower()

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.stray = 0
        self.reset()

    def reset(self) -> None:
        """Power-on: every register has its reset value."""
        self.values.update((name, reg.reset) for name, reg in self.registers.items())

    # -- interrupts and time ---------------------------------------------------------------------

    def raise_irq(self) -> None:
        """An edge on the device's interrupt line; lost while nobody has asked for it.

        In the middle of an access to its registers the interrupt comes right after that.  Any thread may call this.
        """
        if self.bus is not None:
            self.bus.raise_irq(self._line())

    def hold_irq(self) -> None:
        """Pull the line, as a PCI device does: the handlers run again and again until `lower_irq`."""
        if self.bus is not None:
            self.bus.set_irq(self._line(), True)

    def lower_irq(self) -> None:
        """Let the line go."""
        if self.bus is not None:
            self.bus.set_irq(self._line(), False)

    def call_later(self, delay_ns: int, callback: Callable[[], None]) -> None:
        """Have `callback` called after a delay in nanoseconds on the machine's clock: the end of a DMA, a tick."""
        if self.bus is None:
            raise RegisterError(f"{self.name} is on no bus: there is no clock")
        self.bus.call_later(delay_ns, callback)

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
        return [reg for reg in self.registers.values() if reg.offset < offset + width and offset < reg.end]

    def read(self, offset: int, width: int) -> tuple[int, list[Touch]]:
        """The bus reads `width` bytes: their value (little-endian) and what was touched."""
        result, covered, touches = 0, 0, []
        for reg in self.touched(offset, width):
            first, last = max(offset, reg.offset), min(offset + width, reg.end)
            if reg.access == "wo":
                whole = 0
            else:
                whole = self._value_for_bus(reg)
                covered += last - first
            part = whole >> 8 * (first - reg.offset) & (1 << 8 * (last - first)) - 1
            result |= part << 8 * (first - offset)
            touches.append(Touch(reg.name, first, last - first, part))
        self.stray += covered != width
        return result, touches

    def _value_for_bus(self, reg: Reg) -> int:
        value = self.on_read(reg)
        hook = getattr(self, "read_" + reg.name, None)
        if hook is not None:
            value = hook()
        return self.values[reg.name] if value is None else int(value) & reg.mask

    def write(self, offset: int, width: int, value: int) -> list[Touch]:
        """The bus writes `width` bytes of `value` (little-endian): what was touched."""
        covered, touches = 0, []
        for reg in self.touched(offset, width):
            first, last = max(offset, reg.offset), min(offset + width, reg.end)
            part = value >> 8 * (first - offset) & (1 << 8 * (last - first)) - 1
            touches.append(Touch(reg.name, first, last - first, part))
            if reg.access != "ro":
                covered += last - first
                self._take(reg, 8 * (first - reg.offset), last - first, part)
        self.stray += covered != width
        return touches

    def _take(self, reg: Reg, shift: int, width: int, part: int) -> None:
        mask = (1 << 8 * width) - 1 << shift
        old, new = self.values[reg.name], part << shift
        if reg.access == "w1c":
            self.values[reg.name] = old & ~new
        else:
            new |= old & ~mask
            self.values[reg.name] = new
        self.on_write(reg, new)
        hook = getattr(self, "write_" + reg.name, None)
        if hook is not None:
            hook(new)

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
        """A table of the registers with their present values, one a line, fields below."""
        lines = [f"{self.name}: {len(self.registers)} registers, {self.size:#x} bytes"]
        for name, reg in self.registers.items():
            value = f"{self.values[name]:0{2 * reg.width}x}"
            head = f"  {reg.offset:#06x} {name:<12} {8 * reg.width:>2} {reg.access:<3} {value}"
            lines.append(f"{head} {reg.doc}".rstrip())
            for field, bits in reg.fields.items():
                high = bits.lsb + bits.width - 1
                where = f"[{high}:{bits.lsb}]" if bits.width > 1 else f"[{bits.lsb}]"
                lines.append(f"         {where:<8} {field:<12} {self.field(name, field):x} {bits.doc}".rstrip())
        return "\n".join(lines) + "\n"


def _check_overlap(cls: type[RegisterBlock]) -> None:
    regs = list(cls.registers.values())
    for one, other in pairwise(regs):
        if other.offset < one.end:
            raise RegisterError(
                f"{cls.__name__}: registers {one.name} ({one.offset:#x}, {one.width} bytes) and "
                f"{other.name} ({other.offset:#x}) overlap"
            )


def _check_hooks(cls: type[RegisterBlock]) -> None:
    """A ``write_crtl`` beside a register ``ctrl`` would never run: say so."""
    for name in vars(cls):
        kind, _, register = name.partition("_")
        if kind in ("read", "write") and register and callable(getattr(cls, name)) and register not in cls.registers:
            raise RegisterError(f"{cls.__name__}.{name}: there is no register {register!r}")
