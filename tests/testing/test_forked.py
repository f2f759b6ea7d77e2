"""`for_each_fault` with `workers`: what its processes have seen, and what each run leaves behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from guest.toolchain import compile
from machine.errors import ConfigError
from machine.testing.forked import forked
from tests.testing.conftest import Project
from tests.testing.programs import CAREFUL, WHERE, Timer

pytest_plugins = ["pytester"]
at_timer = pytest.mark.device(WHERE, Timer)

COVERED = """
@at_timer
def test_it(run, for_each_fault):
    for_each_fault(lambda run: run("./careful"), "syscall:read", workers={workers}).assert_survived()
    for_each_fault(lambda run: run("./careful"), "ENOMEM", workers={workers}).assert_survived()
"""


@pytest.fixture
def careful(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(project.path)
    source = project.path / "careful.c"
    source.write_text(CAREFUL)
    shutil.copy(compile(source, flags=["-O0"]), project.path / "careful")
    return project


def test_coverage_is_that_of_one_process(careful: Project) -> None:
    texts = []
    for workers in (1, 2):
        careful.run(COVERED.format(workers=workers), f"--nopage-cov={workers}.info").assert_outcomes(passed=1)
        texts.append(Path(f"{workers}.info").read_text())
    assert texts[0] == texts[1] and texts[0].count("SF:") == 1
    counts = {int(line): int(count) for line, count in re.findall(r"^DA:(\d+),(\d+)$", texts[0], re.M)}
    failing = next(n for n, line in enumerate(CAREFUL.splitlines(), 1) if "no text" in line)
    assert counts[failing] == 1 and max(counts.values()) > 1


@pytest.mark.parametrize("workers", [1, 2])
def test_views_of_the_runs_that_were_not_survived(careful: Project, workers: int) -> None:
    """Report, waves and system calls of the one that dies, whatever process it was in; the others leave nothing."""
    tests = f"""
@at_timer
def test_it(for_each_fault):
    report = for_each_fault(["./careful", "careless"], "ENOMEM", workers={workers})
    assert [each.survived for each in report] == [True, False]
    report.assert_survived()
"""
    result = careful.run(tests, "--nopage-report=views", "--nopage-vcd=views", "--nopage-strace")
    result.assert_outcomes(failed=1)
    names = {path.name for path in Path("views").iterdir()}
    assert names == {f"test_it.py-test_it{run}.{kind}" for run in ("", "-ENOMEM-2") for kind in ("html", "vcd")}
    assert "careful" in Path("views/test_it.py-test_it-ENOMEM-2.html").read_text()
    assert "ctrl" in Path("views/test_it.py-test_it-ENOMEM-2.vcd").read_text()
    result.stdout.fnmatch_lines(["*- nopage strace: ENOMEM, run 2 -*", "mmap(NULL, 8192*ENOMEM*(INJECTED)"])


def test_a_list_that_only_the_copies_fill(for_each_fault: Any, guest_cc: Any) -> None:
    program, seen = guest_cc(CAREFUL), []

    def scenario(run: Any) -> Any:
        r = run(program)
        seen.append(r.exit)
        return r

    assert len(for_each_fault(scenario, "syscall:mmap")) + 1 == len(seen)
    with pytest.raises(ConfigError) as caught:
        for_each_fault(scenario, "syscall:mmap", workers=2)
    assert str(caught.value) == (
        "for_each_fault: the runs change 'seen', each in a process of its own, where the test does not see it: compare "
        "inside the function, look at the outcomes, or leave workers= away"
    )


def children() -> list[str]:
    """The processes that this one has."""
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def test_a_copy_that_fails_and_one_that_dies() -> None:
    def fails(number: int, _: Any) -> int:
        if number == 3:
            raise KeyError("broken")
        return number

    def dies(number: int, _: Any) -> int:
        if number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    before = children()
    assert sorted(forked(lambda number, _: number * 2, [1, 2, 3], 2)) == [2, 4, 6]
    with pytest.raises(
        RuntimeError, match=r"\Aa process of for_each_fault failed:\nTraceback (?s:.*)KeyError: 'broken'"
    ):
        list(forked(fails, [1, 2, 3, 4], 2))
    with pytest.raises(RuntimeError) as died:
        list(forked(dies, [1, 2, 3], 2))
    assert str(died.value) == "a process of for_each_fault ended with status -9 before its work was done"
    stopped = forked(lambda number, _: number, range(1000), 2)
    assert next(stopped) == 0
    stopped.close()  # type: ignore[attr-defined]
    assert children() == before, "none is left behind"
