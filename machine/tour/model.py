"""What a tour is made of: sections, their steps, and the claims that each step puts to the test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from machine.tour.watch import Observed


@dataclass(frozen=True)
class Claim:
    """One thing that the book says, and what was seen."""

    book: str
    here: str
    holds: bool


Check = Callable[["Observed"], Sequence[Claim]]


@dataclass(frozen=True)
class Step:
    """One program, run in the section's machine."""

    title: str
    says: str
    """What the book says about it, in our words."""
    command: Sequence[str]
    check: Check
    device: str = ""
    """Path of the device whose areas, faults and page tables are shown."""
    stdin: bytes = b""
    hexdump: bool = False
    """Whether its output is bytes, shown as `od -Ax -t x1` does."""


@dataclass(frozen=True)
class Change:
    """A name of the book and what stands in its place today."""

    then: str
    now: str
    why: str


@dataclass(frozen=True)
class Section:
    """One stop."""

    number: str
    title: str
    book: str
    text: str
    steps: Sequence[Step]
    devices: Sequence[str] = ()
    code: Sequence[tuple[str, str]] = ()
    """(driver, function): what is shown of the drivers' source, the book's dialect first, then today's."""
    changes: Sequence[Change] = field(default_factory=tuple)
    unload: Sequence[str] = ()
    """Drivers that are unloaded at the end; what they left behind counts as a claim that failed."""
