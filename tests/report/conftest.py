"""What these tests share: a run with a report, and what the report holds."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from machine.observe.report import Report
from tests.conftest import build

HERE = Path(__file__).parent
ENTRY_MASK = ~0x60
"""Without the accessed and dirty bits, which the MMU sets by itself."""


@pytest.fixture(params=["x86_64", "i386"])
def target(request: pytest.FixtureRequest) -> str:
    """Both kinds of guest program."""
    return str(request.param)


def program(name: str, target: str = "x86_64") -> str:
    """A program of this directory, compiled for people who look at it."""
    return str(build(HERE / name, target=target, flags=("-g", "-O0", "-fno-stack-protector")))


def embedded(path: Path | str) -> dict[str, Any]:
    """The data of a written report."""
    found = re.search(r'<script type="([^"]*)" id="data">(.*?)</script>', Path(path).read_text(), re.DOTALL)
    assert found is not None
    kind, body = found.groups()
    if kind == "application/x-deflate":
        body = zlib.decompress(base64.b64decode(body)).decode()
    return dict(json.loads(body))


@pytest.fixture
def reported(machine_clean: Callable[..., Any], tmp_path: Path) -> Callable[..., tuple[dict[str, Any], Any, Path]]:
    """Run a program with a report: (its data, the machine's result, the file)."""

    def run(argv: list[str], **options: Any) -> tuple[dict[str, Any], Any, Path]:
        machine = machine_clean(**options)
        path = tmp_path / "report.html"
        report = Report(machine, path, commands=[" ".join(argv)])
        result = machine.run(argv, timeout=240)
        report.close()
        assert machine.kernel.driver_probe is None and machine.events.fault is None
        return embedded(path), result, path

    return run


class Replay:
    """The rows of a report applied one after another, by other code than the page's."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.entries: dict[int, dict[int, int]] = {}
        self.areas: dict[int, dict[int, tuple[int, int]]] = {}
        for number, _bits, areas, entries in data["base"]:
            self.areas[number] = {row[0]: (row[1], row[2]) for row in areas}
            self.entries[number] = dict(self._entries(entries))
        fault = 0
        for row in data["rows"]:
            if row == 0:
                self._fault(fault)
                fault += 1
            else:
                self._row(row)

    @staticmethod
    def _entries(row: list[int]) -> list[tuple[int, int]]:
        page, found = 0, []
        for i in range(0, len(row), 5):
            page += row[i]
            found.append((page << 12, row[i + 1] | row[i + 2] << 32))
        return found

    def _fault(self, i: int) -> None:
        columns = self.data["faults"]
        space = self.data["who"][columns["who"][i]][2]
        if columns["levels"][i] & 15 == 4 and space in self.entries:
            entry = columns["lo1"][i] | columns["hi1"][i] << 32
            self.entries[space][columns["address"][i] & ~0xFFF] = entry

    def _row(self, row: list[Any]) -> None:
        if row[0] == "born":
            parent = row[3]
            self.areas[row[1]] = dict(self.areas.get(parent, {}))
            self.entries[row[1]] = dict(self.entries.get(parent, {}))
        elif row[0] == "gone":
            del self.areas[row[1]], self.entries[row[1]]
        elif row[0] == "areas":
            for start in row[2]:
                del self.areas[row[1]][start]
            self.areas[row[1]].update({each[0]: (each[1], each[2]) for each in row[3]})
        elif row[0] == "entries":
            self.entries[row[1]].update(self._entries(row[2]))

    def entries_of(self, space: int) -> dict[int, int]:
        """Address -> entry, absent ones left out."""
        return {at: entry & ENTRY_MASK for at, entry in self.entries[space].items() if entry}


def true_entries(mm: Any) -> dict[int, int]:
    """The same of the tables that the MMU walks."""
    return {at: entry & ENTRY_MASK for at, entry in mm.walk_present(0, 1 << 47)}
