"""gdb's `monitor`: questions about the machine that gdb itself has no words for.  Answers are text for people."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from machine.events import PageFault
from machine.hardware.paging import LEVELS, P, walk
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import Errno
from machine.kernel.mm.page import PG_exec, PG_reserved
from machine.kernel.mm.pte import PTE_PFN
from machine.kernel.mm.refusal import device_offset, refusal
from machine.kernel.mm.remap import MAX_PFN
from machine.kernel.mm.vma import (
    VM_ACCOUNT,
    VM_DONTCOPY,
    VM_DONTDUMP,
    VM_DONTEXPAND,
    VM_GROWSDOWN,
    VM_IO,
    VM_LOCKED,
    VM_MIXEDMAP,
    VM_NORESERVE,
    VM_PFNMAP,
    VM_RESERVED,
    VM_SHARED,
    VM_WIPEONFORK,
)
from machine.observe.disasm import disassemble
from machine.observe.faults import entry_text, error_text
from machine.observe.output import one_line, spelled_out

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.mm.vma import vm_area_struct
    from machine.kernel.task.task import Task
    from machine.observe.symbols import ReadFile


class Asked(Protocol):
    """Who is asked: gdb's server, or the prompt."""

    kernel: Kernel
    faults: Any
    travel: Any
    """Going back (observe/travel), or None."""
    read_file: ReadFile
    answering: bool

    def task(self) -> Task:
        """The thread that a question is about.  Errno(ESRCH) when there is none."""


KEPT = 64
"""Faults that `monitor faults` remembers."""
_FLAGS = (
    (VM_SHARED, "VM_SHARED"), (VM_IO, "VM_IO"), (VM_RESERVED, "VM_RESERVED"), (VM_PFNMAP, "VM_PFNMAP"),
    (VM_MIXEDMAP, "VM_MIXEDMAP"), (VM_LOCKED, "VM_LOCKED"), (VM_GROWSDOWN, "VM_GROWSDOWN"),
    (VM_DONTCOPY, "VM_DONTCOPY"), (VM_DONTEXPAND, "VM_DONTEXPAND"), (VM_DONTDUMP, "VM_DONTDUMP"),
    (VM_ACCOUNT, "VM_ACCOUNT"), (VM_NORESERVE, "VM_NORESERVE"), (VM_WIPEONFORK, "VM_WIPEONFORK"),
)  # fmt: skip


_NO_OPS = "vm_ops       none"


class Faults:
    """The last page faults of the machine, from the time that somebody asked for them."""

    def __init__(self, server: Asked) -> None:
        self.kept: deque[PageFault] = deque(maxlen=KEPT)
        self.events = server.kernel.events
        self.events.listen("fault", self.kept.append)

    def close(self) -> None:
        """Listen no more."""
        self.events.unlisten("fault", self.kept.append)


def monitor(server: Asked, text: str) -> str:
    """The answer to one command, always with a line end."""
    words = text.split()
    name = words[0] if words else "help"
    answer = ANSWERS.get(name)
    if answer is None:
        return f"no such command: {one_line(name)}; monitor help lists them\n"
    try:
        return spelled_out(answer[0](server, words[1:]))
    except ValueError as error:
        return f"monitor {name}: {error}\n"
    except Errno:
        return f"monitor {name}: no process is being debugged\n"


_ADDRESS = '0x7ffff7fc5000; for one of the program: eval "monitor page %p", pointer'


def _number(words: list[str], what: str, like: str = _ADDRESS) -> int:
    if len(words) != 1 or not re.fullmatch(r"0[xX][0-9a-fA-F]+|[0-9]+", words[0]):
        raise ValueError(f"wants {what}, like {like}")
    return int(words[0], 0)


def _help(_server: Asked, _words: list[str]) -> str:
    return "".join(f"monitor {name + ' ' + usage:<14} {about}\n" for name, (_, usage, about) in ANSWERS.items())


def _maps(server: Asked, words: list[str]) -> str:
    task = server.task()
    if words:
        pid = _number(words, "a process's number", "2")
        found = [each for each in _processes(server) if each.tgid == pid]
        if not found:
            raise ValueError(f"no process {pid} has memory")
        task = found[0]
    return "".join(vma.maps_line() + "\n" for vma in task.mm.each_vma())


def _owner(server: Asked, pfn: int) -> str:
    mem = server.kernel.mem
    if not mem.pfn_valid(pfn):
        return "no struct page: device memory"
    owner = mem.owner_of(pfn)
    words = [f"owner {getattr(owner, 'name', owner)}", f"count {mem.count[pfn]}", f"mapped {mem.mapcount[pfn]} times"]
    words += [name for bit, name in ((PG_reserved, "reserved"), (PG_exec, "executable")) if mem.flags[pfn] & bit]
    return ", ".join(words)


def _page(server: Asked, words: list[str]) -> str:
    address = _number(words, "an address")
    task = server.task()
    entry = task.mm.tables.get(address)
    vma = task.mm.vma_at(address)
    lines = [f"area   {vma.maps_line() if vma is not None else 'none covers it'}", f"entry  {entry_text(entry)}"]
    offset, why = device_offset(task.mm, address), refusal(server.kernel, vma)
    lines += [f"is     {offset}"] * bool(offset) + [f"refused {why}, the last fault of this area"] * bool(why)
    if entry & P:
        pfn = (entry & PTE_PFN) >> PAGE_SHIFT
        zero = ", the zero page" if pfn == server.kernel.zero_pfn else ""
        lines += [f"frame  {pfn:#x}: {_owner(server, pfn)}{zero}",
                  f"physical {entry & PTE_PFN | address & PAGE_SIZE - 1:#x}"]  # fmt: skip
    return "\n".join(lines) + "\n"


def _walk(server: Asked, words: list[str]) -> str:
    address = _number(words, "an address")
    upper = address >> 47  # a process's tables have none of the kernel's half but what the processor needs
    tables = server.kernel.kernel_tables if upper else server.task().mm.tables
    steps = walk(server.kernel.ram, tables.cr3, address)
    lines = [f"CR3    {tables.cr3:#x}" + ", the kernel's own" * bool(upper)]
    for name, (where, entry) in zip(LEVELS, steps, strict=False):
        lines.append(f"{name:<6} {entry_text(entry)}   at {where:#x}")
    return "\n".join(lines) + "\n"


def _faults(server: Asked, words: list[str]) -> str:
    if words == ["off"]:
        if server.faults is not None:
            server.faults.close()
            server.faults = None
        return "faults are not recorded any more\n"
    if server.faults is None:
        server.faults = Faults(server)
        return f"the last {KEPT} faults are kept from now on; monitor faults shows them, monitor faults off ends it\n"
    return "".join(_fault_line(fault) for fault in server.faults.kept) or "none yet\n"


def _fault_line(fault: PageFault) -> str:
    frame = f", frame {fault.pfn:#x}" if fault.pfn is not None else ""
    code = disassemble(fault.instruction, fault.bits, fault.rip)
    where = f"{fault.rip:#x} {code}" if fault.origin == "user" else f"in {fault.origin}"
    return (
        f"fault {fault.number}  {one_line(fault.comm)}[{fault.pid}]  {where}  "
        f"{error_text(fault.error_code)} at {fault.address:#x}: {fault.answer}{frame}, {fault.outcome}\n"
    )


def _frames(server: Asked, words: list[str]) -> str:
    pfn = _number(words, "a frame number", "0x1fc21")
    kernel = server.kernel
    if pfn >= MAX_PFN:
        raise ValueError(f"there is no frame {pfn:#x}, they end at {MAX_PFN - 1:#x}; of an address leave off 12 bits")
    lines = [f"frame {pfn:#x}, physical {pfn << PAGE_SHIFT:#x}: {_owner(server, pfn)}"]
    for task in _processes(server):
        for vma in task.mm.each_vma():
            for va, entry in task.mm.walk_present(vma.vm_start, vma.vm_end):
                if entry & P and (entry & PTE_PFN) >> PAGE_SHIFT == pfn:
                    who, what = one_line(task.comm), one_line(vma.name())
                    lines.append(f"  {who}[{task.tgid}] at {va:#x}: {entry_text(entry)}  {what}".rstrip())
    if pfn == kernel.zero_pfn:
        lines.append("  it is the zero page: reads of fresh anonymous memory see it")
    return "\n".join(lines) + "\n"


def _processes(server: Asked) -> list[Task]:
    tasks = [task for task in server.kernel.tasks.values() if task.pid == task.tgid and task.pid > 1]
    return [task for task in tasks if hasattr(task, "mm") and not task.mm.closed]


def _vma(server: Asked, words: list[str]) -> str:
    address = _number(words, "an address")
    vma = server.task().mm.find_vma(address)
    if vma is None or vma.vm_start > address:
        after = "" if vma is None else f"; the next area is {vma.maps_line()}"
        return f"no area covers {address:#x}{after}\n"
    return _describe(vma)


def _describe(vma: vm_area_struct) -> str:
    names = " ".join(name for bit, name in _FLAGS if vma.vm_flags & bit)
    ops = vma.vm_ops
    methods = [name for name in ("nopage", "fault", "page_mkwrite", "open", "close") if getattr(ops, name, None)]
    owner = getattr(getattr(ops, "owner", None), "name", "")
    present = sum(1 for _va, entry in vma.vm_mm.walk_present(vma.vm_start, vma.vm_end) if entry & P)
    lines = [
        vma.maps_line(),
        f"vm_flags     {vma.vm_flags:#x} {names}".rstrip(),
        f"vm_page_prot {entry_text(vma.vm_page_prot)}",
        f"vm_pgoff     {vma.vm_pgoff:#x} (offset {vma.vm_pgoff << PAGE_SHIFT:#x})",
        f"vm_ops       {owner + ': ' if owner else ''}{', '.join(methods) or 'no methods'}"
        if ops
        else "vm_ops       none",
        f"present      {present} of {(vma.vm_end - vma.vm_start) >> PAGE_SHIFT} pages",
    ]
    return "\n".join(lines) + "\n"


def _dmesg(server: Asked, _words: list[str]) -> str:
    return "".join(line + "\n" for line in server.kernel.log.lines()) or "the log is empty\n"


def _registers(server: Asked, words: list[str]) -> str:
    from machine.observe.devices import device_registers

    return device_registers(server.kernel, words)


def _past(name: str) -> Callable[[Asked, list[str]], str]:
    """A question about the past; its code is loaded when it is asked."""

    def ask(server: Asked, words: list[str]) -> str:
        from machine.observe.travel.questions import QUESTIONS

        if server.travel is None:
            raise ValueError("this machine can't go back: start it with --rewind")
        return QUESTIONS[name](server, words)

    return ask


ANSWERS: dict[str, tuple[Callable[[Asked, list[str]], str], str, str]] = {
    # name: what answers (ValueError says what it wants, Errno: no process), its arguments, what it is for
    "help": (_help, "", "this list"),
    "maps": (_maps, "[PID]", "the areas of the process, or another, as /proc/PID/maps"),
    "page": (_page, "ADDR", "area, entry, frame and its counts"),
    "walk": (_walk, "ADDR", "the four levels, as the MMU walks them"),
    "vma": (_vma, "ADDR", "the area: flags, protection, offset, operations, pages present"),
    "frames": (_frames, "PFN", "who has a frame, and who maps it where"),
    "faults": (_faults, "[off]", "page faults since it was first asked for"),
    "registers": (_registers, "[DEVICE]", "what the registers of devices hold; nothing is read through the bus"),
    "dmesg": (_dmesg, "", "the kernel's log"),
    "before": (_past("before"), "[N]", "the last N instructions before this one (--rewind)"),
    "last-write": (_past("last-write"), "ADDR", "who wrote there last; pfn PFN, phys ADDR: any way (--rewind)"),
    "last-entry": (_past("last-entry"), "ADDR", "who changed the page-table entry of ADDR last (--rewind)"),
    "snapshot": (_past("snapshot"), "", "take a snapshot here, and list them (--rewind)"),
    "goto": (_past("goto"), "EVENT", "go to an event of the past (--rewind)"),
}
