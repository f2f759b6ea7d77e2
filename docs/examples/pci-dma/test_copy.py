"""copy against a model of its card: registers behind BAR 0, DMA into the program's memory."""

import shutil
import subprocess

import pytest

from machine.testing import ANY, Field, Reg, RegisterBlock


class CopyEngine(RegisterBlock):
    """Copies `length` bytes from `source` to `target`, a byte a nanosecond."""

    source = Reg(0x00)
    target = Reg(0x04)
    length = Reg(0x08)
    command = Reg(0x0C, access="wo", fields={"start": Field(0)})
    status = Reg(0x10, access="ro", fields={"busy": Field(0), "error": Field(1)})

    @command.on_write
    def begin(self, value):
        if value & 1:
            self["status.busy"] = 1
            self.after(max(1, self.length // 1000), self.finish)

    def finish(self):
        self.status = 0
        if self.length > 4096:
            self["status.error"] = 1
        else:
            self.dma_write(self.target, self.dma_read(self.source, self.length))


pytestmark = pytest.mark.device("pci:1234:cafe@00:04.0/bar0", CopyEngine)


@pytest.fixture
def copy(guest_cc):
    return guest_cc("copy.c", flags=["-O2", "-Wall"])


def test_a_text_arrives(run, copy):
    r = run(copy, "from here to there")
    assert (r.exit, r.stdout) == (0, b"from here to there\n")
    r.bus.assert_writes([("source", ANY), ("target", ANY), ("length", 19), ("command", {"start": 1})])


def test_a_card_that_never_ends(run, inject, copy):
    inject.stuck("copyengine", "status", mask=0x1, value=1)
    r = run(copy, "text")
    assert (r.exit, r.stderr) == (3, b"copy: the engine does not come to an end\n")


def test_a_card_that_reports_an_error(run, inject, copy):
    inject.stuck("copyengine", "status", mask=0x2, value=2)
    assert run(copy, "text").exit == 4


def test_bus_errors_at_each_register(for_each_fault, copy):
    """A program without a handler dies of them; it must not do anything else."""
    report = for_each_fault([copy, "text"], "sigbus")
    assert {each.verdict for each in report} == {"signal"} and len(report) >= 6


@pytest.mark.parametrize("call", ["open", "pread64", "mmap", "mlock", "pwrite64=EPERM"])
def test_calls_that_fail(for_each_fault, copy, call):
    for_each_fault([copy, "text"], f"syscall:{call}").assert_survived()


@pytest.mark.skipif(not shutil.which("lspci"), reason="Debian: apt install pciutils")
def test_lspci_shows_the_card(run):
    """pciutils' lspci is Debian's, as it comes."""
    r = run("lspci", "-n", "-s", "00:04.0", "-v", check=True)
    assert r.stdout.startswith(b"00:04.0 ff00: 1234:cafe\n") and b"Memory at" in r.stdout, r.stdout
    assert subprocess.run(["lspci", "--version"], capture_output=True, check=True).stdout
