"""Faults on purpose, each with a compiled program that meets it."""

from __future__ import annotations

from typing import Any

import pytest

from machine import Machine
from machine.errors import ConfigError
from machine.testing import Reg, RegisterBlock
from machine.testing.foreach import CLEAN, KILLED, SAME, SIGNAL, FaultReport, spread
from machine.testing.harness import ProgramStuck
from tests.testing.conftest import Project
from tests.testing.programs import CAREFUL, CATCHER, WAITER, WHERE, Timer

pytest_plugins = ["pytester"]
TARGETS = pytest.mark.parametrize("target", ["x86_64", "i386"])
at_timer = pytest.mark.device(WHERE, Timer)


class Ready(RegisterBlock):
    """Ready as soon as it is started, with an interrupt."""

    name = "timer"
    irq = 9
    ctrl = Reg(0x00)
    count = Reg(0x04)
    period = Reg(0x08)
    status = Reg(0x0C)

    def write_ctrl(self, value: int) -> None:
        self.status = value & 1
        self.raise_irq()


at_ready = pytest.mark.device(WHERE, Ready)
by_uio = pytest.mark.device("uio,uio_start=0xfe000000,uio_size=4096,uio_irq=9")


# -- bus errors -----------------------------------------------------------------------------------------------------


@TARGETS
@pytest.mark.parametrize(
    ("at", "nth", "value"),
    [("timer.period", None, 0), (None, 2, 5), ("/dev/mem+0xfe000000", None, 5), ("main", 1, 0), ("/dev/mem", 3, 5)],
)
@at_timer
def test_a_bus_error_where_it_is_wanted(
    run: Any, inject: Any, device: Timer, guest_cc: Any, target: str, at: Any, nth: Any, value: int
) -> None:
    made = inject("sigbus", at=at, nth=nth)
    r = run(guest_cc(CATCHER, target=target))
    assert (r.exit, r.stdout, device.period, device.ctrl) == (7, b"bus error\n", value, 0)
    assert len(made.hits) == 1 and "in main+0x" in made.hits[0] and "program.c:" in made.hits[0], made.hits
    fault = next(each for each in r.faults if each.answer == "injected")
    assert fault.outcome == "SIGBUS (BUS_ADRERR)"


@at_timer
def test_off_is_off(run: Any, inject: Any, guest_cc: Any) -> None:
    made = inject("sigbus", at="timer.period")
    assert run(guest_cc(CATCHER)).exit == 7
    made.off()
    assert run(guest_cc(CATCHER)).exit == 0 and len(made.hits) == 1


# -- system calls ------------------------------------------------------------------------------------------------------


@TARGETS
@at_timer
def test_the_nth_call_fails(run: Any, inject: Any, guest_cc: Any, target: str) -> None:
    name = "mmap" if target == "x86_64" else "mmap2"
    made = inject(name, errno="EAGAIN", nth=2)
    r = run(guest_cc(CAREFUL, target=target))
    assert (r.exit, r.stderr) == (3, b"no page: 11\n") and made.seen == 2
    assert [call.injected for call in r.syscalls.named(name)] == [False, True]
    assert "in main" in made.hits[0], "the line of the caller, not of libc"
    assert run(guest_cc(CAREFUL, target=target)).exit == 0


@TARGETS
@at_timer
def test_short_reads(run: Any, inject: Any, guest_cc: Any, target: str) -> None:
    made = inject("read", short=2)
    r = run(guest_cc(CAREFUL, target=target))
    assert r.exit == 0 and r.stdout == b"Linux 42\n"
    assert [call.result for call in r.syscalls.named("read")] == [2, 2, 1] and len(made.hits) == 2
    assert run(guest_cc(CAREFUL, target=target), "careless").stdout == b"Li 42\n"


@TARGETS
@at_timer
def test_out_of_memory_is_the_kernels_own(run: Any, inject: Any, guest_cc: Any, target: str) -> None:
    made = inject("oom", nth=3)
    r = run(guest_cc(CAREFUL, target=target))
    assert r.exit != 0 and made.hits and made.hits[0].startswith("a frame for ")


# -- broken devices ---------------------------------------------------------------------------------------------------


@TARGETS
@at_ready
def test_a_stuck_bit(run: Any, inject: Any, device: Ready, guest_cc: Any, target: str) -> None:
    made = inject.stuck(WHERE, "status", 0x1, 0)
    r = run(guest_cc(WAITER, target=target), "10")
    assert (r.exit, r.stdout) == (1, b"not ready\n") and device.status == 1
    assert r.bus.reads("status") == [("status", 0)] * 10 and made.hits == ["timer.status read as 0x0, not 0x1"] * 10
    made.off()
    assert run(guest_cc(WAITER, target=target), "10").exit == 0


@at_ready
def test_a_change_that_shows_after_some_reads(run: Any, inject: Any, guest_cc: Any) -> None:
    inject.delayed("timer", "status", reads=3)
    assert run(guest_cc(WAITER), "10").stdout == b"ready, 7 left, 0\n"


@at_ready
def test_a_change_that_shows_after_some_time(run: Any, inject: Any, device: Ready, guest_cc: Any) -> None:
    inject.delayed(device, "status", us=20)
    r = run(guest_cc(WAITER), "100")
    assert r.exit == 0 and 18 <= len(r.bus.reads("status")) <= 24, "a read takes a microsecond"


@TARGETS
@by_uio
@at_ready
def test_an_interrupt_that_nobody_hears(run: Any, inject: Any, guest_cc: Any, target: str) -> None:
    program = guest_cc(WAITER, target=target)
    assert run(program, "9", "irq").stdout == b"ready, 9 left, 1\n"
    made = inject.lost_irq(WHERE, nth=1)
    with pytest.raises(ProgramStuck, match=r"sleeps in read\(\)"):
        run(program, "9", "irq")
    assert made.hits == ["interrupt 1 of timer"]


@by_uio
@at_ready
def test_interrupts_are_lost_alike_with_the_same_seed(machine: Machine, inject: Any, device: Ready) -> None:
    lost = []
    for _ in range(2):
        made = inject.lost_irq(device, probability=0.5, seed=7)
        for _ in range(40):
            device.raise_irq()
        made.off()
        lost.append(made.hits)
    assert lost[0] == lost[1] and 10 < len(lost[0]) < 30


# -- each in turn ------------------------------------------------------------------------------------------------------


@TARGETS
@at_timer
def test_what_a_careful_program_survives(for_each_fault: Any, guest_cc: Any, target: str) -> None:
    program = guest_cc(CAREFUL, target=target)
    report: FaultReport = for_each_fault(lambda run: run(program), "ENOMEM")
    report.assert_survived(at_least=2)
    assert {each.verdict for each in report} == {CLEAN} and {3} <= {each.exit for each in report}
    for_each_fault([program], "syscall:read=EINTR").assert_survived()
    short = for_each_fault([program], "short:read")
    assert [each.verdict for each in short] == [SAME]


@at_timer
def test_what_a_careless_program_does_not(for_each_fault: Any, guest_cc: Any) -> None:
    program = guest_cc(CAREFUL)
    report = for_each_fault(lambda run: run(program, "careless"), "ENOMEM")
    assert report.failures and {each.verdict for each in report.failures} == {SIGNAL}
    with pytest.raises(AssertionError, match=r"Not survived:\n(?s:.*)SIGSEGV(?s:.*)To look at the first: for"):
        report.assert_survived()
    wrong = for_each_fault(lambda run: run(program, "careless"), "syscall:read")
    assert [(each.verdict, each.exit) for each in wrong] == [("wrong", 0)]
    assert wrong[0].detail == "without the failure: b'Linux 42\\n'\nwith it: b' 42\\n'"


@at_timer
def test_bus_errors_in_turn(for_each_fault: Any, guest_cc: Any) -> None:
    report = for_each_fault([guest_cc(CATCHER)], "sigbus")
    assert [(each.n, each.verdict, each.exit) for each in report] == [(n, CLEAN, 7) for n in (1, 2, 3)]
    careless = for_each_fault([guest_cc(CAREFUL)], "sigbus")
    assert {each.verdict for each in careless} == {SIGNAL} and len(careless) == 2
    assert "SIGBUS (BUS_ADRERR)" in careless[0].detail


@at_timer
def test_every_frame_in_turn_in_several_processes(for_each_fault: Any, guest_cc: Any) -> None:
    program = guest_cc(CAREFUL)
    report = for_each_fault(lambda run: run(program), "oom", limit=8, workers=2)
    report.assert_survived(at_least=8)
    assert {each.verdict for each in report} <= {CLEAN, KILLED} and report.total > 8
    assert [each.n for each in report] == spread(report.total, 8)


@at_ready
def test_an_access_to_registers_takes_no_frame(for_each_fault: Any, guest_cc: Any) -> None:
    """The emulator's own frame behind it is none that a machine could be short of."""
    report = for_each_fault([guest_cc(WAITER), "10"], "oom")
    assert {each.verdict for each in report} <= {SAME, CLEAN, KILLED} and len(report) == report.total
    assert not [each for each in report if "device registers" in each.what]


@at_ready
def test_a_hang_and_a_check_of_the_test(for_each_fault: Any, guest_cc: Any) -> None:
    def scenario(run: Any) -> Any:
        r = run(guest_cc(CAREFUL), timeout=5)
        assert r.exit == 0, "it must work"
        return r

    report = for_each_fault(scenario, "syscall:open", only=[1])
    assert [(each.verdict, each.detail.splitlines()[0]) for each in report] == [
        ("check", "AssertionError: it must work")
    ]
    assert str(report).startswith("scenario, syscall:open: 1 runs (of 2): 1 check\n")


def test_numbers_are_spread_evenly() -> None:
    assert spread(5, None) == [1, 2, 3, 4, 5] == spread(5, 9)
    assert spread(100, 3) == [1, 50, 100] and spread(100, 1) == [1] and spread(0, 3) == []


def test_an_injection_that_does_nothing_is_a_warning(project: Project) -> None:
    tests = "def test_it(run, inject):\n    inject('mmap', errno='EPERM', nth=99)\n    run('./echo')\n"
    result = project.run(tests, "-W", "default")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["*InjectionWarning: inject('mmap', errno='EPERM', nth=99) did nothing: what it waits*"]
    )


@at_timer
def test_nonsense_is_refused(inject: Any) -> None:
    for what, options in (
        ("mmaap", {"errno": "EIO"}),
        ("mmap", {"errno": "EOI"}),
        ("mmap", {}),
        ("mmap", {"short": 1}),
    ):
        with pytest.raises(ConfigError, match=r"^inject"):
            inject(what, **options)
    with pytest.raises(ConfigError, match=r"did you mean mmap\?"):
        inject("mmaap", errno="EIO")
