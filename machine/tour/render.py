"""How the tour looks: rich text on a terminal, plain lines of 100 columns into a pipe."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import IO, Optional

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from machine.hardware.paging import LEVELS
from machine.observe.faults import access_of, answer_text, entry_text
from machine.tour.model import Change, Claim, Section, Step
from machine.tour.watch import Mapping, Observed, Walk

WIDTH = 100
_HOLDS, _FAILS = "✓", "✗"
_DUMPED = 8
"""Lines of a hexdump that are shown."""


class _Console(Console):
    """A reader that has gone ends the tour as it does every command: rich itself would exit with 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class Page:
    """What the tour is written on."""

    def __init__(self, stream: Optional[IO[str]] = None) -> None:
        self.console = _Console(file=stream, highlight=False, soft_wrap=False)
        self.plain = not self.console.is_terminal
        if self.plain:
            self.console = _Console(file=stream, highlight=False, width=WIDTH, color_system=None, emoji=False)

    # -- headings and text -------------------------------------------------------------------------

    def section(self, section: Section) -> None:
        """The heading of a stop."""
        self.console.print()
        self.console.print(Rule(Text(f"§ {section.number}  {section.title}", style="bold"), align="left"))
        self.console.print(Text(section.book, style="dim"))
        self.console.print()
        self.paragraph(section.text)

    def paragraph(self, text: str) -> None:
        """Running text."""
        width = min(self.console.width, WIDTH)
        for block in textwrap.dedent(text).strip().split("\n\n"):
            self.console.print(Text(textwrap.fill(" ".join(block.split()), width)))
            self.console.print()

    def code(self, title: str, source: str) -> None:
        """A function of a driver."""
        self.console.print(Text(title, style="bold"))
        if self.plain:
            self.console.out(textwrap.indent(source.rstrip(), "    "), highlight=False)
        else:
            self.console.print(Padding(Syntax(source.rstrip(), "python", background_color="default"), (0, 0, 0, 4)))
        self.console.print()

    # -- a step ------------------------------------------------------------------------------------

    def step(self, number: int, step: Step) -> None:
        """What is going to be tried."""
        self.console.print(Text(f"{number}. {step.title}", style="bold"))
        self.console.print()
        self.paragraph(step.says)
        self.console.print(Text("$ " + " ".join(step.command), style="cyan"))

    def output(self, step: Step, seen: Observed) -> None:
        """What the program printed."""
        lines = seen.result.stderr.decode(errors="replace").splitlines()
        lines += hexdump(seen.result.stdout) if step.hexdump else seen.text.splitlines()
        if seen.result.signal is not None:
            lines.append(f"(killed by signal {seen.result.signal})")
        for line in lines:
            self.console.out(line, highlight=False)
        self.console.print()

    def mapping(self, mapping: Mapping, device: str) -> None:
        """The page tables of an area's first page, before the `mmap` method and after."""
        area = f"{mapping.pages} page{'s' if mapping.pages != 1 else ''} at {mapping.vm_start:#x}"
        table = _table("level", "before mmap", "after mmap")
        for level, name in enumerate(LEVELS):
            before, after = _entry(mapping.before, level), _entry(mapping.after, level)
            table.add_row(name, before, "the same" if before == after else after)
        self._table(f"page tables for {device}, {area}: its first page", table)

    def calls(self, seen: Observed) -> None:
        """The calls into the driver, faults on its areas, and the log."""
        if seen.faults:
            table = _table("fault", "at", "answered by", "entry after")
            for fault in seen.faults:
                entry = entry_text(fault.walk_after[-1][1]) if len(fault.walk_after) == len(LEVELS) else "no table"
                table.add_row(access_of(fault.error_code), f"{fault.address:#x}", answer_text(fault), entry)
            self._table(f"faults in {seen.device}", table)
        if seen.log:
            self.console.print(Text("dmesg", style="dim"))
            for line in seen.log:
                self.console.print(Text(f"    {line}"), overflow="fold")
            self.console.print()

    def claims(self, claims: Sequence[Claim]) -> None:
        """What the book says beside what happened."""
        table = _table("", "the book says", "here")
        for claim in claims:
            mark = Text(_HOLDS, style="green") if claim.holds else Text(_FAILS, style="bold red")
            table.add_row(mark, claim.book, claim.here)
        self._table("", table)

    def changes(self, changes: Sequence[Change]) -> None:
        """The book's names and today's."""
        if not changes:
            return
        table = _table("in the book", "today", "why")
        for change in changes:
            table.add_row(change.then, change.now, change.why)
        self._table("the names of today", table)

    def _table(self, title: str, table: Table) -> None:
        if title:
            self.console.print(Text(title, style="dim"))
        with self.console.capture() as drawn:
            self.console.print(table)
        lines = drawn.get().splitlines()
        if self.plain:
            lines = [line.rstrip() for line in lines]
        self.console.out("\n".join(lines[1 if not lines[0].strip() else 0 :]), highlight=False)


def _table(*columns: str) -> Table:
    table = Table(*columns, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    for column in table.columns:
        column.overflow = "fold"
    return table


def _entry(walk: Walk, level: int) -> str:
    return entry_text(walk[level][1] if level < len(walk) else None)


def hexdump(data: bytes) -> list[str]:
    """As ``od -Ax -t x1`` shows it, a line that repeats the one before as ``*``; the first few lines of it."""
    lines: list[str] = []
    before = b""
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        if row == before:
            if lines[-1] != "*":
                lines.append("*")
            continue
        before = row
        lines.append(f"{at:06x} {row.hex(' ')}")
    lines.append(f"{len(data):06x}")
    if len(lines) > _DUMPED:
        lines[_DUMPED - 1 :] = ["..."]
    return lines
