"""``nopage sweep``: the command line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from machine.config import parse_ram, parse_seconds
from machine.errors import ConfigError, NopageError
from machine.parsers import Parser, checked
from machine.sweep.job import Job, make_run
from machine.testing import messages
from machine.testing.foreach import FaultReport, Kind, Outcome, check_status, offered, spread

SURVIVED, NOT_SURVIVED, USAGE_ERROR, INTERRUPTED = 0, 1, 2, 130

EPILOG = """\
PROGRAM runs once without a failure, and then once for each thing that can fail, each time in a fresh machine with a
virtual clock. KIND says what fails:

  ENOMEM          one system call that asks for memory
  oom             one page frame: ENOMEM, or the kernel ends a process, as on Linux
  sigbus          one access to the memory of a device or of a shared file
  syscall:NAME    one call of that name, with its usual error (syscall:read=EINTR: with this one)
  short:NAME      one call of that name gets a byte

Without a failure PROGRAM ends with status 0 (--status N: with N); else nothing is tried.

A run is survived when the program does as without the failure, ends with another exit status than 0, or is ended by the
kernel for want of memory; not when a signal kills it, it hangs, says success with another output, or leaves the machine
unclean.

The runs are made by --jobs processes here, or by the workers of a Dask cluster: pip install 'nopage[sweep]' there and
here, `dask scheduler` on one computer, `dask worker tcp://THAT:8786 --nthreads 1 --nworkers auto` on each. The program,
the models and --file go there with the job; the libraries of a dynamic program are the worker's own.

examples:
  nopage sweep --attach /dev/uio0=timer.py:Timer -- ./timerctl start
  nopage sweep --kind sigbus --html sweep.html --attach /dev/mem@0xfe000000=gpio.py:Gpio -- ./gpio 4 high
  nopage sweep --kind oom --journal oom.jsonl --scheduler tcp://build1:8786 -- ./server --once

exit status: 0 all survived; 1 some were not; 125 an error of nopage, the program can't be started or fails by itself,
or there is nothing to fail; 2 a mistake on the command line; 130 after Ctrl-C: with --journal the same command goes on.
"""


def _kind(text: str) -> str:
    Kind(text)
    return text


def _count(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise ValueError(f"'{text}' is not a number, 1 or more")
    return int(text)


def _status(text: str) -> int:
    if not text.isdecimal() or int(text) > 255:
        raise ValueError(f"'{text}' is no exit status, 0 to 255")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """The options; what follows them is the program's."""
    result = Parser(
        prog="nopage sweep",
        usage="nopage sweep [OPTIONS] [--] PROGRAM [ARG...]",
        description="Run a program once for each thing that can fail, and say which it survives.",
        epilog=EPILOG,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=30, width=118),
        allow_abbrev=False,
    )
    add = result.add_argument
    add("--kind", default="ENOMEM", type=checked(_kind), help="what fails (ENOMEM)")
    add("--attach", action="append", default=[], metavar="WHERE=FILE.py:CLASS", help="a device model, as in nopage run")
    add("--device", action="append", default=[], metavar="NAME", help="a driver, as in nopage run")
    add("--board", metavar="NAME|FILE", help="another PC")
    add("--ram", type=checked(parse_ram), default=64 << 20, metavar="SIZE", help="memory of each machine (64M)")
    add("--timeout", type=checked(parse_seconds), default=30.0, metavar="SECONDS", help="when a run hangs (30)")
    add("--status", type=checked(_status), default=0, metavar="N", help="how PROGRAM ends without a failure (0)")
    add("--stdin", metavar="FILE", help="standard input (/dev/null)")
    add(
        "--file",
        action="append",
        default=[],
        metavar="FILE",
        help="a file that the program reads, to go to the workers",
    )
    add("--limit", type=checked(_count), metavar="N", help="so many runs, spread evenly (all)")
    add("-j", "--jobs", type=checked(_count), metavar="N", help="processes (as many as there are processors)")
    add("--scheduler", metavar="tcp://HOST:PORT", help="have the workers of a Dask cluster make the runs")
    add("--journal", metavar="FILE.jsonl", help="keep what is done there; the same command goes on where it ended")
    add("--html", metavar="FILE", help="write a page about it")
    add("-q", "--quiet", action="store_true", help="no progress, no table: only the last line")
    add("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return result


def sweep_command(words: Sequence[str]) -> int:
    """The exit status."""
    options = parser()
    chosen = options.parse_args(words)
    command = chosen.command[1:] if chosen.command[:1] == ["--"] else chosen.command
    if not command:
        options.error("no program given")
    job = make_job(chosen, command)
    clean, total = make_run(job, 0, None)
    check_status(" ".join(command), clean, chosen.status, f"--status {clean.exit}")
    if not total:
        head = FaultReport(job.kind, " ".join(command), [], 0).head()
        offers = offered(job.plan(), job.scenario)
        raise ConfigError(messages.nothing_failed(head, 1, clean.calls, offers))
    numbers = spread(total, chosen.limit)
    from machine.sweep.journal import Journal

    journal = Journal(chosen.journal, job.fingerprint(), total)
    outcomes = {n: journal.done[n] for n in numbers if n in journal.done}
    left = [n for n in numbers if n not in outcomes]
    try:
        _make_runs(job, clean, left, outcomes, journal, chosen)
    except KeyboardInterrupt:
        sys.stderr.write(f"nopage: {messages.sweep_interrupted(len(outcomes), len(numbers), chosen.journal)}\n")
        return INTERRUPTED
    except NopageError as error:
        text = messages.sweep_stopped(str(error), len(outcomes), len(numbers), chosen.journal)
        raise ConfigError(text) from None
    finally:
        journal.close()
    report = FaultReport(job.kind, " ".join(command), [outcomes[n] for n in numbers], total)
    return _finish(report, chosen)


def make_job(chosen: argparse.Namespace, command: Sequence[str]) -> Job:
    """The job that the command line describes, with its files."""
    job = Job(list(command), chosen.kind, chosen.ram, chosen.timeout, board=chosen.board, devices=list(chosen.device))
    try:
        if chosen.stdin is not None:
            with open(chosen.stdin, "rb") as stream:
                job.stdin = stream.read()
        if "/" in command[0]:
            job.command[0] = os.path.abspath(command[0])
            job.carry(command[0])
        for path in chosen.file:
            job.carry(path)
        for each in chosen.attach:
            where, _, model = each.partition("=")
            path, colon, name = model.partition(":")
            if not path or not colon or not name:
                raise ConfigError(messages.no_attachment(each))
            job.carry(path)
            job.attach.append(f"{where}={os.path.abspath(path)}:{name}")
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from None
    return job


def _make_runs(
    job: Job, clean: Outcome, left: Sequence[int], outcomes: dict[int, Outcome], journal: Any,
    chosen: argparse.Namespace,
) -> None:  # fmt: skip
    if not left:
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from machine.sweep import places

    if chosen.scheduler:
        source = places.by_dask(job, left, clean, chosen.scheduler)
    else:
        source = places.on_this_computer(job, left, clean, chosen.jobs or os.cpu_count() or 1)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    shows = not chosen.quiet and sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), disable=not shows) as progress:
        bar = progress.add_task(job.kind, total=len(left) + len(outcomes), completed=len(outcomes))
        for outcome in source:
            outcomes[outcome.n] = outcome
            journal.add(outcome)
            progress.advance(bar)


def _finish(report: FaultReport, chosen: argparse.Namespace) -> int:
    if chosen.html is not None:
        from machine.sweep.summary import page

        try:
            with open(chosen.html, "w", encoding="utf-8") as stream:
                stream.write(page(report))
        except OSError as error:
            raise ConfigError(f"--html {chosen.html}: {error.strerror}") from None
    if report.failures and not chosen.quiet:
        print(report.table(report.failures))
    print(report.head())
    return NOT_SURVIVED if report.failures else SURVIVED
