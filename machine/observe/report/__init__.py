"""The report: one HTML file, without network, that answers "why did it fault here?" (MECHANISMS F1, F4).

::

    with Machine(devices=["scullp"]) as m:
        report = Report(m, "report.html")
        m.run(["mapper", "/dev/scullp0", "0", "140"])
        report.close()

`Recorder` keeps packed rows while the machine runs, in bounded memory; `close` looks up names and source lines and
writes the file.  report.html is the page's frame, report.css and the .js files beside it are put into it whole.
"""

from __future__ import annotations

import base64
import html
import json
import re
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional, Protocol

from machine.events import PageFault
from machine.kernel.current import set_current_kernel
from machine.kernel.kernel import Kernel
from machine.observe.output import one_line
from machine.observe.report.recorder import Recorder

HERE = Path(__file__).parent
SCRIPTS = ("data.js", "model.js", "words.js", "list.js", "timeline.js", "map.js", "detail.js", "cards.js", "app.js")
COMPRESSED_FROM = 64 << 10
"""Bytes of data from which on they are compressed."""
WINDOWS = 2000
"""Faults whose --trace-window is kept."""


class Watched(Protocol):
    """What a `Report` needs of a `Machine`."""

    kernel: Kernel

    def read_file(self, path: str) -> bytes:
        """The contents of a file of the guest."""


class Report:
    """Records from now on; `close` writes the file `path`.  OSError at once if it can't be made.

    `commands` are the command lines to name at the top.  Names and source lines are looked up by `close`, so the
    machine must still be there.
    """

    def __init__(self, machine: Watched, path: str | Path, *, commands: Sequence[str] = ()) -> None:
        self.path = str(path)
        self._machine = machine
        self._commands = list(commands)
        self._file = open(self.path, "w", encoding="utf-8")  # noqa: SIM115
        self._recorder: Optional[Recorder] = Recorder(machine.kernel)
        self._windows: dict[int, list[Any]] = {}

    def add_command(self, command: str) -> None:
        """A further command line to name."""
        self._commands.append(command)

    def window(self, fault: PageFault, part: str, lines: list[str]) -> None:
        """A part of --trace-window; the first of so many faults are kept."""
        if fault.number in self._windows or len(self._windows) < WINDOWS:
            self._windows.setdefault(fault.number, []).append([part, lines])

    def discard(self) -> None:
        """Stop recording; there is no file."""
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            recorder.close()
            self._file.close()
            Path(self.path).unlink(missing_ok=True)

    def close(self) -> None:
        """Stop recording and write the file; twice is fine."""
        recorder, self._recorder = self._recorder, None
        if recorder is None:
            return
        recorder.close()
        before = set_current_kernel(self._machine.kernel)
        try:
            with self._file as file:
                data = contents(recorder, self._machine, self._commands)
                data["windows"] = self._windows
                file.write(page(data))
        finally:
            set_current_kernel(before)


def contents(recorder: Recorder, machine: Watched, commands: Sequence[str]) -> dict[str, Any]:
    """What the page embeds."""
    from machine.observe.report.encode import Encoder
    from machine.observe.report.sources import Sources
    from machine.observe.report.words import verdict

    kernel = machine.kernel
    sources = Sources(kernel, machine.read_file)
    data = Encoder(recorder, sources).encode()
    said = verdict(recorder, sources, set(kernel.spawned))
    data["meta"] = {
        "commands": list(commands), "headline": said.headline, "sentences": said.sentences, "open": said.row,
        "faults": recorder.faults, "dropped": recorder.dropped, "zero": kernel.zero_pfn,
        "written": time.strftime("%Y-%m-%d %H:%M"),
    }  # fmt: skip
    return data


def page(data: dict[str, Any]) -> str:
    """The whole file."""
    text = json.dumps(data, separators=(",", ":"))
    if len(text) < COMPRESSED_FROM:
        kind, body = "application/json", text.replace("<", "\\u003c")
    else:
        kind, body = "application/x-deflate", base64.b64encode(zlib.compress(text.encode(), 4)).decode()
    said = data["meta"]
    parts = {
        "title": html.escape(one_line(said["headline"])),
        "sentences": "".join(f"<p>{html.escape(one_line(sentence))}</p>" for sentence in said["sentences"]),
        "style": (HERE / "report.css").read_text(),
        "script": "\n".join((HERE / name).read_text() for name in SCRIPTS),
        "kind": kind,
        "data": body,
    }
    # One pass: what is put in is not looked at again, whatever a guest calls itself.
    return re.sub("@@([a-z]+)@@", lambda found: parts[found[1]], (HERE / "report.html").read_text())
