"""The pytest plugin: a machine a test, programs run in it, device models put there by a marker.

Fixtures: `machine`, `run`, `start`, `guest_cc`, `device`, `devices` (and `cc`, which copies what it compiles).
Markers: ``device``, ``board``, ``misbehaves``, ``for_each_fault``.  Options: ``--nopage-ram`` ...; docs/testing.md.

The guest sees the current directory and, where the test asks for `tmp_path`, that directory too, under their own names.

This file is loaded in every run of pytest on the computer: it imports nothing of the machine until a test asks for it.
"""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from machine.hardware.blame import PASSING
from machine.testing.settings import (
    coverage_of,
    ini,
    last_words,
    option,
    parsed,
    plan_of,
    refused,
    report_path,
    strace_wanted,
    views_of,
    which_reports,
    write_own_blocks,
)

if TYPE_CHECKING:
    from machine import Machine
    from machine.testing.harness import Harness
    from machine.testing.results import RunResult

_FAILED = pytest.StashKey[bool]()
_SECTIONS = pytest.StashKey["list[tuple[str, str]]"]()
_HARNESSES = pytest.StashKey["list[Harness]"]()
MARKERS = (
    "device(where, model=None, **options): a device model at a place ('/dev/mem@ADDRESS'), or a driver ('NAME,p=1')",
    "for_each_fault(kind, what, limit=None, only=(), at_least=1, status=0): a test for each thing that can fail",
    "misbehaves(text, ...): what a driver is to do wrong: each a regular expression for a complaint of the kernel's",
    "board(name): the PC that the test's machine is, by name or by file",
)
OPTIONS = (
    ("ram", "SIZE", "512M", "memory of each test's machine, 16M to 16G (512M)"),
    ("report", "DIR", "", "write one HTML report a test into DIR: every page and every fault"),
    ("report-for", "WHICH", "all", "which tests get a report: all, or failed"),
    ("vcd", "DIR", "", "write the waves of each test's devices to a VCD file in DIR"),
    (
        "drcov-dir",
        "DIR",
        "",
        "write the blocks of code that ran, as DynamoRIO's drcov does, a file a test, into DIR (slow)",
    ),
    ("board", "NAME", "", "the PC of every test that has no board marker: a name or a file"),
    ("timeout", "SECONDS", "60", "time that a program has to end, where the test says nothing"),
)
COVERAGE, BLOCKS = "nopage.info", "nopage.drcov"
Run = Callable[..., "RunResult"]
Compile = Callable[..., Path]


# -- options ---------------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("nopage", "nopage: machines, and programs in them")
    for name, metavar, default, text in OPTIONS:
        group.addoption(f"--nopage-{name}", metavar=metavar, default=None, help=text)
        parser.addini(ini(name), text, default=default)
    group.addoption(
        "--nopage-cov", metavar="FILE", nargs="?", const=COVERAGE, action="append", default=None,
        help=f"write which source lines of the guest's programs ran, for lcov (FILE.info) or as Cobertura (FILE.xml); "
        f"without FILE {COVERAGE}",
    )  # fmt: skip
    group.addoption(
        "--nopage-drcov", metavar="FILE", nargs="?", const=BLOCKS, default=None,
        help="write the blocks of code that ran in all tests, for Lighthouse and its like (FILE.drcov or .log; slow); "
        f"without FILE {BLOCKS}",
    )  # fmt: skip
    group.addoption("--nopage-record", action="store_true", help="write the recordings of `recording` that are missing")
    group.addoption("--nopage-update", action="store_true", help="write all recordings of `recording` anew")
    group.addoption("--nopage-strace", action="store_true", help="show the system calls of failed tests (-rP: of all)")
    parser.addini("nopage_strace", "show the system calls of failed tests", type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    for outcome in (pytest.fail.Exception, pytest.skip.Exception):  # of a test, wherever it says so
        if outcome not in PASSING:
            PASSING.append(outcome)
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    for path in config.getoption("--nopage-cov", None) or ():
        if not path.endswith((".info", ".xml")):
            from machine.testing import messages

            raise pytest.UsageError(messages.bad_coverage(path))
    path = config.getoption("--nopage-drcov", None)
    if path is not None and not path.endswith((".drcov", ".log")):
        from machine.testing import messages

        raise pytest.UsageError(messages.bad_blocks(path))


# -- coverage ---------------------------------------------------------------------------------------------------


def pytest_sessionstart(session: pytest.Session) -> None:
    """What is to be written at the end can be written: said before the tests run."""
    config = session.config
    if hasattr(config, "workerinput"):
        return
    files = [("--nopage-cov", path) for path in config.getoption("--nopage-cov") or ()]
    files += [("--nopage-drcov", path) for path in (config.getoption("--nopage-drcov"),) if path is not None]
    for name, path in files:
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            open(path, "ab").close()
        except OSError as error:
            from machine.testing import messages

            raise pytest.UsageError(messages.cannot_write(name, path, error.strerror or str(error))) from None


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: Any) -> None:
    """A process of pytest-xdist has ended: what its tests covered."""
    packed = getattr(node, "workeroutput", {}).get("nopage_coverage")
    if packed:
        coverage_of(node.config).add_packed(packed)


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    coverage = coverage_of(config)
    if coverage is None:
        return
    if hasattr(config, "workeroutput"):
        config.workeroutput["nopage_coverage"] = coverage.pack()
        return
    for path in config.getoption("--nopage-cov") or ():
        coverage.lines.write(path)
    if coverage.blocks:
        coverage.blocks[0].write(open(config.getoption("--nopage-drcov"), "wb"))  # noqa: SIM115 (`write` closes it)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    yield
    write_own_blocks(item)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    coverage = coverage_of(config)
    if coverage is not None and coverage.lines is not None:
        ran, lines = coverage.lines.totals()
        share = f" ({100 * ran // lines} %)" if lines else ""
        where = ", ".join(config.getoption("--nopage-cov"))
        sources = len(coverage.lines.files)
        terminalreporter.write_line(f"nopage: {ran} of {lines} lines of {sources} sources{share}: {where}")
        for why in coverage.lines.why_none():
            terminalreporter.write_line(f"nopage: {where}: {why}")
    if coverage is not None and coverage.blocks:
        blocks, where = coverage.blocks[0], config.getoption("--nopage-drcov")
        files = len(blocks.modules)
        terminalreporter.write_line(f"nopage: {blocks.total()} blocks of {files} programs and libraries: {where}")


# -- reports ----------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    """A failed test shows what its programs did; and a machine left in disorder is then no second failure."""
    report = yield
    harnesses = item.stash.get(_HARNESSES, [])
    if report.failed:
        item.stash[_FAILED] = True
    if report.when == "call":
        told = None if call.excinfo is None else getattr(call.excinfo.value, "program", None)
        for harness in harnesses:
            report.sections += [*(harness.sections(told) if report.failed else []), *harness.strace_section()]
        if report.failed:
            report.sections += _noted(item)
    return report


def _noted(item: pytest.Item) -> list[tuple[str, str]]:
    """Sections for pytest's report of the test, should it fail."""
    return item.stash.setdefault(_SECTIONS, [])


# -- the machine ----------------------------------------------------------------------------------------------------


@pytest.fixture
def _nopage(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """The test's machine with all that belongs to it."""
    from machine.errors import NopageError
    from machine.hardware.reg import RegisterError
    from machine.testing import messages
    from machine.testing.harness import Harness

    item, config = request.node, request.config
    plan = plan_of(item)
    if "tmp_path" in request.fixturenames:
        directory = str(request.getfixturevalue("tmp_path"))
        plan.binds.append((directory, directory, True))
    which = parsed(item, "report-for", which_reports)
    try:
        made = Harness(plan, strace=strace_wanted(config), report=report_path(item, option(config, "report")))
    except (NopageError, RegisterError, ValueError) as error:
        raise refused(item, str(error)) from None
    item.stash[_HARNESSES] = [made]
    made.machine.kernel.sched.last_words = lambda: last_words(item)
    waves = report_path(item, option(config, "vcd"), ".vcd")
    if waves is not None and plan.attachments:
        waves.parent.mkdir(parents=True, exist_ok=True)
        try:
            made.closers.append(made.machine.waves(waves))
        except NopageError as error:
            made.close()
            raise refused(item, messages.bad_option("--nopage-vcd", str(error))) from None
    yield made
    del item.stash[_HARNESSES]
    failed = item.stash.get(_FAILED, False)
    complaints = made.close(keep_report=failed or which == "all", unload=not failed)
    if complaints and not failed:
        pytest.fail(messages.not_clean(complaints), pytrace=False)
    not_seen = [pattern for pattern in plan.misbehaves if pattern not in plan.misbehaved]
    if not_seen and not failed and item.get_closest_marker("for_each_fault") is None:  # its runs are other tests
        raise refused(item, messages.behaved(not_seen))


@pytest.fixture
def machine(_nopage: Harness) -> Machine:
    """A fresh deterministic machine with the devices of the test's markers; it must be clean after the test."""
    return _nopage.machine


@pytest.fixture
def run(_nopage: Harness) -> Run:
    """Run a program of the guest to its end: ``run("./prog", "arg", stdin=b"", timeout=60, check=False)``.

    What it gives has exit, signal, stdout, stderr, faults, syscalls and bus.  A program that can't be started, doesn't
    end in time, or sleeps for ever, fails the test.
    """

    return _nopage.run


@pytest.fixture
def start(_nopage: Harness) -> Callable[..., Any]:
    """Start a program and hold it: ``p = start("./prog")``, then ``p.stdin.write(b"x")``, ``machine.run_until(...)``,
    ``p.read_until(b"ready")``, ``r = p.wait()``."""
    return _nopage.start


@pytest.fixture
def inject(_nopage: Harness) -> Iterator[Any]:
    """Faults on purpose: ``inject("sigbus", at="timer.status")``, ``inject("mmap", errno="EAGAIN", nth=2)``,
    ``inject("oom", nth=3)``, ``inject("read", short=1)``, ``inject.stuck``, ``inject.delayed``, ``inject.lost_irq``.

    One that did nothing is a warning: the test does not test what it says.
    """
    from machine.testing import messages
    from machine.testing.inject import Inject

    made = Inject(_nopage)
    yield made
    for text in made.never_hit():
        warnings.warn(messages.never_happened(text), InjectionWarning, stacklevel=1)


@pytest.fixture
def for_each_fault(_nopage: Harness, request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Run a program once for each thing that can fail, each time in a fresh machine like the test's:
    ``for_each_fault(lambda run: run("./prog", "start"), "oom").assert_survived()``.

    The kinds are "oom", "ENOMEM", "sigbus", "syscall:NAME[=ERRNO]" and "short:NAME"; ``workers=4`` processes.
    """

    def for_each(what: Any, kind: str, **options: Any) -> Any:
        __tracebackhide__ = True
        from machine.testing.foreach import for_each_fault

        found = for_each_fault(_nopage.plan, what, kind, views=views_of(request.node), **options)
        _noted(request.node).extend(found.sections())
        return found

    return for_each


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The marker ``for_each_fault``: as many tests as there are things to fail."""
    if metafunc.definition.get_closest_marker("for_each_fault") is not None:
        from machine.testing.faultids import parametrize

        parametrize(metafunc)


@pytest.fixture
def fault_run(request: pytest.FixtureRequest) -> Any:
    """The run of a test that the marker ``for_each_fault`` has made: ``fault_run.assert_survived()``; or look at
    ``fault_run[0]``, its `Outcome`."""
    if not hasattr(request, "param"):
        from machine.testing import messages

        raise refused(request.node, messages.no_fault_marker(request.node.name))
    from machine.testing.faultids import run_case

    made = run_case(request.node, request.param)
    _noted(request.node).extend(made.sections())
    return made


class InjectionWarning(pytest.PytestWarning):
    """An injection of a test did nothing."""


@pytest.fixture
def devices(_nopage: Harness) -> dict[str, Any]:
    """The device models of the test's markers, by their places."""
    from machine.testing.harness import Devices

    return Devices(_nopage.devices)


@pytest.fixture
def device(_nopage: Harness, request: pytest.FixtureRequest) -> Any:
    """The device model of the test's one marker."""
    from machine.testing import messages

    found = list(_nopage.devices.values())
    if not found:
        raise refused(request.node, messages.no_device_marker(request.node.name))
    if len(found) > 1:
        raise refused(request.node, messages.several_devices(list(_nopage.devices)))
    return found[0]


@pytest.fixture
def recording(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Compare register accesses with those of an earlier run: ``recording(run("./prog"))``.

    They are in ``recordings/`` beside the test, a file a test (and a `name`); --nopage-record writes what is missing,
    --nopage-update all of it.
    """
    config, item = request.config, request.node

    def compare(what: Any, name: str = "") -> None:
        __tracebackhide__ = True
        from machine.testing.golden import bus_of, check

        test = re.sub(r"[^\w.\[\]=,+-]+", "-", f"{item.path.stem}-{item.name}" + (f"-{name}" if name else ""))
        path = item.path.parent / "recordings" / f"{test}.txt"
        update = config.getoption("--nopage-update")
        check(bus_of(what), path, record=config.getoption("--nopage-record"), update=update)

    return compare


# -- programs of the test's own --------------------------------------------------------------------------------


@pytest.fixture
def guest_cc(request: pytest.FixtureRequest) -> Compile:
    """Compile a C program for the guest, once: ``guest_cc("timerctl.c", target="i386", flags=["-O2"])``.

    A file beside the test, or the text of a program.  The options are those of `guest.toolchain.compile`; kept in
    ``~/.cache/nopage`` until source, headers or options change.
    """

    def compiled(source: Any, **options: Any) -> Path:
        __tracebackhide__ = True
        from machine.testing.compiling import compile_for_guest

        return compile_for_guest(source, request.path.parent, options)

    return compiled


@pytest.fixture
def cc(tmp_path: Path, guest_cc: Compile) -> Compile:
    """As `guest_cc`, with the program copied into `tmp_path` under `name`."""

    def compiled(source: Any, name: str = "", **options: Any) -> Path:
        __tracebackhide__ = True
        built = guest_cc(source, **options)
        return Path(shutil.copy2(built, tmp_path / (name or built.name)))

    return compiled
