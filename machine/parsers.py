"""What argparse says about the command line: help and mistakes.

A command line of ``nopage run`` without either is read by `options.chosen_options`, at a fifth of the time.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from machine.errors import ConfigError, complain
from machine.options import options_of

USAGE_ERROR = 2

ABOUT = """\
nopage is a PC in software: compiled x86 programs run on an emulated CPU with a Linux kernel and device drivers
that are written in Python, and every page fault and system call can be watched.

usage:
  nopage run [OPTIONS] PROGRAM [ARG...]    run a program in a fresh machine
  nopage debug [OPTIONS] PROGRAM [ARG...]  the same with gdb on it
  nopage watch [OPTIONS] PROGRAM [ARG...]  the same on a page of the browser: screen, keyboard, registers, memory
  nopage replay [OPTIONS] FILE             run what nopage run --record FILE has recorded once more
  nopage compare [OPTIONS] PROGRAM [ARG...]
                                           run it natively and here, and show the first difference
  nopage sweep [OPTIONS] PROGRAM [ARG...]  run it once for each thing that can fail
  nopage core FILE                         what a core of nopage run --core says: above all why the program died
  nopage boot [OPTIONS]                    run a board's power-on test and show its screen
  nopage boards [NAME|FILE]                list the boards, or show what is on one
  nopage devices [NAME|FILE]               list the device drivers, or describe one
  nopage new-driver NAME                   write the file that a driver of your own starts from
  nopage tour [SECTION...]                 the chapters on mmap as a guided session
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

Ctrl-C, SIGTERM, SIGHUP and the like are for the programs; the third SIGTERM or SIGHUP in 10 seconds kills them.

exit status: the program's own; 128+N when signal N killed it; 124 after --timeout, --max-ticks, --max-output and, when
killing a process did not help, --max-memory, and when a device model or a driver can't be stopped;
125 for an error of nopage, when a full disk kept back what programs wrote to a --bind by mapping it, and when the
debugger in a driver (breakpoint()) is left with quit;
126 when the program can't be executed; 127 when it is not there; 2 for a mistake on the command line.
"""


ABOUT_VERB = {
    "run": "Run a compiled program in a fresh machine.",
    "debug": "Run a compiled program in a fresh machine, with gdb on it: $GDB, or gdb. It stops before the first "
    "instruction; monitor help lists what the machine can be asked; without gdb here it waits for one.",
    "watch": "Run a compiled program in a fresh machine and show it on a page of the browser on this computer: the "
    "screen, the program's terminal with the keyboard, the registers of the cards, physical memory. The page's "
    "address, which nobody else knows, is printed; the program starts when the page is open, and nopage ends when "
    "the program has ended and the page is closed, or at Ctrl-C.",
}


class Parser(argparse.ArgumentParser):
    """Errors as ``nopage: what is wrong``, then where the help is; status 2."""

    def error(self, message: str) -> NoReturn:
        complain(f"{message}\nTry '{self.prog} --help'.")
        raise SystemExit(USAGE_ERROR)


class Help(argparse.RawDescriptionHelpFormatter):
    """Wide, and ``--strace[=FILE]`` as it is typed."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=118)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if action.metavar == "[=FILE]":
            return f"{action.option_strings[0]}[=FILE]"
        return super()._format_action_invocation(action)


def checked(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """An option's type: what `parse` says of a wrong value is what the user sees."""

    def convert(text: str) -> Any:
        try:
            return parse(text)
        except (ValueError, ConfigError) as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def run_parser(verb: str = "run") -> argparse.ArgumentParser:
    """The options of ``nopage run``; the guest's own command line is taken off before."""
    parser = Parser(
        prog=f"nopage {verb}",
        usage=f"nopage {verb} [OPTIONS] PROGRAM [ARG...]\n"
        f"       nopage {verb} [OPTIONS] --exec 'COMMAND LINE'... [PROGRAM [ARG...]]",
        description=ABOUT_VERB[verb],
        epilog=EXAMPLES,
        formatter_class=Help,
        allow_abbrev=False,
    )
    for option in options_of(verb):
        if not option.metavar:
            parser.add_argument(*option.names, action="store_true", dest=option.dest, help=option.help)
        elif option.metavar == "[=FILE]":
            parser.add_argument(*option.names, metavar=option.metavar, dest=option.dest, help=option.help)
        else:
            parser.add_argument(
                *option.names, metavar=option.metavar, dest=option.dest, help=option.help, type=checked(option.parse),
                action="append" if option.many else "store",
            )  # fmt: skip
    return parser
