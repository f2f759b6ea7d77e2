"""Going back: to an event, by an instruction, to the last stop; and who wrote this last.

A place of the past is reached by a fork of the newest snapshot before it, which runs again until it is there and takes
the debugger over; this process ends.  Questions are answered by forks that run again, tell what they saw and end.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Optional, Protocol

from greenlet import getcurrent

from machine.hardware.cpu import RIP
from machine.hardware.ram import PAGE_SIZE
from machine.kernel.abi.signal import SIGTRAP
from machine.kernel.mm.gup import read_process_vm
from machine.observe.gdb.stops import Stop
from machine.observe.travel.snapshots import PATIENCE, Snapshots, Taken, send
from machine.observe.travel.steps import image
from machine.observe.travel.timeline import NEAR, Place, Timeline

if TYPE_CHECKING:
    from machine.events import EntryChange, Event
    from machine.kernel.mm.space import mm_struct
    from machine.observe.gdb.control import Control

EVERY = 2000
"""Events between two snapshots, at least."""
SECONDS = 0.5
"""Host time between them, at least."""
SEGMENTS = 64
"""Events that are passed when the last instructions are looked for."""
_LONGEST = 15
"""Bytes of the longest instruction."""
EARLY = (1, 50, 400)
"""Numbers of events after which there is one in any case."""


class Front(Protocol):
    """gdb's server or the prompt: what of it has to go along."""

    control: Control

    def state(self) -> dict[str, Any]:
        """As a value that can be pickled."""

    def descriptors(self) -> list[int]:
        """What has to be open in the other process."""

    def still_busy(self) -> None:
        """An answer takes its time."""

    def restore(self, state: dict[str, Any], descriptors: list[int]) -> None:
        """Go on with it, in a process where the machine is at another place; without descriptors, to look only."""


class Hit(NamedTuple):
    """What a repeated run has met."""

    place: Place
    seq: int
    pid: int
    comm: str
    rip: int
    text: str = ""
    detail: bytes = b""
    mm: int = 0
    """`mm_struct.number`, and `steps.image`, of an instruction in ``steps``."""
    image: tuple[int, ...] = ()


class CantGo(ValueError):
    """Why the machine can't go there."""


class Travel:
    """`front` may be set later; the first snapshot is taken at the first event."""

    def __init__(self, timeline: Timeline, snapshots: Snapshots) -> None:
        self.timeline = timeline
        self.snapshots = snapshots
        self.kernel = timeline.kernel
        self.front: Optional[Front] = None
        self.hits: Optional[list[Hit]] = None
        """Collects what would stop, in a process that answers a question."""
        self._wanted: tuple[str, ...] = ()
        self._last = (0, 0.0)
        timeline.on_event = self._on_event

    def watch(self, front: Front) -> None:
        """The debugger is there."""
        self.front = front
        self.timeline.control = front.control
        front.control.travel = self
        self.snapshots.waiting = front.still_busy

    # -- snapshots ---------------------------------------------------------------------------------------

    def _on_event(self, kind: str, _event: Event) -> None:
        number = self.timeline.number
        due = number - self._last[0] >= EVERY and time.monotonic() - self._last[1] >= SECONDS
        if (due or number in EARLY) and kind != "printk" and self.hits is None and not self.timeline.silent:
            self.take()

    def take_soon(self) -> None:
        """At the next event."""
        self._last = (-EVERY, -SECONDS)

    def take(self) -> None:
        """A snapshot here.  It may return more than once, in other processes."""
        self._last = (self.timeline.number, time.monotonic())
        woken = self.snapshots.take(self.timeline.here, self.timeline.seq)
        if woken is not None:
            self._woken(*woken)

    # -- in a fork of a snapshot ----------------------------------------------------------------------

    def _woken(self, request: dict[str, Any], stream: socket.socket) -> None:
        timeline = self.timeline
        timeline.silent = True
        timeline.replaying()
        self.snapshots.taken, timeline.decisions = request["taken"], request["decisions"]
        if self.front is not None and request["state"] is not None:
            self.front.restore(request["state"], request["descriptors"])
        if request["do"] == "become":
            self.snapshots.base.became()
            send(stream, "here")
            stream.close()
            self._to(request["place"], request["seq"], lambda: self._arrived(request["text"], request["detail"]))
        else:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(PATIENCE)  # nobody waits any longer
            self.hits = []
            self._wanted = ("stops", "writes") if request["do"] == "until" else (request["do"],)
            self._end: Callable[[], NoReturn] = lambda: self._answer(stream)
            _QUESTIONS[request["do"]](self, request)
        if timeline.on_event is not None:  # it may be here already
            timeline.on_event("", _NOTHING)

    def _to(self, place: Optional[Place], seq: int, then: Callable[[], None]) -> None:
        """Have `then` called at a place, or at the event `seq`."""
        timeline = self.timeline

        def on_event(kind: str, _event: Event) -> None:
            if timeline.seq < seq if place is None else timeline.number < place.number:
                return
            timeline.on_event = self._on_event
            if place is not None and place.position > timeline.count.position:
                timeline.go_to(place.position, then)
            else:
                self._kind = kind
                then()

        self._kind = "user"
        timeline.on_event = on_event

    def _arrived(self, text: str, detail: bytes) -> None:
        """At the place: the debugger has the word, here or where the kernel is left."""
        timeline, sched = self.timeline, self.kernel.sched
        timeline.silent = False
        task = sched.current
        control = timeline.control
        if control is None:
            return
        if task is None or task.tgid == 1 or task.mm is None:  # between two tasks: at the next event
            self._to(Place(timeline.number + 1, 0), 0, lambda: self._arrived(text, detail))
            return
        if task.tgid not in control.inferiors:
            control.attach(task.tgid)
        stop = Stop(SIGTRAP, detail, said=text)
        if self._kind == "user":
            timeline.stop_now(text, detail)
        elif self._kind == "syscall_enter" and getcurrent() is task.kstack:
            control.trapped(task, stop)
        else:
            control.later(task, stop)

    def decide(self, signo: int, ask: Callable[[], int]) -> int:
        """Which signal a task gets instead of `signo`: as the user has decided, who is asked unless this only repeats
        the past."""
        timeline = self.timeline
        if timeline.silent:
            self.met("stops", text="")
            return timeline.decisions.get(timeline.here, signo)
        here, chosen = timeline.here, ask()
        if chosen != timeline.decisions.get(here, signo):
            self.changes()
            timeline.decisions[here] = chosen
        return chosen

    def _answer(self, stream: socket.socket) -> NoReturn:
        send(stream, self.hits)
        os._exit(0)

    def met(self, kind: str, rip: int = 0, position: Optional[int] = None, text: str = "", detail: bytes = b"") -> bool:
        """Something at which a debugger would stop; True: it must not, since the past is only repeated.

        `kind`: ``stops`` or ``writes``.  `rip` and `position` are the instruction's, where the processor is behind it
        already.
        """
        timeline = self.timeline
        if self.hits is not None and kind in self._wanted:
            where = Place(timeline.number, timeline.count.position if position is None else position)
            task = self.kernel.current
            pid, comm = (0, "") if task is None else (task.pid, task.comm)
            hit = Hit(where, timeline.seq, pid, comm, rip or self.kernel.cpu.regs[RIP], text, detail)
            if kind == "steps" and task is not None:
                hit = hit._replace(mm=task.mm.number, image=image(self.kernel, task))
            self.hits.append(hit)
        return timeline.silent

    def _until(self, request: dict[str, Any]) -> None:
        self._to(request["place"], 0, self._end)

    def _steps(self, request: dict[str, Any]) -> None:
        """Positions of the instructions before a place, since the event before it."""
        timeline, place = self.timeline, request["place"]

        def at_event() -> None:
            begin = max(timeline.count.position, place.position - request.get("near", NEAR))
            timeline.count.each = None
            if place.position <= timeline.count.position:
                first = next(each for each in timeline.moments if each.position == timeline.count.position)
                self.hits = [Hit(Place(first.number - 1, place.position), 0, 0, "", 0, "before")]
                self._end()
            timeline.on_event = lambda _kind, _event: self._end()  # the last instruction has entered the kernel
            if begin > timeline.count.position:
                timeline.go_to(begin, step, near=True)
            else:
                step()

        def step() -> None:
            self.met("steps")
            timeline.instructions(place.position, self._one, self._end)

        self._to(Place(place.number, 0), 0, at_event)

    def _one(self, position: int) -> None:
        self.met("steps", position=position)

    def _writes(self, request: dict[str, Any]) -> None:
        control = self.timeline.control
        assert control is not None
        if request["tgid"] not in control.inferiors:
            control.attach(request["tgid"])
        control.watches.active.clear()
        control.watches.insert(request["tgid"], 2, request["address"], request["length"])
        control.watches.resume()
        self._until(request)

    def _entries(self, request: dict[str, Any]) -> None:
        page, mm = request["address"] & -PAGE_SIZE, request["mm"]

        def changed(event: EntryChange) -> None:
            if event.address & -PAGE_SIZE == page and event.mm == mm:
                self.met("entries", event.rip, text=f"{event.old:x} {event.new:x}")

        self.kernel.events.listen("entry", changed)
        self._until(request)

    def _frame(self, request: dict[str, Any]) -> None:
        from machine.observe.travel.frames import answer

        answer(self, request)

    # -- commands ------------------------------------------------------------------------------------------

    def _request(self, do: str, **more: Any) -> dict[str, Any]:
        state = None if self.front is None else self.front.state()
        return {"do": do, "taken": self.snapshots.taken, "state": state, "decisions": self.timeline.decisions, **more}

    def goto(self, place: Optional[Place], seq: int = 0, text: str = "", detail: bytes = b"") -> NoReturn:
        """Be there: this process ends, another one has the debugger.  CantGo."""
        if place is None:
            found = [each for each in reversed(self.snapshots.taken) if each.seq <= seq]
        else:
            found = self.snapshots.before(place)
        for snapshot in found:
            try:
                self.snapshots._flush()
                request = self._request("become", place=place, seq=seq, text=text, detail=detail)
                self.snapshots.ask(snapshot, request, [] if self.front is None else self.front.descriptors())
            except (OSError, EOFError):
                continue
            os._exit(0)
        raise CantGo("that is before the first snapshot")

    def goto_event(self, seq: int) -> None:
        """The event of that number.  CantGo."""
        last = self.timeline.last_seq
        if seq > last:
            raise CantGo(f"event {seq} has not happened yet; the last one is {last}")
        self.goto(None, seq, f"at event {seq}")

    def reverse_step(self) -> None:
        """To the instruction before this one.  CantGo."""
        place = self.timeline.here
        for _ in range(64):
            answer = self._ask("steps", place)
            if not answer:
                break
            if answer[-1].text != "before":
                found = [each.place for each in answer if each.place.position < self.timeline.here.position]
                self.goto(found[-1], text="")
            place = answer[-1].place
        raise CantGo("this is where the recorded run begins")

    def reverse_continue(self) -> None:
        """To the last stop before this one, or to the beginning.  CantGo: it is the beginning."""
        here = upper = self.timeline.here
        for snapshot in self.snapshots.before(here):
            hits = self._hits(snapshot, "until", upper)
            hits = [each for each in hits if each.place < here]
            if hits:
                self.goto(hits[-1].place, text=hits[-1].text, detail=hits[-1].detail)
            upper = snapshot.place
        first = self.snapshots.taken[0]
        if here.position <= first.place.position:
            raise CantGo("this is where the recorded run begins")
        self.goto(first.place, text="the beginning of the recorded run", detail=b"replaylog:begin;")

    def before(self, count: int) -> list[Hit]:
        """The last `count` instructions before this one, oldest first, of whatever threads ran.  CantGo."""
        place, found = self.timeline.here, list[Hit]()
        for _ in range(SEGMENTS):
            answer = self._ask("steps", place, near=count * _LONGEST)
            if not answer:
                break
            if answer[-1].text == "before":
                place = answer[-1].place
                continue
            new = [each for each in answer if each.place.position < place.position]
            found = new + found
            if not new or len(found) >= count:
                break
            place = new[0].place
        return found[-count:]

    def _ask(self, do: str, place: Place, **more: Any) -> list[Hit]:
        for snapshot in self.snapshots.before(Place(place.number, 1 << 62)):
            if snapshot.place.number <= place.number:
                return self._hits(snapshot, do, place, **more)
        return []

    def _hits(self, snapshot: Taken, do: str, place: Place, **more: Any) -> list[Hit]:
        try:
            answer = self.snapshots.ask(snapshot, self._request(do, place=place, **more))
        except (OSError, EOFError):
            raise CantGo("no answer: the snapshot is gone, or the way is too long") from None
        return answer or []

    def last(self, do: str, **more: Any) -> Optional[Hit]:
        """The last write (``writes``: tgid, address, length) or change of an entry (``entries``: mm, address)."""
        here = upper = self.timeline.here
        for snapshot in self.snapshots.before(here):
            hits = [each for each in self._hits(snapshot, do, upper, **more) if each.place <= here]
            if hits:
                return hits[-1]
            upper = snapshot.place
        return None

    def read(self, mm: mm_struct, address: int, count: int) -> bytes:
        """Memory as `Control.read` gives it, and nothing is changed by that: what isn't present is read by a fork."""
        data = self.kernel.peek_user(mm, address, count)
        if len(data) == count or mm.vma_at(address + len(data)) is None:
            return data
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writing, read_process_vm(mm, address, count))
            os._exit(0)
        os.close(writing)
        with open(reading, "rb") as stream:
            data = stream.read()
        os.waitpid(child, 0)
        return data

    def changes(self) -> None:
        """The user changes something here: the future that was seen will not come."""
        self.timeline.forget_future()
        self.snapshots.forget_future(self.timeline.here)


_NOTHING: Any = None
_QUESTIONS: dict[str, Callable[[Travel, dict[str, Any]], None]] = {
    "until": Travel._until, "steps": Travel._steps, "writes": Travel._writes, "entries": Travel._entries,
    "frame": Travel._frame,
}  # fmt: skip
