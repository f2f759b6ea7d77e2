"""A timer and 32 general-purpose pins in one page: a device for user-space drivers (UIO).

======= ============ ==================================================================================================
0x00    id           "TGIO"
0x04    control      0 run, 1 once (stop at the end instead of beginning again), 2 interrupt at the end
0x08    load         microseconds from one end to the next
0x0c    count        microseconds that are left
0x10    status       0 the timer came to its end, 1 a pin changed that `edge` watches; 1 clears
0x20    out          what the pins that are outputs are driven to
0x24    set, clear   written as 1: those bits of `out` (0x28)
0x2c    direction    1: the pin is an output
0x30    in           the pins' levels
0x34    edge         pins whose change of level is an interrupt
0x38    changed      pins that did; 1 clears
======= ============ ==================================================================================================

The interrupt line is held while a bit of `status` is set whose interrupt is asked for.  The world outside pulls input
pins with `pull(pin, level)`, and hears of outputs through `on_output`.
"""

from __future__ import annotations

from collections.abc import Callable

from machine.hardware.registers import Field, Reg, RegisterBlock

RUN, ONCE, INTERRUPT = 1, 2, 4
TIMER, PINS = 1, 2
PIN_COUNT = 32
_NS = 1000


class TimerGpio(RegisterBlock):
    """The device; set `irq` to the line that it is wired to, 7 unless said otherwise."""

    irq = 7

    id = Reg(0x00, access="ro", reset=int.from_bytes(b"TGIO", "little"))
    control = Reg(0x04, fields={"run": Field(0), "once": Field(1), "interrupt": Field(2)})
    load = Reg(0x08, reset=1_000_000)
    count = Reg(0x0C, access="ro")
    status = Reg(0x10, access="w1c", fields={"timer": Field(0), "pins": Field(1)})
    out = Reg(0x20)
    set = Reg(0x24, access="wo")
    clear = Reg(0x28, access="wo")
    direction = Reg(0x2C)
    input = Reg(0x30, access="ro")
    edge = Reg(0x34)
    changed = Reg(0x38, access="w1c")

    def __init__(self) -> None:
        self.on_output: Callable[[int], None] = lambda levels: None
        """Called with the levels of all output pins after they may have changed."""
        self._pulled = 0
        self._ends = 0
        """When the timer comes to its end, 0 while it stands."""
        self._started = 0
        super().__init__()

    def reset(self) -> None:
        """Power-on: the timer stands, all pins are inputs; what pulls them stays."""
        super().reset()
        self._ends = 0
        self._started += 1

    # -- the timer ---------------------------------------------------------------------------------

    def write_control(self, value: int) -> None:
        """Starts at `load` when `run` comes, stops when it goes."""
        if not value & RUN:
            self._ends = 0
            self._started += 1
        elif not self._ends:
            self._start()
        self._drive()

    def write_load(self, value: int) -> None:
        """A running timer begins again."""
        if self._ends:
            self._start()

    def read_count(self) -> int:
        """Rounded up: 0 only when it stands."""
        return max(0, -(-(self._ends - self.now()) // _NS)) if self._ends else 0

    def _start(self) -> None:
        self._started += 1
        takes = max(1, self.load) * _NS
        self._ends = self.now() + takes
        mine = self._started
        self.call_later(takes, lambda: self._end(mine))

    def _end(self, started: int) -> None:
        if started != self._started:
            return  # it was stopped, or began again
        self._ends = 0
        if self.control & ONCE:
            self.control &= ~RUN
        else:
            self._start()
        self.status |= TIMER
        self._drive()

    # -- the pins ------------------------------------------------------------------------------------

    def pull(self, pin: int, level: bool) -> None:
        """From outside: the level that pin 0 to 31 has while it is an input.  ValueError for another number."""
        if not 0 <= pin < PIN_COUNT:
            raise ValueError(f"there is no pin {pin}: they are numbered 0 to {PIN_COUNT - 1}")
        before = self._levels()
        self._pulled = self._pulled & ~(1 << pin) | int(level) << pin
        self._pins_changed(before)

    def _levels(self) -> int:
        return self.out & self.direction | self._pulled & ~self.direction

    def read_input(self) -> int:
        """Inputs as they are pulled, outputs as they are driven."""
        return self._levels()

    def _pins_changed(self, before: int) -> None:
        self.changed |= (self._levels() ^ before) & self.edge
        if self.changed:
            self.status |= PINS
        self._drive()

    def on_write(self, reg: Reg, value: int) -> None:
        """`out`, `set`, `clear` and `direction` drive pins; `status` and `changed` let the interrupt go."""
        if reg.name == "set":
            self.out |= value
        elif reg.name == "clear":
            self.out &= ~value
        if reg.name in ("out", "set", "clear", "direction"):
            self.values["set"] = self.values["clear"] = 0
            self.on_output(self.out & self.direction)
        if reg.name == "changed" and not self.changed:
            self.status &= ~PINS
        self._drive()

    def _drive(self) -> None:
        wanted = PINS | (TIMER if self.control & INTERRUPT else 0)
        if self.status & wanted:
            self.hold_irq()
        else:
            self.lower_irq()
