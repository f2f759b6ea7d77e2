"""`--perfetto`: read back with the protobuf classes of Perfetto's own package (MECHANISMS F2)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from machine import Machine
from machine.cli import main
from machine.observe.perfetto import PerfettoTrace
from machine.observe.protobuf import fixed64, integer, message, text

trace_pb2 = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2", reason="perfetto is not installed")

Run = Callable[..., Any]
BODY = """
    int fd = must_open("/dev/scullp0", O_RDWR), status;
    fill(fd, 0, 'a', 2 * PAGE);
    char *p = map(fd, 0, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
    EQUAL("first", p[0], 'a');
    if (!fork()) {
        EQUAL("second", p[PAGE], 'a');
        _exit(0);
    }
    wait(&status);
"""


class Trace:
    """A trace, sorted out."""

    def __init__(self, data: bytes) -> None:
        self.trace = trace_pb2.Trace()
        self.trace.ParseFromString(data)
        self.tracks: dict[int, Any] = {}
        self.slices: list[Any] = []
        """(track, category, name, begin, end, flows, notes) of each, in the order of their ends."""
        self.instants: list[Any] = []
        self.counters: dict[int, list[tuple[int, int]]] = {}
        self.left: dict[int, list[Any]] = {}
        for packet in self.trace.packet:
            assert packet.trusted_packet_sequence_id == 1
            if packet.HasField("track_descriptor"):
                self.tracks[packet.track_descriptor.uuid] = packet.track_descriptor
            elif packet.HasField("track_event"):
                self._event(packet.timestamp, packet.track_event)

    def _event(self, time: int, event: Any) -> None:
        assert event.track_uuid in self.tracks
        notes = {note.name: note.string_value for note in event.debug_annotations}
        flows = [*event.flow_ids, *event.terminating_flow_ids]
        left = self.left.setdefault(event.track_uuid, [])
        if event.type == event.TYPE_SLICE_BEGIN:
            left.append([event.track_uuid, event.categories[0], event.name, time, 0, flows, notes])
        elif event.type == event.TYPE_SLICE_END:
            left[-1][4] = time
            left[-1][6] |= notes
            self.slices.append(left.pop())
        elif event.type == event.TYPE_INSTANT:
            self.instants.append((event.track_uuid, event.categories[0], event.name, time, flows, notes))
        else:
            self.counters.setdefault(event.track_uuid, []).append((time, event.counter_value))

    def of(self, category: str) -> list[Any]:
        return [each for each in self.slices if each[1] == category]


def test_read_back(m: Machine, run_c: Run, tmp_path: Path) -> None:
    """Tracks, slices in slices, flows from the fault to `nopage` to the entry, counters.  # F2"""
    m.load("scullp")
    calls: list[Any] = []
    faults: list[Any] = []
    m.events.listen("syscall_exit", calls.append)
    m.events.listen("fault", faults.append)
    file = tmp_path / "trace.pftrace"
    view = PerfettoTrace(m.events, m.kernel, open(file, "wb"))  # noqa: SIM115
    run_c(m, BODY)
    view.close()
    trace = Trace(file.read_bytes())
    assert not any(trace.left.values()), "every slice that begins ends"
    names = {uuid: each.thread.thread_name for uuid, each in trace.tracks.items() if each.HasField("thread")}
    assert list(names.values()) == ["program", "program"]
    counters = {each.name: uuid for uuid, each in trace.tracks.items() if each.HasField("counter")}
    assert set(counters) == {"page faults", "resident memory", "free memory"}
    for samples in trace.counters.values():
        assert [t for t, _ in samples] == sorted({t for t, _ in samples})
    assert trace.counters[counters["page faults"]][-1][1] == len(faults) == len(trace.of("fault"))
    assert len([each for each in trace.of("syscall") if "result" in each[6]]) == len(calls)
    assert min(free for _, free in trace.counters[counters["free memory"]]) > 0
    answered = [each for each in trace.of("driver") if each[2] == "scullp.nopage"]
    assert len(answered) == 2
    for track, _, _, begin, end, flows, notes in answered:
        [fault] = [each for each in trace.of("fault") if each[5] == flows]
        assert fault[0] == track and fault[3] < begin < end < fault[4] and fault[2] == "read fault"
        assert fault[6]["answer"].startswith("scullp.nopage: frame") and "scullp.py:" in notes["source"]
        assert fault[6]["instruction"] and "/dev/scullp0" in fault[6]["area"]
        [entry] = [each for each in trace.instants if each[4] == flows and each[1] == "entry"]
        assert end < entry[3] < fault[4] and entry[5]["old"] == "absent"
    whats = [name.split()[0] for _, category, name, _, _, _ in trace.instants if category == "task"]
    assert whats == ["spawn", "exec", "fork", "exit", "exit"]
    inside = [each for each in trace.of("driver") if each[2] == "scullp.mmap"]
    outer = [each for each in trace.of("syscall") if each[2] in ("mmap", "mmap2")]
    assert any(o[3] < inside[0][3] < inside[0][4] < o[4] for o in outer)


def test_the_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A deterministic run gives the same trace, byte for byte, though its clock stands still for a while."""
    files = [tmp_path / "one", tmp_path / "two"]
    for file in files:
        options = ["--ram", "32M", "--deterministic", "--device", "scullp", "--perfetto", str(file)]
        assert main(["run", *options, "mapper", "/dev/scullp0", "0", "5"]) == 128 + 7
    one, two = (file.read_bytes() for file in files)
    assert one == two
    trace = Trace(one)
    assert any(name == "SIGBUS (BUS_ADRERR)" for _, category, name, _, _, _ in trace.instants if category == "signal")
    stamps = [packet.timestamp for packet in trace.trace.packet if packet.HasField("track_event")]
    assert all(a < b for a, b in pairwise(stamps))
    assert main(["run", "--perfetto", str(tmp_path / "no" / "file"), "hello"]) == 125
    assert "No such file or directory" in capsys.readouterr().err


def test_the_wire_format() -> None:
    event = trace_pb2.TracePacket()
    event.ParseFromString(integer(8, (1 << 63) + 5) + message(11, fixed64(47, 9) + text(23, "näme") + integer(30, -3)))
    assert event.timestamp == (1 << 63) + 5
    assert (list(event.track_event.flow_ids), event.track_event.name) == ([9], "näme")
    assert event.track_event.counter_value == -3
