"""A program run once for each thing that can fail: `for_each_fault`.

::

    def test_survives(for_each_fault):
        report = for_each_fault(lambda run: run("./timerctl", "start"), "ENOMEM")
        report.assert_survived()

The kinds:

* ``"oom"``: no memory for one page frame: ENOMEM, or the kernel ends a process, as on Linux;
* ``"ENOMEM"``: one system call that asks for memory fails;
* ``"sigbus"``: one access to the memory of a device or of a shared file is a bus error;
* ``"syscall:read"``, ``"syscall:read=EINTR"``: one call of that name fails, with its usual error or with this one;
* ``"short:read"``: one call of that name gets a byte.

A first run without failure counts how many there are; each of the others has a fresh machine, in which one fails.
That first run ends with status 0, or the test says with which: ``status=3``.
"""

from __future__ import annotations

import re
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional, Union

from machine.errors import ConfigError, NopageError, Stuck, TimeoutExpired, is_the_users
from machine.observe.output import one_line
from machine.testing import messages
from machine.testing.harness import TAIL_BYTES, Harness, Plan, ProgramFailed
from machine.testing.inject import Inject, Injection
from machine.testing.results import RunResult, shown

__tracebackhide__ = is_the_users

MEMORY_CALLS = frozenset(
    ("brk", "mmap", "mmap2", "mremap", "mprotect", "mlock", "mlockall", "clone", "clone3", "fork", "vfork", "shmget",
     "memfd_create")
)  # fmt: skip
"""System calls that get memory for their caller: what ``"ENOMEM"`` has fail."""
USUAL = {"open": "EMFILE", "openat": "EMFILE", "mmap": "ENOMEM", "mmap2": "ENOMEM", "brk": "ENOMEM", "clone": "EAGAIN",
         "fork": "EAGAIN", "vfork": "EAGAIN", "write": "ENOSPC", "pwrite64": "ENOSPC", "writev": "ENOSPC",
         "close": "EIO"}  # fmt: skip
"""What a call fails with when nobody says it; others give EIO."""
SAME, CLEAN, KILLED, WRONG, SIGNAL, HANG, LEAK, CHECK, MISSED = (
    "same", "clean error", "out of memory", "wrong", "signal", "hang", "leak", "check", "not reached",
)  # fmt: skip
SURVIVED = frozenset((SAME, CLEAN, KILLED, MISSED))
EXPLAINED = {
    SAME: "exit status and output as without the failure",
    CLEAN: "another exit status than 0",
    KILLED: "the kernel ended it for want of memory",
    WRONG: "exit status as without the failure, and another output",
    SIGNAL: "a signal killed it",
    HANG: "it did not end",
    LEAK: "the machine was not clean afterwards",
    CHECK: "the test's own check failed",
    MISSED: "it took another way before",
}
SHOWN_STRACES = 3
Scenario = Union[Callable[[Any], Any], Sequence[Any]]


@dataclass(frozen=True)
class Outcome:
    """One run."""

    n: int
    what: str
    """What failed: the call or the address, and where in the program."""
    verdict: str
    """One of `EXPLAINED`."""
    exit: int = 0
    detail: str = ""
    """The fatal line, the tasks of a hang, complaints; of the run without failure its fatal line and standard error."""
    stdout: bytes = b""
    calls: tuple[str, ...] = ()
    """Of the run without failure: the names of its system calls."""
    strace: str = ""
    """With --nopage-strace, of a run that was not survived: its system calls."""

    @property
    def survived(self) -> bool:
        """Whether the program took it well."""
        return self.verdict in SURVIVED


class FaultReport(Sequence[Outcome]):
    """What a program survives; its str is a table."""

    def __init__(
        self,
        kind: str,
        command: str,
        outcomes: Sequence[Outcome],
        total: int,
        calls: Sequence[str] = (),
        offers: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self.kind, self.command, self.calls = kind, command, calls
        self.offers = offers
        """Other kinds, and how many of each could fail."""
        self.outcomes = list(outcomes)
        self.total = total
        """How many there were to fail; more than were run with `limit`."""

    def __getitem__(self, index: Any) -> Any:
        return self.outcomes[index]

    def __len__(self) -> int:
        return len(self.outcomes)

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self.outcomes)

    @property
    def failures(self) -> list[Outcome]:
        """Those that it did not survive."""
        return [each for each in self.outcomes if not each.survived]

    def counts(self) -> dict[str, int]:
        """Verdict -> how many."""
        found = {verdict: sum(each.verdict == verdict for each in self.outcomes) for verdict in EXPLAINED}
        return {verdict: count for verdict, count in found.items() if count}

    def table(self, outcomes: Sequence[Outcome]) -> str:
        """A line each, and what there is to say about it below."""
        lines = [f"{'n':>5}  {'verdict':<13} {'exit':>4}  what failed"]
        for each in outcomes:
            lines.append(f"{each.n:>5}  {each.verdict:<13} {each.exit:>4}  {each.what}")
            if not each.survived:
                lines += [f"{'':>26}{line}" for line in each.detail.splitlines()]
        return "\n".join(lines)

    def head(self) -> str:
        """``timerctl start, oom: 12 runs: 10 clean error, 2 signal``."""
        counts = ", ".join(f"{count} {verdict}" for verdict, count in self.counts().items())
        left = f" (of {self.total})" if self.total > len(self) else ""
        return f"{self.command}, {self.kind}: {len(self)} runs{left}: {counts or 'nothing to fail'}"

    def __str__(self) -> str:
        return f"{self.head()}\n{self.table(self.outcomes)}"

    def __repr__(self) -> str:
        return f"<{self.head()}>"

    def assert_survived(self, at_least: int = 1) -> None:
        """AssertionError with the runs that it did not survive, or when fewer than `at_least` things could fail."""
        __tracebackhide__ = True
        if len(self) < at_least:
            raise AssertionError(messages.nothing_failed(self.head(), at_least, self.calls, self.offers()))
        if self.failures:
            raise AssertionError(messages.not_survived(self.head(), self.table(self.failures), self.again()))

    def sections(self) -> list[tuple[str, str]]:
        """(heading, text) for pytest's report of a failed test: the system calls of the first that failed."""
        traced = [each for each in self.failures if each.strace]
        return [(f"nopage strace: {self.kind}, run {each.n}", each.strace) for each in traced[:SHOWN_STRACES]]

    def again(self) -> str:
        """How to look at the first failure alone."""
        return Kind(self.kind).again(self.failures[0].n)


class Kind:
    """One of the words of `for_each_fault`; ConfigError for another."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.names: frozenset[str] = frozenset()
        self.errno: Optional[str] = None
        self.short: Optional[int] = None
        kind, colon, rest = text.partition(":")
        if text == "ENOMEM":
            self.names, self.errno = MEMORY_CALLS, "ENOMEM"
        elif kind == "syscall" and rest:
            name, _, errno = rest.partition("=")
            self.names, self.errno = frozenset((name,)), errno or USUAL.get(name, "EIO")
        elif kind == "short" and rest:
            self.names, self.short = frozenset((rest,)), 1
        elif text not in ("oom", "sigbus") or colon:
            raise ConfigError(messages.no_such_kind(text))

    def arm(self, inject: Inject, n: int) -> Injection:
        """Have the n-th fail; 0: none, they are counted."""
        if not self.names:
            return inject(self.text, nth=n)
        made = Injection(self.text, n, 1)
        inject.all.append(made)
        return inject.calls(made, self.names, self.errno, self.short)

    def again(self, n: int) -> str:
        """The call of `inject` for one."""
        if not self.names or len(self.names) > 1:
            return (
                f"for_each_fault(..., {self.text!r}, only=[{n}])" if self.names else f"inject({self.text!r}, nth={n})"
            )
        how = f"errno={self.errno!r}" if self.errno else f"short={self.short}"
        return f"inject({next(iter(self.names))!r}, {how}, nth={n})"


def scenario_of(what: Scenario) -> Callable[[Any], Any]:
    """A function of `run`; a list of words is a command line."""
    if callable(what):
        return what
    words = list(what)
    return lambda run: run(*words)


@dataclass(frozen=True)
class Views:
    """What is to be kept of a run, besides its outcome."""

    report: Optional[Path] = None
    """The test's own HTML report: a run's is beside it, ``NAME-oom-3.html``."""
    waves: Optional[Path] = None
    strace: bool = False
    keep_all: bool = False
    """Of runs that were survived too."""

    @staticmethod
    def path(path: Optional[Path], kind: Kind, n: int) -> Optional[Path]:
        """The file of one run."""
        name = re.sub(r"[^\w.=+]+", "-", kind.text)
        return None if path is None or not n else path.with_name(f"{path.stem}-{name}-{n}{path.suffix}")


def run_one(
    plan: Plan, what: Scenario, kind: Kind, n: int, clean: Optional[Outcome] = None, views: Optional[Views] = None
) -> tuple[Outcome, int]:
    """(how run `n` went, how many could have failed): in a fresh machine.  `clean` is the run without failure."""
    views = views or Views()
    harness = Harness(plan, strace=views.strace and n > 0, report=views.path(views.report, kind, n))
    waves = views.path(views.waves, kind, n) if plan.attachments else None
    if waves is not None:
        waves.parent.mkdir(parents=True, exist_ok=True)
        harness.closers.append(harness.machine.waves(waves))
    inject = Inject(harness)
    made = kind.arm(inject, n)
    last: Optional[RunResult] = None
    trouble = detail = ""
    try:
        last = scenario_of(what)(harness.run)
        if not isinstance(last, RunResult):
            last = harness.last()
    except (TimeoutExpired, Stuck) as error:
        if not n:
            harness.close(unload=False)
            raise
        trouble, detail = HANG, str(error)
    except ProgramFailed:
        last = harness.last()
    except NopageError as error:
        trouble, detail = CLEAN, str(error)  # it could not even be started
        if not made.hits:  # and not because something failed
            harness.close()
            raise
    except Exception as error:
        if not n:
            harness.close()
            raise
        trouble, detail, last = CHECK, traceback.format_exception_only(error)[-1].strip(), harness.last()
    outcome = _outcome(n, made, last, trouble, detail)
    if not trouble:
        outcome = _judge(outcome, last, kind, clean)
    kept = views.keep_all or outcome.verdict not in SURVIVED
    complaints = harness.close(keep_report=kept, unload=outcome.survived)
    if not n:
        outcome = replace(outcome, detail=_last_words(last))
    elif not made.hits:
        outcome = replace(outcome, verdict=MISSED)
    elif complaints and outcome.verdict in SURVIVED:
        outcome = replace(outcome, verdict=LEAK, detail="\n".join(complaints))
    if waves is not None and not kept:
        waves.unlink(missing_ok=True)
    if kept:
        outcome = replace(outcome, strace="".join(text for _, text in harness.strace_section()))
    return outcome, made.seen


def without_failure(plan: Plan, what: Scenario, kind: Kind, status: int = 0) -> tuple[Outcome, int]:
    """(how the run went that all others are compared with, how many things could have failed in it).

    ConfigError: it does not end with `status`.
    """
    clean, total = run_one(plan, what, kind, 0)
    check_status(name_of(what), clean, status, f"for_each_fault(..., status={clean.exit})")
    return clean, total


def check_status(name: str, clean: Outcome, status: int, option: str) -> None:
    """ConfigError, with the option for it: the run without failure has ended in another way than it should."""
    if clean.exit != status:
        raise ConfigError(messages.ends_without_failure(name, clean.exit, status, clean.detail, option))


def offered(plan: Plan, what: Scenario) -> dict[str, int]:
    """The kinds of failures that a program has no name of a system call for, and how many things of each could fail."""
    counts = {kind: run_one(plan, what, Kind(kind), 0)[1] for kind in ("ENOMEM", "oom", "sigbus")}
    return {kind: count for kind, count in counts.items() if count}


def _last_words(last: Optional[RunResult]) -> str:
    if last is None:
        return ""
    words = last.stderr[-TAIL_BYTES:].decode(errors="backslashreplace").splitlines()
    return "\n".join(one_line(line) for line in [last.fatal, *words] if line)


def _outcome(n: int, made: Injection, last: Optional[RunResult], trouble: str, detail: str) -> Outcome:
    what = made.hits[0] if made.hits else ""
    if last is None:
        return Outcome(n, what, trouble, 0, detail)
    calls = () if n else tuple(dict.fromkeys(each.name for each in last.syscalls))
    return Outcome(n, what, trouble, last.exit, detail, last.stdout, calls)


def _judge(outcome: Outcome, last: Optional[RunResult], kind: Kind, clean: Optional[Outcome]) -> Outcome:
    if last is not None and last.signal is not None:
        by_kernel = kind.text == "oom" and last.signal == signal.SIGKILL
        return replace(outcome, verdict=KILLED if by_kernel else SIGNAL, detail=last.fatal)
    if clean is None or (outcome.exit, outcome.stdout) == (clean.exit, clean.stdout):
        return replace(outcome, verdict=SAME)
    if outcome.exit != clean.exit and outcome.exit:
        text = "" if last is None else last.stderr.decode(errors="replace").strip()
        return replace(outcome, verdict=CLEAN, detail=text)
    return replace(outcome, verdict=WRONG, detail=f"without the failure: {clean.stdout!r}\nwith it: {outcome.stdout!r}")


def for_each_fault(
    plan: Plan,
    what: Scenario,
    kind: str,
    *,
    limit: Optional[int] = None,
    only: Sequence[int] = (),
    status: int = 0,
    workers: int = 1,
    progress: Callable[[Outcome], None] = lambda outcome: None,
    views: Optional[Views] = None,
) -> FaultReport:
    """Run `what` once for each thing of this kind that can fail.

    `limit` runs that many, spread evenly; `only` those; `workers` processes share the work.  `views` are kept of runs
    that are not survived, and of those in `only`.  What the run without failure raises comes through; ConfigError when
    it does not end with `status`.
    """
    parsed = Kind(kind)
    wants_classes(plan)
    if views is not None and only:
        views = replace(views, keep_all=True)
    clean, total = without_failure(plan, what, parsed, status)
    numbers = list(only) or spread(total, limit)
    outcomes: list[Outcome] = []

    def one(n: int, coverage: Any) -> Outcome:
        return run_one(replace(plan, coverage=coverage), what, parsed, n, clean, views)[0]

    source: Iterator[Outcome] = (one(n, plan.coverage) for n in numbers)
    if workers > 1:
        from machine.testing.forked import forked, sizes

        source = forked(one, numbers, workers, plan.coverage, lambda: sizes(what))
    for outcome in source:
        outcomes.append(outcome)
        progress(outcome)
    outcomes.sort(key=lambda outcome: outcome.n)
    return FaultReport(kind, name_of(what), outcomes, total, clean.calls, lambda: offered(plan, what))


def wants_classes(plan: Plan) -> None:
    """ConfigError for a model that is an object: each run needs a fresh one."""
    for where, model, _ in plan.attachments:
        if not isinstance(model, type):
            raise ConfigError(messages.wants_a_class(where, model))


def name_of(what: Scenario) -> str:
    """What a report calls it."""
    name = getattr(what, "__name__", "") if callable(what) else shown([str(word) for word in what])
    return "the program" if name in ("", "<lambda>") else name


def spread(total: int, limit: Optional[int]) -> list[int]:
    """1 to `total`, or `limit` numbers of them with the first and the last."""
    if limit is None or limit >= total:
        return list(range(1, total + 1))
    if limit <= 1:
        return [1][:limit]
    return sorted({1 + (total - 1) * i // (limit - 1) for i in range(limit)})
