"""The fault view: every page fault as a paragraph, from the instruction to the entry that was written.

::

    fault 17  mapper[3]  0x401a2c main+0x41 mapper.c:38   movzx eax, byte ptr [rdi]
      read of  0x7ffff7ff8000   error 0x4: user read, page not present
      area     7ffff7ff8000-7ffff7ff9000 r--p 00000000 /dev/scullp0
      answer   scullp.nopage: frame 0x1a3f, count 1 -> 2
      walk     PML4E, PDPTE, PDE unchanged
      PTE      absent -> 8000000001a3f025 P US A NX   at 0x2c9fc0
      minor fault
"""

from __future__ import annotations

from collections import Counter
from functools import cache, lru_cache
from typing import Optional

from machine.events import Events, PageFault, Signal
from machine.hardware.paging import (
    LEVELS,
    NX,
    PCD,
    PF_FETCH,
    PF_PRESENT,
    PF_RSVD,
    PF_USER,
    PF_WRITE,
    PS,
    PWT,
    RW,
    US,
    A,
    D,
    G,
    P,
)
from machine.kernel.abi.signal import describe, layout_of
from machine.kernel.mm.pte import DEVICE, PROTNONE, PTE_PFN, SPECIAL
from machine.observe.disasm import disassemble
from machine.observe.filter import Filters
from machine.observe.output import Output, shortened
from machine.observe.symbols import Mapping, ReadFile, Symbols

_BITS = ((P, "P"), (RW, "RW"), (US, "US"), (PWT, "PWT"), (PCD, "PCD"), (A, "A"), (D, "D"), (PS, "PS"), (G, "G"),
         (NX, "NX"), (SPECIAL, "SPECIAL"))  # fmt: skip
_SOFTWARE_BITS = ((PROTNONE, "PROTNONE"), (DEVICE, "DEVICE"), (SPECIAL, "SPECIAL"))

KEPT = 4096
"""Instructions whose text is remembered."""
BOLD, DIM, RED, GREEN, PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[0m"


def entry_bits(entry: int) -> str:
    """The names of an entry's bits: ``P RW US A D NX``; of one that is not present, what the kernel put there."""
    return _bit_names(entry & ~PTE_PFN)


@cache
def _bit_names(entry: int) -> str:
    return " ".join(name for bit, name in (_BITS if entry & P else _SOFTWARE_BITS) if entry & bit)


def entry_text(entry: Optional[int]) -> str:
    """One entry for people: ``absent``, or its number and bits; ``no table`` where there is none."""
    if entry is None:
        return "no table"
    if not entry:
        return "absent"
    names = _bit_names(entry & ~PTE_PFN)
    return f"{entry:016x} {names}" if names else f"{entry:016x}"


@cache
def error_text(error_code: int) -> str:
    """What the CPU's error code says: ``user read, page not present``."""
    who = "user" if error_code & PF_USER else "kernel"
    what = "fetch" if error_code & PF_FETCH else "write" if error_code & PF_WRITE else "read"
    why = "not allowed by the entry" if error_code & PF_PRESENT else "page not present"
    return f"{who} {what}, {'reserved bit set' if error_code & PF_RSVD else why}"


@lru_cache(KEPT)
def area_text(maps_line: str) -> str:
    """A line of /proc/PID/maps without device and inode: ``START-END r--p OFFSET PATH``."""
    parts = maps_line.split(None, 5)
    return " ".join(parts[:3] + [shortened(part) for part in parts[5:]]).rstrip()


def walk_lines(before: list[tuple[int, int]], after: list[tuple[int, int]]) -> list[tuple[str, str]]:
    """(heading, text) a line: the levels that stayed as they were in one, each that changed in its own."""
    same, changed = [], []
    for level, name in enumerate(LEVELS):
        old = before[level] if level < len(before) else None
        new = after[level] if level < len(after) else None
        if old is None and new is None:
            break
        if old == new:
            same.append(name)
            continue
        where = new if new is not None else old
        assert where is not None
        old_entry = None if old is None else old[1]
        new_entry = None if new is None else new[1]
        changed.append((name, f"{entry_text(old_entry)} -> {entry_text(new_entry)}   at {where[0]:#x}"))
    if same and not changed:
        return [("walk", f"ends at {same[-1]}: {entry_text(after[-1][1])}, unchanged")]
    return [("walk", ", ".join(same) + " unchanged"), *changed] if same else changed


def answer_text(fault: PageFault) -> str:
    """Who answered, with which frame: ``scullp.nopage: frame 0x1a3f, count 1 -> 2``."""
    text = fault.answer or "nobody"
    if fault.pfn is None:
        return text
    if fault.count_before == fault.count_after:
        return f"{text}: frame {fault.pfn:#x}, count {fault.count_after}"
    return f"{text}: frame {fault.pfn:#x}, count {fault.count_before} -> {fault.count_after}"


def refusal_text(fault: PageFault) -> str:
    """What a driver, or the kernel, said that gave no page: ``scullp.nopage returned NOPAGE_SIGBUS (scullp.py:203),
    offset 0x1000 of /dev/scullp0``; "" otherwise."""
    return f"{fault.reason}, {fault.offset}".removesuffix(", ") if fault.reason else ""


def access_of(error_code: int) -> str:
    """``read``, ``write`` or ``fetch``."""
    return "fetch" if error_code & PF_FETCH else "write" if error_code & PF_WRITE else "read"


class FaultText:
    """A paragraph for a page fault; `colour`: with the escape sequences of a terminal."""

    def __init__(self, read_file: ReadFile, colour: bool = False) -> None:
        self.symbols = Symbols(read_file)
        self.colour = colour
        self._instructions: dict[tuple[object, ...], str] = {}
        self._labels: dict[str, str] = {}
        self._upper = f"{self._label('walk')}{', '.join(LEVELS[:3])} unchanged\n{self._label('PTE')}"
        self._area, self._answer = f"\n{self._label('area')}", f"\n{self._label('answer')}"
        self._bold, self._plain = (BOLD, PLAIN) if colour else ("", "")
        self._errors: dict[int, tuple[str, str]] = {}
        self._outcomes: dict[str, str] = {}

    def _paint(self, colour: str, text: str) -> str:
        return f"{colour}{text}{PLAIN}" if self.colour else text

    def paragraph(self, fault: PageFault) -> str:
        """Several lines, without the last line end."""
        if fault.origin == "user":
            key = fault.rip, fault.instruction, fault.bits, fault.mapping
            who = self._instructions.get(key) or self._instruction(fault, key)
        else:
            who = "by the kernel itself" if fault.origin == "kernel" else f"by the kernel, in {fault.origin}()"
        access, error = self._errors.get(fault.error_code) or self._error(fault.error_code)
        before, after, pfn = fault.walk_before, fault.walk_after, fault.pfn
        if len(before) == 4 == len(after) and before[:3] == after[:3] and before[3] != after[3]:  # nearly always
            at, now = after[3]
            walk = f"{self._upper}{entry_text(before[3][1])} -> {entry_text(now)}   at {at:#x}\n"
        else:
            walk = "".join(f"{self._label(name)}{text}\n" for name, text in walk_lines(before, after))
        if fault.reason or pfn is None or fault.count_before == fault.count_after:
            answer = refusal_text(fault) or answer_text(fault)
        else:
            answer = f"{fault.answer or 'nobody'}: frame {pfn:#x}, count {fault.count_before} -> {fault.count_after}"
        return (
            f"{self._bold}fault {fault.number}  {fault.comm}[{fault.pid}]  {who}{self._plain}{access}{fault.address:#x}"
            f"{error}{area_text(fault.vma) or 'none'}{self._answer}{answer}\n"
            f"{walk}  {self._outcomes.get(fault.outcome) or self._outcome(fault.outcome)}"
        )

    def _error(self, error_code: int) -> tuple[str, str]:
        """What stands before and behind the address."""
        access = f"\n{self._label(f'{access_of(error_code)} of')}"
        texts = access, f"   error {error_code:#x}: {error_text(error_code)}{self._area}"
        self._errors[error_code] = texts
        return texts

    def _label(self, name: str) -> str:
        found = self._labels.get(name)
        if found is None:
            found = self._labels[name] = f"  {self._paint(DIM, f'{name:<8}')} "
        return found

    def _instruction(self, fault: PageFault, key: tuple[object, ...]) -> str:
        """Address, place and text of the instruction; kept, since loops fault at the same few."""
        where = str(self.symbols.locate(fault.rip, fault.mapping))
        text = f"{fault.rip:#x} {where}".rstrip()
        text += f"   {disassemble(fault.instruction, fault.bits, fault.rip)}".rstrip()
        if len(self._instructions) >= KEPT:
            self._instructions.clear()
        self._instructions[key] = text
        return text

    def _outcome(self, outcome: str) -> str:
        if outcome in ("minor", "major"):
            text = self._paint(GREEN, f"{outcome} fault")
        elif outcome == "EFAULT":
            text = self._paint(RED, "EFAULT: the system call could not touch it")
        else:
            text = self._paint("" if outcome == "device access" else RED, outcome)
        self._outcomes[outcome] = text
        return text


class FaultView:
    """Listens for page faults and writes a paragraph each; `close` writes how many there were of which kind.

    `filters` says of which faults.
    """

    def __init__(self, events: Events, output: Output, read_file: ReadFile, filters: Optional[Filters] = None) -> None:
        self.filters = filters
        self.output = output
        self.text = FaultText(read_file, output.colour)
        self.outcomes: Counter[str] = Counter()
        self._events = events
        events.listen("fault", self.on_fault)

    def on_fault(self, fault: PageFault) -> None:
        """Write one paragraph."""
        if self.filters is not None and not self.filters.match("fault", fault):
            return
        self.outcomes[fault.outcome] += 1
        self.output.line(self.text.paragraph(fault))

    def close(self) -> None:
        """The summary; no more faults are shown."""
        self._events.unlisten("fault", self.on_fault)
        total = sum(self.outcomes.values())
        if total:
            kinds = ", ".join(f"{count} {name}" for name, count in self.outcomes.most_common())
            self.output.line(f"{total} page fault{'s' if total != 1 else ''}: {kinds}")


def fatal_line(
    event: Signal, code: bytes, bits: int, maps_line: str, mapping: Optional[Mapping], read_file: ReadFile,
    said: str = "",
) -> str:  # fmt: skip
    """Why a process died, in one line.

    ``mapper (pid 3): SIGBUS (BUS_ADRERR) at 0x7ffff7ff6000, instruction 0x401234 mov al, byte ptr [rdi]
    (main+0x24 mapper.c:31), in 7ffff7ff6000-7ffff7ff7000 r--p 00002000 /dev/scullp0``
    """
    text = f"{event.comm} (pid {event.pid}): {describe(event.signo, event.si_code)}"
    faulted = layout_of(event.signo, event.si_code) == "fault"
    if faulted and event.address != event.rip:
        text += f" at {event.address:#x}"
    instruction = disassemble(code, bits, event.rip)
    text += f", instruction {event.rip:#x} {instruction}".rstrip()
    where = str(Symbols(read_file).locate(event.rip, mapping))
    if where:
        text += f" ({where})"
    if faulted and event.address != event.rip:
        text += f", in {area_text(maps_line)}" if maps_line else ", in no area"
    elif faulted and not maps_line:
        text += ", where no code is"
    return f"{text}, {said}" if said else text
