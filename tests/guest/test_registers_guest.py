"""Register blocks behind /dev/mem, driven by compiled programs, and the pytest plugin that shows them."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from pathlib import Path

import pytest

from guest.toolchain import compile
from machine import Machine
from machine.errors import NopageError
from machine.testing import BusLog, Reg, RegisterBlock

pytest_plugins = ["pytester"]

PLUGIN = (
    []
    if any(each.name == "nopage" for each in importlib.metadata.entry_points(group="pytest11"))
    else ["-p", "machine.testing.plugin"]
)

PROGRAM = r"""
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	int fd = open("/dev/mem", O_RDWR | O_SYNC);
	volatile uint32_t *timer = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0xfe000000);
	if (timer == MAP_FAILED)
		return perror("mmap"), 1;
	if (argc > 1 && !strcmp(argv[1], "copy")) {
		int out[2];
		uint32_t words[3];
		if (pipe(out) || write(out[1], (void *)timer, 12) != 12 || read(out[0], words, 12) != 12)
			return perror("copy"), 1;
		printf("%u %u %u\n", words[0], words[1], words[2]);
		return 0;
	}
	if (argc > 1 && !strcmp(argv[1], "fork")) {
		if (!fork()) {
			timer[2] = 7;
			_exit(0);
		}
		timer[0] |= 2;
		wait(NULL);
		return 0;
	}
	timer[2] = 1000;
	timer[0] = 1;
	printf("%u\n", timer[1]);
	return 0;
}
"""

CONFTEST = """
import pytest
from machine.testing import Reg, RegisterBlock

class Timer(RegisterBlock):
    ctrl = Reg(0x00)
    count = Reg(0x04, access="ro", reset=42)
    period = Reg(0x08)
"""


@pytest.fixture(scope="module")
def timer_demo() -> bytes:
    """The program; compiled before `pytester` moves HOME, and the compiler's cache with it."""
    return compile(PROGRAM).read_bytes()


@pytest.fixture
def project(timer_demo: bytes, pytester: pytest.Pytester) -> pytest.Pytester:
    program = pytester.path / "timer_demo"
    program.write_bytes(timer_demo)
    program.chmod(0o755)
    pytester.makefile(".py", devices=CONFTEST)
    pytester.makepyfile(PLACEHOLDER="")
    return pytester


def outcome(project: pytest.Pytester, test: str) -> pytest.RunResult:
    Path(project.path, "test_timer.py").write_text(
        "import pytest\nfrom devices import Timer\n\n"
        'pytestmark = pytest.mark.device("/dev/mem@0xfe000000", Timer)\n' + test
    )
    project.syspathinsert()
    return project.runpytest_inprocess(*PLUGIN, "-p", "no:cacheprovider", "test_timer.py")


def test_ten_lines_of_pytest(project: pytest.Pytester) -> None:
    result = outcome(
        project,
        """
def test_starts_the_timer(run):
    r = run("./timer_demo")
    assert r.exit == 0 and r.stdout == b"42\\n"
    r.bus.assert_writes([("period", 1000), ("ctrl", 1)])
    r.bus.assert_reads([("count", 42)])
    assert all(a.width == 4 and a.rip for a in r.bus)
""",
    )
    result.assert_outcomes(passed=1)


def test_a_wrong_expectation_names_registers_and_instructions(project: pytest.Pytester) -> None:
    result = outcome(
        project,
        """
def test_wrong(run):
    run("./timer_demo").bus.assert_writes([("period", 999), ("ctrl", 1)])
""",
    )
    result.assert_outcomes(failed=1)
    wrong = r"> +0  period = 0x3e7 \(999\) +timer\.period = 0x3e8 \(1000\), 4 bytes at 0x[0-9a-f]+, process \d+"
    result.stdout.re_match_lines([".*" + wrong])


def test_the_kernels_own_copies_reach_the_registers(project: pytest.Pytester) -> None:
    result = outcome(
        project,
        """
def test_copy(run):
    r = run("./timer_demo", "copy")
    assert r.stdout == b"0 42 0\\n"
    r.bus.assert_reads([("ctrl", 0), ("count", 42), ("period", 0)])
""",
    )
    result.assert_outcomes(passed=1)


def test_parent_and_child_share_the_device(project: pytest.Pytester) -> None:
    result = outcome(
        project,
        """
def test_fork(run):
    r = run("./timer_demo", "fork")
    assert sorted(r.bus.writes()) == [("ctrl", 2), ("period", 7)]
    assert len({a.pid for a in r.bus}) == 2
""",
    )
    result.assert_outcomes(passed=1)


def test_the_block_is_in_proc_iomem(project: pytest.Pytester) -> None:
    result = outcome(
        project,
        """
def test_iomem(machine):
    assert b"fe000000-fe000fff : timer\\n" in machine.read_file("/proc/iomem")
""",
    )
    result.assert_outcomes(passed=1)


def test_a_machine_left_in_disorder_is_an_error(project: pytest.Pytester) -> None:
    result = outcome(
        project,
        """
def test_lost(machine):
    machine.kernel.report("Bad page state: made up")
""",
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*the machine is not clean after the test:*", "*Bad page state: made up*"])


def test_a_marker_that_says_nothing_sensible(project: pytest.Pytester) -> None:
    result = outcome(
        project,
        """
@pytest.mark.device("/dev/mem", Timer)
def test_where(run):
    pass
""",
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*'/dev/mem' is not like '/dev/mem@0xfe000000'*"])


class Counter(RegisterBlock):
    ctrl = Reg(0x00)
    count = Reg(0x04, access="ro", reset=42)
    total = Reg(0x08)


def test_threads_processes_and_signals_lose_no_access(machine_clean: Callable[..., Machine]) -> None:
    """In real time: the tick preempts in the middle of everything."""
    program = compile(Path(__file__).parent / "registers" / "stress.c")
    machine, block = machine_clean(), Counter()
    machine.attach(block, "/dev/mem", 0xFE000000)
    result = machine.run([str(program), "1000"], timeout=120)
    assert result.stdout == b"6000 alarms\n" and block.total == 6000
    log = BusLog(result.bus)
    assert len(log.writes("total")) == 6000 and len(log.reads("total")) == 6001
    assert log.reads("count") and {value for _, value in log.reads("count")} == {42}


@pytest.mark.parametrize(
    ("address", "why"),
    [(0x100000, "there is RAM"), (0xFE000800, "not the start of a page"), (0xF0000, "System ROM")],
)
def test_a_block_can_not_be_anywhere(machine_clean: Callable[..., Machine], address: int, why: str) -> None:
    machine = machine_clean()
    with pytest.raises((ValueError, NopageError), match=why):
        machine.attach(Counter(), "/dev/mem", address)
