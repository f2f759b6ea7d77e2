"""The pytest plugin: a machine a test, programs run in it, register blocks attached by a marker.

* ``@pytest.mark.device("/dev/mem@0xfe000000", Timer)`` puts a register block (a class, or an instance) at a physical
  address; ``@pytest.mark.device("scullp,scullp_qset=8")`` loads a driver.
* `machine`: a deterministic `Machine`, closed after the test and checked: no lost frame, no oops.
* `cc`: ``cc("timer.c")`` or ``cc(text, target="i386")`` compiles a C program into `tmp_path` (guest/toolchain.py).
* `run`: ``run("./prog", "arg", stdin=b"", timeout=60)`` gives a `RunResult`.

The guest sees the current directory and, where the test asks for `tmp_path`, that directory too, under their own names.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import pytest

from machine.testing.buslog import BusLog

if TYPE_CHECKING:
    from machine import Machine

_FAILED = pytest.StashKey[bool]()
MARKER = "device(where, block=None): a register block at '/dev/mem@ADDRESS', or a driver to load ('NAME[,param=value]')"


@dataclass(frozen=True)
class RunResult:
    """What became of one program."""

    exit: int
    """Its exit status, or 128 + the signal's number."""
    signal: Optional[int]
    """The signal that killed it, else None."""
    stdout: bytes
    stderr: bytes
    faults: int
    """Page faults of the machine while it ran."""
    syscalls: int
    """System calls likewise."""
    bus: BusLog
    """Accesses to the registers of the test's devices while it ran."""


Run = Callable[..., RunResult]
Cc = Callable[..., Path]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    """Remember that the test itself failed: a machine left in disorder is then no second failure."""
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    return report


def _parse_where(where: str) -> tuple[str, int]:
    """``/dev/mem@0xfe000000`` as (path, address); UsageError for anything else."""
    path, at, address = where.partition("@")
    try:
        number = int(address, 0)
    except ValueError:
        number = -1
    if not at or number < 0:
        raise pytest.UsageError(f"device marker: {where!r} is not like '/dev/mem@0xfe000000'")
    return path, number


def _devices(request: pytest.FixtureRequest) -> tuple[list[str], list[tuple[str, int, Any]]]:
    """(drivers to load, (path, address, block)) of the test's markers; those of the class and module first."""
    drivers: list[str] = []
    blocks: list[tuple[str, int, Any]] = []
    for marker in reversed(list(request.node.iter_markers("device"))):
        where = marker.args[0] if marker.args else ""
        block = marker.args[1] if len(marker.args) > 1 else marker.kwargs.get("block")
        if block is None:
            drivers.append(where)
        else:
            path, address = _parse_where(where)
            blocks.append((path, address, block() if isinstance(block, type) else block))
    return drivers, blocks


@pytest.fixture
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A fresh deterministic machine with the devices of the test's markers."""
    from machine import Machine

    drivers, blocks = _devices(request)
    binds = []
    if "tmp_path" in request.fixturenames:
        directory = str(request.getfixturevalue("tmp_path"))
        binds.append((directory, directory, True))
    made = Machine(deterministic=True, devices=drivers, binds=binds, check_invariants=True)
    try:
        for path, address, block in blocks:
            made.attach(block, path, address)
        yield made
        complaints = made.check_clean()
    finally:
        made.close()
    if complaints and not request.node.stash.get(_FAILED, False):
        pytest.fail("the machine is not clean after the test:\n" + "\n".join(complaints), pytrace=False)


@pytest.fixture
def run(machine: Machine) -> Run:
    """Run a program of the guest to its end; TimeoutExpired after `timeout` seconds of host time."""

    def run_program(
        *argv: Any,
        stdin: bytes = b"",
        timeout: float = 60,
        env: Optional[Mapping[str, str]] = None,
        cwd: Optional[str] = None,
    ) -> RunResult:
        done = machine.run([str(word) for word in argv], stdin=stdin, timeout=timeout, env=env, cwd=cwd)
        return RunResult(done.exit, done.signal, done.stdout, done.stderr, done.faults, done.syscalls, BusLog(done.bus))

    return run_program


@pytest.fixture
def cc(tmp_path: Path) -> Cc:
    """Compile a C program: a path, or the text of one.  The options are those of `guest.toolchain.compile`."""
    from guest.toolchain import compile

    def compiled(source: Any, name: str = "", **options: Any) -> Path:
        built = compile(source, **options)
        return Path(shutil.copy2(built, tmp_path / (name or built.name)))

    return compiled
