"""The journal of a sweep: a line of JSON for the sweep and one for each run, written as they come."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, Optional

from machine.errors import ConfigError
from machine.testing import messages
from machine.testing.foreach import Outcome


class Journal:
    """Appends to `path`; what it has of the same sweep is in `done`.  ConfigError: it is of another one."""

    def __init__(self, path: Optional[str], fingerprint: str, total: int) -> None:
        self.done: dict[int, Outcome] = {}
        self._stream: Any = None
        if path is None:
            return
        head = {"sweep": fingerprint, "total": total}
        lines = Path(path).read_text().splitlines() if os.path.exists(path) else []
        if lines:
            if _read(lines[0]) != head:
                raise ConfigError(messages.other_sweep(path))
            for line in lines[1:]:
                told = _read(line)
                if told is not None:  # the last may be cut off: its run is made again
                    told["stdout"] = base64.b64decode(told["stdout"])
                    self.done[told["n"]] = Outcome(**told)
        self._stream = open(path, "a")  # noqa: SIM115
        if not lines:
            self._write(head)
        elif _read(lines[-1]) is None:
            self._stream.write("\n")

    def _write(self, what: dict[str, Any]) -> None:
        self._stream.write(json.dumps(what) + "\n")
        self._stream.flush()

    def add(self, outcome: Outcome) -> None:
        """A run is done."""
        if self._stream is not None:
            told = asdict(outcome)
            told["stdout"] = base64.b64encode(outcome.stdout).decode()
            self._write(told)

    def close(self) -> None:
        """No more runs."""
        if self._stream is not None:
            self._stream.close()


def _read(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
