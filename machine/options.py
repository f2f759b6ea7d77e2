"""The options of ``nopage run``: what they are called, and where they end and the guest's own words begin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, Optional

from machine.config import (
    parse_bind,
    parse_env,
    parse_every,
    parse_gdb,
    parse_limit,
    parse_memory,
    parse_port,
    parse_ram,
    parse_screen,
    parse_seconds,
    parse_tasks,
    parse_ticks,
    parse_user,
)
from machine.records import NamedTuple


def parse_expression(text: str) -> str:
    """`machine.observe.strace_expr.parse_expression`, loaded when there is one."""
    from machine.observe.strace_expr import parse_expression as parse

    return parse(text)


def parse_filter(text: str) -> str:
    """`machine.observe.filter.parse_filter`, loaded when there is one."""
    from machine.observe.filter import parse_filter as parse

    return parse(text)


def parse_window(text: str) -> tuple[int, bool]:
    """(how many, whether instructions instead of blocks) of ``N`` or ``N,insn``, N 1 to 1000.  ValueError."""
    number, comma, unit = text.partition(",")
    if not (number.isascii() and number.isdecimal()) or not 1 <= int(number) <= 1000:
        raise ValueError(f"'{number}' is not a number of blocks or instructions, 1 to 1000")
    if comma and unit not in ("insn", "block"):
        raise ValueError(f"'{unit}' is neither block nor insn: N and N,block show basic blocks, N,insn instructions")
    return int(number), unit == "insn"


def parse_break(text: str) -> Any:
    """`machine.observe.breakon.parse_break`, loaded when there is one."""
    from machine.observe.breakon import parse_break as parse

    return parse(text)


def parse_coverage(text: str) -> str:
    """A file for coverage: its name ends in .info or .xml.  ValueError."""
    if not text.endswith((".info", ".xml")):
        raise ValueError(f"'{text}' does not end in .info (lcov) or .xml (Cobertura)")
    return text


class Option(NamedTuple):
    """One option of ``nopage run``."""

    names: tuple[str, ...]
    metavar: str
    """``""`` for a switch; ``[=FILE]`` for a value that can only be given with ``=``."""
    help: str
    dest: str
    parse: Callable[[str], Any] = str
    many: bool = False
    """Whether it can be given several times."""


RUN_OPTIONS = (
    Option(("-L", "--root"), "ROOT", "a directory of this computer that is the guest's whole root", "root"),
    Option(("--bind",), "HOST:GUEST[:rw]", "show a file or directory of this computer at GUEST, read-only unless :rw",
           "binds", parse_bind, True),
    Option(("--device",), "NAME[,prop=val]...", "load a device driver by name (nopage devices lists them) or by path",
           "devices", str, True),
    Option(("--attach",), "WHERE=FILE.py:CLASS", "a device model of yours at /dev/mem@ADDRESS, /dev/uio0, /dev/NAME, "
           "pci:1234:11e8/bar0 (docs/testing.md)", "attach", str, True),
    Option(("--module",), "PATH", "a driver of yours that the guest may load with insmod, as it may those of nopage",
           "modules", str, True),
    Option(("--reload",), "", "take up an edited driver at the next open of its device, when nobody uses it", "reload"),
    Option(("--board",), "NAME|FILE", "another PC: its cards and firmware (nopage boards lists them)", "board"),
    Option(("--ram",), "SIZE", "the machine's memory, 16M to 16G (512M)", "ram", parse_ram),
    Option(("--max-tasks",), "NUMBER", "how many processes and threads there may be (4095 with 512M of RAM)",
           "max_tasks", parse_tasks),
    Option(("--max-memory",), "SIZE", "what nopage may take of this computer's memory, or none (1152M for 512M of RAM)",
           "max_memory", parse_memory),
    Option(("--max-output",), "SIZE", "what all programs may write to standard output and error, or none (16G)",
           "max_output", parse_limit),
    Option(("--max-trace",), "SIZE", "how large what --strace, --events and the like write, or all cores, may get (4G)",
           "max_trace", parse_limit),
    Option(("--strace",), "[=FILE]", "show every system call and signal, on standard error or in FILE", "strace"),
    Option(("-e",), "EXPR", "as strace's: trace=open,%%file,!read  signal=!CHLD  inject=mmap:error=EPERM:when=2",
           "expressions", parse_expression, True),
    Option(("-y",), "", "--strace with the paths of descriptors", "paths"),
    Option(("-yy",), "", "and with their devices and sockets", "devices_of_paths"),
    Option(("-f",), "", "as strace's: all processes and threads, which --strace shows anyway", "follow"),
    Option(("--faults",), "[=FILE]", "show every page fault, on standard error or in FILE", "faults"),
    Option(("--gdb",), "[HOST:]PORT[,nowait]",
           "PROGRAM waits at its first instruction for gdb; nowait: gdb can come later", "gdb", parse_gdb),
    Option(("--break-on",), "EVENT[:KEY=VALUE,...]",
           "stop in gdb or a prompt: fault:driver=scullp,nr=3  fault:addr=0x10000  signal:SIGBUS  syscall:mmap  oops  "
           "register:timer.ctrl",
           "breaks", parse_break, True),
    Option(("--commands",), "FILE", "what to do where --break-on stops, a command a line; - is standard input",
           "stop_commands"),
    Option(("--rewind",), "", "--deterministic, and the debugger can go back (reverse-continue, goto)", "rewind"),
    Option(("--trace-window",), "N[,insn]", "--rewind and --faults, with the N basic blocks before and after each of "
           "them; insn: N instructions, the memory they name and the registers they change",
           "trace_window", parse_window),
    Option(("--record",), "FILE", "--deterministic, and keep in FILE what came from outside, for nopage replay FILE",
           "record"),
    Option(("--events",), "FILE", "write every event as a line of JSON to FILE (docs/events.md)", "events"),
    Option(("--filter",), "KEY=VALUE,...",
           "show such --faults and --events only: driver=, addr=FIRST-END, pid=, comm=, kind=", "filters", parse_filter,
           True),
    Option(("--perfetto",), "FILE", "a trace for ui.perfetto.dev: a track a task, flows from fault to driver to entry",
           "perfetto"),
    Option(("--report",), "FILE", "one HTML file: why it ended, and memory page by page and fault by fault",
           "report"),
    Option(("--screen",), "FILE", "a picture of the screen, PNG or GIF, when the last program has ended; "
           "SIGUSR1 to nopage takes another, FILE-1.png", "screen", parse_screen),
    Option(("--screen-every",), "MILLISECONDS",
           "--screen as a recording: what has changed every so often, by the machine's clock (40, 40ms, 2s)",
           "screen_every", parse_every),
    Option(("--vcd",), "FILE", "waves of the --attach devices' registers and interrupt lines, for GTKWave", "vcd"),
    Option(("--drcov",), "FILE", "the blocks of code that ran, as DynamoRIO's drcov writes them (slow)", "drcov"),
    Option(("--cov",), "FILE.info|.xml", "the source lines that ran, for lcov or as Cobertura (again: both; slow)",
           "cov", parse_coverage, True),
    Option(("--core",), "DIR", "an ELF core in DIR for each program that a signal kills (DIR/%%e.%%p names them)",
           "core"),
    Option(("--single-faults",), "", "a page fault for every page, as with --faults: nothing is mapped ahead",
           "single_faults"),
    Option(("--deterministic",), "", "virtual clock, fixed addresses and entropy: two runs are alike", "deterministic"),
    Option(("--timeout",), "SECONDS", "kill everything after this time", "timeout", parse_seconds),
    Option(("--max-ticks",), "NUMBER", "--deterministic, and kill everything after so many ticks: 50,000 basic "
           "blocks of code each, about a millisecond", "max_ticks", parse_ticks),
    Option(("--env",), "NAME=VALUE|-NAME", "set or remove a variable of the guest's environment", "env", parse_env,
           True),
    Option(("--user",), "UID[:GID]", "who the guest's programs run as (0:0, root)", "user", parse_user),
    Option(("--export",), "DIR", "keep the files that the guest wrote to its own layer: put them into DIR", "export"),
    Option(("--exec",), "'COMMAND LINE'", "run this command first; again for more; words are split as a shell does",
           "commands", str, True),
    Option(("-v", "--verbose"), "", "show the kernel's log, and what each program took", "verbose"),
)  # fmt: skip
WATCH_OPTIONS = (
    *RUN_OPTIONS,
    Option(("--port",), "PORT", "where the page is, on this computer only (a free port)", "port", parse_port),
    Option(("--now",), "", "start at once, and end with the program unless the page is open", "now"),
)
"""Of ``nopage watch``."""


def options_of(verb: str) -> tuple[Option, ...]:
    """The options of ``run``, ``debug`` or ``watch``."""
    return WATCH_OPTIONS if verb == "watch" else RUN_OPTIONS


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """``; did you mean scullp?`` or nothing."""
    import difflib  # only when something is wrong: it takes a millisecond to load

    close = difflib.get_close_matches(word, known, 1)
    return f"; did you mean {close[0]}?" if close else ""


def split_command(words: Sequence[str], verb: str = "run") -> tuple[list[str], list[str]]:
    """(options, the guest's command line): options end at ``--`` or at the first word that is none.

    Values are joined to their options (``--env=-NAME``), so that no value is taken for an option.
    ValueError for an unknown option or a missing value.
    """
    options: list[str] = []
    by_name = {name: option for option in options_of(verb) for name in option.names}
    left = list(words)
    while left:
        word = left[0]
        if word == "--":
            return options, left[1:]
        if not word.startswith("-") or word == "-":
            break
        del left[0]
        if word in ("-h", "--help"):
            options.append(word)
            continue
        name, equals, _ = word.partition("=")
        short = word[:2]
        option = by_name.get(name)
        if option is None and not word.startswith("--") and short in by_name and by_name[short].metavar:
            options += [short + word[2:]]  # -LROOT
            continue
        if option is None:
            raise ValueError(f"unknown option {name}" + did_you_mean(name, list(by_name)))
        if not option.metavar and equals:
            raise ValueError(f"option {name} takes no value")
        if option.metavar == "[=FILE]" and not equals:
            word = f"{name}=-"
        elif option.metavar and not equals:
            if not left:
                raise ValueError(f"option {name} needs a value: {name} {option.metavar}")
            word = f"{option.names[-1]}={left.pop(0)}"
        if option.metavar and word.endswith("=--"):
            raise ValueError(f"option {name} needs a value: '--' is none")  # argparse would drop it, and give a list
        options.append(word)
    return options, left


def chosen_options(options: Sequence[str], verb: str = "run") -> Optional[SimpleNamespace]:
    """What argparse makes of `options` as `split_command` gives them: the value of each `dest`.

    None for a mistake in a value, a request for help, and what is written as ``-LROOT``: those are argparse's.
    """
    known = options_of(verb)
    by_name = {name: option for option in known for name in option.names}
    chosen: dict[str, Any] = {option.dest: None if option.metavar else False for option in known}
    for word in options:
        name, equals, text = word.partition("=")
        option = by_name.get(name)
        if option is None or bool(equals) != bool(option.metavar):
            return None
        if not option.metavar:
            chosen[option.dest] = True
            continue
        try:
            value = text if option.metavar == "[=FILE]" else option.parse(text)
        except ValueError:
            return None
        chosen[option.dest] = [*(chosen[option.dest] or ()), value] if option.many else value
    return SimpleNamespace(**chosen)
