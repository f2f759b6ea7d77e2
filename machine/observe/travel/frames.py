"""Who changed a piece of RAM last, whatever mapping it went through: the program's, the kernel's own, a device's DMA.

The past runs once more in a fork, and the bytes are compared: first at each event, then between the two events in
question at places of user code that come closer, at last instruction by instruction.  Nothing is protected and no table
is changed, so the frame may be mapped anywhere or nowhere.  A store of what was there already is not seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional

from machine.events import DriverCall, Event, PageFault, RegisterAccess, SyscallEnter, SyscallExit
from machine.hardware.cpu import RIP
from machine.hardware.deviceside import DeviceSide
from machine.hardware.pci import PciFunction
from machine.observe.disasm import disassemble
from machine.observe.travel.timeline import Place

if TYPE_CHECKING:
    from machine.observe.travel.travel import Hit, Travel

PIECES = 64
"""Into how many a stretch of user code is cut."""
SHORT = 4096
"""Bytes of code that are stepped through."""
DMA, KERNEL = b"dma", b"kernel"
"""`Hit.detail`: who it was, where it was no instruction."""
_ENTER = ("syscall", "sysenter", "int")


def last_change(travel: Travel, physical: int, length: int) -> Optional[Hit]:
    """The last change of RAM before now: with its `rip`, or with KERNEL or DMA in `detail` and the circumstances in
    `text`.  None: nobody has changed it since the first snapshot.  CantGo."""
    where = {"physical": physical, "length": length}
    here = upper = travel.timeline.here
    found: list[Hit] = []
    for snapshot in travel.snapshots.before(here):
        found = [each for each in travel._hits(snapshot, "frame", upper, **where) if each.place <= here]
        if found:
            break
        upper = snapshot.place
    if not found:
        return None
    event = hit = found[-1]
    fresh = True
    while not hit.rip and hit.detail != DMA:
        first = Place(*hit.image)
        span = hit.place.position - first.position
        if span <= 0:
            break
        stride = 1 if span <= SHORT else max(span // PIECES, SHORT // 2)
        closer = travel._ask("frame", first, last=hit.place, stride=stride, fresh=fresh, **where)
        if not closer:
            break
        fresh, hit = False, closer[-1]._replace(seq=event.seq)
        if hit.detail == KERNEL or stride == 1:
            break
    return hit._replace(text=hit.text or event.text)


def answer(travel: Travel, request: dict[str, Any]) -> None:
    """In a fork: look, and answer."""
    start = request["physical"]
    look = _Look(travel, travel.kernel.ram.view[start : start + request["length"]])
    if "stride" in request:
        look.between(request["place"], request["last"], request["stride"], request["fresh"])
    else:
        look.at_events(request["place"])


def _circumstances(event: Optional[Event]) -> str:
    """What the kernel did up to an event."""
    if isinstance(event, SyscallExit):
        return f"in {event.enter.name}()"
    if isinstance(event, DriverCall):
        return f"in {event.driver}.{event.operation}"
    if isinstance(event, PageFault):
        return f"answering fault {event.number}"
    if isinstance(event, RegisterAccess):
        return f"at an access to {event.device}.{event.register}"
    return "entering the kernel" if isinstance(event, SyscallEnter) else ""


class _Look:
    """The bytes, in a fork that repeats the past."""

    def __init__(self, travel: Travel, view: memoryview) -> None:
        self.travel, self.timeline, self.view = travel, travel.timeline, view
        self.known = bytes(view)
        self.before = self.timeline.here
        travel._wanted = ("frame",)

    def changed(self) -> bool:
        """Since it was asked last."""
        now = bytes(self.view)
        same, self.known = now == self.known, now
        return not same

    def met(self, text: str = "", detail: bytes = b"", rip: int = 0) -> None:
        """The last change so far."""
        assert self.travel.hits is not None
        self.travel.hits.clear()
        self.travel.met("frame", text=text, detail=detail)
        (hit,) = self.travel.hits
        self.travel.hits[:] = [hit._replace(rip=rip, image=tuple(self.before))]

    # -- at each event -----------------------------------------------------------------------------------

    def at_events(self, place: Place) -> None:
        """Up to `place`."""
        self._watch_dma(DeviceSide)
        self._watch_dma(PciFunction)

        def end() -> None:
            self.look("")
            self.travel._end()

        self.travel._to(place, 0, end)
        inner = self.timeline.on_event
        assert inner is not None

        def on_event(kind: str, event: Event) -> None:
            self.look(_circumstances(event))
            inner(kind, event)

        self.timeline.on_event = on_event

    def look(self, text: str, detail: bytes = b"") -> None:
        """Between two looks there is no event, and user code of one thread."""
        if self.changed():
            self.met(text, detail)
        self.before = self.timeline.here

    def _watch_dma(self, cls: Any) -> None:
        written = cls.dma_write

        def dma_write(device: Any, address: int, data: bytes) -> Any:
            self.look("")
            result = written(device, address, data)
            name = getattr(device, "name", "") or type(device).__name__
            self.look(f"by {name}'s DMA", DMA)
            return result

        cls.dma_write = dma_write

    # -- between two events ------------------------------------------------------------------------------

    def between(self, first: Place, last: Place, stride: int, fresh: bool) -> None:
        """User code from `first` to `last`, the next event at most; `fresh`: from where the kernel was left."""
        timeline = self.timeline
        going: Callable[[], None] = (
            (lambda: self._steps(last)) if stride == 1 else (lambda: self._samples(last, stride))
        )

        def begin() -> None:
            if not fresh:
                self.known = bytes(self.view)
            elif self.changed():
                self.met(f"after event {timeline.seq}", KERNEL)
            self.before = timeline.here
            going()

        def at_event() -> None:
            self.known = bytes(self.view)
            timeline.on_event = lambda _kind, _event: self._end()
            timeline.go_to(max(first.position, timeline.count.position), begin)

        self.travel._to(Place(first.number, 0), 0, at_event)

    def _end(self) -> None:
        """At the next event, which may be part of the stretch."""
        if self.changed():
            self.met()
        self.travel._end()

    def _samples(self, last: Place, stride: int) -> None:
        timeline = self.timeline
        goal = timeline.count.position

        def sample() -> None:
            nonlocal goal
            self.look("")
            if goal >= last.position:
                self.travel._end()
            goal = min(goal + stride, last.position)
            timeline.go_to(goal, sample, near=goal < last.position)

        sample()

    def _steps(self, last: Place) -> None:
        timeline, kernel = self.timeline, self.travel.kernel
        rip, at = kernel.cpu.regs[RIP], timeline.count.position

        def one(position: int) -> None:
            nonlocal rip, at
            if self.changed():
                self.met(rip=rip)
            rip, at = kernel.cpu.regs[RIP], position

        def end() -> None:
            if self.changed():
                mm = kernel.sched.loaded_mm
                text = "" if mm is None else disassemble(kernel.peek_user(mm, rip, 16), mm.bits, rip)
                stored = timeline.count.position > at and not text.startswith(_ENTER)
                self.met(rip=rip if stored else 0, detail=b"" if stored else KERNEL)
            self.travel._end()

        timeline.on_event = lambda _kind, _event: end()
        timeline.instructions(last.position, one, end)
