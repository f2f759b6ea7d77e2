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
"""

from __future__ import annotations

import os
import pickle
import signal
import struct
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional, Union

from machine.errors import ConfigError, NopageError, Stuck, TimeoutExpired, is_the_users
from machine.testing import messages
from machine.testing.harness import Harness, Plan, ProgramFailed
from machine.testing.inject import Inject, Injection
from machine.testing.results import RunResult

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
    """The fatal line, the tasks of a hang, complaints."""
    stdout: bytes = b""
    calls: tuple[str, ...] = ()
    """Of the run without failure: the names of its system calls."""

    @property
    def survived(self) -> bool:
        """Whether the program took it well."""
        return self.verdict in SURVIVED


class FaultReport(Sequence[Outcome]):
    """What a program survives; its str is a table."""

    def __init__(
        self, kind: str, command: str, outcomes: Sequence[Outcome], total: int, calls: Sequence[str] = ()
    ) -> None:
        self.kind, self.command, self.calls = kind, command, calls
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
            raise AssertionError(messages.nothing_failed(self.head(), at_least, self.calls))
        if self.failures:
            raise AssertionError(messages.not_survived(self.head(), self.table(self.failures), self.again()))

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


def run_one(plan: Plan, what: Scenario, kind: Kind, n: int, clean: Optional[Outcome] = None) -> tuple[Outcome, int]:
    """(how run `n` went, how many could have failed): in a fresh machine.  `clean` is the run without failure."""
    harness = Harness(plan)
    inject = Inject(harness)
    made = kind.arm(inject, n)
    last: Optional[RunResult] = None
    trouble = detail = ""
    try:
        last = scenario_of(what)(harness.run)
        if not isinstance(last, RunResult):
            last = harness.last()
    except (TimeoutExpired, Stuck) as error:
        trouble, detail = HANG, str(error)
    except ProgramFailed:
        last = harness.last()
    except NopageError as error:
        trouble, detail = CLEAN, str(error)  # it could not even be started
        if not n:
            harness.close()
            raise
    except Exception as error:
        if not n:
            harness.close()
            raise
        trouble, detail, last = CHECK, traceback.format_exception_only(error)[-1].strip(), harness.last()
    what_failed = made.hits[0] if made.hits else ""
    complaints = harness.close()
    outcome = Outcome(
        n, what_failed, trouble, 0 if last is None else last.exit, detail, b"" if last is None else last.stdout
    )
    if not n and last is not None:
        outcome = replace(outcome, calls=tuple(dict.fromkeys(each.name for each in last.syscalls)))
    if not trouble:
        outcome = _judge(outcome, last, kind, clean)
    if n and not made.hits:
        outcome = replace(outcome, verdict=MISSED)
    elif complaints and outcome.verdict in SURVIVED:
        outcome = replace(outcome, verdict=LEAK, detail="\n".join(complaints))
    return outcome, made.seen


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
    workers: int = 1,
    progress: Callable[[Outcome], None] = lambda outcome: None,
) -> FaultReport:
    """Run `what` once for each thing of this kind that can fail.

    `limit` runs that many, spread evenly; `only` those; `workers` processes share the work.  What the run without
    failure raises comes through.
    """
    parsed = Kind(kind)
    for where, model, _ in plan.attachments:
        if not isinstance(model, type):
            raise ConfigError(messages.wants_a_class(where, model))
    clean, total = run_one(plan, what, parsed, 0)
    numbers = list(only) or spread(total, limit)
    outcomes: list[Outcome] = []
    source = _forked(plan, what, parsed, clean, numbers, workers) if workers > 1 else (
        run_one(plan, what, parsed, n, clean)[0] for n in numbers
    )  # fmt: skip
    for outcome in source:
        outcomes.append(outcome)
        progress(outcome)
    outcomes.sort(key=lambda outcome: outcome.n)
    name = getattr(what, "__name__", "") if callable(what) else " ".join(str(word) for word in what)
    return FaultReport(kind, "the program" if name in ("", "<lambda>") else name, outcomes, total, clean.calls)


def spread(total: int, limit: Optional[int]) -> list[int]:
    """1 to `total`, or `limit` numbers of them with the first and the last."""
    if limit is None or limit >= total:
        return list(range(1, total + 1))
    if limit <= 1:
        return [1][:limit]
    return sorted({1 + (total - 1) * i // (limit - 1) for i in range(limit)})


def _forked(
    plan: Plan, what: Scenario, kind: Kind, clean: Outcome, numbers: Sequence[int], workers: int
) -> Iterator[Outcome]:
    """The work in copies of this process: scenarios are functions of the test, which no other process could import."""
    pipes = []
    for number in range(min(workers, len(numbers))):
        reading, writing = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads: none of ours runs between two programs
            pid = os.fork()
        if not pid:
            _child(writing, list(numbers[number::workers]), lambda n: run_one(plan, what, kind, n, clean)[0])
        os.close(writing)
        pipes.append((pid, open(reading, "rb")))  # noqa: SIM115
    for pid, stream in pipes:
        with stream:
            while head := stream.read(4):
                outcome: Any = pickle.loads(stream.read(struct.unpack("<I", head)[0]))
                if isinstance(outcome, str):
                    raise RuntimeError(f"a process of for_each_fault failed:\n{outcome}")
                yield outcome
        os.waitpid(pid, 0)


def _child(writing: int, numbers: Sequence[int], work: Callable[[int], Outcome]) -> None:
    """Do them and end, without anything of pytest's."""
    with open(writing, "wb") as stream:
        try:
            for number in numbers:
                _send(stream, work(number))
        except BaseException:
            _send(stream, traceback.format_exc())
    os._exit(0)


def _send(stream: Any, what: Any) -> None:
    data = pickle.dumps(what)
    stream.write(struct.pack("<I", len(data)) + data)
    stream.flush()
