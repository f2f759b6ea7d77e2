"""``nopage compare``: the command line."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from typing import Any, Optional

from machine.compare.compare import TIMEOUT, Comparison, compare
from machine.compare.difference import Ignore
from machine.config import parse_bind, parse_env, parse_ram, parse_seconds
from machine.errors import ConfigError, TimeoutExpired
from machine.parsers import Parser, checked

SAME, DIFFERENT, USAGE_ERROR, TIMED_OUT, OWN_ERROR = 0, 1, 2, 124, 125

EPILOG = """\
PROGRAM runs twice on the same inputs: on this computer, and in a machine of nopage. Either side works in a copy of the
current directory, or of --files DIR. Compared are: standard output, standard error, the exit status or the signal, the
files in the working directory (names, modes, links, contents), and, where strace is installed, the sequence of system
calls of each task with addresses, process numbers, times and random bytes left out. The first difference is shown.

Not compared: time, owners and times of files, files elsewhere (/tmp, /dev/shm), the order of output against errors,
terminals.

The native run is behind a fence: it sees this computer's files read-only, but for its copy and an empty /tmp, and no
network and no processes but its own. What you may read it may read. Where namespaces are not allowed there is no fence:
then nothing runs, unless --unfenced says that it may run with all your rights.

examples:
  nopage compare -- sort -n numbers
  nopage compare --no-trace -- sh -c 'ls -l | wc -l; make'
  nopage compare --files tests/data --stdin input.txt -- ./a.out -v
  nopage compare --ignore calls --ignore 'file:*.log' --ignore 'text:[0-9]+ ms' -- ./bench

exit status: 0 the same; 1 different; 124 a side was still running after --timeout; 125 an error of nopage, or a
program that neither side can start; 2 a mistake on the command line.
"""


def _ignorable(text: str) -> str:
    Ignore.parse([text])
    return text


def parser() -> argparse.ArgumentParser:
    """The options; what follows them is the program's."""
    result = Parser(
        prog="nopage compare",
        usage="nopage compare [OPTIONS] [--] PROGRAM [ARG...]",
        description="Run a program natively and in a machine, and show the first difference.",
        epilog=EPILOG,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=30, width=118),
        allow_abbrev=False,
    )
    add = result.add_argument
    add("--files", "--cwd", metavar="DIR", help="what is in the working directory (a copy of the current one)")
    add("--no-files", action="store_true", help="an empty working directory")
    add("--stdin", metavar="FILE", help="standard input (/dev/null)")
    add(
        "--bind",
        metavar="HOST:PATH",
        action="append",
        default=[],
        type=checked(parse_bind),
        dest="binds",
        help="show a file or directory of this computer at PATH, read-only, to both",
    )
    add(
        "--env",
        metavar="NAME=VALUE|-NAME",
        action="append",
        default=[],
        type=checked(parse_env),
        help="set or remove a variable of both sides' environment",
    )
    add("--no-trace", action="store_true", help="do not compare system calls")
    add(
        "--ignore",
        metavar="WHAT",
        action="append",
        default=[],
        type=checked(_ignorable),
        help="don't compare stdout, stderr, status, files, calls; file:PATTERN; call:NAME; text:REGEX",
    )
    add(
        "--timeout",
        metavar="SECONDS",
        type=checked(parse_seconds),
        default=TIMEOUT,
        help=f"kill a side that is still running after this time ({TIMEOUT:g})",
    )
    add("--ram", metavar="SIZE", type=checked(parse_ram), help="the machine's memory, 16M to 16G (512M)")
    add("--unfenced", action="store_true", help="run the native program without a fence")
    add("--all", action="store_true", help="show every difference")
    add("--json", action="store_true", help="the result as JSON on standard output")
    add("program", nargs=argparse.REMAINDER, metavar="PROGRAM", help=argparse.SUPPRESS)
    return result  # fmt: skip


def main(words: Sequence[str]) -> int:
    """``nopage compare``: the exit status."""
    options = parser()
    chosen = options.parse_args(list(words))
    argv = chosen.program[1:] if chosen.program[:1] == ["--"] else chosen.program
    if not argv:
        options.error("no program given")
    if any(writable for _, _, writable in chosen.binds):
        options.error("--bind: both sides would write to one place; name it with --files, which copies")
    if chosen.no_files and chosen.files:
        options.error("--files and --no-files")
    for host, _, _ in chosen.binds:
        if not os.path.exists(host):
            raise ConfigError(f"--bind: {host}: No such file or directory")
    if chosen.unfenced:
        sys.stderr.write(f"nopage: {argv[0]} runs natively without a fence: it can change whatever you can\n")
    try:
        result = compare(
            argv,
            files=None if chosen.no_files else chosen.files or os.getcwd(),
            stdin=chosen.stdin,
            extra_env=chosen.env,
            binds=[(os.path.abspath(host), guest) for host, guest, _ in chosen.binds],
            trace=not chosen.no_trace and "calls" not in chosen.ignore,
            timeout=chosen.timeout,
            ignore=chosen.ignore,
            fence=not chosen.unfenced,
            **({} if chosen.ram is None else {"ram": chosen.ram}),
        )
    except TimeoutExpired as error:
        sys.stderr.write(f"nopage: {error}\n")
        return TIMED_OUT
    return _report(result, chosen.json, chosen.all)


def _report(result: Comparison, as_json: bool, every: bool) -> int:
    if as_json:
        json.dump(to_json(result), sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        width = shutil.get_terminal_size((118, 24)).columns if sys.stdout.isatty() else 118
        sys.stdout.write(result.text(max(60, width), every) + "\n")
    if result.timed_out:
        return TIMED_OUT
    if result.native.error is not None and result.nopage.error is not None:
        return OWN_ERROR
    return SAME if result.same else DIFFERENT


def to_json(result: Comparison) -> dict[str, Any]:
    """Everything but the outputs themselves and the files."""

    def side(run: Any) -> dict[str, Optional[object]]:
        return {
            "exit": run.exit, "signal": run.signal, "errno": run.error, "timed_out": run.timed_out,
            "stdout_bytes": len(run.stdout), "stderr_bytes": len(run.stderr), "seconds": round(run.seconds, 3),
        }  # fmt: skip

    return {
        "argv": result.argv,
        "same": result.same,
        "system_calls_compared": result.watched,
        "notes": result.notes,
        "native": side(result.native),
        "nopage": side(result.nopage),
        "differences": [
            {"part": each.part, "what": each.what, "line": None if each.at is None else each.at + 1,
             "native": _near(each.native, each.at), "nopage": _near(each.nopage, each.at)}
            for each in result.differences
        ],
    }  # fmt: skip


def _near(lines: list[str], at: Optional[int]) -> list[str]:
    return lines if at is None else lines[at : at + 1]
