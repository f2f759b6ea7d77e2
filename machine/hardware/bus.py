"""Who answers a physical address: RAM, device memory, a register block, or nobody.

The guest's own accesses to RAM and device memory never come here: the engine makes them.  Register blocks are
reached through here by everyone (the kernel's trap, `readl`, copies between user and kernel), so
every access is seen once, and told to whoever listens to ``events.register``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Optional

from machine.events import Events, RegisterAccess
from machine.hardware.blame import passes
from machine.hardware.ports import Ports
from machine.hardware.ram import PAGE_SIZE, PHYSICAL_END, Ram
from machine.records import NamedTuple

if TYPE_CHECKING:
    from machine.hardware.cpu import Cpu
    from machine.hardware.registers import RegisterBlock, Touch


def is_of_a_model(caught: Any) -> bool:
    """What `__tracebackhide__` of a module is that runs device models: pytest shows none of its frames when a model has
    raised, or was refused something, and all of them when we have."""
    if isinstance(caught.value, Lockup) or type(caught.value).__name__ == "RegisterError":
        return True
    trace = caught.tb
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and "machine.hardware" not in _name_of(trace)


def _name_of(trace: Any) -> str:
    return str(trace.tb_frame.f_globals.get("__name__", ""))


__tracebackhide__ = is_of_a_model


class Attachment(NamedTuple):
    """A register block on the bus, at [start, start + block.size)."""

    block: RegisterBlock
    start: int
    recorded: bool = False
    """Whether its accesses are kept in `Bus.record`."""

    @property
    def end(self) -> int:
        """One past its last physical address."""
        return self.start + self.block.size


class ModelFailure(NamedTuple):
    """A device model raised while it served an access, or in what it had put off."""

    failure: BaseException
    block: Optional[RegisterBlock]
    what: str
    """``a write of 0x1 to ctrl``."""
    sent: bool
    """Whether it is the doing of an instruction of a program, which gets SIGBUS; else the machine stops."""
    led_by: int = -1
    """Index in `Bus.record` of the access that it was, or that has put it off; -1: none."""


class Lockup(BaseException):
    """What is raised in a model, or a driver, that does not come back (kernel/task/watchdog.py): not to be swallowed by
    its ``except Exception``."""

    def __init__(self, text: str = "", late: bool = False) -> None:
        super().__init__("did not come back")
        self.text = text
        """For people, several lines: who, and where."""
        self.late = late
        """Whether the time for it was over; else somebody has pressed Ctrl-C."""


class DeviceMemory(NamedTuple):
    """Memory of a device (a frame buffer) on the bus, at [start, start + len(data))."""

    data: memoryview
    start: int


class BusConflict(ValueError):
    """Two devices want the same physical address."""


class Bus:
    """Physical addresses of one machine.  `cpu` None: no engine that must see device memory (tests)."""

    def __init__(self, cpu: Optional[Cpu], ram: Ram) -> None:
        self.cpu = cpu
        self.ram = ram
        self.events = Events()
        """The stream that hears of register accesses; the kernel puts its own here."""
        self.clock: Callable[[], int] = lambda: 0
        """The machine's time in nanoseconds, for the events."""
        self.on_access: Callable[[], None] = lambda: None
        """Called at every register access: the virtual clock moves."""
        self.current_pid: Callable[[], int] = lambda: 0
        """Whose system call makes an access that no instruction of a program made."""
        self.record: list[RegisterAccess] = []
        """Every access to the blocks that were attached with ``recorded=True``, in order."""
        self.raise_irq: Callable[[int], None] = lambda irq: None
        """An edge on an interrupt line; the kernel puts its interrupt controller here."""
        self.set_irq: Callable[[int, bool], None] = lambda irq, high: None
        """A line is held (True) or let go."""
        self.call_later: Callable[[int, Callable[[], None]], None] = lambda delay_ns, callback: None
        """Have a device's function called after a delay on the machine's clock."""
        self.failures: list[ModelFailure] = []
        """What device models have raised and nobody has heard of yet (`Machine.wait` raises it)."""
        self.broken = False
        """One of these was no program's doing: nothing may run any more until it was heard of."""
        self.on_record: Optional[Callable[[int, int], None]] = None
        """Told of the process and the instruction of each access that is kept in `record`."""
        self.led_by = -1
        """While something runs that a device has put off: index in `record` of the access that has led to it."""
        self.inside = 0
        """Accesses to registers that devices are answering now: one, or more when a device makes some itself."""
        self.afterwards: Optional[Callable[[], None]] = None
        """What waits for the end of the access: interrupts that the device raised in it."""
        self.blocks: list[Attachment] = []
        self.memories: list[DeviceMemory] = []
        self.ports = Ports()
        self.on_change: Callable[[], None] = lambda: None
        """Called when a device has left an address or come to one after start-up (a BAR was moved)."""
        self.on_dma: Callable[[int, int], None] = lambda physical, count: None
        """Called after a device has written RAM."""
        self._pages: dict[int, Attachment] = {}
        self.asleep: Optional[Callable[[], None]] = None
        """Puts the cards on the bus.  Called when somebody first looks beyond RAM: most programs never do."""

    # -- who is there ------------------------------------------------------------------------

    def attach(self, block: RegisterBlock, physical: int, recorded: bool = False) -> Attachment:
        """Put `block` at `physical`.  ValueError unless page-aligned and outside RAM; BusConflict when taken."""
        self.wake()
        self._check(physical, block.size, block.name)
        made = Attachment(block, physical, recorded)
        self.blocks.append(made)
        block.bus = self
        for page in range(physical, made.end, PAGE_SIZE):
            self._pages[page] = made
        return made

    def detach(self, block: RegisterBlock) -> None:
        """Take a block off; ValueError when it is on no address."""
        mine = [each for each in self.blocks if each.block is block]
        if not mine:
            raise ValueError(_text("not_on_the_bus", block.name))
        for each in mine:
            self.blocks.remove(each)
            block.bus = None
            for page in range(each.start, each.end, PAGE_SIZE):
                del self._pages[page]

    def attach_memory(self, buffer: Any, physical: int) -> None:
        """Put device memory at `physical`: `buffer`, writable and whole pages long, is what guest and kernel see."""
        data = memoryview(buffer).cast("B")
        self._check(physical, len(data), "device memory")
        if self.cpu is not None:
            self.cpu.map_memory(physical, len(data), ctypes.addressof(ctypes.c_char.from_buffer(buffer)))
        self.memories.append(DeviceMemory(data, physical))

    def detach_memory(self, physical: int) -> None:
        """Undo `attach_memory`; ValueError when no device memory starts there."""
        mine = [each for each in self.memories if each.start == physical]
        if not mine:
            raise ValueError(_text("no_device_memory", physical))
        self.memories.remove(mine[0])
        if self.cpu is not None:
            self.cpu.unmap_memory(physical, len(mine[0].data))

    def _check(self, physical: int, size: int, name: str) -> None:
        if physical % PAGE_SIZE:
            raise ValueError(_text("not_at_a_page", name, physical))
        end = physical + size
        if end > PHYSICAL_END:
            raise ValueError(_text("beyond_addresses", name, physical))
        if any(start < end and physical < stop for start, stop in self.ram.pieces):
            raise ValueError(_text("in_ram", name, physical))
        for each in self.blocks:
            if each.start < end and physical < each.end:
                raise BusConflict(_text("on_another", name, physical, each.block.name, each.start))
        for memory in self.memories:
            if memory.start < end and physical < memory.start + len(memory.data):
                raise BusConflict(_text("on_another", name, physical, "device memory", memory.start))

    def taken(self, physical: int, size: int) -> bool:
        """Whether RAM or a device is somewhere in the range."""
        try:
            self._check(physical, size, "")
        except ValueError:
            return True
        return False

    def find(self, physical: int) -> Optional[Attachment]:
        """The register block that answers `physical`, or None."""
        found = self._pages.get(physical & -PAGE_SIZE)
        if found is None and self.asleep is not None:
            self.wake()
            found = self._pages.get(physical & -PAGE_SIZE)
        return found

    def has_blocks(self, first: int, last: int) -> bool:
        """Whether a register block answers anywhere from `first` to `last`."""
        if self.asleep is not None:
            self.wake()
        return any(first <= page <= last for page in self._pages)

    def wake(self) -> None:
        """Have the cards on the bus."""
        asleep, self.asleep = self.asleep, None
        if asleep is not None:
            asleep()

    # -- accesses -----------------------------------------------------------------------------

    def read(self, physical: int, width: int, pid: int = 0, rip: int = 0) -> int:
        """One read of `width` bytes; ones where nobody answers (master abort).

        `pid` and `rip` say whose instruction it is; without them it is the kernel's, for the current task.
        """
        where = self.find(physical)
        if where is None:
            return int.from_bytes(self._memory_read(physical, width), "little")
        return self.read_block(where, physical - where.start, width, pid, rip)

    def read_block(self, where: Attachment, offset: int, width: int, pid: int = 0, rip: int = 0) -> int:
        """`read` of a block that is found already: by its address, or as ports."""
        self.on_access()
        self.inside += 1
        try:
            value, touches = where.block.read(offset, width)
        except BaseException as failure:
            if passes(failure):
                raise
            value = (1 << 8 * width) - 1
            touches = self._failed(where.block, failure, offset, width, None, pid)
        finally:
            self.inside -= 1
        self._tell(where, offset, width, False, value, touches, pid, rip)
        if self.afterwards is not None:
            self._access_ended()
        return value

    def _access_ended(self) -> None:
        if not self.inside:
            afterwards, self.afterwards = self.afterwards, None
            if afterwards is not None:
                afterwards()

    def write(self, physical: int, width: int, value: int, pid: int = 0, rip: int = 0) -> None:
        """One write of `width` bytes; dropped where nobody answers.  `pid` and `rip` as in `read`."""
        where = self.find(physical)
        if where is None:
            self._memory_write(physical, value.to_bytes(width, "little"))
            return
        self.write_block(where, physical - where.start, width, value, pid, rip)

    def write_block(self, where: Attachment, offset: int, width: int, value: int, pid: int = 0, rip: int = 0) -> None:
        """`write` to a block that is found already."""
        self.on_access()
        self.inside += 1
        try:
            touches = where.block.write(offset, width, value)
        except BaseException as failure:
            if passes(failure):
                raise
            touches = self._failed(where.block, failure, offset, width, value, pid)
        finally:
            self.inside -= 1
        self._tell(where, offset, width, True, value, touches, pid, rip)
        if self.afterwards is not None:
            self._access_ended()

    def _failed(
        self, block: RegisterBlock, failure: BaseException, offset: int, width: int, value: Optional[int], pid: int
    ) -> list[Touch]:
        """Keep it; the register for the record, where there was one."""
        what = self.what(block, offset, value, width)
        self.fail(ModelFailure(failure, block, what, bool(pid), len(self.record)))
        return block.to_one(offset, width, value)

    @staticmethod
    def what(block: RegisterBlock, offset: int, value: Optional[int], width: int) -> str:
        """``a write of 0x1 to ctrl``, ``a read of 4 bytes of 0x24``; `value` None for a read."""
        regs = block.touched(offset, 1, value is not None)
        done = f"a read of {width} bytes of" if value is None else f"a write of {value:#x} to"
        return f"{done} {regs[0].name if regs else hex(offset)}"

    def fail(self, failed: ModelFailure) -> None:
        """A device model raised."""
        self.failures.append(failed)
        self.broken = self.broken or not failed.sent

    def guarded(self, callback: Callable[[], None]) -> Callable[[], None]:
        """`callback`, of a device, with what it raises kept for `Machine.wait`."""
        return lambda: self.call(callback)

    def call(self, callback: Callable[[], None]) -> None:
        """Call what a device has put off."""
        before, self.led_by = self.led_by, getattr(callback, "led_by", -1)
        try:
            callback()
        except BaseException as failure:
            if passes(failure):
                raise
            block = getattr(callback, "block", None) or getattr(callback, "__self__", None)
            self.fail(ModelFailure(failure, block, self.what_is_called(callback), False, self.led_by))
        finally:
            self.led_by = before

    @staticmethod
    def what_is_called(callback: Callable[[], None]) -> str:
        """``Timer.expired, called by the clock``."""
        name = getattr(callback, "what", "") or getattr(callback, "__qualname__", repr(callback))
        return f"{name}, called by the clock"

    def leads(self) -> int:
        """Index in `record` of the access that is going on, or that has put off what is going on; -1: none."""
        return len(self.record) if self.inside else self.led_by

    def read_bytes(self, physical: int, count: int) -> bytes:
        """`count` bytes; registers are read in aligned words of 4 where they fit, as `memcpy_fromio` does."""
        if self.find(physical) is None:
            return self._memory_read(physical, count)
        return b"".join(self.read(at, n).to_bytes(n, "little") for at, n in _words(physical, count))

    def write_bytes(self, physical: int, data: bytes) -> None:
        """Write `data`, in the same pieces as `read_bytes`."""
        if self.find(physical) is None:
            self._memory_write(physical, data)
            return
        for at, n in _words(physical, len(data)):
            self.write(at, n, int.from_bytes(data[at - physical : at - physical + n], "little"))

    def _memory_read(self, physical: int, count: int) -> bytes:
        if physical + count <= self.ram.limit and self._backed(physical):
            return bytes(self.ram.view[physical : physical + count])
        for data, start in self.memories:
            if start <= physical and physical + count <= start + len(data):
                return bytes(data[physical - start : physical - start + count])
        return b"\xff" * count

    def _memory_write(self, physical: int, data: bytes) -> None:
        if physical + len(data) <= self.ram.limit and self._backed(physical):
            self.ram.view[physical : physical + len(data)] = data
            return
        for memory, start in self.memories:
            if start <= physical and physical + len(data) <= start + len(memory):
                memory[physical - start : physical - start + len(data)] = data
                return

    def answers(self, physical: int) -> bool:
        """Whether anybody is at the address: RAM, device memory, a register block."""
        if self._backed(physical) or self.find(physical) is not None:
            return True
        return any(start <= physical < start + len(data) for data, start in self.memories)

    def _backed(self, physical: int) -> bool:
        """Whether the RAM buffer stands behind the address: RAM, and the ISA hole with its video memory and ROMs."""
        return self.ram.is_ram(physical) or physical < self.ram.pieces[1][0]

    def _tell(
        self, where: Attachment, offset: int, width: int, write: bool, value: int, touches: list[Touch],
        pid: int, rip: int,
    ) -> None:  # fmt: skip
        listener = self.events.register
        if listener is None and not where.recorded:
            return
        pid, now, name = pid or self.current_pid(), self.clock(), where.block.name
        told = [RegisterAccess(name, t.name, t.offset, width, write, t.value, rip, pid, now) for t in touches]
        for access in told or [RegisterAccess(name, "", offset, width, write, value, rip, pid, now)]:
            if where.recorded:
                self.record.append(access)
                if self.on_record is not None:
                    self.on_record(pid, rip)
            if listener is not None:
                listener(access)


def _text(text: str, *facts: Any) -> str:
    from machine.testing import messages

    return str(getattr(messages, text)(*facts))


def _words(physical: int, count: int) -> Iterator[tuple[int, int]]:
    """(address, width): aligned words of 4, single bytes at the ends."""
    end = physical + count
    while physical < end:
        width = 4 if physical % 4 == 0 and end - physical >= 4 else 1
        yield physical, width
        physical += width
