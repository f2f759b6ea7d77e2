"""What the tests share: running a C program on the host and in the machine, and comparing.

A guest test is one C file that passes on the host first: `guest(source)` compiles it, runs it here, runs it in a
machine, and asserts that both printed the same and ended alike.  After every test that had a machine, `machine_clean`
asserts that no frame is lost, no count is off, and the free lists are whole.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from guest.toolchain import ToolMissing, compile
from machine import Machine

ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/root", "NOPAGE_TEST": "a value"}
"""The whole environment of a compared program, on either side."""


for _number, _usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:  # by `nohup pytest &`: it would go to every program of the tests
        signal.signal(_number, _usual)


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """The plugin of this tree is there, installed or not."""
    if not pluginmanager.has_plugin("nopage"):
        import machine.testing.plugin

        pluginmanager.register(machine.testing.plugin, "nopage")


@dataclass
class Outcome:
    """How a program ended; `exit` is 128 + the signal's number after a deadly one."""

    exit: int
    stdout: bytes
    stderr: bytes

    def failures(self) -> list[str]:
        """The FAIL lines of a program that uses check.h."""
        return [line for line in self.stdout.decode(errors="replace").splitlines() if line.startswith("FAIL")]


def build(source: Path | str, **options: Any) -> Path:
    """`guest.toolchain.compile`; the test is skipped where the compiler for it is missing."""
    try:
        return compile(source, flags=("-Wall", "-Wextra", *options.pop("flags", ())), **options)
    except ToolMissing as missing:
        pytest.skip(str(missing))


def run_on_host(
    program: Path, arguments: Sequence[str] = (), *, stdin: bytes = b"", environment: Mapping[str, str] = ENVIRONMENT
) -> Outcome:
    """Run a program here."""
    done = subprocess.run(
        [str(program), *arguments], input=stdin, capture_output=True, env=dict(environment), timeout=60, check=False
    )
    return Outcome(done.returncode if done.returncode >= 0 else 128 - done.returncode, done.stdout, done.stderr)


@pytest.fixture
def machine_clean() -> Iterator[Callable[..., Machine]]:
    """A maker of machines, each checked after the test: ``m = machine_clean(devices=["scullp"])``."""
    machines: list[Machine] = []

    def make(**options: Any) -> Machine:
        options.setdefault("check_invariants", True)
        options.setdefault("env", ENVIRONMENT)
        machines.append(Machine(**options))
        return machines[-1]

    yield make
    complaints = [complaint for machine in machines for complaint in machine.check_clean()]
    for machine in machines:
        machine.close()
    assert not complaints, "\n".join(complaints)


@pytest.fixture
def run_in_machine(machine_clean: Callable[..., Machine]) -> Callable[..., Outcome]:
    """Run a program in a fresh machine: the arguments of `run_on_host`, further ones are the machine's."""

    def run(program: Path, arguments: Sequence[str] = (), *, stdin: bytes = b"", **options: Any) -> Outcome:
        machine = machine_clean(**options)
        oopses: list[str] = []
        machine.events.listen("oops", lambda oops: oopses.append(f"{oops.where}: {oops.traceback}"))
        result = machine.run([str(program), *arguments], stdin=stdin, timeout=240)
        assert not oopses, "\n".join(oopses)
        return Outcome(result.exit, result.stdout, result.stderr)

    return run


@pytest.fixture
def guest(run_in_machine: Callable[..., Outcome]) -> Callable[..., Outcome]:
    """Compile, run on the host, run in the machine, compare standard output and exit status."""

    def check(
        source: Path | str,
        arguments: Sequence[str] = (),
        *,
        target: str = "x86_64",
        libc: str = "musl",
        static: bool = True,
        pie: bool | None = None,
        flags: Sequence[str] = (),
        stdin: bytes = b"",
        **options: Any,
    ) -> Outcome:
        program = build(source, target=target, libc=libc, static=static, pie=pie, flags=flags)
        expected = run_on_host(program, arguments, stdin=stdin)
        if os.geteuid():
            options.setdefault("user", (os.geteuid(), os.getegid()))
            if expected.failures():
                pytest.skip("as another user than root it fails on the host, too: " + expected.failures()[0])
        assert not expected.failures(), "on the host: " + "\n".join(expected.failures())
        got = run_in_machine(program, arguments, stdin=stdin, **options)
        assert not got.failures(), "\n".join(got.failures())
        assert got.stdout.decode(errors="replace") == expected.stdout.decode(errors="replace"), got.stderr.decode()
        assert got.exit == expected.exit, got.stderr.decode()
        return got

    return check


@pytest.fixture(scope="session", autouse=True)
def _host_is_usual() -> None:
    """The compared programs want the usual limits: a raised stack or address space limit would show."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
    if hard == resource.RLIM_INFINITY or hard >= 8 << 20:
        resource.setrlimit(resource.RLIMIT_STACK, (8 << 20, hard))
    os.umask(0o022)
    if os.getpriority(os.PRIO_PROCESS, 0):  # a guest starts with 0
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, 0)
