"""The marker ``for_each_fault``: a test for each thing that can fail, also spread by pytest-xdist."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.testing.conftest import Project
from tests.testing.programs import CAREFUL

pytest_plugins = ["pytester"]

TESTS = """
@pytest.mark.for_each_fault("ENOMEM", ["careful.c"])
@pytest.mark.for_each_fault("sigbus", ["careful.c"], target="i386", limit=1)
@at_timer
def test_careful(fault_run):
    fault_run.assert_survived()

def careless(run, guest_cc):
    return run(guest_cc("careful.c"), "careless")

@pytest.mark.for_each_fault("ENOMEM", careless)
@at_timer
def test_careless(fault_run):
    assert len(fault_run) == 1 and fault_run.total == 2
    fault_run.assert_survived()

@pytest.mark.for_each_fault("oom", lambda run: run("./echo"), limit=4, status=3)
def test_frames(fault_run):
    assert fault_run[0].verdict in ("clean error", "out of memory", "same")
"""


@pytest.fixture
def careful(project: Project) -> Project:
    (project.path / "careful.c").write_text(CAREFUL)
    return project


def outcomes(lines: list[str]) -> dict[str, str]:
    """Test -> how it ended."""
    found = (
        re.search(r"(?:(PASSED|FAILED) test_it\.py::(\S+)|test_it\.py::(\S+) (PASSED|FAILED))", line) for line in lines
    )
    return {m[2] or m[3]: m[1] or m[4] for m in found if m}


def test_the_same_tests_alone_and_spread(careful: Project) -> None:
    """Of four programs on both targets: which failures there are is found by a run when tests are collected."""
    alone = careful.run(TESTS, "-v", "--tb=short")
    seen = outcomes(alone.stdout.lines)
    frames = [name for name in seen if name.startswith("test_frames")]
    assert len(frames) == 4 and frames[0] == "test_frames[oom-1]"
    assert {name: end for name, end in seen.items() if name not in frames} == {
        "test_careful[ENOMEM-1]": "PASSED", "test_careful[ENOMEM-2]": "PASSED", "test_careful[sigbus-i386-1]": "FAILED",
        "test_careless[ENOMEM-1]": "PASSED", "test_careless[ENOMEM-2]": "FAILED",
    }  # fmt: skip
    alone.stdout.fnmatch_lines(["E   AssertionError: careless, ENOMEM: 1 runs (of 2): 1 signal. Not survived:"])
    spread = careful.run(TESTS, "-v", "-n", "2", subprocess=True)
    assert outcomes(spread.stdout.lines) == seen
    one = careful.run(TESTS, "-v", "-k", "careless and ENOMEM-1", "--nopage-cov=c.info")
    one.assert_outcomes(passed=1, deselected=8)
    assert "careful.c" in (careful.path / "c.info").read_text(), (
        "the run of the test counts, not that of the collection"
    )


@pytest.mark.parametrize(
    ("test", "text"),
    [
        (
            '@pytest.mark.for_each_fault("oom", ["./echo"])\ndef test_it(run): pass\n',
            ("test_it.py:3: the marker for_each_fault makes runs for the fixture 'fault_run': def test_it(fault_run): "
            "fault_run.assert_survived()"),
        ),
        (
            '@pytest.mark.for_each_fault("oom")\ndef test_it(fault_run): pass\n',
            ("test_it.py:3: for_each_fault marker: it takes a kind and a command line or a function, and here are 1: "
            '@pytest.mark.for_each_fault("ENOMEM", ["./timerctl", "start"])'),
        ),
        (
            "def test_it(fault_run): pass\n",
            ("test_it.py:3: the fixture 'fault_run' wants a marker on test_it: "
            '@pytest.mark.for_each_fault("ENOMEM", ["./timerctl", "start"])'),
        ),
        (
            '@pytest.mark.for_each_fault("oom", ["./echo"], target="i386")\ndef test_it(fault_run): pass\n',
            ("test_it.py:3: for_each_fault marker: target: such options are guest_cc's, for a command line whose "
            "program is a C file beside the test; the marker's own are limit, only, at_least and status"),
        ),
        (
            '@pytest.mark.for_each_fault("syscall:mremap", ["./wild"], status=139)\ndef test_it(fault_run): pass\n',
            ("test_it.py:3: ./wild, syscall:mremap: 0 runs: nothing to fail; at least 1 were to be tried; what could "
            "fail: "),
        ),
        (
            '@pytest.mark.for_each_fault("oom", ["./echo"])\ndef test_it(fault_run): pass\n',
            ("test_it.py:3: ./echo: ends with 3 without a failure; where that is meant: for_each_fault(..., status=3)"),
        ),
        (
            '@pytest.mark.for_each_fault("oomm", ["./echo"])\ndef test_it(fault_run): pass\n',
            ("test_it.py:3: for_each_fault: 'oomm' is not oom, ENOMEM, sigbus, syscall:NAME, syscall:NAME=ERRNO or "
            "short:NAME"),
        ),
        (
            '@pytest.mark.for_each_fault("oom", ["nothere.c"])\ndef test_it(fault_run): pass\n',
            "test_it.py:3: guest_cc: there is no nothere.c. Looked in:",
        ),
        (
            '@pytest.mark.for_each_fault("oom", lambda run: 1 / 0)\ndef test_it(fault_run): pass\n',
            "ZeroDivisionError: division by zero",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_marker(project: Project, test: str, text: str) -> None:
    """Told by the test, or where the file can't be collected; the other tests of the file run where they can."""
    said: Any = project.run(test, "--tb=short").stdout.str()
    assert text in re.sub(r"^E +", "", said, flags=re.M), said
    assert "machine/testing/plugin.py:" not in said, said
