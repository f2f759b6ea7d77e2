"""What a device does on its own: interrupts, time, DMA (the base of `registers.RegisterBlock`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Optional

from machine.hardware.bus import is_of_a_model
from machine.hardware.ram import PAGE_SIZE

if TYPE_CHECKING:
    from machine.hardware.bus import Bus
    from machine.hardware.pci import PciFunction


__tracebackhide__ = is_of_a_model


class Pending:
    """Something that `after` or `every` has put off.  `cancel` forgets it; twice is fine."""

    __slots__ = ("_arguments", "_function", "_period", "active", "block", "led_by")

    def __init__(
        self, block: DeviceSide, function: Callable[..., Any], arguments: tuple[Any, ...], period: Optional[int]
    ) -> None:
        self.block = block
        self._function = function
        self._arguments = arguments
        self._period = period
        self.active = True
        """Whether it is still to come."""
        self.led_by = -1 if block.bus is None else block.bus.leads()
        """Index in the bus's record of the access in which it was put off; -1: none."""

    def cancel(self) -> None:
        """It will not be called."""
        self.active = False
        self.block._pending.pop(self, None)

    def start(self, delay_ns: int) -> None:
        self.block._pending[self] = None
        self.block.call_later(delay_ns, self)

    def __call__(self) -> None:
        if not self.active:
            return
        if self._period is None:
            self.cancel()
        else:
            self.block.call_later(self._period, self)
        self._function(*self._arguments)

    @property
    def what(self) -> str:
        """The function's name."""
        return str(getattr(self._function, "__qualname__", repr(self._function)))

    def __repr__(self) -> str:
        return f"<{'pending' if self.active else 'done'} {self.what}>"


class DeviceSide:
    """A device's line, clock and access to memory; through the PCI function when it is behind one."""

    name: str = ""
    """How reports call the device; the class's name in lower case unless set."""
    irq: int = -1
    """The interrupt line that the device is wired to; -1: none."""
    bus: Optional[Bus] = None
    """The bus that it is on; None while it is on none."""
    function: Optional[PciFunction] = None
    """The PCI function whose BAR it is behind: its interrupts are the block's."""

    def __init__(self) -> None:
        self._pending: dict[Pending, None] = {}

    # -- interrupts ------------------------------------------------------------------------------

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

    def _line(self) -> int:
        if self.irq < 0:
            raise _wrong("no_line", self)
        return self.irq

    # -- time ------------------------------------------------------------------------------------

    def after(self, us: float, function: Callable[..., Any], *arguments: Any) -> Pending:
        """Have `function(*arguments)` called in `us` microseconds of the machine's clock; what is given can `cancel`.

        A reset of the device cancels it too.  RegisterError: the device is in no machine, or `us` is negative.
        """
        return self._put_off(us, function, arguments, None)

    def every(self, us: float, function: Callable[..., Any], *arguments: Any) -> Pending:
        """Have it called each `us` microseconds, for the first time in `us`, until it is cancelled."""
        return self._put_off(us, function, arguments, max(1, round(us * 1000)))

    def _put_off(
        self, us: float, function: Callable[..., Any], arguments: tuple[Any, ...], period: Optional[int]
    ) -> Pending:
        if us < 0 or (period is not None and us == 0) or not callable(function):
            raise _wrong("wrong_delay", self, us, function)
        pending = Pending(self, function, arguments, period)
        pending.start(round(us * 1000))
        return pending

    def call_later(self, delay_ns: int, callback: Callable[[], None]) -> None:
        """Have `callback` called after a delay in nanoseconds on the machine's clock, whatever happens meanwhile."""
        if self.function is not None:
            self.function.call_later(delay_ns, callback)
            return
        if self.bus is None:
            raise _wrong("no_clock", self)
        self.bus.call_later(delay_ns, callback)

    def cancel_all(self) -> None:
        """Forget what `after` and `every` have put off."""
        for pending in list(self._pending):
            pending.cancel()

    def now(self) -> int:
        """The machine's time in nanoseconds; 0 while the device is in no machine."""
        if self.function is not None:
            return self.function.now()
        return 0 if self.bus is None else self.bus.clock()

    # -- DMA -------------------------------------------------------------------------------------

    def dma_read(self, address: int, count: int) -> bytes:
        """`count` bytes of memory: at a bus address for a PCI function that may be master, else at a physical one.

        Ones where nobody answers.  RegisterError: the device is in no machine.
        """
        if self.function is not None:
            return self.function.dma_read(address, count)
        if self.bus is None:
            raise _wrong("no_clock", self)
        bus = self.bus
        return b"".join(bus.read_bytes(at, n) for at, n in _pages(address, count))

    def dma_write(self, address: int, data: bytes) -> None:
        """Write memory; what falls where nobody answers is lost."""
        if self.function is not None:
            self.function.dma_write(address, data)
            return
        if self.bus is None:
            raise _wrong("no_clock", self)
        for at, n in _pages(address, len(data)):
            self.bus.write_bytes(at, data[at - address : at - address + n])
            self.bus.on_dma(at, n)


def _pages(address: int, count: int) -> Iterator[tuple[int, int]]:
    """(address, bytes) of the part in each page."""
    end = address + count
    while address < end:
        n = min(end, (address & -PAGE_SIZE) + PAGE_SIZE) - address
        yield address, n
        address += n


def _wrong(text: str, *facts: Any) -> Exception:
    from machine.hardware.declare import wrong

    return wrong(text, *facts)
