"""The command ``nopage``."""

from __future__ import annotations

import atexit
import gc
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, NoReturn, Optional, TextIO, cast

from machine import __version__
from machine.config import MachineConfig
from machine.errors import ConfigError, LimitReached, NopageError, NotBack, Stdout, complain, said_of
from machine.options import chosen_options, did_you_mean, split_command

LIMIT, OWN_ERROR, USAGE_ERROR = 124, 125, 2
KILLED = 128
"""Added to a signal's number."""

# -- the command line of `nopage run` --------------------------------------------------------------------


def _mistake(verb: str, text: str) -> NoReturn:
    """Ends with status 2."""
    from machine.parsers import run_parser

    run_parser(verb).error(text)


def parse_run(words: Sequence[str], verb: str = "run") -> tuple[SimpleNamespace, list[list[str]]]:
    """(options, command lines to run one after another).  Mistakes end with status 2."""
    try:
        options, program = split_command(words, verb)
    except ValueError as error:
        _mistake(verb, str(error))
    chosen = chosen_options(options, verb)
    if chosen is None:
        from machine.parsers import run_parser

        chosen = run_parser(verb).parse_args(options, namespace=SimpleNamespace())
    chosen.verb, chosen.words, chosen.recording = verb, list(words), None
    if chosen.trace_window is not None:
        chosen.rewind, chosen.faults = True, chosen.faults or "-"
    chosen.deterministic |= chosen.rewind or chosen.record is not None or chosen.max_ticks is not None
    if verb == "debug":
        if chosen.gdb is not None:
            _mistake(verb, "debug starts gdb itself; to connect your own: nopage run --gdb PORT")
        chosen.gdb = ("127.0.0.1", 0, True)
    commands = []
    for line in chosen.commands or []:
        import shlex

        try:
            command = shlex.split(line)
        except ValueError as error:
            _mistake(verb, f"--exec {line!r}: {error}")
        if not command:
            _mistake(verb, "--exec with no command in it")
        commands.append(command)
    if program:
        commands.append(program)
    if not commands:
        _mistake(verb, "no program given")
    if verb == "watch" and chosen.deterministic:
        _mistake(verb, "keys come in real time: watch can't be --deterministic")
    if chosen.screen_every is not None and chosen.screen is None:
        _mistake(verb, "--screen-every says how often; where to is --screen FILE.png or FILE.gif")
    return chosen, commands


def _config(chosen: SimpleNamespace) -> MachineConfig:
    config = MachineConfig(
        root=chosen.root,
        binds=chosen.binds or [],
        devices=chosen.devices or [],
        modules=chosen.modules or [],
        board=chosen.board,
        reload=chosen.reload,
        max_tasks=chosen.max_tasks,
        max_memory=chosen.max_memory,
        max_output=chosen.max_output,
        max_trace=chosen.max_trace,
        deterministic=chosen.deterministic,
        batch_faults=not chosen.single_faults,
        env=chosen.env or [],
        export=chosen.export,
        core=chosen.core,
        patience=chosen.timeout,
    )
    config.ram = chosen.ram or config.ram
    config.user = chosen.user or config.user
    if chosen.recording is not None:
        config.usual_env = chosen.recording.env
    if config.root is not None and not os.path.isdir(config.root):
        raise ConfigError(f"{config.root}: the root must be a directory" + ("" if os.path.exists(config.root) else
                          "; there is none of that name"))  # fmt: skip
    for host, _, _ in config.binds:
        if not os.path.exists(host):
            raise ConfigError(f"--bind: {host}: No such file or directory")
    return config


def run(words: Sequence[str], verb: str = "run") -> int:
    """``nopage run``: the exit status."""
    chosen, commands = parse_run(words, verb)
    return _session(chosen, commands)


def _session(chosen: SimpleNamespace, commands: list[list[str]]) -> int:
    config = _config(chosen)
    for command, name in zip(commands, config.place([command[0] for command in commands]), strict=True):
        command[0] = name
    from machine.session import Session

    chosen.closed = _closed if chosen.recording is None else chosen.recording.closed
    if not chosen.rewind:
        return Session(config, chosen).run(commands)
    from machine.rewinding import as_recorded, supervised

    def run(base: Any) -> int:
        return as_recorded(chosen.recording, lambda: Session(config, chosen, base).run(commands))

    return supervised(run, chosen.timeout)


def replay(words: Sequence[str]) -> int:
    """``nopage replay [OPTIONS] FILE``: a recorded run once more, with other views or a debugger."""
    from machine.rewinding import REPLAY, as_recorded, recorded_run

    if not words or words[-1].startswith("-"):
        shown = "--help" in words or "-h" in words
        (sys.stdout if shown else sys.stderr).write(REPLAY)
        return 0 if shown else USAGE_ERROR
    recording = recorded_run(words[-1], words[:-1])
    from machine.observe.output import one_line

    sys.stderr.write(one_line(f"nopage: the recorded command: nopage run {shlex.join(recording.recorded)}") + "\n")
    sys.stderr.flush()  # before any of its drivers, which are Python, is loaded
    chosen, commands = parse_run(recording.words)
    chosen.record, chosen.recording, chosen.deterministic = None, recording, True
    return as_recorded(recording, lambda: _session(chosen, commands))


def debug(words: Sequence[str]) -> int:
    """``nopage debug``: as `run`, with gdb on the program where there is one."""
    return run(words, "debug")


def watch(words: Sequence[str]) -> int:
    """``nopage watch``: as `run`, on a page of the browser."""
    return run(words, "watch")


# -- nopage devices ---------------------------------------------------------------------------------------------


def devices(words: Sequence[str]) -> int:
    """``nopage devices [NAME|FILE]``."""
    from machine.parsers import Parser

    parser = Parser(
        prog="nopage devices",
        description="List the device drivers with their parameters, or describe one.",
        epilog="Load one with: nopage run --device NAME[,parameter=value]... PROGRAM",
        allow_abbrev=False,
    )
    parser.add_argument("name", nargs="?", metavar="NAME|FILE", help="the driver to describe")
    chosen = parser.parse_args(list(words))
    from machine.catalogue import described, listed, names

    if chosen.name is not None and "/" not in chosen.name and not chosen.name.endswith(".py"):
        known = names()
        if chosen.name not in known:
            complain(f"no driver '{chosen.name}'" + did_you_mean(chosen.name, known) + "\nTry 'nopage devices'.")
            return OWN_ERROR
    print("\n".join(listed() if chosen.name is None else described(chosen.name)))
    return 0


# -- nopage new-driver ------------------------------------------------------------------------------------------


def new_driver(words: Sequence[str]) -> int:
    """``nopage new-driver NAME``."""
    from machine.newdriver import DIALECTS, write
    from machine.parsers import Parser

    parser = Parser(
        prog="nopage new-driver",
        description="Write a commented driver that works at once: a device with open, read, write, ioctl and mmap.",
        epilog="docs/writing-a-driver.md goes on from there.",
        allow_abbrev=False,
    )
    parser.add_argument("name", metavar="NAME", help="lower-case letters, digits and _")
    parser.add_argument("--kernel", choices=list(DIALECTS), default="2.6.10", help="whose names it uses (2.6.10)")
    parser.add_argument("-o", dest="output", metavar="FILE", help="where to write it (NAME.py in this directory)")
    chosen = parser.parse_args(list(words))
    print(write(chosen.name, chosen.kernel, chosen.output))
    return 0


# -- nopage boot, nopage boards -----------------------------------------------------------------------------------


def boot(words: Sequence[str]) -> int:
    """``nopage boot``: the power-on test, and the screen after it."""
    from machine.bootverbs import boot_command
    from machine.parsers import Help, Parser

    return boot_command(Parser(prog="nopage boot", formatter_class=Help, allow_abbrev=False), words)


def boards(words: Sequence[str]) -> int:
    """``nopage boards [NAME|FILE]``."""
    from machine.bootverbs import boards_command
    from machine.parsers import Parser

    return boards_command(Parser(prog="nopage boards", allow_abbrev=False), words)


# -- nopage tour --------------------------------------------------------------------------------------------------


def tour(words: Sequence[str]) -> int:
    """``nopage tour [SECTION...]``: 1 when something that a book says was not seen."""
    from machine.parsers import Help, Parser

    parser = Parser(
        prog="nopage tour",
        description="The two chapters on mmap, section by section: each runs its driver under compiled programs and\n"
        "holds what the book says against what happens: page tables, counts, calls, the kernel's log.",
        epilog="examples:\n  nopage tour --list           the sections\n  nopage tour 15.2.4           one of them\n"
        "  nopage tour --step           all, waiting for Enter after each step\n"
        "  nopage tour | less           plain text\n\n"
        "exit status: 1 when a claim was not seen\n",
        formatter_class=Help,
        allow_abbrev=False,
    )
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help="a section's number, or 15 or 21 for a chapter; all without any"
    )
    parser.add_argument("--list", action="store_true", help="list the sections")
    parser.add_argument("--step", action="store_true", help="wait for Enter after every step, on a terminal")
    chosen = parser.parse_args(list(words))
    from machine.tour.guide import Guide, all_sections, choose

    if chosen.list:
        for section in all_sections():
            print(f"{section.number:<10}{section.title}")
        return 0
    return 0 if Guide(step=chosen.step).tour(choose(chosen.sections)) else 1


# -- nopage compare -----------------------------------------------------------------------------------------------


def compare(words: Sequence[str]) -> int:
    """``nopage compare [OPTIONS] [--] PROGRAM [ARG...]``: 1 when the two runs differ."""
    from machine.compare.command import main as compare_main

    return compare_main(words)


# -- the verbs -----------------------------------------------------------------------------------------------------


def sweep(words: Sequence[str]) -> int:
    """``nopage sweep``."""
    from machine.sweep.command import sweep_command

    return sweep_command(words)


def core(words: Sequence[str]) -> int:
    """``nopage core FILE...``."""
    from machine.coreread import core_command

    return core_command(words)


VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "run": run,
    "debug": debug,
    "watch": watch,
    "replay": replay,
    "compare": compare,
    "sweep": sweep,
    "core": core,
    "boot": boot,
    "boards": boards,
    "devices": devices,
    "new-driver": new_driver,
    "tour": tour,
}
HAVE_DIRECTORIES = ("compare", "sweep")
"""Verbs with temporary directories, which go when SIGTERM or SIGHUP ends them, too."""
STARTED_AT_ONCE = ("run", "debug", "replay")
"""Verbs that Ctrl-C ends without more ado until there is a program to send it to (`__main__`)."""


def version() -> str:
    """``nopage 0.1.0 (unicorn 2.1.4, Python 3.11.2)``."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    try:
        engine = f"unicorn {version_of('unicorn')}, "
    except PackageNotFoundError:
        engine = ""
    return f"nopage {__version__} ({engine}Python {'.'.join(map(str, sys.version_info[:3]))})"


def dispatch(words: Sequence[str]) -> int:
    """Do what the words say; NopageError comes through."""
    if not words:
        from machine.parsers import ABOUT

        sys.stderr.write(ABOUT)
        return USAGE_ERROR
    verb, *rest = words
    if verb in ("-h", "--help", "help"):
        if rest and rest[0] in VERBS:
            return VERBS[rest[0]](["--help"])
        from machine.parsers import ABOUT

        sys.stdout.write(ABOUT)
        return 0
    if verb in ("-V", "--version"):
        print(version())
        return 0
    if verb in VERBS:
        if verb not in STARTED_AT_ONCE and signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (signal.SIGTERM, signal.SIGHUP):
            if verb in HAVE_DIRECTORIES and signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _end_in_order)
        return VERBS[verb](rest)
    if "/" in verb or os.path.isfile(verb):
        import shlex

        hint = f"; to run a program: nopage run {shlex.quote(verb)}"
    else:
        hint = did_you_mean(verb, list(VERBS)) or f"; there are: {', '.join(VERBS)}"
    complain(f"unknown verb '{verb}'{hint}\nTry 'nopage --help'.")
    return USAGE_ERROR


def main(argv: Optional[Sequence[str]] = None) -> int:
    """The entry point: the exit status."""
    words = sys.argv[1:] if argv is None else argv
    real = sys.stdout
    sys.stdout = cast(TextIO, Stdout(real))
    try:
        if any("\0" in word for word in words):
            raise ConfigError("an argument has a NUL character in it, which no program can be given")
        try:
            return dispatch(words)
        finally:  # after --help, too
            sys.stdout.flush()
    except NopageError as error:
        complain(str(error))
        return LIMIT if isinstance(error, (LimitReached, NotBack)) else OWN_ERROR
    except OSError as error:
        if isinstance(error, BrokenPipeError):  # whoever read our output is gone: end as if SIGPIPE had done it
            return KILLED + 13
        complain(said_of(error))
        return OWN_ERROR
    except KeyboardInterrupt:
        return KILLED + 2
    finally:
        sys.stdout = real
        _give_up_output(real)


def _give_up_output(real: TextIO) -> None:
    """What standard output does not take has been complained of: Python does not try again at its end."""
    try:
        real.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


_closed: set[int] = set()
"""Which of the descriptors 0 to 2 the user has closed (``<&-``)."""


def _occupy_closed() -> None:
    """Put /dev/null where the user has closed a descriptor: a file of ours would get its number, and be the guest's."""
    for fd, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            _closed.add(fd)
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(fd, mode, closefd=False))  # noqa: SIM115 (it lives as long as we)


def _end_in_order(number: int, frame: Any) -> None:
    raise SystemExit(KILLED + number)


def command() -> int:
    """`main` as a process of its own.  Nothing is garbage until the machine is up, and nothing is collected when it is
    gone: that is 20 ms of 140."""
    gc.disable()
    _occupy_closed()
    try:
        return main()
    finally:
        gc.freeze()


def shell() -> int:
    """What the shell calls: `command`, after which the process ends, without taking itself apart (4 ms)."""
    status = command()
    if _is_alone():
        _leave(status)
    return status


def _is_alone() -> bool:
    """Whether nothing of this process waits for us: no thread, and nobody below who has called us, as `coverage run`
    and `python -m cProfile` do."""
    frame = sys._getframe(2).f_back
    while frame is not None and frame.f_globals.get("__name__") == "runpy":
        frame = frame.f_back
    return frame is None and threading.active_count() == 1


def _leave(status: int) -> None:
    """End the process as Python does, but for the modules, which it would empty one by one.  Comes back where an output
    can't be flushed: Python has its own way of saying so."""
    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except (OSError, ValueError):
        return
    os._exit(status)


if __name__ == "__main__":
    sys.exit(shell())
