"""From the recorder's pieces to what the page embeds: one object of plain lists, numbers and texts.

Columns rather than objects for faults, and every text once: 50,000 faults are 7 MB, compressed 1.3.  The names of the
columns and rows are those that model.js uses.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from machine.kernel.abi.signal import describe
from machine.kernel.abi.signal import name as signal_name
from machine.observe.report.probe import Call
from machine.observe.report.recorder import FAULT, Piece, Recorder
from machine.observe.report.sources import Sources
from machine.observe.report.spaces import ENTRY, Area, Snapshot

COLUMNS = (
    "number", "who", "site", "origin", "area", "answer", "outcome", "error", "before", "after", "call", "levels", "pfn",
    "c0", "c1", "kind", "address", "lo0", "hi0", "lo1", "hi1", "time",
)  # fmt: skip
ADDED = ("number", "time")
MASK = 0xFFFF_FFFF
EXACT = 1 << 53


def number(value: Any) -> Any:
    """A number that JavaScript holds exactly; a larger one in hexadecimal digits."""
    return value if type(value) is not int or abs(value) < EXACT else f"{value:x}"


class _Known:
    """What a piece's numbers are in the whole."""

    __slots__ = ("scenes", "walks")

    def __init__(self) -> None:
        self.scenes: dict[int, tuple[int, ...]] = {}
        self.walks: dict[int, int] = {}


class Encoder:
    """`encode` is called once; what it interns is shared by all pieces."""

    def __init__(self, recorder: Recorder, sources: Sources) -> None:
        self._recorder = recorder
        self._sources = sources
        self.texts: dict[str, int] = {}
        self.who: dict[tuple[int, str, int], int] = {}
        self.sites: dict[tuple[Any, ...], int] = {}
        self.site_rows: list[list[Any]] = []
        self.walks: dict[tuple[Any, ...], int] = {}
        self.calls: dict[Call, int] = {}
        self.call_rows: list[list[Any]] = []
        self.faults: list[tuple[Any, ...]] = []
        self.rows: list[Any] = []
        """0 for the next fault of the columns, else a list whose first member says what it is."""

    def encode(self) -> dict[str, Any]:
        """The object; `meta` is the caller's to add."""
        first = self._recorder.pieces[0]
        base = [self._snapshot(each) for each in first.spaces]
        for piece in self._recorder.pieces:
            names, known = piece.named(), _Known()
            for row in piece.rows:
                if isinstance(row, bytes):
                    self._fault(row, names, known)
                else:
                    self.rows.append(self._row(row, piece, names))
        return {
            "texts": list(self.texts), "who": [[pid, self._text(comm), space] for pid, comm, space in self.who],
            "sites": self.site_rows, "walks": [self._walk_row(walk) for walk in self.walks], "calls": self.call_rows,
            "base": base, "faults": self._columns(), "rows": self.rows,
            "sources": {path: sorted(lines.items()) for path, lines in self._sources.lines.items()},
            "drivers": self._sources.drivers,
        }  # fmt: skip

    # -- what is referred to -------------------------------------------------------------------------------------------

    def _text(self, text: str) -> int:
        return self.texts.setdefault(text, len(self.texts))

    def _who(self, who: tuple[int, str, int]) -> int:
        if who not in self.who:
            self._text(who[1])
        return self.who.setdefault(who, len(self.who))

    def _site(self, site: tuple[Any, ...]) -> int:
        known = self.sites.get(site)
        if known is None:
            known = self.sites[site] = len(self.site_rows)
            rip, bits, code, text, function, offset, path, line = self._sources.site(*site)
            self.site_rows.append(
                [number(rip), bits, code, self._text(text), self._text(function), offset, self._text(path), line]
            )
        return known

    def _walk(self, walk: tuple[Any, ...]) -> int:
        return self.walks.setdefault(walk, len(self.walks))

    @staticmethod
    def _walk_row(walk: tuple[tuple[int, int], ...]) -> list[int]:
        """Physical address of the root, then low and high half of each entry."""
        root = walk[0][0] & ~0xFFF if walk else 0
        return [root, *(half for _, entry in walk for half in (entry & MASK, entry >> 32))]

    def _call(self, call: Call) -> int:
        known = self.calls.get(call)
        if known is None:
            known = self.calls[call] = len(self.call_rows)
            self._sources.driver(call.path)
            self.call_rows.append(
                [call.driver, call.path, call.operation, call.function, call.line, list(call.ran), call.result,
                 int(call.failed), [list(pair) for pair in call.variables]]
            )  # fmt: skip
        return known

    # -- rows ---------------------------------------------------------------------------------------------------------

    def _fault(self, row: bytes, names: list[Any], known: _Known) -> None:
        serial, scene, before, after, call, levels, pfn, c0, c1, kind, address, pte0, pte1, time = FAULT.unpack(row)
        seen, walks = known.scenes.get(scene), known.walks
        if seen is None:
            seen = known.scenes[scene] = self._scene(names[scene])
        if before not in walks:
            walks[before] = self._walk(names[before])
        if after not in walks:
            walks[after] = self._walk(names[after])
        self.faults.append((
            serial, *seen, walks[before], walks[after], self._call(names[call - 1]) + 1 if call else 0, levels, pfn,
            c0, c1, kind, address if address < EXACT else f"{address:x}", pte0 & MASK, pte0 >> 32, pte1 & MASK,
            pte1 >> 32, time,
        ))  # fmt: skip
        self.rows.append(0)

    def _columns(self) -> dict[str, list[Any]]:
        """The faults' columns; of numbers and times the first, and then what is added."""
        if not self.faults:
            return {name: [] for name in COLUMNS}
        columns = {name: list(column) for name, column in zip(COLUMNS, zip(*self.faults, strict=True), strict=True)}
        for name in ADDED:
            column = columns[name]
            columns[name] = column[:1] + [after - before for before, after in pairwise(column)]
        return columns

    def _scene(self, scene: tuple[Any, ...]) -> tuple[int, ...]:
        pid, comm, space, rip, code, bits, mapping, origin, area, answer, outcome, error = scene
        return (
            self._who((pid, comm, space)), self._site((rip, code, bits, mapping)), self._text(origin),
            self._text(area), self._text(answer), self._text(outcome), error,
        )  # fmt: skip

    def _row(self, row: tuple[Any, ...], piece: Piece, names: list[Any]) -> list[Any]:
        kind = row[0]
        row = tuple(map(number, row))
        if kind == "areas":
            return [kind, row[1], list(row[2]), [self._area(area) for area in row[3]]]
        if kind == "entries":
            return [kind, row[1], self._entries(row[2])]
        if kind == "refused":
            return [kind, [f"{value:x}" for value in row[1]]]
        if kind in ("born", "gone"):
            return list(row)
        time, who, *rest = row[1:]
        head = [kind, time, self._who(names[who])]
        if kind == "call":
            return [*head, self._call(names[rest[0]])]
        if kind == "signal":
            signo, code, address, action, rip, site, sender = rest
            where = -1 if site < 0 else self._site(names[site])
            return [*head, signal_name(signo), describe(signo, code), address, action, rip, where, dict(sender)]
        if kind == "vma":
            what, start, end, flags, name, call = rest
            return [*head, what, start, end, flags, self._text(name), call]
        return [*head, *rest]

    def _area(self, area: Area) -> list[int]:
        return [area.start, area.end, area.flags, self._text(area.name), area.offset]

    @staticmethod
    def _entries(packed: bytes) -> list[int]:
        """page, low half, high half, kind, count; the page as the distance from the one before."""
        out: list[int] = []
        last = 0
        for page, entry, kind, count in ENTRY.iter_unpack(packed):
            out += (page - last, entry & MASK, entry >> 32, kind, count)
            last = page
        return out

    def _snapshot(self, space: Snapshot) -> list[Any]:
        areas = [self._area(area) for area in space.areas]
        return [space.number, space.bits, areas, self._entries(space.entries)]
