"""Register blocks behind /dev/mem, driven by compiled programs, and the pytest plugin that shows them."""

from __future__ import annotations

import importlib.metadata
import pkgutil
from collections.abc import Callable
from pathlib import Path

import pytest

import machine.kernel
from guest.toolchain import compile
from machine import Machine
from machine.errors import NopageError
from machine.testing import BusLog, Reg, RegArray, RegisterBlock
from tests.conftest import build

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
    """The program; compiled before `pytester` moves HOME, and the compiler's cache with it.

    What the kernel imports at its first use is imported now: `pytester` forgets modules that came while it ran.
    """
    for each in pkgutil.walk_packages(machine.kernel.__path__, "machine.kernel."):
        importlib.import_module(each.name)
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
    result.stdout.fnmatch_lines(["*'/dev/mem': at which physical address? As in '/dev/mem@0xfe000000'*"])


class Counter(RegisterBlock):
    ctrl = Reg(0x00)
    count = Reg(0x04, access="ro", reset=42)
    total = Reg(0x08)


def test_threads_processes_and_signals_lose_no_access(machine_clean: Callable[..., Machine]) -> None:
    """In real time: the tick preempts in the middle of everything."""
    program = compile(Path(__file__).parent / "registers" / "stress.c")
    machine, block = machine_clean(), Counter()
    machine.attach("/dev/mem@0xfe000000", block)
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
        machine.attach(f"/dev/mem@{address:#x}", Counter)


class Widths(RegisterBlock):
    """The block of registers/widths.c."""

    bytes = RegArray(0x00, 8, width=1)
    halves = RegArray(0x08, 4, width=2)
    words = RegArray(0x10, 4)
    longs = RegArray(0x20, 2, width=8)
    flags = Reg(0x30, reset=0x40)


def _wide(target: str, write: bool) -> list[tuple[bool, str, int, int]]:
    """`longs[0]` in C: one access of 8 bytes, or two of 4 by an i386 compiler, in the order that it likes."""
    if target == "x86_64":
        return [(write, "longs[0]", 8, 0x8182838485868788)]
    return [(write, "longs[0]", 4, 0x8586_8788), (write, "longs[0]", 4, 0x8182_8384)]


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_optimized_c_reaches_the_card_whole(machine_clean: Callable[..., Machine], target: str) -> None:
    """-O2: width, direction, value and instruction of each access, in order."""
    flags = ["-O2", "-msse2", "-Wno-incompatible-pointer-types"]
    program = build(Path(__file__).parent / "registers" / "widths.c", target=target, flags=flags)
    machine, block = machine_clean(), Widths()
    machine.attach("/dev/mem@0xfe000000", block)
    result = machine.run([str(program)], timeout=60)
    lines = result.stdout.decode().split("\n")
    assert lines[:5] == ["81 8182 81828384", "8182838485868788", "145 155", "1 2 3 4", "0"]
    assert lines[5] == "0", "bytes of no register"
    got = [(a.write, a.register, a.width, a.value) for a in result.bus]
    words = [(f"words[{i}]", 16, i + 1) for i in range(4)]
    if target == "i386":
        got[6:8], got[8:10] = sorted(got[6:8], reverse=True), sorted(got[8:10], reverse=True)
    expected = [
        (True, "bytes[1]", 1, 0x81), (True, "halves[1]", 2, 0x8182), (True, "words[1]", 4, 0x81828384),
        (False, "bytes[1]", 1, 0x81), (False, "halves[1]", 2, 0x8182), (False, "words[1]", 4, 0x81828384),
        *_wide(target, True), *_wide(target, False),
        (True, "longs[1]", 8, 0x1112131415161718),
        *[(True, *word) for word in words],
        (False, "flags", 4, 0x40), (True, "flags", 4, 0x44), (False, "flags", 4, 0x44), (True, "flags", 4, 0x45),
        (False, "flags", 4, 0x45), (True, "flags", 4, 0x145), (False, "flags", 4, 0x145), (True, "flags", 4, 0x155),
        (False, "flags", 4, 0x155),
        *[(True, name, 4, value) for name, _, value in words], *[(False, name, 4, value) for name, _, value in words],
        *[(True, f"bytes[{i}]", 1, 0x5A) for i in range(3)], *[(True, f"halves[{i}]", 2, 0x5B5C) for i in range(2)],
        (True, "bytes[1]", 2, 0xBB), (True, "bytes[2]", 2, 0xAA),
        (True, "words[0]", 4, 0xEEFF), (True, "words[1]", 4, 0xCCDD),
        *[(False, f"bytes[{i}]", 4, 0) for i in (4, 5, 6, 7)],
        (False, "", 4, 0),
        (True, "flags", 4, 7),
    ]  # fmt: skip
    assert got == expected
    assert result.bus[-1].rip == int(lines[6], 16) and len({a.pid for a in result.bus}) == 1
    # `[rdi + 1]` as 16 bits, 0x12 as 32; those two, the SSE store of 16 bytes and the read of four single bytes
    assert (block.counts.unaligned, block.counts.wide, block.counts.outside, block.stray) == (2, 4, 1, 1)
