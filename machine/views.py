"""The views that the command line asks for, and the files they write to (machine/observe/)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from types import SimpleNamespace
from typing import Any, BinaryIO, cast

from machine.config import MAX_TRACE
from machine.errors import ConfigError
from machine.machine import Machine
from machine.observe.output import LimitedFile, Output

_TWO = "two options would write to it, each in its own way"


class Views:
    """Those of one `Session`; what isn't asked for isn't imported."""

    def __init__(self, chosen: SimpleNamespace) -> None:
        self._chosen = chosen
        self._limit: int = chosen.max_trace or MAX_TRACE
        self.outputs: dict[str, Any] = {}
        """Destination -> `Output`, or `LimitedFile` for bytes."""
        self.opened: list[Any] = []
        """What has a `close`, in the order of opening."""

    def output(self, where: str) -> Output:
        """The one `Output` of a destination: ``-`` is standard error."""
        if where not in self.outputs:
            if where == "-":
                colour = os.isatty(2) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
                self.outputs[where] = Output.to_descriptor(2, colour=colour, limit=self._limit)
            else:
                self.outputs[where] = self._created(where, Output.to_file)
        found = self.outputs[where]
        if not isinstance(found, Output):
            raise ConfigError(f"{where}: {_TWO}")
        return found

    def _binary(self, path: str) -> BinaryIO:
        if path in self.outputs:
            raise ConfigError(f"{path}: {_TWO}")
        self.outputs[path] = self._created(path, LimitedFile)
        return cast(BinaryIO, self.outputs[path])

    def _created(self, path: str, create: Callable[[str, int], Any]) -> Any:
        try:
            return create(path, self._limit)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise ConfigError(f"{path}: {getattr(error, 'strerror', error)}") from None

    def open(self, machine: Machine, repeatable: bool) -> None:
        """All but the report.  `repeatable`: the machine is deterministic."""
        self._calls(machine)
        self._waves(machine)
        self._coverage(machine)
        self._events(machine, repeatable)

    def _calls(self, machine: Machine) -> None:
        """--strace, and what belongs to it and asks for it: -e, -y, -yy."""
        chosen, expressions = self._chosen, None
        paths = 2 if chosen.devices_of_paths else 1 if chosen.paths else 0
        if chosen.strace is None and not chosen.expressions and not paths:
            return
        from machine.observe.strace import Strace

        if chosen.expressions:
            from machine.observe.strace_expr import Expressions, Injector

            expressions = Expressions(chosen.expressions)
            if expressions.injections:
                self.opened.append(Injector(machine.kernel, expressions))
        self.opened.append(Strace(machine.events, self.output(chosen.strace or "-"), expressions, paths))

    def _waves(self, machine: Machine) -> None:
        """--vcd."""
        if self._chosen.vcd is not None:
            self.opened.append(machine.waves(self._chosen.vcd, lambda path: TextIOWrapper(self._binary(path))))

    def _coverage(self, machine: Machine) -> None:
        """--drcov, --cov."""
        chosen = self._chosen
        if chosen.drcov is not None:
            from machine.observe.drcov import Drcov

            self.opened.append(Drcov(machine.kernel, self._binary(chosen.drcov)))
        if chosen.cov is not None:
            from machine.observe.coverage import CoverageFiles

            try:
                self.opened.append(CoverageFiles(machine, chosen.cov, self.output("-").say))
            except OSError as error:
                raise ConfigError(f"--cov {error.filename}: {error.strerror}") from None

    def _events(self, machine: Machine, repeatable: bool) -> None:
        """--perfetto, --faults, --events, --filter."""
        chosen, events, filters = self._chosen, machine.events, None
        if chosen.perfetto is not None:
            from machine.observe.perfetto import PerfettoTrace

            self.opened.append(PerfettoTrace(events, machine.kernel, self._binary(chosen.perfetto)))
        if chosen.filters or chosen.events is not None:
            from machine.observe.filter import Filters

            filters = Filters(chosen.filters or ())
        if chosen.faults is not None:
            from machine.observe.faults import FaultView

            self.opened.append(FaultView(events, self.output(chosen.faults), machine.read_file, filters))
        if chosen.events is not None:
            from machine.observe.jsonl import JsonLines

            self.opened.append(JsonLines(events, self.output(chosen.events), filters, repeatable=repeatable))

    def report(self, machine: Machine, commands: Sequence[Sequence[str]]) -> None:
        """--report."""
        path = self._chosen.report
        if path is None:
            return
        import shlex

        from machine.observe.report import Report

        try:
            self.opened.append(Report(machine, path, commands=[shlex.join(each) for each in commands]))
        except OSError as error:
            raise ConfigError(f"--report {path}: {error.strerror}") from None

    def flush(self) -> None:
        """What has been written so far is in the files."""
        for output in self.outputs.values():
            output.flush()

    def close(self, *others: Any) -> None:
        """What is left is written, that of `others` too; what could not be is said, and changes no program's end."""
        say = self.output("-").say
        for view in (*self.opened, *others):
            try:
                view.close()
            except OSError as error:
                say(f"nopage: {error.filename or view.path}: {error.strerror}; the file is not complete")
        for name, output in self.outputs.items():
            if name != "-":
                output.close()
            full = "standard error" if name == "-" else name
            if output.failed:
                say(f"nopage: {full}: {output.failed}; the rest is left out")
            elif output.is_cut:
                say(f"nopage: {full}: it is full, the rest is left out; see --max-trace")

    def close_outputs(self) -> None:
        """The files, whatever has happened."""
        for output in self.outputs.values():
            output.close()
