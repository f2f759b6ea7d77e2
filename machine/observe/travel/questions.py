"""Questions about the past, for gdb's `monitor` and the prompt."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional, Protocol

from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.observe.disasm import disassemble
from machine.observe.faults import entry_text

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import Task
    from machine.observe.gdb.monitor import Asked
    from machine.observe.symbols import ReadFile
    from machine.observe.travel.travel import Hit

FEW, MANY = 16, 1000
"""How many instructions `before` shows, and at most."""


class Ran(Protocol):
    """An instruction that was executed."""

    @property
    def pid(self) -> int: ...
    @property
    def comm(self) -> str: ...
    @property
    def rip(self) -> int: ...


class Seen(Protocol):
    """Who can show it."""

    kernel: Kernel
    read_file: ReadFile

    def task(self) -> Task:
        """The thread whose memory is looked at."""


LENGTH = 8
"""Bytes whose last write is looked for."""


def _number(words: list[str], what: str) -> int:
    try:
        (word,) = words
        return int(word, 0)
    except ValueError:
        raise ValueError(f"wants {what}") from None


def _who(server: Asked, hit: Hit) -> str:
    text = f"{hit.comm}[{hit.pid}] after event {hit.seq}"
    if server.task().mm.vma_at(hit.rip) is None:
        return f"{text}, by the kernel\n"
    return f"{text}, instruction {instruction(server, hit)}\n"


def instruction(server: Seen, hit: Ran) -> str:
    """Address, place and text; of another process only the address."""
    task = server.kernel.tasks.get(hit.pid)
    mm = server.task().mm
    vma = mm.vma_at(hit.rip)
    if vma is None or task is None or task.mm is not mm:
        return f"{hit.rip:#x} of {hit.comm}[{hit.pid}]"
    code = server.kernel.peek_user(mm, hit.rip, 16)
    where: Any = ""
    if vma.vm_file is not None:
        from machine.observe.symbols import Symbols

        symbols = Symbols(server.read_file)
        where = symbols.locate(hit.rip, (vma.vm_file.f_path, vma.vm_start, vma.vm_pgoff << PAGE_SHIFT))
    return f"{hit.rip:#x} {where}   {disassemble(code, mm.bits, hit.rip)}".rstrip()


def _physical(server: Asked, words: list[str]) -> tuple[int, int, str]:
    """(physical address, bytes, how it is called) of ``pfn PFN`` or ``phys ADDR``."""
    number = _number(words[1:], "a number behind 'pfn' or 'phys'")
    start, length = (number << PAGE_SHIFT, PAGE_SIZE) if words[0] == "pfn" else (number, LENGTH)
    ram = server.kernel.ram
    if start < 0 or not (ram.is_ram(start) and ram.holds(start, length)):
        raise ValueError(f"physical {start:#x} is no RAM")
    return start, length, f"frame {number:#x}" if words[0] == "pfn" else f"physical {number:#x}"


def _last_change(server: Asked, words: list[str]) -> str:
    from machine.observe.travel.frames import DMA, last_change

    start, length, name = _physical(server, words)
    hit = last_change(server.travel, start, length)
    if hit is None:
        return f"nobody has changed {name} since the first snapshot\n"
    if hit.detail == DMA:
        return f"{name} was changed {hit.text}, after event {hit.seq}, while {hit.comm}[{hit.pid}] ran\n"
    who = f"{name} was changed by {hit.comm}[{hit.pid}]" if hit.pid else f"{name} was changed"
    if not hit.rip:
        return f"{who} before event {hit.seq}, by the kernel{f', {hit.text}' if hit.text else ''}\n"
    return f"{who} before event {hit.seq}, instruction {instruction(server, hit)}\n"


def _last_write(server: Asked, words: list[str]) -> str:
    if words and words[0] in ("pfn", "phys"):
        return _last_change(server, words)
    address = _number(words, "an address")
    task = server.task()
    hit: Optional[Hit] = server.travel.last("writes", tgid=task.tgid, address=address, length=LENGTH)
    if hit is None:
        return f"nobody has written to {address:#x} since the first snapshot\n"
    return f"{address:#x} was written by {_who(server, hit)}"


def _last_entry(server: Asked, words: list[str]) -> str:
    address = _number(words, "an address")
    hit: Optional[Hit] = server.travel.last("entries", mm=server.task().mm.number, address=address)
    if hit is None:
        return f"nobody has changed the entry of {address:#x} since the first snapshot\n"
    old, new = (int(word, 16) for word in hit.text.split())
    return f"{entry_text(old)} -> {entry_text(new)}\n  by {_who(server, hit)}"


def _before(server: Asked, words: list[str]) -> str:
    count = _number(words, "a number of instructions") if words else FEW
    if not 0 < count <= MANY:
        raise ValueError(f"wants a number of instructions, at most {MANY}")
    lines = [f"event {hit.seq}  {instruction(server, hit)}\n" for hit in server.travel.before(count)]
    return "".join(lines) or "nothing has run since the first snapshot\n"


def _snapshot(server: Asked, _words: list[str]) -> str:
    travel = server.travel
    travel.take_soon()
    lines = [f"event {each.seq}, {each.place.position} bytes of code\n" for each in travel.snapshots.taken]
    return f"one will be taken at the next event; there are {len(lines)}:\n" + "".join(lines)


def _goto(server: Asked, words: list[str]) -> str:
    number = _number(words, "the number of an event (seq in --events)")
    server.answering = True
    try:
        server.travel.goto_event(number)
    finally:
        server.answering = False
    return ""


QUESTIONS: dict[str, Callable[[Asked, list[str]], str]] = {
    "before": _before, "last-write": _last_write, "last-entry": _last_entry, "snapshot": _snapshot, "goto": _goto,
}  # fmt: skip
