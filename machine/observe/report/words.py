"""The first thing that a reader sees: how it ended, and why it faulted there, in words."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple, Optional

from machine.hardware.paging import PF_FETCH, PF_WRITE
from machine.kernel.abi.signal import describe, layout_of
from machine.kernel.mm.vma import VM_EXEC, VM_GROWSDOWN, VM_READ, VM_WRITE
from machine.observe.faults import access_of, area_text
from machine.observe.report.probe import Call
from machine.observe.report.recorder import FAULT, Piece, Recorder
from machine.observe.report.sources import Sources
from machine.observe.report.spaces import Area

DEADLY = ("core", "terminate")
NULL_END = 0x10000
"""Below this nothing is ever mapped by mmap (vm.mmap_min_addr): an access there used a null pointer."""
NEAR = 16 << 20
USER_END = 1 << 47


class Verdict(NamedTuple):
    """What the report says first."""

    headline: str
    sentences: tuple[str, ...]
    row: int
    """The row on which the report opens, -1: the first fault."""


class _Fault(NamedTuple):
    who: tuple[int, str, int]
    site: tuple[Any, ...]
    area: str
    answer: str
    outcome: str
    call: Optional[Call]
    error: int
    address: int


def _fault(row: bytes, piece: Piece) -> _Fault:
    names = piece.named()
    _, scene, _, _, call, *_, address, _, _, _ = FAULT.unpack(row)
    pid, comm, space, rip, code, bits, mapping, _, area, answer, outcome, error = names[scene]
    site = (rip, code, bits, mapping)
    return _Fault((pid, comm, space), site, area, answer, outcome, names[call - 1] if call else None, error, address)


def verdict(recorder: Recorder, sources: Sources, spawned: set[int]) -> Verdict:
    """How the programs ended.  `spawned` are the processes that the user started: their deaths come first."""
    rows = [(piece, row) for piece in recorder.pieces for row in piece.rows]
    deaths = [i for i, (_, row) in enumerate(rows) if row[0] == "signal" and row[6] in DEADLY]
    ours = [i for i in deaths if _pid(*rows[i]) in spawned]
    if not deaths:
        return _went_well(rows, recorder)
    last = (ours or deaths)[-1]
    piece, death = rows[last]
    assert isinstance(death, tuple)
    for i in range(last - 1, -1, -1):
        candidate = rows[i][1]
        if type(candidate) is bytes:
            fault = _fault(candidate, rows[i][0])
            if fault.who[0] == _pid(piece, death):
                if fault.address == death[5] and fault.outcome.startswith("SIG"):
                    refused = rows[i + 1][1] if i + 1 < last and rows[i + 1][1][0] == "refused" else None
                    return _killed_by_fault(fault, refused, sources, i)
                break
    return _killed(piece, death, sources, last)


def _pid(piece: Piece, row: Any) -> int:
    return int(piece.named()[row[2]][0])


# -- no signal ------------------------------------------------------------------------------------------------------


def _went_well(rows: list[tuple[Piece, Any]], recorder: Recorder) -> Verdict:
    ends = [(piece, row) for piece, row in rows if row[0] == "task" and row[3] == "exit"]
    outcomes: Counter[str] = Counter()
    drivers: Counter[str] = Counter()
    for piece in recorder.pieces:
        names = piece.named()
        for row in piece.rows:
            if type(row) is bytes:
                _, scene, _, _, call, *_ = FAULT.unpack(row)
                outcomes[names[scene][10]] += 1
                if call:
                    drivers[names[scene][9]] += 1
    total = sum(outcomes.values())
    if ends:
        piece, row = ends[-1]
        (pid, comm, _), status = piece.named()[row[2]], row[5]
        headline = f"{comm}[{pid}] ended with status {status >> 8 & 0xFF}"
        if len(ends) > 1:
            headline += f", the last of {len(ends)} to end"
    else:
        headline = "Nothing has ended yet"
    kinds = ", ".join(f"{count} {name}" for name, count in outcomes.most_common())
    sentences = [f"{total} page fault{'' if total == 1 else 's'}: {kinds}." if total else "There was no page fault."]
    if drivers:
        sentences.append("Drivers answered: " + ", ".join(f"{name} {count}" for name, count in drivers.items()) + ".")
    return Verdict(headline, tuple(sentences), -1)


# -- a signal ----------------------------------------------------------------------------------------------------------


def _killed(piece: Piece, death: tuple[Any, ...], sources: Sources, row: int) -> Verdict:
    names = piece.named()
    pid, comm, _ = names[death[2]]
    signo, code, address, rip, site, sender = death[3], death[4], death[5], death[7], death[8], dict(death[9])
    sentences = []
    where = ""
    if site >= 0 and layout_of(signo, code) == "fault":
        where, text = _place(sources, names[site])
        sentences.append(f"The instruction {text or 'at'} {where or hex(rip)} caused it.")
    elif "pid" in sender:
        whom = "itself" if sender["pid"] == pid else f"process {sender['pid']}"
        sentences.append(f"It was sent by {whom}, and is no page fault.")
    elif address == 0:
        sentences.append("It is no page fault.")
    at = f" at {_short(where)}" if where else ""
    return Verdict(f"{comm}[{pid}] was killed by {describe(signo, code)}{at}", tuple(sentences), row)


def _place(sources: Sources, site: tuple[Any, ...]) -> tuple[str, str]:
    """(``main+0x1b3, poke.c:50``, the instruction) of an instruction."""
    rip, _, _, text, function, offset, path, line = sources.site(*site)
    parts = [f"{function}+{offset:#x}" if offset else function] if function else []
    if path:
        parts.append(f"{path.rsplit('/', 1)[-1]}:{line}")
    return ", ".join(parts) or f"{rip:#x}", text


def _short(place: str) -> str:
    return place.rsplit(", ", maxsplit=1)[-1]


def _killed_by_fault(fault: _Fault, refused: Any, sources: Sources, row: int) -> Verdict:
    pid, comm, _ = fault.who
    place, text = _place(sources, fault.site)
    access = {"read": "read from", "write": "wrote to", "fetch": "jumped to"}[access_of(fault.error)]
    if fault.error & PF_FETCH:
        sentences = [f"It jumped to {fault.address:#x}."]
    else:
        sentences = [f"At {place}, the instruction {text} {access} {fault.address:#x}."]
    sentences += _why(fault, refused, sources)
    signal = fault.outcome.split(" ")[0]
    where = hex(fault.address) if fault.error & PF_FETCH else _short(place)
    return Verdict(f"{comm}[{pid}] was killed by {signal} at {where}", tuple(sentences), row)


def _why(fault: _Fault, refused: Any, sources: Sources) -> list[str]:
    if "SEGV_ACCERR" in fault.outcome:
        return [_forbidden(fault)]
    if not fault.area:
        below, above = (refused[2], refused[3]) if refused is not None else (None, None)
        return [_no_area(fault.address, below, above)]
    start, offset, path = _object(fault.area)
    sentences = []
    if path:
        at = fault.address - start + offset
        sentences.append(f"That is byte {at:#x} ({at:,}) of {path}, mapped in the area {area_text(fault.area)}.")
    else:
        sentences.append(f"It is in the area {area_text(fault.area)}.")
    if fault.call is not None:
        sentences.append(driver_sentence(fault.call, sources))
    elif fault.answer:
        sentences.append(f"The kernel's answer was: {fault.answer}.")
    return sentences


def driver_sentence(call: Call, sources: Sources) -> str:
    """What the driver said, and the last condition of the method that decided it, with the variables in it."""
    sources.driver(call.path)
    file = Path(call.path).name
    text = f"Its driver was asked for the page: {call.driver}.{call.operation}, {call.function} in {file}:{call.line},"
    text += f" returned {call.result}."
    line, condition = _last_condition(call, sources)
    if not line:
        return text
    words = dict.fromkeys(re.findall(r"[A-Za-z_][\w.]*", condition.partition("#")[0]))
    known = dict(call.variables)
    values = [f"{name} = {known[name]}" for name in words if name in known]
    return f"{text} The last test that it made is in line {line}, “{condition}”" + (
        f", with {' and '.join(values)}." if values else "."
    )


def _last_condition(call: Call, sources: Sources) -> tuple[int, str]:
    """(line, text) of the last ``if`` or ``while`` of the method that ran; (0, "") when none did."""
    driver = sources.drivers[call.path]
    lines = driver["text"].splitlines()
    own = next((last for name, first, last in driver["functions"] if first == call.line and name == call.function), 0)
    for number in reversed(call.ran):
        if call.line <= number <= min(own, len(lines)):
            text = lines[number - 1].strip()
            if text.startswith(("if ", "elif ", "while ")):
                return number, text
    return 0, ""


def _object(maps_line: str) -> tuple[int, int, str]:
    """(start, offset, path or name) of a line of /proc/PID/maps."""
    parts = maps_line.split(None, 5)
    return int(parts[0].split("-")[0], 16), int(parts[2], 16), parts[5].strip() if len(parts) > 5 else ""


def _forbidden(fault: _Fault) -> str:
    wanted = "executing" if fault.error & PF_FETCH else "writing" if fault.error & PF_WRITE else "reading"
    if not fault.area:
        return f"The area there does not allow {wanted}."
    return f"The area {area_text(fault.area)} does not allow {wanted}."


def _no_area(address: int, below: Optional[Area], above: Optional[Area]) -> str:
    if address < NULL_END:
        into = f", {address} bytes into what it should lead to" if address else ""
        return f"Nothing is mapped there: a null pointer{into}."
    if address >= USER_END:
        return "That is no address of a program: it belongs to the kernel, or to nobody."
    text = "No area covers that address"
    if above is not None and above.flags & VM_GROWSDOWN and above.start - address < NEAR:
        return text + f"; it is {above.start - address:,} bytes below the stack, which may not grow that far."
    near = []
    if below is not None and address - below.end < NEAR:
        near.append(f"{address - below.end:,} bytes above the end of {_called(below)}")
    if above is not None and above.start - address < NEAR:
        near.append(f"{above.start - address:,} bytes below the start of {_called(above)}")
    return text + (f"; it is {' and '.join(near)}." if near else ", and none is near.")


def _called(area: Area) -> str:
    bits = "".join(
        letter if area.flags & bit else "-" for letter, bit in (("r", VM_READ), ("w", VM_WRITE), ("x", VM_EXEC))
    )
    return f"{area.name or 'an anonymous area'} ({area.start:x}-{area.end:x} {bits})"
