"""The command ``nopage``."""

from __future__ import annotations

import argparse
import difflib
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn, Optional

from machine import __version__
from machine.config import MachineConfig, parse_bind, parse_env, parse_ram, parse_seconds, parse_user
from machine.errors import ConfigError, NopageError

OWN_ERROR, USAGE_ERROR = 125, 2
KILLED = 128
"""Added to a signal's number."""

ABOUT = """\
nopage is a PC in software: compiled x86 programs run on an emulated CPU with a Linux kernel and device drivers
that are written in Python, and every page fault and system call can be watched.

usage:
  nopage run [OPTIONS] PROGRAM [ARG...]    run a program in a fresh machine
  nopage devices [NAME]                    list the device drivers, or describe one
  nopage VERB --help                       explain a verb and its options
  nopage --version

examples:
  nopage run hello                         a demo program, from the guest's /usr/local/bin
  nopage run ls -l /                       a program of this computer, in the machine
  nopage run --strace ./a.out              with every system call, as strace shows it
  nopage run --device scullp --faults mapper /dev/scullp0 0 140
                                           with a driver, and every page fault from the instruction to the driver
"""

EXAMPLES = """\
A PROGRAM without a / is looked for in the guest's PATH, where the demo programs are in /usr/local/bin; with one it is a
path in the guest or on this computer. The guest sees the system directories of this computer and the current directory,
read-only below a layer of its own: nothing here is changed but in a --bind with :rw.

examples:
  nopage run ./a.out --its-own-option              everything after PROGRAM is the guest's
  nopage run --device scullp,scullp_qset=100 --exec 'sh -c "ls /dev > /dev/scullp0"' --exec 'mapper /dev/scullp0 0 40'
                                                   two programs one after another in one machine
  nopage run --faults=faults.txt --strace=calls.txt ./a.out
  nopage run -L ~/debian-root /bin/sh              another root directory
  nopage run --bind ./data:/data:rw ./a.out /data  a directory that the guest may write

exit status: the program's own; 128+N when signal N killed it; 124 after --timeout; 125 for an error of nopage;
126 when the program can't be executed; 127 when it is not there; 2 for a mistake on the command line.
"""


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
    Option(("--ram",), "SIZE", "the machine's memory, 16M to 16G (512M)", "ram", parse_ram),
    Option(("--strace",), "[=FILE]", "show every system call and signal, on standard error or in FILE", "strace"),
    Option(("--faults",), "[=FILE]", "show every page fault, on standard error or in FILE", "faults"),
    Option(("--deterministic",), "", "virtual clock, fixed addresses and entropy: two runs are alike", "deterministic"),
    Option(("--timeout",), "SECONDS", "kill everything after this time", "timeout", parse_seconds),
    Option(("--env",), "NAME=VALUE|-NAME", "set or remove a variable of the guest's environment", "env", parse_env,
           True),
    Option(("--user",), "UID[:GID]", "who the guest's programs run as (0:0, root)", "user", parse_user),
    Option(("--export",), "DIR", "keep the files that the guest wrote to its own layer: put them into DIR", "export"),
    Option(("--exec",), "'COMMAND LINE'", "run this command first; again for more; words are split as a shell does",
           "commands", str, True),
    Option(("-v", "--verbose"), "", "show the kernel's log, and what each program took", "verbose"),
)  # fmt: skip
_BY_NAME = {name: option for option in RUN_OPTIONS for name in option.names}


class _Parser(argparse.ArgumentParser):
    """Errors as ``nopage: what is wrong``, then where the help is; status 2."""

    def error(self, message: str) -> NoReturn:
        complain(f"{message}\nTry '{self.prog} --help'.")
        raise SystemExit(USAGE_ERROR)


class _Help(argparse.RawDescriptionHelpFormatter):
    """Wide, and ``--strace[=FILE]`` as it is typed."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=118)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if action.metavar == "[=FILE]":
            return f"{action.option_strings[0]}[=FILE]"
        return super()._format_action_invocation(action)


def complain(text: str) -> None:
    """One message on standard error."""
    sys.stderr.write(f"nopage: {text}\n")
    sys.stderr.flush()


def _did_you_mean(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, 1)
    return f"; did you mean {close[0]}?" if close else ""


# -- the command line of `nopage run` --------------------------------------------------------------------


def split_command(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """(options, the guest's command line): options end at ``--`` or at the first word that is none.

    Values are joined to their options (``--env=-NAME``), so that no value is taken for an option.
    ValueError for an unknown option or a missing value.
    """
    options: list[str] = []
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
        option = _BY_NAME.get(name)
        if option is None and not word.startswith("--") and short in _BY_NAME and _BY_NAME[short].metavar:
            options += [short + word[2:]]  # -LROOT
            continue
        if option is None:
            raise ValueError(f"unknown option {name}" + _did_you_mean(name, list(_BY_NAME)))
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


def _checked(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def run_parser() -> argparse.ArgumentParser:
    """The options of ``nopage run``; the guest's own command line is taken off before."""
    parser = _Parser(
        prog="nopage run",
        usage="nopage run [OPTIONS] PROGRAM [ARG...]\n"
        "       nopage run [OPTIONS] --exec 'COMMAND LINE'... [PROGRAM [ARG...]]",
        description="Run a compiled program in a fresh machine.",
        epilog=EXAMPLES,
        formatter_class=_Help,
        allow_abbrev=False,
    )
    for option in RUN_OPTIONS:
        if not option.metavar:
            parser.add_argument(*option.names, action="store_true", dest=option.dest, help=option.help)
        elif option.metavar == "[=FILE]":
            parser.add_argument(*option.names, metavar=option.metavar, dest=option.dest, help=option.help)
        else:
            parser.add_argument(
                *option.names, metavar=option.metavar, dest=option.dest, help=option.help, type=_checked(option.parse),
                action="append" if option.many else "store",
            )  # fmt: skip
    return parser


def parse_run(words: Sequence[str]) -> tuple[argparse.Namespace, list[list[str]]]:
    """(options, command lines to run one after another).  Mistakes end with status 2."""
    parser = run_parser()
    try:
        options, program = split_command(words)
    except ValueError as error:
        parser.error(str(error))
    chosen = parser.parse_args(options)
    commands = []
    for line in chosen.commands or []:
        try:
            command = shlex.split(line)
        except ValueError as error:
            parser.error(f"--exec {line!r}: {error}")
        if not command:
            parser.error("--exec with no command in it")
        commands.append(command)
    if program:
        commands.append(program)
    if not commands:
        parser.error("no program given")
    return chosen, commands


def _config(chosen: argparse.Namespace) -> MachineConfig:
    config = MachineConfig(
        root=chosen.root,
        binds=chosen.binds or [],
        devices=chosen.devices or [],
        deterministic=chosen.deterministic,
        env=chosen.env or [],
        export=chosen.export,
    )
    config.ram = chosen.ram or config.ram
    config.user = chosen.user or config.user
    if config.root is not None and not os.path.isdir(config.root):
        raise ConfigError(f"{config.root}: the root must be a directory" + ("" if os.path.exists(config.root) else
                          "; there is none of that name"))  # fmt: skip
    for host, _, _ in config.binds:
        if not os.path.exists(host):
            raise ConfigError(f"--bind: {host}: No such file or directory")
    return config


def run(words: Sequence[str]) -> int:
    """``nopage run``: the exit status."""
    chosen, commands = parse_run(words)
    config = _config(chosen)
    for command, name in zip(commands, config.place([command[0] for command in commands]), strict=True):
        command[0] = name
    from machine.session import Session

    return Session(config, chosen).run(commands)


# -- nopage devices ---------------------------------------------------------------------------------------------


def devices(words: Sequence[str]) -> int:
    """``nopage devices [NAME]``."""
    parser = _Parser(
        prog="nopage devices",
        description="List the device drivers with their parameters, or describe one.",
        epilog="Load one with: nopage run --device NAME[,parameter=value]... PROGRAM",
        allow_abbrev=False,
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="the driver to describe")
    chosen = parser.parse_args(list(words))
    from machine.kernel.module import available_drivers, drivers_directory

    drivers = {name: (about, rows) for name, about, rows in available_drivers()}
    if chosen.name is None:
        width = max(map(len, drivers), default=0)
        for name, (about, rows) in drivers.items():
            print(f"{name:<{width}}  {about}")
            for each in rows:
                print(f"{'':<{width}}    {_parameter(each)}")
        return 0
    if chosen.name not in drivers:
        complain(f"no driver '{chosen.name}'" + _did_you_mean(chosen.name, list(drivers)) + "\nTry 'nopage devices'.")
        return OWN_ERROR
    about, rows = drivers[chosen.name]
    print(f"{chosen.name}: {about}\n\n{_documentation(drivers_directory() / (chosen.name + '.py'))}".rstrip())
    if rows:
        print("\nparameters:")
        for each in rows:
            print(f"  {_parameter(each)}")
    return 0


def _documentation(path: os.PathLike[str]) -> str:
    """The docstring of a driver's file."""
    import ast

    with open(path, encoding="utf-8") as source:
        return ast.get_docstring(ast.parse(source.read())) or ""


def _parameter(row: tuple[str, str, Any, str]) -> str:
    name, kind, default, about = row
    return f"{name}={default}  ({kind})" + (f"  {about}" if about else "")


# -- the verbs -----------------------------------------------------------------------------------------------------

VERBS: dict[str, Callable[[Sequence[str]], int]] = {"run": run, "devices": devices}


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
        sys.stderr.write(ABOUT)
        return USAGE_ERROR
    verb, *rest = words
    if verb in ("-h", "--help", "help"):
        if rest and rest[0] in VERBS:
            return VERBS[rest[0]](["--help"])
        sys.stdout.write(ABOUT)
        return 0
    if verb in ("-V", "--version"):
        print(version())
        return 0
    if verb in VERBS:
        return VERBS[verb](rest)
    if "/" in verb or os.path.isfile(verb):
        hint = f"; to run a program: nopage run {shlex.quote(verb)}"
    else:
        hint = _did_you_mean(verb, list(VERBS)) or f"; there are: {', '.join(VERBS)}"
    complain(f"unknown verb '{verb}'{hint}\nTry 'nopage --help'.")
    return USAGE_ERROR


def main(argv: Optional[Sequence[str]] = None) -> int:
    """The entry point: the exit status."""
    try:
        status = dispatch(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        return status
    except NopageError as error:
        complain(str(error))
        return OWN_ERROR
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # Whoever read our output is gone: end as if SIGPIPE had done it, without Python's complaint at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return KILLED + 13
        complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return OWN_ERROR
    except KeyboardInterrupt:
        return KILLED + 2


if __name__ == "__main__":
    sys.exit(main())
