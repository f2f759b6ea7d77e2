"""The marker ``for_each_fault``: a test for each thing that can fail, so that pytest-xdist spreads the runs.

::

    @pytest.mark.for_each_fault("ENOMEM", ["timerctl.c", "start"])
    @pytest.mark.device("/dev/uio0", Timer)
    def test_survives(fault_run):
        fault_run.assert_survived()

When tests are collected the program runs once without a failure, which says how many there are: every process of
xdist finds the same number, since machines are deterministic.  Each test then makes one run.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional

import pytest

from machine.errors import ConfigError, NopageError, is_the_users
from machine.testing import messages
from machine.testing.compiling import compile_for_guest
from machine.testing.foreach import (
    FaultReport,
    Kind,
    Outcome,
    Scenario,
    name_of,
    offered,
    run_one,
    spread,
    wants_classes,
    without_failure,
)
from machine.testing.settings import plan_of, refused, views_of

__tracebackhide__ = is_the_users

_OWN = ("limit", "only", "at_least", "status")


@dataclass
class Case:
    """One run that a test is to make."""

    kind: str
    name: str
    what: Scenario
    n: int = 0
    clean: Optional[Outcome] = None
    total: int = 0
    error: str = ""
    """Why there is nothing to run: the test fails with it."""


def parametrize(metafunc: pytest.Metafunc) -> None:
    """The hook `pytest_generate_tests`, for a test function that has the marker."""
    node = metafunc.definition
    if "fault_run" not in metafunc.fixturenames:
        raise refused(node, messages.wants_fault_run(node.name))
    cases: list[Case] = []
    ids: list[str] = []
    for marker in reversed(list(node.iter_markers("for_each_fault"))):
        if len(marker.args) != 2:
            raise refused(node, messages.marker_wants_two(len(marker.args)))
        kind, target = str(marker.args[0]), marker.kwargs.get("target")
        for case in _cases(node, kind, marker.args[1], dict(marker.kwargs)):
            cases.append(case)
            ids.append("-".join([kind, *([target] if target else []), str(case.n) if case.n else "count"]))
    metafunc.parametrize("fault_run", cases, ids=ids, indirect=True)


def _cases(node: Any, kind: str, what: Any, options: dict[str, Any]) -> list[Case]:
    own = {name: options.pop(name) for name in _OWN if name in options}
    try:
        scenario = _scenario(what, node.path.parent, options)
        plan = replace(plan_of(node), coverage=None)  # each process of xdist counts, and coverage is added up
        wants_classes(plan)
        clean, total = without_failure(plan, scenario, Kind(kind), own.get("status", 0))
    except (NopageError, pytest.fail.Exception) as error:
        return [Case(kind, name_of(what), what, error=str(error))]
    except Exception:
        return [Case(kind, name_of(what), what, error=traceback.format_exc())]
    numbers = list(own.get("only", ())) or spread(total, own.get("limit"))
    at_least = own.get("at_least", 1)
    if len(numbers) < at_least:
        none = FaultReport(kind, name_of(what), [], total)
        text = messages.nothing_failed(none.head(), at_least, clean.calls, offered(plan, scenario))
        return [Case(kind, name_of(what), what, error=text)]
    return [Case(kind, name_of(what), scenario, n, clean, total) for n in numbers]


def _scenario(what: Any, directory: Path, options: dict[str, Any]) -> Scenario:
    """What the marker names: a command line, whose program may be a C file beside the test, or a function."""

    def guest_cc(source: Any, **others: Any) -> Path:
        return compile_for_guest(source, directory, others)

    if callable(what):
        if options:
            raise ConfigError(messages.no_compiler_options(list(options)))
        function: Callable[..., Any] = what
        with_cc = {"guest_cc": guest_cc} if "guest_cc" in inspect.signature(what).parameters else {}
        return lambda run: function(run, **with_cc)
    program, *words = list(what)
    if str(program).endswith(".c"):
        return [guest_cc(program, **options), *words]
    if options:
        raise ConfigError(messages.no_compiler_options(list(options)))
    return [program, *words]


def run_case(item: pytest.Item, case: Case) -> FaultReport:
    """The run of one test.  It fails when there is none."""
    __tracebackhide__ = True
    if case.error:
        raise refused(item, case.error)
    outcome = run_one(plan_of(item), case.what, Kind(case.kind), case.n, case.clean, views_of(item))[0]
    calls = () if case.clean is None else case.clean.calls
    return FaultReport(case.kind, case.name, [outcome], case.total, calls)
