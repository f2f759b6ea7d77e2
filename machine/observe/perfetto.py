"""A trace for ui.perfetto.dev: a track a task, slices for system calls, faults and driver calls, counters.

A fault is joined by arrows (flows) to the `nopage` or `fault` that answered it and to the entry that was written.  The
format is that of protos/perfetto/trace/trace_packet.proto and track_event/*.proto; the numbers below are its fields'.

Time is the machine's.  Where it stands still, as that of a deterministic machine does between two kernel entries, each
event is a nanosecond after the one before, so that the order shows.
"""

from __future__ import annotations

from typing import Any, BinaryIO

from machine.events import Events
from machine.hardware.paging import P
from machine.observe.disasm import disassemble
from machine.observe.faults import access_of, answer_text, area_text, entry_text, error_text
from machine.observe.jsonl import shown
from machine.observe.protobuf import fixed64, integer, message, text

_PACKET = 1
_TIMESTAMP, _SEQUENCE, _TRACK_EVENT, _SEQUENCE_FLAGS, _TRACK_DESCRIPTOR = 8, 10, 11, 13, 60
_ANNOTATION, _TYPE, _TRACK, _CATEGORY, _NAME, _COUNTER_VALUE, _FLOW, _END_OF_FLOW = 4, 9, 11, 22, 23, 30, 47, 48
_BEGIN, _END, _INSTANT, _COUNTER = 1, 2, 3, 4
_KERNEL, _FAULTS, _RESIDENT, _FREE = 1, 2, 3, 4
"""Tracks that are no task's."""
_PAGE_KIB = 4


class PerfettoTrace:
    """Writes a trace to `output`, a binary file; `close` ends what is still open."""

    def __init__(self, events: Events, kernel: Any, output: BinaryIO) -> None:
        self._events, self._kernel, self._output = events, kernel, output
        self._now = 0
        self._faults = 0
        self._resident = self._free = -1
        self._tracks: set[int] = set()
        self._names: dict[int, str] = {}
        self._open: dict[int, list[str]] = {}
        """Track -> what its open slices are, outermost first."""
        self._flow: dict[int, int] = {}
        """Track -> number of the fault that is being answered on it."""
        self._packet(integer(_SEQUENCE_FLAGS, 1))  # SEQ_INCREMENTAL_STATE_CLEARED
        self._counter_track(_FAULTS, "page faults", "faults")
        self._counter_track(_RESIDENT, "resident memory", "KiB")
        self._counter_track(_FREE, "free memory", "KiB")
        self._descriptor(integer(1, _KERNEL) + text(2, "kernel"))
        self._listeners = [
            (name[3:], getattr(self, name)) for name in sorted(dir(type(self))) if name.startswith("on_")
        ]
        for kind, listener in self._listeners:
            events.listen(kind, listener)

    # -- packets -------------------------------------------------------------------------------------

    def _packet(self, content: bytes) -> None:
        self._output.write(message(_PACKET, content + integer(_SEQUENCE, 1)))

    def _descriptor(self, content: bytes) -> None:
        self._packet(message(_TRACK_DESCRIPTOR, content))

    def _counter_track(self, track: int, name: str, unit: str) -> None:
        self._descriptor(integer(1, track) + text(2, name) + message(8, text(6, unit)))

    def _time(self, time_ns: int) -> int:
        self._now = max(self._now + 1, time_ns)
        return self._now

    def _event(self, time_ns: int, track: int, kind: int, content: bytes = b"") -> None:
        body = integer(_TYPE, kind) + integer(_TRACK, track) + content
        self._packet(integer(_TIMESTAMP, self._time(time_ns)) + message(_TRACK_EVENT, body))

    def _track(self, event: Any) -> int:
        """The task's track; described when it first does something, and when it is called otherwise."""
        pid: int = event.pid
        if not pid:
            return _KERNEL
        track = 16 + pid
        if track not in self._tracks or (event.comm and self._names[track] != event.comm):
            task = self._kernel.tasks.get(pid)
            self._tracks.add(track)
            self._names[track] = event.comm
            group = pid if task is None else task.tgid
            thread = integer(1, group) + integer(2, pid) + text(5, event.comm)
            self._descriptor(integer(1, track) + message(4, thread))
        return track

    # -- slices ----------------------------------------------------------------------------------------

    def _begin(self, event: Any, category: str, name: str, notes: dict[str, str], more: bytes = b"") -> None:
        track = self._track(event)
        self._open.setdefault(track, []).append(category)
        self._event(event.time_ns, track, _BEGIN, text(_CATEGORY, category) + text(_NAME, name) + _notes(notes) + more)

    def _end(self, event: Any, category: str, time_ns: int, notes: dict[str, str], more: bytes = b"") -> None:
        """End the innermost slice of `category` on the task's track, and those that were left open inside."""
        track = self._track(event)
        left = self._open.get(track, [])
        if category not in left:
            return
        while left:
            last = left.pop()
            content = _notes(notes) + more if last == category else b""
            self._event(time_ns, track, _END, content)
            if last == category:
                break

    def _instant(self, event: Any, category: str, name: str, notes: dict[str, str], more: bytes = b"") -> None:
        content = text(_CATEGORY, category) + text(_NAME, name) + _notes(notes) + more
        self._event(event.time_ns, self._track(event), _INSTANT, content)

    def _count(self, time_ns: int, track: int, value: int) -> None:
        self._event(time_ns, track, _COUNTER, integer(_COUNTER_VALUE, value))

    def _memory(self, time_ns: int) -> None:
        kernel = self._kernel
        resident = sum(mm.rss() for mm in kernel.mms)
        free = kernel.mem.free_frames()
        if resident != self._resident:
            self._resident = resident
            self._count(time_ns, _RESIDENT, resident * _PAGE_KIB)
        if free != self._free:
            self._free = free
            self._count(time_ns, _FREE, free * _PAGE_KIB)

    # -- what happens ------------------------------------------------------------------------------------

    def on_syscall_enter(self, event: Any) -> None:
        """A slice begins."""
        self._begin(event, "syscall", event.name, {f"arg{i}": f"{each:#x}" for i, each in enumerate(event.args)})

    def on_syscall_exit(self, event: Any) -> None:
        """It ends."""
        self._end(event, "syscall", event.time_ns, {"result": f"{event.result}{event.tampered}"})
        self._memory(event.time_ns)

    def on_fault_enter(self, event: Any) -> None:
        """A slice begins, and a flow."""
        self._flow[self._track(event)] = event.number
        notes = {"number": str(event.number), "address": f"{event.address:#x}", "error": error_text(event.error_code)}
        name = f"{access_of(event.error_code)} fault"
        self._begin(event, "fault", name, notes, fixed64(_FLOW, event.number))

    def on_fault(self, event: Any) -> None:
        """The fault's slice ends, with all that is known of it."""
        notes = {"answer": answer_text(event), "area": area_text(event.vma), "outcome": event.outcome}
        if event.instruction:
            notes["instruction"] = disassemble(event.instruction, event.bits, event.rip)
        before, after = event.walk_before[-1][1], event.walk_after[-1][1]
        if before != after:
            notes["entry"] = f"{entry_text(before)} -> {entry_text(after)}"
        self._end(event, "fault", event.end_ns, notes)
        self._flow.pop(self._track(event), None)
        self._faults += 1
        self._count(event.end_ns, _FAULTS, self._faults)
        self._memory(event.end_ns)

    def on_driver_enter(self, event: Any) -> None:
        """A slice begins; in a fault its flow goes through it."""
        notes = {f"arg{i}": shown(each) for i, each in enumerate(event.args)}
        number = self._flow.get(self._track(event))
        more = b"" if number is None else fixed64(_FLOW, number)
        self._begin(event, "driver", f"{event.driver}.{event.operation}", notes | {"source": event.where}, more)

    def on_driver_call(self, event: Any) -> None:
        """The method has returned."""
        self._end(event, "driver", event.time_ns, {"result": shown(event.result)})

    def on_entry(self, event: Any) -> None:
        """In a fault its flow ends at the entry that makes the page present."""
        number = self._flow.get(self._track(event))
        more = b"" if number is None or not event.new & P else fixed64(_END_OF_FLOW, number)
        notes = {"old": entry_text(event.old), "new": entry_text(event.new), "at": f"{event.where:#x}"}
        self._instant(event, "entry", f"entry of {event.address:#x}", notes, more)

    def on_signal(self, event: Any) -> None:
        """A mark on the task's track."""
        from machine.kernel.abi.signal import describe

        self._instant(event, "signal", describe(event.signo, event.si_code), {"action": event.action})

    def on_task(self, event: Any) -> None:
        """A mark; with the task its open slices end."""
        self._instant(event, "task", f"{event.what} {event.detail}".rstrip(), {})
        if event.what == "exit":
            left = self._open.pop(self._track(event), [])
            for _ in left:
                self._event(event.time_ns, self._track(event), _END)
            self._memory(event.time_ns)

    def on_interrupt(self, event: Any) -> None:
        """A mark on the track of the task that was interrupted."""
        self._instant(event, "interrupt", f"interrupt {event.irq}", {"handlers": event.handlers})

    def on_printk(self, event: Any) -> None:
        """A line of the log, on the task's track."""
        self._instant(event, "printk", event.text, {"level": str(event.level)})

    def on_oops(self, event: Any) -> None:
        """A mark, with the traceback."""
        self._instant(event, "oops", f"oops in {event.where}", {"traceback": event.traceback})

    def close(self) -> None:
        """End what is open, and the file."""
        for kind, listener in self._listeners:
            self._events.unlisten(kind, listener)
        for track, left in self._open.items():
            for _ in left:
                self._event(0, track, _END)
        self._output.close()


def _notes(notes: dict[str, str]) -> bytes:
    return b"".join(message(_ANNOTATION, text(10, name) + text(6, value)) for name, value in notes.items() if value)
