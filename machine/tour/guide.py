"""The guide: takes the sections in order, runs their steps, shows and judges them."""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from typing import IO, Optional

from machine.defaults import GUEST_PATH
from machine.errors import ConfigError
from machine.hardware.ram import MiB
from machine.kernel.modfile import drivers_directory
from machine.machine import Machine
from machine.tour.model import Claim, Section, Step
from machine.tour.render import Page
from machine.tour.watch import Watcher

_RAM = 64 * MiB
_ENVIRONMENT = {"PATH": GUEST_PATH, "HOME": "/root"}
"""Not the user's: the tour looks the same on every computer."""


def all_sections() -> list[Section]:
    """Every stop, in the order of the chapters."""
    from machine.tour import blp, ldd3

    return [*ldd3.SECTIONS, *blp.SECTIONS]


def choose(numbers: Sequence[str]) -> list[Section]:
    """The sections of these numbers, a chapter's number meaning all of its; everything without any.  ConfigError."""
    sections = all_sections()
    chosen = []
    for number in numbers:
        wanted = number.removeprefix("§").strip()
        found = [each for each in sections if each.number == wanted] or [
            each for each in sections if each.number.startswith(wanted.rstrip(".") + ".")
        ]
        if not found:
            known = ", ".join(each.number for each in sections)
            raise ConfigError(f"the tour has no section '{number}'; it has {known}")
        chosen += [each for each in found if each not in chosen]
    return chosen or sections


def source_of(driver: str, function: str) -> str:
    """The source of one function of a shipped driver."""
    path = drivers_directory() / f"{driver}.py"
    text = path.read_text()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.name == function:
            return "\n".join(text.splitlines()[node.lineno - 1 : node.end_lineno]) + "\n"
    raise LookupError(f"{path} has no function {function}")


class Guide:
    """One tour.  `step` waits for Enter after every step, on a terminal."""

    def __init__(self, stream: Optional[IO[str]] = None, step: bool = False) -> None:
        self.page = Page(stream)
        self.step = step and sys.stdin.isatty()
        self.failed: list[str] = []
        """Claims that did not hold: ``15.2.4, step 1: ...``."""

    def tour(self, sections: Sequence[Section]) -> bool:
        """Take every section; whether all that the book says was seen."""
        total = 0
        for section in sections:
            total += self._section(section)
        page = self.page.console
        if self.failed:
            page.print("\n".join([f"{len(self.failed)} of {total} claims were not seen:", *self.failed]))
            return False
        page.print(f"All {total} claims of {len(sections)} section{'s' if len(sections) != 1 else ''} were seen.")
        return True

    def _section(self, section: Section) -> int:
        page = self.page
        page.section(section)
        for driver, function in section.code:
            page.code(f"drivers/{driver}.py", source_of(driver, function))
        claims = 0
        with Machine(ram=_RAM, devices=section.devices, env=_ENVIRONMENT, deterministic=True) as machine:
            watcher = Watcher(machine)
            for number, step in enumerate(section.steps, 1):
                claims += self._step(section, number, step, watcher)
            claims += self._unload(section, machine)
        page.changes(section.changes)
        self._wait()
        return claims

    def _step(self, section: Section, number: int, step: Step, watcher: Watcher) -> int:
        page = self.page
        page.step(number, step)
        seen = watcher.observe(list(step.command), step.stdin, step.device)
        page.output(step, seen)
        for mapping in seen.mappings[:1]:
            page.mapping(mapping, step.device)
        page.calls(seen)
        claims = step.check(seen)
        self._judge(f"{section.number}, step {number}", claims)
        if number < len(section.steps):
            self._wait()
        return len(claims)

    def _unload(self, section: Section, machine: Machine) -> int:
        claims = []
        for name in section.unload:
            left = machine.unload(name)
            here = "; ".join(left) or "nothing was left behind"
            claims.append(Claim(f"rmmod {name}: a module must free its memory itself", here, not left))
        if claims:
            self._judge(f"{section.number}, rmmod", claims)
        return len(claims)

    def _judge(self, where: str, claims: Sequence[Claim]) -> None:
        self.page.claims(claims)
        self.failed += [f"  {where}: {claim.book}: {claim.here}" for claim in claims if not claim.holds]

    def _wait(self) -> None:
        if self.step:
            self.page.console.print("[dim]Enter goes on, Ctrl-C ends the tour[/dim]", end="")
            sys.stdin.readline()
