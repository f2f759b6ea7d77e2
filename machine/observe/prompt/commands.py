"""The prompt's commands: a name or the beginning of one, then its words."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from machine.observe.gdb.monitor import ANSWERS
from machine.observe.prompt.look import backtrace, instructions, memory, pc_of, registers, value_of

if TYPE_CHECKING:
    from machine.observe.prompt.prompt import Prompt


class Command(NamedTuple):
    """`function` gets the name as it was typed (``x/4xg``) and the words; its answer ends with a line end, or is empty.
    ValueError says what it wants."""

    function: Callable[[Prompt, str, list[str]], str]
    usage: str
    about: str


def _asks(name: str) -> Callable[[Prompt, str, list[str]], str]:
    """A question that gdb's `monitor` answers too; its addresses may be registers here."""
    wants_address = ANSWERS[name][1] == "ADDR"

    def ask(prompt: Prompt, _typed: str, words: list[str]) -> str:
        if wants_address:
            if not words and prompt.last_fault is not None:
                words = [hex(prompt.last_fault.address)]
            elif not words:
                words = [hex(pc_of(prompt))]
            of_ram = words[:1] if words[0] in ("pfn", "phys") and len(words) > 1 else []
            words = [*of_ram, hex(value_of(prompt, "".join(words[len(of_ram) :])))]
        return ANSWERS[name][0](prompt, words)

    return ask


def _regs(prompt: Prompt, _typed: str, words: list[str]) -> str:
    if not words:
        return registers(prompt)
    return "".join(f"{word:<9}{value_of(prompt, word):#x}\n" for word in words)


def _examine(prompt: Prompt, typed: str, words: list[str]) -> str:
    if not words:
        raise ValueError("x wants an address: x/4xg $rsp")
    return memory(prompt, typed.partition("/")[2], value_of(prompt, "".join(words)))


def _dis(prompt: Prompt, _typed: str, words: list[str]) -> str:
    return instructions(prompt, value_of(prompt, "".join(words)) if words else pc_of(prompt), 8)


def _bt(prompt: Prompt, _typed: str, _words: list[str]) -> str:
    return backtrace(prompt)


def _step(prompt: Prompt, _typed: str, words: list[str]) -> str:
    count = 1
    if words:
        if len(words) != 1 or not words[0].isdecimal() or not int(words[0]):
            raise ValueError("step wants a number of instructions")
        count = int(words[0])
    prompt.steps = count
    prompt.going = lambda: prompt.resume(step=True)
    return ""


def _continue(prompt: Prompt, _typed: str, _words: list[str]) -> str:
    prompt.going = prompt.resume
    return ""


def _travel(prompt: Prompt) -> Any:
    if prompt.travel is None:
        raise ValueError("this machine can't go back: start it with --rewind")
    return prompt.travel


def _goto(prompt: Prompt, _typed: str, words: list[str]) -> str:
    travel = _travel(prompt)
    if len(words) != 1 or not words[0].isdecimal():
        raise ValueError("goto wants the number of an event (seq in --events)")
    prompt.going = lambda: travel.goto_event(int(words[0]))
    return ""


def _reverse_step(prompt: Prompt, _typed: str, _words: list[str]) -> str:
    prompt.going = _travel(prompt).reverse_step
    return ""


def _reverse_continue(prompt: Prompt, _typed: str, _words: list[str]) -> str:
    prompt.going = _travel(prompt).reverse_continue
    return ""


def _asks_the_past(name: str) -> Callable[[Prompt, str, list[str]], str]:
    def ask(prompt: Prompt, _typed: str, words: list[str]) -> str:
        _travel(prompt)
        if words and name.startswith("last"):
            of_ram = words[:1] if words[0] in ("pfn", "phys") and len(words) > 1 else []
            words = [*of_ram, hex(value_of(prompt, "".join(words[len(of_ram) :])))]
        return ANSWERS[name][0](prompt, words)

    return ask


def _quit(prompt: Prompt, _typed: str, _words: list[str]) -> str:
    prompt.going = prompt.leave
    return ""


def _help(_prompt: Prompt, _typed: str, _words: list[str]) -> str:
    lines = [f"{name + ' ' + each.usage:<20} {each.about}\n" for name, each in COMMANDS.items()]
    return "".join(lines) + (
        "An ADDR is a number, a register or a sum: 0x7ffff7fc6000, $rsp+8, $pc, $fault. The beginning of a name will\n"
        "do; an empty line is the last command again.\n"
    )


COMMANDS: dict[str, Command] = {
    "walk": Command(_asks("walk"), "[ADDR]", "the four levels of tables, as the MMU walks them"),
    "vma": Command(_asks("vma"), "[ADDR]", "the area: flags, protection, offset, operations, pages present"),
    "page": Command(_asks("page"), "[ADDR]", "area, entry, frame and its counts"),
    "frames": Command(_asks("frames"), "PFN", "who has a frame, and who maps it where"),
    "regs": Command(_regs, "[NAME...]", "the processor's registers"),
    "x": Command(_examine, "/FMT ADDR", "memory as gdb shows it: x/4xg $rsp, x/s $rdi, x/3i $pc"),
    "dis": Command(_dis, "[ADDR]", "eight instructions, from the next one"),
    "bt": Command(_bt, "", "who called whom"),
    "step": Command(_step, "[N]", "run one instruction, or N"),
    "continue": Command(_continue, "", "run to the next stop"),
    "goto": Command(_goto, "EVENT", "go to an event of the past, or on to it again"),
    "reverse-step": Command(_reverse_step, "", "back by one instruction"),
    "reverse-continue": Command(_reverse_continue, "", "back to the last stop before this one"),
    "before": Command(_asks_the_past("before"), "[N]", "the last N instructions before this one"),
    "last-write": Command(_asks_the_past("last-write"), "ADDR", "who wrote there last; pfn PFN, phys ADDR: any way"),
    "last-entry": Command(_asks_the_past("last-entry"), "ADDR", "who changed the page-table entry of ADDR last"),
    "snapshot": Command(_asks_the_past("snapshot"), "", "take a snapshot here, and list them"),
    "faults": Command(_asks("faults"), "[off]", "page faults since it was first asked for"),
    "registers": Command(_asks("registers"), "[DEVICE]", "what the registers of devices hold"),
    "dmesg": Command(_asks("dmesg"), "", "the kernel's log"),
    "maps": Command(_asks("maps"), "[PID]", "the areas of the process, or another, as /proc/PID/maps"),
    "help": Command(_help, "", "this list"),
    "quit": Command(_quit, "", "stop the machine and leave"),
}
_ALIASES = {
    "rc": "reverse-continue",
    "rs": "reverse-step",
    "rsi": "reverse-step",
    "c": "continue",
    "s": "step",
    "si": "step",
    "stepi": "step",
    "r": "regs",
    "reg": "regs",
    "q": "quit",
    "backtrace": "bt",
}


def find(typed: str) -> tuple[str, str]:
    """(the command, the word as it was typed).  ValueError: there is none, or several."""
    name = typed.partition("/")[0]
    name = _ALIASES.get(name, name)
    if name in COMMANDS:
        return name, typed
    fitting = [each for each in COMMANDS if each.startswith(name)]
    if len(fitting) == 1:
        return fitting[0], typed
    if fitting:
        raise ValueError(f"{name} may be {' or '.join(fitting)}")
    raise ValueError(f"no such command: {name}; help lists them")
