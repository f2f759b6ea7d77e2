"""Device registers: the one way to declare them, and what an access does to them.

A block is a class whose attributes declare its registers::

    class Timer(RegisterBlock):
        ctrl = Reg(0x00, fields={"enable": Field(0), "mode": Field("3:1", values={"once": 0, "again": 1})})
        count = Reg(0x04, access="ro", reset=42)
        status = Reg(0x08, access="w1c")
        data = Fifo(0x0c, depth=16)
        buffer = Memory(0x100, size=256)

        @ctrl.on_write
        def started(self, value: int) -> None:
            if self["ctrl.enable"]:
                self.after(10, self.raise_irq)

On an instance ``timer.count`` is the register's present value and ``timer.count = 7`` sets it, from the
device's side: no hook runs; ``timer["ctrl.mode"]`` is a field.  What the bus does goes through `RegisterBlock.read` and
`write`:

* An access is cut along the registers that it touches.  An access narrower than a register reads those bytes
  of it; a narrow write leaves the other bytes as they are.  Alignment does not matter.
* What a read and a write do to a bit is its field's `access`, else its register's (field.py).
* Bytes outside every register read as 0 and take no writes; so do writes to an ``ro`` and reads of a ``wo``
  register.
* A device that is stricter says so: `RegisterBlock.widths`, `Reg.widths` and `RegisterBlock.unaligned`.  An access
  that it does not take is refused as a whole: a read gives ones, a write is lost, no hook runs.
* `counts` says how many accesses were unaligned, wider than what they touched, outside the registers, forbidden or
  refused; `stray` is how many were outside or forbidden.
* Hooks.  Before a read `on_read(reg)` runs, then ``read_NAME()``, the methods that `Reg(on_read=...)` names, and those
  marked ``@NAME.on_read``; the last that gives a number says what is read.  After a write likewise `on_write(reg,
  value)`, ``write_NAME(value)`` and the others.  They are told the register's new value as far as its bits are stored,
  and the bits that were written of a ``w1c`` and the like.  Those of an array have the index before, those of a
  memory the offset.
* An exception in a hook is the end of the access: a read gives ones, the program gets SIGBUS, and `Machine.wait` raises
  `DeviceError` from it (hardware/bus.py).
* An access across two pages is two, one a page.  A system call that is given the registers as its buffer makes
  accesses of 4 bytes, of 1 at unaligned ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Optional, Union

from machine.hardware.bus import is_of_a_model
from machine.hardware.declare import complete, wrong
from machine.hardware.deviceside import DeviceSide
from machine.hardware.field import ACCESS, Field
from machine.hardware.parts import Fifo, Memory, Queue
from machine.hardware.ram import PAGE_SIZE
from machine.hardware.reg import Counts, Part, Reg, RegArray, RegisterError, Touch

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["ACCESS", "Counts", "Field", "Fifo", "Memory", "Reg", "RegArray", "RegisterBlock", "RegisterError", "Touch"]


__tracebackhide__ = is_of_a_model


class RegisterBlock(DeviceSide):
    """A device's registers.  `size` is what it takes of the address space, in bytes: whole pages.

    `values` holds the registers by name, those of an array once they differ from their reset value.
    """

    registers: ClassVar[dict[str, Reg]] = {}
    arrays: ClassVar[dict[str, RegArray]] = {}
    memories: ClassVar[dict[str, Memory]] = {}
    _for_read: ClassVar[dict[int, Reg]] = {}
    _for_write: ClassVar[dict[int, Reg]] = {}
    _ranges: ClassVar[list[Part]] = []
    """Arrays and memories."""
    _hooks: ClassVar[dict[tuple[str, str], tuple[str, ...]]] = {}
    _known: ClassVar[set[str]] = set()
    """Attributes that can be set: those of the class, and its own that somebody has set."""
    size: ClassVar[int] = PAGE_SIZE
    widths: ClassVar[tuple[int, ...]] = ()
    """Widths of access, in bytes, that the device takes; (): all.  A register's own `widths` come before."""
    unaligned: ClassVar[str] = "split"
    """``split``: an access may begin anywhere.  ``refuse``: only at a multiple of its width."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        __tracebackhide__ = True
        super().__init_subclass__(**kwargs)
        complete(cls, RESERVED)

    def __new__(cls, *args: Any, **_options: Any) -> Any:
        """RegisterError for ``@pytest.mark.device(Timer)``: pytest takes the class for what is decorated."""
        __tracebackhide__ = True
        if args and "pytestmark" in vars(cls):
            from machine.testing import messages

            raise RegisterError(messages.device_without_place(cls))
        return super().__new__(cls)

    def __setattr__(self, name: str, value: Any) -> None:
        """RegisterError where a register's name is mistyped: ``self.statsu = 1``."""
        if name not in self._known:
            self._check_name(name)
        object.__setattr__(self, name, value)

    def _check_name(self, name: str) -> None:
        from machine.hardware.typos import meant_by

        meant = meant_by(type(self), name)
        if meant is not None:
            raise wrong("attribute_mistyped", type(self), name, meant)
        self._known.add(name)

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, int] = {}
        self.stores: dict[str, Union[bytearray, Queue]] = {}
        """What its memories and queues hold."""
        self._written_once: dict[str, int] = {}
        self.counts = Counts()
        self.stray = 0
        self.reset()

    def reset(self) -> None:
        """Power-on: every register has its reset value, queues are empty, what was put off is forgotten."""
        self.cancel_all()
        self._written_once.clear()
        self.values.clear()
        self.values.update((name, reg.reset) for name, reg in self.registers.items())
        for name, store in self.stores.items():
            if isinstance(store, Queue):
                store.clear()
            else:
                store[:] = self.memories[name].at_reset()

    @staticmethod
    def from_rdl(path: Union[str, PathLike[str]], name: str = "", **parameters: Any) -> type[RegisterBlock]:
        """The class of the address map `name` (the last of the file unless said) in a SystemRDL file.

        Needs systemrdl-compiler: ``pip install 'nopage[rdl]'``.  RegisterError: it is not there, or the file is wrong.
        """
        from machine.hardware.rdl import block_from_rdl

        return block_from_rdl(str(path), name, parameters)

    @staticmethod
    def from_svd(path: Union[str, PathLike[str]], peripheral: str) -> type[RegisterBlock]:
        """The class of one peripheral in a CMSIS-SVD file.  Needs cmsis-svd: ``pip install 'nopage[svd]'``."""
        from machine.hardware.svd import block_from_svd

        return block_from_svd(str(path), peripheral)

    # -- for the device's author to override ---------------------------------------------------

    def on_read(self, reg: Reg) -> Optional[int]:
        """The bus is about to read `reg`: a value to give instead of the stored one, or None."""
        return None

    def on_write(self, reg: Reg, value: int) -> None:
        """The bus has written `value` to `reg`."""

    # -- the bus's side ----------------------------------------------------------------------------

    def touched(self, offset: int, width: int, write: bool = False) -> list[Reg]:
        """The registers of which [offset, offset + width) touches a byte, lowest first."""
        table = self._for_write if write else self._for_read
        reg = table.get(offset)
        if reg is not None and width <= reg.width:
            return [reg]
        end = offset + width
        found = [reg for reg in table.values() if reg.offset < end and offset < reg.end]
        for part in self._ranges:
            if part.offset < end and offset < part.end:
                if isinstance(part, RegArray):
                    found += part.touched(offset, end)
                elif isinstance(part, Memory):
                    found.append(part.cell(offset, end))
        return sorted(found, key=lambda reg: reg.offset) if len(found) > 1 else found

    def to_one(self, offset: int, width: int, value: Optional[int]) -> list[Touch]:
        """The record of an access to one register that has failed (`value` None: a read, which gave ones); else []."""
        regs = self.touched(offset, width, value is not None)
        given = (1 << 8 * width) - 1 if value is None else value
        return [Touch(regs[0].name, offset, width, given)] if len(regs) == 1 else []

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

    def _count_stray(self, width: int, covered: int, forbidden: bool) -> None:
        self.stray += 1
        self.counts.forbidden += forbidden
        self.counts.outside += width > covered

    def read(self, offset: int, width: int) -> tuple[int, list[Touch]]:
        """The bus reads `width` bytes: their value (little-endian) and what was touched."""
        regs = self.touched(offset, width)
        if self._refuses(offset, width, regs):
            return (1 << 8 * width) - 1, []
        result, covered, forbidden, touches = 0, 0, False, []
        for reg in regs:
            first, last = max(offset, reg.offset), min(offset + width, reg.end)
            covered += last - first
            shift, bits = 8 * (first - reg.offset), (1 << 8 * (last - first)) - 1
            if reg.effects.readable:
                part = self._value_for_bus(reg, bits << shift) >> shift & bits
            else:
                part, forbidden = 0, True
            result |= part << 8 * (first - offset)
            touches.append(Touch(reg.name, first, last - first, part))
        if covered != width or forbidden:
            self._count_stray(width, covered, forbidden)
        return result, touches

    def _value_for_bus(self, reg: Reg, touched: int) -> int:
        """What the bus sees of a register; `touched` are the bits that it reads."""
        value = self.on_read(reg)
        for name in self._hooks.get(("read", reg.hook), ()):
            given = getattr(self, name)(*reg.place)
            if given is not None:
                value = given
        if value is None:
            value = reg.fetch(self)
        elif not isinstance(value, int) or not -reg.mask - 1 <= value <= reg.mask:
            raise wrong("read_hook_gave", self, reg, value)
        effects = reg.effects
        if effects.plain:
            return value & reg.mask
        if effects.clears | effects.sets:
            stored = self.values.get(reg.name, reg.reset)
            self.values[reg.name] = stored & ~(effects.clears & touched) | effects.sets & touched
        return value & (effects.readable if reg.fields else reg.mask)

    def write(self, offset: int, width: int, value: int) -> list[Touch]:
        """The bus writes `width` bytes of `value` (little-endian): what was touched."""
        regs = self.touched(offset, width, True)
        if self._refuses(offset, width, regs):
            return []
        covered, forbidden, touches = 0, False, []
        for reg in regs:
            first, last = max(offset, reg.offset), min(offset + width, reg.end)
            covered += last - first
            part = value >> 8 * (first - offset) & (1 << 8 * (last - first)) - 1
            touches.append(Touch(reg.name, first, last - first, part))
            if reg.effects.writes:
                self._take(reg, 8 * (first - reg.offset), last - first, part)
            else:
                forbidden = True
        if covered != width or forbidden:
            self._count_stray(width, covered, forbidden)
        return touches

    def _take(self, reg: Reg, shift: int, width: int, part: int) -> None:
        told = reg.take(self, (1 << 8 * width) - 1 << shift, part << shift)
        self.on_write(reg, told)
        for name in self._hooks.get(("write", reg.hook), ()):
            given = getattr(self, name)(*reg.place, told)
            if given is not None:
                raise wrong("write_hook_gave", self, name, given)

    def once(self, reg: Reg, taken: int) -> int:
        """The bits of `reg` that were written since the reset; from now on `taken` are among them."""
        before = self._written_once.get(reg.name, 0)
        self._written_once[reg.name] = before | taken
        return before

    # -- fields and descriptions ---------------------------------------------------------------------

    def __getitem__(self, name: str) -> int:
        """``timer["ctrl"]`` is a register, ``timer["ctrl.mode"]`` a field.  RegisterError where there is none."""
        register, _, field = name.partition(".")
        return self.field(register, field) if field else self.values[self._reg(register).name]

    def __setitem__(self, name: str, value: Union[int, str]) -> None:
        """Set it from the device's side; a field may be given by the name of its value."""
        register, _, field = name.partition(".")
        if field:
            self.set_field(register, field, value)
        else:
            setattr(self, self._reg(register).name, value)

    def field(self, register: str, field: str) -> int:
        """The value of one field: ``timer.field("ctrl", "mode")``.  RegisterError where there is none."""
        return self._field(register, field).of(self.values[register])

    def set_field(self, register: str, field: str, value: Union[int, str]) -> None:
        """Set one field from the device's side: a number, of which bits that do not fit are dropped, or a name."""
        bits = self._field(register, field)
        if isinstance(value, str):
            if value not in bits.values:
                raise wrong("no_such_value", type(self), register, field, bits, value)
            value = bits.values[value]
        self.values[register] = self.values[register] & ~bits.mask | value << bits.lsb & bits.mask

    def _reg(self, name: str) -> Reg:
        if name not in self.registers:
            raise wrong("model_has_no_register", type(self), name)
        return self.registers[name]

    def _field(self, register: str, field: str) -> Field:
        fields = self._reg(register).fields
        if field not in fields:
            raise wrong("no_such_field", type(self), register, field, list(fields))
        return fields[field]

    def describe(self) -> str:
        """A table of the registers with their present values, one a line, fields below.

        Of an array the registers that have another value than after a reset.
        """
        count = len(self.registers) + sum(array.count for array in self.arrays.values())
        lines = [f"{self.name}: {count} registers, {self.size:#x} bytes"]
        for part in sorted([*self.registers.values(), *self._ranges], key=lambda part: part.offset):
            if isinstance(part, Reg):
                lines += self._lines(part)
            elif isinstance(part, RegArray):
                lines += self._array_lines(part)
            elif isinstance(part, Memory):
                lines.append(f"  {part.offset:#06x} {part.name:<12}    {part.access:<3} {part.size:#x} bytes".rstrip())
        return "\n".join(lines) + "\n"

    def _lines(self, reg: Reg) -> list[str]:
        number = self.values.get(reg.name, reg.reset)
        head = f"  {reg.offset:#06x} {reg.name:<12} {8 * reg.width:>2} {reg.access:<3} {number:0{2 * reg.width}x}"
        lines = [f"{head} {reg.doc}".rstrip()]
        for name, bits in reg.fields.items():
            high = bits.lsb + bits.width - 1
            where = f"[{high}:{bits.lsb}]" if bits.width > 1 else f"[{bits.lsb}]"
            lines.append(f"         {where:<8} {name:<12} {bits.of(number):x} {bits.doc}".rstrip())
        return lines

    def _array_lines(self, array: RegArray) -> list[str]:
        one = array.one
        name = f"{array.name}[{array.count}]"
        head = f"  {array.offset:#06x} {name:<12} {8 * one.width:>2} {one.access:<3} {one.reset:0{2 * one.width}x}"
        changed = [i for i, value in enumerate(getattr(self, array.name)) if value != one.reset]
        return [f"{head} {array.doc}".rstrip(), *(line for i in changed for line in self._lines(array.reg(i)))]


RESERVED = frozenset(dir(RegisterBlock)) | {"counts", "stores", "stray", "values"}
"""What a register can't be called: the block's own attributes."""
