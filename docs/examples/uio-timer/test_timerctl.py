"""timerctl against a model of its timer: `pytest` in this directory is all that it takes."""

import pytest

from machine.testing import Field, Reg, RegisterBlock


class Timer(RegisterBlock):
    """Counts down `period` microseconds again and again, and says so with its interrupt."""

    ctrl = Reg(0x00, fields={"enable": Field(0), "irq": Field(1)})
    period = Reg(0x04)
    status = Reg(0x08, access="w1c", fields={"expired": Field(0)})
    ticks = Reg(0x0C, access="ro")

    @ctrl.on_write
    def switch(self, value):
        self.cancel_all()
        if self["ctrl.enable"]:
            self.every(self.period, self.expire)

    def expire(self):
        self.ticks += 1
        self["status.expired"] = 1
        if self["ctrl.irq"]:
            self.raise_irq()


pytestmark = pytest.mark.device("/dev/uio0", Timer)


@pytest.fixture
def timerctl(guest_cc):
    return guest_cc("timerctl.c", flags=["-O2", "-Wall"])


def test_three_ticks(run, timerctl):
    r = run(timerctl, 1000, 3)
    assert (r.exit, r.stdout, r.stderr) == (0, b"3 ticks\n", b"")
    acknowledge = ("status", {"expired": 1})
    r.bus.assert_writes([("period", 1000), ("ctrl", 3), acknowledge, acknowledge, acknowledge, ("ctrl", 0)])


def test_a_lost_interrupt_is_no_hang(run, inject, timerctl):
    inject.lost_irq("/dev/uio0", times=200)
    r = run(timerctl, 1000, 1)
    assert (r.exit, r.stderr) == (3, b"timerctl: no interrupt for 100 ms\n")
    assert r.bus.writes()[-1] == ("ctrl", 0), "the timer is off again"


def test_an_interrupt_of_somebody_else(run, inject, timerctl):
    inject.stuck("/dev/uio0", "status", mask=0x1, value=0)
    r = run(timerctl, 1000, 1)
    assert r.exit == 3 and b"has not expired" in r.stderr


def test_held_in_the_middle(machine, start, device, timerctl):
    program = start(timerctl, 1000, 2)
    machine.run_until(lambda: device.ticks == 1)
    assert program.running and device["ctrl.enable"] == 1
    assert program.wait().stdout == b"2 ticks\n"


@pytest.mark.parametrize("kind", ["ENOMEM", "syscall:poll", "syscall:read", "syscall:open"])
def test_every_failure_is_taken_well(for_each_fault, timerctl, kind):
    for_each_fault([timerctl, 1000, 2], kind).assert_survived()
